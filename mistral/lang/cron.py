"""Cron patterns: which moments they name (spec/engine.md § 10.2).

Five fields, or six with the seconds last, or seven with the year behind them;
names of months and days; ``@hourly`` and its like. The library reads them; decision
0018 has what is done differently here. In a time zone patterns are about what wall
clocks show; decision 0039 has what happens when clocks are changed.
"""

from __future__ import annotations

import copy
import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from croniter import croniter  # type: ignore[import-untyped]

from mistral.errors import BadRequest
from mistral.lang import zones

LONGEST: Final = 100
"""Characters of a pattern (spec/rest-api.md § 6.5)."""

# ``9-9`` is 9 for every cron but this library, which takes it for all there is.
_POINT: Final = re.compile(r"(?<![^\s,])(\w+)-\1(?:/\d+)?(?![^\s,])", re.ASCII)

# Random fields: another moment at each look.
_RANDOM: Final = re.compile(r"(?<![^\s,])r(?![a-z])", re.IGNORECASE)

_EVERY_HOUR: Final = ("@hourly",)

_SECOND: Final = timedelta(seconds=1)
_PLAIN_ZONE: Final = ZoneInfo(zones.UTC)


def check_pattern(pattern: str) -> None:
    """
    :raises BadRequest: it is no pattern.
    """
    if len(pattern) > LONGEST:
        raise BadRequest(
            f"A cron pattern has at most {LONGEST} characters, found {len(pattern)}."
        )
    try:
        if _RANDOM.search(pattern):
            raise ValueError("random")
        croniter(_plain(pattern))
    except (ValueError, TypeError, KeyError, OverflowError):
        raise BadRequest(f"The specified pattern is not valid: {pattern}") from None


def next_match(
    pattern: str, after: datetime, zone: ZoneInfo = _PLAIN_ZONE
) -> datetime | None:
    """The first moment after another one, in whole seconds.

    :param pattern: checked.
    :param zone: whose wall clocks the pattern is about.
    :returns: None: there is none in the next fifty years.
    """
    if after.year > zones.LAST_YEAR:
        return None
    if zones.is_plain(zone):
        return _shown_next(pattern, after)
    if is_repeated(pattern):
        return _each_time(pattern, after, zone)
    return _once_a_time(pattern, after, zone)


def is_repeated(pattern: str) -> bool:
    """Whether it names times of every hour or by a step of hours, which go on through
    changes of clocks; what names times of a day happens once on each such day."""
    fields = pattern.split()
    if len(fields) == 1:
        return fields[0].lower() in _EVERY_HOUR
    return fields[0].startswith("*") or fields[1].startswith("*")


def _once_a_time(pattern: str, after: datetime, zone: ZoneInfo) -> datetime | None:
    """Times of a day: clocks that are put forward over one show it at once; of one
    that they show twice the first counts."""
    shown: datetime | None = zones.wall_clock(zone, after)
    while shown is not None:
        shown = _shown_next(pattern, shown)
        if shown is None:
            break
        moment = zones.moment_of(zone, shown)
        if moment > after:
            return moment
    return None


def _each_time(pattern: str, after: datetime, zone: ZoneInfo) -> datetime | None:
    """Every moment at which clocks show what the pattern says."""
    ahead = zones.offset_at(zone, after)
    shown = _shown_next(pattern, after + ahead)
    while shown is not None:
        change = zones.next_change(zone, after, shown - ahead)
        if change is None:
            return shown - ahead
        before, ahead = ahead, zones.offset_at(zone, change)
        # what clocks show from the change on, the moment of it included
        start = change + ahead - _SECOND
        if ahead < before or shown <= start:
            shown = _shown_next(pattern, start)
        after = change
    return None


def _shown_next(pattern: str, shown: datetime) -> datetime | None:
    found = copy.copy(_read(pattern))
    found.set_current(shown)
    try:
        following: datetime = found.get_next(datetime)
    except ValueError:
        return None
    return following


@lru_cache(maxsize=10_000)
def _read(pattern: str) -> Any:
    """To be copied: where it stands belongs to it. Reading takes three times as long
    as looking for a time."""
    return croniter(_plain(pattern))


def _plain(pattern: str) -> str:
    return _POINT.sub(r"\1", pattern)
