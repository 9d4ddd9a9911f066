"""Cron triggers: rows, and the outbox row that makes the next one fire.

A trigger and its next firing are written together and removed together. An
engine that fires one locks its row first, so whoever changes it does, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, insert
from sqlalchemy.exc import IntegrityError

from mistral.db import bulk, outbox, owned, trusts
from mistral.db.failures import is_duplicate
from mistral.db.models import cron_triggers
from mistral.db.models import outbox as outbox_table
from mistral.db.owned import Author, Place
from mistral.errors import Conflict, NotFound
from mistral.lang.schedules import WINDOW, Schedule
from mistral.messages import CronDue, Event, encode
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
    row["digest"] = _digest(row)
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


def arm(
    connection: Connection, author: Author, row: Row, planned: datetime
) -> None:
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


def remove(connection: Connection, row: Row) -> None:
    """The trigger and its next firing; one that was told already happens."""
    bulk.lock(connection, cron_triggers, [row["id"]], ("id",))
    waiting = outbox.of_header(connection, row["id"])
    outbox.lock(connection, waiting)
    outbox.remove(connection, waiting)
    bulk.delete_ids(connection, cron_triggers, [row["id"]])
    trusts.release(connection, row["id"])


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
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()
