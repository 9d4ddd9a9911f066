"""Values on their way in and out.

*In*: YAQL wants immutable, hashable structures. They are made when an
expression touches them and not before, so that ``<% $.x %>`` costs the same
beside ten megabytes of other variables.

*Out*: what a language leaves behind (lazy sequences, tuples, sets, dates, marked
up strings) becomes what JSON can hold, always a fresh copy, within the budget.
"""

from __future__ import annotations

import collections.abc
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import isfinite
from typing import Any, Final

from yaql.language.contexts import ContextBase  # type: ignore[import-untyped]
from yaql.language.utils import FrozenDict  # type: ignore[import-untyped]

from mistral.errors import ExpressionFault
from mistral.expressions.faults import Refused
from mistral.expressions.limits import MAX_INTEGER_BITS, Budget, LimitExceeded

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})

MAX_DEPTH: Final = 200
"""As definitions (Q02); deeper values break JSON readers elsewhere."""


SHOWN_STEPS: Final = 20
"""Of the path to a value that cannot be stored; the middle of a longer one is cut."""


class LazyMapping(FrozenDict):  # type: ignore[misc]
    """A mapping of ours as YAQL sees it; values are converted on first touch."""

    def __init__(self, source: Mapping[Any, Any]) -> None:
        self._d = source
        self._hash = None
        self._ready: dict[Any, Any] = {}

    def __getitem__(self, key: Any) -> Any:
        if key in self._ready:
            return self._ready[key]
        value = self._d[key]
        if type(value) not in _SCALARS:
            value = self._ready[key] = to_yaql(value)
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        return self[key] if key in self._d else default

    def __contains__(self, key: object) -> bool:
        return key in self._d

    def __hash__(self) -> int:
        return int(super().__hash__())

    def __repr__(self) -> str:
        return repr(dict(self.items()))


def to_yaql(value: Any) -> Any:
    """What YAQL sees: as its own conversion, but mappings convert lazily."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, str | FrozenDict):
        return value
    if isinstance(value, collections.abc.Sequence) and not isinstance(value, bytes):
        return tuple([to_yaql(item) for item in value])
    if isinstance(value, Mapping):
        return LazyMapping(value)
    if isinstance(value, collections.abc.MutableSet):
        return frozenset(to_yaql(item) for item in value)
    return value


def kind_of(value: Any) -> str:
    """The type of a value in an author's words."""
    for types, name in _KINDS:
        if isinstance(value, types):
            return name
    return type(value).__name__


_KINDS: Final[tuple[tuple[Any, str], ...]] = (
    (type(None), "null"),
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (bytes, "bytes"),
    (Mapping, "mapping"),
    (list | tuple, "list"),
    (Set, "set"),
    (datetime, "date-time"),
    (timedelta, "time span"),
    (collections.abc.Iterable, "sequence"),
)


@dataclass(frozen=True, slots=True)
class Form:
    """How a result of a language is laid out before it is stored or printed.

    :param lazy: lazy sequences become lists.
    :param tuples: tuples become lists.
    :param sets: sets become lists; otherwise their elements must be hashable
        afterwards too, which lists are not.
    :param max_items: of any one collection; -1: no limit.
    """

    lazy: bool = True
    tuples: bool = True
    sets: bool = True
    max_items: int = -1


STORED: Final = Form()


