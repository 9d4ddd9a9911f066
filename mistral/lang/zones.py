"""Time zones: what wall clocks show, and when they are changed.

Moments are naive and UTC, as everywhere; what a wall clock shows is naive, too.
Zones are those of the IANA database, as the operating system has it, or else the
package ``tzdata``.
"""

from __future__ import annotations

import re
from datetime import UTC as _UTC
from datetime import datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mistral.errors import BadRequest

UTC: Final = "UTC"
LONGEST: Final = 64
"""Characters of the name of a zone."""

LAST_YEAR: Final = 9000
"""After it nothing is known of zones."""

_NAME: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")

# What the machine is set to: another time on each.
_LOCAL: Final = ("localtime", "posixrules", "Factory")

_STEP: Final = timedelta(days=7)
"""Clocks are never changed twice within this time."""

_SECOND: Final = timedelta(seconds=1)


def find_zone(name: str) -> ZoneInfo:
    """
    :raises BadRequest: there is no such zone.
    """
    if len(name) <= LONGEST and _NAME.fullmatch(name) and name not in _LOCAL:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise BadRequest(
        "Expected a time zone of the IANA database such as Europe/Berlin or UTC,"
        f" found '{name[:LONGEST]}'."
    )


def is_plain(zone: tzinfo) -> bool:
    """Whether its clocks show UTC."""
    return isinstance(zone, ZoneInfo) and zone.key == UTC


def offset_at(zone: tzinfo, moment: datetime) -> timedelta:
    """What wall clocks are ahead of UTC by, at a moment."""
    moment = min(moment, datetime(LAST_YEAR, 12, 31)).replace(tzinfo=_UTC)
    found = moment.astimezone(zone).utcoffset()
    return found or timedelta(0)


def wall_clock(zone: tzinfo, moment: datetime) -> datetime:
    """What wall clocks show at a moment."""
    if moment.year > LAST_YEAR:
        return moment
    return moment + offset_at(zone, moment)


def moment_of(zone: tzinfo, shown: datetime) -> datetime:
    """When wall clocks show a time: the first time that they do, or if they never do,
    because clocks are put forward over it, the moment at which they are."""
    aware = shown.replace(tzinfo=zone, fold=0)
    moment = aware.astimezone(_UTC).replace(tzinfo=None)
    if wall_clock(zone, moment) == shown:
        return moment
    # In a gap the offset of before counts: the moment lies behind the change.
    change = next_change(zone, moment - timedelta(days=1), moment)
    return moment if change is None else change


def next_change(zone: tzinfo, after: datetime, until: datetime) -> datetime | None:
    """The first moment after one, and not after another one, from which on clocks are
    ahead by another time than before, in whole seconds; None: there is none."""
    start = after.replace(microsecond=0)
    before = offset_at(zone, start)
    low, high = start, start
    while high < until:
        low, high = high, min(high + _STEP, until)
        if offset_at(zone, high) != before:
            break
    else:
        return None
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if middle <= low:
            break
        if offset_at(zone, middle) == before:
            low = middle
        else:
            high = middle
    # `until` may have fractions of a second, changes have none
    return high.replace(microsecond=0)
