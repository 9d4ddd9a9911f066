"""What may happen at the same time: each act is done by one engine process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from house import CALLER
from sqlalchemy import Connection

from interleaved.world import BRIEF_CHANGED, OVERDUE, Side, World, looks, tell
from mistral.db import (
    definitions,
    event_triggers,
    maintenance,
    models,
    outbox,
    triggers,
)
from mistral.db.maintenance import Status
from mistral.db.owned import Author, Place
from mistral.errors import NotFound
from mistral.expressions.evaluate import Evaluator
from mistral.lang.parse import parse_workflows
from mistral.messages import (
    ActionTurnedAsync,
    Batch,
    ClaimAction,
    Heartbeat,
    NobodyCame,
    RunAction,
    StartWorkflow,
    encode,
)
from mistral.outside import Notification
from mistral.triggers.converter import Converter
from mistral.triggers.intake import EventIntake

Act = Callable[[World, Side], object]


def asks(cls: Any, workflow: str, **values: Any) -> Act:
    """A request about the only run of a workflow, by its id as it was at first."""

    def act(world: World, side: Side) -> None:
        run_id = world.ids[workflow]
        request = cls(
            run_id=run_id,
            request_id=world.new_id(),
            context=CALLER.to_dict(),
            **{name: _value(world, value) for name, value in values.items()},
        )
        tell(side, request)

    return act


def _value(world: World, value: Any) -> Any:
    return value(world) if callable(value) else value


def hears(kind: str) -> Act:
    """A row of the outbox is taken in."""

    def act(world: World, side: Side) -> None:
        event, row_id = world.kept[kind]
        tell(side, event, row_id=row_id)

    return act


def ends(place: int = 0, state: str = "SUCCESS") -> Act:
    def act(world: World, side: Side) -> None:
        world.finish_call(side, world.calls[place], state)

    return act


def claims(token: str) -> Act:
    def act(world: World, side: Side) -> None:
        call = world.offer
        claim = ClaimAction(
            action_id=call.action_id,
            attempt=call.attempt,
            token=token,
            executor_id="executor-1",
        )
        [yes] = side.engine.handle(Batch(events=(encode(claim),)))
        if yes is None:
            # Somebody held it: the executor asks again.
            world.to_ask.append(partial(act, world, side))
        if yes:
            world.granted.add(token)
            world.running.append(call)

    return act


def sweeps(name: str) -> Act:
    def act(world: World, side: Side) -> None:
        looks(side, name)

    return act


def resends(world: World, side: Side) -> None:
    """The broker was away: all that the engine offers is due at once."""
    side.engine.send_again()
    side.engine.overdue.run_once()


def notes_sent(world: World, side: Side) -> None:
    rows = world.rows(models.outbox, kind=outbox.OFFER)
    sent = [{"id": row["id"], "attempts": row["attempts"]} for row in rows]
    side.database.replay(
        lambda connection: outbox.resend_later(
            connection, sent, side.database.now(connection)
        )
    )


def nobody_came(world: World, side: Side) -> None:
    call = world.offer
    tell(side, NobodyCame(run_id=call.run_id, action_id=call.action_id))


def turns_async(world: World, side: Side) -> None:
    call = world.calls[0]
    tell(side, ActionTurnedAsync(run_id=call.run_id, action_id=call.action_id))


def beats(world: World, side: Side) -> None:
    side.engine.heartbeat(Heartbeat(executor_id="executor-1", running=()))


def removes_trigger(world: World, side: Side) -> None:
    def remove(connection: Connection) -> None:
        query = models.cron_triggers.select()
        for row in connection.execute(query).mappings().all():
            triggers.remove(connection, row)

    side.database.replay(remove)


def event_comes(world: World, side: Side) -> None:
    """A notification that event triggers wait for, the same each time."""
    intake = EventIntake(side.database, Converter(Evaluator()), authenticated=False)
    told = Notification(
        id="told",
        exchange="nova",
        topic="notes",
        event_type="made",
        publisher="compute",
        payload={},
        timestamp="",
        context={},
    )
    intake.take(told)


def removes_event_trigger(world: World, side: Side) -> None:
    def remove(connection: Connection) -> None:
        query = models.event_triggers.select()
        for row in connection.execute(query).mappings().all():
            event_triggers.remove(connection, row)

    side.database.replay(remove)


def updates_definition(world: World, side: Side) -> None:
    parsed = parse_workflows(BRIEF_CHANGED)

    def change(connection: Connection) -> None:
        author = Author(CALLER, world.clock.now(), world.new_id)
        with suppress(NotFound):
            definitions.update_workflows(connection, author, parsed, Place())

    side.database.replay(change)


def deletes_definition(world: World, side: Side) -> None:
    def remove(connection: Connection) -> None:
        row = definitions.find_workflow(
            connection, name="brief", namespace="", project_id=CALLER.project_id
        )
        if row is not None:
            definitions.remove_workflow(connection, row)

    side.database.replay(remove)


def sends_notices(world: World, side: Side) -> None:
    """Those that another process has left."""
    looks(side, OVERDUE)
    side.engine.deliver.notices.send_waiting()
    world.carry_notices(side.engine)


def maintains(wanted: Status) -> Act:
    def act(world: World, side: Side) -> None:
        side.database.replay(lambda each: maintenance.change(each, wanted))

    return act


def starts(workflow: str, **more: Any) -> Act:
    def act(world: World, side: Side) -> None:
        tell(
            side,
            StartWorkflow(
                run_id="11111111-0000-4000-8000-000000000001",
                workflow_name=workflow,
                request_id=world.new_id(),
                context=CALLER.to_dict(),
                **more,
            ),
        )

    return act


def runs_alone(world: World, side: Side) -> None:
    tell(
        side,
        RunAction(
            action_id="22222222-0000-4000-8000-000000000001",
            name="std.sleep",
            input={"seconds": 1},
            save=True,
            request_id=world.new_id(),
            context=CALLER.to_dict(),
        ),
    )


def about_action(cls: Any, **values: Any) -> Act:
    def act(world: World, side: Side) -> None:
        call = world.calls[0]
        request = cls(
            run_id=call.run_id,
            action_id=call.action_id,
            request_id=world.new_id(),
            context=CALLER.to_dict(),
            **values,
        )
        tell(side, request)

    return act
