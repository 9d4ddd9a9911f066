"""Cron patterns: which moments they name (spec/engine.md § 10.2).

Five fields, or six with the seconds last, or seven with the year behind them;
names of months and days; ``@hourly`` and its like. All times are UTC. The
library reads them; decision 0018 has what is done differently here.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from croniter import croniter  # type: ignore[import-untyped]

from mistral.errors import BadRequest

LONGEST: Final = 100
"""Characters of a pattern (spec/rest-api.md § 6.5)."""

# ``9-9`` is 9 for every cron but this library, which takes it for all there is.
_POINT: Final = re.compile(r"(?<![^\s,])(\w+)-\1(?:/\d+)?(?![^\s,])", re.ASCII)

# Random fields: another moment at each look.
_RANDOM: Final = re.compile(r"(?<![^\s,])r(?![a-z])", re.IGNORECASE)


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


def next_match(pattern: str, after: datetime) -> datetime | None:
    """The first moment after another one, in whole seconds.

    :param pattern: checked.
    :returns: None: there is none in the next fifty years.
    """
    found = croniter(_plain(pattern), after)
    try:
        moment: datetime = found.get_next(datetime)
    except ValueError:
        return None
    return moment


def _plain(pattern: str) -> str:
    return _POINT.sub(r"\1", pattern)
