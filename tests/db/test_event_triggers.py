"""Rows of event triggers and of their firings, on every database."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import insert, update

from mistral.context import Context
from mistral.db import definitions, event_triggers, models, owned
from mistral.db.database import Database
from mistral.db.owned import Author
from mistral.errors import BadRequest, Conflict, NotFound
from mistral.lang.parse import parse_workflows

NOW = datetime(2026, 1, 2, 3, 4, 5)
TEXT = "version: '2.0'\nw:\n  tasks: {t: {action: std.noop}}\n"


def author() -> Author:
    return Author(Context(project_id="red"), NOW, lambda: str(uuid.uuid4()))


@pytest.fixture
def workflow(database: Database) -> str:
    with database.begin() as connection:
        [row] = definitions.create_workflows(
            connection, author(), parse_workflows(TEXT), owned.Place()
        )
        if connection.execute(models.maintenance.select()).first() is None:
            # a test before this one has emptied all tables
            connection.execute(insert(models.maintenance).values(_RUNNING))
    return str(row["id"])


_RUNNING = {"id": "maintenance", "status": "RUNNING"}


def make(database: Database, workflow: str, most: int = 100, **values: Any) -> Any:
    given = {
        "name": "",
        "scope": "private",
        "workflow_id": workflow,
        "workflow_input": {},
        "workflow_params": {"a": 1},
        "exchange": "nova",
        "topic": "notes",
        "event": "made",
    }
    with database.begin() as connection:
        return event_triggers.create(connection, author(), given | values, most)


def test_names_are_case_sensitive_and_once_each(
    database: Database, workflow: str
) -> None:
    make(database, workflow)
    make(database, workflow, event="Made")
    make(database, workflow, topic="Notes")
    with pytest.raises(Conflict):
        make(database, workflow)
    with database.read() as connection:
        assert event_triggers.watched(connection) == {
            ("nova", "notes"): {"made", "Made"},
            ("nova", "Notes"): {"made"},
        }
        rows = event_triggers.of_event(connection, "nova", "notes", "Made")
        assert [row["event"] for row in rows] == ["Made"]


def test_sources_are_counted_in_pairs(database: Database, workflow: str) -> None:
    make(database, workflow, most=2)
    make(database, workflow, most=2, exchange="heat")
    make(database, workflow, most=2, event="other")
    with pytest.raises(BadRequest):
        make(database, workflow, most=2, topic="other")


def fire(connection: Any, trigger: Any, id: str, params: Any) -> int:
    source = ("nova", "notes")
    rows = event_triggers.of_event(connection, *source, trigger["event"])
    return event_triggers.fire(connection, rows, source, id, params, {}, NOW)


def test_a_firing_is_one_row_however_often(database: Database, workflow: str) -> None:
    trigger = make(database, workflow)
    fired: list[int] = []
    for _ in range(2):
        with database.begin() as connection:
            found = fire(connection, trigger, "m", {"x": 1})
            fired.append(found)
    assert fired == [1, 0]
    with database.begin() as connection:
        fire(connection, trigger, "n", {"x": 2})
    with database.read() as connection:
        rows = connection.execute(models.outbox.select()).mappings().all()
    params = sorted(row["payload"]["params"]["event_params"]["x"] for row in rows)
    assert params == [1, 2]
    assert {row["kind"] for row in rows} == {"StartWorkflow"}
    assert all(row["payload"]["params"]["a"] == 1 for row in rows)


def test_eng_225_no_row_during_maintenance(database: Database, workflow: str) -> None:
    trigger = make(database, workflow)
    with database.begin() as connection:
        connection.execute(update(models.maintenance).values(status="PAUSED"))
        assert fire(connection, trigger, "m", {}) == 0
        connection.execute(update(models.maintenance).values(status="RUNNING"))
    with database.read() as connection:
        assert connection.execute(models.outbox.select()).first() is None


def test_a_trigger_needs_a_workflow(database: Database, workflow: str) -> None:
    with database.begin() as connection:
        found = event_triggers.workflow_of(connection, workflow, "red")
        assert found["name"] == "w"
        for id, project in ((workflow, "blue"), (str(uuid.uuid4()), "red")):
            with pytest.raises(NotFound):
                event_triggers.workflow_of(connection, id, project)


def test_a_workflow_with_a_trigger_stays(database: Database, workflow: str) -> None:
    trigger = make(database, workflow)
    with pytest.raises(BadRequest, match=trigger["id"]), database.begin() as connection:
        row = owned.read(connection, models.workflows, workflow)
        definitions.remove_workflow(connection, row)
