"""What waits for an event that was set aside as poison does not wait for ever
(DESIGN § 3): the stored state is spoiled so that no decision can be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from house import CALLER, House
from rest import Service
from sqlalchemy import delete, select, text, update

from mistral.db import models
from mistral.db.database import Database
from mistral.engine.core.ports import Rules
from mistral.engine.doctor.examine import examine
from mistral.engine.steps import Step, unwatched
from mistral.messages import RerunTask, StartWorkflow, StopWorkflow, UpdateAction

WORKFLOWS = """
version: '2.0'
pages:
  tasks:
    t: {with-items: i in <% range(9) %>, action: std.sleep seconds=1}
waits:
  tasks:
    t: {wait-after: 60, action: std.noop}
parent:
  tasks:
    t: {workflow: child, on-error: handler}
    handler: {action: std.noop}
child:
  tasks:
    t: {action: std.async_noop}
acts:
  tasks:
    t: {action: std.sleep seconds=1}
long:
  tasks:
    t: {on-success: b}
    b: {on-success: c}
    c: {on-success: d}
    d: {on-success: e}
    e: {action: std.noop}
large:
  tasks:
    t: {action: std.sleep seconds=1, publish: {x: <% range(9000).toList() %>}}
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, rules=Rules(page=3, steps=2))
    house.upload(WORKFLOWS)
    house.hold.add("std.sleep")
    yield house
    house.close()


def spoil(house: House, run_id: str, **values: Any) -> str:
    """Make every decision fail that reads these internals of the run's task ``t``."""
    table = models.task_executions
    [task] = house.rows(table, workflow_execution_id=run_id, name="t")
    internals = {**task["internals"], **values}
    with house.database.begin() as connection:
        query = update(table).where(table.c.id == task["id"])
        connection.execute(query.values(internals=internals))
    return str(task["id"])


def spoiled(action: dict[str, Any], **values: Any) -> Any:
    """The same for an action."""
    table = models.action_executions
    internals = {**action["internals"], **values}
    return update(table).where(table.c.id == action["id"]).values(internals=internals)


def turns(house: House, until: Callable[[], bool]) -> None:
    """One by one."""
    while not until():
        assert house.engine.loop.run_once(timeout=0)


def pages(house: House) -> str:
    """Its second page of items is to be opened."""
    run_id = _put(house, "pages")
    turns(house, lambda: bool(house.rows(models.action_executions)))
    spoil(house, run_id, cursor="NONSENSE")
    house.settle()
    return run_id


def waits(house: House) -> str:
    run_id = house.start("waits")
    house.settle()
    spoil(house, run_id, outcome="NONSENSE")
    house.advance(61)
    return run_id


def parent(house: House) -> str:
    """Its sub-workflow ends."""
    run_id = house.start("parent")
    house.settle()
    spoil(house, run_id, said="NONSENSE")
    [action] = house.rows(models.action_executions)
    _answer(house, action)
    return run_id


def acts(house: House) -> str:
    """An executor sends the result."""
    run_id = house.start("acts")
    house.settle()
    [action] = house.rows(models.action_executions)
    _write(house, spoiled(action, outputs=7))
    house.finish(house.running.pop())
    house.settle()
    return run_id


def long(house: House) -> str:
    """It goes on in a later turn than it began in."""
    run_id = _put(house, "long")
    turns(house, lambda: bool(house.rows(models.outbox, kind="Woke")))
    names = {row["name"]: row for row in house.rows(models.task_executions)}
    waiting = next(row for row in names.values() if not row["processed"])
    table = models.task_executions
    with house.database.begin() as connection:
        internals = {**waiting["internals"], "rest": "NONSENSE"}
        query = update(table).where(table.c.id == waiting["id"])
        connection.execute(query.values(internals=internals))
    house.settle()
    return run_id


def _put(house: House, name: str) -> str:
    run_id = house.new_id()
    context = CALLER.to_dict()
    house.put(StartWorkflow(run_id=run_id, workflow_name=name, context=context))
    return run_id


def _answer(house: House, action: dict[str, Any]) -> None:
    house.ask(
        UpdateAction(
            run_id=action["workflow_execution_id"],
            action_id=action["id"],
            state="SUCCESS",
            request_id=house.new_id(),
            context=CALLER.to_dict(),
        )
    )
    house.settle()


KINDS = {
    pages: "MoreItems",
    waits: "Woke",
    parent: "ChildFinished",
    acts: "ActionFinished",
    long: "Woke",
}


@pytest.mark.parametrize("made", KINDS, ids=lambda made: made.__name__)
def test_what_waits_for_it_ends_and_can_be_rerun(
    house: House, made: Callable[[House], str]
) -> None:
    run_id = made(house)
    [poison] = house.rows(models.poison)
    assert poison["kind"] == KINDS[made]
    header = house.header(run_id)
    said = f"The engine could not handle a {KINDS[made]}; it was set aside [turn="
    assert header["state"] == "ERROR" and said in header["state_info"]
    tasks = house.rows(models.task_executions, workflow_execution_id=run_id)
    [failed] = [task for task in tasks if task["state"] == "ERROR"]
    assert said in failed["state_info"]
    assert house.rows(models.outbox) == []
    assert {each.check for each in examine(house.database)} == {"poison"}
    house.hold.clear()
    again = RerunTask(
        run_id=run_id,
        task_id=failed["id"],
        reset=True,
        request_id="again",
        context=CALLER.to_dict(),
    )
    house.ask(again)
    house.settle()
    for action in house.rows(models.action_executions, state="RUNNING"):
        if action["name"] == "std.async_noop":
            _answer(house, action)
    house.advance(61)
    assert house.header(run_id)["state"] == "SUCCESS"
    assert [each.check for each in examine(house.database)] == ["poison"]


