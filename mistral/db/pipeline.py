"""Statements on one connection to PostgreSQL, prepared once and sent together.

The driver's cursors work out for each execution what is the same for all of them, and
wait and wake for each statement of a pipeline: they took four fifths of the time of a
turn's statements. Here the driver's own interface to libpq is used instead: whatever is
known is sent at once, with one message at its end, and then the answers are read. The
connection stays the driver's and SQLAlchemy's, who begin nothing meanwhile: between two
calls of :meth:`Pipeline.run` it is as any other in (or outside) a transaction.

Statements are prepared at their first use. The driver must not prepare any on such a
connection (``prepare_threshold``): it deallocates all there are after a rollback.
"""

from __future__ import annotations

import itertools
import select
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer

_COMMIT: Final = "COMMIT"

PLANNED: Final = 1.0
"""Seconds for which the server may keep plans: tables grow, and it takes no notice
before it analyzes them, a minute later or more (decision 0049)."""

AHEAD: Final = 1 << 20
"""Bytes of values that are kept until they go out: what libpq has needed for that once
it needs for as long as the connection lasts."""

Statement = tuple[str, Sequence[Any]]
"""A text with ``$1``, ``$2``… and their values; one text for all values there are."""

Answer = tuple[list[tuple[Any, ...]], int]
"""Rows, as the driver makes them, and how many rows were found or changed."""

_STALE: Final = ("0A000", "26000")
"""States that say that something prepared is of no use any more: its table has changed,
or a pooler has given this connection another server."""

_OK: Final = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)
_READ: Final = select.POLLIN
_BOTH: Final = select.POLLIN | select.POLLOUT
_GONE: Final = "the connection was lost"


