"""The engine's statements: rows of runs, whole sets at a time.

Only the engine imports this (one writer of executions). Inside a turn headers
are locked first, by id, then outbox rows, by id (``outbox.lock``); everything
else of a run is guarded by its header.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Table

from mistral.db import bulk
from mistral.db.bulk import (
    delete_ids,
    fetch,
    insert_many,
    insert_missing,
    to_fetch,
    to_lock,
    update_many,
)
from mistral.db.models import workflow_executions

__all__ = [
    "delete_ids",
    "fetch",
    "insert_many",
    "insert_missing",
    "lock_headers",
    "to_fetch",
    "to_lock",
    "update_many",
]


def lock_headers(
    connection: Connection,
    ids: Collection[str],
    *,
    skip_locked: bool,
    table: Table = workflow_executions,
) -> dict[str, bulk.Row]:
    """Lock headers in the order of their ids; the first statement of a turn.

    :param skip_locked: leave out headers that another engine holds.
    :param table: ``action_executions`` for stand-alone actions, which are their
        own headers.
    :returns: the rows by id; what does not exist or was skipped is not in it.
    """
    found = bulk.lock(connection, table, ids, skip_locked=skip_locked)
    return {row["id"]: row for row in found}
