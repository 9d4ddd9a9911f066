"""Where an executor is in its work, for somebody who watches it.

The only one who does is a test that ends executors at each of these places
(``tests/test_deaths_of_executors.py``): nothing is lost then, and an action that is
not safe to rerun runs once at most (ENG-210, ENG-236, ENG-238).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum, auto


class Step(StrEnum):
    """Steps of an offer and its result, in their order, and those of a beat."""

    RECEIVED = auto()
    """Offers stand in the line, and the broker has no answer."""

    CLAIMING = auto()
    """The engine is about to be asked."""

    CLAIMED = auto()
    """It has answered, and nothing that it granted has begun."""

    ACKNOWLEDGING = auto()
    """The broker is about to be told that the message is done with."""

    RUNNING = auto()
    """The action is about to run."""

    RAN = auto()
    """Its outcome is nowhere but in its thread."""

    SENDING = auto()
    """Results are about to be sent."""

    SENT = auto()
    """The broker has them, and they are still due here."""

    ASKING = auto()
    """A result is about to be handed in, with the question what follows."""

    ANSWERED = auto()
    """It is committed, and nothing that came with the answer has begun."""

    BEATING = auto()
    """A sign of life is about to be given."""

    BEATEN = auto()
    """The engine has answered it, and nothing follows yet."""


Reached = Callable[[Step], object]
"""Is called at each step, in the thread that does it."""


def unwatched(step: Step) -> None:
    """Nobody watches."""