class Pipeline:
    """What is kept of one connection; used by one thread at a time.

    :param monotonic: seconds.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._pg = connection.pgconn
        # Whoever sends much and reads nothing meanwhile would wait for itself.
        self._pg.nonblocking = 1
        self._values = Transformer(connection)
        self._names: dict[str, bytes] = {}
        self._numbers = itertools.count()
        self._monotonic = monotonic
        self._planned_at = monotonic()
        self._poll = select.poll()
        self._poll.register(self._pg.socket, _READ)

    def run(self, statements: Sequence[Statement]) -> list[Answer]:
        """Send statements in this order, wait for all, answer what each came to.

        A transaction begins with them where the connection has none and is not in
        autocommit. The first that fails ends them: none behind it is executed.

        :raises psycopg.Error: of the first that failed, or of the connection.
        """
        if not statements:
            return []
        sent = [
            (text, [self._dumped(value) for value in values])
            for text, values in statements
        ]
        try:
            return self._run(sent)
        except BaseException:
            if self._pg.pipeline_status != pq.PipelineStatus.OFF:
                # Nobody knows what is still to come from the server.
                self._connection.close()
            raise

    def _run(self, statements: Sequence[tuple[str, list[bytes | None]]]) -> Any:
        pg = self._pg
        before = self._before()
        new: list[str] = []
        ahead = 0
        # What stands before an answer that somebody wants: preparations.
        asides: list[int] = []
        pg.enter_pipeline_mode()
        for command in before:
            pg.send_query_params(command, None)
        for text, values in statements:
            if text == _COMMIT:
                # Once is not worth a name, and there is nothing to plan.
                pg.send_query_params(text.encode(), None)
                asides.append(0)
                continue
            name = self._names.get(text)
            if name is None:
                name = self._names[text] = b"mistral_%d" % next(self._numbers)
                pg.send_prepare(name, text.encode())
                new.append(text)
                asides.append(1)
            else:
                asides.append(0)
            pg.send_query_prepared(name, values)
            ahead += sum(len(value) for value in values if value is not None)
            if ahead > AHEAD:
                self._flush()
                ahead = 0
        pg.pipeline_sync()
        self._flush()
        first = len(before)
        answers: list[Answer] = []
        error: psycopg.Error | None = None
        for aside in asides:
            for _ in range(first + aside):
                result = self._result()
                error = error or self._failure(result)
            first = 0
            result = self._result()
            error = error or self._failure(result)
            if error is None:
                answers.append(self._answer(result))
        return self._ended(answers, error, new)

    def _ended(
        self, answers: list[Answer], error: psycopg.Error | None, new: list[str]
    ) -> list[Answer]:
        """Read the end of what was sent; the connection is as before then."""
        end = self._next()
        if end is None or end.status != pq.ExecStatus.PIPELINE_SYNC:
            raise error or psycopg.OperationalError(_GONE)
        self._pg.exit_pipeline_mode()
        if error is not None:
            # Which of them were prepared before that does not matter.
            for text in new:
                self._names.pop(text, None)
            if error.sqlstate in _STALE:
                # It would be so for ever; the next connection prepares anew.
                self._connection.close()
            raise error
        return answers

    def _answer(self, result: pq.abc.PGresult) -> Answer:
        if result.status == pq.ExecStatus.COMMAND_OK:
            return [], result.command_tuples or 0
        self._values.set_pgresult(result)
        rows = self._values.load_rows(0, result.ntuples, tuple)
        # It would be kept until the next one comes.
        self._values.set_pgresult(None)
        return rows, result.ntuples

    def _failure(self, result: pq.abc.PGresult | None) -> psycopg.Error | None:
        if result is None:
            return psycopg.OperationalError(_GONE)
        if result.status in _OK:
            return None
        if self._pg.status == pq.ConnStatus.BAD:
            # What is still said of the connection; nothing more can be read.
            raise psycopg.OperationalError(pq.error_message(result))
        return psycopg.errors.error_from_result(result, "utf-8")

    def _before(self) -> list[bytes]:
        """What goes ahead of statements now."""
        begins = self._begins()
        now = self._monotonic()
        if now - self._planned_at < PLANNED:
            return [] if begins is None else [begins]
        self._planned_at = now
        return [b"DISCARD PLANS"] if begins is None else [begins, b"DISCARD PLANS"]

    def _begins(self) -> bytes | None:
        """What begins a transaction, if one has to begin."""
        if self._connection.autocommit:
            return None
        if self._pg.transaction_status != pq.TransactionStatus.IDLE:
            return None
        level = self._connection.isolation_level
        if level is None:
            return b"BEGIN"
        return b"BEGIN ISOLATION LEVEL " + level.name.replace("_", " ").encode()

    def _dumped(self, value: Any) -> bytes | None:
        """A value as text; the types that turns have most come first."""
        if value is None:
            return None
        if isinstance(value, str):
            if "\0" in value:
                raise psycopg.DataError("PostgreSQL keeps no NUL in a text")
            return value.encode()
        if isinstance(value, bool):
            return b"t" if value else b"f"
        if isinstance(value, int):
            return int.__repr__(value).encode()
        if isinstance(value, float):
            return float.__repr__(value).encode()
        if isinstance(value, datetime) and value.tzinfo is None:
            return value.isoformat(" ").encode()
        dumper = self._values.get_dumper(value, PyFormat.TEXT)
        found = dumper.dump(value)
        return None if found is None else bytes(found)

    # -- The socket -----------------------------------------------------------

    def _result(self) -> pq.abc.PGresult | None:
        """The one result of the next statement."""
        found = self._next()
        if found is not None:
            self._next()
        return found

    def _next(self) -> pq.abc.PGresult | None:
        pg = self._pg
        while pg.is_busy():
            self._poll.poll()
            pg.consume_input()
        return pg.get_result()

    def _flush(self) -> None:
        """Give the system all that is to be sent; what the server answers meanwhile
        is taken in, as it reads nothing more before."""
        pg = self._pg
        if not pg.flush():
            return
        socket = pg.socket
        self._poll.modify(socket, _BOTH)
        try:
            while pg.flush():
                if any(ready & ~select.POLLOUT for _, ready in self._poll.poll()):
                    pg.consume_input()
        finally:
            self._poll.modify(socket, _READ)
