"""Lists: filters, order, and pages that start after a marker.

Each list *declares* what may be asked of it::

    WORKFLOWS = Listing(
        workflows,
        filters={"name": Kind.TEXT, "tags": Kind.TAGS, "created_at": Kind.DATE},
    )
    rows = WORKFLOWS.page(connection, query, scope.visible(workflows, context))

Pages continue after the values of the marker's row (keyset), so that a page
costs the same wherever it is. Null sorts before every value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from itertools import takewhile
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Table,
    Text,
    and_,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
)

from mistral.db.columns import Json
from mistral.errors import BadRequest, NotFound

Row = Mapping[str, Any]

OPERATORS: Final = frozenset(
    {"eq", "neq", "gt", "gte", "lt", "lte", "in", "nin", "has"}
)


MOST: Final = 2**31 - 1
"""Largest number that a column of whole numbers takes."""

_NO_INCREMENTAL_SORT: Final = frozenset({"mysql", "mariadb", "sqlite"})
_NO_RANGE_OF_ROWS: Final = frozenset({"mysql", "mariadb"})


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

    :param source: a table, or a join that has its columns.
    :param filters: kinds of the columns that may be filtered by.
    :param columns: by name; default: those of the table.
    :param optional: columns that an outer join may leave empty, although they
        are never null in their own table.
    """

    def __init__(
        self,
        source: Table | FromClause,
        filters: Mapping[str, Kind],
        columns: Mapping[str, ColumnElement[Any]] | None = None,
        optional: Collection[str] = (),
    ) -> None:
        self.source = source
        self.filters = filters
        self.columns: Mapping[str, Any] = (
            dict(source.columns) if columns is None else columns
        )
        self._optional = frozenset(optional)

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
        asked += [self.columns[name].is_(None) for name in query.nulls]
        if query.marker is not None:
            marked = self._marked(connection, query, where)
            asked.append(self._after(query.sort, marked))
            asked.append(self._from(query.sort, marked, connection.dialect.name))
        statement = select(*wanted).select_from(self.source).where(*asked)
        dialect = connection.dialect.name
        if query.limit is not None:
            if dialect in _NO_INCREMENTAL_SORT and self._is_finer(query.sort):
                statement = statement.where(self._window(query, asked))
            statement = statement.limit(query.limit)
        for name, ascending in query.sort:
            statement = statement.order_by(self._order(name, ascending, dialect))
        return list(connection.execute(statement).mappings())

    def _compare(self, condition: Condition) -> ColumnElement[bool]:
        column = self.columns[condition.name]
        kind = self.filters[condition.name]
        return _COMPARE[kind](column, condition)

    def _marked(
        self,
        connection: Connection,
        query: Query,
        where: Sequence[ColumnElement[bool]],
    ) -> Row:
        keys = [self._key(name).label(name) for name, _ in query.sort]
        statement = select(*keys).select_from(self.source)
        statement = statement.where(self.columns["id"] == query.marker, *where)
        row = connection.execute(statement).mappings().first()
        if row is None:
            raise NotFound(f"The marker {query.marker} was not found.")
        return row

    def nullable(self, name: str) -> bool:
        """Whether some row may have no value there."""
        if name in self._optional:
            return True
        return bool(getattr(self.columns[name], "nullable", True))

    def _key(self, name: str) -> Any:
        """What is sorted by: of a document its text, as it is stored."""
        column = self.columns[name]
        return type_coerce(column, Text) if isinstance(column.type, Json) else column

    def _order(self, name: str, ascending: bool, dialect: str) -> ColumnElement[Any]:
        column = self._key(name)
        key = column.asc() if ascending else column.desc()
        if dialect == "postgresql" and self.nullable(name):
            # The others sort null below all values by themselves.
            key = key.nulls_first() if ascending else key.nulls_last()
        return key  # type: ignore[no-any-return]

    def _is_finer(self, sort: Sequence[tuple[str, bool]]) -> bool:
        """Whether no index of ours has this order, though one has its beginning."""
        first, ascending = sort[0]
        mixed = len(sort) > 2 or any(up != ascending for _, up in sort)
        return mixed and not self.nullable(first)

    def _window(
        self, query: Query, asked: Sequence[ColumnElement[bool]]
    ) -> ColumnElement[bool]:
        """What the first sort key of a page can be: without it a database that
        knows no incremental sort would sort all rows for one page."""
        name, ascending = query.sort[0]
        column = self._key(name)
        order = column.asc() if ascending else column.desc()
        first = (
            select(column.label("key"))
            .select_from(self.source)
            .where(*asked)
            .order_by(order)
            .limit(query.limit)
            .subquery("page")
        )
        if ascending:
            last = select(func.max(first.c.key)).scalar_subquery()
            return column <= last  # type: ignore[no-any-return]
        last = select(func.min(first.c.key)).scalar_subquery()
        return column >= last  # type: ignore[no-any-return]

    def _after(
        self, sort: Sequence[tuple[str, bool]], marked: Row
    ) -> ColumnElement[bool]:
        ways: list[ColumnElement[bool]] = []
        same: list[ColumnElement[bool]] = []
        for name, ascending in sort:
            column, value = self._key(name), self._bind(name, marked)
            ways.append(
                and_(*same, _beyond(column, value, ascending, self.nullable(name)))
            )
            same.append(column.is_(None) if value is None else column == value)
        return or_(*ways)

    def _from(
        self, sort: Sequence[tuple[str, bool]], marked: Row, dialect: str
    ) -> ColumnElement[bool]:
        """What ``_after`` implies in a form that an index scan can start with."""
        _, ascending = sort[0]
        ordered = list(
            takewhile(
                lambda key: (
                    key[1] is ascending
                    and not self.nullable(key[0])
                    and marked[key[0]] is not None
                ),
                sort,
            )
        )
        if dialect in _NO_RANGE_OF_ROWS:
            ordered = ordered[:1]
        if not ordered:
            return true()
        columns = tuple_(*(self._key(name) for name, _ in ordered))
        values = tuple_(*(self._bind(name, marked) for name, _ in ordered))
        if len(ordered) == 1:
            columns, values = self._key(sort[0][0]), self._bind(sort[0][0], marked)
        return columns >= values if ascending else columns <= values  # type: ignore[no-any-return]

    def _bind(self, name: str, marked: Row) -> Any:
        """A value of the marker's row; SQLAlchemy would order no plain booleans."""
        value = marked[name]
        return None if value is None else literal(value, self._key(name).type)


