"""Connections, transactions and moods of the three databases (DESIGN § 5)."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymysql
import pytest
from fakes import FakeClock
from sqlalchemy import URL, Connection, insert, make_url, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from mistral.db import rows
from mistral.db.database import REPLAYS, Database, too_old
from mistral.db.failures import is_duplicate
from mistral.db.liveness import SILENT_SECONDS, arguments
from mistral.db.models import executors, workflow_executions, workflows
from mistral.errors import ServiceError, Unavailable, is_outage

NOON = datetime(2020, 1, 2, 12)
SERVERS = [
    pytest.param("postgresql", marks=pytest.mark.services),
    pytest.param("mariadb", marks=pytest.mark.services),
]


def test_what_is_left_cleanly_stays(
    database: Database, run_row: Callable[..., Any]
) -> None:
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("r1")])
    with database.read() as connection:
        assert connection.scalars(select(workflow_executions.c.id)).all() == ["r1"]


def test_what_fails_leaves_nothing(
    database: Database, run_row: Callable[..., Any]
) -> None:
    with pytest.raises(ZeroDivisionError), database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("r1")])
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.scalars(select(workflow_executions.c.id)).all() == []


def test_reading_changes_nothing(
    database: Database, run_row: Callable[..., Any]
) -> None:
    with database.read() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("r1")])
    with database.read() as connection:
        assert connection.scalars(select(workflow_executions.c.id)).all() == []


def test_the_clock_is_utc_with_microseconds(database: Database) -> None:
    with database.begin() as connection:
        first, second = database.now(connection), database.now(connection)
    assert first.tzinfo is None
    assert first <= second
    away = datetime.now(UTC).replace(tzinfo=None) - first
    assert abs(away) < timedelta(minutes=1)


def test_another_clock_replaces_the_databases(
    open_database: Callable[..., Database],
) -> None:
    clock = FakeClock()
    database = open_database("sqlite", clock=clock)
    clock.advance(5)
    with database.begin() as connection:
        assert database.now(connection) == clock.now()


def test_moments_keep_their_microseconds(
    database: Database, run_row: Callable[..., Any], noon: datetime
) -> None:
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("r1")])
    with database.read() as connection:
        assert connection.scalar(select(workflow_executions.c.created_at)) == noon


def test_names_are_case_sensitive(
    database: Database, run_row: Callable[..., Any]
) -> None:
    given = [run_row(id, workflow_name=id) for id in ("a", "A", "ä", "Ä")]
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, given)
    with database.read() as connection:
        names = workflow_executions.c.workflow_name
        found = connection.scalars(select(names).where(names == "A")).all()
    assert found == ["A"]


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_every_connection_has_the_isolation_that_was_asked_for(
    open_database: Callable[..., Database], kind: str, isolation: str
) -> None:
    database = open_database(kind, isolation=isolation)
    with database.begin() as connection:
        assert connection.get_isolation_level() == isolation


def test_a_file_keeps_its_promises(
    open_database: Callable[..., Database],
) -> None:
    database = open_database("sqlite")
    assert database.engine.dialect.name == "sqlite"
    with database.read() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 1


@pytest.mark.parametrize(
    ("name", "version", "fine"),
    [
        ("PostgreSQL", (13, 0), True),
        ("PostgreSQL", (12, 22), False),
        ("MariaDB", (10, 6, 0), True),
        ("MariaDB", (10, 5, 29), False),
        ("MySQL", (8, 0, 17), True),
        ("MySQL", (8, 0, 16), False),
        ("MySQL", (5, 7, 44, "log"), False),
        ("MySQL", (), False),
    ],
)
def test_old_servers_are_refused_by_name(
    name: str, version: tuple[Any, ...], fine: bool
) -> None:
    refusal = too_old(name, version)
    if fine:
        assert refusal is None
    else:
        assert refusal is not None and refusal.startswith(name)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u@h/d", "postgresql+psycopg"),
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg"),
        ("mysql://u@h/d", "mysql+pymysql"),
        ("mariadb://u@h/d", "mariadb+pymysql"),
        ("sqlite:////tmp/x.db", "sqlite+pysqlite"),
    ],
)
def test_bare_urls_get_our_drivers(given: str, used: str) -> None:
    assert Database(given).url.drivername == used


@pytest.mark.parametrize("url", ["oracle://h/d", "sqlite://", "sqlite:///:memory:"])
def test_databases_that_cannot_serve_are_refused(url: str) -> None:
    with pytest.raises(ServiceError):
        Database(url)


def test_the_shown_url_hides_the_password() -> None:
    assert "secret" not in Database("postgresql://u:secret@h/d").shown


def test_a_broken_statement_is_not_tried_again(database: Database) -> None:
    with pytest.raises(DBAPIError) as caught, database.begin() as connection:
        connection.execute(text("SELECT * FROM no_such_table"))
    assert not database.is_retryable(caught.value)


def test_a_duplicate_is_told_from_other_faults(
    database: Database, run_row: Callable[..., Any]
) -> None:
    with pytest.raises(IntegrityError) as caught, database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("r1")])
        rows.insert_many(connection, workflow_executions, [run_row("r1")])
    assert is_duplicate(caught.value)
    assert not database.is_retryable(caught.value)
    with pytest.raises(IntegrityError) as caught, database.begin() as connection:
        missing = run_row("r2") | {"state": None}
        rows.insert_many(connection, workflow_executions, [missing])
    assert not is_duplicate(caught.value)


def test_errors_carry_no_values(
    database: Database, run_row: Callable[..., Any]
) -> None:
    """SEC-08."""
    with pytest.raises(DBAPIError) as caught, database.begin() as connection:
        broken = run_row("r1", input={"password": "hunter2"}) | {"state": None}
        rows.insert_many(connection, workflow_executions, [broken])
    assert "hunter2" not in str(caught.value)


@pytest.mark.services
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://nobody:secret@127.0.0.1:5432/none", "nobody"),
        ("postgresql://postgres@127.0.0.1:5432/none", '"none" does not exist'),
        ("mysql://nobody:secret@127.0.0.1:3306/none", "Access denied for user"),
        ("mysql://root@127.0.0.1:3306/none", "Unknown database 'none'"),
        ("mysql://root@127.0.0.1:1/none", "Connection refused"),
    ],
)
def test_an_operator_is_told_why_a_database_cannot_be_used(url: str, told: str) -> None:
    with pytest.raises(DBAPIError, match=told) as caught, Database(url).begin():
        pass
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("number", [1020, 1205, 1213, 2006, 2013])
def test_conflicts_and_lost_connections_of_mariadb_are_tried_again(number: int) -> None:
    database = Database("mysql://u@h/d")
    error = DBAPIError("UPDATE", None, pymysql.err.OperationalError(number, "text"))
    assert database.is_retryable(error)


@pytest.mark.parametrize(
    "url", ["postgresql://u@127.0.0.1:1/d", "mysql://u@127.0.0.1:1/d"]
)
def test_a_server_that_is_away_is_tried_again(url: str) -> None:
    database = Database(url)
    with pytest.raises(DBAPIError) as caught, database.begin():
        pass
    assert database.is_retryable(caught.value)


@pytest.mark.parametrize(
    ("kind", "kill"),
    [
        pytest.param(
            "postgresql",
            "SELECT pg_terminate_backend(:id)",
            marks=pytest.mark.services,
        ),
        pytest.param("mariadb", "KILL :id", marks=pytest.mark.services),
    ],
)
def test_a_lost_connection_is_tried_again(
    open_database: Callable[..., Database], kind: str, kill: str
) -> None:
    database = open_database(kind)
    own = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT connection_id()"}
    with pytest.raises(DBAPIError) as caught, database.begin() as victim:
        number = victim.scalar(text(own[kind]))
        with database.begin() as killer:
            killer.execute(text(kill), {"id": number})
        victim.execute(text("SELECT 1"))
    assert database.is_retryable(caught.value)
    with database.begin() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


@pytest.mark.parametrize("kind", SERVERS)
def test_who_does_not_answer_any_more_is_given_up(
    kind: str, open_database: Callable[..., Database]
) -> None:
    """A host that is gone without a word: the system asks whether it is there."""
    database = open_database(kind)
    with database.read() as connection:
        raw: Any = connection.connection.driver_connection
        number = raw.fileno() if kind == "postgresql" else raw._sock.fileno()
        with socket.socket(fileno=os.dup(number)) as wire:

            def asked(level: int, name: int) -> int:
                return wire.getsockopt(level, name)

            assert asked(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            idle = asked(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            apart = asked(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            probes = asked(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            assert idle + probes * apart == SILENT_SECONDS
            unheard = asked(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert unheard == 1000 * SILENT_SECONDS


def test_what_the_url_says_of_time_outs_counts() -> None:
    asked = arguments(make_url("postgresql+psycopg://h/d?connect_timeout=3"))
    assert "connect_timeout" not in asked and "tcp_user_timeout" in asked


FULL = {
    "postgresql": "DO $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$",
    "mariadb": "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021",
}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_disk_that_is_full_is_an_outage(
    kind: str, open_database: Callable[..., Database]
) -> None:
    """What cannot be stored now is stored when there is room; it is nobody's poison."""
    database = open_database(kind)
    with pytest.raises(DBAPIError) as caught, database.begin() as connection:
        connection.exec_driver_sql(FULL[kind])
    assert database.is_retryable(caught.value)
    assert is_outage(caught.value)


