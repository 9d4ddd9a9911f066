"""Results that the engine has not committed yet.

A result is kept until a heartbeat's answer says that its action is over. It is
sent at once to the engine that made the offer, and again, to any engine, when
it was not confirmed within a heartbeat interval or when the engine misses it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from mistral.clock import Clock
from mistral.executors.outcome import size_of
from mistral.executors.runner import Outcome
from mistral.executors.steps import Reached, Step, unwatched
from mistral.messages import ActionFinished, Batch, Message, encode
from mistral.service import Counts, Loop

CHUNK: Final = 32
"""Results per message: enough to spare confirms, few enough to spread."""

CHUNK_BYTES: Final = 1 << 20
"""Bytes of results per message; a single result may be more."""


class Sends(Protocol):
    """The part of the bus that is needed here."""

    def send(self, message: Message, *, topic: str | None = None) -> None: ...


@dataclass(slots=True, eq=False)
class _Result:
    outcome: Outcome
    topic: str
    size: int
    sent_at: float | None = None


class Held:
    """Bounded store of outcomes, by action and attempt.

    :param results_topic: topic that every engine listens to.
    :param limit: outcomes that may be held.
    :param limit_bytes: bytes that they may have together.
    """

    def __init__(
        self,
        clock: Clock,
        results_topic: str,
        *,
        limit: int = 5000,
        limit_bytes: int = 64 << 20,
    ) -> None:
        self._clock = clock
        self._results_topic = results_topic
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._results: dict[tuple[str, int], _Result] = {}
        # Those of them that are to be sent: few, where engines are behind.
        self._due: dict[tuple[str, int], _Result] = {}
        self._bytes = 0
        # Of what was kept since the last list.
        self._unlisted = self._unlisted_bytes = 0

    def keep(self, outcome: Outcome, reply_to: str | None, *, due: bool = True) -> None:
        """Hold an outcome.

        :param due: at once; otherwise somebody is just sending it.
        """
        size = 0
        if isinstance(outcome, ActionFinished):
            size = size_of(outcome.result)
        key = outcome.action_id, outcome.attempt
        with self._lock:
            self._forget(key)
            self._bytes += size
            self._unlisted += 1
            self._unlisted_bytes += size
            topic = reply_to or self._results_topic
            sent_at = None if due else self._clock.monotonic()
            held = self._results[key] = _Result(outcome, topic, size, sent_at)
            if due:
                self._due[key] = held

    def room(self) -> int:
        """How many more may be claimed; 0 at the bound."""
        with self._lock:
            if self._bytes >= self._limit_bytes:
                return 0
            return max(0, self._limit - len(self._results))

    def crowded(self) -> bool:
        """Half of the bound is reached, a quarter of it since the last list: time to
        ask what may be dropped. Engines that are behind commit nothing sooner for
        being asked about everything with each result."""
        with self._lock:
            return (
                2 * len(self._results) >= self._limit
                and 4 * self._unlisted >= self._limit
            ) or (
                2 * self._bytes >= self._limit_bytes
                and 4 * self._unlisted_bytes >= self._limit_bytes
            )

    def listed(self) -> tuple[tuple[str, int], ...]:
        """All that is held, to ask about it."""
        with self._lock:
            self._unlisted = self._unlisted_bytes = 0
            return tuple(self._results)

    def drop(self, keys: Iterable[tuple[str, int]]) -> int:
        """Forget these outcomes; answers how many were held."""
        with self._lock:
            over = [key for key in keys if key in self._results]
            for key in over:
                self._forget(key)
        return len(over)

    def send_again(self, ids: Iterable[str], unconfirmed_for: float) -> int:
        """Make outcomes due again: those that are missed, and those that were
        sent ``unconfirmed_for`` seconds ago or longer. Answers how many."""
        missed = set(ids)
        before = self._clock.monotonic() - unconfirmed_for
        again = 0
        with self._lock:
            for key, held in self._results.items():
                if held.sent_at is None:
                    continue
                if key[0] not in missed and held.sent_at > before:
                    continue
                self._make_due(key, held)
                # the engine that made the offer may be gone
                held.topic = self._results_topic
                again += 1
        return again

    def unsend(self, key: tuple[str, int]) -> None:
        """Who was to send this one does not: it is due."""
        with self._lock:
            if key in self._results:
                self._make_due(key, self._results[key])

    def due(self) -> list[tuple[str, tuple[Outcome, ...]]]:
        """Outcomes to send, by topic, in chunks; oldest first."""
        with self._lock:
            waiting = list(self._due.values())
        waiting.sort(key=lambda held: held.topic)
        chunks = []
        for topic, group in itertools.groupby(waiting, key=lambda held: held.topic):
            chunks += [(topic, chunk) for chunk in _chunks(group)]
        return chunks

    def sent(self, outcomes: Iterable[Outcome]) -> None:
        """The broker has these."""
        now = self._clock.monotonic()
        with self._lock:
            for outcome in outcomes:
                key = outcome.action_id, outcome.attempt
                held = self._results.get(key)
                if held is not None and held.outcome is outcome:
                    held.sent_at = now
                    self._due.pop(key, None)

    def _make_due(self, key: tuple[str, int], held: _Result) -> None:
        held.sent_at = None
        self._due[key] = held

    def _forget(self, key: tuple[str, int]) -> None:
        held = self._results.pop(key, None)
        self._due.pop(key, None)
        if held is not None:
            self._bytes -= held.size


def _chunks(results: Iterable[_Result]) -> Iterable[tuple[Outcome, ...]]:
    chunk: list[Outcome] = []
    size = 0
    for held in results:
        if chunk and (len(chunk) == CHUNK or size + held.size > CHUNK_BYTES):
            yield tuple(chunk)
            chunk, size = [], 0
        chunk.append(held.outcome)
        size += held.size
    if chunk:
        yield tuple(chunk)


class Delivery(Loop):
    """Sends what is due, whenever it is woken.

    :param interval: seconds between looks without being woken.
    :param reached: hears of each step.
    """

    LONGEST_PAUSE = 2.0
    """Runs wait for these results; a broker that is away has made the try wait."""

    def __init__(
        self, held: Held, bus: Sends, interval: float, reached: Reached = unwatched
    ) -> None:
        super().__init__("result-delivery", interval)
        self._reached = reached
        self._held = held
        self._bus = bus

    def run_once(self) -> Counts:
        """Send all that is due.

        :raises Unavailable: the broker did not take it; the rest stays due.
        """
        sent = 0
        for topic, outcomes in self._held.due():
            self._reached(Step.SENDING)
            self._bus.send(
                Batch(events=tuple(encode(outcome) for outcome in outcomes)),
                topic=topic,
            )
            self._reached(Step.SENT)
            self._held.sent(outcomes)
            sent += len(outcomes)
        return {"sent": sent}
