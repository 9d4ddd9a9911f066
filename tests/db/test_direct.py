"""A turn's own way to its database: what fails behind its back is told (DESIGN § 3)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from mistral.db import bulk, direct, rows
from mistral.db.database import Database, OwnConnection
from mistral.db.models import task_executions, workflow_executions
from mistral.errors import Bug

Rows = Callable[..., dict[str, Any]]

ID = workflow_executions.c.id
ALL_IDS = select(ID)
SECONDS = 60.0


def ids_in(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(select(ID).order_by(ID)))


def test_a_stream_is_committed_as_a_whole(database: Database, run_row: Rows) -> None:
    own = OwnConnection(database, 5.0)
    for id in "ab":
        with own.begin() as connection:
            direct.begin_stream(connection)
            rows.insert_many(connection, workflow_executions, [run_row(id)])
            changes = [{"id": id, "version": 7}]
            rows.update_many(connection, workflow_executions, changes)
    own.close()
    with database.read() as connection:
        found = connection.execute(select(ID, workflow_executions.c.version)).all()
    assert sorted(map(tuple, found)) == [("a", 7), ("b", 7)]


def test_what_fails_in_a_stream_leaves_nothing(
    database: Database, run_row: Rows, task_row: Rows
) -> None:
    own = OwnConnection(database, 5.0)
    with pytest.raises(IntegrityError), own.begin() as connection:
        direct.begin_stream(connection)
        rows.insert_many(connection, workflow_executions, [run_row("a")])
        rows.insert_many(connection, workflow_executions, [run_row("a")])
        rows.insert_many(connection, task_executions, [task_row("t", "a", 0)])
    assert ids_in(database) == []
    with own.begin() as connection:
        direct.begin_stream(connection)
        rows.insert_many(connection, workflow_executions, [run_row("b")])
    own.close()
    assert ids_in(database) == ["b"]


def test_what_is_raised_in_a_stream_rolls_it_back(
    database: Database, run_row: Rows
) -> None:
    own = OwnConnection(database, 5.0)
    with pytest.raises(LookupError), own.begin() as connection:
        direct.begin_stream(connection)
        rows.insert_many(connection, workflow_executions, [run_row("a")])
        raise LookupError
    own.close()
    assert ids_in(database) == []


@pytest.mark.services
def test_a_connection_lost_in_a_stream_is_tried_again(
    open_database: Callable[..., Database], run_row: Rows
) -> None:
    """The same turn goes on, on another connection (DESIGN § 3)."""
    database = open_database("postgresql")
    own = OwnConnection(database, 5.0)
    with pytest.raises(DBAPIError) as caught, own.begin() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        direct.begin_stream(connection)
        rows.insert_many(connection, workflow_executions, [run_row("a")])
        with database.begin() as killer:
            killer.execute(
                text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid}
            )
    assert database.is_retryable(caught.value)
    assert ids_in(database) == []
    with own.begin() as connection:
        assert bulk.fetch(connection, workflow_executions, "id", ["a"]) == []
    own.close()


def test_questions_that_go_together_are_answered_in_their_order(
    database: Database, run_row: Rows
) -> None:
    with database.begin() as connection:
        given = [run_row(id, input={"of": id}, tags=["t"]) for id in "abc"]
        rows.insert_many(connection, workflow_executions, given)
        locked, none, read = direct.fetch_together(
            connection,
            [
                rows.to_lock(connection, workflow_executions, ["c", "a"]),
                rows.to_fetch(connection, workflow_executions, "id", []),
                rows.to_fetch(connection, workflow_executions, "id", ["b", "gone"]),
            ],
        )
    assert [row["id"] for row in locked] == ["a", "c"]
    assert none == []
    assert [(row["id"], row["input"], row["tags"]) for row in read] == [
        ("b", {"of": "b"}, ["t"])
    ]


def test_a_question_begins_what_a_read_ends(database: Database, run_row: Rows) -> None:
    with database.read() as connection:
        assert direct.fetch(connection, ALL_IDS, {}) == []
        assert connection.in_transaction()
        rows.insert_many(connection, workflow_executions, [run_row("a")])
        assert direct.fetch(connection, ALL_IDS, {}) == [{"id": "a"}]
    assert ids_in(database) == []


@pytest.mark.services
def test_a_look_is_no_transaction(open_database: Callable[..., Database]) -> None:
    database = open_database("postgresql")
    state = text("SELECT state FROM pg_stat_activity WHERE pid = :pid")
    with database.look() as connection, database.read() as other:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        assert direct.fetch(connection, ALL_IDS, {}) == []
        assert other.scalar(state, {"pid": pid}) == "idle"


def test_after_a_look_transactions_are_as_ever(
    database: Database, run_row: Rows
) -> None:
    with database.look() as connection:
        assert direct.fetch(connection, ALL_IDS, {}) == []
    with pytest.raises(LookupError), database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("a")])
        raise LookupError
    assert ids_in(database) == []


def test_who_listens_hears_each_statement(database: Database, run_row: Rows) -> None:
    heard: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        heard.append(statement.partition(" ")[0])

    event.listen(database.engine, "before_cursor_execute", note)
    own = OwnConnection(database, 5.0)
    with own.begin() as connection:
        bulk.fetch(connection, workflow_executions, "id", ["a"])
        direct.begin_stream(connection)
        rows.insert_many(connection, workflow_executions, [run_row("a")])
    own.close()
    event.remove(database.engine, "before_cursor_execute", note)
    assert [word for word in heard if word not in ("BEGIN", "SET")] == [
        "SELECT",
        "INSERT",
    ]
    assert ids_in(database) == ["a"]


@pytest.mark.services
def test_outside_of_a_stream_none_begins(
    open_database: Callable[..., Database], run_row: Rows
) -> None:
    """A connection of the pool is not left in a state that others do not expect."""
    database = open_database("postgresql", pool_size=1, max_overflow=0)
    with database.begin() as connection:
        direct.begin_stream(connection)
        rows.insert_many(connection, workflow_executions, [run_row("a")])
    assert ids_in(database) == ["a"]


def test_whoever_reads_in_a_stream_sees_what_it_has_kept(
    database: Database, run_row: Rows
) -> None:
    own = OwnConnection(database, 5.0)
    with own.begin() as connection:
        direct.begin_stream(connection)
        rows.insert_many(connection, workflow_executions, [run_row("a")])
        assert direct.fetch(connection, ALL_IDS, {}) == [{"id": "a"}]
        rows.insert_many(connection, workflow_executions, [run_row("b")])
        assert sorted(connection.scalars(ALL_IDS)) == ["a", "b"]
        rows.insert_many(connection, workflow_executions, [run_row("c")])
    own.close()
    assert ids_in(database) == ["a", "b", "c"]


def test_percent_signs_and_values_in_any_order() -> None:
    text = "SELECT 7 %% %(b)s, %(a)s, %(b)s, '100 %%'"
    assert direct._numbered(text) == ("SELECT 7 % $1, $2, $1, '100 %'", ("b", "a"))


@pytest.mark.services
def test_a_statement_that_is_stale_is_prepared_anew_on_another_connection(
    open_database: Callable[..., Database], run_row: Rows
) -> None:
    """After an upgrade beside running engines, or behind a pooler."""
    database = open_database("postgresql", pool_size=1, max_overflow=0)
    with database.begin() as connection:
        assert direct.fetch(connection, ALL_IDS, {}) == []
        connection.execute(text("DISCARD PLANS"))
        connection.execute(text("DEALLOCATE ALL"))
    with pytest.raises(DBAPIError) as caught, database.begin() as connection:
        direct.fetch(connection, ALL_IDS, {})
    assert database.is_retryable(caught.value)
    with database.begin() as connection:
        assert direct.fetch(connection, ALL_IDS, {}) == []


@pytest.mark.services
def test_texts_are_right_in_whatever_the_environment_says(
    open_database: Callable[..., Database],
    run_row: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    database = open_database("postgresql")
    given = run_row("a", description="é → ß")
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [given])
        column = workflow_executions.c.description
        assert connection.scalar(select(column)) == "é → ß"


@pytest.mark.services
def test_what_ends_the_transaction_ends_the_stream(
    open_database: Callable[..., Database], run_row: Rows
) -> None:
    database = open_database("postgresql")
    own = OwnConnection(database, 5.0)
    with pytest.raises(Bug), own.begin() as connection:
        direct.begin_stream(connection)
        rows.insert_many(connection, workflow_executions, [run_row("a")])
        connection.rollback()
    own.close()
    assert ids_in(database) == []


@pytest.mark.services
def test_who_catches_what_was_not_sent_loses_nothing(
    open_database: Callable[..., Database], run_row: Rows
) -> None:
    own = OwnConnection(open_database("postgresql"), 5.0)
    with own.begin() as connection:
        direct.begin_stream(connection)
        rows.insert_many(connection, workflow_executions, [run_row("a")])
        with pytest.raises(DBAPIError):
            rows.fetch(connection, workflow_executions, "id", ["\0"])
        rows.insert_many(connection, workflow_executions, [run_row("b")])
    with own.begin() as connection:
        assert sorted(connection.scalars(ALL_IDS)) == ["a", "b"]
    own.close()


@pytest.mark.services
def test_an_interruption_stays_one(open_database: Callable[..., Database]) -> None:
    database = open_database("postgresql")
    asked = select(func.pg_sleep(SECONDS))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            database.replay(lambda connection: direct.fetch(connection, asked, {}))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ids_in(database) == []
