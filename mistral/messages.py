"""One vocabulary for API, engine and executors: what is heard, what is said.

An *event* is what the engine hears: a request in the imperative, or a fact in
the past tense. An *effect* is what must happen after the commit. Both are
frozen dataclasses of JSON values and are the wire format at once.

Old and new processes meet on the wire: :func:`decode` gives defaults to what
is missing and keeps what it does not know in ``extra``, so fields may be
added, never changed in meaning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final

from mistral.fair_queue import Lane

VERSION: Final = 1
"""Version of the vocabulary as a whole, sent with each message."""


class State(StrEnum):
    """States of executions (spec/engine.md § 1.1); the values are wire values."""

    IDLE = "IDLE"
    WAITING = "WAITING"
    RUNNING = "RUNNING"
    DELAYED = "DELAYED"
    PAUSED = "PAUSED"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"


COMPLETED: Final = frozenset(
    {State.SUCCESS, State.ERROR, State.CANCELLED, State.SKIPPED}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """Root of all messages. ``extra``: fields of a newer peer, kept as they are."""

    extra: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event(Message):
    """Something that a turn of the engine decides about.

    :cvar answered: somebody waits for an answer (a request).
    :param run_id: the workflow execution whose header guards it; empty for a
        stand-alone action or a cron trigger, which are their own headers.
    """

    answered: ClassVar[bool] = False
    run_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request(Event):
    """A change that somebody asks for and waits for.

    :param request_id: a repeat with the same id gets the stored answer.
    :param context: ``Context.to_dict()`` of who asks.
    """

    answered: ClassVar[bool] = True
    request_id: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)


# -- Requests: from the API ---------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class StartWorkflow(Request):
    """Start ``run_id``; if it exists already, that run is the answer (§ 7.1).

    :param workflow_id: id of the definition (wins), or
    :param workflow_name: its name, looked up in ``namespace``.
    :param parent: for a sub-workflow: ``{"run_id", "task_id", "attempt",
        "index", "root_id", "workbook", "name"}``; the child's failure to start
        is told to the parent, and nothing of it is stored.
    :param trigger: ``{"type", "id"}`` of what started it by itself; nobody waits
        for the answer then.
    """

    workflow_id: str | None = None
    workflow_name: str | None = None
    namespace: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    parent: Mapping[str, Any] | None = None
    trigger: Mapping[str, Any] | None = None


START_TIMES: Final = ("start-at", "start_at", "start-after", "start_after")
"""Keys of ``params``: at an absolute time, or after a while. With a hyphen as in the
language, or with an underscore as other parameters have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PauseWorkflow(Request):
    """:param word: the parent's count of pauses and resumes when it said so; a
    word that is not newer than the last one heard is void. 0: a user's."""

    message: str | None = None
    word: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeWorkflow(Request):
    """:param word: as in ``PauseWorkflow``."""

    env: Mapping[str, Any] | None = None
    word: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StopWorkflow(Request):
    """:param state: SUCCESS, ERROR or CANCELLED."""

    state: str = ""
    message: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateWorkflow(Request):
    """Description and environment of a run (§ 7.5); None: leave as it is."""

    description: str | None = None
    env: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteWorkflow(Request):
    """:param version: of the row that is meant; one that has changed since stays.
    None: whatever there is."""

    force: bool = False
    version: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RerunTask(Request):
    task_id: str = ""
    reset: bool = True
    env: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SkipTask(Request):
    task_id: str = ""
    env: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateAction(Request):
    """``PUT /v2/action_executions/{id}`` (§ 7.8).

    :param run_id: run of the action, empty for a stand-alone one.
    :param result: for SUCCESS and ERROR; ``{"result": …}`` is built from it.
    :param fault: as for ``ActionFinished``.
    """

    action_id: str = ""
    state: str = ""
    result: Any = None
    fault: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PostMessage(Request):
    """A message to a run, for the action that waits for it or will
    (``std.wait_for``). Answer: ``{"id", "taken_by"}``, an action id or null.

    :param message_id: given by the sender; a repeat means the message that came with
        it first, and must be the same.
    :param key: see :func:`message_key`.
    :param trigger: as for ``StartWorkflow``.
    """

    message_id: str = ""
    name: str = ""
    key: str | None = None
    payload: Any = None
    trigger: Mapping[str, Any] | None = None


