"""Offers on their way to executors: few at a time, in a fair order.

What is with the broker can no longer change its place. So only as many offers are sent
ahead as keep the executors of a group busy for a moment (its ``_Window``), and the
others wait here for their turn (``fair_queue.py``). An offer leaves the window when it
is claimed: this engine has decided that itself, or it looks.

Nothing here is needed for rightness: an offer that is forgotten is a row whose lease
ends, and one that is sent twice is claimed once.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Protocol

from mistral.clock import Clock
from mistral.db import outbox
from mistral.db.database import Database
from mistral.engine.steps import Reached, Step, unwatched
from mistral.engine.store import LEASE
from mistral.errors import MistralError
from mistral.fair_queue import FairQueue, Traffic
from mistral.messages import Batch, Message, lane_of

LOG = logging.getLogger(__name__)

Row = Mapping[str, Any]

NARROWEST: Final = 64
WIDEST: Final = 512
"""Offers of one group of executors that are sent and not claimed."""

NARROWEST_FLOODED: Final = 16
WIDEST_FLOODED: Final = 64
"""The same where one project floods the others: what is sent ahead is in their way."""

AHEAD_SECONDS: Final = 1.0
"""So much work is sent ahead, by the rate at which offers were claimed lately."""

AHEAD_FLOODED: Final = 0.25
"""The same where one project floods the others."""

ALWAYS: Final = 4
"""Offers of each project that are sent however many others are out: executors take
them before most of what is there already, so they do not wait for room."""

MEASURED_SECONDS: Final = 0.5
"""Between two measurements of that rate."""

LOOK_SECONDS: Final = 0.1
"""Between two looks whether other engines have granted what the window is full of."""

LONGEST_LOOK: Final = 5.0
"""Where looks find nothing (a group without executors), each is put off for longer."""

SPREAD: Final = 16
"""Messages that ready offers are spread over, so that executors share them."""

FEWEST_OFFERS: Final = 16
"""Offers in one message while more of them wait: enough work for all is out, and each
message costs."""

MOST_OFFERS: Final = 32
"""Offers in one message."""

MOST_WAITING: Final = 20_000
"""Offers that one process keeps; sweeps find the others when their leases end."""


class Sends(Protocol):
    """The part of ``bus.Bus`` that is needed here."""

    executor_topic: str

    def send(
        self, message: Message, *, topic: str | None = None, target: str | None = None
    ) -> None: ...


class _Window:
    """How many offers of a group are out, and how many may be.

    :param since: monotonic seconds.
    """

    def __init__(self, since: float) -> None:
        self.out = 0
        self._rate: float | None = None
        self._traffic = Traffic()
        self._of: Counter[str] = Counter()
        self._claimed = 0
        self._since = since

    def saw(self, project: str, now: float) -> None:
        """It has an offer for this group."""
        self._traffic.saw(project, now)

    def size(self, now: float) -> int:
        """How many may be out."""
        flooded = self._traffic.loud(now) is not None
        widest = WIDEST_FLOODED if flooded else WIDEST
        if self._rate is None:
            return widest
        narrowest = NARROWEST_FLOODED if flooded else NARROWEST
        ahead = AHEAD_FLOODED if flooded else AHEAD_SECONDS
        return min(widest, max(narrowest, int(self._rate * ahead)))

    def room(self, waiting: int, now: float) -> int:
        """How many of those that wait may go out now. Once the window was full they go
        by halves: large messages cost less."""
        size = self.size(now)
        free = size - self.out
        return max(0, free) if free >= min(waiting, size // 2) else 0

    def next_of(self, line: FairQueue[Any], more: Counter[str]) -> str | None:
        """A project that may send although there is no room; None: no more.

        :param more: offers by project that are about to go out.
        """
        for project in line.projects():
            if self._of[project] + more[project] < ALWAYS:
                return project
        return None

    def sent(self, project: str, now: float) -> None:
        """One more is out."""
        if not self.out:
            # What was idle is no measure.
            self._claimed, self._since = 0, now
        self.out += 1
        self._of[project] += 1

    def left(self, project: str, now: float) -> None:
        """One of them is claimed, or counts no more."""
        self.out -= 1
        self._of[project] -= 1
        if not self._of[project]:
            del self._of[project]
        self._claimed += 1
        took = now - self._since
        if took < MEASURED_SECONDS:
            return
        self._rate = self._claimed / took
        self._claimed, self._since = 0, now


class Offers:
    """The line of offers of one engine; a thread calls ``run``.

    ``send_waiting`` is what it does; tests with a clock of their own call that.
    """

    def __init__(
        self,
        database: Database,
        bus: Sends,
        clock: Clock,
        reached: Reached = unwatched,
    ) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._reached = reached
        self._change = threading.Condition()
        self._lines: dict[str | None, FairQueue[tuple[Row, float]]] = {}
        self._count = 0
        self._out: dict[str, tuple[str | None, str]] = {}
        self._windows: dict[str | None, _Window] = {}
        self._looked_at = clock.monotonic()
        self._look_after = LOOK_SECONDS
        self._sent: list[Row] = []
        self._ending = False

    def add(self, rows: Iterable[Row]) -> None:
        """Let offers wait whose rows this process has just leased."""
        now = self._clock.monotonic()
        until = now + LEASE.total_seconds()
        with self._change:
            for row in rows:
                self._leave(row["action_id"])
                line = self._lines.setdefault(row["target"], FairQueue())
                before = len(line)
                lane = lane_of(row["payload"])
                line.add(row["action_id"], (row, until), lane)
                self._window(row["target"]).saw(lane.project, now)
                self._count += len(line) - before
                if self._count > MOST_WAITING:
                    max(self._lines.values(), key=len).drop_last()
                    self._count -= 1
            self._change.notify_all()

    def none_before(self, targets: Iterable[str | None], free: int) -> bool:
        """Whether an executor of these groups may be given something past the line:
        nothing waits here for it, and it had room for all that is out as well."""
        with self._change:
            out = 0
            for target in targets:
                if target in self._lines:
                    return False
                if target in self._windows:
                    out += self._windows[target].out
            return out < free

    def settled(self, action_ids: Iterable[str]) -> None:
        """These were claimed, or nobody wants them any more: a turn has committed."""
        with self._change:
            for action_id in action_ids:
                self._leave(action_id)
            if self._count:
                self._change.notify_all()

    def _leave(self, action_id: str) -> None:
        if action_id not in self._out:
            return
        target, project = self._out.pop(action_id)
        window = self._windows[target]
        window.left(project, self._clock.monotonic())
        if not window.out and target not in self._lines and target is not None:
            # Names of groups are the authors': without end, perhaps.
            del self._windows[target]

    def _window(self, target: str | None) -> _Window:
        if target not in self._windows:
            self._windows[target] = _Window(self._clock.monotonic())
        return self._windows[target]

    def send_waiting(self) -> int:
        """Send whose turn it is, grouped; answers how many.

        What the broker does not take stays a row and is sent again later.
        """
        self._look()
        with self._change:
            groups = {target: self._next(target) for target in list(self._lines)}
        sent = 0
        for target, group in groups.items():
            size = self._message_size(target, len(group))
            for start in range(0, len(group), size):
                sent += self._send(target, group[start : start + size])
        return sent

    def _message_size(self, target: str | None, ready: int) -> int:
        fewest = FEWEST_OFFERS if target in self._lines else 1
        return min(MOST_OFFERS, max(fewest, -(-ready // SPREAD)))

    def _next(self, target: str | None) -> list[Row]:
        line, now = self._lines[target], self._clock.monotonic()
        window = self._window(target)
        room = window.room(len(line), now)
        found: list[Row] = []
        more: Counter[str] = Counter()
        while len(line):
            if len(found) < room:
                row, until = line.take()
            else:
                project = window.next_of(line, more)
                if project is None:
                    break
                row, until = line.take_of(project)
            self._count -= 1
            # Somebody else has it by now, or will.
            if until > now:
                found.append(row)
                more[lane_of(row["payload"]).project] += 1
        if not len(line):
            del self._lines[target]
        return found

    def _send(self, target: str | None, rows: list[Row]) -> int:
        message = Batch(events=tuple(row["payload"] for row in rows))
        # Before they are sent: they may be claimed before that is known here.
        self._note_out(target, rows)
        try:
            self._bus.send(message, topic=self._bus.executor_topic, target=target)
        except Exception as error:
            if isinstance(error, MistralError):
                LOG.warning("%d offers were not sent: %s", len(rows), error)
            else:
                LOG.exception("%d offers could not be sent", len(rows))
            self.settled(row["action_id"] for row in rows)
            return 0
        self._reached(Step.SENT)
        with self._change:
            # without their payloads: as many as a second's offers are kept here
            self._sent += [
                {"id": row["id"], "attempts": row["attempts"]} for row in rows
            ]
        return len(rows)

    def _note_out(self, target: str | None, rows: Collection[Row]) -> None:
        with self._change:
            for row in rows:
                self._leave(row["action_id"])
                project = lane_of(row["payload"]).project
                self._out[row["action_id"]] = target, project
                self._window(target).sent(project, self._clock.monotonic())

    def _look(self) -> None:
        """Of what the window is full of, what do others know?"""
        now = self._clock.monotonic()
        with self._change:
            full = any(
                not self._window(target).room(len(line), now)
                for target, line in self._lines.items()
            )
            if not full or now - self._looked_at < self._look_after:
                return
            self._looked_at = now
            asked = list(self._out)
        with self._database.read() as connection:
            left = outbox.offered(connection, asked)
        granted = set(asked) - left
        self._look_after = (
            LOOK_SECONDS if granted else min(2 * self._look_after, LONGEST_LOOK)
        )
        self.settled(granted)

    def note_sent(self) -> int:
        """Move the due dates of offers that were sent and not yet claimed.

        Called by a sweep, so that most are claimed by then and cost nothing;
        until then the lease keeps others from sending them.
        """
        with self._change:
            sent, self._sent = self._sent, []
        if not sent:
            return 0
        self._database.replay(
            lambda connection: outbox.resend_later(
                connection, sent, self._database.now(connection)
            )
        )
        return len(sent)

    def run(self) -> None:
        """What the thread does until ``end``."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._count or self._ending)
            try:
                sent = self.send_waiting()
            except Exception as error:
                if not self._database.is_retryable(error):
                    raise
                LOG.warning("Offers wait: %s", type(error).__name__)
                sent = 0
            with self._change:
                if self._ending:
                    return
                if not sent:
                    self._change.wait(LOOK_SECONDS)

    def end(self) -> None:
        """Send what may be sent, and no more; the rest is left to others."""
        with self._change:
            self._ending = True
            self._change.notify_all()
