"""The broker was away and is back: who waits for that is told at once.

Each listener has a connection of its own and finds its way back by itself. The first
one that hears again tells it here; those that follow within ``SETTLE_SECONDS`` are
one more time, as what they hear may have been lost meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from mistral.service import Counts, Loop

LOG = logging.getLogger(__name__)

SETTLE_SECONDS: Final = 4.0
"""A little more than a connection waits between two tries (``rabbit_driver``)."""

_SELDOM: Final = 3600.0


class Returns(Loop):
    """Calls those who asked for it, in a thread of its own."""

    def __init__(self, settle_seconds: float = SETTLE_SECONDS) -> None:
        super().__init__("bus-returns", _SELDOM)
        self._settle_seconds = settle_seconds
        self._calls: list[Callable[[], object]] = []
        self._back = False
        self._ending = threading.Event()

    def when_back(self, call: Callable[[], object]) -> None:
        """Have this called each time; what it raises is logged."""
        self._calls.append(call)

    def tell(self) -> None:
        """A connection is back. Returns at once."""
        self._back = True
        self.wake()

    def run_once(self) -> Counts:
        if not self._back:
            return {}
        self._back = False
        LOG.info("The broker is back; what waited for it is sent")
        for call in self._calls:
            try:
                call()
            except Exception as error:
                # what they do now is done later, too
                LOG.warning("The broker is back, but: %s", type(error).__name__)
        self._ending.wait(self._settle_seconds)
        return {"told": len(self._calls)}

    def _stop(self) -> None:
        self._ending.set()
        super()._stop()
