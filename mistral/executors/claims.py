"""Offers that wait for a worker, and the question whether they may run.

A message can arrive twice, so receiving an offer starts nothing. Each received
offer gets a token of its own; the engine lets one token run an attempt and
gives the same token the same answer. So when no answer came, asking again is
safe, and running is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from mistral.clock import Clock
from mistral.errors import Unavailable
from mistral.executors.steps import Reached, Step, unwatched
from mistral.fair_queue import FairQueue, Traffic
from mistral.messages import Batch, CallAction, ClaimAction, Message, encode

ANSWER_SECONDS: Final = 4.0
"""How long one question waits at most; asking again costs little, and whoever has the
question may be stopped."""


LONGER: Final = 1.5
MOST_PATIENCE: Final = 10.0
"""By how much longer the answer to each next question is waited for, up to that."""

MOST_ASKED: Final = 64
"""Offers per question; more would keep other executors from their share."""

FEWEST_ASKED: Final = 8
QUICK: Final = 0.1
"""Seconds. Whoever comes while a question is on its way waits for its answer: where one
project floods the others questions that take longer are about fewer offers."""


class Asks(Protocol):
    """The part of the bus that is needed here."""

    def call(self, message: Message, *, timeout: float | None = None) -> Any: ...


class Offer:
    """One offer that this process received and has not acknowledged."""

    def __init__(self, call: CallAction, token: str) -> None:
        self.call = call
        self.token = token
        self.handed_back = False
        self.settled = threading.Event()

    @property
    def key(self) -> tuple[str, int]:
        return self.call.action_id, self.call.attempt


class Claims:
    """The line of waiting offers: projects, priorities and executions in turn.

    :param bus: asks the engine.
    :param executor_id: this instance.
    :param new_token: makes a text that was never made before.
    :param trusted_seconds: a yes that took longer is not used, because this
        executor may have been given up meanwhile; it is asked for again.
    :param reached: hears of each step.
    """

    def __init__(
        self,
        bus: Asks,
        executor_id: str,
        new_token: Callable[[], str],
        clock: Clock,
        trusted_seconds: float,
        reached: Reached = unwatched,
    ) -> None:
        self._reached = reached
        self._bus = bus
        self._executor_id = executor_id
        self._new_token = new_token
        self._clock = clock
        self._trusted_seconds = trusted_seconds
        # Several questions fit into the time after which this executor is given up.
        self._answer_seconds = min(ANSWER_SECONDS, trusted_seconds / 3)
        self._patience = 1.0
        self._longest = trusted_seconds
        self._change = threading.Lock()
        self._waiting: dict[tuple[str, int], Offer] = {}
        self._line: FairQueue[Offer] = FairQueue()
        self._asked: dict[tuple[str, int], Offer] = {}
        self._traffic = Traffic()
        self._most_asked = FEWEST_ASKED
        self._reserved = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def waits(self) -> bool:
        """Whether an offer waits for its turn."""
        return len(self._line) > 0

    @property
    def reserved(self) -> int:
        """Workers that are kept for something else."""
        return self._reserved

    def hurry(self, seconds: float) -> None:
        """Wait no longer than this for an answer from now on."""
        self._longest = min(self._longest, seconds)

    def add(self, calls: Iterable[CallAction]) -> list[Offer]:
        """Take offers in. One that waits already is the same offer."""
        offers = []
        now = self._clock.monotonic()
        with self._change:
            for call in calls:
                self._traffic.saw(call.lane.project, now)
                offer = Offer(call, self._new_token())
                known = self._waiting.setdefault(offer.key, offer)
                if known is offer:
                    self._line.add(offer.key, offer, call.lane)
                offers.append(known)
        return offers

    def asking(self) -> tuple[str, ...]:
        """Tokens of the offers that the engine was asked about and that have not
        begun: it may have said yes to any of them."""
        with self._change:
            return tuple(offer.token for offer in self._asked.values())

    def reserve(self, room: Callable[[], int]) -> bool:
        """Keep a worker for a call that is granted without an offer, unless an offer
        waits for its turn here. It lasts until ``release``.

        :param room: free workers.
        """
        with self._change:
            if self._reserved or len(self._line) or room() <= len(self._asked):
                return False
            self._reserved = 1
            return True

    def release(self) -> None:
        """What was granted has begun, or nothing was."""
        with self._change:
            self._reserved = 0

    def ask(
        self, room: Callable[[], int], begin: Callable[[CallAction], object]
    ) -> int:
        """Ask about offers: again about those that were not answered, then about
        whose turn it is. Those that may not run are forgotten.

        :param room: free workers. It is asked while nothing is reserved or released:
            so no worker is counted twice.
        :param begin: runs what may run. It leaves the line afterwards, so that at
            each moment it is seen here or there.
        :returns: how many began.
        :raises MistralError: no usable answer; the offers wait on.
        """
        with self._change:
            limit = max(0, room() - self._reserved)
            if self._traffic.loud(self._clock.monotonic()) is not None:
                limit = min(limit, self._most_asked)
            limit = min(limit, MOST_ASKED)
            offers = list(self._asked.values())[:limit]
            while len(offers) < limit and len(self._line):
                offer = self._line.take()
                self._asked[offer.key] = offer
                offers.append(offer)
        if not offers:
            return 0
        self._reached(Step.CLAIMING)
        asked_at = self._clock.monotonic()
        answers = self._answers(offers)
        took = self._clock.monotonic() - asked_at
        self._measured(took, len(offers))
        self._reached(Step.CLAIMED)
        if not isinstance(answers, Sequence) or len(answers) != len(offers):
            raise Unavailable("The engine did not answer each claim")
        begun = 0
        for offer, yes in zip(offers, answers, strict=True):
            if yes is None or (yes and took > self._trusted_seconds):
                continue
            if yes:
                begin(offer.call)
                begun += 1
            self._settle(offer)
        if not begun and None in answers:
            raise Unavailable("The engine does not know yet")
        return begun

    def _answers(self, offers: Sequence[Offer]) -> Any:
        """What the engine says. Engines may be slow as well as gone: whoever asked in
        vain waits longer for the next answer, as long as it could be used."""
        wait = min(self._answer_seconds * self._patience, self._longest)
        self._patience = min(self._patience * LONGER, MOST_PATIENCE)
        claims = Batch(events=tuple(encode(self._claim(offer)) for offer in offers))
        answers = self._bus.call(claims, timeout=wait)
        self._patience = 1.0
        return answers

    def hand_back(self, offer: Offer) -> bool:
        """Give up one offer, unless the engine was asked about it: it may have
        said yes, and then nobody else can run it."""
        with self._change:
            if offer.key in self._asked or offer.settled.is_set():
                return False
            del self._waiting[offer.key]
            self._line.discard(offer.key)
            offer.handed_back = True
            offer.settled.set()
            return True

    def hand_back_unasked(self) -> None:
        """Give up all that the engine was not asked about."""
        with self._change:
            waiting = list(self._waiting.values())
        for offer in waiting:
            self.hand_back(offer)

    def hand_back_all(self) -> int:
        """Give up what waits, for good; answers how many."""
        with self._change:
            offers = list(self._waiting.values())
            self._waiting.clear()
            self._asked.clear()
            self._line = FairQueue()
            for offer in offers:
                offer.handed_back = True
                offer.settled.set()
        return len(offers)

    def _measured(self, took: float, asked: int) -> None:
        if took > QUICK:
            self._most_asked = max(FEWEST_ASKED, self._most_asked // 2)
        elif asked >= self._most_asked:
            self._most_asked = min(MOST_ASKED, 2 * self._most_asked)

    def _claim(self, offer: Offer) -> ClaimAction:
        return ClaimAction(
            action_id=offer.call.action_id,
            attempt=offer.call.attempt,
            token=offer.token,
            executor_id=self._executor_id,
        )

    def _settle(self, offer: Offer) -> None:
        with self._change:
            self._waiting.pop(offer.key, None)
            self._asked.pop(offer.key, None)
            offer.settled.set()
