"""Where an engine is in its work, for somebody who watches it.

The only one who does is a test that ends engines at each of these places
(``tests/engine/test_deaths.py``): whatever a dead engine had begun, another one
goes on with, and nothing happens twice (ENG-235, ENG-236).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum, auto


class Step(StrEnum):
    """Steps of a turn, in their order, and others, which belong to no turn."""

    TAKEN = auto()
    """Events have left the intake."""

    LOADED = auto()
    """Their runs are locked and read."""

    DECIDED = auto()

    STORED = auto()
    """All changes are made, and none is committed."""

    COMMITTED = auto()
    """Nobody knows yet, and nothing that follows has begun."""

    DELIVERED = auto()
    """What follows is under way; nobody is answered."""

    ANSWERED = auto()

    SENT = auto()
    """The broker has offers, and no row says so."""

    GRANTING = auto()
    """Claims are decided, and nothing is committed."""

    GRANTED = auto()
    """They are committed, and no executor knows."""


Reached = Callable[[Step], object]
"""Is called at each step, in the thread that does it."""


def unwatched(step: Step) -> None:
    """Nobody watches."""
