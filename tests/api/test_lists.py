"""Every list × filter × order × size of page: ``next`` leads through all of it.

What is listed, and by what it can be filtered and sorted, is taken from the
declarations of the lists, so that a new one is tried too. The pages together
have to be the list that is asked for without a limit (Q-16).
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pytest
from generated_rows import TEXTS, GeneratedRows
from sqlalchemy import event, select, update

from mistral.api.app import collections
from mistral.db import executions, models
from mistral.db.columns import Json
from mistral.db.database import Database
from mistral.db.listing import Kind, Listing

ROWS: Final = 10
LARGE: Final = ("definition", "spec", "input", "params", "output", "variables",
                "published", "context", "internals", "runtime_context")  # fmt: skip

FOR_ADMINISTRATORS: Final = ("code_sources", "dynamic_actions")

_OPERATORS: Final = {
    Kind.TEXT: ("eq", "neq", "gt", "gte", "lt", "lte", "in", "nin", "has"),
    Kind.ID: ("eq", "neq", "in", "nin"),
    Kind.UUID: ("eq", "neq", "in", "nin"),
    Kind.JSON: ("eq", "neq"),
    Kind.BOOL: ("eq", "neq"),
    Kind.COUNT: ("eq",),
    Kind.DATE: ("eq", "neq", "gt", "gte", "lt", "lte", "in", "nin"),
    Kind.TAGS: ("eq", "neq", "in", "nin", "has"),
    Kind.PROJECT: ("eq", "neq", "in", "nin"),
    Kind.RUN: ("eq", "neq", "in", "nin"),
    Kind.RESULT: ("eq", "neq", "in", "nin", "has"),
}


def _declared() -> dict[str, Listing]:
    """Lists by their paths; ``{task}`` and ``{run}`` stand for ids."""
    found = {
        "executions": executions.EXECUTIONS,
        "tasks": executions.TASKS,
        "action_executions": executions.ACTIONS,
        "executions/{run}/tasks": executions.TASKS_OF_EXECUTION,
        "tasks/{task}/action_executions": executions.ACTIONS_OF_TASK,
        "tasks/{task}/workflow_executions": executions.EXECUTIONS_OF_TASK,
    }
    for name, resource in collections().items():
        listing = getattr(sys.modules[type(resource).__module__], "LISTING", None)
        if name not in found and isinstance(listing, Listing):
            found[name] = listing
    return found


LISTS: Final = _declared()


def test_every_list_is_here() -> None:
    assert {name for name in LISTS if "/" not in name} >= {
        "workbooks", "workflows", "actions", "environments", "executions", "tasks",
        "action_executions",
    }  # fmt: skip


class World:
    """Rows in every listed table, and who looks at them."""

    def __init__(self, database: Database, projects: Any, seed: int) -> None:
        self.database = database
        self.rows = GeneratedRows(seed)
        self.random = random.Random(seed)
        self.clients = [projects.be("admin:blue"), projects.be("red")]
        with database.begin() as connection:
            self.rows.put(connection, models.workflow_executions, 3, project_id="red")
            self.rows.put(connection, models.task_executions, 3, project_id="red")
            for table in dict.fromkeys(listing.table for listing in LISTS.values()):
                self.rows.put(connection, table, ROWS)

    def path(self, name: str) -> str:
        run = self.rows.ids["workflow_executions"][0]
        task = self.rows.ids["task_executions"][0]
        return f"/v2/{name.format(run=run, task=task)}"


@pytest.fixture
def world(database: Database, projects: Any) -> World:
    return World(database, projects, seed=7)


def _sortable(name: str, listing: Listing) -> list[str]:
    if name != "actions":
        unsorted = {"tags"} if name in FOR_ADMINISTRATORS else set()
        return sorted(set(listing.columns) - unsorted)
    return ["name", "id", "created_at", "scope", "is_system", "description"]


def _value(world: World, listing: Listing, name: str, operator: str) -> str:
    """A value of a row, in the form of a query."""
    if listing.filters[name] is Kind.RESULT:
        return world.random.choice(("1", "null", '{"a":1}'))
    column = listing.columns[name]
    statement = select(column).select_from(listing.table).where(column.is_not(None))
    with world.database.read() as connection:
        found = [value for (value,) in connection.execute(statement)]
    kind = listing.filters[name]
    value = world.random.choice(found or [""])
    if kind is Kind.JSON:
        return json.dumps(value)
    if kind is Kind.TAGS:
        return ",".join(value) if operator != "has" else "a"
    if kind is Kind.DATE:
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if operator in ("in", "nin"):
        return f"{value},{world.random.choice(found or TEXTS)}"
    return str(value)


def _filters(world: World, listing: Listing) -> Iterator[str]:
    for name, declared in listing.filters.items():
        kind = Kind.BOOL if name == "is_system" else declared
        for operator in _OPERATORS[kind]:
            value = _value(world, listing, name, operator)
            yield f"{name}={operator}:{quote(value, safe='')}"


def _orders(world: World, name: str, listing: Listing) -> Iterator[str]:
    for key in _sortable(name, listing):
        others = world.random.sample(_sortable(name, listing), 2)
        for direction in ("asc", "desc"):
            second = world.random.choice(("asc", "desc"))
            keys = list(dict.fromkeys([key, *others]))[: world.random.randint(1, 3)]
            directions = [direction, second][: len(keys)]
            yield f"sort_keys={','.join(keys)}&sort_dirs={','.join(directions)}"


def _ids(client: Any, name: str, path: str) -> tuple[list[str], str]:
    """The ids of one page, and the path of the next."""
    answer = client.get(path)
    assert answer.status == 200, (path, answer.body)
    member = name.rpartition("/")[2].replace("workflow_executions", "executions")
    link = urlsplit(answer.json.get("next", ""))
    following = f"{link.path}?{link.query}" if link.path else ""
    return [item["id"] for item in answer.json[member]], following


def _walk(client: Any, name: str, path: str, limit: int) -> list[str]:
    seen, following = _ids(client, name, f"{path}&limit={limit}")
    sizes = [len(seen)]
    while following:
        page, following = _ids(client, name, following)
        sizes.append(len(page))
        seen += page
        assert len(sizes) < 200, path
    assert all(size == limit for size in sizes[:-1]), (path, sizes)
    return seen


@pytest.mark.thorough
@pytest.mark.parametrize("name", LISTS)
def test_q16_pages_are_the_list_whatever_is_asked(world: World, name: str) -> None:
    listing, path = LISTS[name], world.path(name)
    orders = list(_orders(world, name, listing))
    queries = [
        f"{each}&{world.random.choice(['', *orders])}"
        for each in _filters(world, listing)
    ]
    seen_any = 0
    for query in [*orders, *queries]:
        # Only who may see all projects asks for executions of one.
        alone = name in FOR_ADMINISTRATORS or (
            name == "executions" and query.startswith("project_id")
        )
        client = world.clients[0] if alone else world.random.choice(world.clients)
        asked = f"{path}?{query}&fields={world.random.choice(['', 'id'])}"
        whole, _ = _ids(client, name, asked)
        limit = world.random.choice((1, 2, 3, 5))
        assert _walk(client, name, asked, limit) == whole, (asked, limit)
        assert len(set(whole)) == len(whole)
        seen_any += len(whole)
    assert seen_any > len(queries), "the rows hardly match anything"


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("name", LISTS)
def test_q16_rows_that_come_meanwhile_move_nothing(
    world: World, name: str, direction: str
) -> None:
    """What was there is listed once, in its order, wherever new rows sort."""
    table, client = LISTS[name].table, world.clients[0]
    key = "name" if name == "actions" else "created_at"
    asked = f"{world.path(name)}?sort_keys={key}&sort_dirs={direction}"
    whole, _ = _ids(client, name, asked)
    seen, following = _ids(client, name, f"{asked}&limit=2")
    while following:
        if len(seen) < 3 * len(whole):
            with world.database.begin() as connection:
                world.rows.put(connection, table, 1)
        page, following = _ids(client, name, following)
        seen += page
    assert [id for id in seen if id in set(whole)] == whole
    assert len(set(seen)) == len(seen)


@contextmanager
def _statements(database: Database) -> Iterator[list[str]]:
    found: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


@pytest.mark.parametrize("name", LISTS)
def test_a_page_takes_few_statements(world: World, name: str) -> None:
    """However many rows it has, and with large values in ``documents``."""
    listing, client = LISTS[name], world.clients[0]
    table = listing.table
    with world.database.begin() as connection:
        for column in ("input", "output", "published"):
            if column in table.c and isinstance(table.c[column].type, Json):
                connection.execute(update(table).values({column: {"$ref": "large"}}))
    first, _ = _ids(client, name, world.path(name))
    for limit in (1, 100):
        with _statements(world.database) as statements:
            _ids(client, name, f"{world.path(name)}?limit={limit}&marker={first[0]}")
        # the marker, the page, what is large; elsewhere where the page ends
        most = 3 if world.database.engine.dialect.name == "postgresql" else 7
        assert len([s for s in statements if "SELECT" in s]) <= most


@pytest.mark.parametrize("name", LISTS)
def test_what_is_not_asked_for_is_not_read(world: World, name: str) -> None:
    """Texts of definitions and large values stay in the database."""
    with _statements(world.database) as statements:
        _ids(world.clients[0], name, f"{world.path(name)}?fields=id,created_at")
    read = {
        word.rpartition(".")[2].strip('`"')
        for statement in statements
        for word in statement.partition("FROM")[0].replace(",", " ").split()
    }
    assert "id" in read
    assert not read & set(LARGE)
