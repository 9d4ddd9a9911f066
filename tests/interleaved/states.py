"""States of executions in which something may happen from two sides."""

from __future__ import annotations

from datetime import timedelta

from house import CALLER

from interleaved.acts import deletes_definition, maintains, runs_alone
from interleaved.world import BRIEF, LOST, MAINTENANCE, OVERDUE, World, looks
from mistral.db import event_triggers, models, outbox, triggers
from mistral.db.definitions import find_workflow
from mistral.db.maintenance import Status
from mistral.db.owned import Author
from mistral.messages import (
    ActionFinished,
    CallAction,
    Heartbeat,
    PauseWorkflow,
    RerunTask,
    StartWorkflow,
    decode,
)


def started(world: World, workflow: str) -> None:
    """Its start is decided, and nothing that follows from it."""
    run_id = world.new_id()
    context = CALLER.to_dict()
    start = StartWorkflow(run_id=run_id, workflow_name=workflow, context=context)
    world.put(start)
    world.engine.loop.run_once(timeout=0)
    world.forget()


def settled(world: World, workflow: str) -> None:
    """Nothing happens by itself; its actions run and do not end."""
    world.start(workflow)
    world.settle()
    world.calls = list(world.running)


def child_asked_for(world: World) -> None:
    started(world, "family")


def child_runs(world: World) -> None:
    settled(world, "family")


def child_is_over(world: World) -> None:
    settled(world, "family")
    end = ActionFinished(
        run_id=world.calls[0].run_id, action_id=world.calls[0].action_id, result=1
    )
    world.put(end)
    world.engine.loop.run_once(timeout=0)
    world.forget()


def family_paused(world: World) -> None:
    settled(world, "family")
    world.ask(PauseWorkflow(run_id=world.id_of("family")))
    world.settle()


def family_pauses(world: World) -> None:
    settled(world, "family")
    world.put(PauseWorkflow(run_id=world.id_of("family")))
    world.engine.loop.run_once(timeout=0)
    world.forget()


def family_failed(world: World) -> None:
    settled(world, "family")
    world.finish_call(world.one, world.calls[0], "ERROR")
    world.settle()


def family_reopens(world: World) -> None:
    family_failed(world)
    world.put(
        RerunTask(run_id=world.id_of("child"), task_id=world.task_id("child", "t"))
    )
    world.engine.loop.run_once(timeout=0)
    world.forget()


def twins_run(world: World) -> None:
    settled(world, "twins")
    world.calls.sort(key=lambda call: call.run_id)


def waits_for_messages(world: World) -> None:
    settled(world, "hears")


def branches_run(world: World) -> None:
    settled(world, "meets")


def items_run(world: World) -> None:
    settled(world, "items")


def is_offered(world: World) -> None:
    started(world, "safe")
    _take_offer(world)


def is_offered_once(world: World) -> None:
    started(world, "once")
    _take_offer(world)


def _take_offer(world: World) -> None:
    [row] = world.rows(models.outbox, kind=outbox.OFFER)
    call = decode(row["payload"])
    assert isinstance(call, CallAction)
    world.offer = call


def _executor_is_silent(world: World) -> None:
    """For so long that the next look gives it up, and engines have watched."""
    for _ in range(4):
        for side in (world.one, world.two):
            looks(side, LOST)
        world.clock.advance(10)
    world.executor_lives = False


def executor_dies(world: World) -> None:
    settled(world, "once")
    _executor_is_silent(world)


def executor_of_safe_dies(world: World) -> None:
    settled(world, "safe")
    _executor_is_silent(world)


def executor_claims_late(world: World) -> None:
    """It is known, has been silent, and is about to claim something."""
    started(world, "once")
    _take_offer(world)
    world.one.engine.heartbeat(Heartbeat(executor_id="executor-1"))
    _executor_is_silent(world)


def trigger_is_due(world: World) -> None:
    with world.database.begin() as connection:
        author = Author(CALLER, world.clock.now(), world.new_id)
        due = world.clock.now() + timedelta(seconds=1)
        values = {
            "name": "x",
            "scope": "private",
            "pattern": "0 0 1 1 *",
            "workflow_input": {},
            "workflow_params": {},
            "first_execution_time": None,
            "next_execution_time": due,
            "remaining_executions": 2,
        }
        workflow = find_workflow(connection, project_id=CALLER.project_id, name="once")
        triggers.create(connection, author, workflow, values)
    world.clock.advance(2)


def event_is_awaited(world: World) -> None:
    with world.database.begin() as connection:
        author = Author(CALLER, world.clock.now(), world.new_id)
        workflow = find_workflow(connection, project_id=CALLER.project_id, name="once")
        values = {
            "name": "mine",
            "scope": "private",
            "workflow_id": workflow["id"],
            "workflow_input": {},
            "workflow_params": {},
            "exchange": "nova",
            "topic": "notes",
            "event": "made",
        }
        event_triggers.create(connection, author, values, 1000)


def definition_is_there(world: World) -> None:
    """As it was at first."""
    deletes_definition(world, world.one)
    world.upload(BRIEF)


def notices_wait(world: World) -> None:
    """Of a run that goes on; who wrote them has died, and so did its lease."""
    run_id = world.new_id()
    start = StartWorkflow(
        run_id=run_id,
        workflow_name="once",
        context=CALLER.to_dict(),
        params={"notify": [{"type": "webhook", "url": "https://example.org"}]},
    )
    world.put(start)
    world.engine.loop.run_once(timeout=0)
    assert world.rows(models.outbox, kind=outbox.NOTICE)
    world.forget()
    world.clock.advance(11)
    looks(world.one, OVERDUE)
    world.engine.deliver.offers.send_waiting()
    while world.post.offers:
        world.execute(world.post.offers.popleft())
    world.calls = list(world.running)
    world.forget()
    world.clock.advance(11)


def nothing_runs(_world: World) -> None:
    """All is to come."""


def in_maintenance(world: World) -> None:
    settled(world, "once")
    maintains(Status.PAUSED)(world, world.one)
    looks(world.one, MAINTENANCE)


def runs_while_maintenance_begins(world: World) -> None:
    settled(world, "family")
    maintains(Status.PAUSED)(world, world.one)


def timer_is_due(world: World) -> None:
    settled(world, "timed")
    world.clock.advance(6)
    world.forget()


def retry_is_due(world: World) -> None:
    settled(world, "again")
    world.finish_call(world.one, world.calls[0], "ERROR")
    world.clock.advance(6)
    world.forget()


def action_runs_alone(world: World) -> None:
    runs_alone(world, world.one)
    world.settle()
    world.calls = list(world.running)
