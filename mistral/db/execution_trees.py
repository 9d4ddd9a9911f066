"""Reads of whole trees of executions, one level at a time.

A level costs a constant number of statements, however many rows it has.
Nothing large is loaded that the caller has not asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, select

from mistral.context import Context
from mistral.db import scope
from mistral.db.executions import EXECUTION, Row, chunks, with_documents
from mistral.db.models import (
    action_executions,
    task_executions,
    workflow_executions,
)

SAMPLE: Final = 20
"""Successful runs that an estimate looks at (spec/engine.md § 10.9)."""

_HEADER: Final = [
    workflow_executions.c.id,
    workflow_executions.c.workflow_name.label("name"),
    workflow_executions.c.task_execution_id,
    workflow_executions.c.state,
    workflow_executions.c.state_info,
    workflow_executions.c.created_at,
    workflow_executions.c.updated_at,
    workflow_executions.c.internals,
]
_TASK: Final = [
    task_executions.c.id,
    task_executions.c.name,
    task_executions.c.workflow_execution_id,
    task_executions.c.type,
    task_executions.c.state,
    task_executions.c.state_info,
    task_executions.c.runtime_context,
    task_executions.c.created_at,
    task_executions.c.updated_at,
]
_TASK_STATE: Final = [
    task_executions.c.id,
    task_executions.c.workflow_execution_id,
    task_executions.c.type,
    task_executions.c.state,
]
_ACTION: Final = [
    action_executions.c.id,
    action_executions.c.name,
    action_executions.c.task_execution_id,
    action_executions.c.state,
    action_executions.c.state_info,
    action_executions.c.item_index,
    action_executions.c.accepted,
    action_executions.c.last_heartbeat,
    action_executions.c.created_at,
    action_executions.c.updated_at,
]


# -- Sub-executions -----------------------------------------------------------


def below_execution(
    connection: Connection,
    execution_row: Row,
    *,
    max_depth: int = -1,
    errors_only: bool = False,
    include_output: bool = False,
) -> list[Row]:
    """The execution and all executions below it, depth first, tasks in order of
    creation (rest-api.md § 9.1.8).

    :param max_depth: levels below the first; negative: all.
    :param errors_only: go down through tasks in ERROR only.
    """
    return _walk(connection, [execution_row], max_depth, errors_only, include_output)


def below_task(
    connection: Connection,
    task_row: Row,
    *,
    max_depth: int = -1,
    errors_only: bool = False,
    include_output: bool = False,
) -> list[Row]:
    """The executions that a task started (depth 0) and all below them."""
    if errors_only and task_row["state"] != "ERROR":
        return []
    query = (
        select(*_shown(include_output))
        .where(workflow_executions.c.task_execution_id == task_row["id"])
        .order_by(workflow_executions.c.created_at, workflow_executions.c.id)
    )
    roots = _whole(connection, connection.execute(query).mappings().all())
    return _walk(connection, roots, max_depth, errors_only, include_output)


def _shown(include_output: bool) -> list[Any]:
    return [c for c in EXECUTION if include_output or c.name != "output"]


def _whole(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    names = ("input", "params", "output")
    return _by_index(list(with_documents(connection, rows, names, "id")))


def _by_index(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["params"] or {}).get("index") or 0)


def _walk(
    connection: Connection,
    roots: Sequence[Row],
    max_depth: int,
    errors_only: bool,
    include_output: bool,
) -> list[Row]:
    children: dict[str, list[Row]] = defaultdict(list)
    seen = {row["id"] for row in roots}
    level: Sequence[Row] = roots
    depth = 0
    while level and (max_depth < 0 or depth < max_depth):
        found = _children(connection, level, errors_only, include_output)
        level = []
        for parent_id, row in found:
            if row["id"] not in seen:
                seen.add(row["id"])
                children[parent_id].append(row)
                level.append(row)
        depth += 1
    return list(_depth_first(roots, children))


def _children(
    connection: Connection,
    parents: Sequence[Row],
    errors_only: bool,
    include_output: bool,
) -> list[tuple[str, Row]]:
    found: list[Row] = []
    for ids in chunks(row["id"] for row in parents):
        query = (
            select(
                *_shown(include_output),
                task_executions.c.workflow_execution_id.label("parent_id"),
                task_executions.c.seq.label("parent_seq"),
            )
            .join(
                task_executions,
                task_executions.c.id == workflow_executions.c.task_execution_id,
            )
            .where(task_executions.c.workflow_execution_id.in_(ids))
            .order_by(workflow_executions.c.created_at, workflow_executions.c.id)
        )
        if errors_only:
            query = query.where(task_executions.c.state == "ERROR")
        found += _whole(connection, connection.execute(query).mappings().all())
    found.sort(key=lambda row: row["parent_seq"])
    return [(row["parent_id"], row) for row in found]


def _depth_first(
    roots: Sequence[Row], children: Mapping[str, Sequence[Row]]
) -> Iterable[Row]:
    # A stack of our own: nesting is the user's choice, Python's is limited.
    stack = list(reversed(roots))
    while stack:
        row = stack.pop()
        yield row
        stack.extend(reversed(children.get(row["id"], ())))


# -- Report -------------------------------------------------------------------


@dataclass(slots=True)
class Report:
    """What a report is made of (spec/engine.md § 10.9).

    ``tasks`` by execution (an execution without an entry was cut by depth),
    ``actions`` and ``executions`` by task, all in order of creation.
    """

    root: Row
    tasks: dict[str, list[Row]] = field(default_factory=dict)
    actions: dict[str, list[Row]] = field(default_factory=dict)
    executions: dict[str, list[Row]] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    estimated_time: int = 0


def report(
    connection: Connection,
    context: Context,
    execution_row: Row,
    now: datetime,
    *,
    max_depth: int = -1,
    errors_only: bool = False,
    statistics_only: bool = False,
) -> Report:
    """Everything for a report of a visible execution.

    :param max_depth: executions below this level come without tasks.
    :param errors_only: leave out tasks that are not in ERROR.
    :param statistics_only: count only: load neither actions nor texts.
    """
    table = workflow_executions
    internals = select(table.c.internals).where(table.c.id == execution_row["id"])
    root = {
        **execution_row,
        "name": execution_row["workflow_name"],
        "internals": connection.scalar(internals) or {},
    }
    made = Report(root=root)
    level: list[str] = [root["id"]]
    depth = 0
    while level and (max_depth < 0 or depth <= max_depth):
        tasks = _tasks_of(connection, level, errors_only, statistics_only)
        made.states.update(row["state"] for row in tasks)
        last = depth == max_depth
        if not statistics_only:
            made.tasks.update((run_id, []) for run_id in level)
            _file(made.tasks, tasks, "workflow_execution_id")
            actions = _of_tasks(connection, action_executions, _ACTION, tasks)
            _file(made.actions, actions, "task_execution_id")
        elif last:
            break
        parents = [row for row in tasks if row["type"] == "WORKFLOW"]
        runs = _of_tasks(connection, workflow_executions, _HEADER, parents)
        _file(made.executions, runs, "task_execution_id")
        level = [row["id"] for row in runs]
        depth += 1
    made.estimated_time = _estimate(connection, context, root, now)
    return made


def _tasks_of(
    connection: Connection,
    run_ids: Sequence[str],
    errors_only: bool,
    states_only: bool,
) -> list[Row]:
    found: list[Row] = []
    for ids in chunks(run_ids):
        wanted: list[ColumnElement[bool]] = [
            task_executions.c.workflow_execution_id.in_(ids)
        ]
        if errors_only:
            wanted.append(task_executions.c.state == "ERROR")
        query = (
            select(*(_TASK_STATE if states_only else _TASK))
            .where(*wanted)
            .order_by(task_executions.c.workflow_execution_id, task_executions.c.seq)
        )
        found.extend(connection.execute(query).mappings().all())
    return found


def _of_tasks(
    connection: Connection, table: Any, columns: Sequence[Any], tasks: Sequence[Row]
) -> list[Row]:
    found: list[Row] = []
    order = [table.c.created_at, table.c.id]
    if table is action_executions:
        order.insert(0, table.c.item_index)
    for ids in chunks(row["id"] for row in tasks):
        query = (
            select(*columns).where(table.c.task_execution_id.in_(ids)).order_by(*order)
        )
        found.extend(connection.execute(query).mappings().all())
    return found


def _file(
    places: dict[str, list[Row]], rows: Iterable[Row], parent_column: str
) -> None:
    for row in rows:
        places.setdefault(row[parent_column], []).append(row)


def _began(row: Row) -> datetime:
    """When it was created, or later: at its time."""
    began = row["internals"].get("began")
    found: datetime = row["created_at"]
    return found if began is None else datetime.fromisoformat(began)


def _estimate(
    connection: Connection, context: Context, execution_row: Row, now: datetime
) -> int:
    """Seconds left: of a RUNNING execution the average of earlier runs minus
    what has passed, at least 1; -1 without earlier runs; otherwise 0."""
    if execution_row["state"] != "RUNNING":
        return 0
    table = workflow_executions
    query = (
        select(table.c.created_at, table.c.updated_at, table.c.internals)
        .where(
            table.c.workflow_id == execution_row["workflow_id"],
            table.c.state == "SUCCESS",
            table.c.updated_at.is_not(None),
            scope.visible(table, context),
        )
        .order_by(table.c.created_at.desc())
        .limit(SAMPLE)
    )
    rows = connection.execute(query).mappings()
    spans = [(row["updated_at"] - _began(row)).total_seconds() for row in rows]
    if not spans:
        return -1
    passed = (now - _began(execution_row)).total_seconds()
    return max(1, round(sum(spans) / len(spans) - passed))
