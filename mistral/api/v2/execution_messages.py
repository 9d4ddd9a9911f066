"""``/v2/executions/{id}/messages``: messages to a running workflow (new).

A message is for the task of this execution that waits for its name and key
(``std.wait_for``). Where none does, the execution keeps it until one will.
"""

from __future__ import annotations

from typing import Any, Final

from mistral.api.rest import Call
from mistral.api.shapes import Sent, Shown, Together
from mistral.api.types import (
    Attribute,
    Date,
    Name,
    NativeType,
    ResourceType,
    Shaped,
    Uuid,
    nullable,
)
from mistral.api.v2.runs import asked_by
from mistral.db import executions, messages, scope
from mistral.errors import BadRequest
from mistral.messages import PostMessage, message_key


class ExecutionMessage(ResourceType):
    """One message to an execution."""

    id = Attribute(
        Name,
        "A sender may choose it: a message with an id that the execution knows means"
        " that message, so repeats are harmless; one with another name, key or payload"
        " is refused.",
    )
    name = Attribute(Name, "What `std.wait_for` waits for.")
    key = Attribute(
        NativeType({"type": ["string", "integer", "null"]}),
        "Tells messages of one name apart; `std.wait_for` has to name the same.",
    )
    payload = Attribute(NativeType(), "Result of the task that takes it; any JSON.")
    taken_by = nullable(Uuid, "The action execution that has taken it.")
    created_at = Date


SEND: Final = Sent(
    ExecutionMessage,
    "MessageSend",
    ("id", "name", "key", "payload"),
    required=("name",),
    example={"name": "paid", "key": "order-17", "payload": {"sum": 12}},
)
SENT: Final = Shown(ExecutionMessage, "SentMessage", but=("payload", "created_at"))
KEPT: Final = Together(
    "messages", Shown(ExecutionMessage, "KeptMessage", but=("taken_by",))
)


def send(call: Call, execution_id: str) -> Shaped:
    """
    :raises BadRequest: the key is none.
    :raises Conflict: the execution is over, or another message came with the id.
    :raises TooMany: it keeps as many as it may.
    """
    sent = call.sent()
    name = sent.get("name")
    if not name:
        raise BadRequest("Expected 'name', which is mandatory.")
    try:
        key = message_key(sent.get("key"))
    except ValueError as error:
        raise BadRequest(f"{error}.") from None
    with call.services.database.read() as connection:
        row = executions.execution(connection, call.context, execution_id)
    scope.require_owner(row, call.context, f"Execution {execution_id!r}")
    message = PostMessage(
        run_id=row["id"],
        message_id=sent.get("id") or call.services.new_id(),
        name=name,
        key=key,
        payload=sent.get("payload"),
        **asked_by(call),
    )
    answer = call.services.bus.call(message)
    return ExecutionMessage.shape(
        {
            "id": message.message_id,
            "name": name,
            "key": key,
            "taken_by": answer.get("taken_by"),
        },
        ("id", "name", "key", "taken_by"),
    )


def kept(call: Call, execution_id: str) -> dict[str, Any]:
    """The messages that no task has taken yet, the oldest first: as many as an
    execution may keep."""
    with call.services.database.read() as connection:
        row = executions.execution(connection, call.context, execution_id)
        scope.require_owner(row, call.context, f"Execution {execution_id!r}")
        rows = messages.kept(connection, execution_id)
    names = ("id", "name", "key", "payload", "created_at")
    shaped = [
        ExecutionMessage.shape(
            {**each, "id": each["message_id"], "key": each["correlation_key"]}, names
        )
        for each in rows
    ]
    return {"messages": shaped}
