"""One database behind one face: connections, transactions, its clock, its moods.

The three families differ in how they begin, lock and fail; this is the only
file that knows. Nobody outside ``mistral/db`` asks which one is behind it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    create_engine,
    event,
    exc,
    func,
    select,
    text,
)
from sqlalchemy.engine import URL, Dialect, make_url

from mistral.clock import Clock, SystemClock
from mistral.db import direct, failures, liveness, schema_version
from mistral.errors import ServiceError, StaleSchema, Unavailable, mark_outage
from mistral.redaction import vouch

T = TypeVar("T")

READ_COMMITTED: Final = "READ COMMITTED"
REPEATABLE_READ: Final = "REPEATABLE READ"

UNLOOKED: Final = 1.0
"""Seconds: a server that restarts takes longer, and looking costs as much as asking."""

HELD: Final = 8.0
"""Seconds: no transaction of ours pauses as long between two statements, though authors
write expressions that take as long as they may (``engine/facts.py``), and what it holds
is free again before leases end."""

REPLAYS: Final = 4
"""A deadlock has one victim, so a few tries get through among a few engines."""


_DRIVERS: Final = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite+pysqlite",
}
# SKIP LOCKED decides: older servers make two engines wait for each other.
_OLDEST: Final = {
    "PostgreSQL": (13,),
    "MariaDB": (10, 6),
    # Its binary collation that adds no blanks.
    "MySQL": (8, 0, 17),
    # Upserts and window functions of the listings.
    "SQLite": (3, 35),
}
_READS: Final = "mistral_reads"
_RETURNED: Final = "mistral_returned"


class Database:
    """Connections to one database, whose kind the URL says.

    :param url: as SQLAlchemy writes it. A bare ``postgresql://`` means
        psycopg 3, a bare ``mysql://`` or ``mariadb://`` PyMySQL. SQLite needs a
        file.
    :param clock: replaces the database's clock as a whole (tests).
    :param pool_size: connections kept open.
    :param max_overflow: more that may be opened under load.
    :param pool_timeout: seconds to wait for a free connection.
    :param pool_recycle: seconds after which a connection is opened anew.
    :param busy_timeout: SQLite: seconds to wait for another writer.
    :param isolation: ``READ COMMITTED`` but for tests that show that
        ``REPEATABLE READ`` does no harm. SQLite knows one level only.
    :param held_seconds: a transaction that does nothing for so long is ended by the
        server: its process is stopped, or its host is gone, and others wait for its
        locks. PostgreSQL and MariaDB; SQLite has one process, MySQL no such thing.
    :param look_after: seconds after its last use from which on a connection is looked
        at before the next.
    :raises ServiceError: the URL names a database that is not supported. What
        the server itself is refused for (too old, another isolation) is raised
        at the first connection.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        clock: Clock | None = None,
        pool_size: int = 10,
        max_overflow: int = 20,
        pool_timeout: float = 30.0,
        pool_recycle: float = 3600.0,
        busy_timeout: float = 30.0,
        isolation: str = READ_COMMITTED,
        look_after: float = UNLOOKED,
        held_seconds: float = HELD,
    ) -> None:
        self.url = _with_driver(make_url(url))
        self._clock = clock
        self._busy_timeout = busy_timeout
        self.isolation = isolation
        self._look_after = look_after
        self._held_seconds = held_seconds
        # SQLite has one writer at a time. Waiting for it on a lock costs
        # nothing; waiting inside SQLite means polling with sleeps.
        self._writer = threading.Lock() if self.is_sqlite else None
        arguments: dict[str, Any] = {
            # Errors carry no values of workflows (SEC-08).
            "hide_parameters": True,
            "pool_size": pool_size,
            "max_overflow": max_overflow,
            "pool_timeout": pool_timeout,
            "pool_recycle": pool_recycle,
        }
        if not self.is_sqlite:
            arguments.update(isolation_level=isolation)
            arguments.update(connect_args=liveness.arguments(self.url))
        self.engine: Engine = create_engine(self.url, **arguments)
        event.listen(self.engine, "connect", self._connected)
        if not self.is_sqlite:
            event.listen(self.engine, "checkin", _returned)
            event.listen(self.engine, "checkout", self._taken)
        event.listen(self.engine, "handle_error", failures.drop_details)
        if self.has_pipelines:
            event.listen(self.engine, "before_execute", direct.drain)
        if self.is_sqlite:
            event.listen(self.engine, "begin", _begin_sqlite)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file that one process has to itself."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that commits if the block is left cleanly and is rolled
        back otherwise.

        :raises Unavailable: SQLite: another writer did not end in time.
        """
        if self._writer is None:
            with self.connect() as connection, connection.begin():
                yield connection
            return
        if not self._writer.acquire(timeout=self._busy_timeout):
            raise Unavailable("The database is busy with another writer.")
        try:
            with self.connect() as connection, connection.begin():
                yield connection
        finally:
            self._writer.release()

    def connect(self) -> Connection:
        """A connection of the pool, to be given back.

        :raises sqlalchemy.exc.TimeoutError: all are in use, and none came free in
            time; an outage.
        """
        try:
            return self.engine.connect()
        except exc.TimeoutError as error:
            mark_outage(error)
            vouch(error, "All database connections of this process are in use.")
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reads; whatever it may have changed is rolled back."""
        with self.connect() as connection:
            yield connection.execution_options(**{_READS: True})

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """A connection for reads that need no transaction around them: what changes
        something or locks goes elsewhere. PostgreSQL begins and ends none then."""
        with self.read() as connection:
            if self.url.get_backend_name() == "postgresql":
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    @property
    def has_pipelines(self) -> bool:
        """Whether statements are sent before the ones in front are answered."""
        return self.url.get_backend_name() == "postgresql"

    def end_stopped(self) -> int:
        """End what has stopped in the midst of a pipeline and holds locks: there the
        server takes a transaction for busy, and ``held_seconds`` do not count.

        :returns: how many.
        """
        with self.read() as connection:
            bound = {"held": self._held_seconds}
            return len(connection.execute(_END_STOPPED, bound).all())

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """As ``read``; all that is read shows the same moment."""
        if self.is_sqlite:
            with self.read() as connection:
                yield connection
            return
        with self.connect() as connection:
            yield connection.execution_options(isolation_level=REPEATABLE_READ)

    def now(self, connection: Connection) -> datetime:
        """UTC by the database's clock, without tzinfo, microseconds.

        Locks come before it in a transaction: under REPEATABLE READ the first
        statement decides what the transaction sees.
        """
        if self._clock is not None:
            return self._clock.now()
        for statement, bound in self.to_ask_now():
            (row,) = direct.fetch(connection, statement, bound)
            now: datetime = row["now"]
            return now
        # The file has no clock but this machine's.
        return SystemClock().now()

    def to_ask_now(self) -> list[direct.Question]:
        """What ``now`` asks, for ``direct.fetch_together``; nothing where no statement
        is needed."""
        asked = self.server_now
        return [] if asked is None else [(_asked(asked), {})]

    @property
    def server_now(self) -> ColumnElement[datetime] | None:
        """What a statement asks for ``now`` with; None: no statement is needed."""
        if self._clock is not None or self.is_sqlite:
            return None
        postgresql = self.engine.dialect.name == "postgresql"
        return _POSTGRESQL_NOW if postgresql else _MYSQL_NOW

    def replay(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction, again if it was a deadlock's victim or met
        what others changed meanwhile.

        For what locks rows in another order than turns do, or not at all.

        :raises Unavailable: it met others each time, ``REPLAYS`` times after the first.
        """
        return _replayed(self.begin, work)

    def again(self, attempt: Callable[[], T]) -> T:
        """Run what has one transaction of its own, and changes nothing besides; again
        if that was a deadlock's victim or met what others changed meanwhile.

        Not after a lost connection: whether it has committed is unknown then, and what
        was made would be there already the second time.

        :raises Unavailable: as ``replay``.
        """
        return _until_through(attempt, failures.is_conflict)

    def is_conflict(self, error: BaseException) -> bool:
        """Whether it is others' transactions that this one could not go with."""
        return failures.is_conflict(error)

    def is_lock_timeout(self, error: BaseException) -> bool:
        """Whether a statement waited in vain for a lock that others hold."""
        return failures.is_lock_timeout(error)

    def is_retryable(self, error: BaseException) -> bool:
        """Whether the same transaction may succeed when it is run again: it was
        chosen as a victim, waited too long, or its connection was lost."""
        return failures.is_retryable(error)

    def has_our_schema(self) -> bool:
        """Whether the tables have the version that this code is for."""
        with self.read() as connection:
            return schema_version.current(connection) == schema_version.head()

    def check_schema(self) -> None:
        """Compare the schema's version with the one that this code is for.

        :raises StaleSchema: says both and what to do.
        """
        with self.read() as connection:
            found = schema_version.current(connection)
        wanted = schema_version.head()
        if found == wanted:
            return
        if found is None:
            raise StaleSchema(
                f"The database {self.shown} has no tables yet (wanted: version"
                f" {wanted}). Run `mistral-db-manage upgrade head`."
            )
        if _migrations().knows(found):
            raise StaleSchema(
                f"The database {self.shown} has schema version {found}, but this"
                f" release needs {wanted}. Run `mistral-db-manage upgrade head`."
            )
        raise StaleSchema(
            f"The database {self.shown} has schema version {found}, which this"
            f" release (version {wanted}) does not know: a newer release made it."
            " Install that release, or go back with its `mistral-db-manage"
            f" downgrade {wanted}`; `mistral-db-manage upgrade head` of this"
            " release cannot help."
        )

    def create_or_upgrade(self) -> None:
        """Bring a fresh or older database to the version of this release."""
        with self.begin() as connection:
            if schema_version.current(connection) != schema_version.head():
                _migrations().upgrade(connection)

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    def dispose(self) -> None:
        """Close the connections that nobody uses."""
        self.engine.dispose()

    def _connected(self, connection: Any, record: Any) -> None:
        dialect = self.engine.dialect
        cursor = connection.cursor()
        try:
            for statement in self._settings(dialect):
                cursor.execute(statement)
        finally:
            cursor.close()
        refusal = too_old(product(dialect), dialect.server_version_info or ())
        if refusal:
            raise ServiceError(refusal)
        if self.is_sqlite:
            # Transactions begin when we say so, not when the driver thinks.
            connection.isolation_level = None
            return
        if dialect.driver == "psycopg":
            # As ``direct`` does that, see ``pipeline.py``.
            connection.prepare_threshold = None
        found = dialect.get_isolation_level(connection)
        if found != self.isolation:
            raise ServiceError(
                f"The database {self.shown} gives isolation level {found} although"
                f" {self.isolation} was asked for."
            )
        # A rollback would take the settings back.
        connection.commit()
        if dialect.name != "postgresql":
            liveness.watch(connection)

    def _taken(self, connection: Any, record: Any, _proxy: Any) -> None:
        """Look at a connection that was not used for a while before it is used.

        :raises DisconnectionError: it is gone; the pool takes another one.
        """
        returned = record.info.pop(_RETURNED, None)
        if returned is None or time.monotonic() - returned < self._look_after:
            return
        try:
            self.engine.dialect.do_ping(connection)
        except self.engine.dialect.loaded_dbapi.Error as error:
            raise exc.DisconnectionError("The connection is gone.") from error

    def _settings(self, dialect: Dialect) -> tuple[str, ...]:
        if self.is_sqlite:
            return (
                f"PRAGMA busy_timeout = {int(self._busy_timeout * 1000)}",
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = NORMAL",
                "PRAGMA foreign_keys = ON",
                # Names are case sensitive everywhere.
                "PRAGMA case_sensitive_like = ON",
            )
        if dialect.name == "postgresql":
            held = int(self._held_seconds * 1000)
            return (
                "SET TIME ZONE 'UTC'",
                # Whatever the database keeps its texts in.
                "SET client_encoding TO 'UTF8'",
                f"SET idle_in_transaction_session_timeout = {held}",
                # Plans of prepared statements are kept while tables grow (0049).
                "SET enable_seqscan = off",
                # What has to read a whole table looks so dear then that it would be
                # compiled first.
                "SET jit = off",
            )
        held = max(1, round(self._held_seconds))
        limits = f"SET SESSION idle_transaction_timeout = {held}"
        return (
            *((limits,) if product(dialect) == "MariaDB" else ()),
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "SET SESSION time_zone = '+00:00',"
            # What does not fit is an error, not cut.
            " sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
        )


class OwnConnection:
    """One thread's way to a database: a connection that it keeps between its
    transactions, where the pool would look at it before and clean it up after each.

    A connection on which something failed is given back; the next transaction gets
    another one, which the pool has looked at.

    :param lock_seconds: the longest time that a statement waits for a lock; an error
        says so then (``Database.is_lock_timeout``). MariaDB and MySQL know whole
        seconds, and for SQLite ``busy_timeout`` stands.
    """

    def __init__(self, database: Database, lock_seconds: float) -> None:
        self._database = database
        self._lock_seconds = lock_seconds
        self._connection: Connection | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """As ``Database.begin``."""
        if self._database.is_sqlite:
            with self._database.begin() as connection:
                yield connection
            return
        if self._connection is None:
            self._connection = self._connect()
        try:
            with self._connection.begin(), direct.streamed(self._connection):
                yield self._connection
        except BaseException as error:
            if not self._database.is_lock_timeout(error):
                self.close()
            raise

    def _connect(self) -> Connection:
        connection = self._database.connect()
        try:
            connection.exec_driver_sql(
                f"SET SESSION lock_timeout = {round(1000 * self._lock_seconds)}"
                if connection.dialect.name == "postgresql"
                else "SET SESSION innodb_lock_wait_timeout ="
                f" {max(1, round(self._lock_seconds))}"
            )
            # A rollback would take it back.
            connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    def replay(self, work: Callable[[Connection], T]) -> T:
        """As ``Database.replay``; who waited in vain for a lock is told at once."""
        return _replayed(self.begin, work, _is_no_wait)

    def close(self) -> None:
        """Give the connection up: nobody else has its limits."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def _is_no_wait(error: BaseException) -> bool:
    return not failures.is_lock_timeout(error)


def _replayed(
    begin: Callable[[], AbstractContextManager[Connection]],
    work: Callable[[Connection], T],
    counts: Callable[[Exception], bool] = lambda error: True,
) -> T:
    """:param counts: whether an error may be met by trying again."""

    def attempt() -> T:
        with begin() as connection:
            return work(connection)

    return _until_through(attempt, failures.is_retryable, counts)


def _until_through(
    attempt: Callable[[], T],
    may_repeat: Callable[[Exception], bool],
    counts: Callable[[Exception], bool] = lambda error: True,
) -> T:
    left = REPLAYS
    while True:
        try:
            return attempt()
        except Exception as error:
            left -= 1
            if not counts(error):
                raise
            if left >= 0 and may_repeat(error):
                continue
            if not failures.is_conflict(error):
                raise
            raise Unavailable(
                f"The database has refused a transaction {REPLAYS + 1} times, as"
                " others change the same rows."
            ) from error


_END_STOPPED: Final = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = current_user"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    # An operator's COPY looks the same.
    " AND state = 'active' AND wait_event = 'ClientRead' AND query NOT ILIKE 'copy %'"
    " AND state_change < clock_timestamp() - make_interval(secs => :held)"
)
_POSTGRESQL_NOW: Final = func.timezone("UTC", func.clock_timestamp()).label("now")
_MYSQL_NOW: Final = func.utc_timestamp(6).label("now")
_asked = cache(select)


def product(dialect: Dialect) -> str:
    """Name of the server behind a dialect that has connected once."""
    if dialect.name == "postgresql":
        return "PostgreSQL"
    if dialect.name == "sqlite":
        return "SQLite"
    return "MariaDB" if getattr(dialect, "is_mariadb", False) else "MySQL"


def too_old(name: str, version: tuple[Any, ...]) -> str | None:
    """Why this server is refused, or None.

    :param name: as :func:`product` gives it.
    """
    numbers = tuple(part for part in version if isinstance(part, int))
    oldest = _OLDEST[name]
    if numbers >= oldest:
        return None
    found = ".".join(map(str, numbers)) or "of an unknown version"
    return f"{name} {found} is too old: {'.'.join(map(str, oldest))} is needed."


def _migrations() -> Any:
    from mistral.db import migrations

    return migrations


def _with_driver(url: URL) -> URL:
    backend = url.get_backend_name()
    if backend not in _DRIVERS:
        raise ServiceError(
            f"The database {backend!r} is not supported: use sqlite, postgresql,"
            " mysql or mariadb."
        )
    if "+" not in url.drivername:
        url = url.set(drivername=_DRIVERS[backend])
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise ServiceError(
            "An SQLite database needs a file: each connection would see a memory"
            " of its own."
        )
    return url


def _returned(_connection: Any, record: Any) -> None:
    record.info[_RETURNED] = time.monotonic()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for a writer;
    # so it takes the write lock at once unless it only reads.
    reads = connection.get_execution_options().get(_READS)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
