"""What happens after a commit: own events back to the intake, offers to
executors, timers onto a heap.

Nothing here is needed for rightness: whatever this process forgets is a row
whose lease ends, and another engine (or this one, later) goes on with it.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from mistral.clock import Clock
from mistral.db import outbox
from mistral.engine.intake import Answer, Intake
from mistral.engine.notices import Notices
from mistral.engine.offers import Offers
from mistral.engine.store import OWN_TIMERS
from mistral.errors import Unavailable
from mistral.messages import Event, Message, decode
from mistral.service import Service

LOG = logging.getLogger(__name__)

Row = Mapping[str, Any]

MOST_TIMERS: Final = 100_000
"""Timers that one process keeps; the others are found by sweeps."""


class Deliver(Service):
    """Carries away what turns decided; three threads, all asleep when idle.

    ``offers.send_waiting``, ``notices.send_waiting`` and ``fire_due`` are what the
    threads do; tests with a clock of their own call them without starting anything.
    """

    def __init__(
        self,
        intake: Intake,
        clock: Clock,
        owner: str,
        offers: Offers,
        notices: Notices,
    ) -> None:
        super().__init__("engine-deliver")
        self._intake = intake
        self._clock = clock
        self.owner = owner
        self._change = threading.Condition()
        self._timers: list[tuple[float, int, Event, str]] = []
        self._numbers = itertools.count()
        self.offers = offers
        self.notices = notices
        self._ending = False
        self._threads: list[threading.Thread] = []

    def after_commit(
        self, rows: Iterable[Row], now: datetime, read_at: float | None = None
    ) -> dict[str, Answer]:
        """Begin to carry out outbox rows that this process has leased.

        :param now: the database's time, which due dates are compared with.
        :param read_at: monotonic seconds at which it was read, so that no timer is
            late by what the commit took; None: just now.
        :returns: what will be known of those that this process hears, by row.
        """
        heard: dict[str, Answer] = {}
        offers: list[Row] = []
        timers: list[Row] = []
        for row in rows:
            if row["kind"] == outbox.OFFER:
                offers.append(row)
            elif row["kind"] == outbox.NOTICE:
                self.notices.add(row)
            elif row["due_at"] > now:
                timers.append(row)
            else:
                answer = self.hear(row)
                if answer is not None:
                    heard[row["id"]] = answer
        if offers:
            self.offers.add(offers)
        if not timers:
            return heard
        if read_at is None:
            read_at = self._clock.monotonic()
        with self._change:
            for row in timers:
                delay = row["due_at"] - now
                if delay <= OWN_TIMERS and len(self._timers) < MOST_TIMERS:
                    at = read_at + delay.total_seconds()
                    event = known(row)
                    if isinstance(event, Event):
                        entry = (at, next(self._numbers), event, row["id"])
                        heapq.heappush(self._timers, entry)
            self._change.notify_all()
        return heard

    def hear(self, row: Row) -> Answer | None:
        """Put the event of a row into the intake; None: that was not possible."""
        event = known(row)
        if event is None:
            return None
        if not isinstance(event, Event):
            LOG.error("An outbox row holds a %s, which is no event", row["kind"])
            return None
        try:
            return self._intake.put(event, row["id"])
        except Unavailable:
            LOG.debug("Stopping: row %s is left to others", row["id"])
            return None

    # -- Timers ---------------------------------------------------------------

    def next_due(self) -> float | None:
        """Monotonic seconds of the next timer."""
        with self._change:
            return self._timers[0][0] if self._timers else None

    def fire_due(self) -> int:
        """Let timers that are due be heard; answers how many."""
        now = self._clock.monotonic()
        due: list[tuple[Event, str]] = []
        with self._change:
            while self._timers and self._timers[0][0] <= now:
                _, _, event, row_id = heapq.heappop(self._timers)
                due.append((event, row_id))
        for event, row_id in due:
            try:
                self._intake.put(event, row_id)
            except Unavailable:
                LOG.debug("Stopping: timer %s is left to others", row_id)
        return len(due)

    def _run_timers(self) -> None:
        while not self._ending:
            self.fire_due()
            with self._change:
                if self._ending:
                    return
                wait = None
                if self._timers:
                    wait = max(0.0, self._timers[0][0] - self._clock.monotonic())
                if wait is None or wait > 0:
                    self._change.wait(wait)

    # -- Life -----------------------------------------------------------------

    def _start(self) -> None:
        for name, target in (
            ("engine-timers", self._run_timers),
            ("engine-offers", self.offers.run),
            ("engine-notices", self.notices.run),
        ):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _stop(self) -> None:
        with self._change:
            self._ending = True
            self._change.notify_all()
        self.offers.end()
        self.notices.end()
        for thread in self._threads:
            thread.join()


def known(row: Row) -> Message | None:
    """What a row holds; None: a newer engine's, which will take it when the lease
    ends."""
    try:
        return decode(row["payload"])
    except KeyError:
        LOG.warning("Events of kind %s are unknown here", row["kind"])
        return None
