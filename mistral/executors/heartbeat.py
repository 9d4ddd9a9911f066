"""The executor's sign of life, which is also how results are confirmed.

One message per interval lists what runs and what is held. The engine's answer
names what is over (its result is dropped, its run is given up) and what is
missing (its result is sent again).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mistral.executors.claims import Asks
from mistral.executors.held import Delivery, Held
from mistral.executors.workers import Key, Workers
from mistral.messages import Heartbeat
from mistral.service import Counts, Loop


class Heartbeats(Loop):
    """Beats once per ``interval``; ``wake`` for a beat at once.

    :param interval: seconds (``[action_heartbeat] check_interval``).
    """

    def __init__(
        self,
        bus: Asks,
        executor_id: str,
        host: str,
        workers: Workers,
        held: Held,
        delivery: Delivery,
        interval: float,
    ) -> None:
        super().__init__("executor-heartbeat", interval)
        # Engines that come back wait only so long for a sign before this
        # instance is lost.
        self.LONGEST_PAUSE = interval
        self._bus = bus
        self._executor_id = executor_id
        self._host = host
        self._workers = workers
        self._held = held
        self._delivery = delivery

    def run_once(self) -> Counts:
        """One beat.

        :raises Unavailable: no engine heard it; held results stay held.
        """
        running, held = self._workers.running(), self._held.listed()
        answer = self._beat(running, held)
        over = _over({*running, *held}, _ids(answer, "over"))
        dropped = self._held.drop(over)
        dropped += self._held.drop_announced(_ids(answer, "asynchronous"))
        abandoned = self._workers.abandon(over)
        again = self._held.send_again(_ids(answer, "missing"), self.interval)
        if again:
            self._delivery.wake()
        return {"dropped": dropped, "abandoned": abandoned, "again": again}

    def leave(self) -> None:
        """The last beat: this instance goes away by itself."""
        self._beat(self._workers.running(), self._held.listed(), leaving=True)

    def _beat(
        self, running: tuple[Key, ...], held: tuple[Key, ...], leaving: bool = False
    ) -> Any:
        return self._bus.call(
            Heartbeat(
                executor_id=self._executor_id,
                host=self._host,
                running=running,
                held=held,
                leaving=leaving,
            ),
            timeout=self.interval,
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
