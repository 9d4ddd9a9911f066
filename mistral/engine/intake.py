"""What waits to be decided: events by the header that guards them.

The order within one header is kept; projects take turns, and in each the headers, so
that neither a busy run nor a busy project keeps the others waiting. ``take`` waits for
the first event and then takes all that is there: batches grow by themselves under load.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, Final

from mistral.clock import Clock
from mistral.errors import Unavailable
from mistral.fair_queue import FairQueue, Lane
from mistral.messages import Event, RunAction, StartWorkflow, TriggerEvent

TURN: Final = 500
"""Most events of one turn."""

PER_RUN: Final = 64
"""Most events of one run in one turn."""

MOST_KNOWN: Final = 50_000
"""Headers of which an engine remembers whose they are; the others, the same for all,
take turns as one project."""

BEGINNINGS: Final = (StartWorkflow, RunAction)
GOES_ON: Final = 0
BEGINS: Final = -1
"""Within a project what goes on comes before what is asked to begin: otherwise a flood
of requests would keep the results waiting of what it has begun."""


def key_of(event: Event) -> str:
    """Id of the header: the run, or the stand-alone action or trigger itself."""
    if isinstance(event, TriggerEvent):
        return event.trigger_id
    return event.run_id or getattr(event, "action_id", "")


class Answer(Future[Any]):
    """What an event led to, told after the commit.

    :ivar follows: answers of what it had to tell the runs above and below at once.
    """

    follows: tuple[Answer, ...] = ()

    def spread(self, seconds: float, clock: Clock) -> bool:
        """Wait until the runs above and below have decided what they were told, and
        those that these told; whether they have, in time."""
        end = clock.monotonic() + seconds
        level = set(self.follows)
        while level:
            if wait(level, max(0.0, end - clock.monotonic())).not_done:
                return False
            level = {each for answer in level for each in answer.follows}
        return True


@dataclass(eq=False, slots=True)
class Ask:
    """Who brings a result asks for what follows it (decision 0048).

    :param targets: groups of executors it is of; None: offers of no group.
    :param free: its free workers.
    :param until: monotonic seconds: later it may wait for no answer any more.
    :param applied: after the commit: its result was news.
    :param given: the call that was granted then.
    """

    token: str
    executor_id: str
    targets: frozenset[str | None]
    free: int
    until: float
    applied: bool = False
    given: Mapping[str, Any] | None = None


@dataclass(eq=False, slots=True)
class Waiting:
    """An event and who waits for its end.

    :param row_id: the outbox row that is consumed with it, if it has one.
    :param ask: of who brings it, if it asks for more.
    :param project: whose turn it had; empty: that was not known.
    :param answer: done after the commit, with the answer or the error.
    :param skips: turns that found its header locked by another engine.
    :param since: monotonic seconds of the first such turn.
    """

    event: Event
    row_id: str | None = None
    ask: Ask | None = None
    project: str = ""
    answer: Answer = field(default_factory=Answer)
    skips: int = 0
    since: float = 0.0

    @property
    def key(self) -> str:
        return key_of(self.event)


class Intake:
    """The queue in front of the deciding thread; safe from any thread.

    :param limit: events from outside that may wait; more are refused.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._runs: dict[str, deque[Waiting]] = {}
        self._line: FairQueue[str] = FairQueue()
        self._projects: OrderedDict[str, str] = OrderedDict()
        self._size = 0
        self._closed = False
        self._change = threading.Condition()

    def __len__(self) -> int:
        return self._size

    def put(
        self, event: Event, row_id: str | None = None, ask: Ask | None = None
    ) -> Answer:
        """Let an event be heard. What an outbox row promised is never refused.

        :returns: done after the commit of the turn that handled it.
        :raises Unavailable: too much waits, or this engine stops.
        """
        waiting = Waiting(event, row_id, ask)
        self._put([waiting], bounded=row_id is None)
        return waiting.answer

    def put_all(self, events: Iterable[Event]) -> list[Answer]:
        """Let events be heard that came at the same moment: no turn takes some of them
        before the others are here. Where there is room for one there is for all.

        :raises Unavailable: as by ``put``.
        """
        found = [Waiting(event) for event in events]
        self._put(found, bounded=True)
        return [waiting.answer for waiting in found]

    def _put(self, found: Iterable[Waiting], *, bounded: bool) -> None:
        with self._change:
            if self._closed:
                raise Unavailable("This engine is stopping.")
            if bounded and self._size >= self._limit:
                raise Unavailable("The engine has too much to do.", retry_after=2.0)
            for waiting in found:
                key = waiting.key
                if key not in self._runs:
                    self._runs[key] = deque()
                    self._line.add(key, key, self._lane(key, waiting))
                self._runs[key].append(waiting)
                self._size += 1
            self._change.notify()

    def know(self, projects: Mapping[str, str]) -> None:
        """Remember whose headers are; their events do not say that.

        :param projects: id of the project by header.
        """
        with self._change:
            for key, project in projects.items():
                self._projects[key] = project
                self._projects.move_to_end(key)
            while len(self._projects) > MOST_KNOWN:
                self._projects.popitem(last=False)

    def _lane(self, key: str, first: Waiting) -> Lane:
        """:param first: what waits longest for this header."""
        event = first.event
        context = getattr(event, "context", None) or {}
        project = context.get("project_id") or self._projects.get(key, "")
        begins = first.row_id is None and isinstance(event, BEGINNINGS)
        return Lane(project, key, BEGINS if begins else GOES_ON)

    def put_back(self, events: Iterable[Waiting], *, first: bool = True) -> None:
        """What a turn did not decide, before all that came later for its headers.

        :param first: these headers are the next; otherwise they wait for their turn.
        """
        runs: dict[str, list[Waiting]] = {}
        for waiting in events:
            runs.setdefault(waiting.key, []).append(waiting)
        with self._change:
            for key, found in runs.items():
                self._runs.setdefault(key, deque()).extendleft(reversed(found))
                lane = self._lane(key, found[0])
                if first:
                    self._line.add_first(key, key, lane)
                else:
                    self._line.add(key, key, lane)
                self._size += len(found)
            self._change.notify()

    def take(
        self, most: int = TURN, per_run: int = PER_RUN, timeout: float | None = None
    ) -> list[Waiting]:
        """Wait for the first event, then take what is there.

        :param timeout: seconds; None: until there is one or ``close``.
        :returns: grouped by header; empty after a time-out or when closed.
        """
        taken: list[Waiting] = []
        left: list[str] = []
        with self._change:
            self._change.wait_for(lambda: self._runs or self._closed, timeout)
            while len(self._line) and len(taken) < most:
                key = self._line.take()
                queue = self._runs[key]
                project = self._lane(key, queue[0]).project
                for _ in range(min(len(queue), per_run, most - len(taken))):
                    taken.append(queue.popleft())
                    taken[-1].project = project
                if queue:
                    left.append(key)
                else:
                    del self._runs[key]
            for key in left:
                lane = self._lane(key, self._runs[key][0])
                self._line.add(key, key, lane)
            self._size -= len(taken)
        return taken

    def close(self) -> None:
        """Take nothing more in; what waits can still be taken."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def refuse_rest(self, why: Callable[[], Exception]) -> None:
        """Tell everybody who still waits that nothing was decided."""
        with self._change:
            rest = [each for queue in self._runs.values() for each in queue]
            self._runs.clear()
            self._line = FairQueue()
            self._size = 0
        for waiting in rest:
            if not waiting.answer.done():
                waiting.answer.set_exception(why())
