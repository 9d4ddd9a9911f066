"""Set-wise statements mean the same on every database (ENG-239, DESIGN § 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text

from mistral.db import rows
from mistral.db.database import Database
from mistral.db.models import (
    action_executions,
    documents,
    frozen_specs,
    join_arrivals,
    task_executions,
    workflow_executions,
)
from mistral.errors import Bug

Rows = Callable[..., dict[str, Any]]

DOCUMENTS: list[Any] = [
    None,
    {"a": "100% \\ 'q' \"d\" \n é 🎉 \u0000 %s %(x)s"},
    ["x"],
    [["nested"], []],
    {},
    "text",
    3,
    1.5,
    True,
    {"large": "z" * 1_500_000},
    {"after the large one": None},
]
BOTH = pytest.mark.parametrize(
    ("kind", "isolation"),
    [
        pytest.param(kind, isolation, marks=pytest.mark.services)
        for kind in ("postgresql", "mariadb")
        for isolation in ("READ COMMITTED", "REPEATABLE READ")
    ],
)


@contextmanager
def counted(connection: Connection) -> Iterator[list[str]]:
    """The statements that reach the driver meanwhile."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    yield seen
    event.remove(connection, "before_cursor_execute", note)


def test_values_come_back_as_they_were(
    database: Database, run_row: Rows, noon: datetime
) -> None:
    ids = [f"r{number:02}" for number in range(len(DOCUMENTS))]
    with database.begin() as connection:
        rows.insert_many(
            connection,
            workflow_executions,
            [
                run_row(id, input=value, accepted=value is True, updated_at=None)
                for id, value in zip(ids, DOCUMENTS, strict=True)
            ],
        )
    with database.begin() as connection:
        changes = [
            {
                "id": id,
                "output": value,
                "version": 2**40 + number,
                "accepted": number % 2 == 1,
                "updated_at": noon if number % 2 else None,
                "state_info": f"{number} 50% ü \\" if number else None,
            }
            for number, (id, value) in enumerate(zip(ids, DOCUMENTS, strict=True))
        ]
        found = rows.update_many(connection, workflow_executions, changes)
        assert found == len(ids)
    with database.read() as connection:
        read = rows.fetch(connection, workflow_executions, "id", ids)
    assert [row["input"] for row in read] == DOCUMENTS
    for row, change in zip(read, changes, strict=True):
        assert {name: row[name] for name in change} == change
        assert isinstance(row["accepted"], bool)
        assert row["state"] == "RUNNING"


def test_columns_that_are_not_named_get_their_defaults(
    database: Database, run_row: Rows
) -> None:
    given = [run_row("a"), run_row("b", workflow_namespace="ns", description="d")]
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, given)
        found = rows.fetch(connection, workflow_executions, "id", ["a", "b"])
    assert [row["workflow_namespace"] for row in found] == ["", "ns"]
    assert [row["description"] for row in found] == [None, "d"]
    assert [row["scope"] for row in found] == ["private", "private"]
    assert [row["version"] for row in found] == [0, 0]


def test_columns_that_are_not_named_stay(database: Database, run_row: Rows) -> None:
    given = [run_row(id, description="d", tags=["t"]) for id in "abc"]
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, given)
        rows.update_many(
            connection,
            workflow_executions,
            [
                {"id": "a", "state": "ERROR", "description": None},
                {"id": "b", "state": "PAUSED"},
                {"id": "c"},
            ],
        )
        found = rows.fetch(connection, workflow_executions, "id", "abc")
    assert [row["state"] for row in found] == ["ERROR", "PAUSED", "RUNNING"]
    assert [row["description"] for row in found] == [None, "d", "d"]
    assert [row["tags"] for row in found] == [["t"]] * 3


def test_a_column_that_does_not_exist_is_a_bug(
    database: Database, run_row: Rows
) -> None:
    with database.begin() as connection:
        with pytest.raises(Bug, match="colour"):
            rows.insert_many(connection, workflow_executions, [run_row("a", colour=1)])
        with pytest.raises(Bug, match="colour"):
            change = [{"id": "a", "colour": 1}]
            rows.update_many(connection, workflow_executions, change)


def test_rows_that_are_gone_are_not_counted(database: Database, run_row: Rows) -> None:
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("a")])
        change = [{"id": id, "state": "RUNNING"} for id in ("a", "gone")]
        # "a" does not change in value, yet it is there.
        assert rows.update_many(connection, workflow_executions, change) == 1
        assert rows.delete_ids(connection, workflow_executions, ["a", "gone"]) == 1


