"""Pages that start after a row, so that a page costs the same wherever it is.

An order is a list of keys. Null sorts before every value, whatever the database
itself does. A page follows from the values that the row before it, the marker,
has there::

    SELECT … WHERE <what is asked> AND (k1, k2) > (m1, m2) ORDER BY k1, k2 LIMIT n

Three things keep a database from reading such a page along an index, and are told
to it in another way:

* *A nullable first key.* "Smaller, or null" is no range. Rows with a value and rows
  without one are read as two parts, each along the index, and put together.
* *Keys of both directions*, of which PostgreSQL makes ranges where the first of them
  begins (``_start``), and an order within equal first keys by itself.
* *No incremental sort* (MariaDB, MySQL, SQLite): the first keys of a page's rows are
  found along the index beforehand (``_window``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    false,
    literal,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

Marked = Mapping[str, Any]
"""Values of the marker's row by the names of keys."""

_NO_INCREMENTAL_SORT: Final = frozenset({"mysql", "mariadb", "sqlite"})
_NO_RANGE_OF_ROWS: Final = frozenset({"mysql", "mariadb"})


@dataclass(frozen=True, slots=True)
class Key:
    """A column that a list is sorted by.

    :param leads: an index begins with it.
    """

    name: str
    column: Any
    ascending: bool
    nullable: bool
    leads: bool = False

    def order(self, dialect: str) -> ColumnElement[Any]:
        """For ``ORDER BY``."""
        return self.order_of(self.column, dialect)

    def order_of(self, column: Any, dialect: str) -> ColumnElement[Any]:
        """The same of a column that shows this one."""
        found = column.asc() if self.ascending else column.desc()
        if dialect == "postgresql" and self.nullable:
            # The others sort null below all values by themselves.
            found = found.nulls_first() if self.ascending else found.nulls_last()
        return found  # type: ignore[no-any-return]

    def value(self, marked: Marked) -> Any:
        """Of the marker's row; SQLAlchemy would order no plain booleans."""
        value = marked[self.name]
        return None if value is None else literal(value, self.column.type)

    def beyond(self, marked: Marked) -> ColumnElement[bool]:
        """Rows that sort strictly after the marker by this key alone."""
        column, value = self.column, self.value(marked)
        if value is None:
            return column.is_not(None) if self.ascending else false()  # type: ignore[no-any-return]
        if self.ascending:
            return column > value  # type: ignore[no-any-return]
        if self.nullable:
            return or_(column < value, column.is_(None))
        return column < value  # type: ignore[no-any-return]

    def equals(self, marked: Marked) -> ColumnElement[bool]:
        value = self.value(marked)
        if value is None:
            return self.column.is_(None)  # type: ignore[no-any-return]
        return self.column == value  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Pages:
    """One page of a list.

    :param connection: what is found out beforehand is asked here.
    :param wanted: labelled columns.
    :param asked: conditions, the page's beginning not among them.
    :param keys: the order; the last one makes it total.
    :param limit: rows of a page; None: all.
    """

    connection: Connection
    table: Table
    wanted: Sequence[ColumnElement[Any]]
    asked: Sequence[ColumnElement[bool]]
    keys: Sequence[Key]
    limit: int | None

    @property
    def dialect(self) -> str:
        return self.connection.dialect.name

    def after(self, marked: Marked | None) -> Any:
        """The statement of the page behind a row, or of the first one."""
        first = self.keys[0]
        if self.limit is None or not (first.nullable and first.leads):
            return self._simple(marked)
        parts = self._parts(marked)
        if len(parts) == 1:
            page, beginning = parts[0]
            return page._simple(beginning)
        return self._together(parts)

    def _simple(self, marked: Marked | None) -> Select[Any]:
        asked = [*self.asked]
        if marked is not None:
            asked += [_beyond(marked, self.keys), self._start(marked, self.keys)]
        if self.limit is not None and self._needs_window():
            asked.append(self._window(self.asked, self.keys, marked, self.limit))
        statement = select(*self.wanted).select_from(self.table).where(*asked)
        order = (key.order(self.dialect) for key in self.keys)
        return statement.order_by(*order).limit(self.limit)

    # -- Values and nulls apart -----------------------------------------------

    def _parts(self, marked: Marked | None) -> list[tuple[Pages, Marked | None]]:
        """Pages of rows with and without a first key, in their order, and where
        each begins."""
        first, *rest = self.keys
        valued = self._where(
            first.column.is_not(None), [replace(first, nullable=False), *rest]
        )
        without = self._where(first.column.is_(None), rest)
        if marked is None:
            found = [(without, marked), (valued, marked)]
            return found if first.ascending else found[::-1]
        if marked[first.name] is None:
            behind = [(valued, None)] if first.ascending else []
            return [(without, marked), *behind]
        behind = [] if first.ascending else [(without, None)]
        return [(valued, marked), *behind]

    def _where(self, condition: ColumnElement[bool], keys: Sequence[Key]) -> Pages:
        return replace(self, asked=[*self.asked, condition], keys=keys)

    def _together(self, parts: Sequence[tuple[Pages, Marked | None]]) -> Select[Any]:
        sorted_by = [
            key.column.label(f"sort_{number}") for number, key in enumerate(self.keys)
        ]
        selects = []
        for page, marked in parts:
            page = replace(page, wanted=[*self.wanted, *sorted_by])
            # SQLite takes no ORDER BY in a part of a union, but in a table of it.
            selects.append(select(page._simple(marked).subquery()))
        both = union_all(*selects).subquery("both")
        order = (
            key.order_of(both.c[f"sort_{number}"], self.dialect)
            for number, key in enumerate(self.keys)
        )
        shown = (both.c[column.name] for column in self.wanted)
        return select(*shown).order_by(*order).limit(self.limit)

    # -- Behind the marker ----------------------------------------------------

    def _start(self, marked: Marked, keys: Sequence[Key]) -> ColumnElement[bool]:
        """What ``_beyond`` implies in a form that an index scan can start with."""
        up = keys[0].ascending
        ordered = list(
            takewhile(lambda key: key.ascending is up and not key.nullable, keys)
        )
        if self.dialect in _NO_RANGE_OF_ROWS:
            ordered = ordered[:1]
        if not ordered:
            return true()
        columns: Any = tuple_(*(key.column for key in ordered))
        values: Any = tuple_(*(key.value(marked) for key in ordered))
        if len(ordered) == 1:
            columns, values = ordered[0].column, ordered[0].value(marked)
        return columns >= values if up else columns <= values  # type: ignore[no-any-return]

    # -- The first keys of a page ---------------------------------------------

    def _needs_window(self) -> bool:
        """Whether no index of ours has this order, though one has its beginning."""
        first = self.keys[0]
        mixed = any(key.ascending != first.ascending for key in self.keys)
        finer = len(self.keys) > 2 or mixed
        return self.dialect in _NO_INCREMENTAL_SORT and finer and not first.nullable

    def _window(
        self,
        asked: Sequence[ColumnElement[bool]],
        keys: Sequence[Key],
        marked: Marked | None,
        limit: int,
    ) -> ColumnElement[bool]:
        """From which first key to which a page goes: without it all rows would be
        sorted for one page. Where that is one, of the next key likewise.

        Asked for by itself: MariaDB would look through all rows for a subquery, too.
        Likewise it goes along an index to what has the marker's key, and along it from
        there, but not to both at once.
        """
        first, *rest = keys
        beside: list[Any] = []
        behind = [*asked]
        if marked is not None:
            same = [first.equals(marked), _beyond(marked, rest)]
            same.append(self._start(marked, rest))
            beside = self._first_keys([*asked, *same], first, rest[0], limit)
            behind.append(first.beyond(marked))
        found = beside
        if len(beside) < limit:
            left = limit - len(beside)
            found = beside + self._first_keys(behind, first, first, left)
        if not found:
            return false()
        if found[0] != found[-1] or len(rest) < 2 or rest[0].nullable:
            ends = (found[0], found[-1]) if first.ascending else (found[-1], found[0])
            return first.column.between(*ends)  # type: ignore[no-any-return]
        one = first.column == found[0]
        marked = marked if beside else None
        return and_(one, self._window([*asked, one], rest, marked, limit))

    def _first_keys(
        self, asked: Sequence[ColumnElement[bool]], first: Key, order: Key, limit: int
    ) -> list[Any]:
        """Of as many rows, in this order."""
        query = select(first.column).select_from(self.table).where(*asked)
        query = query.order_by(order.order(self.dialect)).limit(limit)
        return list(self.connection.execute(query).scalars())


def _beyond(marked: Marked, keys: Sequence[Key]) -> ColumnElement[bool]:
    """The rows behind the marker by these keys, exactly."""
    ways: list[ColumnElement[bool]] = []
    same: list[ColumnElement[bool]] = []
    for key in keys:
        ways.append(and_(*same, key.beyond(marked)))
        same.append(key.equals(marked))
    return or_(false(), *ways)
