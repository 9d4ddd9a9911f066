"""Databases to measure on: what they spend, which statements and commits they see.

PostgreSQL is a server of our own in a temporary directory where its programs are
installed: nobody else's work is then counted, and ``pg_stat_statements`` is loaded.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import ending
import processes
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

TRANSACTIONS = ("BEGIN", "COMMIT", "ROLLBACK", "START", "SET")
"""First words of what opens and ends transactions and is not counted as a statement."""

CHANGE = re.compile(r"(INSERT INTO|UPDATE|DELETE FROM) (\w+)")

HIDDEN = "/* bench */"
"""Marks our own questions."""


@dataclass(frozen=True)
class Counts:
    """What a database has done so far.

    :param rows: table → (inserted, updated, deleted).
    :param top: text of a statement → (calls, milliseconds).
    """

    statements: int | None = None
    commits: int | None = None
    rows: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    top: dict[str, tuple[int, float]] = field(default_factory=dict)
    size: int | None = None


class Store(Protocol):
    """A database as the driver sees it."""

    url: str
    version: str

    def cpu(self) -> float: ...

    def counts(self) -> Counts: ...


class Sqlite:
    """A file; what it spends is spent by the service itself."""

    def __init__(self, home: Path) -> None:
        self._path = home / "mistral.sqlite"
        self.url = f"sqlite:///{self._path}"
        engine = create_engine("sqlite://")
        with engine.connect() as connection:
            found = connection.execute(text("SELECT sqlite_version()")).scalar_one()
        self.version = f"SQLite {found}"

    def cpu(self) -> float:
        return 0.0

    def counts(self) -> Counts:
        files = self._path.parent.glob(f"{self._path.name}*")
        return Counts(size=sum(path.stat().st_size for path in files))


class PostgreSql:
    """One database of a server.

    :param pid: of the server, if it is ours alone; otherwise the processes that
        serve this database are counted.
    """

    def __init__(self, url: str, pid: int | None = None) -> None:
        self.url = url
        self._name = make_url(url).database or ""
        self._pid = pid
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT", pool_size=1)
        with self._engine.connect() as connection:
            version = connection.exec_driver_sql("SHOW server_version").scalar_one()
            self._counts_statements = _has_statements(connection)
        self.version = f"PostgreSQL {str(version).split()[0]}"

    def cpu(self) -> float:
        if self._pid is not None:
            return processes.cpu([self._pid])
        return processes.own_cpu(processes.titled("postgres: ", self._name))

    def counts(self) -> Counts:
        with self._engine.connect() as connection:
            ask = connection.exec_driver_sql
            commits = ask(
                f"{HIDDEN} SELECT xact_commit FROM pg_stat_database"
                " WHERE datname = current_database()"
            ).scalar_one()
            size = ask(
                f"{HIDDEN} SELECT sum(pg_total_relation_size(relid))"
                " FROM pg_stat_user_tables"
            ).scalar_one()
            if not self._counts_statements:
                return Counts(commits=commits, size=int(size or 0))
            found = [
                (" ".join(row[0].split()), row[1], row[2], row[3])
                for row in ask(
                    f"{HIDDEN} SELECT query, calls, total_exec_time, rows"
                    " FROM pg_stat_statements WHERE dbid ="
                    " (SELECT oid FROM pg_database"
                    "  WHERE datname = current_database())"
                )
                if HIDDEN not in row[0]
            ]
        top: dict[str, tuple[int, float]] = {}
        rows: dict[str, tuple[int, int, int]] = {}
        for query, calls, spent, changed in found:
            known = top.get(query, (0, 0.0))
            top[query] = (known[0] + calls, known[1] + spent)
            match = CHANGE.match(query)
            if match:
                kind, table = match.groups()
                inserted, updated, deleted = rows.get(table, (0, 0, 0))
                rows[table] = (
                    inserted + changed * kind.startswith("INSERT"),
                    updated + changed * kind.startswith("UPDATE"),
                    deleted + changed * kind.startswith("DELETE"),
                )
        return Counts(
            statements=sum(
                calls for query, calls, _, _ in found if not _is_transaction(query)
            ),
            commits=sum(calls for query, calls, _, _ in found if query == "COMMIT"),
            rows=rows,
            top=top,
            size=int(size or 0),
        )


def _has_statements(connection: Connection) -> bool:
    try:
        ask = connection.exec_driver_sql
        ask("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        ask("SELECT count(*) FROM pg_stat_statements")
    except DBAPIError:
        return False
    return True


def _is_transaction(query: str) -> bool:
    return query.partition(" ")[0].rstrip(";").upper() in TRANSACTIONS


class MariaDb:
    """One database of a MariaDB server, spoken to by a user of its own, whose
    statements the server counts (``userstat``)."""

    def __init__(self, url: str, user: str, admin: Engine) -> None:
        self.url = url
        self._user = user
        self._admin = admin
        self._name = make_url(url).database or ""
        with admin.connect() as connection:
            found = connection.exec_driver_sql("SELECT version()").scalar_one()
            pid_file = connection.exec_driver_sql("SELECT @@pid_file").scalar_one()
        self.version = str(found).split("-")[0].join(("MariaDB ", ""))
        self._pid = int(Path(str(pid_file)).read_text())

    def cpu(self) -> float:
        """Of the threads that serve this database."""
        with self._admin.connect() as connection:
            threads = connection.exec_driver_sql(
                "SELECT tid FROM information_schema.processlist WHERE user = %s",
                (self._user,),
            ).scalars()
            return processes.threads_cpu(self._pid, threads)

    def counts(self) -> Counts:
        with self._admin.connect() as connection:
            row = connection.exec_driver_sql(
                "SELECT SUM(select_commands), SUM(update_commands)"
                " FROM information_schema.user_statistics WHERE user = %s",
                (self._user,),
            ).one()
            size = connection.exec_driver_sql(
                "SELECT SUM(data_length + index_length) FROM information_schema.tables"
                " WHERE table_schema = %s",
                (self._name,),
            ).scalar_one()
        # It calls every end of a statement a commit: those are not counted.
        selects, changes = (int(value or 0) for value in row)
        return Counts(selects + changes, size=int(size or 0))


# -- PostgreSQL of our own -------------------------------------------------------------


def postgresql_programs() -> Path | None:
    """Where ``initdb`` lies; None: it is not installed."""
    for found in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True):
        return found.parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@contextmanager
def own_postgresql(programs: Path) -> Iterator[tuple[str, int]]:
    """A server with its defaults; URL of its administrator and its process id."""
    user = "postgres" if os.geteuid() == 0 else None
    with ExitStack() as stack:
        with ending.whole():
            directory = tempfile.TemporaryDirectory(prefix="bench-pg-")
            home = Path(stack.enter_context(directory))
        if user:
            shutil.chown(home, user)
        common = {"user": user, "cwd": home, "stdout": subprocess.DEVNULL}
        subprocess.run(
            [programs / "initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8",
             "--locale=C.UTF-8", home / "data"],
            check=True,
            **common,
        )  # fmt: skip
        port = free_port()
        with Path(home / "log").open("wb") as log, ending.whole():
            server = subprocess.Popen(
                [programs / "postgres", "-D", home / "data", "-p", str(port),
                 "-k", home, "-c", "shared_preload_libraries=pg_stat_statements",
                 "-c", "max_connections=200"],
                stderr=log,
                **common,
            )  # fmt: skip
            stack.callback(_stop, server)
        url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        _wait_for(url, server, home / "log")
        yield url, server.pid


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)
    server.wait(30)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    engine = create_engine(url)
    until = time.monotonic() + 30
    while True:
        try:
            with engine.connect():
                return
        except SQLAlchemyError:
            if server.poll() is not None or time.monotonic() > until:
                raise SystemExit(log.read_text()) from None
            time.sleep(0.1)
        finally:
            engine.dispose()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def postgresql(admin: str, name: str, pid: int | None = None) -> Iterator[PostgreSql]:
    """A fresh database of a server, removed afterwards."""
    engine = create_engine(admin, isolation_level="AUTOCOMMIT")
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        with ending.whole():
            _say(engine, f"CREATE DATABASE {name}")
            stack.callback(_say, engine, f"DROP DATABASE {name} WITH (FORCE)")
        url = engine.url.set(database=name).render_as_string(hide_password=False)
        yield PostgreSql(url, pid)


@contextmanager
def mariadb(admin: str, name: str) -> Iterator[MariaDb]:
    """A fresh database with a user of its own, both removed afterwards."""
    engine = create_engine(admin, isolation_level="AUTOCOMMIT")
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        with ending.whole():
            with engine.connect() as connection:
                ask = connection.exec_driver_sql
                before = ask("SELECT @@GLOBAL.userstat").scalar_one()
                ask("SET GLOBAL userstat = 1")
                stack.callback(_say, engine, f"SET GLOBAL userstat = {int(before)}")
                ask(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
                stack.callback(_say, engine, f"DROP DATABASE {name}")
                ask(f"CREATE USER {name}@'%%' IDENTIFIED BY 'bench'")
                stack.callback(_say, engine, f"DROP USER {name}@'%%'")
                ask(f"GRANT ALL ON {name}.* TO {name}@'%%'")
        url = engine.url.set(database=name, username=name, password="bench")
        yield MariaDb(url.render_as_string(hide_password=False), name, engine)


def _say(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
