"""A change of the API that meets others' transactions is made all the same."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from servers import NoServer, fresh_database, make_tables
from sqlalchemy import Connection, event, text, update

from mistral.api.app import collections
from mistral.db import rows
from mistral.db.database import Database
from mistral.db.models import poison, workflows

SECONDS = 60
TEXT = """\
version: '2.0'
a: {description: TEXT, tasks: {t: {action: std.noop}}}
b: {description: TEXT, tasks: {t: {action: std.noop}}}
"""
PAUSE = 0.12
"""Seconds between two looks: MariaDB shows what it has shown before to who asks again
within 0.1 seconds."""
BLOCKED = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event = 'transactionid'",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx AS trx"
    " JOIN information_schema.processlist AS process"
    " ON process.id = trx.trx_mysql_thread_id"
    " WHERE process.db = DATABASE() AND trx.trx_state = 'LOCK WAIT'",
}


@pytest.fixture(params=["postgresql", "mariadb"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Any
) -> Iterator[Database]:
    try:
        with fresh_database(request.param, tmp_path) as url:
            database = Database(url, clock=clock)
            make_tables(database)
            look_late(database)
            yield database
            database.dispose()
    except NoServer as missing:
        pytest.skip(str(missing))


def look_late(database: Database) -> None:
    """PostgreSQL looks for a deadlock once, so long after a session began to wait: by
    then the other one has to wait, too, also on a machine that has much to do."""
    if database.engine.dialect.name != "postgresql":
        return
    with database.begin() as connection:
        name = database.engine.url.database
        connection.execute(text(f"ALTER DATABASE {name} SET deadlock_timeout = '4s'"))
    database.dispose()


def touch(connection: Connection, name: str) -> None:
    wanted = workflows.c.name == name
    connection.execute(
        update(workflows).where(wanted).values(updated_at=datetime(2020, 1, 1))
    )


def outweigh(connection: Connection) -> None:
    """Whoever this transaction is in a deadlock with is the victim: MariaDB takes who
    has changed less, PostgreSQL who looks first."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL deadlock_timeout = '50s'"))
        return
    row = {"run_id": "r", "kind": "k", "payload": {}, "error": ""}
    row["at"] = datetime(2020, 1, 1)
    rows.insert_many(connection, poison, [{**row, "id": f"{n}"} for n in range(200)])


def until_blocked(database: Database, answer: Future[Any]) -> None:
    """Until somebody in this database waits for a lock.

    :param answer: of who shall wait.
    """
    asked = text(BLOCKED[database.engine.dialect.name])
    while not wait([answer], PAUSE).done:
        with database.read() as connection:
            if connection.scalar(asked):
                return
    raise AssertionError("nobody waits")


@pytest.mark.services
def test_the_victim_of_a_deadlock_is_tried_again(api: Any, database: Database) -> None:
    assert api.post("/v2/workflows", TEXT).status == 201
    other = Database(database.engine.url)
    conflicts: list[BaseException] = []

    @event.listens_for(database.engine, "handle_error")
    def note(context: Any) -> None:
        if database.is_conflict(context.sqlalchemy_exception):
            conflicts.append(context.sqlalchemy_exception)

    with ThreadPoolExecutor(1) as pool:
        with other.begin() as connection:
            outweigh(connection)
            touch(connection, "b")
            changed = TEXT.replace("TEXT", "new")
            answer = pool.submit(api.put, "/v2/workflows", changed)
            until_blocked(other, answer)
            touch(connection, "a")
        found = answer.result(SECONDS)
    other.dispose()
    # PostgreSQL lets the next try overtake who waits for a row of the first one.
    assert conflicts
    assert found.status == 200, found.body
    listed = api.get("/v2/workflows?fields=name,definition").json["workflows"]
    assert all("new" in each["definition"] for each in listed)
    assert len(listed) == 2


@pytest.mark.parametrize("name", sorted(collections()))
def test_every_change_in_a_transaction_is_tried_again(name: str) -> None:
    """A method that opens a transaction is ``replayed``, or hands it on to be."""
    once = [
        method
        for method, function in inspect.getmembers(collections()[name], callable)
        if not method.startswith("__")
        and "database.begin()" in _source(function)
        and not hasattr(function, "__wrapped__")
        and "database.again(" not in _source(function)
    ]
    assert once == []


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except TypeError:
        return ""
