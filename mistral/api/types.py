"""Types of attributes, and the base of all resources.

Requests are read by WSME, which keeps apart what is null and what was not sent.
Answers are plain JSON values: ``show`` of a type makes them, and an attribute that
has no value at all is absent (spec/rest-api.md § 1.4).

Each type says as JSON Schema which values it shows (``answer_schema``) and which
ones it takes (``request_schema``).
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

import wsme.types as wtypes

from mistral.lang.shapes import is_expression, kind_of

DATE_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
"""UTC; clients parse with exactly this pattern (§ 1.5)."""

DATE_PATTERN: Final = r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$"

YES: Final = ("true", "t", "yes", "y", "on", "1")
NO: Final = ("false", "f", "no", "n", "off", "0")
"""Words for booleans in requests (§ 1.2)."""

_LONGEST_NUMBER: Final = 4000

_LEVELS: Final = 220
"""Of a request: values of workflows may have 200, and the body lies around them."""

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
        _check_depth(value, text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _ESCAPED_SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text holds half a surrogate pair") from None
    return value


def _check_depth(value: Any, text: str) -> None:
    """:raises ValueError: there are values too deep for expressions."""
    if text.count("[") + text.count("{") <= _LEVELS:
        return
    level = [value]
    for _ in range(_LEVELS):
        level = [
            child
            for part in level
            if isinstance(part, dict | list)
            for child in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            return
    raise ValueError(f"nested too deeply: {_LEVELS} levels are allowed")


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


JsonSchema = dict[str, Any]


class Attribute(wtypes.wsattr):  # type: ignore[misc]
    """An attribute of a resource.

    :param about: what it means, for the document of the API (Markdown).
    :param null: answers may show null; requests always may, where the attribute
        is not mandatory.
    :param readonly: a request that holds it is refused.
    """

    def __init__(
        self,
        datatype: Any,
        about: str = "",
        *,
        null: bool = False,
        readonly: bool = False,
    ) -> None:
        super().__init__(datatype, readonly=readonly)
        self.about = about
        self.null = null


def nullable(datatype: Any, about: str = "") -> Attribute:
    """An attribute that answers may show as null."""
    return Attribute(datatype, about, null=True)


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
        :raises ValueError: not text, too long, or with NUL.
        """
        if not isinstance(value, str):
            raise ValueError(f"Expected text, found {type(value).__name__}.")
        if self._longest is not None:
            if len(value) > self._longest:
                raise ValueError(f"Expected at most {self._longest} characters.")
            if "\0" in value:
                # It is kept in a column of text, not within a document.
                raise ValueError("Expected text without NUL.")
        return value

    def frombasetype(self, value: Any) -> str | None:
        return None if value is None else self.validate(value)

    def request_schema(self) -> JsonSchema:
        most = {} if self._longest is None else {"maxLength": self._longest}
        return {"type": "string", **most}

    def answer_schema(self) -> JsonSchema:
        return self.request_schema()


class UuidTextType(StrictTextType):
    """A UUID in answers; requests may hold any text, which handlers judge."""

    def answer_schema(self) -> JsonSchema:
        return {"type": "string", "format": "uuid"}