def test_nothing_asked_is_nothing_done(database: Database) -> None:
    with database.begin() as connection, counted(connection) as statements:
        assert rows.lock_headers(connection, [], skip_locked=True) == {}
        assert rows.fetch(connection, task_executions, "id", []) == []
        rows.insert_many(connection, task_executions, [])
        rows.insert_missing(connection, task_executions, [])
        assert rows.update_many(connection, task_executions, []) == 0
        assert rows.delete_ids(connection, task_executions, []) == 0
    assert statements == []


def test_the_number_of_statements_does_not_grow_with_the_set(
    database: Database, run_row: Rows, task_row: Rows
) -> None:
    def statements_for(prefix: str, count: int) -> int:
        ids = [f"{prefix}{number}" for number in range(count)]
        tasks = [task_row(id, "run", number) for number, id in enumerate(ids)]
        changes = [{"id": id, "state": "SUCCESS", "internals": {"n": id}} for id in ids]
        with database.begin() as connection, counted(connection) as statements:
            rows.lock_headers(connection, ["run"], skip_locked=True)
            rows.insert_many(connection, task_executions, tasks)
            assert len(rows.fetch(connection, task_executions, "id", ids)) == count
            rows.update_many(connection, task_executions, changes)
            assert rows.delete_ids(connection, task_executions, ids) == count
            return len(statements)

    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("run")])
    # SQLite takes rows one by one, in parts of a hundred
    many = 100 if database.is_sqlite else 700
    assert statements_for("few", 2) == statements_for("many", many)


def test_a_list_of_keys_has_one_text_whatever_its_length(
    open_database: Callable[..., Database],
) -> None:
    """Drivers keep what they have prepared, by its text: a text for each length
    would fill that memory and never be found again."""
    database = open_database("sqlite")
    with database.read() as connection, counted(connection) as texts:
        for count in (1, 2, 700):
            ids = [f"r{number}" for number in range(count)]
            rows.fetch(connection, workflow_executions, "id", ids)
    assert len({text for text in texts if "SELECT" in text}) == 1


def test_very_large_sets_are_cut(
    database: Database, run_row: Rows, task_row: Rows
) -> None:
    ids = [f"t{number:05}" for number in range(5_500)]
    tasks = [task_row(id, "run", number) for number, id in enumerate(ids)]
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("run")])
        rows.insert_many(connection, task_executions, tasks)
        changes = [{"id": id, "state": "ERROR"} for id in ids]
        assert rows.update_many(connection, task_executions, changes) == len(ids)
        found = rows.fetch(connection, task_executions, "id", ids)
        assert [row["id"] for row in found] == ids
        assert {row["state"] for row in found} == {"ERROR"}
        assert rows.delete_ids(connection, task_executions, ids) == len(ids)


def test_tasks_come_in_the_order_of_their_creation(
    database: Database, run_row: Rows, task_row: Rows
) -> None:
    """Never by random id (spec 13.6, 12)."""
    tasks = [task_row("c", "run", 0), task_row("a", "run", 2), task_row("b", "run", 1)]
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("run")])
        rows.insert_many(connection, task_executions, tasks)
        found = rows.fetch(
            connection,
            task_executions,
            "workflow_execution_id",
            ["run"],
        )
    assert [row["id"] for row in found] == ["c", "b", "a"]


def test_fetch_takes_a_second_column_and_fewer_columns(
    database: Database, run_row: Rows, task_row: Rows
) -> None:
    tasks = [task_row("a", "run", 0, state="RUNNING"), task_row("b", "run", 1)]
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("run")])
        rows.insert_many(connection, task_executions, tasks)
        (found,) = rows.fetch(
            connection,
            task_executions,
            "workflow_execution_id",
            ["run", "other"],
            also=("state", ["RUNNING", "PAUSED"]),
            columns=("id",),
        )
        by_number = rows.fetch(connection, task_executions, "seq", [1, 7])
    assert dict(found) == {"id": "a"}
    assert [row["id"] for row in by_number] == ["b"]


def test_what_is_there_already_may_be_left_out(
    database: Database, run_row: Rows, task_row: Rows, noon: datetime
) -> None:
    def spec(id: str, body: str) -> dict[str, Any]:
        return {"id": id, "body": body, "created_at": noon}

    with database.begin() as connection:
        rows.insert_many(connection, frozen_specs, [spec("a", "first")])
        rows.insert_missing(connection, frozen_specs, [spec("a", "x"), spec("b", "b")])
        rows.insert_many(connection, workflow_executions, [run_row("run")])
        rows.insert_many(connection, task_executions, [task_row("j", "run", 0)])
        arrival = {"join_id": "j", "round": 0, "inbound": "t", "event": "on-success"}
        rows.insert_missing(connection, join_arrivals, [arrival])
        rows.insert_missing(connection, join_arrivals, [arrival])
        document = {"workflow_execution_id": "run", "id": "d", "body": 1}
        rows.insert_missing(connection, documents, [document, document | {"id": "e"}])
        specs = rows.fetch(connection, frozen_specs, "id", ["a", "b"])
        arrivals = rows.fetch(connection, join_arrivals, "join_id", ["j"])
    assert [row["body"] for row in specs] == ["first", "b"]
    assert len(arrivals) == 1


