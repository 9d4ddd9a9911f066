"""When a run is to begin: ``start-at`` and ``start-after`` of ``params`` (0043)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mistral.errors import BadRequest
from mistral.lang.backoff import LONGEST
from mistral.lang.shapes import is_number, kind_of
from mistral.messages import START_TIMES

_AT: Final = START_TIMES[:2]

_DURATION: Final = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?"
    r"(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.ASCII,
)


def of(params: Mapping[str, Any], now: datetime) -> datetime | None:
    """The time that the parameters ask for, in UTC without a zone as all times here;
    None: none, or one that has come.

    :raises BadRequest: both are given, or what is given is no time.
    """
    given = _given(params)
    if given is None:
        return None
    found = _read(*given)
    if isinstance(found, timedelta):
        found += now
    elif found - now > timedelta(seconds=LONGEST):
        name, value = given
        raise _wrong(name, "a time within a hundred years", repr(value))
    return found if found > now else None


def check(params: Mapping[str, Any]) -> None:
    """Of a start at an unknown time: what could be no time at any.

    :raises BadRequest: as ``of``.
    """
    given = _given(params)
    if given is not None:
        _read(*given)


def _given(params: Mapping[str, Any]) -> tuple[str, Any] | None:
    given = [
        (name, params[name]) for name in START_TIMES if params.get(name) is not None
    ]
    if len(given) > 1:
        names = " and ".join(f"'params.{name}'" for name, _ in given)
        raise BadRequest(f"Expected one time to start at, found {names}")
    return given[0] if given else None


def _read(name: str, value: Any) -> datetime | timedelta:
    return _moment(name, value) if name in _AT else _delay(name, value)


def _moment(name: str, value: Any) -> datetime:
    expected = "an ISO 8601 time with a zone, like 2030-01-31T06:00:00+01:00"
    if not isinstance(value, str):
        raise _wrong(name, expected, kind_of(value))
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise _wrong(name, expected, repr(value[:40])) from None
    if found.tzinfo is None:
        raise _wrong(name, expected, f"no zone in {value!r}")
    try:
        return found.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise _wrong(name, expected, repr(value)) from None


def _delay(name: str, value: Any) -> timedelta:
    expected = "seconds from 0 on, or an ISO 8601 duration like P1DT2H30M"
    found = _seconds(value) if isinstance(value, str) else value
    seconds = float(found) if is_number(found) else -1
    if seconds < 0:
        shown = repr(value)[:40] if isinstance(value, str | int | float) else ""
        raise _wrong(name, expected, shown or kind_of(value))
    if seconds > LONGEST:
        raise _wrong(name, f"{LONGEST} seconds or less", "more")
    return timedelta(seconds=seconds)


def _seconds(text: str) -> float | None:
    """Seconds of a duration of weeks, days and what is shorter: months and years are
    not all of the same length. None: it is none."""
    found = _DURATION.fullmatch(text)
    if found is None or text.endswith(("P", "T")):
        return None
    parts = {name: float(n) for name, n in found.groupdict().items() if n}
    weeks, days = parts.get("weeks", 0), parts.get("days", 0)
    hours, minutes = parts.get("hours", 0), parts.get("minutes", 0)
    rest = parts.get("seconds", 0)
    return (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + rest


def _wrong(name: str, expected: str, found: str) -> BadRequest:
    return BadRequest(f"Expected {expected} in 'params.{name}', found {found}")
