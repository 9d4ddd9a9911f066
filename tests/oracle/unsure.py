"""What depends on the order of events, and what equals what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SUCCESS, ERROR, CANCELLED = "SUCCESS", "ERROR", "CANCELLED"
RUNNING, WAITING, SKIPPED = "RUNNING", "WAITING", "SKIPPED"
LATER = "LATER"
"""Of a call that is open until somebody answers it."""


class Undetermined(Exception):
    """The language leaves what happens to the order of events."""


class Forced(Exception):
    """A forced failure of the run (LANG § 28.2)."""


class Refused(Exception):
    """An operation that the service must refuse."""


class Ended(Exception):
    """A command or a forced failure ended the run."""


class _Unsure:
    def __repr__(self) -> str:
        return "UNSURE"


UNSURE: Final = _Unsure()


def sure(value: Any) -> bool:
    """Whether nothing inside depends on the order of events."""
    if isinstance(value, Mapping):
        return all(sure(each) for each in value.values())
    if isinstance(value, list):
        return all(sure(each) for each in value)
    return value is not UNSURE


def fits(expected: Any, found: Any) -> bool:
    """Whether ``found`` is ``expected`` where that is sure."""
    if expected is UNSURE:
        return True
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return set(found) <= set(expected) and all(
            value is UNSURE if key not in found else fits(value, found[key])
            for key, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(fits, expected, found))
    return type(expected) is type(found) and bool(expected == found)
