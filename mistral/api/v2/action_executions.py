"""``/v2/action_executions`` (spec/rest-api.md § 9.3).

An action can also be run outside of a workflow. Without ``save_result`` nothing
is stored: an engine validates the call, an executor runs it, the answer is
shown. Otherwise it is an ordinary action execution without a task.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mistral_lib.actions import Result

from mistral.api import listing
from mistral.api.listing import fields_parameter, list_route
from mistral.api.rest import Call, Resource, Route, parse_uuid
from mistral.api.shapes import Either, Sent, Shown
from mistral.api.types import Shaped
from mistral.api.v2.runs import (
    ACTION,
    ACTION_SHOWN,
    ACTIONS,
    ActionExecution,
    actions_page,
    asked_by,
    shape_action,
)
from mistral.db import executions, scope
from mistral.db.executions import Row
from mistral.db.maintenance import Status
from mistral.errors import (
    BadRequest,
    Bug,
    ExpressionFault,
    Forbidden,
    NotFound,
    Unavailable,
)
from mistral.expressions.evaluate import (
    Evaluator,
    ExpressionSettings,
    load_functions,
)
from mistral.expressions.facts import View
from mistral.messages import (
    CallAction,
    DeleteAction,
    RunAction,
    UpdateAction,
    decode,
)

COMPLETED: Final = frozenset({"SUCCESS", "ERROR", "CANCELLED"})
ALL: Final = replace(ACTIONS, everywhere="executions:list:all_projects")

STATES_TO_ASK_FOR: Final = ("SUCCESS", "ERROR", "CANCELLED", "PAUSED", "RUNNING")
UNKNOWN_ERROR: Final = "Unknown error"

POLL_SECONDS: Final = 0.05
"""Between two looks at a run that somebody waits for: a row is read by its
key, and most such runs end at once."""

GRACE_SECONDS: Final = 5.0
"""Added to an action's own time-out before the wait for it is given up."""


def finishes_work(call: Call, status: Status) -> bool:
    """What runs still may come to its end."""
    return status is Status.PAUSING


WHOLE: Final = replace(ACTION, selectable=False)
UNSAVED: Final = Shown(
    ActionExecution,
    "UnsavedActionExecution",
    but=("params",),
    null=("id", "project_id", "accepted", "created_at"),
)
RUN: Final = Sent(
    ActionExecution,
    "ActionRun",
    ("id", "name", "input", "params", "workflow_namespace", "description"),
    required=("name",),
    passed_over=True,
    example={"name": "std.echo", "input": {"output": "hello"}},
)
CHANGE: Final = Sent(
    ActionExecution,
    "ActionChange",
    ("state", "output"),
    required=("state",),
    passed_over=True,
    narrowed={"state": STATES_TO_ASK_FOR},
    example={"state": "SUCCESS", "output": {"answer": 42}},
)


