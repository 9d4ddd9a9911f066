"""How the doctor reads: page by page, each page as of one moment, nothing locked.

A page's reads share a snapshot, so two tables that one transaction changes together
are never seen half changed. What a page says is true of its moment; what may be on
its way for a while (a row that is due, a lease) has ``GRACE`` before it is called
wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, func, select

from mistral.db import bulk, outbox
from mistral.db.database import Database
from mistral.db.models import outbox as outbox_table

Row = Mapping[str, Any]

PAGE: Final = 500
"""Rows of the table that a check is about, in one page."""

GRACE: Final = timedelta(seconds=60)
"""What is due is taken within a lease (10 s) and a sweep; longer, nobody takes it."""


@dataclass(frozen=True, slots=True)
class Violation:
    """:param check: name of the rule that is broken; stable, for scripts.
    :param ids: what it is about, by column.
    :param text: a sentence for people.
    """

    check: str
    ids: Mapping[str, str]
    text: str


@dataclass(slots=True)
class Page:
    """Rows of one moment.

    :param ids: keys of the rows of the page.
    :param now: the database's time.
    """

    connection: Connection
    ids: list[str]
    now: datetime
    _asked: list[tuple[str, str]] | None = field(default=None, init=False)

    def rows(self, query: Select[Any], key: ColumnElement[Any]) -> list[Row]:
        """Rows of a query whose key is one of the page's."""
        return self.among(query, key, self.ids)

    def among(
        self, query: Select[Any], key: ColumnElement[Any], values: Iterable[Any]
    ) -> list[Row]:
        wanted = sorted({value for value in values if value is not None})
        return bulk.select_among(self.connection, query, key, wanted) if wanted else []

    def known(self, column: Column[Any], values: Iterable[Any]) -> set[Any]:
        """Those of the values that the column has."""
        found = self.among(select(column.label("id")).distinct(), column, values)
        return {row["id"] for row in found}

    def counted(
        self, group: Column[Any], *conditions: ColumnElement[bool]
    ) -> dict[Any, int]:
        """How many rows have each of the page's keys."""
        query = select(group.label("id"), func.count().label("found")).where(
            *conditions
        )
        return {
            row["id"]: row["found"] for row in self.rows(query.group_by(group), group)
        }

    def promised(
        self, run_ids: Iterable[str], *, all_timers: bool = False
    ) -> dict[str, list[Row]]:
        """Outbox rows of headers, but for what moves nothing: notifications, and the
        timers that only warn.

        :param all_timers: with these.
        """
        columns = outbox_table.c
        query = select(columns.run_id, columns.kind, columns.payload)
        query = query.where(columns.kind != outbox.NOTICE)
        found: dict[str, list[Row]] = {}
        for row in self.among(query, columns.run_id, run_ids):
            if all_timers or not _only_warns(row):
                found.setdefault(row["run_id"], []).append(row)
        return found

    def asked_for(self) -> list[tuple[str, str]]:
        """(run, task) of each sub-workflow whose start is still to be heard.

        Asked only where something looks wrong: all starts that wait are read.
        """
        if self._asked is None:
            query = select(outbox_table.c.payload).where(
                outbox_table.c.kind == "StartWorkflow"
            )
            payloads = self.connection.scalars(query)
            parents = [payload.get("parent") for payload in payloads]
            self._asked = [(p["run_id"], p["task_id"]) for p in parents if p]
        return self._asked


def _only_warns(row: Row) -> bool:
    return row["kind"] in outbox.TIMERS and row["payload"].get("key") == "slow"


class Look:
    """The database, as checks see it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pages(
        self, table: Table, key: str = "id", *conditions: ColumnElement[bool]
    ) -> Iterator[Page]:
        """All keys of a table, each once, in pages.

        :param key: a column with an index; several rows may share a key.
        """
        column, last = table.c[key], ""
        while True:
            with self._database.snapshot() as connection:
                query = select(column).where(column > last, *conditions).distinct()
                found = connection.scalars(query.order_by(column).limit(PAGE))
                ids = list(found)
                if not ids:
                    return
                yield Page(connection, ids, self._database.now(connection))
            last = ids[-1]

    def once(self) -> Iterator[Page]:
        """For what fits into one query."""
        with self._database.snapshot() as connection:
            yield Page(connection, [], self._database.now(connection))
