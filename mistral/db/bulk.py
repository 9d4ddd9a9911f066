"""Statements for whole sets of rows: their number does not grow with the set.

``rows`` (the engine's), ``outbox``, ``history`` and ``requests`` are written
with these. How a set travels differs: PostgreSQL takes one array per column
(one text for any number of rows, so it stays prepared), MariaDB and MySQL a
list of values, SQLite a JSON list of keys; rows it takes one by one, with a
prepared statement and inside the process.
Very large sets are cut into chunks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Select,
    Table,
    any_,
    bindparam,
    column,
    delete,
    func,
    insert,
    not_,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql.dml import Delete, Insert

from mistral.db import direct
from mistral.db.columns import Json
from mistral.errors import Bug

Row = Mapping[str, Any]

_IDS_A_STATEMENT: Final = 5_000
_ROWS_A_STATEMENT: Final = 1_000
# A row is there some four times on its way through the library; SQLite takes rows
# one by one anyway, so smaller parts cost nothing and need less memory.
_ROWS_INSIDE: Final = 100
# Far below the smallest ``max_allowed_packet`` in use (16 MiB; 4 bytes a
# character and escapes counted), yet few statements.
_CHARACTERS_A_STATEMENT: Final = 1_000_000


def select_among(
    connection: Connection,
    statement: Select[Any],
    key: ColumnElement[Any],
    values: Collection[Any],
) -> list[Row]:
    """Rows of ``statement`` whose ``key`` is one of ``values``."""
    found: list[Row] = []
    for chunk in _chunks(values):
        narrowed = statement.where(among(connection, key))
        found.extend(connection.execute(narrowed, {"among": chunk}).mappings())
    return found


def fetch(
    connection: Connection,
    table: Table,
    key: str,
    values: Collection[Any],
    *,
    also: tuple[str, Collection[Any]] | None = None,
    columns: tuple[str, ...] = (),
) -> list[Row]:
    """Rows whose column is one of ``values``, in the order of their creation
    (``seq`` where the table has it) or else of their primary key.

    :param also: another column and its values.
    :param columns: all if none is named.
    """
    asked = to_fetch(connection, table, key, values, also=also, columns=columns)
    return [row for question in asked for row in direct.fetch(connection, *question)]


def to_fetch(
    connection: Connection,
    table: Table,
    key: str,
    values: Collection[Any],
    *,
    also: tuple[str, Collection[Any]] | None = None,
    columns: tuple[str, ...] = (),
) -> list[direct.Question]:
    """What :func:`fetch` asks, for ``direct.fetch_together``."""
    if not values:
        return []
    second = {} if also is None else {"among_too": list(also[1])}
    statement = _fetch(
        connection.dialect.name, table, key, None if also is None else also[0], columns
    )
    return [(statement, {"among": chunk, **second}) for chunk in _chunks(values)]


def lock(
    connection: Connection,
    table: Table,
    ids: Collection[str],
    columns: tuple[str, ...] = (),
    *,
    skip_locked: bool = False,
) -> list[Row]:
    """Lock the rows with these ids in the order of the ids, and read them.

    :param columns: all if none is named.
    :param skip_locked: leave out what somebody else holds instead of waiting.
        SQLite has one writer at a time: there is nothing to lock or to skip.
    """
    asked = to_lock(connection, table, ids, columns, skip_locked=skip_locked)
    return [row for question in asked for row in direct.fetch(connection, *question)]


def to_lock(
    connection: Connection,
    table: Table,
    ids: Collection[str],
    columns: tuple[str, ...] = (),
    *,
    skip_locked: bool = False,
) -> list[direct.Question]:
    """What :func:`lock` asks, for ``direct.fetch_together``."""
    if not ids:
        return []
    statement = _lock(connection.dialect.name, table, columns, skip_locked)
    return [(statement, {"among": chunk}) for chunk in _chunks(sorted(ids))]


def insert_many(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows; a column that a row does not name gets its default or NULL."""
    _insert(connection, table, rows, missing_only=False)


