"""The loaded part of one workflow execution, as plain typed objects.

A ``Run`` is its header and those tasks and actions that events concern. Rules
change it in place and then somebody asks for ``changes()``. Values inside
(dicts, lists) are replaced, never changed, so that a change is seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final, NamedTuple

from mistral.engine.core.cron import Trigger
from mistral.engine.core.rows import Row, Rows
from mistral.engine.core.states import may_move
from mistral.errors import Bug, TransitionRefused, WorkflowFault
from mistral.lang.specs import WorkflowSpec
from mistral.messages import COMPLETED, State

STATE_INFO_LIMIT: Final = 65_500
"""Characters of ``state_info`` that are kept (ENG-021)."""

REMEMBERED_MESSAGES: Final = 2_000
"""So many of the newest messages and waits are counted back: of older messages that
were taken the ids are forgotten, and a repeat would be a new message."""


class TaskFault(WorkflowFault):
    """Fails one task in the ordinary way: retry and ``on-error`` apply
    (spec/engine.md § 2.8). Other faults of the author end the run."""


class Task(Row):
    """A task execution."""

    workflow_execution_id: str
    seq: int
    name: str
    type: str
    workflow_name: str
    workflow_namespace: str
    workflow_id: str | None
    tags: list[str] | None
    processed: bool
    in_context: Mapping[str, Any] | None
    published: dict[str, Any] | None
    next_tasks: list[list[str]] | None
    has_next_tasks: bool
    error_handled: bool
    unique_key: str | None
    runtime_context: dict[str, Any] | None
    started_at: datetime | None
    finished_at: datetime | None
    epoch: int
    tries: int
    versions: Mapping[str, Any] | None
    layers: list[list[Any]] | None
    published_versions: dict[str, list[str]] | None
    published_global: dict[str, Any] | None
    since: int
    total: int | None
    cursor: int
    paging: bool
    open: int
    done: int
    failed: int
    cancelled: int
    held: int
    kept: int
    said: list[Any] | None
    items: str | None
    chosen: list[int] | None
    keep: bool
    outcome: list[Any] | None
    waited: bool
    ready: bool
    step: str | None
    rest: list[dict[str, Any]] | None
    resumed: bool
    expired: bool
    round: int
    arrived: int
    met: int
    dead: int
    ran: bool
    pending: list[list[Any]] | None
    newer: dict[str, list[Any]] | None
    brought: dict[str, dict[str, Any]] | None
    passes: dict[str, int] | None
    judged: int
    watchers: list[str] | None
    closed_from: str | None
    warned: list[float] | None

    kind = "task"
    COLUMNS = (
        "id", "workflow_execution_id", "seq", "project_id", "name", "type",
        "workflow_name", "workflow_namespace", "workflow_id", "tags", "state",
        "state_info", "processed", "in_context", "published", "next_tasks",
        "has_next_tasks", "error_handled", "unique_key", "runtime_context",
        "started_at", "finished_at", "created_at", "updated_at",
    )  # fmt: skip
    INTERNAL: ClassVar[Mapping[str, Any]] = {
        # Number of starts, reruns included: timers of an earlier one are void.
        "epoch": 0,
        # Seconds of this start after which somebody was warned of it.
        "warned": None,
        # Launches of children, retries included; those of an earlier one are void.
        "tries": 0,
        # The first launch whose sub-workflows count.
        "since": 0,
        # The rest of the inbound context: how often its variables were published
        # (§ 2.10), and the layers below them, see ``contexts``.
        "versions": None,
        "layers": None,
        # Of what it published: leaves of the mappings.
        "published_versions": None,
        # What it published for the whole run, as the API shows it.
        "published_global": None,
        # with-items: how many, next to open, collection.
        "total": None,
        "cursor": 0,
        "items": None,
        # The event that opens the next page is under way.
        "paging": False,
        # Children of this launch: open, ended, of these in ERROR and CANCELLED;
        # sub-workflows that are PAUSED, and of these the ones that maintenance
        # keeps so. Their news add up in any order.
        "open": 0,
        "done": 0,
        "failed": 0,
        "cancelled": 0,
        "held": 0,
        "kept": 0,
        # [ending, text] of the newest word of a single sub-workflow.
        "said": None,
        # Indexes to run, when not all (rerun without reset).
        "chosen": None,
        # Only without reset: what a rerun keeps.
        "keep": False,
        # wait-after: the state and text to come back to.
        "outcome": None,
        "waited": False,
        # A timer came while the run was paused.
        "ready": False,
        # What a task held back is to do: "launch"; of an IDLE one "begin" when the
        # run is resumed, "released" after that, "start" as soon as it can.
        "step": None,
        # Commands behind a ``pause`` of this task's clause.
        "rest": None,
        # It ended while the run was paused: its own ``pause`` is dropped.
        "resumed": False,
        # A time-out ends the task for good (ENG-156).
        "expired": False,
        # Joins: round, who arrived and who cannot any more.
        "round": 1,
        "arrived": 0,
        "dead": 0,
        # Arrivals whose contexts it has taken over.
        "met": 0,
        "ran": False,
        # Triggers that came while this round's run was in progress.
        "pending": None,
        # Inbound tasks that fired once more while the join waited:
        # name → [round, id, event] of the latest.
        "newer": None,
        # What inbound joins on loops handed on when they last fired: their own
        # rows are made anew by their next round.
        "brought": None,
        # Joins on loops that led to this task: name → round; and the last rerun or
        # skip that did: "" → its number.
        "passes": None,
        # Reruns and skips so far when the join's round was decided.
        "judged": 0,
        # Joins that wait for what this task leads to.
        "watchers": None,
        # The state before the end of the run closed this task.
        "closed_from": None,
    }


class Action(Row):
    """An action execution."""

    task_execution_id: str | None
    workflow_execution_id: str | None
    name: str
    task_name: str | None
    workflow_name: str | None
    workflow_namespace: str
    description: str | None
    tags: list[str] | None
    input: Mapping[str, Any] | None
    output: dict[str, Any] | None
    accepted: bool
    is_sync: bool
    item_index: int
    attempt: int
    started_by: str | None
    executor_id: str | None
    started_at: datetime | None
    last_heartbeat: datetime | None
    epoch: int
    safe_rerun: bool
    immediate: bool
    call: dict[str, Any] | None
    awaits: dict[str, Any] | None
    outputs: Sequence[Any]

    kind = "action"
    COLUMNS = (
        "id", "task_execution_id", "workflow_execution_id", "project_id", "name",
        "task_name", "workflow_name", "workflow_namespace", "description", "tags",
        "state", "state_info", "input", "output", "accepted", "is_sync",
        "item_index", "attempt", "started_by", "executor_id", "started_at",
        "last_heartbeat", "created_at", "updated_at",
    )  # fmt: skip
    INTERNAL: ClassVar[Mapping[str, Any]] = {
        "epoch": 0,
        "safe_rerun": False,
        # A stand-alone run that its caller waits for: never accepted (§ 1.6.4).
        "immediate": False,
        # The offer as it is made again when the executor is lost.
        "call": None,
        # Name and key of the message that it waits for.
        "awaits": None,
        # ``output`` trees of ad-hoc actions, innermost first.
        "outputs": (),
    }


class Document(NamedTuple):
    """A value that is stored by itself.

    :param size: bytes of its JSON text.
    """

    body: Any
    size: int


class Run(Row):
    """The header of a workflow execution, and what is loaded of it."""

    scope: str
    workflow_id: str | None
    workflow_name: str
    workflow_namespace: str
    spec_id: str
    description: str | None
    tags: list[str] | None
    input: dict[str, Any] | None
    params: dict[str, Any] | None
    context: dict[str, Any] | None
    output: dict[str, Any] | None
    accepted: bool
    paused_by: str | None
    task_execution_id: str | None
    root_execution_id: str | None
    version: int
    seed: str
    made: int
    task_seq: int
    history_seq: int
    open: int
    waiting: int
    behind: bool
    redone: int
    parent: dict[str, Any] | None
    word: int
    heeded: int
    endings: int
    ended_by: str | None
    noticed: int
    timed: bool
    mail_seq: int
    waits: int
    kept_messages: int
    kept_message_bytes: int
    begun: int
    began: str | None
    past: int
    resting: bool
    ready: bool
    repeats: list[Any] | None
    limit: int
    limits: int
    expired: bool
    removing: bool
    workbook: str | None
    security: dict[str, Any] | None
    triggered_by: dict[str, Any] | None

    kind = "workflow"
    COLUMNS = (
        "id", "project_id", "scope", "workflow_id", "workflow_name",
        "workflow_namespace", "spec_id", "description", "tags", "state",
        "state_info", "input", "params", "context", "output", "accepted",
        "paused_by", "task_execution_id", "root_execution_id", "version",
        "created_at", "updated_at",
    )  # fmt: skip
    INTERNAL: ClassVar[Mapping[str, Any]] = {
        # Ids are derived from the seed and a counter, so a replay makes the same.
        "seed": "",
        "made": 0,
        "task_seq": 0,
        "history_seq": 0,
        # Tasks that are not completed, and of these the ones in WAITING.
        "open": 0,
        "waiting": 0,
        # A turn stopped at its limit: finished tasks are still to be routed.
        "behind": False,
        # Reruns and skips so far, at least 1 when a clause went on behind a pause:
        # whatever follows may come once more.
        "redone": 0,
        # {"run_id", "task_id", "attempt", "index"} of a sub-workflow.
        "parent": None,
        # Pauses and resumes so far: sub-workflows heed the newest only.
        "word": 0,
        # The parent's word that was heeded last.
        "heeded": 0,
        # How often the run has ended.
        "endings": 0,
        # The task whose ``succeed`` or ``fail`` ended it last.
        "ended_by": None,
        # Notifications so far.
        "noticed": 0,
        # A timer was set, and may be still to come.
        "timed": False,
        # Messages that have come, and actions that have begun to wait for one; of
        # these the ones that do still; of those the ones that nobody has taken.
        "mail_seq": 0,
        "waits": 0,
        "kept_messages": 0,
        "kept_message_bytes": 0,
        # How often it has begun: 0 before its time has come, more than 1 by ``retry``.
        "begun": 0,
        # ISO time of its first beginning, where that was not at once.
        "began": None,
        # The last task of the attempts that have failed before the present one.
        "past": 0,
        # Between two attempts; and a timer came meanwhile, while it was paused.
        "resting": False,
        "ready": False,
        # Numbers of ``retry`` and seconds of ``timeout``, as they were evaluated.
        "repeats": None,
        "limit": 0,
        # How often the time limit was set; it has ended the run.
        "limits": 0,
        "expired": False,
        # It was deleted, and its rows go page by page: nothing of it is heard.
        "removing": False,
        "workbook": None,
        # Context of who started it, without secrets.
        "security": None,
        # {"type", "id"} of the trigger that started it: unlike the description
        # nobody can change it (§ 10.3).
        "triggered_by": None,
    }

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.spec: WorkflowSpec = None  # type: ignore[assignment]
        self.standalone = False
        self.trigger: Trigger | None = None
        self.deleted = False
        self.untimed = False
        """Its timers are void from now on."""
        self.tasks: Rows[Task] = Rows("name")
        # Those that were loaded of attempts that have failed.
        self.past_tasks: list[Task] = []
        self.actions: Rows[Action] = Rows("task_execution_id")
        # New ones by join, then by round and name of the inbound task.
        self.arrivals: dict[str, dict[tuple[int, str], dict[str, Any]]] = {}
        self.documents: dict[str, Document] = {}
        self.settled_offers: list[str] = []
        # Messages by the id that their senders gave; see ``mail``.
        self.posted: dict[str, dict[str, Any]] = {}
        self.arrived: set[str] = set()
        self.taken: set[str] = set()
        self.new_waits: dict[str, dict[str, Any]] = {}
        self.ended_waits: set[str] = set()
        # Action executions of which nothing is kept.
        self.withdrawn: set[str] = set()
        self.transitions: list[list[Any]] = []
        # The same of this run and its tasks, for who wants to be told.
        self.moves: list[Move] = []
        # What they are warned of besides.
        self.hints: list[Hint] = []
        # Finished tasks whose follow-ups are to be decided in this turn.
        self.todo: list[Task] = []

    @classmethod
    def alone(cls, action: Action | None, action_id: str) -> Run:
        """The stand-alone action's own header."""
        run = cls(id=action_id)
        run.standalone = True
        if action is not None:
            run.actions[action.id] = action
        return run

    @classmethod
    def of_trigger(cls, trigger: Trigger) -> Run:
        """The cron trigger's own header."""
        run = cls.alone(None, trigger.id)
        run.trigger = trigger
        return run

    def new_id(self) -> str:
        """A fresh id in the form of a UUID, from the run's seed."""
        self.made += 1
        text = hashlib.blake2b(
            f"{self.seed}:{self.made}".encode(), digest_size=16
        ).hexdigest()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def chance(self, *about: Any) -> float:
        """A number from 0 to 1 that nobody could foresee without the run's seed; of the
        same things the same one, so that a replay decides the same."""
        text = f"{self.seed}:chance:{about}".encode()
        digest = hashlib.blake2b(text, digest_size=8).digest()
        return int.from_bytes(digest) / (2**64 - 1)

    def adopt(self, rows: Iterable[Mapping[str, Any]]) -> list[Task]:
        """Tasks for rows; one that is loaded already wins over its row, and those of
        earlier attempts are left out."""
        found = []
        for row in rows:
            if row["seq"] <= self.past:
                continue
            task = self.tasks.get(row["id"])
            if task is None:
                task = self.tasks[row["id"]] = Task.from_row(row)
            found.append(task)
        return found

    def leave_tasks_behind(self) -> None:
        """All tasks so far belong to an attempt that has failed."""
        self.past = self.task_seq
        self.past_tasks.extend(self.tasks.values())
        self.tasks = Rows("name")

    def bury(self) -> None:
        """It was deleted, but there is too much of it to go at once."""
        self.deleted, self.removing = False, True
        self.timed = False
        if not self.completed:
            move(self, self, State.CANCELLED, "Deleted.")

    def adopt_actions(self, rows: Iterable[Mapping[str, Any]]) -> list[Action]:
        found = []
        for row in rows:
            if row["id"] in self.withdrawn:
                continue
            action = self.actions.get(row["id"])
            if action is None:
                action = self.actions[row["id"]] = Action.from_row(row)
            found.append(action)
        return found


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a state, as it was at that moment.

    :param again: of a task: it has been started before.
    :param retries: of a task: it waits to be tried again.
    """

    thing: Run | Task
    start: str
    to: str
    info: str | None
    again: bool
    retries: bool = False


@dataclass(frozen=True, slots=True)
class Hint:
    """A warning for who asks for it.

    :param event: ``TASK_WARNING`` or ``WORKFLOW_WARNING``.
    :param warning: ``code``, ``text`` and what else there is to say; JSON.
    :param seconds: only for those that want to hear of a task after so long.
    """

    thing: Run | Task
    event: str
    warning: dict[str, Any]
    seconds: float | None = None


@dataclass(slots=True)
class Changes:
    """What a turn writes for one run; rows are dicts of column → value."""

    header: dict[str, Any] | None = None
    new_header: dict[str, Any] | None = None
    new_tasks: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    new_actions: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    arrivals: list[dict[str, Any]] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)
    settled_offers: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    new_messages: list[dict[str, Any]] = field(default_factory=list)
    taken_messages: list[dict[str, Any]] = field(default_factory=list)
    new_waits: list[dict[str, Any]] = field(default_factory=list)
    ended_waits: list[str] = field(default_factory=list)
    forgotten_messages: tuple[str, int] | None = None
    """The run, and the number up to which those that were taken are forgotten."""
    trigger: dict[str, Any] | None = None
    spent_trigger: tuple[str, str] | None = None
    """Its id, and that of its last run."""
    firings: list[dict[str, Any]] = field(default_factory=list)
    noted_firings: list[dict[str, Any]] = field(default_factory=list)
    dropped_firings: list[str] = field(default_factory=list)
    withdrawn_starts: list[str] = field(default_factory=list)


def changes(run: Run, now: datetime) -> Changes:
    """All that the rules changed since the run was loaded."""
    found = Changes(
        arrivals=[row for rows in run.arrivals.values() for row in rows.values()],
        settled_offers=run.settled_offers,
        withdrawn=sorted(run.withdrawn),
        new_messages=[run.posted[id] for id in run.posted if id in run.arrived],
        taken_messages=_taken(run),
        new_waits=list(run.new_waits.values()),
        ended_waits=sorted(run.ended_waits),
    )
    if run.arrived and run.mail_seq > REMEMBERED_MESSAGES:
        found.forgotten_messages = (run.id, run.mail_seq - REMEMBERED_MESSAGES)
    for task in (*run.past_tasks, *run.tasks.values()):
        row = task.changes(now)
        if row is not None:
            (found.new_tasks if task.is_new else found.tasks).append(row)
    for action in run.actions.values():
        row = action.changes(now)
        if row is not None:
            (found.new_actions if action.is_new else found.actions).append(row)
    found.documents = [
        {"workflow_execution_id": run.id, "id": id, "body": body}
        for id, (body, _) in run.documents.items()
    ]
    if run.trigger is not None:
        if run.trigger.last_run_id is not None:
            found.spent_trigger = (run.trigger.id, run.trigger.last_run_id)
        else:
            found.trigger = run.trigger.changes(now)
            found.firings = run.trigger.firings
            found.noted_firings = run.trigger.noted
            found.dropped_firings = run.trigger.dropped
        found.withdrawn_starts = run.trigger.withdrawn
    if run.standalone:
        return found
    if run.is_new:
        found.new_header = run.changes(now)
    else:
        run.version += 1
        found.header = run.changes(now)
    return found


def _taken(run: Run) -> list[dict[str, Any]]:
    """Of the messages that were kept, those that an action has taken now."""
    return [
        {"id": row["id"], "payload": None, "taken_by": row["taken_by"]}
        for row in (run.posted[id] for id in sorted(run.taken - run.arrived))
    ]


def move(run: Run, thing: Row, to: str, info: str | None = None) -> None:
    """Change a state: the only place that does.

    :raises TransitionRefused: a run cannot make this move (a request's fault).
    :raises Bug: a task or action cannot (ours).
    """
    start = thing.state
    if not may_move(thing.kind, start, to):
        if thing.kind == "workflow":
            raise TransitionRefused(
                f"Can't change workflow execution state from {start} to {to}. "
                f"[workflow={run.workflow_name}, execution_id={run.id}]"
            )
        raise Bug(f"{thing.kind} {thing.id} cannot go from {start} to {to}")
    if isinstance(thing, Task):
        run.open += (to not in COMPLETED) - (start not in COMPLETED)
        run.waiting += (to == State.WAITING) - (start == State.WAITING)
    elif isinstance(thing, Run):
        # Whoever moves it has the last word about it.
        thing.paused_by = None
    thing.state = State(to).value
    if info is not None and len(info) > STATE_INFO_LIMIT:
        info = info[:STATE_INFO_LIMIT]
    thing.state_info = info
    name = thing.workflow_name if isinstance(thing, Run) else getattr(thing, "name", "")
    if start == to:
        return
    run.transitions.append([thing.kind, thing.id, name, start, thing.state])
    if isinstance(thing, Run | Task):
        again = isinstance(thing, Task) and thing.epoch > 1
        retries = isinstance(thing, Task) and thing.step == "launch"
        run.moves.append(Move(thing, start, thing.state, info, again, retries))
