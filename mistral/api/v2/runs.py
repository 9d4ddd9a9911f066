"""The resources of what runs: their types, how a row is shown, their lists.

``executions.py``, ``tasks.py`` and ``action_executions.py`` show each other's
resources below their own paths; what they share stands here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Table

from mistral.api import listing
from mistral.api.auth import as_kept
from mistral.api.listing import ListOf
from mistral.api.parameters import ERRORS_ONLY, INCLUDE_OUTPUT, MAX_DEPTH
from mistral.api.rest import Call, is_uuid, parse_uuid
from mistral.api.shapes import Shown, Together
from mistral.api.types import (
    AnyJsonText,
    Attribute,
    Boolean,
    Date,
    JsonText,
    ResourceType,
    Result,
    Shaped,
    Tags,
    Text,
    Uuid,
    WordType,
    nullable,
)
from mistral.db import executions
from mistral.db.executions import Row
from mistral.db.listing import Kind, Query, items_of
from mistral.db.models import (
    action_executions,
    task_executions,
    workflow_executions,
)
from mistral.errors import BadRequest, NotFound
from mistral.messages import State
from mistral.publisher_entries import shown

WORKFLOW_STATES: Final = (
    State.IDLE,
    State.RUNNING,
    State.PAUSED,
    State.SUCCESS,
    State.ERROR,
    State.CANCELLED,
)
ACTION_STATES: Final = tuple(s for s in WORKFLOW_STATES if s is not State.IDLE)


class Execution(ResourceType):
    """§ 9.1.1; ``source_execution_id`` in requests only."""

    id = Attribute(
        Text,
        "A client may choose it at the start (a UUID is best): a start with an id that"
        " is taken means that execution.",
    )
    workflow_id = nullable(Uuid, "At the start a name is taken, too.")
    workflow_name = Attribute(Text, "At the start a UUID is taken, too.")
    workflow_namespace = Attribute(Text, "Namespace of the definition that was found.")
    description = nullable(Text)
    tags = Attribute(Tags, "Of the definition.")
    params = Attribute(
        JsonText,
        "`env` (variables, or the name of an environment), `evaluate_env`, `task_name`"
        " (target of a reverse workflow), `namespace` (of sub-workflows and actions), "
        "`notify` (publishers), `priority`, `start-at` (an ISO 8601 time with a zone)"
        " or `start-after` (seconds, or an ISO 8601 duration) for a start that waits in"
        " the state IDLE, and whatever else.",
    )
    task_execution_id = nullable(Uuid, "Task whose sub-workflow it is; null of a root.")
    root_execution_id = nullable(Text, "Uppermost execution; null of a root.")
    source_execution_id = Attribute(
        Text, "Start a new run that is modelled on this execution."
    )
    state = WordType(*WORKFLOW_STATES)
    state_info = nullable(Text, "Why it is in this state.")
    input = Attribute(JsonText, "With the defaults of the definition.")
    output = Attribute(JsonText, "On failure with the reason in `result`.")
    created_at = Date
    updated_at = nullable(Date)
    project_id = Attribute(Text, "Project that it belongs to.", readonly=True)
    published_global = Attribute(
        JsonText, "Global variables that were published so far."
    )


class TaskExecution(ResourceType):
    """§ 9.2; ``reset`` and ``env`` in requests only."""

    id = Uuid
    name = Text
    type = Attribute(
        WordType("ACTION", "WORKFLOW"), "Whether it runs an action or a workflow."
    )
    workflow_name = Text
    workflow_namespace = Text
    workflow_id = nullable(Uuid)
    workflow_execution_id = Attribute(Text, "Execution that it belongs to.")
    tags = Tags
    state = WordType(*State)
    state_info = nullable(Text, "Why it is in this state.")
    project_id = Attribute(Text, "Project that it belongs to.", readonly=True)
    runtime_context = Attribute(
        JsonText, "What policies keep of it, and what triggered it."
    )
    result = Attribute(
        Result, "Of the accepted action or sub-workflow; a list for with-items."
    )
    published = Attribute(JsonText, "Variables of the branch.")
    published_global = Attribute(JsonText, "Global variables that it published.")
    processed = Attribute(Boolean, "Whether what follows from it was decided.")
    created_at = Date
    updated_at = nullable(Date)
    started_at = nullable(Date)
    finished_at = nullable(Date)
    reset = Attribute(
        Boolean, "Of a rerun: run all items again, or those alone that failed."
    )
    env = Attribute(
        JsonText, "Of a rerun or skip: merged into `params.env` of the execution."
    )


class ActionExecution(ResourceType):
    """§ 9.3; ``params`` in requests only; any JSON value is an output (Q-62)."""

    id = Attribute(
        Uuid,
        "Null of a run of which nothing was stored. A client may choose it for a run"
        " with `save_result`: a run with an id that is taken means that one.",
    )
    name = Attribute(Text, "Name of the action.")
    workflow_name = nullable(Text, "Null where it belongs to no task.")
    workflow_namespace = Text
    task_execution_id = nullable(Uuid)
    task_name = nullable(Text)
    state = WordType(*ACTION_STATES)
    state_info = nullable(Text)
    tags = nullable(Tags)
    description = nullable(Text, "Of a run outside of a workflow.")
    project_id = Attribute(Text, "Project that it belongs to.", readonly=True)
    accepted = Attribute(Boolean, "Whether its result counts for the task.")
    input = JsonText
    output = nullable(AnyJsonText, "The result in `result`.")
    params = Attribute(
        JsonText,
        "`save_result` (store the run), `run_sync` (wait for the result), `target` "
        "(executors of a host), `timeout` (seconds).",
    )
    created_at = Date
    updated_at = nullable(Date)


def _but(cls: type[ResourceType], *left_out: str) -> tuple[str, ...]:
    return tuple(name for name in cls.attributes() if name not in left_out)


# Of ``fields`` all attributes are known; what is in requests only is never there.
EXECUTION_SHOWN: Final = _but(Execution, "source_execution_id")
TASK_SHOWN: Final = _but(TaskExecution, "reset", "env")
ACTION_SHOWN: Final = _but(ActionExecution, "params")

EXECUTION_LARGE: Final = ("input", "params", "output")
ACTION_LARGE: Final = ("input", "output")

_LISTED: Final = Shown(
    Execution,
    "ListedExecution",
    but=("source_execution_id", "published_global"),
    maybe=("output",),
    selectable=True,
)
BELOW: Final = Together("executions", replace(_LISTED, selectable=False))

EXECUTIONS: Final = ListOf(
    "executions",
    executions.EXECUTIONS,
    _LISTED,
    Execution.attributes(),
    extra=(INCLUDE_OUTPUT,),
    any_marker=True,
)
TASKS: Final = ListOf(
    "tasks",
    executions.TASKS,
    Shown(
        TaskExecution,
        "ListedTask",
        but=("result", "published_global", "reset", "env"),
        selectable=True,
    ),
    TaskExecution.attributes(),
)
ACTIONS: Final = ListOf(
    "action_executions",
    executions.ACTIONS,
    Shown(
        ActionExecution,
        "ListedActionExecution",
        but=("params",),
        maybe=("output",),
        selectable=True,
    ),
    ActionExecution.attributes(),
    extra=(INCLUDE_OUTPUT,),
)

ACTION: Final = Shown(ActionExecution, but=("params",), selectable=True)

BELOW_QUERY: Final = (MAX_DEPTH, ERRORS_ONLY, INCLUDE_OUTPUT)

_Shown = Collection[str] | None


def shape_execution(row: Mapping[str, Any], fields: _Shown = None) -> Shaped:
    """The resource of a row; columns that were not read are absent."""
    values = dict(row)
    values["tags"] = row.get("tags") or []
    for name in EXECUTION_LARGE:
        if name in row:
            values[name] = row[name] or {}
    if "params" in values:
        values["params"] = shown(values["params"])
    return Execution.shape(values, EXECUTION_SHOWN if fields is None else fields)


def shape_task(row: Mapping[str, Any], fields: _Shown = None) -> Shaped:
    """The resource of a row, with ``result`` if it was put into it."""
    values = dict(row)
    values["tags"] = row.get("tags") or []
    # the dashboard reads both as JSON, also of a task that has published nothing
    for name in {"runtime_context", "published"} & row.keys():
        values[name] = row[name] or {}
    return TaskExecution.shape(values, TASK_SHOWN if fields is None else fields)


def shape_action(row: Mapping[str, Any], fields: _Shown = None) -> Shaped:
    """The resource of a row."""
    values = dict(row)
    if "input" in row:
        values["input"] = row["input"] or {}
    return ActionExecution.shape(values, ACTION_SHOWN if fields is None else fields)


# -- Requests -----------------------------------------------------------------


def asked_by(call: Call) -> dict[str, Any]:
    """What every request to an engine carries."""
    services = call.services
    return {
        "request_id": services.new_id(),
        "context": as_kept(call.context, services.keyring),
    }


def below_arguments(call: Call) -> dict[str, Any]:
    """Parameters of the sub-execution calls (§ 9.1.8)."""
    return {known.name: known.of(call.query) for known in BELOW_QUERY}


def below_body(rows: Iterable[Row], *, include_output: bool) -> dict[str, Any]:
    """The flat list, in the order of the rows."""
    hidden = {"published_global"} | (set() if include_output else {"output"})
    fields = [name for name in EXECUTION_SHOWN if name not in hidden]
    return {"executions": [shape_execution(row, fields) for row in rows]}


# -- Lists --------------------------------------------------------------------


def executions_page(
    call: Call,
    asked: ListOf,
    *where: Any,
    path_filters: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """A list of executions; ``output`` only if it is asked for."""
    query = listing.ask(call, asked)
    names = query.fields or _without_output(call, EXECUTION_SHOWN)
    seen = listing.seen(call, workflow_executions, asked)
    with call.services.database.read() as connection:
        _require_runs(connection, call, asked, query)
        try:
            rows = asked.listing.page(connection, query, seen, *where, names=names)
        except NotFound:
            # An id may have any shape, yet what is no id at all is a
            # wrong request.
            parse_uuid(query.marker or "", "'marker'")
            raise
        whole = executions.with_documents(connection, rows, EXECUTION_LARGE, "id")
    shaped = [shape_execution(row, names) for row in whole]
    return listing.envelope(call, asked, query, shaped, path_filters=path_filters)


def tasks_page(
    call: Call,
    asked: ListOf,
    *where: Any,
    path_filters: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """A list of tasks, without what has to be computed."""
    query = listing.ask(call, asked)
    names = query.fields or TASK_SHOWN
    rows = _rows(
        call,
        asked,
        query,
        task_executions,
        (*names, "workflow_execution_id"),
        ("published",),
        where,
    )
    shaped = [shape_task(row, names) for row in rows]
    return listing.envelope(call, asked, query, shaped, path_filters=path_filters)


def actions_page(
    call: Call,
    asked: ListOf,
    *where: Any,
    path_filters: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """A list of action executions; ``output`` only if it is asked for."""
    query = listing.ask(call, asked)
    names = query.fields or _without_output(call, ACTION_SHOWN)
    rows = _rows(
        call,
        asked,
        query,
        action_executions,
        (*names, "workflow_execution_id"),
        ACTION_LARGE,
        where,
    )
    shaped = [shape_action(row, names) for row in rows]
    return listing.envelope(call, asked, query, shaped, path_filters=path_filters)


def _require_runs(
    connection: Connection, call: Call, asked: ListOf, query: Query
) -> None:
    """An execution's id may have any shape (Q-49); what has none that is common and
    is nobody's either is a mistake.

    :raises BadRequest: naming the filter.
    """
    for condition in query.conditions:
        if asked.listing.filters[condition.name] is not Kind.RUN:
            continue
        for value in items_of(condition.value) or [""]:
            if is_uuid(value):
                continue
            if not executions.sees_execution(connection, call.context, value):
                raise BadRequest(
                    f"The filter '{condition.name}' needs a UUID, or the id of an"
                    f" execution; found '{value}'."
                )


def _without_output(call: Call, names: Sequence[str]) -> tuple[str, ...]:
    wanted = INCLUDE_OUTPUT.of(call.query)
    return tuple(name for name in names if wanted or name != "output")


_FINER: Final = {
    task_executions.name: "seq",
    action_executions.name: "item_index",
}
"""What is made in one turn has one ``created_at``: the order within (Q-17)."""


def _rows(
    call: Call,
    asked: ListOf,
    query: Query,
    table: Table,
    names: Collection[str],
    large: Collection[str],
    where: Collection[Any],
) -> list[dict[str, Any]]:
    sort = dict(query.sort)
    finer = _FINER[table.name]
    if "created_at" in sort and finer not in sort:
        sort = {}
        for name, ascending in query.sort:
            sort[name] = ascending
            if name == "created_at":
                sort[finer] = ascending
    query = replace(query, sort=tuple(sort.items()))
    seen = listing.seen(call, table, asked)
    with call.services.database.read() as connection:
        _require_runs(connection, call, asked, query)
        rows = asked.listing.page(connection, query, seen, *where, names=names)
        return executions.with_documents(connection, rows, large)