def _beyond(
    column: Any, value: Any, ascending: bool, nullable: bool
) -> ColumnElement[bool]:
    """Sorted strictly after a value, null before all values."""
    if value is None:
        return column.is_not(None) if ascending else false()
    if ascending:
        return column > value  # type: ignore[no-any-return]
    return or_(column < value, column.is_(None)) if nullable else column < value


# -- Filters by kind ----------------------------------------------------------


def _items(text: str) -> list[str]:
    return [item for item in (part.strip() for part in text.split(",")) if item]


def _refuse(condition: Condition) -> BadRequest:
    return BadRequest(
        f"The filter '{condition.name}' does not know '{condition.operator}:'."
    )


def _by_order(column: Any, condition: Condition, value: Any) -> ColumnElement[bool]:
    found: dict[str, ColumnElement[bool]] = {
        "eq": column == value,
        "neq": column != value,
        "gt": column > value,
        "gte": column >= value,
        "lt": column < value,
        "lte": column <= value,
    }
    if condition.operator not in found:
        raise _refuse(condition)
    return found[condition.operator]


def _text(column: Any, condition: Condition) -> ColumnElement[bool]:
    if condition.operator == "in":
        return column.in_(_items(condition.value))  # type: ignore[no-any-return]
    if condition.operator == "nin":
        return column.not_in(_items(condition.value))  # type: ignore[no-any-return]
    if condition.operator == "has":
        # ``%`` and ``_`` are wildcards; nothing escapes them.
        value = condition.value.replace("/", "//")
        return column.like(f"%{value}%", escape="/")  # type: ignore[no-any-return]
    return _by_order(column, condition, condition.value)


