"""What a server is put together from."""

from __future__ import annotations

import logging

import pytest

from mistral.cmd.compose import build, engine_processes
from mistral.config import load


def settings(tmp_path, transport: str, workers: int):
    file = tmp_path / "mistral.conf"
    file.write_text(
        f"[DEFAULT]\ntransport_url = {transport}\n"
        f"[engine]\nworkers = {workers}\n[pecan]\nauth_enable = false\n"
        "[api]\nhost = 127.0.0.1\n"
    )
    return load(["--config-file", str(file)])


def test_one_process_warns_that_it_has_one_engine(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "mistral")
    assert engine_processes(settings(tmp_path, "memory://", 2)) == 1
    assert "[engine] workers = 2 has no effect" in caplog.text


@pytest.mark.parametrize("workers", [0, 1])
def test_one_engine_is_what_was_asked_for(tmp_path, caplog, workers):
    caplog.set_level(logging.WARNING, "mistral")
    assert engine_processes(settings(tmp_path, "memory://", workers)) == 1
    assert caplog.text == ""


def test_a_broker_allows_several(tmp_path):
    assert engine_processes(settings(tmp_path, "rabbit://h", 3)) == 3


def test_executors_end_before_the_engines_that_they_tell_of_it(tmp_path):
    """A group ends in the reverse order of its start."""
    group = build(settings(tmp_path, "rabbit://h", 2), ("api", "engine", "executor"))
    names = [member.name for member in group.members]
    engines = [names.index("engine-0"), names.index("engine-1")]
    assert max(engines) < names.index("roles") < names.index("api")