def test_a_run_takes_all_its_rows_with_it(
    database: Database, run_row: Rows, task_row: Rows, noon: datetime
) -> None:
    """ENG-199."""
    action = {
        "id": "a",
        "task_execution_id": "t",
        "project_id": "p",
        "name": "std.noop",
        "state": "RUNNING",
        "internals": {},
        "created_at": noon,
    }
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("run")])
        rows.insert_many(connection, task_executions, [task_row("t", "run", 0)])
        rows.insert_many(connection, action_executions, [action])
        rows.delete_ids(connection, workflow_executions, ["run"])
        assert connection.scalars(select(task_executions.c.id)).all() == []
        assert connection.scalars(select(action_executions.c.id)).all() == []


def test_headers_come_by_id_and_missing_ones_not_at_all(
    database: Database, run_row: Rows
) -> None:
    with database.begin() as connection:
        given = [run_row("b"), run_row("a")]
        rows.insert_many(connection, workflow_executions, given)
    with database.begin() as connection:
        found = rows.lock_headers(connection, ["b", "gone", "a"], skip_locked=False)
    assert list(found) == ["a", "b"]
    assert found["a"]["workflow_name"] == "w"


@BOTH
def test_headers_of_other_engines_are_skipped(
    open_database: Callable[..., Database], run_row: Rows, kind: str, isolation: str
) -> None:
    """ENG-239: and the neighbours of a locked row are free."""
    database = open_database(kind, isolation=isolation)
    with database.begin() as connection:
        given = [run_row(id) for id in "abcdef"]
        rows.insert_many(connection, workflow_executions, given)
    with database.begin() as one, database.begin() as two:
        mine = rows.lock_headers(one, ["b", "d"], skip_locked=True)
        rest = rows.lock_headers(two, list("abcde"), skip_locked=True)
        assert list(mine) == ["b", "d"]
        assert list(rest) == ["a", "c", "e"]


@BOTH
def test_waiting_for_a_header_sees_what_its_holder_wrote(
    open_database: Callable[..., Database], run_row: Rows, kind: str, isolation: str
) -> None:
    """ENG-239: no lost update; a stale snapshot is refused and tried again."""
    database = open_database(kind, isolation=isolation)
    turns = 8
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("a")])

    def turn() -> None:
        while True:
            try:
                with database.begin() as connection:
                    found = rows.lock_headers(connection, ["a"], skip_locked=False)
                    change = [{"id": "a", "version": found["a"]["version"] + 1}]
                    rows.update_many(connection, workflow_executions, change)
                return
            except Exception as error:
                if not database.is_retryable(error):
                    raise

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(turn) for _ in range(turns)]:
            done.result(60)
    with database.read() as connection:
        assert connection.scalar(select(workflow_executions.c.version)) == turns


@pytest.mark.services
@pytest.mark.parametrize("count", [1, 3, 200])
def test_mariadb_reads_headers_by_key_however_few_rows_there_are(
    open_database: Callable[..., Database], run_row: Rows, count: int
) -> None:
    """A scan would wait for the locks of rows that nobody asked for."""
    database = open_database("mariadb")
    ids = [f"r{number}" for number in range(count)]
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row(id) for id in ids])
    with database.begin() as connection, counted(connection) as statements:
        rows.lock_headers(connection, ids, skip_locked=False)
        bound = {f"among_{n}": id for n, id in enumerate(ids, 1)}
        (statement,) = statements
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", bound).mappings()
        assert {row["type"] for row in plan} <= {"range", "const"}, text(statement)


def test_odd_texts_are_stored_all_the_same(database: Database, run_row: Rows) -> None:
    """An action's error may hold anything; its run must not be stuck on it."""
    odd = "nul \0, half \ud800, whole 🎉"
    with database.begin() as connection:
        given = run_row("a", state_info=odd, output={odd: [odd]})
        rows.insert_many(connection, workflow_executions, [given])
        change = {"id": "a", "state_info": odd, "input": odd}
        rows.update_many(connection, workflow_executions, [change])
    with database.read() as connection:
        (row,) = rows.fetch(connection, workflow_executions, "id", ["a"])
    assert row["output"] == {odd: [odd]}
    assert row["input"] == odd
    assert row["state_info"] == "nul \ufffd, half \ufffd, whole 🎉"
