"""Executions that are deleted but too large to go in one transaction (decision 0044).

Their rows go page by page, the header at the end. Until then nobody sees them
(``scope``), no event of them is heard (``internals.removing``), and their ids are not
free. A page is one transaction: whoever dies leaves the rest to the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    or_,
    select,
    update,
)

from mistral.db import bulk
from mistral.db.models import (
    action_executions,
    documents,
    history,
    join_arrivals,
    outbox,
    removals,
    task_executions,
    workflow_executions,
)
from mistral.messages import ChildFinished, ChildStarted, DeleteWorkflow, encode

PAGE: Final = 500
"""Rows that one transaction removes at most."""

NEWS: Final = (ChildStarted.__name__, ChildFinished.__name__)
"""What a sub-workflow tells when it has begun: the outbox keeps it though the parent is
gone, as that is how such a child is found."""

SIDE_BY_SIDE: Final = 8
"""Executions that are removed at the same time, by as many engines."""

Row = Mapping[str, Any]


def add(connection: Connection, execution_ids: list[str], now: datetime) -> None:
    """The caller holds the locks of their headers."""
    rows = [{"id": id, "step": 0, "created_at": now} for id in execution_ids]
    bulk.insert_many(connection, removals, rows)


def concerned(connection: Connection, execution_id: str) -> bool:
    """Whether an execution of this id is still being removed."""
    query = select(removals.c.id).where(removals.c.id == execution_id)
    return connection.scalar(query) is not None


def hidden(table: Table) -> ColumnElement[bool]:
    """Of executions, tasks and actions: the row is not one of those."""
    column = table.c.id if table is workflow_executions else _owner(table)
    left = column.not_in(select(removals.c.id))
    return or_(column.is_(None), left) if column.nullable else left


def _owner(table: Table) -> Any:
    return table.c.workflow_execution_id


class Page(NamedTuple):
    """:param now: the database's time.
    :param most: rows; of those that may be large a tenth.
    """

    now: datetime
    most: int = PAGE

    @property
    def few(self) -> int:
        return max(1, self.most // 10)


def remove(connection: Connection, page: Page) -> int | None:
    """Remove a page of the oldest that nobody else is at.

    :returns: how many rows; None: there is nothing to do.
    """
    row = _mine(connection)
    if row is None:
        return None
    if row["step"] >= len(_STEPS):
        # Foreign keys remove the row of ``removals``, too.
        _delete(connection, workflow_executions, [row["id"]])
        return 1
    removed, is_done = _STEPS[row["step"]](connection, row, page)
    if is_done:
        connection.execute(_of(row).values(step=row["step"] + 1))
    return removed


def _mine(connection: Connection) -> Row | None:
    """The oldest that nobody else is at, locked. Each is locked by its id: MariaDB
    locks whatever it reads on the way."""
    table = removals.c
    oldest = select(table.id).order_by(table.created_at, table.id).limit(SIDE_BY_SIDE)
    for id in list(connection.scalars(oldest)):
        query = select(removals).where(table.id == id)
        locked = connection.execute(query.with_for_update(skip_locked=True))
        row = locked.mappings().one_or_none()
        if row is not None:
            return row
    return None


def _of(row: Row) -> Any:
    return update(removals).where(removals.c.id == row["id"])


def _delete(connection: Connection, table: Table, ids: list[str]) -> None:
    bulk.delete_ids(connection, table, ids)


Step = Callable[[Connection, Row, Page], tuple[int, bool]]
"""(…, row of ``removals``, …) → how many rows went, and whether those were the last."""


def _promises(connection: Connection, row: Row, page: Page) -> tuple[int, bool]:
    """But for the news of a child that begins, whose end it leads to."""
    query = select(outbox.c.id).where(
        outbox.c.run_id == row["id"], outbox.c.kind.not_in(NEWS)
    )
    return _by_id(connection, outbox, query, page.most)


def _children(connection: Connection, row: Row, page: Page) -> tuple[int, bool]:
    """Sub-workflows have locks of their own: an engine deletes each."""
    child, task = workflow_executions.c, task_executions.c
    query = select(child.id).where(child.id > (row["after"] or ""))
    header = select(child.root_execution_id).where(child.id == row["id"])
    if connection.scalar(header) is None:
        query = query.where(child.root_execution_id == row["id"])
    else:
        query = query.join(task_executions, task.id == child.task_execution_id)
        query = query.where(task.workflow_execution_id == row["id"])
    ids = list(connection.scalars(query.order_by(child.id).limit(page.most)))
    told = [_told(row["id"], child_id, page.now) for child_id in ids]
    bulk.insert_missing(connection, outbox, told)
    if ids:
        connection.execute(_of(row).values(after=ids[-1]))
    return 0, len(ids) < page.most


def _told(run_id: str, child_id: str, now: datetime) -> dict[str, Any]:
    event = DeleteWorkflow(run_id=child_id, force=True)
    return {
        "id": str(uuid5(_NAMESPACE, f"{run_id}/{child_id}")),
        "due_at": now,
        "kind": DeleteWorkflow.__name__,
        "payload": encode(event),
        "run_id": child_id,
        "attempts": 0,
        "created_at": now,
    }


_NAMESPACE: Final = UUID("f4b2a4c1-6f0e-4a52-9f39-8a0f2b1c7d10")


def _actions(connection: Connection, row: Row, page: Page) -> tuple[int, bool]:
    query = select(action_executions.c.id).where(_owner(action_executions) == row["id"])
    return _by_id(connection, action_executions, query, page.most)


def _arrivals(connection: Connection, row: Row, page: Page) -> tuple[int, bool]:
    table, task = join_arrivals.c, task_executions.c
    key = (table.join_id, table.round, table.inbound)
    query = select(*key).join(task_executions, task.id == table.join_id)
    query = query.where(task.workflow_execution_id == row["id"]).limit(page.most)
    found = [tuple(each) for each in connection.execute(query)]
    if found:
        bulk.delete_keys(connection, join_arrivals, found)
    return len(found), len(found) < page.most


def _tasks(connection: Connection, row: Row, page: Page) -> tuple[int, bool]:
    query = select(task_executions.c.id).where(_owner(task_executions) == row["id"])
    return _by_id(connection, task_executions, query, page.most)


def _documents(connection: Connection, row: Row, page: Page) -> tuple[int, bool]:
    table = documents.c
    mine = table.workflow_execution_id == row["id"]
    found = list(connection.scalars(select(table.id).where(mine).limit(page.few)))
    if found:
        keys = [(row["id"], id) for id in found]
        bulk.delete_keys(connection, documents, keys)
    return len(found), len(found) < page.few


def _history(connection: Connection, row: Row, page: Page) -> tuple[int, bool]:
    mine = history.c.run_id == row["id"]
    query = select(history.c.seq).where(mine).order_by(history.c.seq).limit(page.most)
    found = list(connection.scalars(query))
    if found:
        bulk.delete_keys(connection, history, [(row["id"], seq) for seq in found])
    return len(found), len(found) < page.most


def _by_id(
    connection: Connection, table: Table, query: Select[Any], most: int
) -> tuple[int, bool]:
    found = list(connection.scalars(query.limit(most)))
    if found:
        _delete(connection, table, found)
    return len(found), len(found) < most


_STEPS: Final[tuple[Step, ...]] = (
    _promises,
    _children,
    _actions,
    _arrivals,
    _tasks,
    _documents,
    _history,
)
