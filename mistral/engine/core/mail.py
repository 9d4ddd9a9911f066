"""Messages to a run, and the actions that wait for them (``std.wait_for``).

A message that no action waits for is kept with the run until one does. Each is taken
once, by the action that has waited longest; of the messages that are kept the oldest
is taken first. Both sides are rows guarded by the run's header, so a message and an
action that starts to wait cannot miss each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from json import dumps
from math import isfinite
from typing import Any, Final

from mistral.engine.core.data import Case, size
from mistral.engine.core.run import Action, TaskFault
from mistral.errors import BadRequest, TooMany
from mistral.lang.shapes import kind_of
from mistral.messages import PostMessage, State, Tell, Woke, message_key, subject_of

WAIT_FOR: Final = "std.wait_for"

LONGEST_NAME: Final = 255
"""Characters of the name, the key and the id of a message."""

LONGEST_WAIT: Final = 10 * 366 * 86_400
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an action waits for.

    :param seconds: after which it fails; None: without end.
    """

    name: str
    key: str | None
    seconds: float | None

    @property
    def subject(self) -> str:
        return subject_of(self.name, self.key)


def wanted(given: Mapping[str, Any]) -> Wanted:
    """The input of ``std.wait_for``.

    :raises TaskFault: it is not what can be waited for.
    """
    name, seconds = given.get("name"), given.get("timeout")
    try:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise ValueError(
                f"'name' of 1 to {LONGEST_NAME} characters is expected, found"
                f" {kind_of(name)}"
            )
        key = message_key(given.get("key"))
    except ValueError as error:
        raise TaskFault(f"{WAIT_FOR}: {error}") from None
    if seconds is None:
        return Wanted(name, key, None)
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not isfinite(seconds) or not 0 < seconds <= LONGEST_WAIT:
        raise TaskFault(
            f"{WAIT_FOR}: 'timeout' is expected to be a number of seconds above 0 and"
            f" up to {LONGEST_WAIT}"
        )
    return Wanted(name, key, seconds)


def take(case: Case, subject: str, action: Action) -> Mapping[str, Any] | None:
    """The oldest message that is kept of a subject, for this action alone."""
    run = case.run
    if run.kept_messages == 0:
        return None
    _load_kept(case)
    found = [
        row
        for row in run.posted.values()
        if row["taken_by"] is None and row["subject"] == subject
    ]
    if not found:
        return None
    oldest = min(found, key=lambda row: row["seq"])
    run.kept_messages -= 1
    run.kept_message_bytes -= oldest["size"]
    taken = {**oldest, "payload": None, "taken_by": action.id}
    run.posted[oldest["message_id"]] = taken
    run.taken.add(oldest["message_id"])
    return oldest


def _load_kept(case: Case) -> None:
    run = case.run
    for row in case.facts.kept_messages(run.id):
        run.posted.setdefault(row["message_id"], dict(row))


def wait(case: Case, action: Action, what: Wanted) -> None:
    """Let an action wait for the next message of its subject."""
    run = case.run
    action.awaits = {"name": what.name, "key": what.key}
    run.mail_seq += 1
    run.waits += 1
    run.new_waits[action.id] = {
        "id": action.id,
        "workflow_execution_id": run.id,
        "seq": run.mail_seq,
        "subject": what.subject,
    }
    if what.seconds is not None:
        due = case.now + timedelta(seconds=what.seconds)
        action.awaits["until"] = due.isoformat()
        _wake(case, action, due)


def _wake(case: Case, action: Action, due: datetime) -> None:
    case.run.timed = True
    event = Woke(
        run_id=case.run.id,
        task_id=action.task_execution_id or "",
        key="message",
        action_id=action.id,
    )
    case.effects.append(Tell(event=event, due_at=due))


