"""How many requests are worked on at the same time, and whose is the next.

An API process has one interpreter: what many threads do at once, each of them does
slowly. So only ``PLACES`` requests are worked on, at most ``EACH`` of one project, and
the others wait outside, where projects take turns. What a flood of requests of one
project slows down is that project: it has ``EACH_LOUD`` then.

Who waits for an engine or for the end of an execution takes no place.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from mistral.clock import Clock, SystemClock
from mistral.errors import TooMany
from mistral.fair_queue import Traffic

PLACES: Final = 16
EACH: Final = 8
EACH_LOUD: Final = 2
"""Places of a project from which most requests come, while others have some, too: these
do not wait for what a flood has in hand."""

OUTSIDE: Final = 48
"""Requests of one project that may wait: each keeps one of the server's threads."""


class Gate:
    """Of one process; safe from any thread.

    :param places: requests that are worked on at the same time.
    :param each: of these, most of one project.
    :param outside: requests of one project that may wait for a place.
    :param clock: its monotonic side.
    """

    def __init__(
        self,
        places: int = PLACES,
        each: int = EACH,
        outside: int = OUTSIDE,
        clock: Clock | None = None,
    ) -> None:
        self._free = places
        self._each = each
        self._outside = outside
        self._clock = clock or SystemClock()
        self._traffic = Traffic()
        self._lock = threading.Lock()
        self._inside: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()
        self._mine = threading.local()

    @contextmanager
    def place(self, project: str) -> Iterator[None]:
        """A request of this project, in this thread, from beginning to end.

        :raises TooMany: too many of them wait.
        """
        with self._lock:
            self._traffic.saw(project, self._clock.monotonic())
        self._enter(project, self._outside)
        self._mine.project = project
        try:
            yield
        finally:
            self._mine.project = None
            self._leave(project)

    @contextmanager
    def left(self, *, loud: bool = True) -> Iterator[None]:
        """This thread waits for something else meanwhile.

        :param loud: a project that floods the others leaves its place, too.
        """
        project = getattr(self._mine, "project", None)
        if project is None or not (loud or self._is_quiet(project)):
            yield
            return
        self._leave(project)
        try:
            yield
        finally:
            self._enter(project)

    def waiting(self, project: str) -> int:
        """Requests of a project that wait for a place."""
        with self._lock:
            return len(self._waiting.get(project, ()))

    def _enter(self, project: str, most: int | None = None) -> None:
        with self._lock:
            if self._free and self._inside[project] < self._most(project):
                self._take(project)
                return
            line = self._waiting.setdefault(project, deque())
            if most is not None and len(line) >= most:
                raise TooMany("Too many requests of this project wait here; ask later.")
            mine = threading.Event()
            line.append(mine)
        mine.wait()

    def _leave(self, project: str) -> None:
        with self._lock:
            self._free += 1
            self._inside[project] -= 1
            if not self._inside[project]:
                del self._inside[project]
            for waiting in list(self._waiting):
                if not self._free:
                    return
                if self._inside[waiting] < self._most(waiting):
                    self._let_in(waiting)

    def _is_quiet(self, project: str) -> bool:
        with self._lock:
            return self._traffic.loud(self._clock.monotonic()) != project

    def _most(self, project: str) -> int:
        loud = self._traffic.loud(self._clock.monotonic()) == project
        return min(self._each, EACH_LOUD) if loud else self._each

    def _take(self, project: str) -> None:
        self._free -= 1
        self._inside[project] += 1

    def _let_in(self, project: str) -> None:
        """The first of this project, which has its next turn after all others."""
        self._take(project)
        line = self._waiting[project]
        line.popleft().set()
        if line:
            self._waiting.move_to_end(project)
        else:
            del self._waiting[project]


class PatientBus:
    """The bus of a process with a gate: who waits for an answer takes no place."""

    def __init__(self, bus: Any, gate: Gate) -> None:
        self._bus = bus
        self._gate = gate

    @property
    def refusal(self) -> str | None:
        """Why the broker says no; None: it does not."""
        found: str | None = self._bus.refusal
        return found

    def call(self, message: Any, **how: Any) -> Any:
        """As ``bus.Bus.call``."""
        with self._gate.left(loud=False):
            return self._bus.call(message, **how)
