"""Reads of what runs: executions, tasks, action executions.

For the API: scoped to what the caller may see, wide, never locking. The engine
reads the same tables through ``rows.py``. Nothing here asks an engine, so all
of it works while every engine is down.

Large values stand in ``documents`` and rows hold ``{"$ref": <document id>}``
in their place; :func:`with_documents` puts the values back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import Column, Connection, Select, bindparam, select

from mistral.context import Context
from mistral.db import bulk, direct, scope, task_results
from mistral.db.listing import Kind, Listing
from mistral.db.models import (
    action_executions,
    documents,
    frozen_specs,
    task_executions,
    workflow_executions,
)
from mistral.db.values_above import ValueAbove
from mistral.errors import NotFound

Row = Mapping[Any, Any]

CHUNK: Final = 500
"""Values in one ``IN (…)``: below the limits of every database."""

FINISHED: Final = frozenset({"SUCCESS", "ERROR", "CANCELLED"})

_HIDDEN: Final = frozenset({"__execution", "openstack"})
"""Variables of a run that are the service's own (spec/engine.md § 1.6.2)."""


def _columns(table: Any, *left_out: str) -> list[Column[Any]]:
    return [column for column in table.columns if column.name not in left_out]


EXECUTION: Final = _columns(workflow_executions, "internals", "context", "paused_by")
"""What a representation of an execution needs."""

TASK: Final = _columns(task_executions, "internals", "in_context", "next_tasks")

ACTION: Final = _columns(action_executions, "internals")

_COMMON: Final = {
    "id": Kind.ID,
    "workflow_name": Kind.TEXT,
    "workflow_namespace": Kind.TEXT,
    "state": Kind.TEXT,
    "state_info": Kind.TEXT,
    "tags": Kind.TAGS,
    "created_at": Kind.DATE,
    "updated_at": Kind.DATE,
}


def _by_name(columns: Sequence[Any]) -> dict[str, Any]:
    return {column.name: column for column in columns}


EXECUTIONS: Final = Listing(
    workflow_executions,
    filters={
        **_COMMON,
        "description": Kind.TEXT,
        "workflow_id": Kind.UUID,
        "task_execution_id": Kind.UUID,
        "root_execution_id": Kind.RUN,
        "project_id": Kind.PROJECT,
        "params": Kind.JSON,
        "input": Kind.JSON,
        "output": Kind.JSON,
    },
    # A dashboard sorts by ``name`` (rest-api.md § 3.3).
    columns={**_by_name(EXECUTION), "name": workflow_executions.c.workflow_name},
)

EXECUTIONS_OF_TASK: Final = Listing(
    workflow_executions,
    filters={
        name: kind
        for name, kind in EXECUTIONS.filters.items()
        if name not in ("task_execution_id", "root_execution_id", "project_id")
    },
    columns=EXECUTIONS.columns,
)

TASKS: Final = Listing(
    task_executions,
    filters={
        **_COMMON,
        "name": Kind.TEXT,
        "type": Kind.TEXT,
        "workflow_id": Kind.UUID,
        "workflow_execution_id": Kind.RUN,
        "published": Kind.JSON,
        "processed": Kind.BOOL,
        "result": Kind.RESULT,
    },
    columns=_by_name(TASK),
    computed={"result": task_results.matches},
    above={
        name: ValueAbove(
            task_executions.c.workflow_execution_id, workflow_executions.c[name]
        )
        for name in ("workflow_name", "workflow_id")
    },
)

TASKS_OF_EXECUTION: Final = Listing(
    task_executions,
    filters={
        name: kind
        for name, kind in TASKS.filters.items()
        if name != "workflow_execution_id"
    },
    columns=TASKS.columns,
    computed=TASKS.computed,
)