class ActionExecutions(Resource):
    """Look at action executions, deliver results, run actions.

    :param wait: sleeps for seconds; between looks at a run that is waited for.
    """

    starts_actions = True
    routes = (
        list_route(ALL, "action_executions:list"),
        Route(
            "POST",
            "",
            "post",
            "action_executions:create",
            201,
            takes=RUN,
            answer=Either((WHOLE, UNSAVED)),
            refuses=(NotFound,),
        ),
        Route(
            "GET",
            "{id}",
            "get_one",
            "action_executions:get",
            query=(fields_parameter(ActionExecution.attributes()),),
            answer=ACTION,
        ),
        Route(
            "PUT",
            "{id}",
            "put",
            "action_executions:update",
            takes=CHANGE,
            answer=WHOLE,
            in_maintenance=finishes_work,
        ),
        Route("DELETE", "{id}", "delete", "action_executions:delete", 204),
    )

    def __init__(self, wait: Callable[[float], None] = time.sleep) -> None:
        self._wait = wait
        self._evaluator: Evaluator | None = None

    # -- Reads ----------------------------------------------------------------

    def get_all(self, call: Call) -> dict[str, Any]:
        """List action executions, those of tasks and others."""
        return actions_page(call, ALL)

    def get_one(self, call: Call, action_id: str) -> Shaped:
        """Show an action execution."""
        fields = listing.fields_of(call, ActionExecution.attributes())
        return shape_action(_read(call, action_id), fields)

    # -- Changes --------------------------------------------------------------

    def put(self, call: Call, action_id: str) -> Shaped:
        """Deliver the result of an action, or pause, resume or cancel it."""
        sent = call.sent()
        state = sent.get("state")
        if state not in STATES_TO_ASK_FOR:
            raise BadRequest(
                f"Error. Expected one of {list(STATES_TO_ASK_FOR)}, actual: {state}"
            )
        row = _read(call, action_id)
        scope.require_owner(row, call.context, f"Action execution {action_id!r}")
        if row["state"] in COMPLETED:
            raise BadRequest(_refusal(action_id, row["state"], state))
        delivered = post_processed(call, row, state, _delivered(state, sent))
        call.services.bus.call(
            UpdateAction(
                run_id=row["workflow_execution_id"] or "",
                action_id=action_id,
                **delivered,
                **asked_by(call),
            )
        )
        return shape_action(_read(call, action_id))

    def delete(self, call: Call, action_id: str) -> None:
        """Delete a completed action execution that belongs to no task."""
        row = _read(call, action_id)
        if not call.services.settings.api.allow_action_execution_deletion:
            raise Forbidden(
                "Action execution deletion is not allowed; see [api]"
                " allow_action_execution_deletion."
            )
        scope.require_owner(row, call.context, f"Action execution {action_id!r}")
        if row["task_execution_id"] is not None:
            raise Forbidden("Only ad-hoc action execution can be deleted.")
        if row["state"] not in COMPLETED:
            raise Forbidden(
                f"Only completed action execution can be deleted: {action_id} is in"
                f" {row['state']}."
            )
        call.services.bus.call(DeleteAction(action_id=action_id, **asked_by(call)))

    def _finished(self, call: Call, action_id: str, timeout: int | None) -> Row:
        """The row of a stored run that the caller waits for.

        :raises Unavailable: it did not end in time; it goes on all the same.
        """
        clock = call.services.clock
        patience = _patience(call, timeout)
        start = clock.monotonic()
        while (row := _read(call, action_id))["state"] not in COMPLETED:
            if clock.monotonic() - start >= patience:
                raise Unavailable(
                    f"Action execution {action_id} did not end within"
                    f" {patience:g} seconds; it goes on."
                )
            with call.services.gate.left():
                self._wait(POLL_SECONDS)
        return row

    def post(self, call: Call) -> Shaped:
        """Run an action outside of a workflow.

        An action that fails is no error: the state of the answer says so. An ``id``
        that the caller's project has used means that action execution.
        """
        sent = call.sent()
        request = _run_request(call, sent)
        if sent.get("id") and (row := _taken(call, request.action_id)) is not None:
            if request.sync:
                row = self._finished(call, request.action_id, request.timeout)
            return shape_action(row)
        answer = call.services.bus.call(request)
        if "id" in answer:
            if request.sync:
                return shape_action(self._finished(call, answer["id"], request.timeout))
            return shape_action(_read(call, answer["id"]))
        if "state" in answer:
            return _unsaved(request, answer["state"], answer["result"])
        done = _run_now(call, answer["call"], request.timeout)
        state, result = done["state"], done["result"]
        if state == "SUCCESS" and answer.get("outputs"):
            outputs = answer["outputs"]
            state, result = self._transformed(call, request.name, outputs, result)
        return _unsaved(request, state, result)

    def _transformed(
        self, call: Call, name: str, outputs: Sequence[Any], result: Any
    ) -> tuple[str, Any]:
        """State and result after the ``output`` of ad-hoc actions, innermost
        first (spec/engine.md § 8.11)."""
        if self._evaluator is None:
            self._evaluator = Evaluator(
                ExpressionSettings(**call.services.settings.expression_arguments()),
                load_functions(),
                call.services.clock.monotonic,
            )
        try:
            for tree in outputs:
                result = self._evaluator.evaluate(tree, View(result))
        except ExpressionFault as error:
            text = f"Failed to complete action [error={error.message}, action={name}]"
            return "ERROR", text
        return "SUCCESS", result


def _refusal(action_id: str, present: str, asked: str) -> str:
    """Why a completed action execution does not change (spec/engine.md § 1.2,
    § 1.5; Q-13)."""
    if asked in COMPLETED:
        return f"Action execution {action_id} is already completed [state={present}]."
    return f"Invalid state transition from {present} to {asked}."


def _read(call: Call, action_id: str) -> Row:
    with call.services.database.read() as connection:
        return executions.action(connection, call.context, action_id)


