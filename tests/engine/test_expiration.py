"""The expiration policy: what goes, what stays (spec/engine.md § 10.5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from house import CALLER, House
from sqlalchemy import URL

from mistral.cmd.engine_role import make_expiration
from mistral.config import ConfigurationFault, ExpirationSettings, load
from mistral.db import models
from mistral.engine.archive import ACTIONS, Archive
from mistral.engine.expiration import Expiration
from mistral.errors import Conflict
from mistral.messages import (
    DeleteWorkflow,
    RerunTask,
    StopWorkflow,
    UpdateAction,
    UpdateWorkflow,
)

TEXT = """
version: '2.0'
good: {tasks: {t: {workflow: below}}}
below: {tasks: {t: {action: std.test_dict size=1}}}
bad: {tasks: {t: {action: std.fail}}}
open: {tasks: {t: {action: std.async_noop}}}
"""
MINUTES = 60.0


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., House]]:
    houses = []

    def make(**policy: Any) -> House:
        house = House(tmp_path, expiration=Expiration(interval=60, **policy))
        houses.append(house)
        house.upload(TEXT)
        return house

    yield make
    for house in houses:
        house.close()


def _expire(house: House) -> dict[str, int]:
    """One pass; its deletions are decided by the deciding thread."""
    [sweep] = [s for s in house.engine.sweeps if s.name == "engine-expiration"]
    house.engine.loop.start()
    try:
        return dict(sweep.run_once())
    finally:
        house.engine.loop.stop()


def _left(house: House) -> set[str]:
    rows = house.rows(models.workflow_executions)
    return {row["id"] for row in rows if row["task_execution_id"] is None}


def test_eng_227_finished_root_runs_go_with_all_below(
    opened: Callable[..., House],
) -> None:
    house = opened(older_than=timedelta(minutes=10))
    old, failed, waits = (house.start(name) for name in ("good", "bad", "open"))
    house.settle()
    house.advance(11 * MINUTES)
    young = house.run("bad")["id"]
    assert _expire(house) == {"deleted": 2, "refused": 0}
    house.engine = house.new_engine("two")
    house.advance(60)
    house.engine.sweeps[0].run_once()
    house.settle()
    assert {old, failed} & _left(house) == set()
    assert _left(house) == {waits, young}
    # nothing of a sub-workflow is left either
    for table in (models.task_executions, models.history):
        column = "run_id" if table is models.history else "workflow_execution_id"
        assert {row[column] for row in house.rows(table)} == {waits, young}
    names = {row["name"] for row in house.rows(models.action_executions)}
    assert names == {"std.async_noop", "std.fail"}


def test_eng_227_ignored_states_stay(opened: Callable[..., House]) -> None:
    house = opened(older_than=timedelta(minutes=1), ignored=frozenset({"ERROR"}))
    good, bad, open_ = (house.start(name) for name in ("good", "bad", "open"))
    house.settle()
    stop = StopWorkflow(run_id=open_, state="CANCELLED", context=CALLER.to_dict())
    house.ask(stop)
    house.advance(2 * MINUTES)
    _expire(house)
    assert _left(house) == {bad}
    assert good != bad


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_eng_227_eng_228_the_newest_stay(
    opened: Callable[..., House], batch: int
) -> None:
    """ENG-228: with ``max_finished_executions`` alone."""
    house = opened(keep=2, batch=batch)
    ids = []
    for _ in range(5):
        ids.append(house.run("bad")["id"])
        house.advance(1)
    running = house.start("open")
    assert _expire(house) == {"deleted": 3, "refused": 0}
    assert _left(house) == {*ids[3:], running}
    house.engine = house.new_engine("two")
    assert _expire(house) == {"deleted": 0, "refused": 0}


def test_eng_227_a_run_that_was_reopened_stays_and_holds_up_nobody(
    opened: Callable[..., House],
) -> None:
    """The look and the deletion are not one: the decision counts."""
    house = opened(older_than=timedelta(minutes=1))
    _, reopened, _ = (house.start(n) for n in ("bad", "open", "bad"))
    [action] = house.rows(models.action_executions, workflow_execution_id=reopened)
    asked = {"run_id": reopened, "context": CALLER.to_dict()}
    house.ask(UpdateAction(action_id=action["id"], state="ERROR", **asked))
    house.advance(2 * MINUTES)
    # It waits in the intake, so it is decided before any deletion.
    house.put(RerunTask(task_id=action["task_execution_id"], **asked))
    assert _expire(house)["deleted"] == 2
    assert _left(house) == {reopened}
    assert house.header(reopened)["state"] == "RUNNING"


def test_eng_228_on_every_database(tmp_path: Path, empty_url: URL) -> None:
    policy = Expiration(interval=60, keep=1, batch=2, older_than=timedelta(minutes=10))
    house = House(tmp_path, url=str_of(empty_url), expiration=policy)
    house.upload(TEXT)
    ids = []
    for _ in range(5):
        ids.append(house.run("bad")["id"])
        house.advance(3 * MINUTES)
    counts = _expire(house)
    assert counts == {"deleted": 4, "refused": 0}
    assert _left(house) == {ids[-1]}
    house.close()


# -- The archive --------------------------------------------------------------


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def archived(directory: Path) -> list[Path]:
    assert not list(directory.glob("*/.*")), "nothing half written is left"
    return sorted(directory.glob("*/*.ndjson"))


def test_what_expires_is_written_to_a_file_first(
    opened: Callable[..., House], tmp_path: Path
) -> None:
    """Decision 0044: the whole tree, as bodies of the API show it."""
    kept = tmp_path / "archive"
    kept.mkdir()
    house = opened(older_than=timedelta(minutes=1), archive=kept)
    hook = {"type": "webhook", "url": "https://u:secret@x.org", "headers": {"T": "tk"}}
    id = house.start("good", notify=[hook])
    house.settle()
    running = house.start("open")
    house.advance(2 * MINUTES)
    assert _expire(house) == {"deleted": 1, "refused": 0, "kept": 0}
    assert _left(house) == {running}
    [path] = archived(kept)
    ended = house.clock.now() - timedelta(minutes=2)
    assert path == kept / f"{ended:%Y-%m-%d}" / f"{id}.ndjson"
    assert path.stat().st_mode & 0o777 == 0o600
    first, *lines = lines_of(path)
    assert first == {
        "kind": "archive",
        "format": "mistral-execution-archive",
        "version": 1,
        "root_execution_id": id,
    }
    kinds = [(line["kind"], line.get("workflow_name")) for line in lines]
    assert kinds == [
        ("execution", "good"), ("task", "good"),
        ("execution", "below"), ("task", "below"), ("action", "below"),
    ]  # fmt: skip
    root, _, child, _, action = lines
    assert (root["id"], root["state"]) == (id, "SUCCESS")
    assert child["root_execution_id"] == id
    assert root["params"]["notify"][0]["headers"] == {"T": "***"}
    assert (root["output"], root["published_global"]) == ({}, {})
    assert list(action["output"]) == ["result"]
    assert "secret" not in path.read_text() and "internals" not in path.read_text()


def test_what_cannot_be_written_stays(
    opened: Callable[..., House], tmp_path: Path
) -> None:
    kept = tmp_path / "archive"
    house = opened(older_than=timedelta(minutes=1), archive=kept)
    house.run("bad")
    house.advance(2 * MINUTES)
    assert _expire(house) == {"deleted": 0, "refused": 0, "kept": 1}
    assert len(_left(house)) == 1
    kept.mkdir()
    house.engine = house.new_engine("two")
    assert _expire(house) == {"deleted": 1, "refused": 0, "kept": 0}
    assert _left(house) == set()


def test_who_dies_between_leaves_a_file_that_is_written_again(
    opened: Callable[..., House], tmp_path: Path
) -> None:
    kept = tmp_path / "archive"
    kept.mkdir()
    house = opened(older_than=timedelta(minutes=1), archive=kept)
    id = house.run("bad")["id"]
    house.advance(2 * MINUTES)
    archive = Archive(house.database, kept)
    first = archive.write(id)
    [path] = archived(kept)
    path.write_text("torn")
    assert archive.write(id) == first
    assert lines_of(path)[0]["kind"] == "archive"
    assert _expire(house)["deleted"] == 1
    assert archived(kept) == [path]
    assert archive.write(id) is None


def test_what_changed_since_it_was_written_stays(
    opened: Callable[..., House], tmp_path: Path
) -> None:
    kept = tmp_path / "archive"
    kept.mkdir()
    house = opened(older_than=timedelta(minutes=1), archive=kept)
    id = house.run("bad")["id"]
    written = Archive(house.database, kept).write(id)
    assert written is not None
    house.ask(UpdateWorkflow(run_id=id, description="new", context=CALLER.to_dict()))
    with pytest.raises(Conflict, match="has changed"):
        house.ask(DeleteWorkflow(run_id=id, version=written.version))
    assert _left(house) == {id}


def test_pages_of_an_archive_follow_each_other(
    opened: Callable[..., House], tmp_path: Path
) -> None:
    house = opened(older_than=timedelta(minutes=1))
    house.upload(
        f"""version: '2.0'
