"""What has to be true of a row before it is changed (``If-Match``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Table, select

from mistral.errors import NotFound

Row = Mapping[str, Any]
Judge = Callable[[Row], None]
"""Raises unless the row is as its caller expects it."""


def held(connection: Connection, table: Table, row: Row, judge: Judge | None) -> Row:
    """The row, locked and judged, so that nobody changes it in between.

    :raises NotFound: it was deleted meanwhile.
    """
    if judge is None:
        return row
    statement = select(table).where(table.c.id == row["id"]).with_for_update()
    found = connection.execute(statement).mappings().first()
    if found is None:
        raise NotFound(f"'{row['name']}' was deleted.")
    judge(found)
    return found
