"""The walls of the house: who may import what, who may look at clock and world."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent


def run(*command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=PROJECT, input=text, capture_output=True, text=True, check=False
    )


def test_imports_only_go_down():
    result = run(str(PROGRAMS / "lint-imports"))
    assert result.returncode == 0, result.stdout + result.stderr


def test_nothing_banned_is_used():
    result = run(str(PROGRAMS / "ruff"), "check", "--select", "TID251", ".")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    "line",
    [
        "from datetime import datetime; datetime.now()",
        "from datetime import datetime; datetime.utcnow()",
        "import time; time.time()",
        "import uuid; uuid.uuid4()",
        "from uuid import uuid4",
        "import os; os.environ['X']",
        "import os; os.getenv('X')",
    ],
)
@pytest.mark.parametrize("room", ["engine/core", "api", "executors", "db"])
def test_clock_chance_and_environment_are_banned(room, line):
    assert "TID251" in judge(f"mistral/{room}/new.py", line)


@pytest.mark.parametrize("line", ["import yaml", "from yaml import safe_load"])
@pytest.mark.parametrize("room", ["lang", "expressions", "api", "cli"])
def test_sec_04_yaml_is_banned(room, line):
    """SEC-04: a lint rule forbids a second YAML entry point."""
    assert "TID251" in judge(f"mistral/{room}/new.py", line)


def test_sec_04_yaml_has_one_entry():
    """SEC-04: where the lint rule is off for other reasons, too."""
    importers = {
        file.relative_to(PROJECT / "mistral").as_posix()
        for file in (PROJECT / "mistral").rglob("*.py")
        if {"yaml", "ruamel"} & set(imported(file))
    }
    assert importers == {"expressions/yaml_nodes.py", "expressions/yaml_text.py"}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_the_core_wakes_no_services():
    """Deciding needs no database driver, no messaging, no web."""
    heavy = ("sqlalchemy", "oslo_messaging", "oslo_config", "requests", "pecan")
    code = (
        "import sys, mistral.engine.core.decide\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    result = run(sys.executable, "-c", code)
    assert result.stdout.strip() == "[]", result.stderr


def judge(path: str, text: str) -> str:
    ruff = str(PROGRAMS / "ruff")
    options = ("--select", "TID251", "--stdin-filename", path, "-")
    return run(ruff, "check", *options, text=text + "\n").stdout


def loaded_with(module: str, *packages: str) -> list[str]:
    """Which of these packages a new process has when it has this module."""
    code = (
        f"import sys, {module}\n"
        f"print(*[name for name in {packages!r} if name in sys.modules])"
    )
    result = run(sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize("module", ["mistral.rabbit_driver", "mistral.cmd.server"])
def test_eventlet_stays_out(module):
    """17 MB of each process, and its notice on the terminal."""
    found = loaded_with(f"mistral.bus, {module}", "oslo_messaging", "eventlet")
    assert found == ["oslo_messaging"]


def test_eventlet_is_there_for_actions_that_need_it():
    """What a library of ours shall not load is not taken from others."""
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "import mistral.bus, eventlet\n"
        "from oslo_service import service\n"
        "print(service.Service.__name__, eventlet.spawn(lambda: 'green').wait())"
    )
    assert run(sys.executable, "-c", code).stdout.split() == ["Service", "green"]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        # a server that only supervises, or runs one role, has no more than that
        ("mistral.cmd.server", ["sqlalchemy", "oslo_messaging", "pecan", "yaql"]),
        ("mistral.cmd.executor_role", ["sqlalchemy", "pecan", "yaql", "alembic"]),
        ("mistral.cmd.engine_role", ["pecan", "alembic", "psycopg", "gunicorn"]),
        ("mistral.cmd.api_role", ["mistral.engine.server", "alembic", "psycopg"]),
        ("mistral.cmd.api_role", ["mako", "pygments"]),
    ],
)
def test_a_role_loads_what_it_runs(module, absent):
    assert loaded_with(module, module, *absent) == [module]
