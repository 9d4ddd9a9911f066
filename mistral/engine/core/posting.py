"""A message comes for a run, or nobody waits for one any longer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mistral.engine.core import mail, results
from mistral.engine.core.data import Case, check_size
from mistral.engine.core.run import Action
from mistral.errors import Conflict
from mistral.messages import COMPLETED, PostMessage, State, Woke, subject_of


def post(case: Case, event: PostMessage) -> dict[str, Any]:
    """Hand the message to the action that has waited for it longest, or keep it.

    :returns: ``{"id", "taken_by"}``; of a repeat, what became of the first.
    :raises Conflict: the run is over, and nothing will ever take it; or its id is
        that of another message.
    :raises TooMany: the run keeps as much as it may.
    :raises WorkflowFault: the payload is larger than any result may be.
    """
    run = case.run
    known = mail.known(case, event.message_id)
    if known is not None:
        _require_same(case, event, known)
        return {"id": event.message_id, "taken_by": known["taken_by"]}
    if run.completed:
        raise Conflict(
            f"Execution {run.id} is in {run.state}: nothing in it takes a message."
        )
    check_size(case, {"result": event.payload}, "Message", "payload")
    taker = _taker(case, event)
    mail.keep(case, event, None if taker is None else taker.id)
    if taker is not None:
        results.settle(case, taker, State.SUCCESS, event.payload)
    return {"id": event.message_id, "taken_by": None if taker is None else taker.id}


def _require_same(case: Case, event: PostMessage, known: Mapping[str, Any]) -> None:
    """:raises Conflict: the sender means another message by this id."""
    if event.trigger is not None:
        # The id is made of the event, which is the same one.
        return
    taken_by = known["taken_by"]
    taker = None if taken_by is None else results.action_of(case, taken_by)
    found = mail.differences(known, event, taker)
    if found:
        *others, last = found
        told = f"{', '.join(others)} and {last}" if others else last
        raise Conflict(
            f"The message {event.message_id!r} came with another {told} before: give"
            " another message another id."
        )


def _taker(case: Case, event: PostMessage) -> Action | None:
    """The action that takes the message. One that an outcome has overtaken, or whose
    task has been launched anew, does not count any more."""
    for action_id in list(mail.waiting(case, subject_of(event.name, event.key))):
        action = results.action_of(case, action_id)
        if action is not None and not action.completed and not _is_void(case, action):
            return action
        if action is not None:
            action.awaits = None
        mail.end_wait(case, action_id)
    return None


def _is_void(case: Case, action: Action) -> bool:
    task_id = action.task_execution_id
    task = None if task_id is None else results.task_of(case, task_id)
    return (
        task is None
        or results.is_void(action, task)
        or (task.state in COMPLETED and task.closed_from is None)
    )


def wait_ended(case: Case, event: Woke) -> None:
    """The time is over, unless something else has ended the wait before."""
    action = results.action_of(case, event.action_id)
    if action is None or action.completed or action.awaits is None:
        return
    text = f"No message '{action.awaits['name']}' came in time."
    results.settle(case, action, State.ERROR, text)
