"""What pages read of large tables (spec/rest-api.md § 3): as much as they show."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from mistral.db import bulk, executions, models
from mistral.db.database import Database
from mistral.db.listing import Condition, Listing, Query
from mistral.db.values_above import FEW

ROWS = 400
PAGE = 5

MakeRow = Callable[..., dict[str, Any]]


@pytest.fixture
def filled(database: Database, run_row: MakeRow, task_row: MakeRow) -> Database:
    """Executions with a task and an action each; two of a rare workflow."""
    _fill(database, run_row, task_row, ROWS, "usual")
    _fill(database, run_row, task_row, 2, "rare")
    return database


def _fill(
    database: Database, run_row: MakeRow, task_row: MakeRow, number: int, name: str
) -> None:
    runs, tasks, actions = [], [], []
    for seq in range(number):
        run, task = str(uuid.uuid4()), str(uuid.uuid4())
        of_run = {"workflow_name": name, "state": "SUCCESS"}
        of_workflow = of_run | {"workflow_id": str(uuid.UUID(int=len(name)))}
        made = run_row(run, **of_workflow)
        at = made["created_at"] + timedelta(seconds=seq)
        stamps = {"created_at": at, "updated_at": at}
        runs.append(made | stamps)
        tasks.append(
            task_row(task, run, seq, **of_workflow) | stamps | {"name": f"of_{name}"}
        )
        action = {"id": str(uuid.uuid4()), "task_execution_id": task, **of_run}
        action |= {"workflow_execution_id": run, "project_id": "p", "internals": {}}
        actions.append(action | stamps | {"name": "a", "task_name": f"of_{name}"})
    with database.begin() as connection:
        bulk.insert_many(connection, models.workflow_executions, runs)
        bulk.insert_many(connection, models.task_executions, tasks)
        bulk.insert_many(connection, models.action_executions, actions)


ABOVE = [
    (executions.TASKS, "workflow_name", "rare", "workflow_execution_id IN"),
    (
        executions.TASKS,
        "workflow_id",
        str(uuid.UUID(int=4)),
        "workflow_execution_id IN",
    ),
    (executions.ACTIONS, "workflow_name", "rare", "workflow_execution_id IN"),
    (executions.ACTIONS, "task_name", "of_rare", "task_execution_id IN"),
]


@pytest.mark.parametrize(("listing", "name", "value", "narrowed"), ABOVE)
def test_few_rows_above_lead_to_those_below(
    filled: Database, listing: Listing, name: str, value: str, narrowed: str
) -> None:
    """None, one of them or both; a list of values likewise."""
    absent = str(uuid.uuid4())
    for asked, number in (
        (value, 2), (absent, 0), (f"in:{value},{absent}", 2), (f"neq:{value}", ROWS),
    ):  # fmt: skip
        query = Query(conditions=(Condition.read(name, asked),))
        with filled.read() as connection, _selects(connection) as said:
            assert len(listing.page(connection, query)) == number
        assert (narrowed in said[-1]) == (not asked.startswith("neq")), said


def test_many_rows_above_are_no_detour(
    filled: Database, run_row: MakeRow, task_row: MakeRow
) -> None:
    _fill(filled, run_row, task_row, FEW + 1 - ROWS, "usual")
    query = Query(conditions=(Condition.read("workflow_name", "usual"),))
    with filled.read() as connection, _selects(connection) as said:
        assert len(executions.TASKS.page(connection, query)) == FEW + 1
    assert "workflow_execution_id IN" not in said[-1]


@contextmanager
def _selects(connection: Connection) -> Iterator[list[str]]:
    said: list[str] = []

    def note(_: Any, __: Any, sql: str, *___: Any) -> None:
        if sql.startswith("SELECT"):
            said.append(sql)

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(connection, "before_cursor_execute", note)


@pytest.mark.parametrize(
    "sort",
    [
        (("created_at", False), ("id", True)),
        (("updated_at", False), ("id", True)),
        (("state", True), ("created_at", True), ("id", True)),
        (("created_at", True), ("name", True), ("id", True)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "database", [pytest.param("mariadb", marks=pytest.mark.services)], indirect=True
)
def test_mariadb_reads_pages_along_an_index(
    filled: Database, sort: tuple[tuple[str, bool], ...]
) -> None:
    """Newest first, as clients ask, and in finer orders: rows of the page and the same
    once more, not the whole table."""
    with filled.read() as connection:
        connection.execute(text("ANALYZE TABLE workflow_executions"))
        connection.execute(text("FLUSH STATUS"))
        page = executions.EXECUTIONS.page(connection, Query(sort=sort, limit=PAGE))
        read = connection.execute(text("SHOW SESSION STATUS LIKE 'Handler_read%'"))
        number = sum(int(row[1]) for row in read)
    assert len(page) == PAGE
    assert number < ROWS / 4
