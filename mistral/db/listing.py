"""Lists: filters, order, and pages that start after a marker.

Each list *declares* what may be asked of it::

    WORKFLOWS = Listing(
        workflows,
        filters={"name": Kind.TEXT, "tags": Kind.TAGS, "created_at": Kind.DATE},
    )
    rows = WORKFLOWS.page(connection, query, scope.visible(workflows, context))

Pages continue after the values of the marker's row (``keyset.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from itertools import chain
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    Text,
    and_,
    false,
    not_,
    or_,
    select,
    type_coerce,
)

from mistral.db import tags
from mistral.db.columns import Json
from mistral.db.keyset import Key, Pages
from mistral.db.values_above import ValueAbove
from mistral.errors import BadRequest, NotFound

Row = Mapping[str, Any]

MOST: Final = 2**31 - 1
"""Largest number that a column of whole numbers takes."""


NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Kind(Enum):
    """What a filter is compared with (spec/rest-api.md § 3.5)."""

    TEXT = auto()
    ID = auto()
    UUID = auto()
    JSON = auto()
    BOOL = auto()
    COUNT = auto()
    DATE = auto()
    TAGS = auto()
    # The id of a project, or of an execution: any text may be one.
    PROJECT = auto()
    RUN = auto()
    RESULT = auto()


_ORDER: Final = ("eq", "neq", "gt", "gte", "lt", "lte")
_SETS: Final = ("in", "nin")

OPERATORS_OF: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.TEXT: (*_ORDER, *_SETS, "has"),
    # Equality and sets only.
    Kind.ID: ("eq", "neq", *_SETS),
    Kind.UUID: ("eq", "neq", *_SETS),
    Kind.JSON: ("eq", "neq"),
    Kind.BOOL: ("eq", "neq"),
    Kind.COUNT: ("eq", "neq"),
    Kind.DATE: (*_ORDER, *_SETS),
    Kind.TAGS: ("eq", "neq", *_SETS, "has"),
    Kind.PROJECT: ("eq", "neq", *_SETS),
    Kind.RUN: ("eq", "neq", *_SETS),
    Kind.RESULT: ("eq", "neq", *_SETS, "has"),
}
"""What a filter of each kind knows."""

OPERATORS: Final = frozenset(chain.from_iterable(OPERATORS_OF.values()))


@dataclass(frozen=True, slots=True)
class Condition:
    """``name=op:value``, the value as it was written."""

    name: str
    operator: str
    value: str

    @classmethod
    def read(cls, name: str, text: str) -> Condition:
        """A prefix that is no operator belongs to the value."""
        operator, colon, value = text.partition(":")
        if colon and operator in OPERATORS:
            return cls(name, operator, value)
        return cls(name, "eq", text)


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a list.

    :param sort: (column, ascending), ends with ``id`` unless it is in already.
    :param limit: rows at most; None: all.
    :param marker: id of the last row of the page before.
    :param fields: attributes to show, ``id`` included; None: all.
    """

    conditions: tuple[Condition, ...] = ()
    nulls: tuple[str, ...] = ()
    sort: tuple[tuple[str, bool], ...] = (("created_at", True), ("id", True))
    limit: int | None = None
    marker: str | None = None
    fields: tuple[str, ...] | None = None


