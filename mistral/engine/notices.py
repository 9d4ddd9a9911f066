"""Notifications leave the engine: those of a lane in order (``db/notice_lanes.py``).

The first of a lane go out together. Whoever carries them says which ones their
publisher took, and their rows are removed; the one that it did not take is offered
again later and later, and those behind it wait. What was sent and is not answered is
sent again, too. All of that is in the rows: an engine that comes later goes on where
this one was.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from mistral.clock import Clock
from mistral.db import notice_lanes, outbox
from mistral.db.database import Database
from mistral.errors import MistralError, Unavailable
from mistral.messages import CarryNotices, NoticesCarried

LOG = logging.getLogger(__name__)

Row = Mapping[str, Any]

AGAIN_SECONDS: Final = 5.0
"""After this what the broker did not take is offered to it again."""

TOGETHER: Final = 32
"""Notifications of a lane that go out in one message."""

TOGETHER_BYTES: Final = 256 * 1024
"""About; the first one goes however large it is."""

LANES_AT_ONCE: Final = 64
"""Lanes that one transaction lets go on."""

FLIGHT_SECONDS: Final = 120.0
"""So long an answer is waited for at first, each time twice as long."""

LONGEST_FLIGHT: Final = 6 * 3600.0

EARLY: Final = timedelta(seconds=2)
"""Sweeps look a little ahead (``sweeps.AHEAD``): what they find counts as due."""

BEHIND: Final = timedelta(seconds=60)
"""By so much later than the first of their lane the others are due."""


@dataclass(frozen=True, slots=True)
class Patience:
    """With publishers that do not take what they are offered.

    :param first: seconds until it is offered again; doubled each time.
    :param longest: seconds between two offers at most.
    :param keep: seconds since it was written, after which one refusal is the last.
    """

    first: float = 5.0
    longest: float = 3600.0
    keep: float = 86_400.0

    def delay(self, attempts: int) -> timedelta:
        """:param attempts: so often it was offered, at least once."""
        return _doubled(self.first, attempts, self.longest)


class Notices:
    """What this process sends, lane by lane.

    :param send: hands notifications to who carries them, or raises. The answer comes
        to ``carried``.
    :param reply_to: topic that the answers come by.
    """

    def __init__(
        self,
        database: Database,
        send: Callable[[CarryNotices], None],
        clock: Clock,
        reply_to: str = "",
        patience: Patience | None = None,
    ) -> None:
        self._database = database
        self._send = send
        self._clock = clock
        self._reply_to = reply_to
        self._patience = patience or Patience()
        self._change = threading.Condition()
        # By lane the rows that are new here; those that wait for the broker apart.
        self._lanes: dict[str, set[str]] = {}
        self._waiting: dict[str, set[str]] = {}
        self._retry_at = 0.0
        self._ending = False

    def add(self, row: Row) -> None:
        """Let the lane of a row go on that this process has just leased."""
        self._look_at(notice_lanes.lane_of(row["id"]), {row["id"]})

    def _look_at(self, lane: str, ids: Collection[str] = ()) -> None:
        with self._change:
            self._lanes.setdefault(lane, set()).update(ids)
            self._change.notify_all()

    def send_waiting(self) -> int:
        """Let go what may go; answers how many notifications that were."""
        sent = 0
        while lanes := self._some_lanes():
            try:
                flights = self._database.replay(
                    lambda connection, some=lanes: self._depart(connection, some)
                )
            except Exception:
                self._put_back(lanes)
                raise
            for place, flight in enumerate(flights):
                if not self._sent(flight):
                    self._return(flights[place:])
                    return sent
                sent += len(flight.ids)
        return sent

    def _some_lanes(self) -> dict[str, set[str]]:
        with self._change:
            if self._waiting and self._clock.monotonic() < self._retry_at:
                return {}
            self._lanes, self._waiting = {**self._waiting, **self._lanes}, {}
            names = list(self._lanes)[:LANES_AT_ONCE]
            return {lane: self._lanes.pop(lane) for lane in names}

    def _put_back(self, lanes: Mapping[str, set[str]]) -> None:
        """They wait for a moment."""
        with self._change:
            for lane, ids in lanes.items():
                self._waiting.setdefault(lane, set()).update(ids)
            self._retry_at = self._clock.monotonic() + AGAIN_SECONDS

    def _depart(
        self, connection: Connection, lanes: Mapping[str, Collection[str]]
    ) -> list[CarryNotices]:
        """What goes out now, noted as if it had gone."""
        now = self._database.now(connection)
        first = notice_lanes.first_rows(connection, lanes, TOGETHER)
        heads = notice_lanes.hold(
            connection, [rows[0]["id"] for rows in first.values() if rows]
        )
        found: list[CarryNotices] = []
        offered: list[tuple[str, datetime, int]] = []
        put_off: dict[str, datetime] = {}
        for lane, rows in first.items():
            head = heads.get(rows[0]["id"]) if rows else None
            if head is None:
                # There is nothing, or somebody is at it and looks again afterwards.
                continue
            behind, due_at = set(lanes[lane]), head["due_at"]
            soon = EARLY if head["id"] in behind else timedelta()
            if not head["attempts"] or due_at <= now + soon:
                flight = _together(rows, self._reply_to)
                found.append(flight)
                behind.update(flight.ids)
                attempts = head["attempts"] + 1
                due_at = now + _doubled(FLIGHT_SECONDS, attempts, LONGEST_FLIGHT)
                offered.append((head["id"], due_at, attempts))
            put_off.update((id, due_at + BEHIND) for id in behind - {head["id"]})
        notice_lanes.offered(connection, offered)
        notice_lanes.put_off(connection, put_off)
        return found

    def _sent(self, flight: CarryNotices) -> bool:
        try:
            self._send(flight)
        except MistralError as error:
            LOG.warning("Notifications wait: %s", error)
            return False
        except Exception:
            LOG.exception("Notifications could not be sent")
            return False
        return True

    def _return(self, flights: Collection[CarryNotices]) -> None:
        """They have not gone."""
        lanes = {notice_lanes.lane_of(each.ids[0]): set[str]() for each in flights}
        self._put_back(lanes)

        def undo(connection: Connection) -> None:
            now = self._database.now(connection)
            heads = notice_lanes.lock(connection, [each.ids[0] for each in flights])
            notice_lanes.offered(
                connection,
                [(id, now, max(0, row["attempts"] - 1)) for id, row in heads.items()],
            )

        self._database.replay(undo)

    def carried(self, answer: NoticesCarried) -> None:
        """What became of notifications; returns after the commit.

        A late answer of an earlier sending is as good as any: what was taken is taken.
        """
        ids = [id for id in (*answer.taken, answer.refused) if id]
        if ids:
            self._database.replay(lambda connection: self._note(connection, answer))
        for lane in {notice_lanes.lane_of(id) for id in ids}:
            self._look_at(lane)

    def _note(self, connection: Connection, answer: NoticesCarried) -> None:
        known = notice_lanes.lock(
            connection, {id for id in (*answer.taken, answer.refused) if id}
        )
        outbox.remove(connection, [id for id in answer.taken if id in known])
        row = known.get(answer.refused)
        if row is None:
            return
        now = self._database.now(connection)
        if now - row["created_at"] >= timedelta(seconds=self._patience.keep):
            event, run_id = row["payload"]["event"], row["run_id"]
            LOG.error("A publisher never took %s of %s", event, run_id)
            notice_lanes.give_up(connection, row, answer.reason, now)
            return
        attempts = max(1, row["attempts"])
        due_at = now + self._patience.delay(attempts)
        notice_lanes.offered(connection, [(row["id"], due_at, attempts)])

    def run(self) -> None:
        """What the thread does until ``end``."""
        while True:
            with self._change:
                self._change.wait_for(self._is_time, self._pause())
                if self._ending:
                    return
                if not self._is_time():
                    continue
            try:
                self.send_waiting()
            except Exception as error:
                if not (
                    isinstance(error, Unavailable) or self._database.is_retryable(error)
                ):
                    raise
                LOG.warning("Notifications wait: %s", type(error).__name__)

    def _is_time(self) -> bool:
        if self._ending:
            return True
        if self._waiting:
            return self._clock.monotonic() >= self._retry_at
        return bool(self._lanes)

    def _pause(self) -> float | None:
        if not self._waiting:
            return None
        return max(0.0, self._retry_at - self._clock.monotonic())

    def retry(self) -> None:
        """Offer now what the broker did not take."""
        with self._change:
            self._retry_at = 0.0
            self._change.notify_all()

    def end(self) -> None:
        """Let ``run`` return; what waits is left to other engines."""
        with self._change:
            self._ending = True
            self._change.notify_all()


def _together(rows: Collection[Row], reply_to: str) -> CarryNotices:
    """The first of a lane, as many as one message should hold."""
    some: list[Row] = []
    size = 0
    for row in rows:
        size += len(json.dumps(row["payload"]))
        if some and size > TOGETHER_BYTES:
            break
        some.append(row)
    return CarryNotices(
        ids=tuple(row["id"] for row in some),
        notices=tuple(row["payload"] for row in some),
        reply_to=reply_to,
    )


def _doubled(seconds: float, times: int, most: float) -> timedelta:
    """After the first time ``seconds``, then twice as much each time."""
    return timedelta(seconds=min(seconds * 2.0 ** min(times - 1, 30), most))
