"""Who brings a result may be given what follows from it, in the same turn.

That spares the offer, the claim and its transaction. It is a claim all the same, by the
token of who asks (decision 0048), so it is given only where a claim would be granted at
once: the executor is known to live, asks now, and nobody waits before it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from mistral.clock import Clock
from mistral.engine.claimers import Claimers
from mistral.engine.intake import Ask
from mistral.engine.offers import Offers

FRESH_SECONDS: Final = 1.0
"""After which nothing is given any more to who has asked: it may be gone, and what was
given to it waits until that is known. Others take offers."""


class Grants:
    """
    :param offers: knows what waits.
    :param claimers: knows which executors have given a sign lately, which a grant would
        have to write otherwise.
    :param clock: its monotonic side.
    """

    def __init__(self, offers: Offers, claimers: Claimers, clock: Clock) -> None:
        self._offers = offers
        self._claimers = claimers
        self._clock = clock

    def may(self, ask: Ask, target: str | None, offered: int, now: datetime) -> bool:
        """Whether who asks gets a call.

        :param target: the group that the call is for.
        :param offered: offers that the same turn has made already.
        :param now: the database's time.
        """
        return (
            target in ask.targets
            and self._clock.monotonic() < ask.until
            and self._claimers.know(ask.executor_id, now)
            and self._offers.none_before(ask.targets, ask.free - offered)
        )