def _taken(call: Call, action_id: str) -> Row | None:
    """The action execution that has the id already; None: it is free.

    :raises NotFound: it is another project's.
    """
    with call.services.database.read() as connection:
        if executions.has_action(connection, action_id):
            return executions.action(connection, call.context, action_id)
    return None


# -- Delivering a result ------------------------------------------------------


def _delivered(state: str, sent: Mapping[str, Any]) -> Any:
    """What is kept as the result (spec/engine.md § 7.8)."""
    if state == "SUCCESS":
        return sent.get("output", {})
    if state == "ERROR":
        output = sent.get("output")
        empty = output is None or output in ({}, [], "")
        return UNKNOWN_ERROR if empty else output
    return None


def post_processed(call: Call, row: Row, state: str, result: Any) -> dict[str, Any]:
    """State, result and fault after the action's own descriptor has seen the
    result (spec/engine.md § 12.3): plug-ins run here, not in engines."""
    as_it_is = {"state": state, "result": result}
    if state not in ("SUCCESS", "ERROR"):
        return as_it_is
    with call.services.database.read() as connection:
        offered = executions.offered(connection, row["id"])
    if offered is None:
        return as_it_is
    name, namespace = offered
    given = Result(data=result) if state == "SUCCESS" else Result(error=result)
    try:
        made = call.services.registry.post_process(
            name, given, namespace, project_id=row["project_id"]
        )
        if made is given:
            return as_it_is
        found = made.error if made.is_error() else made.data
        found = json.loads(json.dumps(found))
    except Exception as error:
        text = f"Failed to complete action [error={error}, action={name}]"
        return {"state": "ERROR", "result": text, "fault": True}
    return {"state": "ERROR" if made.is_error() else "SUCCESS", "result": found}


# -- Running an action --------------------------------------------------------


def _run_request(call: Call, sent: Mapping[str, Any]) -> RunAction:
    """:raises BadRequest: no name, an id that is none or of a run that is not stored,
    or a time-out that is none."""
    if not sent.get("name"):
        raise BadRequest("Please provide at least action name to run action.")
    params = sent.get("params") or {}
    target = params.get("target") or None
    if target is not None and not isinstance(target, str):
        raise BadRequest("Expected text for params.target.")
    wanted_id = sent.get("id") or None
    if wanted_id is not None:
        wanted_id = parse_uuid(wanted_id, "id")
        if not params.get("save_result"):
            raise BadRequest(
                "Expected params.save_result with an id: a run of which nothing is"
                " stored cannot be found again."
            )
    return RunAction(
        action_id=wanted_id or call.services.new_id(),
        name=sent["name"],
        input=sent.get("input") or {},
        namespace=sent.get("workflow_namespace") or "",
        description=sent.get("description") or "",
        save=bool(params.get("save_result")),
        sync=bool(params.get("run_sync")),
        target=target,
        timeout=_timeout(params.get("timeout")),
        **asked_by(call),
    )


def _timeout(value: Any) -> int | None:
    if value in (None, "", 0):
        return None
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise BadRequest("Expected a positive number of seconds for params.timeout.")
    return value


def _patience(call: Call, timeout: int | None) -> float:
    """Seconds that the caller is kept waiting at most."""
    limit = float(call.services.settings.messaging.rpc_response_timeout)
    return limit if timeout is None else min(limit, timeout + GRACE_SECONDS)


def _run_now(
    call: Call, encoded: Mapping[str, Any], timeout: int | None
) -> Mapping[str, Any]:
    """``{"state", "result"}`` from an executor; nothing is stored.

    :raises Unavailable: no executor answered in time.
    """
    message = decode(encoded)
    if not isinstance(message, CallAction):
        raise Bug(f"Expected a CallAction, found {type(message).__name__}")
    answer: Mapping[str, Any] = call.services.bus.call(
        message, timeout=_patience(call, timeout), target=message.target
    )
    return answer


def _unsaved(request: RunAction, state: str, result: Any) -> Shaped:
    """A run of which nothing was stored (§ 9.3): no id, no dates."""
    return shape_action(
        {
            **dict.fromkeys(ACTION_SHOWN),
            "name": request.name,
            "workflow_namespace": request.namespace,
            "description": request.description or None,
            "state": state,
            "input": dict(request.input),
            "output": {"result": result},
        }
    )
