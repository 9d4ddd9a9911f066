"""What ``PUT /v2/executions/{id}`` means (spec/rest-api.md § 9.1.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mistral.api.rest import Call
from mistral.api.shapes import Sent
from mistral.api.v2.runs import Execution, asked_by
from mistral.db import executions
from mistral.db.executions import Row
from mistral.errors import BadRequest, Forbidden
from mistral.messages import (
    PauseWorkflow,
    Request,
    ResumeWorkflow,
    StopWorkflow,
    UpdateWorkflow,
)

STATES_TO_ASK_FOR: Final = ("RUNNING", "PAUSED", "SUCCESS", "ERROR", "CANCELLED")

REFUSED: Final[Mapping[str, frozenset[str]]] = {
    "PAUSED": frozenset({"IDLE", "SUCCESS", "ERROR", "CANCELLED"}),
    "SUCCESS": frozenset({"IDLE", "PAUSED", "ERROR", "CANCELLED"}),
}
"""Requested state → present states from which it is refused (§ 9.1.4)."""

_ENV_STATES: Final = frozenset({"IDLE", "PAUSED", "ERROR"})

CHANGE: Final = Sent(
    Execution,
    "ExecutionChange",
    ("state", "state_info", "description", "params"),
    passed_over=True,
    narrowed={"state": STATES_TO_ASK_FOR},
    example={"state": "PAUSED"},
)


def env_of(sent: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """``params.env``; empty counts as absent.

    :raises BadRequest: it is not an object.
    """
    env = (sent.get("params") or {}).get("env") or None
    if env is not None and not isinstance(env, Mapping):
        raise BadRequest("Expected an object for params.env.")
    return env


def change_request(call: Call, row: Row, sent: Mapping[str, Any]) -> Request | None:
    """The request that a PUT means; None: nothing changes (§ 9.1.4).

    :raises BadRequest, Forbidden: what the present state does not allow.
    """
    state = sent.get("state") or None
    description = sent.get("description") or None
    env = env_of(sent)
    if state is None and description is None and env is None:
        raise BadRequest(
            "Nothing to change: expected state, description or params.env."
        )
    if state is not None and description is not None:
        raise BadRequest("State and description can't be changed together.")
    if state is not None and state != "RUNNING" and env is not None:
        raise BadRequest("The env can be changed with the state RUNNING only.")
    if state is None:
        if env is not None and row["state"] not in _ENV_STATES:
            raise Forbidden(
                "Updating env to workflow execution is only permitted if it is in"
                " IDLE, PAUSED, or ERROR state."
            )
        return UpdateWorkflow(
            run_id=row["id"], description=description, env=env, **asked_by(call)
        )
    return _state_change(call, row, state, sent.get("state_info") or None, env)


def _state_change(
    call: Call,
    row: Row,
    state: str,
    reason: str | None,
    env: Mapping[str, Any] | None,
) -> Request | None:
    if state not in STATES_TO_ASK_FOR:
        raise BadRequest(
            f"Cannot change state to {state}. Allowed states are:"
            f" {', '.join(STATES_TO_ASK_FOR)}."
        )
    if row["state"] in REFUSED.get(state, ()):
        raise BadRequest(
            f"Can't change workflow execution state from {row['state']} to {state}."
            f" [workflow={row['workflow_name']}, execution_id={row['id']}]"
        )
    if row["state"] in executions.FINISHED and state != "SUCCESS":
        # Scripts cancel what is over already and expect no error.
        return None
    if state == "RUNNING":
        return ResumeWorkflow(run_id=row["id"], env=env, **asked_by(call))
    if state == "PAUSED":
        return PauseWorkflow(run_id=row["id"], **asked_by(call))
    return StopWorkflow(run_id=row["id"], state=state, message=reason, **asked_by(call))
