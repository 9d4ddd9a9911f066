"""Cron triggers: rows, and the outbox row that makes the next one fire.

A trigger and its next firing are written together and removed together. An
engine that fires one locks its row first, so whoever changes it does, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, insert
from sqlalchemy.exc import IntegrityError

from mistral.db import bulk, firings, outbox, owned, trusts
from mistral.db.failures import is_duplicate
from mistral.db.models import cron_firings, cron_triggers
from mistral.db.models import outbox as outbox_table
from mistral.db.owned import Author, Place
from mistral.errors import BadRequest, Conflict, NotFound
from mistral.lang import schedules, zones
from mistral.lang.schedules import WINDOW, Schedule
from mistral.messages import CronDue, Event, QueueLook, encode
from mistral.publisher_entries import shown

Row = Mapping[str, Any]

DEFAULTS: Final[Row] = {
    "timezone": "UTC",
    "enabled": True,
    "overlap": "allow",
    "catch_up": "once",
    "catch_up_window": WINDOW,
    "jitter": 0,
    "finished": False,
    "definition_type": None,
    "definition_id": None,
    "declared": None,
}
"""Columns of a trigger of which nothing is said."""

MOST_FILLED_BACK: Final = 1_000
"""Planned times of one back-fill."""


def create(
    connection: Connection, author: Author, workflow: Row, values: Mapping[str, Any]
) -> Row:
    """A trigger of the author's project, armed.

    :param workflow: the definition that it starts.
    :param values: the columns ``name``, ``scope``, ``pattern``,
        ``workflow_input``, ``workflow_params``, ``first_execution_time``,
        ``next_execution_time``, ``remaining_executions``; ``id`` and ``context``
        where they are known already, and any of ``DEFAULTS``.
    :raises Conflict: its name is taken, or it has a count and a first time and
        the project has the same under another name.
    :raises NotFound: the workflow was deleted meanwhile.
    """
    row = {
        **owned.fresh(author, Place()),
        **DEFAULTS,
        "context": author.context.for_later().to_dict(),
        **values,
        "workflow_id": workflow["id"],
        "workflow_name": workflow["name"],
        "workflow_namespace": workflow["namespace"],
    }
    del row["namespace"]
    row["digest"] = None if row["definition_id"] else _digest(row)
    owned.check_scope(author, cron_triggers, row["scope"])
    try:
        connection.execute(insert(cron_triggers).values(row))
    except IntegrityError as error:
        if not is_duplicate(error):
            raise NotFound(f"No workflow '{workflow['name']}' any more.") from None
        raise Conflict(
            f"A cron trigger '{row['name']}', or one with the same workflow, input,"
            " parameters, pattern, count and first time, already exists in this"
            " project."
        ) from None
    if row["enabled"]:
        arm(connection, author, row, row["next_execution_time"])
    trusts.keep(connection, row["id"])
    return row


def arm(connection: Connection, author: Author, row: Row, planned: datetime) -> None:
    """Let a trigger fire at this time; engines arm the times after the first.

    :param row: the trigger's columns.
    """
    due = CronDue(trigger_id=row["id"], planned=planned.isoformat())
    tell(connection, author, due, row["id"], Schedule.of(row).due(planned))


def tell(
    connection: Connection,
    author: Author,
    event: Event,
    header_id: str,
    due_at: datetime,
    row_id: str | None = None,
) -> None:
    """Let an engine hear an event."""
    row = {
        "id": row_id or author.new_id(),
        "due_at": due_at,
        "kind": type(event).__name__,
        "payload": encode(event),
        "run_id": header_id,
        "created_at": author.now,
    }
    bulk.insert_missing(connection, outbox_table, [row])


def remove_apart(connection: Connection, row: Row) -> None:
    """As ``remove``.

    :raises Conflict: a definition has it.
    """
    owned.refuse_declared(cron_triggers, row)
    remove(connection, row)


def remove(connection: Connection, row: Row) -> None:
    """The trigger and its next firing; one that was told already happens."""
    bulk.lock(connection, cron_triggers, [row["id"]], ("id",))
    disarm(connection, row)
    bulk.delete_ids(connection, cron_triggers, [row["id"]])
    trusts.release(connection, row["id"])


def disarm(connection: Connection, row: Row) -> None:
    """Let a trigger, whose row is locked, not fire."""
    waiting = outbox.of_header(connection, row["id"])
    outbox.lock(connection, waiting)
    outbox.remove(connection, waiting)


# -- What users do with one ----------------------------------------------------


def pause(connection: Connection, author: Author, row: Row) -> Row:
    """It does not fire, and nothing of it that waits begins, until it is resumed.

    :raises Conflict: a definition has it.
    """
    owned.refuse_declared(cron_triggers, row)
    row = _locked(connection, row)
    if not row["enabled"]:
        return row
    disarm(connection, row)
    return _change(connection, author, row, enabled=False)


def resume(connection: Connection, author: Author, row: Row) -> Row:
    """It fires from now on: what it was paused for is not made up for.

    :raises Conflict: a definition has it; or it has no further time.
    """
    owned.refuse_declared(cron_triggers, row)
    row = _locked(connection, row)
    if row["enabled"]:
        return row
    planned = row["next_execution_time"]
    if planned <= author.now:
        planned = Schedule.of(row).following(author.now)
    if planned is None:
        raise Conflict(f"The cron trigger '{row['name']}' has no further time.")
    row = _change(connection, author, row, enabled=True, next_execution_time=planned)
    arm(connection, author, row, planned)
    look_at_queue(connection, author, row)
    return row


def look_at_queue(connection: Connection, author: Author, row: Row) -> None:
    """Firings that wait may begin."""
    look = QueueLook(trigger_id=row["id"], again=True)
    tell(connection, author, look, row["id"], author.now)


def run_now(connection: Connection, author: Author, row: Row) -> Row:
    """Start the workflow besides the schedule: neither the count nor what else runs
    matters. Answers the firing."""
    row = _locked(connection, row)
    planned = author.now.replace(microsecond=0)
    firing = _firing(author, row, planned, "request", author.new_id())
    _begin(connection, author, row, [firing])
    return firing


def fill_back(
    connection: Connection, author: Author, row: Row, start: datetime, end: datetime
) -> list[Row]:
    """Fire for the planned times of a range, but for those before its first time,
    those that it has fired for, or that wait: by the policy all at once, or one after
    the other.

    :param end: not before ``start``; is not in the range.
    :returns: the firings.
    :raises BadRequest: these are too many times.
    """
    row = _locked(connection, row)
    start = max(start, row["first_execution_time"] or start)
    times = list(islice(Schedule.of(row).planned(start, end), MOST_FILLED_BACK + 1))
    if len(times) > MOST_FILLED_BACK:
        raise BadRequest(
            f"From {start} to {end} there are more than {MOST_FILLED_BACK} times:"
            " ask for a shorter range."
        )
    found = [_firing(author, row, planned, "backfill") for planned in times]
    there = firings.known(connection, [each["id"] for each in found])
    found = [each for each in found if there.get(each["id"]) not in firings.MADE]
    bulk.delete_ids(connection, cron_firings, [each["id"] for each in found])
    if row["overlap"] == "allow":
        _begin(connection, author, row, found)
    elif found:
        for each in found:
            each["outcome"] = "queued"
        bulk.insert_many(connection, cron_firings, found)
        look_at_queue(connection, author, row)
    return list(found)


def _locked(connection: Connection, row: Row) -> Row:
    """
    :raises NotFound: it was deleted, or has fired for the last time, meanwhile.
    """
    found = bulk.lock(connection, cron_triggers, [row["id"]])
    if not found:
        raise NotFound(f"The cron trigger '{row['name']}' was deleted.")
    return found[0]


def _change(connection: Connection, author: Author, row: Row, **values: Any) -> Row:
    return owned.change(connection, cron_triggers, author, row, values)


def _firing(
    author: Author, row: Row, planned: datetime, by: str, run_id: str | None = None
) -> dict[str, Any]:
    return {
        "id": run_id or schedules.execution_id(row["id"], planned),
        "cron_trigger_id": row["id"],
        "planned_at": planned,
        "fired_by": by,
        "outcome": "started",
        "reason": None,
        "created_at": author.now,
        "updated_at": None,
    }


def _begin(
    connection: Connection, author: Author, row: Row, found: Sequence[Row]
) -> None:
    bulk.insert_many(connection, cron_firings, found)
    for each in found:
        start = schedules.start(row, each["planned_at"], each["fired_by"], each["id"])
        tell(connection, author, start, each["id"], author.now, each["id"])


def _digest(row: Row) -> str | None:
    """Of what makes two triggers the same (spec/rest-api.md § 9.4): null never
    equals null, so only those with a count and a first time are compared."""
    first, count = row["first_execution_time"], row["remaining_executions"]
    if first is None or count is None:
        return None
    same = [
        row["workflow_name"],
        row["workflow_input"],
        # sealed, the same secret is another text each time
        shown(row["workflow_params"]),
        row["pattern"],
        count,
        first.isoformat(),
    ]
    if row["timezone"] != zones.UTC:
        same.append(row["timezone"])
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()
