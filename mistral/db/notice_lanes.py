"""Notifications that wait in the outbox: a lane for each run and publisher (§ 10.8).

The id of such a row begins with its lane and ends with its number, so a lane is a
range of the primary key and in its order. Its first row is the lane's lock: whoever
holds it may let the lane go on. ``attempts`` and ``due_at`` count for the first row
alone: offered so often, and offered again at that time. The rows behind it are put
off for longer, so that nobody finds them due before it.

What no publisher took in time lies in ``poison`` until operators send it again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from mistral.db import bulk, direct
from mistral.db.models import outbox, poison, workflow_executions
from mistral.db.outbox import NOTICE
from mistral.messages import Notify, decode

Row = Mapping[str, Any]

_DIGITS: Final = 11
_LANE: Final = 36 - _DIGITS - 1


def row_id(notice: Notify) -> str:
    return f"{notice.lane}-{notice.number:0{_DIGITS}d}"


def lane_of(row_id: str) -> str:
    """A row without a lane is one of its own."""
    if row_id[_LANE : _LANE + 1] == "-":
        return row_id[:_LANE]
    return row_id


def first_rows(
    connection: Connection, lanes: Collection[str], most: int
) -> dict[str, Sequence[Row]]:
    """The rows of each lane that come first, in their order."""
    asked = [[(_FIRST, {**_range(lane), "most": most})] for lane in lanes]
    return dict(zip(lanes, direct.fetch_together(connection, asked), strict=True))


def _range(lane: str) -> dict[str, str]:
    if len(lane) != _LANE:
        return {"low": lane, "high": lane}
    return {"low": f"{lane}-{'0' * _DIGITS}", "high": f"{lane}-{'9' * _DIGITS}"}


def hold(connection: Connection, ids: Collection[str]) -> dict[str, Row]:
    """Lock rows that nobody else holds; as they are now: ``attempts``, ``due_at``."""
    names = ("id", "attempts", "due_at")
    found = bulk.lock(connection, outbox, ids, names, skip_locked=True)
    return {row["id"]: row for row in found}


def lock(connection: Connection, ids: Collection[str]) -> dict[str, Row]:
    """Lock rows, also if somebody has to be waited for."""
    return {row["id"]: row for row in bulk.lock(connection, outbox, ids)}


def offered(
    connection: Connection, changes: Sequence[tuple[str, datetime, int]]
) -> None:
    """When the first rows of lanes are offered again; until then nobody has a lease.

    :param changes: id, due date, times that it was offered.
    """
    rows = [
        {"id": id, "due_at": due_at, "attempts": attempts, "lease_until": None}
        for id, due_at, attempts in changes
    ]
    bulk.update_many(connection, outbox, rows)


def put_off(connection: Connection, due: Mapping[str, datetime]) -> None:
    """Rows behind the first become due later, and until then nobody has a lease."""
    rows = [
        {"id": id, "due_at": due_at, "lease_until": None} for id, due_at in due.items()
    ]
    bulk.update_many(connection, outbox, rows)


def give_up(connection: Connection, row: Row, reason: str, now: datetime) -> None:
    """Keep for operators what a publisher never took; its row is locked."""
    kept = {
        "id": row["id"],
        "run_id": row["run_id"],
        "kind": NOTICE,
        "payload": row["payload"],
        "error": reason,
        "at": now,
    }
    bulk.insert_missing(connection, poison, [kept])
    bulk.delete_ids(connection, outbox, [row["id"]])


def given_up(
    connection: Connection, most: int, *, run_id: str | None = None, after: str = ""
) -> Sequence[Row]:
    """Rows of ``poison`` that are notifications, by id.

    :param after: the last id of the page before.
    """
    query = select(poison).where(poison.c.kind == NOTICE, poison.c.id > after)
    if run_id is not None:
        query = query.where(poison.c.run_id == run_id)
    found = connection.execute(query.order_by(poison.c.id).limit(most))
    return found.mappings().all()


def send_again(connection: Connection, ids: Collection[str], now: datetime) -> int:
    """Move notifications back to the outbox, as if they were written now; answers how
    many. Those of executions that are gone stay."""
    rows = [
        row
        for row in bulk.lock(connection, poison, ids)
        if row["kind"] == NOTICE and isinstance(decode(row["payload"]), Notify)
    ]
    run_ids = sorted({row["run_id"] for row in rows})
    headers = bulk.lock(connection, workflow_executions, run_ids, ("id",))
    alive = {row["id"] for row in headers}
    rows = [row for row in rows if row["run_id"] in alive]
    again = [
        {
            "id": row["id"],
            "due_at": now,
            "kind": NOTICE,
            "payload": row["payload"],
            "run_id": row["run_id"],
            "attempts": 0,
            "created_at": now,
        }
        for row in rows
    ]
    bulk.insert_missing(connection, outbox, again)
    return bulk.delete_ids(connection, poison, [row["id"] for row in rows])


def forget(connection: Connection, ids: Collection[str]) -> int:
    """Remove notifications that nobody will send again; answers how many."""
    mine = select(poison.c.id).where(poison.c.kind == NOTICE)
    found = bulk.select_among(connection, mine, poison.c.id, sorted(ids))
    return bulk.delete_ids(connection, poison, [row["id"] for row in found])


_FIRST: Final = (
    select(outbox.c.id, outbox.c.run_id, outbox.c.payload, outbox.c.attempts)
    .where(outbox.c.id.between(bindparam("low"), bindparam("high")))
    .order_by(outbox.c.id)
    .limit(bindparam("most"))
)
