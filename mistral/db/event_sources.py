"""Who may send events over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from mistral.db import owned
from mistral.db.models import event_sources
from mistral.db.owned import Author, Place
from mistral.errors import Conflict

Row = Mapping[str, Any]


def create(connection: Connection, author: Author, values: Mapping[str, Any]) -> Row:
    """A source of the author's project.

    :raises Conflict: the project has one of this name.
    """
    row = {**owned.fresh(author, Place()), **values}
    del row["namespace"]
    try:
        connection.execute(insert(event_sources).values(row))
    except IntegrityError:
        raise Conflict(
            f"This project has an event source '{row['name']}' already."
        ) from None
    return row


def named(connection: Connection, name: str, most: int) -> list[Row]:
    """Those of all projects that have a name, ``most`` of them at most."""
    query = select(event_sources).where(event_sources.c.name == name).limit(most)
    rows = connection.execute(query).mappings()
    # to some databases names are the same in capitals
    return [row for row in rows if row["name"] == name]


def find(
    connection: Connection, *, id: str | None = None, digest: str | None = None
) -> Row | None:
    """By its id, or by the digest of its token; whoever asks is nobody yet."""
    column = event_sources.c.digest if id is None else event_sources.c.id
    query = select(event_sources).where(column == (digest if id is None else id))
    return connection.execute(query).mappings().first()
