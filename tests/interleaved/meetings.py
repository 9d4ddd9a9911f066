"""Which acts meet in which state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from interleaved import acts, states
from interleaved.world import LOST, MAINTENANCE, OVERDUE, World
from mistral.db.maintenance import Status
from mistral.messages import (
    DeleteAction,
    DeleteWorkflow,
    PauseWorkflow,
    PostMessage,
    RerunTask,
    ResumeWorkflow,
    SkipTask,
    StopWorkflow,
    UpdateAction,
)

TREE: Mapping[str, acts.Act] = {
    "deletes the parent": acts.asks(DeleteWorkflow, "family", force=True),
    "expires the parent": acts.asks(DeleteWorkflow, "family"),
    "pauses the parent": acts.asks(PauseWorkflow, "family"),
    "resumes the parent": acts.asks(ResumeWorkflow, "family"),
    "cancels the parent": acts.asks(StopWorkflow, "family", state="CANCELLED"),
    "fails the parent": acts.asks(StopWorkflow, "family", state="ERROR"),
}
BELOW: Mapping[str, acts.Act] = {
    "deletes the child": acts.asks(DeleteWorkflow, "child", force=True),
    "pauses the child": acts.asks(PauseWorkflow, "child"),
    "resumes the child": acts.asks(ResumeWorkflow, "child"),
    "cancels the child": acts.asks(StopWorkflow, "child", state="CANCELLED"),
    "ends the action": acts.ends(),
}
REDO: Mapping[str, acts.Act] = {
    "reruns in the child": acts.asks(
        RerunTask, "child", task_id=lambda world: world.tasks_of["child", "t"]
    ),
    "reruns in the parent": acts.asks(
        RerunTask, "family", task_id=lambda world: world.tasks_of["family", "a"]
    ),
    "skips in the child": acts.asks(
        SkipTask, "child", task_id=lambda world: world.tasks_of["child", "t"]
    ),
}


@dataclass(frozen=True)
class Setting:
    """:param make: brings the world there.
    :param twice: an act may also intrude into itself.
    :param about: the act that each pair has; empty: any pair.
    """

    make: Callable[[World], None]
    acts: Mapping[str, acts.Act]
    twice: bool = False
    about: str = ""


SETTINGS: Mapping[str, Setting] = {
    "a child is asked for": Setting(
        states.child_asked_for,
        {"starts the child": acts.hears("StartWorkflow"), **TREE},
        about="starts the child",
    ),
    "a child runs": Setting(states.child_runs, {**TREE, **BELOW}),
    "a child is over": Setting(
        states.child_is_over,
        {
            "hears of its end": acts.hears("ChildFinished"),
            **TREE,
            "deletes the child": BELOW["deletes the child"],
        },
        about="hears of its end",
    ),
    "a family is paused": Setting(states.family_paused, {**TREE, **BELOW}),
    "a family pauses": Setting(
        states.family_pauses,
        {"hears the pause": acts.hears("PauseWorkflow"), **TREE, **BELOW},
        about="hears the pause",
    ),
    "a family has failed": Setting(states.family_failed, {**TREE, **REDO}),
    "a family is reopened": Setting(
        states.family_reopens,
        {"hears it": acts.hears("ChildReopened"), **TREE, **REDO},
        about="hears it",
    ),
    "twins run": Setting(
        states.twins_run,
        {
            "ends one": acts.ends(0),
            "ends the other": acts.ends(1),
            "fails one": acts.ends(0, "ERROR"),
            "cancels": acts.asks(StopWorkflow, "twins", state="CANCELLED"),
            "pauses": acts.asks(PauseWorkflow, "twins"),
            "deletes": acts.asks(DeleteWorkflow, "twins", force=True),
        },
    ),
    "branches run": Setting(
        states.branches_run,
        {
            "ends one": acts.ends(0),
            "ends the other": acts.ends(1),
            "pauses": acts.asks(PauseWorkflow, "meets"),
            "cancels": acts.asks(StopWorkflow, "meets", state="CANCELLED"),
            "deletes": acts.asks(DeleteWorkflow, "meets", force=True),
        },
        twice=True,
    ),
    "a task waits for a message": Setting(
        states.waits_for_messages,
        {
            "posts one": acts.asks(
                PostMessage, "hears", message_id="1", name="m", payload=1
            ),
            "posts another": acts.asks(
                PostMessage, "hears", message_id="2", name="m", payload=2
            ),
            "lets another task wait": acts.ends(),
            "ends the wait": acts.hears("Woke"),
            "pauses": acts.asks(PauseWorkflow, "hears"),
            "cancels": acts.asks(StopWorkflow, "hears", state="CANCELLED"),
            "deletes": acts.asks(DeleteWorkflow, "hears", force=True),
        },
        twice=True,
    ),
    "items run": Setting(
        states.items_run,
        {"ends one": acts.ends(0), "ends the other": acts.ends(1)},
        twice=True,
    ),
    "an action is offered": Setting(
        states.is_offered_once,
        {
            "claims": acts.claims("a"),
            "claims, too": acts.claims("b"),
            "sends again": acts.resends,
            "notes that it was sent": acts.notes_sent,
            "finds nobody": acts.nobody_came,
            "takes overdue rows": acts.sweeps(OVERDUE),
            "cancels": acts.asks(StopWorkflow, "once", state="CANCELLED"),
            "deletes": acts.asks(DeleteWorkflow, "once", force=True),
            "pauses": acts.asks(PauseWorkflow, "once"),
        },
        twice=True,
    ),
    "an executor is lost": Setting(
        states.executor_dies,
        {
            "looks for the lost": acts.sweeps(LOST),
            "hears a beat": acts.beats,
            "ends the action": acts.ends(),
            "turns asynchronous": acts.turns_async,
            "cancels": acts.asks(StopWorkflow, "once", state="CANCELLED"),
            "deletes": acts.asks(DeleteWorkflow, "once", force=True),
        },
        twice=True,
    ),
    "an executor of what is safe is lost": Setting(
        states.executor_of_safe_dies,
        {
            "looks for the lost": acts.sweeps(LOST),
            "hears a beat": acts.beats,
            "ends the action": acts.ends(),
            "pauses": acts.asks(PauseWorkflow, "safe"),
        },
        twice=True,
    ),
    "a silent executor claims": Setting(
        states.executor_claims_late,
        {
            "looks for the lost": acts.sweeps(LOST),
            "claims": acts.claims("a"),
            "beats": acts.beats,
        },
    ),
    "a trigger is due": Setting(
        states.trigger_is_due,
        {
            "fires": acts.hears("CronDue"),
            "takes overdue rows": acts.sweeps(OVERDUE),
            "removes the trigger": acts.removes_trigger,
            "begins maintenance": acts.maintains(Status.PAUSED),
        },
        twice=True,
    ),
    "an event is awaited": Setting(
        states.event_is_awaited,
        {
            "tells the event": acts.event_comes,
            "takes overdue rows": acts.sweeps(OVERDUE),
            "removes the trigger": acts.removes_event_trigger,
            "begins maintenance": acts.maintains(Status.PAUSED),
        },
        twice=True,
        about="tells the event",
    ),
    "a definition changes": Setting(
        states.definition_is_there,
        {
            "starts it": acts.starts("brief"),
            "starts what calls it": acts.starts("outer"),
            "updates it": acts.updates_definition,
            "deletes it": acts.deletes_definition,
        },
        twice=True,
    ),
    "notices wait": Setting(
        states.notices_wait,
        {
            "sends them": acts.sends_notices,
            "ends the action": acts.ends(),
            "cancels": acts.asks(StopWorkflow, "once", state="CANCELLED"),
            "deletes": acts.asks(DeleteWorkflow, "once", force=True),
        },
        twice=True,
        about="sends them",
    ),
    "nothing runs": Setting(
        states.nothing_runs,
        {
            "starts": acts.starts("once"),
            "starts the same": acts.starts("once"),
            "starts a family": acts.starts("family"),
            "begins maintenance": acts.maintains(Status.PAUSED),
            "runs an action": acts.runs_alone,
        },
        twice=True,
    ),
    "maintenance begins": Setting(
        states.runs_while_maintenance_begins,
        {
            "follows maintenance": acts.sweeps(MAINTENANCE),
            "ends maintenance": acts.maintains(Status.RUNNING),
            **TREE,
            "ends the action": BELOW["ends the action"],
        },
        about="follows maintenance",
        twice=True,
    ),
    "maintenance is on": Setting(
        states.in_maintenance,
        {
            "follows maintenance": acts.sweeps(MAINTENANCE),
            "ends maintenance": acts.maintains(Status.RUNNING),
            "ends the action": acts.ends(),
            "resumes": acts.asks(ResumeWorkflow, "once"),
            "pauses": acts.asks(PauseWorkflow, "once"),
            "cancels": acts.asks(StopWorkflow, "once", state="CANCELLED"),
            "deletes": acts.asks(DeleteWorkflow, "once", force=True),
        },
        twice=True,
    ),
    "a time-out is due": Setting(
        states.timer_is_due,
        {
            "hears the timer": acts.hears("Woke"),
            "takes overdue rows": acts.sweeps(OVERDUE),
            "ends the action": acts.ends(),
            "pauses": acts.asks(PauseWorkflow, "timed"),
            "deletes": acts.asks(DeleteWorkflow, "timed", force=True),
        },
        twice=True,
    ),
    "a retry is due": Setting(
        states.retry_is_due,
        {
            "hears the timer": acts.hears("Woke"),
            "takes overdue rows": acts.sweeps(OVERDUE),
            "pauses": acts.asks(PauseWorkflow, "again"),
            "cancels": acts.asks(StopWorkflow, "again", state="CANCELLED"),
            "deletes": acts.asks(DeleteWorkflow, "again", force=True),
        },
        twice=True,
    ),
    "an action runs alone": Setting(
        states.action_runs_alone,
        {
            "ends the action": acts.ends(),
            "answers it": acts.about_action(UpdateAction, state="SUCCESS", result=2),
            "deletes it": acts.about_action(DeleteAction),
        },
        twice=True,
    ),
}
