"""Starts that come at the same time travel together (decision 0050).

A start goes at once, in a message of its own, unless its project has ``FLIGHTS``
messages with starts under way; one is enough where many came together the last time.
What comes meanwhile waits until one of these is back, and goes as one message: it is
decided in one turn and answered with one message. There is no thread for that: who
waits longest is woken, and takes the others along. A message is of one project, so no
project's starts wait for what another one asks for.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mistral.clock import Clock
from mistral.errors import Bug, MistralError, Unavailable, from_wire, to_wire
from mistral.messages import StartTogether, StartWorkflow, encode

LOG = logging.getLogger(__name__)

FLIGHTS: Final = 2
"""Messages with starts of a project that are under way before others wait for them."""

CROWD: Final = 3
"""Of so many that have waited together it is known that waiting pays."""

MOST_KNOWN: Final = 1_000
"""Projects of which that is remembered."""

MOST: Final = 16
"""Starts of one message."""

PATIENCE: Final = 0.02
"""Seconds that a start waits for others' messages to come back: an engine may be slow,
an answer lost."""

LARGE: Final = 64 * 1024
"""A start with more than that, about, in characters, goes alone."""

PAUSE_SECONDS: Final = 60.0
"""After an engine that knew no such message, before the next one."""

NODE: Final = 8
"""What a value counts beside its characters."""

Wait = Callable[[threading.Event, float], bool]
"""Whether the event came within so many seconds."""

_ALONE: Final[Mapping[str, Any]] = {"later": True}


@dataclass(eq=False, slots=True)
class _Start:
    """One that waits, in a thread of its own.

    :param told: whether it ``leads``, or what became of it, is known.
    :param leads: it is to take along what waits, in place of a message that is back.
    :param outcome: as ``StartTogether`` is answered; anything else: go alone.
    """

    message: StartWorkflow
    told: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    outcome: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Line:
    """Of a project. While something waits a message is under way, or about to be.

    :param crowded: those that went last after they had waited were many.
    """

    under_way: int = 0
    waiting: deque[_Start] = field(default_factory=deque)
    crowded: bool = False

    @property
    def flights(self) -> int:
        """Messages that others wait for."""
        return 1 if self.crowded else FLIGHTS

    def take(self, first: _Start) -> list[_Start]:
        """It goes, and who waits travels with it."""
        others = min(len(self.waiting), MOST - 1)
        self.crowded = 1 + others >= CROWD
        return [first, *(self.waiting.popleft() for _ in range(others))]


class Starts:
    """The bus of a process in which many ask for starts; safe from any thread.

    :param clock: its monotonic side.
    :param seconds: for which a start waits for its answer.
    :param wait: for an event, at most so long.
    """

    def __init__(
        self,
        bus: Any,
        clock: Clock,
        seconds: float = 60.0,
        wait: Wait = threading.Event.wait,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._seconds = seconds
        self._wait = wait
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}
        self._not_before = clock.monotonic()

    @property
    def refusal(self) -> str | None:
        """As ``bus.Bus.refusal``."""
        found: str | None = self._bus.refusal
        return found

    def call(self, message: Any, **how: Any) -> Any:
        """As ``bus.Bus.call``; starts about which nothing else is said may wait for
        each other."""
        if how or not isinstance(message, StartWorkflow) or not message.request_id:
            return self._bus.call(message, **how)
        if _is_large(message):
            return self._bus.call(message)
        return self._start(_Start(message))

    def waiting(self, project: str) -> int:
        """Starts of a project that wait for others' messages."""
        with self._lock:
            line = self._lines.get(project)
            return 0 if line is None else len(line.waiting)

    def _start(self, mine: _Start) -> Any:
        project = mine.message.context.get("project_id") or ""
        begun = self._clock.monotonic()
        with self._lock:
            line = self._line(project)
            waits = line.under_way >= line.flights and begun >= self._not_before
            if waits:
                line.waiting.append(mine)
            else:
                line.under_way += 1
        group = self._wait_in(line, mine) if waits else [mine]
        if group:
            try:
                if len(group) == 1:
                    return self._bus.call(mine.message)
                self._ask(group)
            finally:
                self._back(project, line)
        return self._own(mine, begun)

    def _line(self, project: str) -> _Line:
        found = self._lines.get(project)
        if found is None:
            if len(self._lines) >= MOST_KNOWN:
                known = self._lines.items()
                self._lines = {name: line for name, line in known if line.under_way}
            found = self._lines[project] = _Line()
        return found

    def _wait_in(self, line: _Line, mine: _Start) -> list[_Start]:
        """:returns: what this thread is to ask for, itself first; empty: another one
        has asked."""
        if not self._wait(mine.told, PATIENCE):
            with self._lock:
                if mine in line.waiting:
                    line.waiting.remove(mine)
                    line.under_way += 1
                    return line.take(mine)
            mine.told.wait()
        if not mine.leads:
            return []
        with self._lock:
            return line.take(mine)

    def _back(self, project: str, line: _Line) -> None:
        """A message is back: the next one may go."""
        with self._lock:
            if line.waiting and line.under_way <= line.flights:
                # under way from now on, so that nobody passes it
                first = line.waiting.popleft()
                first.leads = True
                first.told.set()
                return
            line.under_way -= 1
            if not line.under_way and not line.crowded:
                del self._lines[project]

    def _ask(self, group: Sequence[_Start]) -> None:
        """Ask for all of them, and tell each what became of it."""
        outcomes: Sequence[Mapping[str, Any]] = [_ALONE] * len(group)
        try:
            outcomes = self._outcomes(group)
        finally:
            for start, outcome in zip(group, outcomes, strict=True):
                start.outcome = outcome
                start.told.set()

    def _outcomes(self, group: Sequence[_Start]) -> Sequence[Mapping[str, Any]]:
        alone = [_ALONE] * len(group)
        if self._clock.monotonic() < self._not_before:
            return alone
        requests = tuple(encode(start.message) for start in group)
        try:
            answers = self._bus.call(StartTogether(requests=requests))
            if not isinstance(answers, list) or len(answers) != len(group):
                raise Bug("That is no answer to starts")
        except Unavailable as error:
            return [{"error": to_wire(error)}] * len(group)
        except MistralError as error:
            LOG.info("Starts go one by one for a while: %s", error)
            self._not_before = self._clock.monotonic() + PAUSE_SECONDS
            return alone
        return answers

    def _own(self, mine: _Start, begun: float) -> Any:
        """
        :param begun: monotonic seconds.
        :raises MistralError: what was decided.
        """
        if "error" in mine.outcome:
            raise from_wire(mine.outcome["error"])
        if "answer" in mine.outcome:
            return mine.outcome["answer"]
        left = begun + self._seconds - self._clock.monotonic()
        return self._bus.call(mine.message, timeout=max(1.0, left))


def _is_large(message: StartWorkflow) -> bool:
    """Looks no further than it has to."""
    left = LARGE
    todo: list[Any] = [
        message.input,
        message.params,
        message.description,
        message.context,
    ]
    while todo and left > 0:
        value = todo.pop()
        left -= NODE
        if isinstance(value, str):
            left -= len(value)
        elif isinstance(value, Mapping | list | tuple):
            left -= len(value)
            if left > 0:
                todo.extend(value)
            if isinstance(value, Mapping) and left > 0:
                todo.extend(value.values())
    return left <= 0