def _id(column: Any, condition: Condition) -> ColumnElement[bool]:
    """Equality and sets only (Q-20); any text, as projects are no UUIDs."""
    if condition.operator not in ("eq", "neq", "in", "nin"):
        raise _refuse(condition)
    return _text(column, condition)


def _uuid(column: Any, condition: Condition) -> ColumnElement[bool]:
    try:
        values = [str(UUID(item)) for item in condition.value.split(",")]
    except ValueError:
        message = f"The filter '{condition.name}' needs a UUID."
        raise BadRequest(message) from None
    text = ",".join(values)
    return _id(column, Condition(condition.name, condition.operator, text))


def _json(column: Any, condition: Condition) -> ColumnElement[bool]:
    if condition.operator not in ("eq", "neq"):
        raise _refuse(condition)
    try:
        value = json.loads(condition.value)
    except (ValueError, RecursionError):
        message = f"The filter '{condition.name}' needs JSON text."
        raise BadRequest(message) from None
    same = column.is_(None) if value is None else column == value
    return same if condition.operator == "eq" else not_(same)


def _bool(column: Any, condition: Condition) -> ColumnElement[bool]:
    if condition.operator not in ("eq", "neq"):
        raise _refuse(condition)
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False, "": False}
    value = words.get(condition.value.lower())
    if value is None:
        raise BadRequest(f"The filter '{condition.name}' needs true or false.")
    return column.is_(value if condition.operator == "eq" else not value)  # type: ignore[no-any-return]


def _count(column: Any, condition: Condition) -> ColumnElement[bool]:
    """Equality only, of a number from 1 on."""
    if condition.operator not in ("eq", "neq"):
        raise _refuse(condition)
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
        spans = [_moment(item, name) for item in _items(condition.value)]
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
    if operator not in found:
        raise _refuse(condition)
    return found[operator]


def _tags(column: Any, condition: Condition) -> ColumnElement[bool]:
    """``eq`` and no operator: all of them; ``in``: any of them (Q-21)."""
    text = type_coerce(column, Text)
    if condition.operator == "has":
        inner = json.dumps(condition.value, ensure_ascii=False)[1:-1]
        return _contains(text, inner)
    carried = [_carries(text, tag) for tag in _items(condition.value)]
    found: dict[str, Callable[[], ColumnElement[bool]]] = {
        "eq": lambda: and_(*carried) if carried else not_(false()),
        "neq": lambda: not_(and_(*carried)) if carried else false(),
        "in": lambda: or_(false(), *carried),
        "nin": lambda: not_(or_(false(), *carried)),
    }
    if condition.operator not in found:
        raise _refuse(condition)
    return found[condition.operator]()


def _contains(text: Any, part: str) -> ColumnElement[bool]:
    # LIKE ignores case on SQLite; this does not on any database.
    return func.replace(text, part, "") != text


def _carries(text: Any, tag: str) -> ColumnElement[bool]:
    quoted = json.dumps(tag, ensure_ascii=False)
    return or_(*(_contains(text, f"{a}{quoted}{b}") for a in "[," for b in ",]"))


_COMPARE: Final[Mapping[Kind, Callable[[Any, Condition], ColumnElement[bool]]]] = {
    Kind.TEXT: _text,
    Kind.ID: _id,
    Kind.UUID: _uuid,
    Kind.JSON: _json,
    Kind.BOOL: _bool,
    Kind.COUNT: _count,
    Kind.DATE: _date,
    Kind.TAGS: _tags,
}