def test_a_file_that_may_not_grow_is_an_outage(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'full.db'}")
    database.create_or_upgrade()
    with database.begin() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {used}")
        with pytest.raises(DBAPIError) as caught:
            connection.execute(
                insert(executors),
                [
                    {"id": str(n), "host": "h" * 200, "started_at": NOON,
                     "last_seen": NOON}
                    for n in range(500)
                ],
            )  # fmt: skip
    assert database.is_retryable(caught.value)
    database.dispose()


ROLES = {
    "postgresql": (["CREATE ROLE {name} LOGIN CONNECTION LIMIT 1"], "DROP ROLE {name}"),
    "mariadb": (
        [
            "CREATE USER {name} WITH MAX_USER_CONNECTIONS 1",
            "GRANT SELECT ON *.* TO {name}",
        ],
        "DROP USER {name}",
    ),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_without_a_connection_left_is_tried_again(
    kind: str, open_database: Callable[..., Database]
) -> None:
    database = open_database(kind)
    name = f"role_{database.url.database}"
    make, drop = ROLES[kind]
    with database.begin() as connection:
        for statement in make:
            connection.exec_driver_sql(statement.format(name=name))
    mine = Database(database.url.set(username=name, password=None), pool_size=1)
    try:
        with mine.read():
            with pytest.raises(DBAPIError) as caught, mine.read():
                raise AssertionError("There was one left.")
            assert mine.is_retryable(caught.value)
            assert is_outage(caught.value)
        with mine.read() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
    finally:
        mine.dispose()
        with database.begin() as connection:
            connection.exec_driver_sql(drop.format(name=name))


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_the_victim_of_a_deadlock_is_tried_again(
    open_database: Callable[..., Database],
    run_row: Callable[..., Any],
    kind: str,
    isolation: str,
) -> None:
    database = open_database(kind, isolation=isolation)
    with database.begin() as connection:
        given = [run_row("a"), run_row("b")]
        rows.insert_many(connection, workflow_executions, given)
    both = threading.Barrier(2)
    errors: list[BaseException] = []

    def lock(first: str, second: str) -> None:
        try:
            with database.begin() as connection:
                rows.lock_headers(connection, [first], skip_locked=False)
                both.wait(30)
                rows.lock_headers(connection, [second], skip_locked=False)
        except DBAPIError as error:
            errors.append(error)

    threads = [threading.Thread(target=lock, args=pair) for pair in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(errors) == 1
    assert database.is_retryable(errors[0])


@pytest.mark.services
def test_a_stale_snapshot_of_postgresql_is_tried_again(
    open_database: Callable[..., Database], run_row: Callable[..., Any]
) -> None:
    database = open_database("postgresql", isolation="REPEATABLE READ")
    with database.begin() as connection:
        rows.insert_many(connection, workflow_executions, [run_row("a")])
    change = [{"id": "a", "version": 1}]
    with pytest.raises(DBAPIError) as caught, database.begin() as late:
        late.execute(text("SELECT 1"))
        late.execute(select(workflow_executions.c.id)).all()
        with database.begin() as early:
            rows.update_many(early, workflow_executions, change)
        rows.lock_headers(late, ["a"], skip_locked=False)
    assert database.is_retryable(caught.value)


def test_sqlite_has_one_writer_and_says_so_when_it_takes_too_long(
    open_database: Callable[..., Database],
) -> None:
    database = open_database("sqlite", busy_timeout=0.01)
    other = open_database("sqlite", busy_timeout=0.01)
    with database.begin():
        with pytest.raises(Unavailable) as mine, database.begin():
            pass
        with pytest.raises(DBAPIError) as others, other.begin():
            pass
        # Readers are not held up.
        with database.read() as connection:
            assert connection.scalars(select(workflows.c.id)).all() == []
    assert database.is_retryable(mine.value)
    assert other.is_retryable(others.value)


def test_sqlite_readers_keep_what_they_began_with(
    open_database: Callable[..., Database], run_row: Callable[..., Any]
) -> None:
    database = open_database("sqlite")
    ids = select(workflow_executions.c.id)
    with database.read() as reader:
        assert reader.scalars(ids).all() == []
        with database.begin() as writer:
            rows.insert_many(writer, workflow_executions, [run_row("a")])
        assert reader.scalars(ids).all() == []


@pytest.mark.services
def test_a_text_that_does_not_fit_is_refused_and_not_cut(
    open_database: Callable[..., Database], run_row: Callable[..., Any]
) -> None:
    database = open_database("mariadb")
    with pytest.raises(DBAPIError), database.begin() as connection:
        long = run_row("a", workflow_name="x" * 256)
        rows.insert_many(connection, workflow_executions, [long])


def test_a_database_file_is_made(tmp_path: Path) -> None:
    database = Database(URL.create("sqlite", database=str(tmp_path / "new.db")))
    database.create_or_upgrade()
    database.check_schema()
    database.dispose()


def test_replay_runs_again_after_a_deadlock_only(database):
    """The victim of a deadlock tries again; another fault is not repeated."""
    from sqlalchemy import exc, text

    class Victim(Exception):
        sqlstate = "40001"
        sqlite_errorcode = 5
        args = (1213, "Deadlock found")

    tried = []

    def work(connection):
        tried.append(connection.execute(text("SELECT 1")).scalar_one())
        if len(tried) < 3:
            raise exc.OperationalError("", {}, Victim())
        return "done"

    assert database.replay(work) == "done"
    assert tried == [1, 1, 1]
    with pytest.raises(ZeroDivisionError):
        database.replay(lambda connection: 1 / 0)


@pytest.mark.services
@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_replay_meets_serialization_failures_up_to_a_bound(
    open_database: Callable[..., Database], isolation: str
) -> None:
    """PostgreSQL refuses a transaction whose snapshot is older than a row it changes
    (REPEATABLE READ); one that meets new changes each time ends with a clear error."""
    database = open_database("postgresql", isolation=isolation)
    table = executors
    row = {"id": "e", "host": "h", "started_at": NOON, "last_seen": NOON}
    with database.begin() as connection:
        connection.execute(insert(table), row)

    def change(connection: Connection, host: str) -> None:
        connection.execute(update(table).values(host=host))

    def disturbed(times: int) -> Callable[[Connection], int]:
        tried = []

        def work(connection: Connection) -> int:
            tried.append(connection.execute(select(table.c.host)).scalar_one())
            if len(tried) <= times:
                with database.begin() as other:
                    change(other, f"other {len(tried)}")
            change(connection, "mine")
            return len(tried)

        return work

    strict = isolation == "REPEATABLE READ"
    assert database.replay(disturbed(REPLAYS)) == (REPLAYS + 1 if strict else 1)
    if strict:
        with pytest.raises(Unavailable, match=f"{REPLAYS + 1} times"):
            database.replay(disturbed(REPLAYS + 1))


@pytest.mark.parametrize(
    ("kind", "kill"),
    [
        pytest.param(
            "postgresql",
            "SELECT pg_terminate_backend(:id, 5000)",
            marks=pytest.mark.services,
        ),
        pytest.param("mariadb", "KILL :id", marks=pytest.mark.services),
    ],
)
def test_a_connection_that_is_lost_while_nobody_uses_it_is_noticed(
    open_database: Callable[..., Database], kind: str, kill: str
) -> None:
    """Whoever asks next gets another one and hears nothing of it."""
    database = open_database(kind, pool_size=1, max_overflow=1, look_after=0.0)
    own = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT connection_id()"}
    with database.begin() as first, database.begin() as killer:
        number = first.scalar(text(own[kind]))
        first.commit()
        killer.execute(text(kill), {"id": number})
    with database.begin() as connection:
        assert connection.scalar(text(own[kind])) != number
