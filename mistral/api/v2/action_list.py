"""Lists that are partly rows and partly plug-ins: filtered and sorted here.

There are hundreds of actions, not millions, and most have no row.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from mistral.api.parameters import parse_bool
from mistral.db.listing import Condition, Query
from mistral.errors import BadRequest, NotFound

Entry = Mapping[str, Any]

DATES: Final = ("created_at", "updated_at")


def _items(text: str) -> list[str]:
    return [item for item in (part.strip() for part in text.split(",")) if item]


def _has(value: str, part: str) -> bool:
    """``LIKE %part%``: ``%`` and ``_`` are wildcards."""
    escaped = "".join(f"[{c}]" if c in "*?[" else c for c in part)
    pattern = escaped.replace("%", "*").replace("_", "?")
    return fnmatch.fnmatchcase(value, f"*{pattern}*")


_TESTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "eq": lambda value, other: value == other,
    "neq": lambda value, other: value != other,
    "gt": lambda value, other: value > other,
    "gte": lambda value, other: value >= other,
    "lt": lambda value, other: value < other,
    "lte": lambda value, other: value <= other,
    "in": lambda value, other: value in _items(other),
    "nin": lambda value, other: value not in _items(other),
    "has": _has,
}


def _carries(tags: Sequence[str], condition: Condition) -> bool:
    asked = _items(condition.value)
    match condition.operator:
        case "eq":
            return set(asked) <= set(tags)
        case "neq":
            return not set(asked) <= set(tags)
        case "in":
            return bool(set(asked) & set(tags))
        case "nin":
            return not set(asked) & set(tags)
        case "has":
            return any(condition.value in tag for tag in tags)
    raise BadRequest(f"The filter 'tags' does not know '{condition.operator}:'.")


def _date(text: str, name: str) -> str:
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        message = f"The filter '{name}' needs YYYY-MM-DD HH:MM:SS or ISO 8601."
        raise BadRequest(message) from None
    try:
        if value.tzinfo is not None:
            value = value.astimezone(UTC)
    except OverflowError:
        message = f"The filter '{name}' needs a date of the years 1 to 9999."
        raise BadRequest(message) from None
    return value.strftime("%Y-%m-%d %H:%M:%S")


def _read(condition: Condition) -> Condition:
    """Dates and booleans as they are compared; refused even where nothing has
    a date."""
    if condition.name == "is_system":
        flag = parse_bool("is_system", condition.value)
        return replace(condition, value=str(flag).lower())
    if condition.name not in DATES:
        return condition
    dates = [_date(item, condition.name) for item in condition.value.split(",")]
    return replace(condition, value=",".join(dates))


def _matches(entry: Entry, condition: Condition) -> bool:
    name, value, other = condition.name, entry[condition.name], condition.value
    if name == "tags":
        return _carries(value or (), condition)
    if name == "is_system":
        value = str(value).lower()
    if name in DATES:
        if not value:
            return False
        value = value.strftime("%Y-%m-%d %H:%M:%S")
    if value is None:
        return False
    return _TESTS[condition.operator](value, other)


def page(entries: Sequence[Entry], query: Query) -> list[Entry]:
    """What a query asks of these entries, in order (Q-43, Q-44).

    :raises NotFound: no entry has the marker as its id or name.
    """
    for condition in map(_read, query.conditions):
        entries = [entry for entry in entries if _matches(entry, condition)]
    found = list(entries)
    for name, ascending in reversed(query.sort):
        found.sort(key=lambda entry: _rank(entry[name]), reverse=not ascending)
    if query.marker is not None:
        found = found[_after(found, query.marker) :]
    return found if query.limit is None else found[: query.limit]


def _rank(value: Any) -> tuple[int, str]:
    """Null and what has no date before all values."""
    if value is None or value == "":
        return 0, ""
    if isinstance(value, datetime):
        return 1, value.isoformat(timespec="microseconds")
    return 1, str(value)


def _after(entries: Sequence[Entry], marker: str) -> int:
    for position, entry in enumerate(entries):
        if marker in (entry["id"], entry["name"]):
            return position + 1
    raise NotFound(f"The marker {marker} was not found.")
