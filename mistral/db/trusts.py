"""Trusts that triggers need, and when they can end (spec/engine.md § 10.2).

A row is there before its trigger is: whatever happens in between, somebody looks
at it later. Its ``due_at`` says when; a trigger that stands has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from mistral.db.models import (
    cron_triggers,
    event_triggers,
    outbox,
    trusts,
    workflow_executions,
)
from mistral.messages import StartWorkflow
from mistral.publisher_entries import renewed

Row = Mapping[str, Any]

AT_ONCE: Final = datetime(1970, 1, 1)

UNBORN: Final = timedelta(minutes=5)
"""Within this time of a trust its trigger is there, or never will be."""


def expect(
    connection: Connection,
    trigger_id: str,
    project_id: str,
    sealed: str,
    now: datetime,
) -> None:
    """A trust whose trigger is about to be made."""
    row = {
        "id": trigger_id,
        "project_id": project_id,
        "sealed": sealed,
        "due_at": now + UNBORN,
        "created_at": now,
    }
    connection.execute(insert(trusts).values(row))


def keep(connection: Connection, trigger_id: str) -> None:
    """The trigger is there."""
    _mark(connection, trigger_id, due_at=None)


def release(connection: Connection, trigger_id: str) -> None:
    """The trigger is gone, or was never made: the trust goes, too."""
    _mark(connection, trigger_id, due_at=AT_ONCE)


def outlive(connection: Connection, last_runs: Mapping[str, str]) -> None:
    """Triggers are used up; their last runs still need the trusts.

    :param last_runs: run by trigger.
    """
    statement = (
        update(trusts)
        .where(trusts.c.id == bindparam("trigger_id"))
        .values(due_at=AT_ONCE, last_run_id=bindparam("run_id"))
    )
    bound = [{"trigger_id": id, "run_id": run} for id, run in last_runs.items()]
    connection.execute(statement, bound)


def due(connection: Connection, now: datetime, most: int) -> Sequence[Row]:
    """Those to look at, the longest waiting first."""
    statement = select(trusts).where(trusts.c.due_at <= now).order_by(trusts.c.due_at)
    return connection.execute(statement.limit(most)).mappings().all()


def is_in_use(connection: Connection, row: Row, finished: Sequence[str]) -> bool:
    """Whether the last run of a used-up trigger is still to begin or to end.

    :param finished: the states of runs that have ended.
    """
    run_id = row["last_run_id"]
    if run_id is None:
        return False
    begins = select(outbox.c.id).where(
        outbox.c.run_id == run_id, outbox.c.kind == StartWorkflow.__name__
    )
    if connection.execute(begins).first() is not None:
        return True
    runs = select(workflow_executions.c.state).where(workflow_executions.c.id == run_id)
    state = connection.scalar(runs)
    return state is not None and state not in finished


def look_later(connection: Connection, trigger_id: str, when: datetime) -> None:
    _mark(connection, trigger_id, due_at=when)


def forget(connection: Connection, trigger_id: str) -> None:
    """It has ended."""
    connection.execute(delete(trusts).where(trusts.c.id == trigger_id))


def reseal(connection: Connection, renew: Callable[[str], str]) -> int:
    """Seal all anew, in their own rows and in those of triggers, whose publishers
    have secrets, too; answers how many.

    :param renew: sealed before → sealed now.
    """
    found = connection.execute(select(trusts.c.id, trusts.c.sealed)).all()
    for trigger_id, sealed in found:
        _write(connection, trusts, trigger_id, sealed=renew(sealed))
    for table in (cron_triggers, event_triggers):
        columns = (table.c.id, table.c.context, table.c.workflow_params)
        for trigger_id, context, params in connection.execute(select(*columns)).all():
            if "sealed" in context:
                context = {**context, "sealed": renew(context["sealed"])}
                _write(connection, table, trigger_id, context=context)
            anew = renewed(params, renew)
            if anew != params:
                _write(connection, table, trigger_id, workflow_params=anew)
    return len(found)


def _mark(connection: Connection, trigger_id: str, due_at: datetime | None) -> None:
    _write(connection, trusts, trigger_id, due_at=due_at)


def _write(connection: Connection, table: Table, id: str, **values: Any) -> None:
    connection.execute(update(table).where(table.c.id == id).values(**values))