def limit_again(case: Case) -> None:
    """Set the timers of waits anew: they went when the run was over."""
    run = case.run
    if run.waits == 0:
        return
    rows = case.facts.actions(run.id, states=[State.RUNNING, State.PAUSED])
    for action in run.adopt_actions(rows):
        until = (action.awaits or {}).get("until")
        if until is not None and not action.completed:
            _wake(case, action, datetime.fromisoformat(until))


def end_wait(case: Case, action_id: str) -> None:
    """The action does not wait any longer."""
    run = case.run
    run.waits -= 1
    if run.new_waits.pop(action_id, None) is None:
        run.ended_waits.add(action_id)


def waiting(case: Case, subject: str) -> Iterator[str]:
    """Ids of the actions that wait for a subject, the longest first."""
    run = case.run
    if run.waits == 0:
        return
    stored = [
        row
        for row in case.facts.message_waits(run.id, subject)
        if row["id"] not in run.ended_waits
    ]
    new = [row for row in run.new_waits.values() if row["subject"] == subject]
    for row in sorted([*stored, *new], key=lambda row: row["seq"]):
        yield row["id"]


def known(case: Case, message_id: str) -> Mapping[str, Any] | None:
    """The message that has come with this id already."""
    run = case.run
    if message_id not in run.posted:
        for row in case.facts.posted_message(run.id, message_id):
            run.posted[message_id] = dict(row)
    return run.posted.get(message_id)


def differences(
    known: Mapping[str, Any], event: PostMessage, taker: Action | None
) -> list[str]:
    """What a message has otherwise than the one that came first with its id.

    The payload of one that was taken is not kept with it: it is the result of who took
    it, unless an ad-hoc action has made something else of it. Then its size tells.
    """
    found = []
    if known["name"] != event.name:
        found.append("name")
    if known["correlation_key"] != event.key:
        found.append("key")
    if known["taken_by"] is None:
        same = _text(known["payload"]) == _text(event.payload)
    elif _has_payload(taker):
        assert taker is not None and taker.output is not None
        same = _text(taker.output["result"]) == _text(event.payload)
    else:
        same = known["size"] == size(event.payload)
    return found if same else [*found, "payload"]


def _has_payload(taker: Action | None) -> bool:
    return (
        taker is not None
        and taker.state == State.SUCCESS
        and not taker.outputs
        and "result" in (taker.output or {})
    )


def _text(value: Any) -> str:
    """Two values that are one in JSON: 1 and true are not, whatever Python says."""
    return dumps(value, sort_keys=True)


def keep(case: Case, event: PostMessage, taken_by: str | None) -> None:
    """Remember a message: whole, until it is taken, and then that it came.

    :raises BadRequest: it is larger than what a run may hold.
    :raises TooMany: the run keeps as much as it may.
    """
    run, rules = case.run, case.facts.rules
    length = size(event.payload)
    if taken_by is None:
        if length > rules.kept_message_bytes:
            raise BadRequest(
                f"The payload has {length} bytes; an execution keeps at most"
                f" {rules.kept_message_bytes}."
            )
        if (
            run.kept_messages >= rules.kept_messages
            or run.kept_message_bytes + length > rules.kept_message_bytes
        ):
            raise TooMany(
                f"Execution {run.id} keeps {run.kept_messages} messages of"
                f" {run.kept_message_bytes} bytes that no task has taken yet, and may"
                f" keep {rules.kept_messages} of {rules.kept_message_bytes} bytes."
            )
        run.kept_messages += 1
        run.kept_message_bytes += length
    run.mail_seq += 1
    run.arrived.add(event.message_id)
    run.posted[event.message_id] = {
        "id": run.new_id(),
        "workflow_execution_id": run.id,
        "message_id": event.message_id,
        "seq": run.mail_seq,
        "name": event.name,
        "correlation_key": event.key,
        "subject": subject_of(event.name, event.key),
        "payload": event.payload if taken_by is None else None,
        "size": length,
        "taken_by": taken_by,
        "created_at": case.now,
    }
