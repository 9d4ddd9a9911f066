"""The status of maintenance (spec/engine.md § 10.7): one row, its own header.

Turns share its lock and hold it until they commit; a change waits for them, and
those that come after it see it. So when ``is_quiet`` is asked, nothing that was
decided before the change is still on its way.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, update

from mistral.db import direct
from mistral.db.database import Database
from mistral.db.models import (
    action_executions,
    maintenance,
    outbox,
    task_executions,
    workflow_executions,
)

ROW: Final = "maintenance"

LEASE: Final = timedelta(seconds=10)


class Status(StrEnum):
    """Words of the API; PAUSING becomes PAUSED when nothing runs any more."""

    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"


_STATUS: Final = select(maintenance.c.status).where(maintenance.c.id == ROW)
_SHARED: Final = _STATUS.with_for_update(read=True)
_ALONE: Final = _STATUS.with_for_update()


def status(connection: Connection) -> Status:
    """As it was a moment ago, without a lock."""
    (row,) = direct.fetch(connection, _STATUS, {})
    return Status(row["status"])


def share(connection: Connection) -> Status:
    """It stays what it is until this transaction ends."""
    (row,) = direct.fetch(connection, _SHARED, {})
    return Status(row["status"])


def to_share(database: Database) -> list[direct.Question]:
    """What :func:`share` asks, for ``direct.fetch_together``; the row has ``now``,
    too, where the server has a clock."""
    return [(_shared_now(database.server_now), {})]


@cache
def _shared_now(now: ColumnElement[datetime] | None) -> Select[Any]:
    columns = [maintenance.c.status] if now is None else [maintenance.c.status, now]
    statement = select(*columns).where(maintenance.c.id == ROW)
    return statement.with_for_update(read=True)


def shown(found: Status) -> str:
    """What ``Facts.maintenance`` says: nothing in normal operation."""
    return "" if found is Status.RUNNING else found.value


def change(connection: Connection, wanted: Status) -> Status:
    """Ask for RUNNING or PAUSED; nothing happens if that is so or on its way.

    :returns: the status from now on.
    """
    found = Status(connection.execute(_ALONE).scalar_one())
    if wanted is Status.RUNNING:
        made = Status.RUNNING
    else:
        made = Status.PAUSING if found is Status.RUNNING else found
    if made is not found:
        # Work for the engines: whoever is first.
        _write(connection, status=made.value, lease_owner=None, lease_until=None)
    return made


def finish(connection: Connection, aside: Collection[str] = ()) -> bool:
    """Say PAUSED if nothing runs any more; answers whether it was said.

    :param aside: as for :func:`is_quiet`.
    """
    if Status(connection.execute(_ALONE).scalar_one()) is not Status.PAUSING:
        return False
    if not is_quiet(connection, aside):
        return False
    _write(connection, status=Status.PAUSED.value)
    return True


def lease(connection: Connection, owner: str, now: datetime) -> bool:
    """Let one engine at a time tell the runs; this avoids double work, no more.

    :returns: whether it is this one.
    """
    row = maintenance.c
    free = or_(
        row.lease_until.is_(None), row.lease_until <= now, row.lease_owner == owner
    )
    taken = connection.execute(
        update(maintenance)
        .where(row.id == ROW, free)
        .values(lease_owner=owner, lease_until=now + LEASE)
    )
    return bool(taken.rowcount)


def to_tell(found: Status, limit: int, after: tuple[datetime, str] | None) -> Select:
    """Runs that have not followed yet, oldest first: id and ``created_at``.

    :param after: the last one of the page before.
    """
    run = workflow_executions.c
    left = run.paused_by.is_not(None)
    wanted = left if found is Status.RUNNING else run.state == "RUNNING"
    query = select(run.id, run.created_at).where(wanted)
    if after is not None:
        made, id = after
        later = and_(run.created_at == made, run.id > id)
        query = query.where(or_(run.created_at > made, later))
    return query.order_by(run.created_at, run.id).limit(limit)


def is_quiet(connection: Connection, aside: Collection[str] = ()) -> bool:
    """Whether no task of an active run is being worked on.

    :param aside: runs that no turn can decide about: they come to no rest, and
        start nothing either.

    A task is, while an executor runs one of its actions or has still to take it. An
    asynchronous action that was taken waits for an answer from outside, perhaps for
    ever: it does not count, nor does anything of a run that is over. A
    sub-workflow is a run of its own; one that was asked for is not made yet.
    """
    others = workflow_executions.c.id.not_in(sorted(aside))
    queries = (_RUNS.where(others), _WORK.where(others), _ASKED)
    return not any(connection.execute(query.limit(1)).first() for query in queries)


def _write(connection: Connection, **values: object) -> None:
    connection.execute(
        update(maintenance).where(maintenance.c.id == ROW).values(**values)
    )


_RUNS: Final = select(workflow_executions.c.id).where(
    workflow_executions.c.state == "RUNNING"
)

_unanswered: ColumnElement[bool] = or_(
    action_executions.c.is_sync.is_(True), action_executions.c.started_by.is_(None)
)

_WORK: Final = (
    select(action_executions.c.id)
    .select_from(
        workflow_executions.join(
            task_executions,
            task_executions.c.workflow_execution_id == workflow_executions.c.id,
        ).join(
            action_executions,
            action_executions.c.task_execution_id == task_executions.c.id,
        )
    )
    .where(
        workflow_executions.c.state.in_(("RUNNING", "PAUSED", "IDLE")),
        task_executions.c.state == "RUNNING",
        action_executions.c.state == "RUNNING",
        _unanswered,
    )
)

# What is due later than it was written was put off until maintenance is over.
_ASKED: Final = select(outbox.c.id).where(
    outbox.c.kind == "StartWorkflow", outbox.c.due_at <= outbox.c.created_at
)
