"""Statements of turns, executed without SQLAlchemy's execution machinery.

A turn has a dozen small statements, and what SQLAlchemy does around each (cache
keys, contexts, results) took four times as long as the driver and the server
together. So the text, the binds and the results of a statement are worked out
once; then the driver's cursor is used directly, inside the transaction that
SQLAlchemy began and ends. Errors are handed back to SQLAlchemy, which wraps
them and gives up lost connections as ever.

Waiting for an answer costs more than most statements do. So what does not need the
answer before it is sent along with it (a pipeline of the driver): reads that
:func:`fetch_together` is given, and the changes and the commit of a turn
(:func:`streamed`).

Only PostgreSQL has statements whose text does not depend on the number of rows;
on the others, and where somebody listens to statements, SQLAlchemy executes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Final

from sqlalchemy import Connection, Dialect
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.base import Executable

from mistral.errors import Bug

Row = Mapping[str, Any]

Question = tuple[Executable, Mapping[str, Any]]
"""A statement that is built once and kept, and values of its named parameters."""

_STATEMENTS: Final = 1_000
"""More than there are; who builds statements anew for each call must not come here."""

_CURSOR: Final = "mistral_cursor"
_STREAM: Final = "mistral_stream"


class _Prepared:
    """What a statement comes to on one dialect.

    :ivar defaults: values that stand in the statement itself.
    :ivar binds: name → what makes a value of the driver out of one of ours.
    :ivar names: of the columns of the result.
    :ivar results: place → what makes one of ours out of a value of the driver.
    """

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        self.defaults: dict[str, Any] = {}
        self.binds: dict[str, Any] = {}
        for bind, name in compiled.bind_names.items():
            process = _processor(bind.type, dialect)
            if process is not None:
                self.binds[name] = process
            if not bind.required:
                self.defaults[name] = bind.effective_value
        columns = getattr(statement, "selected_columns", ())
        self.names = tuple(column.name for column in columns)
        self.results = [
            (place, process)
            for place, column in enumerate(columns)
            if (process := column.type.dialect_impl(dialect).result_processor(
                dialect, None
            ))
        ]  # fmt: skip

    def bound(self, given: Mapping[str, Any]) -> dict[str, Any]:
        values = {**self.defaults, **given}
        for name, process in self.binds.items():
            values[name] = process(values[name])
        return values

    def row(self, found: Sequence[Any]) -> dict[str, Any]:
        row = dict(zip(self.names, found, strict=True))
        for place, process in self.results:
            name = self.names[place]
            row[name] = process(row[name])
        return row


def _processor(kind: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    """What makes a value of the driver out of one of ours; None: nothing has to."""
    if not isinstance(kind, ARRAY):
        process: Any = kind.dialect_impl(dialect).bind_processor(dialect)
        return process
    item = kind.item_type.dialect_impl(dialect).bind_processor(dialect)
    return partial(_array, item)


def _array(item: Callable[[Any], Any] | None, values: Sequence[Any]) -> str:
    """A list as PostgreSQL writes it. The driver's own way looks for what to escape
    with regular expressions and took a third of an engine's time."""
    if item is not None:
        values = list(map(item, values))
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        escaped = value.replace("\\", r"\\").replace('"', r"\"")
        return f'"{escaped}"'
    if isinstance(value, datetime):
        return f'"{value.isoformat(" ")}"'
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, int | float):
        return repr(value)
    raise Bug(f"No column holds a {type(value).__name__}")


_prepared = lru_cache(maxsize=_STATEMENTS)(_Prepared)


def fetch(
    connection: Connection, statement: Executable, bound: Mapping[str, Any]
) -> list[Row]:
    """All rows of a statement that is built once and kept.

    :param bound: values of its named parameters.
    """
    if not connection.in_transaction():
        # As ``Connection.execute`` does.
        connection.begin()
    if not _can_be_direct(connection):
        return list(connection.execute(statement, dict(bound)).mappings())
    prepared = _prepared(statement, connection.dialect)
    cursor = _execute(connection, prepared, bound)
    return [prepared.row(found) for found in cursor.fetchall()]


