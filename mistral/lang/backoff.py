"""How long to wait before the next attempt: the arithmetic of ``retry``.

A superset of the language, which knows a fixed ``delay`` alone (decision 0043). The
delay before the n-th repetition is ``delay × backoff ** (n − 1)``, at most
``max-delay``; ``jitter`` takes a share of it away at random, so that what failed
together does not come back together.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = 100 * 365 * 24 * 3600
"""Seconds of the longest delay or time-out: the calendar has an end."""

STEPS: Final = 1_000
"""Delays that are added up one by one; of those behind each counts as the last."""


def seconds_before(
    repetition: int, delay: float, backoff: float = 1, longest: float = 0
) -> float:
    """The full delay.

    :param repetition: which, from 1.
    :param longest: seconds of the longest delay; 0: there is no other bound than
        ``LONGEST``.
    """
    most = longest or LONGEST
    try:
        grown = delay * float(backoff) ** (repetition - 1)
    except OverflowError:
        grown = LONGEST if delay else 0
    return min(grown, most, LONGEST)


def shortened(seconds: float, jitter: float, chance: float) -> float:
    """The delay that is kept, to the millisecond.

    :param jitter: from 0 to 1: at most so much of it is taken away.
    :param chance: from 0 to 1, at random.
    """
    return round(seconds * (1 - jitter * chance), 3)


def seconds_of_all(
    count: int, delay: float, backoff: float = 1, longest: float = 0
) -> float:
    """What all repetitions wait together, at least, without jitter."""
    steps = min(count, STEPS if backoff != 1 else 1)
    each = [seconds_before(n, delay, backoff, longest) for n in range(1, steps + 1)]
    return sum(each) + (count - steps) * each[-1] if each else 0
