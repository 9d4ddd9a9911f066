"""Reads of what runs: results, documents, cost (spec/engine.md § 1.6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from rows import Rows, uid
from sqlalchemy import event

from mistral.context import Context
from mistral.db import execution_trees, executions
from mistral.db.database import Database
from mistral.db.listing import Condition, Query
from mistral.errors import NotFound

RUN = uid(1)
TASK = uid(2)
ME = Context()


@pytest.fixture
def rows(database: Database) -> Rows:
    rows = Rows(database)
    rows.spec({"tasks": {"many": {"with-items": "i in <% $.l %>"}}})
    rows.run(RUN)
    return rows


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The queries of the block."""
    said: list[str] = []

    def listen(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("SELECT"):
            said.append(statement)

    event.listen(database.engine, "before_cursor_execute", listen)
    try:
        yield said
    finally:
        event.remove(database.engine, "before_cursor_execute", listen)


def result_of(database: Database, task_id: str = TASK) -> Any:
    with database.read() as connection:
        row = executions.task(connection, ME, task_id)
        return executions.task_result(connection, row)


def test_result_of_a_plain_task(database: Database, rows: Rows) -> None:
    """§ 1.6.5: the accepted one, an error's data too."""
    rows.task(TASK, RUN)
    assert result_of(database) == []
    rows.action(uid(3), TASK, accepted=False, output={"result": "old"})
    assert result_of(database) == []
    rows.action(uid(4), TASK, accepted=True, state="ERROR", output={"result": "why"})
    assert result_of(database) == "why"
    rows.action(uid(5), TASK, accepted=True, output={"result": 2})
    assert result_of(database) == ["why", 2]


def test_result_without_kept_output(database: Database, rows: Rows) -> None:
    """§ 1.6.4: ``keep-result: false`` leaves ``{}``."""
    rows.task(TASK, RUN)
    rows.action(uid(3), TASK, accepted=True, output={})
    assert result_of(database) is None


@pytest.mark.parametrize(
    "more", [{"runtime_context": {"with_items": {"count": 1}}}, {"name": "many"}]
)
def test_result_of_items_is_a_list(
    database: Database, rows: Rows, more: dict[str, Any]
) -> None:
    """§ 1.6.5: also with one item, also after a skip has cleared the context."""
    rows.task(TASK, RUN, **more)
    rows.action(uid(3), TASK, accepted=True, output={"result": "a"}, item_index=1)
    assert result_of(database) == ["a"]
    rows.action(uid(4), TASK, accepted=True, output={"result": "b"}, item_index=0)
    assert result_of(database) == ["b", "a"]


def test_result_of_sub_workflows(database: Database, rows: Rows) -> None:
    """§ 1.6.5: the whole output, in order of ``params.index``."""
    rows.task(TASK, RUN, type="WORKFLOW")
    of_task = {"task_execution_id": TASK, "accepted": True}
    rows.run(uid(5), params={"index": 1}, output={"n": {"$ref": "d"}}, **of_task)
    rows.document(uid(5), "d", 1)
    assert result_of(database) == {"n": 1}
    rows.run(uid(6), params={"index": 0}, output={"n": 0}, **of_task)
    assert result_of(database) == [{"n": 0}, {"n": 1}]


def test_documents_are_put_back_with_one_query(database: Database, rows: Rows) -> None:
    """DESIGN § 3: a large value is stored once per execution."""
    rows.run(uid(9))
    rows.document(RUN, "d1", {"large": 1})
    rows.document(RUN, "d2", [2])
    rows.document(uid(9), "d2", "of another run")
    some = [
        {"run": RUN, "x": {"a": {"$ref": "d1"}, "b": {"$ref": "d2"}, "c": 1}},
        {"run": uid(9), "x": {"$ref": "d2"}},
        {"run": uid(9), "x": {"a": {"$ref": "d1"}}},
        {"run": RUN, "x": None},
    ]
    with database.read() as connection, counted(database) as said:
        found = executions.with_documents(connection, some, ("x",), "run")
    assert [row["x"] for row in found] == [
        {"a": {"large": 1}, "b": [2], "c": 1},
        "of another run",
        # What only looks like a reference stays what it is.
        {"a": {"$ref": "d1"}},
        None,
    ]
    assert len(said) == 1


def test_nothing_is_asked_when_nothing_is_referred_to(
    database: Database, rows: Rows
) -> None:
    with database.read() as connection, counted(database) as said:
        executions.with_documents(
            connection, [{"run": RUN, "x": {"a": 1}}], ("x",), "run"
        )
    assert said == []


def test_rows_of_other_projects_do_not_exist(database: Database, rows: Rows) -> None:
    """SEC-25: not found, never forbidden."""
    rows.task(TASK, RUN)
    rows.action(uid(3), TASK)
    other = Context(project_id="other")
    with database.read() as connection:
        for read, id in (
            (executions.execution, RUN),
            (executions.task, TASK),
            (executions.action, uid(3)),
        ):
            with pytest.raises(NotFound):
                read(connection, other, id)
            admin = Context(project_id="other", is_admin=True)
            assert read(connection, admin, id)["id"] == id
        assert executions.is_visible(connection, ME, RUN) is True
        assert executions.is_visible(connection, other, RUN) is False
        assert executions.is_visible(connection, other, uid(9)) is None


def _grow(rows: Rows, parent: str, width: int, depth: int, start: int) -> int:
    """A tree of sub-workflows; each has ``width`` children."""
    number = start
    for _ in range(width if depth else 0):
        number += 1
        rows.task(uid(1000 + number), parent, type="WORKFLOW", state="ERROR")
        child = uid(5000 + number)
        rows.run(child, task_execution_id=uid(1000 + number), workflow_name=str(number))
        number = _grow(rows, child, width, depth - 1, number)
    return number


def test_a_tree_costs_statements_per_level(database: Database, rows: Rows) -> None:
    """Not per row; and comes depth first, in order of creation."""
    made = _grow(rows, RUN, 3, 3, 0)
    with database.read() as connection:
        root = executions.execution(connection, ME, RUN)
        with counted(database) as said:
            found = execution_trees.below_execution(connection, root)
        assert len(said) == 4
        assert [row["workflow_name"] for row in found[1:]] == [
            str(number) for number in range(1, made + 1)
        ]
        with counted(database) as said:
            report = execution_trees.report(
                connection, ME, root, database.now(connection)
            )
        assert len(said) <= 4 * 3 + 1
    assert report.states["ERROR"] == made


def test_the_depth_of_a_chain(database: Database, rows: Rows) -> None:
    deep = 40
    _grow(rows, RUN, 1, deep, 0)
    with database.read() as connection:
        root = executions.execution(connection, ME, RUN)
        assert len(execution_trees.below_execution(connection, root)) == deep + 1
        some = execution_trees.below_execution(connection, root, max_depth=3)
        assert len(some) == 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("workflow_name", "has:greet"),
        ("state", "in:SUCCESS,ERROR"),
        ("tags", "A"),
        ("created_at", "eq:2026-11-21 01:35:04"),
        ("updated_at", "gt:2026-11-21 01:35:05"),
        ("params", '{"env": {}, "x": 1}'),
        ("output", '{"big": "' + "z" * 5000 + '"}'),
        ("root_execution_id", uid(7)),
    ],
)
def test_filters_mean_the_same_everywhere(
    database: Database, rows: Rows, name: str, text: str
) -> None:
    """§ 3.5 on every database; keyset pages with nulls in the order."""
    rows.run(
        uid(8),
        workflow_name="to_greet_all",
        state="ERROR",
        tags=["A", "b"],
        params={"env": {}, "x": 1},
        output={"big": "z" * 5000},
        root_execution_id=uid(7),
    )
    condition = Condition.read(name, text)
    query = Query(
        conditions=(condition,),
        sort=(("root_execution_id", False), ("name", True), ("id", True)),
        limit=1,
    )
    found: list[str] = []
    with database.read() as connection:
        page = executions.EXECUTIONS.page(connection, query)
        while page:
            found.append(page[0]["id"])
            query = replace(query, marker=page[0]["id"])
            page = executions.EXECUTIONS.page(connection, query)
    both = name in ("workflow_name", "created_at", "updated_at")
    assert found == ([uid(8), RUN] if both else [uid(8)])


@pytest.mark.parametrize("ascending", [True, False])
def test_pages_of_actions_by_a_task_that_some_do_not_have(
    database: Database, rows: Rows, ascending: bool
) -> None:
    """§ 3.2, Q-60: what an outer join leaves empty is a place in the order, too."""
    rows.task(uid(2), RUN)
    for number, task_id in ((3, uid(2)), (4, None), (5, uid(2)), (6, None)):
        rows.action(uid(number), task_id)
    query = Query(sort=(("task_name", ascending), ("id", True)), limit=1)
    found: list[str] = []
    with database.read() as connection:
        page = executions.ACTIONS.page(connection, query)
        while page:
            found.append(page[0]["id"])
            query = replace(query, marker=page[0]["id"])
            page = executions.ACTIONS.page(connection, query)
    without, named = [uid(4), uid(6)], [uid(3), uid(5)]
    assert found == (without + named if ascending else named + without)