def fetch_together(
    connection: Connection, asked: Sequence[Sequence[Question]]
) -> list[list[Row]]:
    """The rows of several groups of questions, which are executed in this order; all
    but the last are waited for together.

    The last has no pipeline around it: the driver ends one with a message after which
    the server does not see that the transaction is idle, so it would not end that of a
    process that is stopped then (``HELD``).
    """
    if not _can_be_direct(connection):
        return [
            [row for question in group for row in fetch(connection, *question)]
            for group in asked
        ]
    questions = [(place, each) for place, group in enumerate(asked) for each in group]
    found: list[list[Row]] = [[] for _ in asked]
    if not questions:
        return found
    *together, (place, last) = questions
    sent: list[tuple[int, _Prepared, Any]] = []
    if together:
        raw: Any = connection.connection.driver_connection
        with _wrapped(connection), raw.pipeline():
            for group, (statement, bound) in together:
                prepared = _prepared(statement, connection.dialect)
                cursor = raw.cursor()
                cursor.execute(prepared.text, prepared.bound(bound))
                sent.append((group, prepared, cursor))
    for group, prepared, cursor in sent:
        found[group].extend(map(prepared.row, cursor.fetchall()))
    found[place].extend(fetch(connection, *last))
    return found


@contextmanager
def streamed(connection: Connection) -> Iterator[None]:
    """The inside of a transaction: from ``begin_stream`` on its changes are sent
    without waiting for any, then its commit, and all are waited for together.

    What one of them raises is raised by a later one or at the end.
    """
    known = connection.info
    known[_STREAM] = None
    try:
        yield
        if known[_STREAM] is not None:
            with _wrapped(connection):
                # SQLAlchemy finds nothing left to commit then.
                connection.connection.cursor().execute("COMMIT", prepare=False)
                known.pop(_STREAM).__exit__(None, None, None)
    finally:
        pipeline = known.pop(_STREAM, None)
        if pipeline is not None:
            # Something else has failed, and is raised.
            with suppress(connection.dialect.loaded_dbapi.Error):
                pipeline.__exit__(None, None, None)


def begin_stream(connection: Connection) -> None:
    """What follows in this transaction only changes rows, by functions of this
    module; see :func:`streamed`, outside of which nothing happens."""
    if not _can_be_direct(connection):
        return
    known = connection.info
    if _STREAM in known and known[_STREAM] is None:
        pipeline = connection.connection.driver_connection.pipeline()
        pipeline.__enter__()
        known[_STREAM] = pipeline


def change(
    connection: Connection, statement: Executable, bound: Mapping[str, Any]
) -> int:
    """Execute a statement that is built once and kept; answers how many rows it
    has changed (in a stream nobody knows: -1)."""
    if not _can_be_direct(connection):
        return connection.execute(statement, dict(bound)).rowcount
    prepared = _prepared(statement, connection.dialect)
    return int(_execute(connection, prepared, bound).rowcount)


def _can_be_direct(connection: Connection) -> bool:
    """Outside a transaction it is SQLAlchemy's to begin one."""
    if connection.dialect.driver != "psycopg" or not connection.in_transaction():
        return False
    heard = connection.dispatch
    return not (heard.before_cursor_execute or heard.after_cursor_execute)


@contextmanager
def _wrapped(connection: Connection) -> Iterator[None]:
    """What SQLAlchemy's own executions do with errors of the driver, and there is one
    way only to that: wrap them, tell the listeners, invalidate lost connections."""
    try:
        yield
    except connection.dialect.loaded_dbapi.Error as error:
        connection._handle_dbapi_exception(error, "", None, None, None)
        raise


def _execute(
    connection: Connection, prepared: _Prepared, bound: Mapping[str, Any]
) -> Any:
    cursor = connection.info.get(_CURSOR)
    if cursor is None or cursor.closed:
        cursor = connection.info[_CURSOR] = connection.connection.cursor()
    with _wrapped(connection):
        return cursor.execute(prepared.text, prepared.bound(bound))
