"""``/v2/tasks`` (spec/rest-api.md § 9.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from mistral.api import listing
from mistral.api.listing import fields_parameter, list_route
from mistral.api.rest import Call, Resource, Route, parse_uuid
from mistral.api.shapes import Sent, Shown
from mistral.api.types import Shaped
from mistral.api.v2.runs import (
    ACTION,
    ACTIONS,
    BELOW,
    BELOW_QUERY,
    EXECUTIONS,
    TASK_SHOWN,
    TASKS,
    ActionExecution,
    TaskExecution,
    actions_page,
    asked_by,
    below_arguments,
    below_body,
    executions_page,
    shape_action,
    shape_task,
    tasks_page,
)
from mistral.db import execution_trees, executions, scope
from mistral.db.executions import Row
from mistral.db.models import action_executions, workflow_executions
from mistral.errors import BadRequest, Forbidden, NotFound
from mistral.messages import Request, RerunTask, SkipTask

STATES_TO_ASK_FOR: Final = ("RUNNING", "SKIPPED")

_PUBLISHED: Final = frozenset({"SUCCESS", "ERROR"})
_ENV_STATES: Final = frozenset({"IDLE", "PAUSED", "ERROR"})


ALL: Final = replace(TASKS, everywhere="executions:list:all_projects")
ACTIONS_OF_TASK: Final = replace(ACTIONS, listing=executions.ACTIONS_OF_TASK)
EXECUTIONS_OF_TASK: Final = replace(EXECUTIONS, listing=executions.EXECUTIONS_OF_TASK)

SHOWN: Final = Shown(
    TaskExecution,
    but=("reset", "env"),
    maybe=("published_global",),
    selectable=True,
)
CHANGE: Final = Sent(
    TaskExecution,
    "TaskChange",
    ("state", "reset", "env", "name", "workflow_name"),
    required=("state",),
    passed_over=True,
    narrowed={"state": STATES_TO_ASK_FOR},
    example={"state": "RUNNING", "reset": True},
)


class Tasks(Resource):
    """Look at tasks; rerun or skip those that failed."""

    starts_actions = True
    routes = (
        list_route(ALL, "tasks:list"),
        Route(
            "GET",
            "{id}",
            "get_one",
            "tasks:get",
            query=(fields_parameter(TaskExecution.attributes()),),
            answer=SHOWN,
        ),
        Route(
            "PUT",
            "{id}",
            "put",
            "tasks:update",
            takes=CHANGE,
            answer=Shown(
                TaskExecution, "ChangedTask", but=("published_global", "reset", "env")
            ),
        ),
        list_route(
            ACTIONS_OF_TASK,
            "action_executions:list",
            "{id}/action_executions",
            "get_actions",
        ),
        Route(
            "GET",
            "{id}/action_executions/{action_id}",
            "get_action",
            "action_executions:get",
            query=(fields_parameter(ActionExecution.attributes()),),
            answer=ACTION,
        ),
        list_route(
            EXECUTIONS_OF_TASK,
            "executions:list",
            "{id}/workflow_executions",
            "get_executions",
        ),
        Route(
            "GET",
            "{id}/executions",
            "get_below",
            "executions:get",
            query=BELOW_QUERY,
            answer=BELOW,
        ),
    )

    # -- Reads ----------------------------------------------------------------

    def get_all(self, call: Call) -> dict[str, Any]:
        """List tasks of all executions."""
        return tasks_page(call, ALL)

    def get_one(self, call: Call, task_id: str) -> Shaped:
        """Show a task with its result."""
        fields = listing.fields_of(call, TaskExecution.attributes())
        with call.services.database.read() as connection:
            row = executions.task(connection, call.context, task_id)
            return shape_task(_completed(connection, row, fields), fields)

    def get_actions(self, call: Call, task_id: str) -> dict[str, Any]:
        """List the action executions of a task."""
        parse_uuid(task_id, "the id of a task")
        return actions_page(
            call,
            ACTIONS_OF_TASK,
            action_executions.c.task_execution_id == task_id,
            path_filters=(("task_execution_id", task_id),),
        )

    def get_action(self, call: Call, task_id: str, action_id: str) -> Shaped:
        """Show an action execution of a task."""
        fields = listing.fields_of(call, ActionExecution.attributes())
        with call.services.database.read() as connection:
            row = executions.action(connection, call.context, action_id)
        if row["task_execution_id"] != task_id:
            raise NotFound(
                f"There is no action execution {action_id!r} of task {task_id!r}."
            )
        return shape_action(row, fields)

    def get_executions(self, call: Call, task_id: str) -> dict[str, Any]:
        """List the sub-workflows that a task started."""
        parse_uuid(task_id, "the id of a task")
        return executions_page(
            call,
            EXECUTIONS_OF_TASK,
            workflow_executions.c.task_execution_id == task_id,
            path_filters=(("task_execution_id", task_id),),
        )

    def get_below(self, call: Call, task_id: str) -> dict[str, Any]:
        """List the sub-workflows that a task started and all below, depth first."""
        asked = below_arguments(call)
        parse_uuid(task_id, "the id of a task")
        with call.services.database.read() as connection:
            row = executions.task(connection, call.context, task_id)
            rows = execution_trees.below_task(connection, row, **asked)
        return below_body(rows, include_output=asked["include_output"])

    # -- Changes --------------------------------------------------------------

    def put(self, call: Call, task_id: str) -> Shaped:
        """Rerun or skip a task that failed."""
        sent = call.sent()
        with call.services.database.read() as connection:
            row = executions.task(connection, call.context, task_id)
            scope.require_owner(row, call.context, f"Task execution {task_id!r}")
            change = _change(connection, call, row, sent)
        call.services.bus.call(change)
        with call.services.database.read() as connection:
            row = executions.task(connection, call.context, task_id)
            shown = [name for name in TASK_SHOWN if name != "published_global"]
            return shape_task(_completed(connection, row, shown), shown)


def _completed(
    connection: Connection, row: Row, fields: Collection[str] | None
) -> dict[str, Any]:
    """The row and those computed attributes that are asked for."""
    values = dict(row)
    if fields is None or "result" in fields:
        values["result"] = executions.task_result(connection, row)
    wanted = fields is None or "published_global" in fields
    if wanted and row["state"] in _PUBLISHED:
        published = executions.published_global_of_task(connection, row)
        if published:
            values["published_global"] = published
    return values


def _change(
    connection: Connection, call: Call, row: Row, sent: Mapping[str, Any]
) -> Request:
    """The request that a PUT means, checked in the order of § 7.6.

    :raises BadRequest, Forbidden: it cannot be done.
    """
    state = sent.get("state")
    env = sent.get("env") or None
    if sent.get("name") not in (None, "", row["name"]):
        raise BadRequest("Task name does not match.")
    if sent.get("workflow_name") not in (None, "", row["workflow_name"]):
        raise BadRequest("Workflow name does not match.")
    if state not in STATES_TO_ASK_FOR:
        allowed = ", ".join(STATES_TO_ASK_FOR)
        raise BadRequest(
            f"Cannot change state to {state}. Allowed states are: {allowed}."
        )
    if row["state"] != "ERROR":
        raise BadRequest(
            "The current task execution must be in ERROR for rerun or skip; it is in"
            f" {row['state']}."
        )
    reset = bool(sent.get("reset"))
    if state == "RUNNING":
        if sent.get("reset") is None:
            raise BadRequest("Reset field is mandatory to rerun task.")
        if not reset and not executions.is_with_items(connection, row):
            raise BadRequest("Only with-items task has the option to not reset.")
    run_id = row["workflow_execution_id"]
    _check_execution(connection, call, run_id, env is not None)
    if state == "SKIPPED":
        return SkipTask(run_id=run_id, task_id=row["id"], env=env, **asked_by(call))
    return RerunTask(
        run_id=run_id, task_id=row["id"], reset=reset, env=env, **asked_by(call)
    )


def _check_execution(
    connection: Connection, call: Call, run_id: str, with_env: bool
) -> None:
    run = executions.execution(connection, call.context, run_id)
    if with_env and run["state"] not in _ENV_STATES:
        raise Forbidden(
            "Updating env to workflow execution is only permitted if it is in IDLE,"
            " PAUSED, or ERROR state."
        )
    if run["state"] == "PAUSED":
        raise BadRequest(
            f"Execution {run_id} is paused; resume it before a task is rerun or"
            " skipped."
        )
    if run["state"] == "SUCCESS":
        raise BadRequest(
            "Can't change workflow execution state from SUCCESS to RUNNING."
            f" [workflow={run['workflow_name']}, execution_id={run_id}]"
        )
