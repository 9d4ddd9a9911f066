"""Cron triggers and those who come in between."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from mistral.context import Context
from mistral.db import definitions, models, triggers
from mistral.db.database import Database
from mistral.db.owned import Author, Place
from mistral.errors import BadRequest, NotFound
from mistral.lang.parse import parse_workflows

NOON = datetime(2020, 1, 2, 12)
TEXT = "version: '2.0'\nw:\n  tasks:\n    t: {action: std.noop}\n"

_numbers = itertools.count(1)


def author() -> Author:
    return Author(Context("p"), NOON, lambda: f"id-{next(_numbers)}")


@pytest.fixture
def workflow(database: Database) -> Any:
    if database.is_sqlite:
        pytest.skip("one writer at a time: nobody comes in between")
    with database.begin() as connection:
        parsed = parse_workflows(TEXT)
        [row] = definitions.create_workflows(connection, author(), parsed, Place())
        return row


def create(connection: Connection, workflow: Any) -> None:
    values = {
        "name": "x",
        "pattern": "* * * * *",
        "workflow_input": {},
        "workflow_params": {},
        "first_execution_time": None,
        "next_execution_time": NOON,
        "remaining_executions": None,
    }
    triggers.create(connection, author(), workflow, values)


def just_before(
    connection: Connection, statement: str, what: Callable[[], None]
) -> None:
    """Let somebody else do and commit something before a statement runs."""

    def act(conn: Any, cursor: Any, text: str, *_rest: Any) -> None:
        if text.startswith(statement):
            what()

    event.listen(connection, "before_cursor_execute", act)


def test_a_trigger_that_comes_while_its_workflow_is_deleted(
    database: Database, workflow: Any
) -> None:
    def other() -> None:
        with database.begin() as connection:
            create(connection, workflow)

    with pytest.raises(BadRequest, match="has cron triggers associated"):
        with database.begin() as connection:
            just_before(connection, "SELECT workflows.id", other)
            definitions.remove_workflow(connection, workflow)
    with database.read() as connection:
        assert len(connection.execute(select(models.workflows)).all()) == 1
        assert len(connection.execute(select(models.cron_triggers)).all()) == 1


def test_a_workflow_that_goes_while_its_trigger_comes(
    database: Database, workflow: Any
) -> None:
    def other() -> None:
        with database.begin() as connection:
            definitions.remove_workflow(connection, workflow)

    with pytest.raises(NotFound, match="No workflow 'w' any more"):
        with database.begin() as connection:
            just_before(connection, "INSERT INTO cron_triggers", other)
            create(connection, workflow)
    with database.read() as connection:
        assert connection.execute(select(models.cron_triggers)).all() == []
        assert connection.execute(select(models.outbox)).all() == []
