"""All that must happen after a commit: one row each, with a date and a lease.

A lease keeps others from doing the same work twice; it never makes anything
right. What makes it right is that a turn locks the rows that it consumes and
drops the events whose rows are gone (DESIGN § 3).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, or_, select, update

from mistral.db import bulk
from mistral.db.models import outbox

OFFER: Final = "CallAction"
NOTICE: Final = "Notify"
TIMERS: Final = ("Woke", "RunWoke")
"""Of tasks, and of runs themselves."""
START: Final = "StartWorkflow"
FIRING: Final = "CronDue"

_FIRST_DELAY: Final = 8.0
"""Seconds; sweeps look a little ahead (``sweeps.AHEAD``). Only what can begin within a
moment is sent (``engine/offers.py``), so an offer that nobody has claimed for so long
is lost, or with an executor that is stopped, and others should have it."""

_LONGEST_DELAY: Final = 600.0
_PATIENT_AFTER: Final = 2
"""So often the delay stays the same: in an outage offers are lost more than once."""


def add(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write effects: rows with the columns of ``models.outbox``."""
    bulk.insert_many(connection, outbox, rows)


def claim_due(
    connection: Connection,
    now: datetime,
    owner: str,
    lease_seconds: float,
    limit: int,
    *,
    ahead: float = 0.0,
    passed_over: Collection[str] = (),
) -> list[bulk.Row]:
    """Take a lease on rows that are due and that nobody holds, oldest first.

    :param now: by the database's clock.
    :param owner: name of the process, for ``lease_owner``.
    :param ahead: seconds; what is due that soon is taken already.
    :param passed_over: kinds that are left to other processes.
    :returns: at most ``limit`` rows as they were before. Rows that another
        process is just claiming are passed over, not waited for.
    """
    statement = _DUE
    if passed_over:
        statement = statement.where(outbox.c.kind.not_in(passed_over))
    bound = {"now": now, "soon": now + timedelta(seconds=ahead), "most": limit}
    due = connection.execute(statement, bound).mappings().all()
    if due:
        until = now + timedelta(seconds=lease_seconds)
        connection.execute(
            _lease(connection),
            {
                "among": sorted(row["id"] for row in due),
                "new_owner": owner,
                "new_until": until,
            },
        )
    return list(due)


def lock(connection: Connection, ids: Collection[str]) -> set[str]:
    """Lock rows in the order of their ids; which are still there?

    Comes after the locks of the headers. A row that is gone was consumed by
    another turn: its event is dropped.
    """
    return {row["id"] for row in bulk.lock(connection, outbox, ids, ("id",))}


def remove(connection: Connection, ids: Collection[str]) -> int:
    """Remove what is done; answers how many rows were still there."""
    return bulk.delete_ids(connection, outbox, ids)


def resend_later(
    connection: Connection, rows: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """Note that offers were sent: the next time is in 8 s, after some times in 16 s, …
    10 min.

    Gives the lease back; ``lease_owner`` still says who has sent them. Rows that are
    gone (claimed meanwhile) or that a turn is just consuming stay as they are.

    :param rows: with ``id`` and ``attempts`` as they were read.
    """
    free = bulk.lock(
        connection,
        outbox,
        [row["id"] for row in rows],
        ("id", "attempts"),
        skip_locked=True,
    )
    bulk.update_many(
        connection,
        outbox,
        [
            {
                "id": row["id"],
                "due_at": now + timedelta(seconds=_delay(row["attempts"])),
                "attempts": row["attempts"] + 1,
                "lease_until": None,
            }
            for row in free
        ],
    )


def resend_now(connection: Connection, owner: str, now: datetime) -> int:
    """Make due what a process has to offer: what it has sent may be lost, and what it
    could not send need not wait for the end of a lease. Answers how many these are.
    """
    mine = select(outbox.c.id).where(
        outbox.c.lease_owner == owner, outbox.c.kind == OFFER
    )
    ids = list(connection.scalars(mine))
    free = bulk.lock(connection, outbox, ids, ("id",), skip_locked=True)
    changes = [{"id": row["id"], "due_at": now, "lease_until": None} for row in free]
    return bulk.update_many(connection, outbox, changes)


def offered(connection: Connection, action_ids: Collection[str]) -> set[str]:
    """Those of these actions that nobody has claimed."""
    query = select(outbox.c.action_id).where(outbox.c.kind == OFFER)
    rows = bulk.select_among(connection, query, outbox.c.action_id, sorted(action_ids))
    return {row["action_id"] for row in rows}


def remove_offers(connection: Connection, action_ids: Collection[str]) -> int:
    """Remove the offers of these actions; answers how many there were.

    Their headers are locked. Whoever else touches such rows passes locked ones
    over and waits for nobody, so these need no order of their own.
    """
    return bulk.delete_of_kind(connection, outbox, "action_id", action_ids, OFFER)


def remove_timers(connection: Connection, run_ids: Collection[str]) -> int:
    """Remove the timers of these runs; as ``remove_offers``."""
    return bulk.delete_of_kind(connection, outbox, "run_id", run_ids, *TIMERS)


def remove_starts(connection: Connection, run_ids: Collection[str]) -> int:
    """Remove what would start these runs; a turn that is just starting one is waited
    for."""
    return bulk.delete_of_kind(connection, outbox, "run_id", run_ids, START)


def disarm(connection: Connection, trigger_ids: Collection[str]) -> int:
    """Remove the next firings of cron triggers, whose rows are locked."""
    return bulk.delete_of_kind(connection, outbox, "run_id", trigger_ids, FIRING)


def of_header(connection: Connection, header_id: str) -> list[str]:
    """Ids of all rows that belong to a header."""
    found = select(outbox.c.id).where(outbox.c.run_id == header_id)
    return list(connection.scalars(found))


def _delay(attempts: int) -> float:
    doubled = min(max(attempts - _PATIENT_AFTER, 0), 10)
    return min(_FIRST_DELAY * float(2**doubled), _LONGEST_DELAY)


_DUE: Final = (
    bulk.forced(select(outbox), outbox, "ix_outbox_due_at")
    .where(outbox.c.due_at <= bindparam("soon"))
    .where(
        or_(outbox.c.lease_until.is_(None), outbox.c.lease_until <= bindparam("now"))
    )
    .order_by(outbox.c.due_at, outbox.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)


def _lease(connection: Connection) -> Any:
    return (
        update(outbox)
        .where(bulk.among(connection, outbox.c.id))
        .values(lease_owner=bindparam("new_owner"), lease_until=bindparam("new_until"))
    )