def test_a_sub_workflow_that_cannot_be_started_is_told_to_its_parent(
    house: House,
) -> None:
    """ENG-174: ``on-error`` of the task answers it."""
    with house.database.begin() as connection:
        table = models.workflows
        spoiled = update(table).where(table.c.name == "child").values(spec_id="nowhere")
        connection.execute(spoiled)
    header = house.run("parent")
    assert [row["kind"] for row in house.rows(models.poison)] == ["StartWorkflow"]
    assert house.tasks(header["id"]) == {"t": "ERROR", "handler": "SUCCESS"}
    assert header["state"] == "SUCCESS"


def test_an_event_that_cannot_be_stored_ends_its_task(house: House) -> None:
    run_id = house.start("large")
    house.settle()
    with house.database.begin() as connection:
        connection.execute(text("ALTER TABLE documents RENAME TO gone"))
    house.finish(house.running.pop())
    house.settle()
    [poison] = house.rows(models.poison)
    assert poison["kind"] == "ActionFinished"
    header = house.header(run_id)
    assert header["state"] == "ERROR" and "set aside" in header["state_info"]
    assert house.tasks(run_id) == {"t": "ERROR"}


def test_what_a_late_event_was_about_is_left_alone(house: House) -> None:
    """Nobody waits for it."""
    run_id = house.start("acts")
    house.settle()
    stop = StopWorkflow(
        run_id=run_id, state="CANCELLED", request_id="s", context=CALLER.to_dict()
    )
    house.ask(stop)
    [action] = house.rows(models.action_executions)
    _write(house, spoiled(action, outputs=7))
    house.finish(house.running.pop())
    house.settle()
    assert len(house.rows(models.poison)) == 1
    header = house.header(run_id)
    assert (header["state"], header["state_info"]) == ("CANCELLED", None)
    # ENG-074: its task is not open for ever.
    assert house.tasks(run_id) == {"t": "ERROR"}


class Taken(Database):
    """Another engine takes all outbox rows just before the next transaction."""

    is_next = False

    def begin(self) -> Any:
        if self.is_next:
            self.is_next = False
            with super().begin() as connection:
                connection.execute(delete(models.outbox))
        return super().begin()


def test_what_another_engine_has_heard_meanwhile_ends_nothing(tmp_path: Path) -> None:
    """ENG-240: the turn fails, and when it is set aside its timer is gone."""
    house = House(tmp_path, database=Taken)
    house.upload(WORKFLOWS)
    run_id = house.start("waits")
    house.settle()

    def fail_once(step: Step) -> None:
        if step is Step.STORED:
            house.reached = unwatched
            house.database.is_next = True
            raise ValueError("A turn that cannot be stored")

    house.reached = fail_once
    house.advance(61)
    assert house.rows(models.outbox) == house.rows(models.poison) == []
    assert house.header(run_id)["state"] == "RUNNING"
    assert house.tasks(run_id) == {"t": "DELAYED"}
    house.close()


def test_an_action_alone_ends_with_the_reason(tmp_path: Path) -> None:
    service = Service(tmp_path)
    house = service.house
    house.hold.add("std.sleep")
    sent = {"name": "std.sleep", "params": {"save_result": True}, "input": {}}
    service.api.post("/v2/action_executions", sent)
    house.settle()
    table = models.action_executions
    [action] = house.rows(table)
    _write(house, spoiled(action, outputs=7))
    house.finish(house.running.pop())
    house.settle()
    [action] = house.rows(table)
    assert action["state"] == "ERROR"
    assert "set aside" in action["output"]["result"]
    service.close()


def test_a_cron_trigger_fires_when_it_can(tmp_path: Path) -> None:
    service = Service(tmp_path)
    house = service.house
    service.upload(WORKFLOWS)
    sent = {"name": "x", "workflow_name": "long", "pattern": "0 * * * *"}
    assert service.api.post("/v2/cron_triggers", sent).status == 201
    table = models.cron_triggers
    _write(house, update(table).values(pattern="NONSENSE"))
    _pass(house, 3600)
    assert [row["kind"] for row in house.rows(models.poison)] == ["CronDue"]
    assert house.rows(models.workflow_executions) == []
    _write(house, update(table).values(pattern="0 * * * *"))
    with house.database.read() as connection:
        due = connection.execute(select(models.outbox.c.due_at)).scalar_one()
    assert due - house.clock.now() > timedelta(minutes=1)
    _pass(house, 3600)
    [header] = house.rows(models.workflow_executions)
    assert header["state"] == "SUCCESS"
    assert len(house.rows(models.outbox)) == 1
    service.close()


def _pass(house: House, seconds: int) -> None:
    """While the engine also looks for rows that it does not keep in mind."""
    house.clock.advance(seconds)
    house.engine.sweeps[0].run_once()
    house.settle()


def _write(house: House, statement: Any) -> None:
    with house.database.begin() as connection:
        connection.execute(statement)
