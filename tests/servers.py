"""Fresh databases for tests, on every server that the service supports."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import DBAPIError

from mistral.db.database import Database

KINDS = ("sqlite", "postgresql", "mariadb")

_ADMIN = {
    "postgresql": (
        "TEST_POSTGRESQL_URL",
        "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
    ),
    "mariadb": ("TEST_MARIADB_URL", "mariadb+pymysql://root@127.0.0.1:3306/"),
}
_CREATE = {
    "postgresql": "CREATE DATABASE {name}",
    "mariadb": "CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
}
_DROP = {
    "postgresql": "DROP DATABASE IF EXISTS {name} WITH (FORCE)",
    "mariadb": "DROP DATABASE IF EXISTS {name}",
}
_numbers = count(1)


class NoServer(Exception):
    """The server does not answer."""


def make_tables(database: Database) -> None:
    """All tables of the newest version. A new SQLite file is a copy of one that this
    process has brought there once: most tests want one."""
    file = Path(database.engine.url.database or "")
    if database.engine.dialect.name != "sqlite" or file.exists():
        database.create_or_upgrade()
    else:
        file.write_bytes(_empty_file())


@cache
def _empty_file() -> bytes:
    directory = Path(tempfile.mkdtemp())
    try:
        database = Database(f"sqlite:///{directory / 'empty.db'}")
        database.create_or_upgrade()
        database.dispose()
        return (directory / "empty.db").read_bytes()
    finally:
        shutil.rmtree(directory)


@contextmanager
def fresh_database(kind: str, directory: Path) -> Iterator[URL]:
    """An empty database of its own, removed afterwards.

    The name is unique for the process and its place among pytest's workers.

    :param kind: one of ``KINDS``.
    :param directory: where a SQLite file may lie.
    :raises NoServer: says which server is missing.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"mistral_test_{worker}_{os.getpid()}_{next(_numbers)}"
    if kind == "sqlite":
        yield make_url(f"sqlite:///{directory / name}.db")
        return
    variable, default = _ADMIN[kind]
    admin = make_url(os.environ.get(variable, default))
    # It may have been restarted meanwhile.
    engine = create_engine(admin, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    try:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(_CREATE[kind].format(name=name))
        except DBAPIError as error:
            shown = admin.render_as_string(hide_password=True)
            raise NoServer(f"{kind} does not answer at {shown}: {error.orig}") from None
        try:
            yield admin.set(database=name)
        finally:
            with engine.connect() as connection:
                connection.exec_driver_sql(_DROP[kind].format(name=name))
    finally:
        engine.dispose()
