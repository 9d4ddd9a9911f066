"""Rows of every table that the API lists: ties, nulls, odd characters, projects."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rows import uid
from sqlalchemy import Boolean, Connection, Integer, Table

from mistral.db import bulk, models
from mistral.db.columns import Json, Utc

START: Final = datetime(2026, 11, 21, 1, 35, 4)
TEXTS: Final = (
    "plain", "Plain", "a&b=c#d", "50% of_it", "x:y", "eq:z", "plus+plus", "ünï – ✓",
    "semi;colon?", "/slash\\", "", "'quoted' \"twice\"",
)  # fmt: skip
_TAGS: Final = (None, [], ["a"], ["a", "B c"], ["ü&", "a"])
_DOCUMENTS: Final = (None, {}, {"a": 1}, {"k&y": ["v", 2.5, None]}, {"ü": "=#+ %"})
_WORDS: Final = {
    "state": ("RUNNING", "SUCCESS", "ERROR", "PAUSED"),
    "type": ("ACTION", "WORKFLOW"),
    "scope": ("private", "private", "public"),
    "project_id": ("<default-project>", "red", "blue"),
    "overlap": ("allow", "skip", "queue"),
    "catch_up": ("once", "skip"),
    "timezone": ("UTC", "Europe/Berlin"),
    "definition_type": (None, "workflow", "workbook"),
    "kind": ("hmac", "token"),
}


class GeneratedRows:
    """Rows by the columns of their tables; the same seed makes the same rows.

    A parent is one of those that were put in before.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._made = 0
        self.ids: dict[str, list[str]] = {}

    def put(
        self, connection: Connection, table: Table, number: int, **same: Any
    ) -> list[str]:
        """Insert rows; answers their ids.

        :param same: values that all of them have.
        """
        rows = [{**self._row(table), **same} for _ in range(number)]
        bulk.insert_many(connection, table, rows)
        made = [row["id"] for row in rows]
        self.ids.setdefault(table.name, []).extend(made)
        return made

    def _row(self, table: Table) -> dict[str, Any]:
        self._made += 1
        row = {column.name: self._value(column) for column in table.columns}
        row["id"] = uid(self._random.randrange(10**12))
        for column in table.columns:
            for key in column.foreign_keys:
                parents = self.ids[key.column.table.name]
                row[column.name] = self._random.choice(parents[:3])
        if table is models.workflow_executions:
            tasks = self.ids.get("task_executions", [])[:2]
            row["task_execution_id"] = self._random.choice([None, *tasks])
        if "name" in row and any("name" in c.name for c in _unique(table)):
            row["name"] = f"{row['name']}{self._made}"
        return row

    def _value(self, column: Any) -> Any:
        pick = self._random.choice
        if column.name in _WORDS:
            return pick(_WORDS[column.name])
        if column.nullable and self._random.random() < 0.25:
            return None
        if isinstance(column.type, Json):
            found = pick(_TAGS if column.name == "tags" else _DOCUMENTS)
            return found if column.nullable else found or {}
        if isinstance(column.type, Utc):
            return START + timedelta(seconds=pick((0, 0, 0.25, 1, 2, 3600)))
        if isinstance(column.type, Boolean):
            return pick((True, False))
        if isinstance(column.type, Integer):
            return self._random.randrange(1, 4)
        if column.name in ("digest", "checksum", "unique_key"):
            return f"{self._made}"
        if column.name.endswith("_id"):
            return uid(self._random.randrange(3))
        return pick(TEXTS)


def _unique(table: Table) -> Sequence[Any]:
    return [
        column
        for constraint in table.constraints
        if constraint.name and str(constraint.name).startswith("uq_")
        for column in constraint.columns  # type: ignore[attr-defined]
    ]