class WordType(StrictTextType):
    """One of some words in answers; requests may hold any text, which handlers
    judge once they know what it is about."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self.words = words

    def answer_schema(self) -> JsonSchema:
        return {"type": "string", "enum": [str(word) for word in self.words]}


class EnumType(StrictTextType):
    """One of some words."""

    name = "enum"

    def __init__(self, *words: str) -> None:
        super().__init__()
        self.words = words

    def validate(self, value: Any) -> str:
        """
        :raises ValueError: another word.
        """
        if value not in self.words:
            raise ValueError(f"Value should be one of: {', '.join(self.words)}")
        return str(value)

    def request_schema(self) -> JsonSchema:
        return {"type": "string", "enum": list(self.words)}


class DateType(wtypes.UserType):  # type: ignore[misc]
    """A moment; rows have microseconds, answers seconds."""

    basetype = wtypes.text
    name = "date"

    @staticmethod
    def show(value: datetime | str | None) -> str | None:
        return value.strftime(DATE_FORMAT) if isinstance(value, datetime) else value

    @staticmethod
    def frombasetype(value: Any) -> Any:
        """The service's own dates are passed over, yet have to be texts.

        :raises ValueError: it is none.
        """
        if value is not None and not isinstance(value, str):
            raise ValueError(f"Expected text, found {type(value).__name__}.")
        return value

    def answer_schema(self) -> JsonSchema:
        return {"type": "string", "pattern": DATE_PATTERN}

    def request_schema(self) -> JsonSchema:
        return {"type": "string"}


class PreciseDateType(DateType):
    """A moment with microseconds."""

    name = "precise-date"

    @staticmethod
    def show(value: datetime | str | None) -> str | None:
        if not isinstance(value, datetime):
            return value
        return value.isoformat(sep=" ", timespec="microseconds")

    def answer_schema(self) -> JsonSchema:
        return {"type": "string", "pattern": f"{DATE_PATTERN[:-1]}\\.\\d{{6}}$"}


class BooleanType(wtypes.UserType):  # type: ignore[misc]
    """True or false; requests may also hold 0, 1 and some words (§ 1.2)."""

    # WSME's own would take any number.
    basetype = wtypes.text
    name = "boolean"

    @staticmethod
    def frombasetype(value: Any) -> bool | None:
        """
        :raises ValueError: none of these.
        """
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | str) and str(value) in (*YES, *NO):
            return str(value) in YES
        raise ValueError("Expected true or false.")

    def answer_schema(self) -> JsonSchema:
        return {"type": "boolean"}

    def request_schema(self) -> JsonSchema:
        return {"enum": [True, False, 0, 1, *YES, *NO]}


class JsonTextType(wtypes.UserType):  # type: ignore[misc]
    """A JSON object inside a string on the way out; text or a real object on
    the way in (§ 1.3).

    :param content: JSON Schema of the object.
    """

    basetype = wtypes.text
    name = "json"

    def __init__(self, content: JsonSchema | None = None) -> None:
        self._content = {"type": "object"} if content is None else content

    @staticmethod
    def show(value: Any) -> str | None:
        return None if value is None else json.dumps(value)

    @staticmethod
    def frombasetype(value: Any) -> Any:
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

    def answer_schema(self) -> JsonSchema:
        text = {"type": "string", "contentMediaType": "application/json"}
        return {**text, "contentSchema": self._content} if self._content else text

    def request_schema(self) -> JsonSchema:
        return {"anyOf": [self._content, self.answer_schema()]}


class AnyJsonTextType(JsonTextType):
    """As ``JsonText``, for any JSON value: the text of it on the way out."""

    name = "any-json"

    def __init__(self) -> None:
        super().__init__({})

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

    def request_schema(self) -> JsonSchema:
        values = ["object", "array", "number", "boolean"]
        return {"anyOf": [{"type": values}, self.answer_schema()]}


class ExpressionsTextType(AnyJsonTextType):
    """As ``JsonText``, or one expression that gives the object."""

    name = "expressions"

    @staticmethod
    def frombasetype(value: Any) -> Any:
        """
        :raises ValueError: neither an object nor an expression, nor the text of one.
        """
        if isinstance(value, str) and not is_expression(value):
            try:
                value = read_json(value) or {}
            except ValueError as error:
                raise ValueError(
                    "Expected a JSON object or its text, or an expression '<% … %>' or"
                    f" '{{{{ … }}}}' on one line: {error}."
                ) from None
        if value is None or isinstance(value, dict) or is_expression(value):
            return value
        raise ValueError(
            "Expected a JSON object or its text, or an expression '<% … %>' or"
            f" '{{{{ … }}}}' on one line, found {kind_of(value)}."
        )

    def request_schema(self) -> JsonSchema:
        return {"anyOf": [{"type": "object"}, self.answer_schema()]}


class ResultType(AnyJsonTextType):
    """The same where null is a value like any other: its text is ``null``."""

    name = "result"

    @staticmethod
    def show(value: Any) -> str:
        return json.dumps(value)


class TextsType(wtypes.UserType):  # type: ignore[misc]
    """A list of texts."""

    # WSME's own lists take null for any item.
    basetype = wtypes.text
    name = "texts"

    @staticmethod
    def frombasetype(value: Any) -> list[str] | None:
        """
        :raises ValueError: something else.
        """
        if value is None:
            return None
        if not isinstance(value, list) or any(not isinstance(v, str) for v in value):
            raise ValueError("Expected a list of texts.")
        return value

    def answer_schema(self) -> JsonSchema:
        return {"type": "array", "items": {"type": "string"}}

    request_schema = answer_schema


class NativeType(wtypes.UserType):  # type: ignore[misc]
    """JSON as it is.

    :param schema: JSON Schema of the value; default: any.
    """

    basetype = wtypes.text
    name = "native"

    def __init__(self, schema: JsonSchema | None = None) -> None:
        self._schema = schema or {}

    def answer_schema(self) -> JsonSchema:
        return self._schema

    request_schema = answer_schema


Date: Final = DateType()
Boolean: Final = BooleanType()
JsonText: Final = JsonTextType()
AnyJsonText: Final = AnyJsonTextType()
ExpressionsText: Final = ExpressionsTextType()
Result: Final = ResultType()
Native: Final = NativeType()
Text: Final = StrictTextType()
Name: Final = StrictTextType(255)
Uuid: Final = UuidTextType()
Scope: Final = EnumType("private", "public")
Tags: Final = TextsType()


def _basic(datatype: Any) -> JsonSchema:
    """:raises KeyError: JSON Schema knows no such type."""
    return {"type": {int: "integer", bool: "boolean", str: "string"}[datatype]}


def answer_schema(datatype: Any) -> JsonSchema:
    """What answers show of a type that is no resource."""
    if isinstance(datatype, wtypes.UserType):
        return dict(datatype.answer_schema())
    return _basic(datatype)


def request_schema(datatype: Any) -> JsonSchema:
    """What requests may hold for a type that is no resource."""
    if isinstance(datatype, wtypes.UserType):
        return dict(datatype.request_schema())
    return _basic(datatype)


Shaped = dict[str, Any]
"""JSON values by attribute."""


@cache
def _shown_by(cls: type[Any]) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    """Attributes, and what makes JSON of their values."""
    found = wtypes.list_attributes(cls)
    return tuple((a.name, getattr(a.datatype, "show", None)) for a in found)


class _InOrder(wtypes.BaseMeta):  # type: ignore[misc]
    """Tells WSME the order of attributes, which it would find by parsing the source
    of each class again: half of the time that an API process took to start."""

    def __init__(cls, name: str, bases: tuple[type, ...], names: Any) -> None:
        declared = (name for each in cls.__mro__ for name in vars(each))
        cls._wsme_attr_order = [
            name
            for name in dict.fromkeys(declared)
            if not name.startswith("_") and _is_attribute(getattr(cls, name))
        ]
        super().__init__(name, bases, names)


def _is_attribute(value: Any) -> bool:
    """As WSME judges (``inspect_class``)."""
    return wtypes.iswsattr(value) and not inspect.isroutine(value)


class ResourceType(wtypes.Base, metaclass=_InOrder):  # type: ignore[misc]
    """Base of all resource types: ``id = Uuid``, ``updated_at = nullable(Date)``."""

    __wsattrclass__ = Attribute

    @classmethod
    def attributes(cls) -> tuple[str, ...]:
        """Names as the API shows them, in order of declaration."""
        return tuple(attribute.name for attribute in wtypes.list_attributes(cls))

    @classmethod
    def shape(
        cls, values: Mapping[str, Any], fields: Collection[str] | None = None
    ) -> Shaped:
        """The resource in an answer, from values by name; others are ignored.

        :param fields: attributes to show besides ``id``; None: all there are.
        """
        wanted = None if fields is None else {"id", *fields}
        return {
            name: values[name] if show is None else show(values[name])
            for name, show in _shown_by(cls)
            if name in values and (wanted is None or name in wanted)
        }

    def sent(self) -> dict[str, Any]:
        """What was set, nulls included."""
        pairs = ((name, getattr(self, name)) for name in self.attributes())
        return {name: value for name, value in pairs if value is not wtypes.Unset}
