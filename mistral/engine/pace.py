"""How much one turn takes.

Whoever comes during a turn waits for its end, and what it brings has turns to wait for
again: a start, and a result of each action. So where one project floods the
others its engine takes as many events as are decided and stored in a moment. Otherwise
turns are large, and cost less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from mistral.clock import Clock
from mistral.engine.intake import TURN, Waiting
from mistral.fair_queue import Traffic

SHORT_TURN: Final = 0.05
"""Seconds that a turn should take where one project floods the others."""

FEWEST: Final = 8
"""Events of such a turn at least: each turn has a price of its own."""

LONGEST_DECIDING: Final = 1.0
SHORT_DECIDING: Final = 0.2
"""Seconds of deciding after which a turn takes no further event: the commit is due,
and runs whose expressions are slow must not keep the others waiting."""

NEWEST: Final = 0.3
"""Weight of the last turn in what an event costs."""


class Pace:
    """Of one engine; the deciding thread's alone.

    :param clock: its monotonic side.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._traffic = Traffic()
        self._cost = SHORT_TURN / FEWEST

    @property
    def _short(self) -> bool:
        return self._traffic.loud(self._clock.monotonic()) is not None

    def most(self) -> int:
        """Events that the next turn may take."""
        if not self._short:
            return TURN
        return max(FEWEST, min(TURN, int(SHORT_TURN / self._cost)))

    def deciding(self) -> float:
        """Seconds after which it decides no further event."""
        return SHORT_DECIDING if self._short else LONGEST_DECIDING

    def took(self, batch: Sequence[Waiting], begun: float) -> None:
        """A turn is over.

        :param begun: monotonic seconds.
        """
        now = self._clock.monotonic()
        for project, count in Counter(w.project for w in batch).items():
            self._traffic.saw(project, now, count)
        cost = (now - begun) / len(batch)
        self._cost += NEWEST * (cost - self._cost)