class Listing:
    """A list of rows.

    :param table: what is listed.
    :param filters: kinds of the columns that may be filtered by.
    :param columns: by name; default: those of the table.
    :param computed: what compares filters that no column stands for.
    :param above: filters by values that rows have from one above them.
    """

    def __init__(
        self,
        table: Table,
        filters: Mapping[str, Kind],
        columns: Mapping[str, ColumnElement[Any]] | None = None,
        computed: Mapping[str, Callable[[Condition], ColumnElement[bool]]] = NOTHING,
        above: Mapping[str, ValueAbove] = NOTHING,
    ) -> None:
        self.table = table
        self.filters = filters
        self.computed = computed
        self.above = above
        self.columns: Mapping[str, Any] = (
            dict(table.columns) if columns is None else columns
        )

    def page(
        self,
        connection: Connection,
        query: Query,
        *where: ColumnElement[bool],
        names: Collection[str] | None = None,
    ) -> list[Row]:
        """One page, in order.

        :param where: what the caller may see, and what the path says.
        :param names: columns to read (``id`` is always read); None: all.
        :raises BadRequest: a value that its filter cannot mean.
        :raises NotFound: the marker is unknown or not visible.
        """
        wanted = [
            column.label(name)
            for name, column in self.columns.items()
            if names is None or name in names or name == "id"
        ]
        asked = [*where]
        asked += [self._compare(condition) for condition in query.conditions]
        asked += self._narrowed(connection, query.conditions)
        asked += [self.columns[name].is_(None) for name in query.nulls]
        keys = [self._key(name, ascending) for name, ascending in query.sort]
        marked = None
        if query.marker is not None:
            marked = self._marked(connection, query.marker, keys, where)
        pages = Pages(connection, self.table, wanted, asked, keys, query.limit)
        return list(connection.execute(pages.after(marked)).mappings())

    def condition(self, name: str, text: str) -> Condition:
        """What a filter of this list was given.

        :raises BadRequest: the filter does not know the operator.
        """
        condition = Condition.read(name, text)
        self._check(condition)
        return condition

    def _check(self, condition: Condition) -> None:
        name, operator = condition.name, condition.operator
        if operator not in OPERATORS_OF[self.filters[name]]:
            raise BadRequest(f"The filter '{name}' does not know '{operator}:'.")

    def _compare(self, condition: Condition) -> ColumnElement[bool]:
        self._check(condition)
        if condition.name in self.computed:
            return self.computed[condition.name](condition)
        column = self.columns[condition.name]
        kind = self.filters[condition.name]
        return _COMPARE[kind](column, condition)

    def _narrowed(
        self, connection: Connection, conditions: Sequence[Condition]
    ) -> list[ColumnElement[bool]]:
        """What the conditions imply of the ids of rows above."""
        found = []
        for condition in conditions:
            value = self.above.get(condition.name)
            if value is not None and condition.operator in ("eq", "in"):
                compare = _COMPARE[self.filters[condition.name]]
                asked = compare(value.column, condition)
                found.append(value.narrowed(connection, asked))
        return found

    def _marked(
        self,
        connection: Connection,
        marker: str,
        keys: Sequence[Key],
        where: Sequence[ColumnElement[bool]],
    ) -> Row:
        statement = select(*(key.column.label(key.name) for key in keys))
        statement = statement.where(self.columns["id"] == marker, *where)
        row = connection.execute(statement).mappings().first()
        if row is None:
            raise NotFound(f"The marker {marker} was not found.")
        return row

    def nullable(self, name: str) -> bool:
        """Whether some row may have no value there."""
        return bool(getattr(self.columns[name], "nullable", True))

    def _key(self, name: str, ascending: bool) -> Key:
        column = self.columns[name]
        leads = any(
            index.columns[0] is column
            for index in self.table.indexes
            if not index.info.get("only")
        )
        if isinstance(column.type, Json):
            # of a document its text, as it is stored
            column = type_coerce(column, Text)
        return Key(name, column, ascending, self.nullable(name), leads)


# -- Filters by kind ----------------------------------------------------------


def items_of(text: str) -> list[str]:
    """A comma list."""
    return [item for item in (part.strip() for part in text.split(",")) if item]


def _by_order(column: Any, condition: Condition, value: Any) -> ColumnElement[bool]:
    found: dict[str, ColumnElement[bool]] = {
        "eq": column == value,
        "neq": column != value,
        "gt": column > value,
        "gte": column >= value,
        "lt": column < value,
        "lte": column <= value,
    }
    return found[condition.operator]


def has(column: Any, part: str) -> ColumnElement[bool]:
    """``%`` and ``_`` are wildcards; nothing escapes them."""
    value = part.replace("/", "//")
    return column.like(f"%{value}%", escape="/")  # type: ignore[no-any-return]


def _text(column: Any, condition: Condition) -> ColumnElement[bool]:
    if condition.operator == "in":
        return column.in_(items_of(condition.value))  # type: ignore[no-any-return]
    if condition.operator == "nin":
        return column.not_in(items_of(condition.value))  # type: ignore[no-any-return]
    if condition.operator == "has":
        return has(column, condition.value)
    return _by_order(column, condition, condition.value)