def message_key(value: Any) -> str | None:
    """A correlation key as it is compared: text; numbers are what they look like.

    :raises ValueError: it is no key; says what was expected and found.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or (isinstance(value, str) and len(value) <= 255):
        return value or None
    found = f"{len(value)} characters" if isinstance(value, str) else type(value)
    shown = found if isinstance(found, str) else found.__name__
    raise ValueError(
        f"'key' is expected to be a text of up to 255 characters, a whole number or"
        f" null, found {shown}"
    )


def subject_of(name: str, key: str | None) -> str:
    """What a message and who waits for it must have in common."""
    return hashlib.sha256(json.dumps([name, key]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class RunAction(Request):
    """A stand-alone run of an action (§ 7.9); ``action_id`` is made by the API.

    :param save: store the action execution and dispatch it; otherwise the
        engine only validates and answers with the call, nothing is stored.
    """

    action_id: str = ""
    name: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)
    namespace: str = ""
    description: str = ""
    save: bool = False
    sync: bool = False
    target: str | None = None
    timeout: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteAction(Request):
    action_id: str = ""


# -- Requests: from executors -------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimAction(Message):
    """May I run this attempt? Several share a ``Batch``, which is answered with a list
    of true, false, or null: not known yet. The same token gets the same answer.

    :param token: made by the executor for each offer that it received.
    :param executor_id: the instance that will run it.
    """

    action_id: str = ""
    attempt: int = 1
    token: str = ""
    executor_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionFinished(Event):
    """The result of an attempt; the sender keeps it until the commit.

    :param state: SUCCESS, ERROR or CANCELLED.
    :param result: data, or the error.
    :param fault: there was a result, but it cannot be kept, and ``result`` says
        why: it is too large (ENG-022) or its post-processing failed. The run ends.
    :param unmade: nothing ran, as the action could not be made of its input, and
        ``result`` says why. For a task there was no call then (ENG-064).
    """

    action_id: str = ""
    attempt: int = 1
    state: str = State.SUCCESS
    result: Any = None
    fault: bool = False
    unmade: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionTurnedAsync(Event):
    """The first message about an action whose instance says ``is_sync()`` is
    false: no result will come from the executor."""

    action_id: str = ""
    attempt: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class HandIn(Message):
    """The result of an attempt, from who has room for what follows it (decision 0048).
    It is answered when the result is committed, with ``{"call": …}``: an encoded
    ``CallAction`` that was granted to the sender by ``token``, or null. Never sent
    twice: without an answer the result is sent alone, and the token told in beats.

    :param event: encoded ``ActionFinished``.
    :param token: made by the executor for this message.
    :param targets: groups whose offers the sender takes; null: those of no group.
    :param free: its free workers. None of them waits for an offer.
    """

    event: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    executor_id: str = ""
    targets: tuple[str | None, ...] = ()
    free: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch(Message):
    """Messages of one sender that were ready at the same moment, in order.

    :param events: encoded.
    """

    events: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StartTogether(Message):
    """Starts that were asked for at the same moment (decision 0050). It may come
    twice, as each of them may. It is answered with a list, in their order: ``{"answer":
    …}``, ``{"error": …}`` (``errors.to_wire``), or ``{"later": true}``: not known yet,
    to be asked for again by itself.

    :param requests: each an encoded ``StartWorkflow`` with a ``request_id``.
    """

    requests: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat(Message):
    """What an executor runs and holds. It is answered with ``{"over":
    [action ids whose attempt is finished or replaced], "missing": [],
    "now": database's time}``.

    :param asking: tokens of claims that have no answer yet; read before the others,
        as an action goes from here to ``running`` and on to ``held``.
    :param running: ``[action_id, attempt]`` of what runs now.
    :param held: the same, for results that wait for the engine's commit.
    :param heard: ``now`` of the last answer, which came before these lists were made:
        what was granted until then and stands in none of them is lost. Without it
        nothing is.
    :param leaving: the last one: the instance is going away by itself.
    :param unused: tokens that the sender has asked with and will never use: nothing
        that is granted to one of them has begun, or will. They stand in ``asking``,
        too, for engines that do not know this list.
    """

    executor_id: str = ""
    host: str = ""
    running: tuple[tuple[str, int], ...] = ()
    held: tuple[tuple[str, int], ...] = ()
    leaving: bool = False
    asking: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    heard: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchSource(Message):
    """The text of a code source, as an offer names it. It is answered with
    ``{"content", "checksum"}``."""

    source_id: str = ""
    version: int = 0


# -- Facts that the engine tells itself ---------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Woke(Event):
    """A timer of a task is due.

    :param key: which: ``wait-before``, ``wait-after``, ``retry``, ``timeout``,
        ``continue``; ``message``: an action has waited for one as long as it was to;
        ``slow``: somebody wants to be warned of a task that takes so long.
    :param action_id: of that action.
    :param seconds: that the slow task has taken.
    :param epoch: the task's number of starts when it was set; a task that has
        moved on ignores it.
    """

    task_id: str = ""
    key: str = ""
    epoch: int = 0
    action_id: str = ""
    seconds: float = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunWoke(Event):
    """A timer of a run itself is due.

    :param key: which: ``start``, ``retry``, ``timeout``.
    :param epoch: how often the run had begun, or had set its time limit, when the
        timer was set; a run that has moved on ignores it.
    """

    key: str = ""
    epoch: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MoreItems(Event):
    """Open the next page of a with-items task."""

    task_id: str = ""
    epoch: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceChanged(Event):
    """Maintenance begins or ends, and the run has not followed yet. What there is
    to do follows from the status as the turn finds it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TriggerEvent(Event):
    """About a cron trigger; guarded by its row."""

    trigger_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CronDue(TriggerEvent):
    """A cron trigger is to fire.

    :param planned: ISO time that it was armed for; a trigger that has moved on
        ignores it.
    """

    planned: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueLook(TriggerEvent):
    """Whether a firing that waits for the end of another one may start.

    :param again: look later, too, while some wait: nobody tells of a run that is
        deleted, or was never started.
    """

    again: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildNews(Event):
    """What a sub-workflow tells the task that started it, once each, in any order.

    :param run_id: the parent run.
    :param attempt: the launch of the task that it belongs to; news of an
        earlier one do not count.
    """

    task_id: str = ""
    child_id: str = ""
    attempt: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildStarted(ChildNews):
    """It runs, and will not end in the turn that started it.

    :param heeded: the parent's word by which it began PAUSED, or None.
    """

    heeded: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildFinished(ChildNews):
    """It ended, or could not start (``child_id`` empty then).

    :param paused: it was PAUSED until then.
    :param kept: it was maintenance that had paused it.
    :param ending: how often it has ended, reopenings included.
    """

    index: int = 0
    state: str = State.SUCCESS
    message: str | None = None
    paused: bool = False
    kept: bool = False
    ending: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildPaused(ChildNews):
    """It became PAUSED; the parent follows (§ 6.3).

    :param word: the parent's word that it obeyed; 0: by itself.
    :param alone: maintenance paused it, as it will its parent: that need not follow.
    :param again: maintenance had paused it before; now it is a user's word.
    """

    word: int = 0
    alone: bool = False
    again: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildResumed(ChildNews):
    """It became RUNNING again.

    :param word: as in ``ChildPaused``.
    :param alone: because maintenance is over, as it is for its parent.
    :param kept: it was maintenance that had paused it.
    """

    word: int = 0
    alone: bool = False
    kept: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildReopened(ChildNews):
    """A task below was rerun or skipped: ancestors go back to RUNNING.

    :param was: the state that it had ended in.
    """

    was: str = State.ERROR


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorLost(Event):
    """The executor that ran this action gave no sign for too long.

    :param last_seen: ISO time of its last sign.
    :param unused: the token that was granted, which the executor has said that it will
        never use: nothing has run, so the attempt is void and another one is offered.
    """

    action_id: str = ""
    attempt: int = 1
    executor_id: str = ""
    last_seen: str = ""
    unused: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NobodyCame(Event):
    """No executor claimed this offer within ``first_heartbeat_timeout``."""

    action_id: str = ""
    attempt: int = 1


# -- Effects ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect(Message):
    """Something that must happen after the commit; stored as an outbox row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tell(Effect):
    """Let an event be heard: a timer when ``due_at`` is set, otherwise now.

    The row is consumed in the commit of the turn that hears it.
    """

    event: Event
    due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CallAction(Effect):
    """An offer to run an action; it starts nothing until it is claimed.

    :param name: the action that an executor knows (of an ad-hoc action: its base).
    :param namespace: where that name is looked up.
    :param input: parameters, final.
    :param target: executor group, or None for any.
    :param timeout: seconds for the run itself, or None.
    :param execution: ``ExecutionContext`` fields of ``mistral_lib``.
    :param security: ``SecurityContext`` fields, without secrets.
    :param reply_to: topic of the engine that made the offer.
    :param hand_in: that engine hears ``HandIn``.
    :param code: of a dynamic action: ``id``, ``version``, ``checksum`` of its code
        source, and ``class_name``.
    :param root_id: the root execution; of a stand-alone action empty.
    :param priority: of that execution, from -10 to 10.
    """

    action_id: str = ""
    run_id: str = ""
    root_id: str = ""
    priority: int = 0
    attempt: int = 1
    name: str = ""
    namespace: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)
    safe_rerun: bool = False
    target: str | None = None
    timeout: int | None = None
    execution: Mapping[str, Any] = field(default_factory=dict)
    security: Mapping[str, Any] = field(default_factory=dict)
    reply_to: str | None = None
    hand_in: bool = False
    code: Mapping[str, Any] | None = None

    @property
    def lane(self) -> Lane:
        """Where the offer waits for its turn."""
        return _lane(self.security, self.root_id or self.action_id, self.priority)


@dataclass(frozen=True, kw_only=True, slots=True)
class Notify(Effect):
    """A notification for a publisher (§ 10.8), delivered at least once, in order
    per execution and publisher.

    :param number: counts the notifications of a run, from 1.
    :param publishers: the entry of ``params.notify`` that wants it.
    :param lane: 24 digits, the same for all that one publisher is to hear of a run.
    """

    run_id: str = ""
    object_id: str = ""
    event: str = ""
    timestamp: str = ""
    number: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
    publishers: tuple[Mapping[str, Any], ...] = ()
    lane: str = ""


# -- Notifications on their way -----------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class CarryNotices(Message):
    """Notifications of one lane, in their order: to be handed to their publisher.

    :param ids: of their rows.
    :param notices: each encoded.
    :param reply_to: topic for the ``NoticesCarried`` that says what became of them.
    """

    ids: tuple[str, ...] = ()
    notices: tuple[Mapping[str, Any], ...] = ()
    reply_to: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoticesCarried(Message):
    """What became of notifications: those that are in neither were not offered.

    :param taken: ids of those that their publisher has.
    :param refused: id of the one that it did not take; empty: there is none.
    :param reason: why it did not; no values.
    """

    taken: tuple[str, ...] = ()
    refused: str = ""
    reason: str = ""


# -- Wire ---------------------------------------------------------------------


def _kinds(root: type[Message]) -> dict[str, type[Message]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_kinds(child))
    return found


KINDS: Final[Mapping[str, type[Message]]] = _kinds(Message)
"""Every message class by its name on the wire."""

_FIELDS: Final[Mapping[type, tuple[str, ...]]] = {
    cls: tuple(f.name for f in fields(cls) if f.name != "extra")
    for cls in KINDS.values()
}


def encode(message: Message) -> dict[str, Any]:
    """``{"kind", "v", …fields}``, JSON values only (``Tell`` is not sent:
    its event is)."""
    wire: dict[str, Any] = dict(message.extra)
    for name in _FIELDS[type(message)]:
        wire[name] = getattr(message, name)
    wire["kind"] = type(message).__name__
    wire["v"] = VERSION
    return wire


def decode(wire: Mapping[str, Any]) -> Message:
    """The inverse of ``encode``.

    :raises KeyError: this process does not know the kind (a newer peer's).
    """
    cls = KINDS[wire["kind"]]
    names = _FIELDS[cls]
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in wire.items():
        if name in names:
            is_tuple = name in _TUPLES and isinstance(value, list)
            known[name] = tuple(value) if is_tuple else value
        elif name not in ("kind", "v"):
            extra[name] = value
    return cls(**known, extra=extra)


def lane_of(offer: Mapping[str, Any]) -> Lane:
    """``CallAction.lane`` of an offer as it is sent, without decoding the rest."""
    root_id = offer.get("root_id") or offer["action_id"]
    return _lane(offer.get("security") or {}, root_id, offer.get("priority", 0))


def _lane(security: Mapping[str, Any], execution: str, priority: int) -> Lane:
    return Lane(security.get("project_id") or "", execution, priority)


_TUPLES: Final = frozenset(
    {
        "asking", "events", "held", "ids", "notices", "publishers", "requests",
        "running", "taken", "targets", "unused",
    }
)  # fmt: skip
