"""The executor's sign of life, which is also how results are confirmed.

One message per interval lists what is asked for, what runs and what is held. The
engine's answer names what is over (its result is dropped, its run is given up) and
what is missing (its result is sent again).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from mistral.clock import Clock
from mistral.executors.claims import Asks, Claims
from mistral.executors.further import Further
from mistral.executors.held import Delivery, Held
from mistral.executors.steps import Reached, Step, unwatched
from mistral.executors.workers import Key, Workers
from mistral.messages import Heartbeat
from mistral.service import Counts, Loop

APART: Final = 1.0
"""Seconds between two beats that nobody waits for: what begins is known to the engine
within its first second, and a chain of short actions has no beat for each."""


class Heartbeats(Loop):
    """Beats once per ``interval``; ``wake`` for a beat at once.

    :param interval: seconds (``[action_heartbeat] check_interval``).
    :param reached: hears of each step.
    """

    def __init__(
        self,
        bus: Asks,
        executor_id: str,
        host: str,
        claims: Claims,
        workers: Workers,
        held: Held,
        delivery: Delivery,
        further: Further,
        interval: float,
        clock: Clock,
        reached: Reached = unwatched,
    ) -> None:
        super().__init__("executor-heartbeat", interval)
        self._reached = reached
        self._clock = clock
        self._beaten_at = clock.monotonic()
        self._soon = False
        # Engines that come back wait only so long for a sign before this
        # instance is lost.
        self.LONGEST_PAUSE = interval
        self._answer_seconds = interval
        self._bus = bus
        self._executor_id = executor_id
        self._host = host
        self._heard = ""
        self._claims = claims
        self._workers = workers
        self._held = held
        self._delivery = delivery
        self._further = further

    def run_once(self) -> Counts:
        """One beat.

        :raises Unavailable: no engine heard it; held results stay held.
        """
        self._beaten_at = self._clock.monotonic()
        beat = self._sign()
        self._reached(Step.BEATING)
        answer = self._bus.call(beat, timeout=self._answer_seconds)
        self._reached(Step.BEATEN)
        if isinstance(answer, dict):
            self._heard = answer.get("now") or ""
        over = _over({*beat.running, *beat.held}, _ids(answer, "over"))
        dropped = self._held.drop(over)
        abandoned = self._workers.abandon(over)
        again = self._held.send_again(_ids(answer, "missing"), self.interval)
        if again:
            self._delivery.wake()
        if not self._held.room():
            # Nothing runs until some of it is over.
            self.wake_soon()
        return {"dropped": dropped, "abandoned": abandoned, "again": again}

    def wake_soon(self) -> None:
        """Ask for a beat that comes ``APART`` seconds after the last one."""
        with self._change:
            self._soon = True
            self._change.notify_all()

    def _pause(self, failures: int) -> None:
        if failures:
            super()._pause(failures)
            return
        with self._change:
            self._change.wait_for(lambda: self._soon or self._at_once(), self.interval)
            if self._soon:
                left = self._beaten_at + APART - self._clock.monotonic()
                self._change.wait_for(self._at_once, max(0.0, left))
            self._soon = self._wanted = False

    def _at_once(self) -> bool:
        return self._wanted or self.stopping

    def leave(self) -> None:
        """The last beat: this instance goes away by itself."""
        self._bus.call(self._sign(leaving=True), timeout=self._answer_seconds)

    def hurry(self, seconds: float) -> None:
        """Wait no longer than this for an answer from now on."""
        self._answer_seconds = min(self._answer_seconds, seconds)

    def _sign(self, leaving: bool = False) -> Heartbeat:
        # An action goes from one list to the next: read in this order, it is in one
        # of them, or in two.
        asking = (*self._claims.asking(), *self._further.asking())
        unused = self._further.unused()
        running = self._workers.running()
        held = self._held.listed()
        return Heartbeat(
            executor_id=self._executor_id,
            host=self._host,
            asking=asking,
            unused=unused,
            running=running,
            held=held,
            leaving=leaving,
            heard=self._heard,
        )


def _over(listed: set[Key], ids: set[str]) -> set[Key]:
    """Which of the listed attempts are over.

    Only what this beat listed: an attempt that began meanwhile is not meant.
    The answer names actions; of several listed attempts of one action the
    newest is kept, and the next beat asks about it alone.
    """
    attempts: dict[str, list[int]] = {}
    for action_id, attempt in listed:
        attempts.setdefault(action_id, []).append(attempt)
    over = set()
    for action_id in ids & attempts.keys():
        known = sorted(attempts[action_id])
        over |= {(action_id, attempt) for attempt in known[:-1] or known}
    return over


def _ids(answer: Any, name: str) -> set[str]:
    values: Iterable[str] = answer.get(name) or () if isinstance(answer, dict) else ()
    return set(values)
