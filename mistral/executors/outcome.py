"""From what an action returned to JSON that can travel (ENG § 8.3).

Objects are converted by structure: sets, tuples and generators become lists,
dates become text, bytes are read as UTF-8, other objects give their public
attributes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

MAX_DEPTH: Final = 200
"""Levels of nesting. Deeper values break readers of JSON further on."""

MAX_VALUES: Final = 2_000_000
"""Values in one result: ends a generator that never ends by itself."""


class Unserialisable(Exception):
    """A result that has no JSON form; the text says where and why, without
    the value itself."""


def to_json(value: Any) -> Any:
    """JSON values only.

    :raises Unserialisable: undecodable bytes, a number that JSON has no text
        for, a value inside itself, or too much of it.
    """
    return _Conversion().convert(value, 0)


def size_of(value: Any) -> int:
    """Bytes of the JSON text of a JSON value."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


class _Conversion:
    def __init__(self) -> None:
        self._values = 0

    def convert(self, value: Any, depth: int) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise Unserialisable(f"it has more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise Unserialisable(f"it is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, Enum):
            return self.convert(value.value, depth + 1)
        if value is None or isinstance(value, bool | int):
            return value
        # subclasses of str (a lazy or marked text) become plain text
        if isinstance(value, str):
            return str(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise Unserialisable("it has a number that is not finite")
            return value
        return self._convert_structure(value, depth + 1)

    def _convert_structure(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return {_key(k): self.convert(v, depth) for k, v in value.items()}
        if isinstance(value, list | tuple | AbstractSet | Iterator):
            return [self.convert(item, depth) for item in value]
        if isinstance(value, bytes | bytearray | memoryview):
            try:
                return bytes(value).decode("utf-8")
            except UnicodeDecodeError:
                raise Unserialisable("it has bytes that are not UTF-8") from None
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, Decimal | UUID):
            return str(value)
        if is_dataclass(value) and not isinstance(value, type):
            return {
                f.name: self.convert(getattr(value, f.name), depth)
                for f in fields(value)
            }
        if hasattr(value, "__dict__") and not isinstance(value, type):
            return {
                name: self.convert(member, depth)
                for name, member in vars(value).items()
                if not name.startswith("_")
            }
        raise Unserialisable(f"it has a {type(value).__name__}")


def _key(key: Any) -> str:
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    return str(key)