def insert_missing(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """As :func:`insert_many`; rows whose key is there already are left out."""
    _insert(connection, table, rows, missing_only=True)


def update_many(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Write the named columns of rows found by their ``id``.

    :param rows: each with ``id``; rows that name the same columns share a
        statement.
    :returns: how many rows were there.
    """
    alike: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        names = tuple(sorted(row.keys() - {"id"}))
        if names:
            alike.setdefault(names, []).append(row)
    found = 0
    for names, group in alike.items():
        _check_names(table, names)
        found += sum(_update(connection, table, names, part) for part in _parts(group))
    return found


def delete_ids(connection: Connection, table: Table, ids: Collection[str]) -> int:
    """Delete rows by id; answers how many were there."""
    return delete_by(connection, table, "id", ids)


def delete_of_kind(
    connection: Connection, table: Table, key: str, values: Collection[str], *kinds: str
) -> int:
    """Delete the rows of these kinds whose column, which has an index of its own, is
    one of ``values``; answers how many were there."""
    index = f"ix_{table.name}_{key}"
    return delete_by(connection, table, key, values, index=index, kinds=kinds)


def delete_by(
    connection: Connection,
    table: Table,
    key: str,
    values: Collection[str],
    *,
    index: str = "PRIMARY",
    kinds: Sequence[str] = (),
    others: bool = False,
) -> int:
    """Delete the rows whose column is one of ``values``; answers how many were there.

    :param index: that begins with the column.
    :param kinds: none: of any kind; otherwise of these alone.
    :param others: of all kinds but these.
    """
    dialect = connection.dialect.name
    if dialect in _HINTED:
        told = ("kind", kinds, others) if kinds else None
        keys = [(value,) for value in sorted(values)]
        return _delete_joined(connection, table, (key,), keys, index, told)
    statement = _delete(dialect, table, key, len(kinds), others)
    named = {f"kind_{place}": kind for place, kind in enumerate(kinds)}
    return sum(
        direct.change(connection, statement, {"among": chunk, **named})
        for chunk in _chunks(sorted(values))
    )


def delete_keys(
    connection: Connection, table: Table, keys: Sequence[tuple[Any, ...]]
) -> int:
    """Delete rows by whole primary keys; answers how many were there."""
    names = tuple(column.name for column in table.primary_key)
    if connection.dialect.name in _HINTED:
        return _delete_joined(connection, table, names, keys, "PRIMARY", None)
    columns = tuple_(*(table.c[name] for name in names))
    return connection.execute(delete(table).where(columns.in_(keys))).rowcount


def among(connection: Connection, key: ColumnElement[Any]) -> ColumnElement[bool]:
    """``key`` is in the list that is bound as ``among``."""
    return listed(connection.dialect.name, key, "among")


def listed(dialect: str, key: ColumnElement[Any], bound: str) -> ColumnElement[bool]:
    """``key`` is in the list that is bound by that name."""
    # one text for lists of any length, where the database can read one value as a
    # list: drivers keep the statements that they have prepared, by their text
    if dialect == "sqlite":
        return key.in_(select(_json_values(bound).c.value))
    if dialect == "postgresql":
        kind = postgresql.ARRAY(key.type, dimensions=1)
        return key == any_(bindparam(bound, type_=kind))
    return key.in_(bindparam(bound, expanding=True))


def values_of(dialect: str, key: ColumnElement[Any], bound: str) -> Any:
    """The list that is bound by that name as a table with the column ``value``; None
    where there is no such thing (MariaDB, MySQL)."""
    if dialect == "sqlite":
        return _json_values(bound)
    if dialect == "postgresql":
        kind = postgresql.ARRAY(key.type, dimensions=1)
        given = func.unnest(bindparam(bound, type_=kind))
        columns = column("value", key.type)
        return given.table_valued(columns, name="given").render_derived()
    return None


def _json_values(bound: str) -> Any:
    return func.json_each(bindparam(bound, type_=Json())).table_valued("value")


def forced(statement: Select[Any], table: Table, index: str) -> Select[Any]:
    """MariaDB and MySQL: use this index. A scan of a small table would stop at
    the locks of neighbours that are not asked for."""
    for name in ("mysql", "mariadb"):
        statement = statement.with_hint(table, f"FORCE INDEX ({index})", name)
    return statement


# -- Statements, built once ---------------------------------------------------


@cache
def _fetch(
    dialect: str, table: Table, key: str, also: str | None, columns: tuple[str, ...]
) -> Select[Any]:
    statement = select(*_columns(table, columns))
    statement = statement.where(listed(dialect, table.c[key], "among"))
    if also is not None:
        statement = statement.where(listed(dialect, table.c[also], "among_too"))
    order = [table.c.seq] if "seq" in table.c else []
    return statement.order_by(*order, *table.primary_key)


@cache
def _lock(
    dialect: str, table: Table, columns: tuple[str, ...], skip_locked: bool
) -> Select[Any]:
    statement = forced(select(*_columns(table, columns)), table, "PRIMARY")
    statement = statement.where(listed(dialect, table.c.id, "among"))
    return statement.order_by(table.c.id).with_for_update(skip_locked=skip_locked)


@cache
def _delete(dialect: str, table: Table, key: str, kinds: int, others: bool) -> Delete:
    statement = delete(table).where(listed(dialect, table.c[key], "among"))
    if not kinds:
        return statement
    named = [table.c.kind == bindparam(f"kind_{place}") for place in range(kinds)]
    return statement.where(not_(or_(*named)) if others else or_(*named))


def _columns(table: Table, names: tuple[str, ...]) -> list[Column[Any]]:
    return [table.c[name] for name in names] or list(table.c)


_HINTED: Final = ("mysql", "mariadb")
_KEYS_A_STATEMENT: Final = 1_000


def _delete_joined(
    connection: Connection,
    table: Table,
    names: tuple[str, ...],
    keys: Sequence[tuple[Any, ...]],
    index: str,
    told: tuple[str, Sequence[str], bool] | None,
) -> int:
    """For MariaDB and MySQL, in this order and by this index, as ``_mysql_update``.

    Where little is left of a table they would rather read all of it than look for a
    list of keys, and a DELETE waits for each row that it passes and somebody else has
    locked, while it keeps what it has deleted. No hint keeps them from it but a join.

    :param told: a column, its values, and whether all others are meant.
    """
    quote = connection.dialect.identifier_preparer.quote
    first = ", ".join(f"%s AS {quote(name)}" for name in names)
    more = " UNION ALL SELECT " + ", ".join(["%s"] * len(names))
    same = " AND ".join(f"held.{quote(name)} = given.{quote(name)}" for name in names)
    only, last = "", ()
    if told is not None:
        column, last, others = told[0], tuple(told[1]), told[2]
        listed = ", ".join(["%s"] * len(last))
        only = f" WHERE held.{quote(column)} {'NOT ' if others else ''}IN ({listed})"
    removed = 0
    for start in range(0, len(keys), _KEYS_A_STATEMENT):
        part = keys[start : start + _KEYS_A_STATEMENT]
        text = (
            f"DELETE held FROM (SELECT {first}{more * (len(part) - 1)}) given"
            f" STRAIGHT_JOIN {quote(table.name)} held FORCE INDEX ({quote(index)})"
            f" ON {same}{only}"
        )
        values = (*chain.from_iterable(part), *last)
        removed += connection.exec_driver_sql(text, values).rowcount
    return removed


# -- Inserts ------------------------------------------------------------------


def _insert(
    connection: Connection, table: Table, rows: Sequence[Row], *, missing_only: bool
) -> None:
    if not rows:
        return
    defaults = _defaults(table)
    _check_names(table, set().union(*rows))
    if connection.dialect.name == "postgresql":
        if len(rows) == 1:
            values = {_bound(name): value for name, value in defaults.items()}
            values.update((_bound(name), value) for name, value in rows[0].items())
            direct.change(connection, _single_insert(table, missing_only), values)
            return
        statement = _postgresql_insert(table, missing_only)
        for part in _parts(rows):
            arrays = {
                _bound(name): [row.get(name, default) for row in part]
                for name, default in defaults.items()
            }
            direct.change(connection, statement, arrays)
        return
    statement = _plain_insert(connection.dialect.name, table, missing_only)
    step = _ROWS_INSIDE if connection.dialect.name == "sqlite" else len(rows)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        connection.execute(statement, [{**defaults, **row} for row in part])


@cache
def _defaults(table: Table) -> dict[str, Any]:
    return {
        column.name: getattr(column.default, "arg", None) for column in table.columns
    }


@cache
def _plain_insert(dialect: str, table: Table, missing_only: bool) -> Insert:
    if not missing_only:
        return insert(table)
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    key = next(iter(table.primary_key))
    return mysql.insert(table).on_duplicate_key_update({key.name: key})


@cache
def _postgresql_insert(table: Table, missing_only: bool) -> Insert:
    names = tuple(table.c.keys())
    statement = postgresql.insert(table).from_select(
        names, select(_arrays(table, names)), include_defaults=False
    )
    return statement.on_conflict_do_nothing() if missing_only else statement


@cache
def _single_insert(table: Table, missing_only: bool) -> Insert:
    values = {name: bindparam(_bound(name)) for name in table.c.keys()}
    statement = postgresql.insert(table).values(values).inline()
    return statement.on_conflict_do_nothing() if missing_only else statement


# -- Updates ------------------------------------------------------------------


def _update(
    connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Row]
) -> int:
    dialect = connection.dialect
    if dialect.name == "postgresql" and len(rows) == 1:
        values = {_bound(name): rows[0][name] for name in ("id", *names)}
        return direct.change(connection, _plain_update(table, names), values)
    if dialect.name == "postgresql":
        arrays = {_bound(name): [row[name] for row in rows] for name in ("id", *names)}
        return direct.change(connection, _postgresql_update(table, names), arrays)
    if dialect.name == "sqlite":
        bound = [{_bound(name): value for name, value in row.items()} for row in rows]
        return connection.execute(_plain_update(table, names), bound).rowcount
    return _mysql_update(connection, table, names, rows)


@cache
def _postgresql_update(table: Table, names: tuple[str, ...]) -> Any:
    given = _arrays(table, ("id", *names))
    return (
        update(table)
        .values({name: given.c[name] for name in names})
        .where(table.c.id == given.c.id)
    )


@cache
def _plain_update(table: Table, names: tuple[str, ...]) -> Any:
    return (
        update(table)
        .values({name: bindparam(_bound(name)) for name in names})
        .where(table.c.id == bindparam(_bound("id")))
    )


def _mysql_update(
    connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Row]
) -> int:
    # A joined list of values; there is no multi-row UPDATE and the driver sends
    # an executemany row by row.
    text, first, more, processors = _mysql_parts(connection.dialect, table, names)
    given = " UNION ALL ".join(chain((first,), [more] * (len(rows) - 1)))
    values = [
        process(row[name]) if process is not None else row[name]
        for row in rows
        for name, process in processors
    ]
    return connection.exec_driver_sql(text % given, tuple(values)).rowcount


@cache
def _mysql_parts(
    dialect: Dialect, table: Table, names: tuple[str, ...]
) -> tuple[str, str, str, list[tuple[str, Any]]]:
    quote = dialect.identifier_preparer.quote
    held = quote(table.name)
    sets = ", ".join(f"{held}.{quote(name)} = given.{quote(name)}" for name in names)
    # In this order and by this index: a plan that scans the table, which is what
    # the optimizer takes for a small one, waits for rows that others have locked.
    text = (
        f"UPDATE (%s) given STRAIGHT_JOIN {held} FORCE INDEX (PRIMARY) "
        f"ON {held}.id = given.id SET {sets}"
    )
    every = ("id", *names)
    first = "SELECT " + ", ".join(f"%s AS {quote(name)}" for name in every)
    more = "SELECT " + ", ".join(["%s"] * len(every))
    processors = [
        (name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect))
        for name in every
    ]
    return text, first, more, processors


# -- Parts --------------------------------------------------------------------


def _arrays(table: Table, names: tuple[str, ...]) -> Any:
    """A derived table out of one bound array per column."""
    bound = [
        bindparam(
            _bound(name), type_=postgresql.ARRAY(table.c[name].type, dimensions=1)
        )
        for name in names
    ]
    columns = [column(name, table.c[name].type) for name in names]
    return func.unnest(*bound).table_valued(*columns, name="given").render_derived()


def _bound(name: str) -> str:
    # A name of its own: the name of a column would be taken for its value.
    return f"b_{name}"


def _check_names(table: Table, names: Collection[str]) -> None:
    unknown = [name for name in names if name not in _names(table)]
    if unknown:
        raise Bug(f"Table {table.name} has no columns {', '.join(sorted(unknown))}.")


@cache
def _names(table: Table) -> frozenset[str]:
    return frozenset(table.c.keys())


def _chunks(values: Collection[Any]) -> Iterator[list[Any]]:
    listed = list(values)
    for start in range(0, len(listed), _IDS_A_STATEMENT):
        yield listed[start : start + _IDS_A_STATEMENT]


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """``rows`` cut by number and, roughly, by size."""
    if len(rows) == 1:
        yield rows
        return
    part: list[Row] = []
    size = 0
    for row in rows:
        weight = _weight(row)
        full = len(part) == _ROWS_A_STATEMENT or size + weight > _CHARACTERS_A_STATEMENT
        if part and full:
            yield part
            part, size = [], 0
        part.append(row)
        size += weight
    if part:
        yield part


def _weight(value: Any) -> int:
    """Characters of text inside a value: a lower bound of its size as JSON."""
    kind = type(value)
    if kind is str:
        return len(value)
    if kind is dict:
        found, parts = 0, (*value, *value.values())
    elif kind is list or kind is tuple:
        found, parts = len(value), value
    else:
        return 4
    for part in parts:
        # Most are these; a call for each costs more than what it finds.
        if part is None:
            found += 4
        elif type(part) is str:
            found += len(part)
        else:
            found += _weight(part)
    return found