class Unstorable(Refused):
    """Some part of a value cannot be stored.

    :param path: of that part within the value (``.a``, ``[0]``, …).
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.path: list[str] = []

    def within(self, text: str) -> str:
        shown = self.path
        if len(shown) > SHOWN_STEPS:
            half = SHOWN_STEPS // 2
            shown = [*shown[:half], "…", *shown[-half:]]
        part = "".join(shown).lstrip(".")
        return f"the value{f' at {part}' if part else ''} {self.what}"


class _Copier:
    """One pass over a value; counts what it makes."""

    __slots__ = ("_budget", "_bytes", "_form", "_max_bytes", "_stored")

    def __init__(self, form: Form, stored: bool, budget: Budget | None) -> None:
        self._form = form
        self._stored = stored
        self._budget = budget
        self._bytes = 0
        self._max_bytes = None if budget is None else budget.max_bytes

    def copy(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is int:
            return self._integer(value)
        if kind is float:
            return self._float(value)
        if kind in _SCALARS:
            self._count(8)
            return value
        if depth > MAX_DEPTH:
            raise Unstorable(f"is nested more than {MAX_DEPTH} deep")
        return self._convert(kind)(self, value, depth)

    @property
    def size(self) -> int:
        """About the bytes of what was made."""
        return self._bytes

    def _convert(self, kind: type) -> Callable[[_Copier, Any, int], Any]:
        found = _CONVERTERS.get(kind)
        if found is not None:
            return found
        for base, convert in _BY_BASE:
            if issubclass(kind, base):
                return convert
        return _Copier._refuse

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._max_bytes is not None and self._bytes > self._max_bytes:
            raise LimitExceeded(f"the result is larger than {self._max_bytes} bytes")

    def _open(self, value: Any) -> None:
        """Account for a collection before it is copied."""
        size = len(value) if hasattr(value, "__len__") else 0
        if self._budget is not None:
            self._budget.charge(1 + size // 16)
        self._count(56 + 8 * size)
        if 0 <= self._form.max_items < size:
            raise LimitExceeded(
                f"a collection has more than {self._form.max_items} items"
            )

    def _text(self, value: str, depth: int = 0) -> str:
        self._count(49 + len(value))
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Unstorable("holds half a surrogate pair") from None
        return value if type(value) is str else str.__str__(value)

    def _integer(self, value: int, depth: int = 0) -> int:
        if value.bit_length() > MAX_INTEGER_BITS:
            raise Unstorable(f"is an integer of more than {MAX_INTEGER_BITS} bits")
        self._count(8)
        return value if type(value) is int else int(value)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        self._open(value)
        depth += 1
        copied = {}
        for key, item in value.items():
            if type(key) is not str:
                key = self._key(key, depth)
            try:
                copied[key] = self.copy(item, depth)
            except Unstorable as error:
                error.path.insert(0, f".{key}")
                raise
        return copied

    def _key(self, key: Any, depth: int) -> Any:
        key = self.copy(key, depth)
        if isinstance(key, list | dict | set):
            raise Unstorable("has a list or mapping as a key")
        if not self._stored or type(key) is str:
            return key
        if key is None or isinstance(key, bool):
            return {None: "null", True: "true", False: "false"}[key]
        return str(key)

    def _list(self, value: Any, depth: int) -> Any:
        self._open(value)
        depth += 1
        copied: list[Any] = []
        for item in value:
            try:
                copied.append(self.copy(item, depth))
            except Unstorable as error:
                error.path.insert(0, f"[{len(copied)}]")
                raise
        if self._stored or self._form.tuples or type(value) is list:
            return copied
        return tuple(copied)

    def _set(self, value: Set[Any], depth: int) -> Any:
        self._open(value)
        depth += 1
        copied = [self.copy(item, depth) for item in value]
        if not self._form.sets:
            if any(isinstance(item, list | dict) for item in copied):
                raise LimitExceeded("a set cannot hold lists or mappings")
            if not self._stored:
                return set(copied)
        if isinstance(value, set | frozenset):
            copied.sort(key=_set_order)
        return copied

    def _lazy(self, value: Iterable[Any], depth: int) -> Any:
        if not self._form.lazy:
            return self._refuse(value, depth)
        self._open(value)
        copied: list[Any] = []
        for item in value:
            if self._budget is not None:
                self._budget.charge()
            self._count(8)
            if 0 <= self._form.max_items <= len(copied):
                raise LimitExceeded(
                    f"a collection has more than {self._form.max_items} items"
                )
            copied.append(self.copy(item, depth + 1))
        return copied

    def _datetime(self, value: datetime, depth: int) -> Any:
        self._count(64)
        if not self._stored:
            if not value.utcoffset():
                # § 21.3 shows a date-time of UTC without its zone.
                value = value.replace(tzinfo=None)
            return value if depth == 0 else str(value)
        if value.tzinfo is not None:
            try:
                value = value.astimezone(UTC)
            except OverflowError:
                raise Unstorable("is a date-time outside the years 1 to 9999") from None
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f").zfill(26)

    def _date(self, value: date | time, depth: int) -> Any:
        self._count(64)
        return value.isoformat()

    def _timespan(self, value: timedelta, depth: int) -> Any:
        self._count(8)
        return value.total_seconds() if self._stored else str(value)

    def _float(self, value: float, depth: int = 0) -> float:
        if self._stored and not isfinite(value):
            raise Unstorable("is a number that is not finite")
        self._count(8)
        return float(value)

    def _refuse(self, value: Any, depth: int) -> Any:
        if isinstance(value, ContextBase):
            raise Unstorable("is what let, with, def or unpack gives; '->' uses it")
        if callable(value):
            # LINT-35: methods win over keys behind a dot
            raise Unstorable("is a method or function; a key is read as _['key']")
        raise Unstorable(f"is of type '{kind_of(value)}'")


_CONVERTERS: Final[dict[type, Callable[[_Copier, Any, int], Any]]] = {
    dict: _Copier._mapping,
    LazyMapping: _Copier._mapping,
    FrozenDict: _Copier._mapping,
    list: _Copier._list,
    tuple: _Copier._list,
}

_BY_BASE: Final[tuple[tuple[Any, Callable[[_Copier, Any, int], Any]], ...]] = (
    (str, _Copier._text),
    (int, _Copier._integer),
    (float, _Copier._float),
    (bytes | bytearray | memoryview, _Copier._refuse),
    (Mapping, _Copier._mapping),
    (list | tuple, _Copier._list),
    (Set, _Copier._set),
    (datetime, _Copier._datetime),
    (date | time, _Copier._date),
    (timedelta, _Copier._timespan),
    (collections.abc.Iterable, _Copier._lazy),
)


def _set_order(item: Any) -> tuple[str, Any]:
    """Sets have no order that survives a process; decisions need one."""
    if isinstance(item, int | float):
        return "", item
    return type(item).__name__, item if isinstance(item, str) else repr(item)


def to_storable(value: Any, path: str = "") -> Any:
    """A copy that JSON can hold (§ 1.2, § 21, Q28).

    Lazy sequences, tuples and sets become lists, date-times ISO text in UTC
    (``2020-01-02T03:04:05.000000``), time spans seconds, keys text.

    :param path: what the value is, for messages (``publish.x``).
    :raises ExpressionFault: some part cannot be stored; names path and type.
    """
    try:
        return _Copier(STORED, True, None).copy(value)
    except Unstorable as error:
        error.path.insert(0, path)
        raise ExpressionFault(f"Cannot store data: {error}") from None
    except LimitExceeded as error:
        raise ExpressionFault(f"Cannot store '{path}': {error}") from None


def storable_result(value: Any, budget: Budget, form: Form = STORED) -> Any:
    """As :func:`to_storable`, within a budget.

    :raises LimitExceeded: too big.
    """
    return _Copier(form, True, budget).copy(value)


def final_result(value: Any, budget: Budget, form: Form = STORED) -> Any:
    """As :func:`storable_result`, of what an expression comes to.

    :raises LimitExceeded: too big, alone or with those before it.
    """
    copier = _Copier(form, True, budget)
    found = copier.copy(value)
    budget.holds(copier.size)
    return found


def native_result(value: Any, budget: Budget, form: Form) -> Any:
    """The value that a text form is made from: sets and dates stay."""
    return _Copier(form, False, budget).copy(value)
