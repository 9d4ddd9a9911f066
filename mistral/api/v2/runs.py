"""The resources of what runs: their types, how a row is shown, their lists.

``executions.py``, ``tasks.py`` and ``action_executions.py`` show each other's
resources below their own paths; what they share stands here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import wsme.types as wtypes
from sqlalchemy import Table

from mistral.api import listing
from mistral.api.rest import Call, parse_uuid
from mistral.api.types import (
    AnyJsonText,
    Date,
    JsonText,
    ResourceType,
    Tags,
    Text,
)
from mistral.db import executions, scope
from mistral.db.executions import Row
from mistral.db.listing import Listing, Query
from mistral.db.models import (
    action_executions,
    task_executions,
    workflow_executions,
)
from mistral.errors import BadRequest, NotFound


class Execution(ResourceType):
    """§ 9.1.1; ``source_execution_id`` in requests only."""

    id = Text
    workflow_id = Text
    workflow_name = Text
    workflow_namespace = Text
    description = Text
    tags = Tags
    params = JsonText
    task_execution_id = Text
    root_execution_id = Text
    source_execution_id = Text
    state = Text
    state_info = Text
    input = JsonText
    output = JsonText
    created_at = Date
    updated_at = Date
    project_id = wtypes.wsattr(Text, readonly=True)
    published_global = JsonText


class TaskExecution(ResourceType):
    """§ 9.2; ``reset`` and ``env`` in requests only."""

    id = Text
    name = Text
    type = Text
    workflow_name = Text
    workflow_namespace = Text
    workflow_id = Text
    workflow_execution_id = Text
    tags = Tags
    state = Text
    state_info = Text
    project_id = wtypes.wsattr(Text, readonly=True)
    runtime_context = JsonText
    result = AnyJsonText
    published = JsonText
    published_global = JsonText
    processed = bool
    created_at = Date
    updated_at = Date
    started_at = Date
    finished_at = Date
    reset = bool
    env = JsonText


class ActionExecution(ResourceType):
    """§ 9.3; ``params`` in requests only; any JSON value is an output (Q-62)."""

    id = Text
    name = Text
    workflow_name = Text
    workflow_namespace = Text
    task_execution_id = Text
    task_name = Text
    state = Text
    state_info = Text
    tags = Tags
    description = Text
    project_id = wtypes.wsattr(Text, readonly=True)
    accepted = bool
    input = JsonText
    output = AnyJsonText
    params = JsonText
    created_at = Date
    updated_at = Date


def _but(cls: type[ResourceType], *left_out: str) -> tuple[str, ...]:
    return tuple(name for name in cls.attributes() if name not in left_out)


EXECUTION_SHOWN: Final = _but(Execution, "source_execution_id")
TASK_SHOWN: Final = _but(TaskExecution, "reset", "env")
ACTION_SHOWN: Final = _but(ActionExecution, "params")

EXECUTION_LARGE: Final = ("input", "params", "output")
ACTION_LARGE: Final = ("input", "output")

_Shown = Collection[str] | None


def shape_execution(row: Mapping[str, Any], fields: _Shown = None) -> Execution:
    """The resource of a row; columns that were not read are absent."""
    values = dict(row)
    values["tags"] = row.get("tags") or []
    if "output" in row:
        values["output"] = row["output"] or {}
    return Execution.shape(values, EXECUTION_SHOWN if fields is None else fields)


def shape_task(row: Mapping[str, Any], fields: _Shown = None) -> TaskExecution:
    """The resource of a row, with ``result`` if it was put into it."""
    values = dict(row)
    values["tags"] = row.get("tags") or []
    if "runtime_context" in row:
        values["runtime_context"] = row["runtime_context"] or {}
    return TaskExecution.shape(values, TASK_SHOWN if fields is None else fields)


def shape_action(row: Mapping[str, Any], fields: _Shown = None) -> ActionExecution:
    """The resource of a row."""
    return ActionExecution.shape(row, ACTION_SHOWN if fields is None else fields)


# -- Requests -----------------------------------------------------------------


def asked_by(call: Call) -> dict[str, Any]:
    """What every request to an engine carries."""
    return {"request_id": call.services.new_id(), "context": known_of(call)}


def known_of(call: Call) -> dict[str, Any]:
    """The caller, as engines keep them with what they start: the token sealed, for
    executors alone (SEC-07, SEC-09).

    :raises BadRequest: there are secrets, and no key to seal them.
    """
    known, secrets = call.context.to_dict(), call.context.secrets()
    keyring = call.services.keyring
    if secrets and keyring is None:
        raise BadRequest("Secrets cannot be kept: [engine] secret_key is not set.")
    if secrets:
        known["sealed"] = keyring.seal(secrets, call.context.project_id)
    return known


def depth_of(call: Call) -> int:
    """``max_depth``; negative, and the default: all levels.

    :raises BadRequest: not a number.
    """
    text = call.query.get("max_depth") or "-1"
    try:
        return int(text)
    except ValueError:
        message = f"Expected a number for 'max_depth', found '{text}'."
        raise BadRequest(message) from None


def below_arguments(call: Call) -> dict[str, Any]:
    """Parameters of the sub-execution calls (§ 9.1.8)."""
    return {
        "max_depth": depth_of(call),
        "errors_only": call.flag("errors_only"),
        "include_output": call.flag("include_output"),
    }


def below_body(rows: Iterable[Row], *, include_output: bool) -> dict[str, Any]:
    """The flat list, in the order of the rows."""
    hidden = {"published_global"} | (set() if include_output else {"output"})
    fields = [name for name in EXECUTION_SHOWN if name not in hidden]
    return {"executions": [shape_execution(row, fields) for row in rows]}


# -- Lists --------------------------------------------------------------------


def executions_page(
    call: Call,
    asked_of: Listing,
    extra: Collection[str],
    *where: Any,
    path_filters: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """A list of executions; ``output`` only if it is asked for."""
    query = listing.ask(call, asked_of, EXECUTION_SHOWN, extra=extra, any_marker=True)
    names = query.fields or _without_output(call, EXECUTION_SHOWN)
    with call.services.database.read() as connection:
        seen = scope.visible(workflow_executions, call.context)
        try:
            rows = asked_of.page(connection, query, seen, *where, names=names)
        except NotFound:
            # An id may have any shape, yet what is no id at all is a
            # wrong request.
            parse_uuid(query.marker or "", "'marker'")
            raise
        whole = executions.with_documents(connection, rows, EXECUTION_LARGE, "id")
    shaped = [shape_execution(row, names) for row in whole]
    return listing.envelope(
        call, "executions", query, shaped, path_filters=path_filters
    )


def tasks_page(
    call: Call,
    asked_of: Listing,
    *where: Any,
    path_filters: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """A list of tasks, without what has to be computed."""
    query = listing.ask(call, asked_of, TASK_SHOWN)
    names = query.fields or TASK_SHOWN
    rows = _rows(
        call,
        asked_of,
        query,
        task_executions,
        (*names, "workflow_execution_id"),
        ("published",),
        where,
    )
    shaped = [shape_task(row, names) for row in rows]
    return listing.envelope(call, "tasks", query, shaped, path_filters=path_filters)


def actions_page(
    call: Call,
    asked_of: Listing,
    *where: Any,
    path_filters: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """A list of action executions; ``output`` only if it is asked for."""
    extra = ("include_output",)
    query = listing.ask(call, asked_of, ACTION_SHOWN, extra=extra)
    names = query.fields or _without_output(call, ACTION_SHOWN)
    rows = _rows(
        call,
        asked_of,
        query,
        action_executions,
        (*names, "workflow_execution_id"),
        ACTION_LARGE,
        where,
    )
    shaped = [shape_action(row, names) for row in rows]
    return listing.envelope(
        call, "action_executions", query, shaped, path_filters=path_filters
    )


def _without_output(call: Call, names: Sequence[str]) -> tuple[str, ...]:
    wanted = call.flag("include_output")
    return tuple(name for name in names if wanted or name != "output")


_FINER: Final = {
    task_executions.name: "seq",
    action_executions.name: "item_index",
}
"""What is made in one turn has one ``created_at``: the order within (Q-17)."""


def _rows(
    call: Call,
    asked_of: Listing,
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
    with call.services.database.read() as connection:
        seen = scope.visible(table, call.context)
        rows = asked_of.page(connection, query, seen, *where, names=names)
        return executions.with_documents(connection, rows, large)
