"""``?wait=SECONDS``: an answer that comes when an execution has ended.

Whoever waits keeps one thread of the server, which sleeps, and no connection.
One more thread asks the database for all of them in one statement, several times
a second, as long as anybody waits: the end of an execution may be written by any
engine on any machine, and the row is what all of them share.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any, Final

from mistral.api.parameters import Parameter
from mistral.api.types import JsonSchema
from mistral.db import executions
from mistral.errors import BadRequest, TooMany

LOG = logging.getLogger(__name__)

LONGEST: Final = 30.0
"""Seconds; more is silently less."""

PLACES: Final = 40
"""Requests that may wait in one process: the others still find a thread."""

INTERVAL: Final = 0.2
"""Seconds between two looks at the database."""


class Seconds(Parameter):
    """How long to wait; not sent or empty: not at all."""

    @property
    def schema(self) -> JsonSchema:
        return {"type": "number", "minimum": 0, "default": 0}

    def of(self, query: Mapping[str, str]) -> float:
        """:raises BadRequest: it is no number of seconds."""
        text = query.get(self.name) or "0"
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not isfinite(seconds) or seconds < 0:
            raise BadRequest(
                f"Expected a number of seconds for '{self.name}', found '{text}'."
            )
        return min(seconds, LONGEST)


WAIT: Final = Seconds(
    "wait",
    "Seconds to wait for the end of the execution, at most "
    f"{LONGEST:g}; the answer comes sooner when it ends.",
)


class Endings:
    """Who waits for the end of which execution, in this process.

    :param places: how many may wait at the same time.
    :param interval: seconds between two looks.
    """

    def __init__(
        self, database: Any, *, places: int = PLACES, interval: float = INTERVAL
    ) -> None:
        self._database = database
        self._free = threading.BoundedSemaphore(places)
        self._interval = interval
        self._lock = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = {}
        self._watcher: threading.Thread | None = None
        self._closed = False

    def close(self) -> None:
        """The time is over for all who wait, and for those to come: this process
        stops, and has to answer them before."""
        with self._lock:
            self._closed = True
            for waiting in self._waiting.values():
                for ended in waiting:
                    ended.set()

    @contextmanager
    def place(self, seconds: float) -> Iterator[None]:
        """A place to wait, taken before anything is changed.

        :raises TooMany: all are taken.
        """
        if not seconds:
            yield
            return
        if not self._free.acquire(blocking=False):
            raise TooMany("Too many requests wait for executions here; ask later.")
        try:
            yield
        finally:
            self._free.release()

    def wait(self, execution_id: str, seconds: float) -> None:
        """Return when the execution has ended or is gone, or the time is over."""
        if not seconds:
            return
        ended = threading.Event()
        with self._lock:
            if self._closed:
                return
            self._waiting.setdefault(execution_id, set()).add(ended)
            if self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._watch, name="endings", daemon=True
                )
                self._watcher.start()
        try:
            ended.wait(seconds)
        finally:
            with self._lock:
                others = self._waiting[execution_id]
                others.discard(ended)
                if not others:
                    del self._waiting[execution_id]

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                ids = list(self._waiting)
                if not ids:
                    self._watcher = None
                    return
            for execution_id in self._ended(ids):
                with self._lock:
                    for ended in self._waiting.get(execution_id, ()):
                        ended.set()
            pause.wait(self._interval)

    def _ended(self, ids: list[str]) -> set[str]:
        try:
            with self._database.read() as connection:
                return set(ids) - executions.unfinished(connection, ids)
        except Exception as error:
            # Those who wait are told when they read for themselves.
            LOG.warning("Nobody can be told of ends: %s", type(error).__name__)
            return set()
