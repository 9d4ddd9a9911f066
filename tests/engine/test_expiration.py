"""The expiration policy: what goes, what stays (spec/engine.md § 10.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from house import CALLER, House
from sqlalchemy import URL

from mistral.config import ConfigurationFault, ExpirationSettings, load
from mistral.db import models
from mistral.engine.expiration import Expiration
from mistral.messages import RerunTask, StopWorkflow, UpdateAction

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