wide:
  tasks:
    a: {{with-items: i in <% range({ACTIONS + 1}) %>, action: std.noop}}
    b: {{with-items: i in <% range(3) %>, action: std.noop}}
"""
    )
    id = house.run("wide")["id"]
    written = Archive(house.database, tmp_path).write(id)
    assert written is not None
    lines = [line for line in lines_of(written.path) if line["kind"] == "action"]
    rows = house.rows(models.action_executions)
    assert len(lines) == len(rows) == ACTIONS + 4
    assert {line["id"] for line in lines} == {row["id"] for row in rows}


def test_a_directory_that_is_not_there_stops_the_service(tmp_path: Path) -> None:
    policy = ExpirationSettings(
        evaluation_interval=1, older_than=1, archive_directory=str(tmp_path / "none")
    )
    with pytest.raises(ConfigurationFault, match="archive_directory: expected a dir"):
        make_expiration(policy)


def str_of(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("given", "enabled"),
    [
        ({}, False),
        ({"evaluation_interval": 1}, False),
        ({"older_than": 1}, False),
        ({"evaluation_interval": 1, "older_than": 1}, True),
        ({"evaluation_interval": 1, "max_finished_executions": 1}, True),
    ],
)
def test_eng_227_when_the_policy_is_on(given: Any, enabled: bool) -> None:
    assert ExpirationSettings(**given).enabled is enabled


def test_eng_227_wrong_states_stop_the_service(tmp_path: Path) -> None:
    path = tmp_path / "mistral.conf"
    path.write_text(
        "[pecan]\nauth_enable = false\n[api]\nhost = 127.0.0.1\n"
        "[execution_expiration_policy]\nignored_states = ERROR, RUNNING\n"
    )
    with pytest.raises(ConfigurationFault, match=r"ignored_states.*found RUNNING"):
        load(["--config-file", str(path)], environ={})
