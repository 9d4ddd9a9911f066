"""Rows that meet conditions on their columns, by statements that are built once.

The engine's look-ups: which columns are asked for varies little, their values always.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Table, bindparam, func, select

from mistral.db import bulk, direct

Row = Mapping[str, Any]


def fetch(
    connection: Connection,
    table: Table,
    *,
    order: tuple[str, ...],
    equal: Mapping[str, Any] | None = None,
    among: Mapping[str, Collection[Any] | None] | None = None,
    flags: Mapping[str, bool | None] | None = None,
    between: Mapping[str, tuple[Any, Any] | None] | None = None,
    newest_of: str | None = None,
) -> list[Row]:
    """Rows of which all holds that is not None.

    :param order: columns.
    :param between: first value, and the one after the last.
    :param newest_of: a column of ``among``: of the rows alike in it and in ``equal``
        the one with the highest ``seq``, if all else holds of it.
    """
    equal = equal or {}
    listed = {name: list(v) for name, v in (among or {}).items() if v is not None}
    ranged = {name: v for name, v in (between or {}).items() if v is not None}
    statement = _statement(
        connection.dialect.name,
        table,
        tuple(equal),
        tuple(listed),
        tuple((name, v) for name, v in (flags or {}).items() if v is not None),
        tuple(ranged),
        newest_of,
        order,
    )
    bound = {f"equal_{name}": value for name, value in equal.items()}
    bound.update((f"among_{name}", value) for name, value in listed.items())
    for name, (first, end) in ranged.items():
        bound[f"first_{name}"], bound[f"end_{name}"] = first, end
    return direct.fetch(connection, statement, bound)


@cache
def _statement(
    dialect: str,
    table: Table,
    equal: tuple[str, ...],
    among: tuple[str, ...],
    flags: tuple[tuple[str, bool], ...],
    between: tuple[str, ...],
    newest_of: str | None,
    order: tuple[str, ...],
) -> Select[Any]:
    query = select(table)
    wanted = [table.c[name] == bindparam(f"equal_{name}") for name in equal]
    wanted += [
        bulk.listed(dialect, table.c[name], f"among_{name}")
        for name in among
        if name != newest_of
    ]
    wanted += [table.c[name].is_(value) for name, value in flags]
    for name in between:
        wanted.append(table.c[name] >= bindparam(f"first_{name}"))
        wanted.append(table.c[name] < bindparam(f"end_{name}"))
    if newest_of is not None:
        column, bound = table.c[newest_of], f"among_{newest_of}"
        values = bulk.values_of(dialect, column, bound)
        if values is None:
            wanted.append(bulk.listed(dialect, column, bound))
            value: Any = column
        else:
            # Asked once for each value, not for each row.
            query = query.select_from(values)
            value = values.c.value
            wanted.append(column == value)
        other = table.alias()
        alike = [other.c[name] == bindparam(f"equal_{name}") for name in equal]
        newest = select(func.max(other.c.seq)).where(
            *alike, other.c[newest_of] == value
        )
        wanted.append(table.c.seq == newest.scalar_subquery())
    return query.where(*wanted).order_by(*(table.c[name] for name in order))
