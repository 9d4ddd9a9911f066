"""Types of attributes, and the base of all resources.

WSME keeps apart what is null and what was never set: an unset attribute is
absent from an answer (spec/rest-api.md § 1.4).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, Self

import wsme.types as wtypes

DATE_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
"""UTC; clients parse with exactly this pattern (§ 1.5)."""

_LONGEST_NUMBER: Final = 4000
_ESCAPED_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(text: str) -> Any:
    """A JSON value that can be stored and sent on as JSON.

    :raises ValueError: malformed, or what no JSON text can hold: half a
        surrogate pair, a number that is not finite or has too many digits.
    """
    try:
        value = json.loads(
            text, parse_constant=_no_constant, parse_float=_real, parse_int=_whole
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _ESCAPED_SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text holds half a surrogate pair") from None
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _real(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number has more than {_LONGEST_NUMBER} digits")
    return int(text)


class DateType(wtypes.UserType):  # type: ignore[misc]
    """A moment; rows have microseconds, answers seconds."""

    basetype = wtypes.text
    name = "date"

    @staticmethod
    def tobasetype(value: datetime | str) -> str:
        return value if isinstance(value, str) else value.strftime(DATE_FORMAT)


class JsonTextType(wtypes.UserType):  # type: ignore[misc]
    """A JSON object inside a string on the way out; text or a real object on
    the way in (§ 1.3)."""

    basetype = wtypes.text
    name = "json"

    @staticmethod
    def tobasetype(value: Any) -> str:
        return json.dumps(value)

    @staticmethod
    def frombasetype(value: Any) -> dict[str, Any] | None:
        """
        :raises ValueError: neither an object nor the text of one.
        """
        if isinstance(value, str):
            try:
                value = read_json(value)
            except ValueError as error:
                raise ValueError(
                    f"Expected the JSON text of an object: {error}."
                ) from None
            value = value or {}
        if value is not None and not isinstance(value, dict):
            raise ValueError("Expected a JSON object or its text.")
        return value


class AnyJsonTextType(JsonTextType):
    """As ``JsonText``, for any JSON value: the text of it on the way out."""

    name = "any-json"

    @staticmethod
    def frombasetype(value: Any) -> Any:
        """
        :raises ValueError: a text that is not JSON.
        """
        if not isinstance(value, str):
            return value
        try:
            return read_json(value)
        except ValueError as error:
            raise ValueError(f"Expected the text of a JSON value: {error}.") from None


class StrictTextType(wtypes.UserType):  # type: ignore[misc]
    """Text; a number is none.

    :param longest: characters at most, or None.
    """

    basetype = wtypes.text
    name = "text"

    def __init__(self, longest: int | None = None) -> None:
        self._longest = longest

    def validate(self, value: Any) -> str:
        """
        :raises ValueError: not text, or too long.
        """
        if not isinstance(value, str):
            raise ValueError(f"Expected text, found {type(value).__name__}.")
        if self._longest is not None and len(value) > self._longest:
            raise ValueError(f"Expected at most {self._longest} characters.")
        return value

    def frombasetype(self, value: Any) -> str | None:
        return None if value is None else self.validate(value)


class NativeType(wtypes.UserType):  # type: ignore[misc]
    """JSON as it is."""

    basetype = wtypes.text
    name = "native"


Date: Final = DateType()
JsonText: Final = JsonTextType()
AnyJsonText: Final = AnyJsonTextType()
Native: Final = NativeType()
Text: Final = StrictTextType()
Name: Final = StrictTextType(255)
Scope: Final = wtypes.Enum(str, "private", "public")
Tags: Final = wtypes.ArrayType(wtypes.text)


class ResourceType(wtypes.Base):  # type: ignore[misc]
    """Base of all resource types."""

    @classmethod
    def attributes(cls) -> tuple[str, ...]:
        """Names as the API shows them, in order of declaration."""
        return tuple(attribute.name for attribute in wtypes.list_attributes(cls))

    @classmethod
    def shape(
        cls, values: Mapping[str, Any], fields: Collection[str] | None = None
    ) -> Self:
        """A resource from values by name; others are ignored.

        :param fields: attributes to show besides ``id``; None: all there are.
        """
        wanted = cls.attributes()
        if fields is not None:
            wanted = tuple(name for name in wanted if name in fields or name == "id")
        return cls(**{name: values[name] for name in wanted if name in values})

    def sent(self) -> dict[str, Any]:
        """What was set, nulls included."""
        pairs = ((name, getattr(self, name)) for name in self.attributes())
        return {name: value for name, value in pairs if value is not wtypes.Unset}
