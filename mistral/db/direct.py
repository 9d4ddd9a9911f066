"""Statements of turns, executed without SQLAlchemy's execution machinery.

A turn has a dozen small statements, and what SQLAlchemy does around each (cache
keys, contexts, results) took four times as long as the driver and the server
together. So the text, the binds and the results of a statement are worked out
once; then it is executed directly (``pipeline.py``), inside the transaction that
SQLAlchemy began and ends. Errors are handed back to SQLAlchemy, which wraps
them and gives up lost connections as ever.

Waiting for an answer costs more than most statements do. So what does not need the
answer before it is sent along with it: reads that :func:`fetch_together` is given,
and the changes and the commit of a turn (:func:`streamed`).

Only PostgreSQL has statements whose text does not depend on the number of rows;
on the others, and where somebody listens to statements, SQLAlchemy executes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Dialect
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.base import Executable

from mistral.errors import Bug

if TYPE_CHECKING:
    # A process with another database does not load this one's driver.
    from mistral.db.pipeline import Answer, Pipeline, Statement

Row = Mapping[str, Any]

Question = tuple[Executable, Mapping[str, Any]]
"""A statement that is built once and kept, and values of its named parameters."""

_STATEMENTS: Final = 1_000
"""More than there are; who builds statements anew for each call must not come here."""

_PIPELINE: Final = "mistral_pipeline"
_STREAM: Final = "mistral_stream"

_NAMED: Final = re.compile(r"%(?:\((\w+)\)s|%)")
"""A value or a percent sign in a text as the driver's cursors take it."""


class _Prepared:
    """What a statement comes to on one dialect.

    :ivar defaults: values that stand in the statement itself.
    :ivar binds: name → what makes a value of the driver out of one of ours.
    :ivar names: of the columns of the result.
    :ivar results: place → what makes one of ours out of a value of the driver.
    """

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text, self._order = _numbered(str(compiled))
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

    def bound(self, given: Mapping[str, Any]) -> Statement:
        """What is sent to execute it with these values."""
        values = {**self.defaults, **given}
        for name, process in self.binds.items():
            values[name] = process(values[name])
        return self.text, [values[name] for name in self._order]

    def row(self, found: Sequence[Any]) -> dict[str, Any]:
        row = dict(zip(self.names, found, strict=True))
        for place, process in self.results:
            name = self.names[place]
            row[name] = process(row[name])
        return row


def _numbered(text: str) -> tuple[str, tuple[str, ...]]:
    """A text with ``$1``, ``$2``… for ``%(name)s``, and the names in that order."""
    places: dict[str, int] = {}

    def numbered(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "%"
        return f"${places.setdefault(name, len(places) + 1)}"

    return _NAMED.sub(numbered, text), tuple(places)


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
    ((found, _),) = _run(connection, [prepared.bound(bound)])
    return list(map(prepared.row, found))


def fetch_together(
    connection: Connection, asked: Sequence[Sequence[Question]]
) -> list[list[Row]]:
    """The rows of several groups of questions, which are executed in this order and
    waited for together."""
    if not _can_be_direct(connection):
        return [
            [row for question in group for row in fetch(connection, *question)]
            for group in asked
        ]
    questions = [
        (place, _prepared(statement, connection.dialect), bound)
        for place, group in enumerate(asked)
        for statement, bound in group
    ]
    found: list[list[Row]] = [[] for _ in asked]
    if questions:
        statements = [prepared.bound(bound) for _, prepared, bound in questions]
        answers = _run(connection, statements)
        for (place, prepared, _), (rows, _) in zip(questions, answers, strict=True):
            found[place].extend(map(prepared.row, rows))
    return found


@contextmanager
def streamed(connection: Connection) -> Iterator[None]:
    """The inside of a transaction: from ``begin_stream`` on its changes are kept, and
    sent together with its commit.

    What one of them raises is raised then, or by whatever is asked before.
    """
    known = connection.info
    known[_STREAM] = None
    try:
        yield
        if known[_STREAM]:
            if not connection.in_transaction():
                raise Bug("What a stream has kept is of a transaction that has ended")
            known[_STREAM].append(("COMMIT", ()))
            # SQLAlchemy finds nothing left to commit then.
            drain(connection)
    finally:
        known.pop(_STREAM, None)


def begin_stream(connection: Connection) -> None:
    """What follows in this transaction only changes rows; see :func:`streamed`,
    outside of which nothing happens."""
    known = connection.info
    if _can_be_direct(connection) and _STREAM in known and known[_STREAM] is None:
        known[_STREAM] = []


def change(
    connection: Connection, statement: Executable, bound: Mapping[str, Any]
) -> int:
    """Execute a statement that is built once and kept; answers how many rows it
    has changed (in a stream nobody knows: -1)."""
    if not _can_be_direct(connection):
        return connection.execute(statement, dict(bound)).rowcount
    sent = _prepared(statement, connection.dialect).bound(bound)
    waiting = connection.info.get(_STREAM)
    if waiting is not None:
        waiting.append(sent)
        return -1
    ((_, changed),) = _run(connection, [sent])
    return changed


def drain(connection: Connection, *_: Any) -> None:
    """Send what a stream has kept: something else is about to be executed, or nothing
    more comes."""
    if connection.info.get(_STREAM):
        _run(connection, [])


def _can_be_direct(connection: Connection) -> bool:
    """Outside a transaction it is SQLAlchemy's to begin one."""
    if connection.dialect.driver != "psycopg" or not connection.in_transaction():
        return False
    heard = connection.dispatch
    return not (heard.before_cursor_execute or heard.after_cursor_execute)


def _run(connection: Connection, statements: Sequence[Statement]) -> list[Answer]:
    """Execute them behind what the stream has kept; what the driver raises becomes
    what SQLAlchemy's own executions make of it, and there is one way only to that:
    it is wrapped, the listeners are told, lost connections are invalidated."""
    info = connection.info
    kept = info.get(_STREAM) or []
    sent = [*kept, *statements]
    try:
        if _PIPELINE not in info:
            info[_PIPELINE] = _pipeline(connection.connection.driver_connection)
        answers: list[Answer] = info[_PIPELINE].run(sent)
    except connection.dialect.loaded_dbapi.Error as error:
        connection._handle_dbapi_exception(error, "", None, None, None)
        raise
    except BaseException as error:
        if not isinstance(error, Exception):
            # An interruption stays one: a rollback would fail, and be told instead.
            connection.invalidate()
        raise
    kept.clear()
    return answers[len(sent) - len(statements) :]


def _pipeline(connection: Any) -> Pipeline:
    from mistral.db.pipeline import Pipeline

    return Pipeline(connection)