def _uuid(column: Any, condition: Condition) -> ColumnElement[bool]:
    try:
        values = [str(UUID(item)) for item in condition.value.split(",")]
    except ValueError:
        message = f"The filter '{condition.name}' needs a UUID."
        raise BadRequest(message) from None
    text = ",".join(values)
    return _text(column, Condition(condition.name, condition.operator, text))


def _run(column: Any, condition: Condition) -> ColumnElement[bool]:
    """An id as it is written, and as a UUID is kept."""
    values = items_of(condition.value)
    for item in tuple(values):
        with suppress(ValueError):
            values.append(str(UUID(item)))
    if condition.operator in ("eq", "in"):
        return column.in_(values)  # type: ignore[no-any-return]
    return column.not_in(values)  # type: ignore[no-any-return]


def _json(column: Any, condition: Condition) -> ColumnElement[bool]:
    try:
        value = json.loads(condition.value)
    except (ValueError, RecursionError):
        message = f"The filter '{condition.name}' needs JSON text."
        raise BadRequest(message) from None
    same = column.is_(None) if value is None else column == value
    return same if condition.operator == "eq" else not_(same)


def _bool(column: Any, condition: Condition) -> ColumnElement[bool]:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False, "": False}
    value = words.get(condition.value.lower())
    if value is None:
        raise BadRequest(f"The filter '{condition.name}' needs true or false.")
    return column.is_(value if condition.operator == "eq" else not value)  # type: ignore[no-any-return]


def _count(column: Any, condition: Condition) -> ColumnElement[bool]:
    """Equality only, of a number from 1 on."""
    digits = condition.value.strip()
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits) <= MOST):
        raise BadRequest(
            f"The filter '{condition.name}' needs a whole number from 1 to {MOST}."
        )
    return _by_order(column, condition, int(digits))


def _moment(text: str, name: str) -> tuple[datetime, timedelta]:
    """A date and how long it lasts: answers show whole seconds (Q-17, Q-19)."""
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        message = f"The filter '{name}' needs YYYY-MM-DD HH:MM:SS or ISO 8601."
        raise BadRequest(message) from None
    span = timedelta(microseconds=1 if value.microsecond else 1_000_000)
    try:
        if value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)
        # The end of the span has to be a date, too.
        return min(value, datetime.max - span), span
    except OverflowError:
        message = f"The filter '{name}' needs a date of the years 1 to 9999."
        raise BadRequest(message) from None


def _date(column: Any, condition: Condition) -> ColumnElement[bool]:
    operator, name = condition.operator, condition.name
    if operator in ("in", "nin"):
        spans = [_moment(item, name) for item in items_of(condition.value)]
        within = [and_(column >= at, column < at + span) for at, span in spans]
        inside = or_(false(), *within)
        return inside if operator == "in" else not_(inside)
    start, span = _moment(condition.value, name)
    end = start + span
    found: dict[str, ColumnElement[bool]] = {
        "eq": and_(column >= start, column < end),
        "neq": or_(column < start, column >= end),
        "gt": column >= end,
        "gte": column >= start,
        "lt": column < start,
        "lte": column < end,
    }
    return found[operator]


def _tags(column: Any, condition: Condition) -> ColumnElement[bool]:
    """``eq`` and no operator: all of them; ``in``: any of them (Q-21)."""
    if condition.operator == "has":
        inner = json.dumps(condition.value, ensure_ascii=False)[1:-1]
        return tags.contains(type_coerce(column, Text), inner)
    carried = [tags.carries(column, tag) for tag in items_of(condition.value)]
    found: dict[str, Callable[[], ColumnElement[bool]]] = {
        "eq": lambda: and_(*carried) if carried else not_(false()),
        "neq": lambda: not_(and_(*carried)) if carried else false(),
        "in": lambda: or_(false(), *carried),
        "nin": lambda: not_(or_(false(), *carried)),
    }
    return found[condition.operator]()


_COMPARE: Final[Mapping[Kind, Callable[[Any, Condition], ColumnElement[bool]]]] = {
    Kind.TEXT: _text,
    Kind.ID: _text,
    Kind.PROJECT: _text,
    Kind.RUN: _run,
    Kind.UUID: _uuid,
    Kind.JSON: _json,
    Kind.BOOL: _bool,
    Kind.COUNT: _count,
    Kind.DATE: _date,
    Kind.TAGS: _tags,
}
