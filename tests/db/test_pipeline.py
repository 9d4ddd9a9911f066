"""Statements that are sent together: they come to what the driver makes of each alone
(decision 0051)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.pq import TransactionStatus
from sqlalchemy import URL

from mistral.db.pipeline import Pipeline

pytestmark = pytest.mark.services

SECONDS = 60.0
LARGE = 8 << 20

Raw = psycopg.Connection[Any]


class Interrupted(Exception):
    """As Ctrl-C does."""


@pytest.fixture(scope="module")
def connect(migrated_url: Callable[[str], URL]) -> Iterator[Callable[[], Raw]]:
    """Opens connections of the driver, as ``Database`` leaves them to pipelines."""
    url = migrated_url("postgresql").set(drivername="postgresql")
    with ExitStack() as stack:

        def opened() -> Raw:
            shown = url.render_as_string(hide_password=False)
            raw = stack.enter_context(psycopg.connect(shown))
            raw.prepare_threshold = None
            return raw

        yield opened


@pytest.fixture(scope="module")
def raw(connect: Callable[[], Raw]) -> Raw:
    return connect()


@pytest.fixture(scope="module")
def pipeline(raw: Raw) -> Pipeline:
    return Pipeline(raw)


VALUES = st.one_of(
    st.tuples(st.just("text"), st.text(st.characters(exclude_characters="\0"))),
    st.tuples(st.just("bigint"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("float8"), st.floats(allow_nan=False)),
    st.tuples(st.just("boolean"), st.booleans()),
    st.tuples(st.just("timestamp"), st.datetimes(datetime(1, 1, 1))),
    st.tuples(st.just("interval"), st.timedeltas(-timedelta(9), timedelta(9))),
    st.tuples(st.just("bytea"), st.binary()),
    st.tuples(st.sampled_from(["text", "bigint", "boolean"]), st.none()),
)


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_values_are_what_the_driver_makes_of_them(
    raw: Raw, pipeline: Pipeline, values: list[tuple[str, Any]]
) -> None:
    texts = [f"SELECT $1::{kind}, $1::{kind} IS NULL" for kind, _ in values]
    sent = zip(texts, ([value] for _, value in values), strict=True)
    found = [rows for rows, _ in pipeline.run(list(sent))]
    alone = [
        raw.execute(f"SELECT %s::{kind}, %s", [value, value is None]).fetchall()
        for kind, value in values
    ]
    raw.rollback()
    assert found == alone


def test_a_surrogate_or_nul_is_refused_before_anything_is_sent(
    raw: Raw, pipeline: Pipeline
) -> None:
    for text, error in (("a\0b", psycopg.DataError), ("\ud800", UnicodeEncodeError)):
        with pytest.raises(error):
            pipeline.run([("SELECT $1::text", ["fine"]), ("SELECT $1::text", [text])])
        assert raw.info.transaction_status == TransactionStatus.IDLE
    assert pipeline.run([("SELECT $1::text", ["fine"])]) == [([("fine",)], 1)]
    raw.rollback()


def test_the_first_that_fails_ends_the_rest(raw: Raw, pipeline: Pipeline) -> None:
    """What was prepared with it is prepared again, in whatever state that was."""
    several = [
        ("CREATE TEMPORARY TABLE numbers (n int PRIMARY KEY)", []),
        ("SELECT 1 / $1::int, 'first'", [1]),
        ("SELECT 1 / $1::int, 'second'", [0]),
        ("SELECT 1 / $1::int, 'third'", [1]),
        ("SELECT absent FROM nowhere", []),
    ]
    for _ in range(2):
        with pytest.raises(psycopg.errors.DivisionByZero):
            pipeline.run(several)
        assert raw.info.transaction_status == TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            pipeline.run(several[1:2])
        raw.rollback()
    found = pipeline.run([several[1], several[3]])
    assert found == [([(1, "first")], 1), ([(1, "third")], 1)]
    raw.rollback()
    with pytest.raises(psycopg.errors.UndefinedTable):
        pipeline.run([("INSERT INTO numbers VALUES ($1)", [1])])
    raw.rollback()


def test_changes_are_counted_and_committed(connect: Callable[[], Raw]) -> None:
    raw, other = connect(), connect()
    other.autocommit = True
    pipeline = Pipeline(raw)
    pipeline.run([("CREATE TABLE IF NOT EXISTS kept (n int)", []), ("COMMIT", [])])
    assert raw.info.transaction_status == TransactionStatus.IDLE
    rows = "INSERT INTO kept SELECT generate_series(1, $1::int)"
    found = pipeline.run([(rows, [3]), ("DELETE FROM kept WHERE n > $1", [1])])
    assert [changed for _, changed in found] == [3, 2]
    assert other.execute("SELECT * FROM kept").fetchall() == []
    pipeline.run([("COMMIT", [])])
    assert other.execute("SELECT * FROM kept").fetchall() == [(1,)]
    pipeline.run([("DROP TABLE kept", []), ("COMMIT", [])])


def test_it_begins_what_the_driver_would(connect: Callable[[], Raw]) -> None:
    raw = connect()
    pipeline = Pipeline(raw)
    level = ("SELECT current_setting('transaction_isolation')", [])
    for wanted, said in (
        (None, "read committed"),
        (psycopg.IsolationLevel.REPEATABLE_READ, "repeatable read"),
        (psycopg.IsolationLevel.SERIALIZABLE, "serializable"),
    ):
        raw.isolation_level = wanted
        assert pipeline.run([level]) == [([(said,)], 1)]
        assert raw.info.transaction_status == TransactionStatus.INTRANS
        raw.rollback()
    raw.autocommit = True
    assert pipeline.run([level]) == [([("read committed",)], 1)]
    assert raw.info.transaction_status == TransactionStatus.IDLE


def test_after_a_rollback_statements_are_still_prepared(
    connect: Callable[[], Raw],
) -> None:
    raw = connect()
    pipeline = Pipeline(raw)
    for n in range(3):
        for _ in range(12):
            raw.execute("SELECT 'of the driver'")
        assert pipeline.run([("SELECT $1::int", [n])]) == [([(n,)], 1)]
        raw.rollback()
    prepared = raw.execute("SELECT statement FROM pg_prepared_statements").fetchall()
    assert prepared == [("SELECT $1::int",)]


def test_much_goes_both_ways(pipeline: Pipeline, raw: Raw) -> None:
    """Neither end waits for the other to read."""
    text = "x" * LARGE
    several = [("SELECT $1::text || $2::text", [text, str(n)]) for n in range(4)]
    found = pipeline.run(several)
    assert [rows[0][0][LARGE:] for rows, _ in found] == ["0", "1", "2", "3"]
    raw.rollback()


def test_other_threads_go_on_while_one_waits(connect: Callable[[], Raw]) -> None:
    holder, waiter = connect(), connect()
    lock = ("SELECT pg_advisory_xact_lock($1)", [7])
    holder.execute("SELECT pg_advisory_xact_lock(7)")
    waits = threading.Thread(target=Pipeline(waiter).run, args=([lock],))
    waits.start()
    asked = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND pid = %s"
    while not holder.execute(asked, [waiter.info.backend_pid]).fetchall():
        pass
    holder.rollback()
    waits.join(SECONDS)
    assert not waits.is_alive()


def test_a_server_that_ends_the_connection_is_an_error(
    connect: Callable[[], Raw],
) -> None:
    raw, killer = connect(), connect()
    pipeline = Pipeline(raw)
    pipeline.run([("SELECT 1", [])])
    killer.execute("SELECT pg_terminate_backend(%s, 5000)", [raw.info.backend_pid])
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            pipeline.run([("SELECT 1", []), ("COMMIT", [])])
    assert raw.closed


def test_who_is_interrupted_leaves_no_half_of_an_answer(
    connect: Callable[[], Raw],
) -> None:
    raw = connect()

    def interrupted(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Interrupted):
            Pipeline(raw).run([("SELECT pg_sleep($1)", [SECONDS])])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert raw.closed
