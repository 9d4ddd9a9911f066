"""An engine that is stopped in the midst of a turn, or whose host is gone, holds nobody
up for long, and when it comes back it changes nothing (DESIGN § 6)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cells import SERVERS, Cell
from house import House

from mistral.db import models
from mistral.db.database import HELD, Database
from mistral.engine.apart import UNWAITED_SECONDS
from mistral.engine.facts import DECISION_SECONDS, EXPRESSION_SECONDS
from mistral.engine.pace import LONGEST_DECIDING
from mistral.engine.steps import Step
from mistral.engine.store import LEASE
from mistral.messages import ActionFinished

SECONDS = 60.0
TRIES = 20
"""Each waits for a second in the database."""

WORKFLOW = """
version: '2.0'
w:
  tasks:
    a: {action: std.sleep seconds=1, on-success: b}
    b: {action: std.sleep seconds=1}
"""


@pytest.fixture(params=SERVERS)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    cell: Cell = request.param

    def make(directory: Path, *, url: str, database: Any) -> House:
        patient = House(directory, url=url, database=database)
        patient.upload(WORKFLOW)
        patient.close()
        short = partial(database, held_seconds=1.0)
        house = House(directory, url=url, database=short)
        house.hold.add("std.sleep")
        return house

    with cell.world(make, tmp_path) as house:
        yield house


@pytest.mark.parametrize("step", [Step.LOADED, Step.DECIDED])
def test_eng_235_a_stopped_engine_comes_back_and_changes_nothing(
    house: House, step: Step
) -> None:
    run_id = house.start("w")
    house.settle()
    [call] = house.running
    result = ActionFinished(run_id=run_id, action_id=call.action_id, result=1)
    stopped, goes_on = threading.Event(), threading.Event()

    def reached(found: Step) -> None:
        if found is step and threading.current_thread() is frozen:
            stopped.set()
            assert goes_on.wait(SECONDS)

    house.reached = reached
    first = house.engine
    late = first.intake.put(result)
    frozen = threading.Thread(target=_turn, args=(first,), daemon=True)
    frozen.start()
    assert stopped.wait(SECONDS)
    # The broker gives the result to another engine, which goes on with it.
    other = Database(
        house.database.url, clock=house.clock, isolation=house.database.isolation
    )
    house.engine = house.new_engine("two", other)
    house.put(result)
    house.settle()
    # Until the database ends the transaction, which takes a second.
    for _ in range(TRIES):
        if house.tasks(run_id) != {"a": "RUNNING"}:
            break
        house.advance(UNWAITED_SECONDS)
    assert house.tasks(run_id) == {"a": "SUCCESS", "b": "RUNNING"}
    before = house.rows(models.task_executions), house.rows(models.action_executions)
    goes_on.set()
    frozen.join(SECONDS)
    assert late.result(timeout=0) is None
    house.settle()
    after = house.rows(models.task_executions), house.rows(models.action_executions)
    assert after == before
    assert len(house.running) == 2
    assert house.rows(models.poison) == []
    assert house.examined() == []
    house.engine.loop._own.close()
    house.engine.claims.close()
    first.loop._own.close()
    first.claims.close()
    other.dispose()


def _turn(engine: Any) -> None:
    while engine.loop.run_once(timeout=0):
        continue


def test_sec_13_no_author_makes_the_database_take_an_engine_for_stopped() -> None:
    """A turn whose expressions take as long as they may would be ended and tried again
    for ever."""
    longest = LONGEST_DECIDING + DECISION_SECONDS + EXPRESSION_SECONDS
    assert longest + 1 <= HELD < LEASE.total_seconds()