ACTIONS: Final = Listing(
    action_executions,
    filters={
        **_COMMON,
        "name": Kind.TEXT,
        "task_name": Kind.TEXT,
        "task_execution_id": Kind.UUID,
        "description": Kind.TEXT,
        "input": Kind.JSON,
        "output": Kind.JSON,
        "accepted": Kind.BOOL,
    },
    columns=_by_name(ACTION),
    above={
        "workflow_name": ValueAbove(
            action_executions.c.workflow_execution_id,
            workflow_executions.c.workflow_name,
        ),
        "task_name": ValueAbove(
            action_executions.c.task_execution_id, task_executions.c.name
        ),
    },
)

ACTIONS_OF_TASK: Final = Listing(
    action_executions,
    filters={
        name: kind
        for name, kind in ACTIONS.filters.items()
        if name != "task_execution_id"
    },
    columns=ACTIONS.columns,
)


def chunks(values: Iterable[Any]) -> Iterable[list[Any]]:
    """The values in lists that fit into one ``IN (…)``."""
    all_values = list(values)
    for start in range(0, len(all_values), CHUNK):
        yield all_values[start : start + CHUNK]


# -- One row ------------------------------------------------------------------


_PROJECT: Any = bindparam("project")
_GLOBALS: Final = "published_global"


@cache
def _one_execution(is_admin: bool, with_globals: bool) -> Select[Any]:
    table = workflow_executions
    query = select(*EXECUTION)
    if with_globals:
        specs = frozen_specs
        query = query.add_columns(table.c.context, specs.c.body)
        query = query.outerjoin_from(table, specs, specs.c.id == table.c.spec_id)
    seen = scope.of_all(table) if is_admin else scope.of_project(table, _PROJECT)
    return query.where(table.c.id == bindparam("id"), seen)


def find_execution(
    connection: Connection,
    context: Context,
    execution_id: str,
    *,
    with_globals: bool = False,
) -> Row | None:
    """The columns ``EXECUTION`` of a visible execution, documents put back.

    :param with_globals: and ``published_global``, what it has published so far.
    """
    bound = {"id": execution_id}
    if not context.is_admin:
        bound["project"] = context.project_id
    statement = _one_execution(context.is_admin, with_globals)
    found = direct.fetch(connection, statement, bound)
    if not found:
        return None
    row = dict(found[0])
    if with_globals:
        row[_GLOBALS] = _globals(row.pop("context"), row.pop("body"))
    referring = ("input", "params", "output", _GLOBALS)
    return with_documents(connection, [row], referring, "id")[0]


def execution(
    connection: Connection,
    context: Context,
    execution_id: str,
    *,
    with_globals: bool = False,
) -> Row:
    """As ``find_execution``.

    :raises NotFound: unknown, or of another project.
    """
    row = find_execution(connection, context, execution_id, with_globals=with_globals)
    if row is None:
        raise NotFound(f"There is no execution {execution_id!r}.")
    return row


def sees_execution(connection: Connection, context: Context, execution_id: str) -> bool:
    """Whether the caller sees an execution of this id; nothing of it is read."""
    query = select(workflow_executions.c.id).where(
        workflow_executions.c.id == execution_id,
        scope.visible(workflow_executions, context),
    )
    return connection.execute(query).first() is not None


