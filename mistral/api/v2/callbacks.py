"""``/v2/callbacks/{action_id}``: an application completes an action without a token
(new).

The address is the right: it is signed for one action execution and until a date
(``mistral.callbacks``).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Final

from mistral.api.parameters import Parameter
from mistral.api.policy import OPEN
from mistral.api.rest import Call, Resource, Route
from mistral.api.shapes import AnyJson
from mistral.api.v2.action_executions import finishes_work, post_processed
from mistral.context import Context
from mistral.db import executions
from mistral.errors import BadRequest, Forbidden, TooMany
from mistral.messages import UpdateAction

STATES: Final = ("SUCCESS", "ERROR", "CANCELLED")
UNKNOWN_ERROR: Final = "Unknown error"

REFUSAL: Final = "This address is not valid, or not any more."
"""The same for every cause: nobody learns what there is."""

EXPIRES: Final = Parameter("expires", "As in the address.", required=True)
SIGNATURE: Final = Parameter("signature", "As in the address.", required=True)
STATE: Final = Parameter(
    "state", "What has become of it: `SUCCESS` (if not sent), `ERROR` or `CANCELLED`."
)


class Callbacks(Resource):
    public = True
    routes = (
        Route(
            "POST",
            "{action_id}",
            "post",
            OPEN,
            204,
            query=(EXPIRES, SIGNATURE, STATE),
            takes=AnyJson(
                "The result of the action, or its error.",
                {"answer": 42},
                optional=True,
            ),
            refuses=(Forbidden, TooMany),
            in_maintenance=finishes_work,
        ),
    )

    def post(self, call: Call, action_id: str) -> None:
        """Complete the action execution that the address was made for (new).

        The body is its result. A repeat that says the same is answered in the same
        way; the address is of no use for anything else then.
        """
        _check_address(call, action_id)
        state = call.query.get("state") or "SUCCESS"
        if state not in STATES:
            raise BadRequest(f"Expected one of {', '.join(STATES)} for 'state'.")
        result = call.value()
        if state == "ERROR" and not result:
            result = UNKNOWN_ERROR
        if state == "CANCELLED":
            result = None
        with call.services.database.read() as connection:
            row = executions.find_action(connection, action_id)
        if row is None:
            raise Forbidden(REFUSAL)
        with call.services.gate.place(row["project_id"]):
            _complete(call, row, state, result)


def _request_id(action_id: str, state: str, body: bytes) -> str:
    """The same for who says the same: the engine knows a repeat by it."""
    said = f"{action_id} {state} ".encode() + body
    return hashlib.sha256(said).hexdigest()


def _check_address(call: Call, action_id: str) -> None:
    callbacks = call.services.callbacks
    expires, signature = call.query.get("expires"), call.query.get("signature")
    if (
        callbacks is None
        or not expires
        or not signature
        or not callbacks.allows(
            action_id, expires, signature, call.services.clock.now()
        )
    ):
        raise Forbidden(REFUSAL)


def _complete(call: Call, row: Any, state: str, result: Any) -> None:
    whose = replace(Context(), project_id=row["project_id"])
    update = UpdateAction(
        run_id=row["workflow_execution_id"] or "",
        action_id=row["id"],
        request_id=_request_id(action_id=row["id"], state=state, body=call.body),
        context=whose.to_dict(),
        **post_processed(call, row, state, result),
    )
    try:
        call.services.bus.call(update)
    except BadRequest as error:
        # It is over, and something else was said.
        raise Forbidden(REFUSAL) from error
