"""What is kept of executions that expire: a file each, one JSON object a line.

A file is written beside its final name, made durable and renamed, all before the
execution is deleted: who dies in between has left a file that the next pass writes
again. What bodies of the API do not show, files do not hold: secrets of publishers,
what only the engine needs (decision 0044).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from sqlalchemy import Connection, select

from mistral.db import bulk, executions
from mistral.db.database import Database
from mistral.db.executions import ACTION, EXECUTION, TASK, with_documents
from mistral.db.models import action_executions, task_executions, workflow_executions
from mistral.publisher_entries import shown

FORMAT: Final = "mistral-execution-archive"
VERSION: Final = 1
"""Of the form of a file; in its first line."""

TASKS: Final = 200
ACTIONS: Final = 500
"""That are read at a time."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Archived:
    """:param version: of the execution as it was written.
    :param path: of the file.
    """

    version: int
    path: Path


class Archive:
    """Writes trees of executions into a directory, a folder for each day on which
    they ended, so that none of them grows without end."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._directory = directory

    def write(self, execution_id: str) -> Archived | None:
        """The execution and all below it, as of one moment.

        :returns: None: there is no such execution any more.
        :raises OSError: the file could not be made durable; none is left.
        """
        with self._database.snapshot() as connection:
            table = workflow_executions
            query = select(*EXECUTION).where(table.c.id == execution_id)
            found = connection.execute(query)
            root = found.mappings().one_or_none()
            if root is None:
                return None
            ended: datetime = root["updated_at"] or root["created_at"]
            folder = self._directory / f"{ended:%Y-%m-%d}"
            folder.mkdir(mode=0o700, exist_ok=True)
            path = folder / f"{_safe(execution_id)}.ndjson"
            _write(path, _lines(connection, root))
        return Archived(root["version"], path)


def _safe(execution_id: str) -> str:
    """Ids of clients have no separators; neither do they begin with a dot here."""
    return execution_id if not execution_id.startswith(".") else f"_{execution_id}"


def _write(path: Path, lines: Iterator[Mapping[str, Any]]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "w", encoding="utf-8", errors="surrogatepass") as file:
            for line in lines:
                _write_line(file, line)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    for folder in (path.parent, path.parent.parent):
        _make_names_durable(folder)


def _write_line(file: IO[str], line: Mapping[str, Any]) -> None:
    json.dump(line, file, ensure_ascii=False, default=_text_of, separators=(",", ":"))
    file.write("\n")


def _text_of(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    raise TypeError(f"no JSON: {type(value).__name__}")


def _make_names_durable(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lines(connection: Connection, root: Row) -> Iterator[dict[str, Any]]:
    """Each execution, its tasks and their actions, then the executions below."""
    about = {"format": FORMAT, "version": VERSION}
    yield {"kind": "archive", **about, "root_execution_id": root["id"]}
    level: Sequence[Row] = [root]
    while level:
        below: list[str] = []
        for row in level:
            yield _execution(connection, row)
            for tasks in _pages_of_tasks(connection, row["id"]):
                yield from tasks
                ids = [each["id"] for each in tasks]
                yield from _actions(connection, ids)
                below.extend(_children(connection, ids))
        level = _Executions(connection, below)


class _Executions(Sequence[Row]):
    """Rows of executions, read one by one: they may be large."""

    def __init__(self, connection: Connection, ids: list[str]) -> None:
        self._connection = connection
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, place: Any) -> Any:
        table = workflow_executions
        query = select(*EXECUTION).where(table.c.id == self._ids[place])
        return self._connection.execute(query).mappings().one()


def _execution(connection: Connection, row: Row) -> dict[str, Any]:
    columns = ("input", "params", "output")
    [whole] = with_documents(connection, [row], columns, "id")
    whole.pop("version", None)
    published = executions.published_global_of_execution(connection, row["id"])
    params = shown(whole["params"])
    return {
        "kind": "execution",
        **whole,
        "params": params,
        "published_global": published,
    }


def _pages_of_tasks(
    connection: Connection, run_id: str
) -> Iterator[list[dict[str, Any]]]:
    table, last = task_executions.c, -1
    while True:
        query = select(*TASK, table.seq.label("number")).where(
            table.workflow_execution_id == run_id, table.seq > last
        )
        rows = connection.execute(query.order_by(table.seq).limit(TASKS)).mappings()
        found = with_documents(connection, rows.all(), ("published",))
        if not found:
            return
        last = found[-1]["number"]
        for row in found:
            del row["number"]
        yield [{"kind": "task", **row} for row in found]


def _actions(connection: Connection, task_ids: list[str]) -> Iterator[dict[str, Any]]:
    """Of these tasks, one task after the other, in order of items."""
    table = action_executions.c
    order = (table.task_execution_id, table.item_index, table.id)
    query = select(*ACTION).where(table.task_execution_id.in_(task_ids))
    query = query.order_by(*order).limit(ACTIONS)
    page = query
    while True:
        rows = connection.execute(page).mappings().all()
        found = with_documents(connection, rows, ("input", "output"))
        yield from ({"kind": "action", **row} for row in found)
        if len(found) < ACTIONS:
            return
        task, item, id = (found[-1][column.name] for column in order)
        later = (order[1] > item) | ((order[1] == item) & (order[2] > id))
        page = query.where((order[0] > task) | ((order[0] == task) & later))


def _children(connection: Connection, task_ids: list[str]) -> list[str]:
    table = workflow_executions.c
    query = select(table.id).order_by(table.created_at, table.id)
    rows = bulk.select_among(connection, query, table.task_execution_id, task_ids)
    return [row["id"] for row in rows]