def unfinished(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the executions that are there and have not ended."""
    table = workflow_executions
    query = select(table.c.id).where(table.c.state.not_in(FINISHED))
    return {row["id"] for row in bulk.select_among(connection, query, table.c.id, ids)}


def is_visible(
    connection: Connection, context: Context, execution_id: str
) -> bool | None:
    """Whether the caller sees who has the id, which is taken once for all projects;
    None: nobody has it. One statement: it may be taken at this moment.
    """
    query = select(scope.visible(workflow_executions, context)).where(
        workflow_executions.c.id == execution_id
    )
    seen = connection.scalars(query).one_or_none()
    return None if seen is None else bool(seen)


def task(connection: Connection, context: Context, task_id: str) -> Row:
    """The columns ``TASK``, ``published`` with documents put back.

    :raises NotFound: unknown, or of another project.
    """
    query = select(*TASK).where(
        task_executions.c.id == task_id, scope.visible(task_executions, context)
    )
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no task execution {task_id!r}.")
    return with_documents(connection, [row], ("published",))[0]


def find_action(connection: Connection, action_id: str) -> Row | None:
    """Whose it is and what it belongs to, for who has shown that he may complete it."""
    table = action_executions.c
    query = select(table.id, table.project_id, table.workflow_execution_id)
    found = connection.execute(query.where(table.id == action_id))
    return found.mappings().first()


def action(connection: Connection, context: Context, action_id: str) -> Row:
    """The columns ``ACTION`` with documents put back.

    :raises NotFound: unknown, or of another project.
    """
    query = select(*ACTION).where(
        action_executions.c.id == action_id, scope.visible(action_executions, context)
    )
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no action execution {action_id!r}.")
    return with_documents(connection, [row], ("input", "output"))[0]


def has_action(connection: Connection, action_id: str) -> bool:
    """Whether anybody's action execution has the id."""
    query = select(action_executions.c.id).where(action_executions.c.id == action_id)
    return connection.scalars(query).one_or_none() is not None


def offered(connection: Connection, action_id: str) -> tuple[str, str] | None:
    """Name and namespace of what executors run for an action execution that is
    not over (of an ad-hoc action: its base)."""
    query = select(action_executions.c.internals).where(
        action_executions.c.id == action_id
    )
    internals = connection.execute(query).scalar_one_or_none() or {}
    call = internals.get("call")
    return (call["name"], call.get("namespace") or "") if call else None


# -- Documents ----------------------------------------------------------------


def _ref(value: Any) -> str | None:
    if isinstance(value, Mapping) and len(value) == 1:
        found = value.get("$ref")
        if isinstance(found, str):
            return found
    return None


def _refs(value: Any) -> Iterable[str]:
    whole = _ref(value)
    if whole is not None:
        yield whole
    elif isinstance(value, Mapping):
        for member in value.values():
            found = _ref(member)
            if found is not None:
                yield found


def _put_back(value: Any, bodies: Mapping[str, Any]) -> Any:
    whole = _ref(value)
    if whole is not None:
        return bodies.get(whole, value)
    if not isinstance(value, Mapping):
        return value
    # A value of the user's that only looks like a reference stays as it is.
    return {name: bodies.get(_ref(one) or "", one) for name, one in value.items()}


def with_documents(
    connection: Connection,
    rows: Sequence[Row],
    columns: Collection[str],
    run_column: str = "workflow_execution_id",
) -> list[dict[str, Any]]:
    """The rows, with references in ``columns`` replaced by their values.

    References stand for a whole column or for one of its top-level values.
    One query for all rows, none when nothing is referred to.

    :param run_column: name of the column with the run that owns the documents.
    """
    wanted: set[tuple[str, str]] = set()
    for row in rows:
        for name in columns:
            wanted.update(
                (row[run_column], document)
                for document in _refs(row.get(name))
                if row[run_column]
            )
    if not wanted:
        return [dict(row) for row in rows]
    bodies = _bodies(connection, wanted)
    return [
        {
            name: _put_back(value, bodies.get(row[run_column], {}))
            if name in columns
            else value
            for name, value in row.items()
        }
        for row in rows
    ]


def _bodies(
    connection: Connection, wanted: set[tuple[str, str]]
) -> dict[str, dict[str, Any]]:
    runs = sorted({run_id for run_id, _ in wanted})
    found: dict[str, dict[str, Any]] = {}
    ids = sorted({document for _, document in wanted})
    query = select(documents).where(documents.c.workflow_execution_id.in_(runs))
    for row in bulk.select_among(connection, query, documents.c.id, ids):
        owned = found.setdefault(row["workflow_execution_id"], {})
        owned[row["id"]] = row["body"]
    return found


# -- Computed parts -----------------------------------------------------------


def published_global_of_execution(
    connection: Connection, execution_id: str
) -> dict[str, Any]:
    """Globals published so far: the run's variables without the service's own
    and without the names declared under ``vars`` (spec/engine.md § 1.6.2)."""
    query = (
        select(
            workflow_executions.c.id,
            workflow_executions.c.context,
            frozen_specs.c.body,
        )
        .select_from(
            workflow_executions.outerjoin(
                frozen_specs, frozen_specs.c.id == workflow_executions.c.spec_id
            )
        )
        .where(workflow_executions.c.id == execution_id)
    )
    row = connection.execute(query).mappings().one()
    owned = {"id": execution_id, _GLOBALS: _globals(row["context"], row["body"])}
    (whole,) = with_documents(connection, [owned], (_GLOBALS,), "id")
    published: dict[str, Any] = whole[_GLOBALS]
    return published


def _globals(context: Mapping[str, Any] | None, spec: Any) -> dict[str, Any]:
    """Of a run's variables, by its definition."""
    hidden = _HIDDEN | set(_member(spec, "vars"))
    return {
        name: value for name, value in (context or {}).items() if name not in hidden
    }


def _member(body: Any, name: str) -> Mapping[str, Any]:
    value = body.get(name) if isinstance(body, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def is_with_items(connection: Connection, task_row: Row) -> bool:
    """Whether the task walks over items, also when it failed before the first:
    what it started says so, else the definition that the run keeps."""
    if "with_items" in (task_row["runtime_context"] or {}):
        return True
    query = (
        select(frozen_specs.c.body)
        .join(workflow_executions, workflow_executions.c.spec_id == frozen_specs.c.id)
        .where(workflow_executions.c.id == task_row["workflow_execution_id"])
    )
    body = connection.execute(query).scalar_one_or_none()
    spec = _member(_member(body, "tasks"), task_row["name"])
    return spec.get("with-items") is not None


def published_global_of_task(connection: Connection, task_row: Row) -> dict[str, Any]:
    """What the task published into the run's variables, as it was then (Q-57)."""
    query = select(task_executions.c.internals).where(
        task_executions.c.id == task_row["id"]
    )
    internals = connection.execute(query).scalar_one_or_none() or {}
    owned = {
        "run_id": task_row["workflow_execution_id"],
        "shown": internals.get("published_global") or {},
    }
    published: dict[str, Any] = with_documents(
        connection, [owned], ("shown",), "run_id"
    )[0]["shown"]
    return published


def task_result(connection: Connection, task_row: Row) -> Any:
    """The result of a task (spec/engine.md § 1.6.5): of its accepted children
    in order of items; a list for with-items, ``[]`` when there is none."""
    children = (
        _results_of_executions(connection, task_row["id"])
        if task_row["type"] == "WORKFLOW"
        else _results_of_actions(connection, task_row["id"])
    )
    if len(children) == 1 and not is_with_items(connection, task_row):
        return children[0]
    return children


def _results_of_actions(connection: Connection, task_id: str) -> list[Any]:
    table = action_executions
    query = (
        select(table.c.workflow_execution_id, table.c.output)
        .where(table.c.task_execution_id == task_id, table.c.accepted.is_(True))
        .order_by(table.c.item_index, table.c.created_at, table.c.id)
    )
    rows = with_documents(
        connection, connection.execute(query).mappings().all(), ("output",)
    )
    return [(row["output"] or {}).get("result") for row in rows]


def _results_of_executions(connection: Connection, task_id: str) -> list[Any]:
    table = workflow_executions
    query = (
        select(table.c.id, table.c.params, table.c.output)
        .where(table.c.task_execution_id == task_id, table.c.accepted.is_(True))
        .order_by(table.c.created_at, table.c.id)
    )
    rows = with_documents(
        connection, connection.execute(query).mappings().all(), ("output",), "id"
    )
    rows.sort(key=lambda row: (row["params"] or {}).get("index") or 0)
    return [row["output"] for row in rows]
