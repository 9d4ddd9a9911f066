"""Cron triggers: a row that is its own header (spec/engine.md § 10.2).

What is due starts a run whose id follows from the trigger and the planned time, and
arms the next time. Policies say what becomes of what was missed, and of what comes
while an earlier run has not ended (decision 0039).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from mistral.engine.core.ports import Facts
from mistral.engine.core.rows import Row
from mistral.lang import schedules
from mistral.lang.schedules import Schedule, execution_id
from mistral.messages import (
    CronDue,
    Effect,
    QueueLook,
    State,
    StopWorkflow,
    Tell,
)

MOST_QUEUED: Final = 100
"""Firings of one trigger that wait for their turn."""

LOOK_AGAIN: Final = timedelta(seconds=60)

REPLACED: Final = "Cancelled: the next firing of its cron trigger came."


class Trigger(Row):
    """A cron trigger.

    :ivar last_run_id: it never fires again after that run, and is to be removed.
    :ivar firings: new rows of ``cron_firings``.
    :ivar noted: changes of such rows.
    :ivar dropped: ids of those that are not to be.
    :ivar withdrawn: runs that are not to begin if they have not yet.
    """

    workflow_name: str
    workflow_namespace: str
    workflow_input: dict[str, Any]
    workflow_params: dict[str, Any]
    pattern: str
    timezone: str
    enabled: bool
    overlap: str
    catch_up: str
    catch_up_window: int
    jitter: int
    finished: bool
    definition_id: str | None
    next_execution_time: datetime
    remaining_executions: int | None
    context: dict[str, Any]

    kind = "cron trigger"
    COLUMNS = (
        "id", "project_id", "workflow_name", "workflow_namespace", "workflow_input",
        "workflow_params", "pattern", "timezone", "enabled", "overlap", "catch_up",
        "catch_up_window", "jitter", "finished", "definition_id",
        "next_execution_time", "remaining_executions", "context", "created_at",
        "updated_at",
    )  # fmt: skip
    INTERNAL: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.last_run_id: str | None = None
        self.firings: list[dict[str, Any]] = []
        self.noted: list[dict[str, Any]] = []
        self.dropped: list[str] = []
        self.withdrawn: list[str] = []

    @property
    def columns(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in self.COLUMNS}

    @property
    def schedule(self) -> Schedule:
        return Schedule.of(self.columns)

    def note(
        self, planned: datetime, now: datetime, outcome: str, reason: str | None = None
    ) -> None:
        """Remember what came of a planned time."""
        self.firings.append(
            {
                "id": execution_id(self.id, planned),
                "cron_trigger_id": self.id,
                "planned_at": planned,
                "fired_by": "schedule",
                "outcome": outcome,
                "reason": reason,
                "created_at": now,
            }
        )


def fire(trigger: Trigger, event: CronDue, facts: Facts, now: datetime) -> list[Effect]:
    """Start the workflow and arm the next time."""
    planned = trigger.next_execution_time
    is_stale = event.planned != planned.isoformat()
    if is_stale or trigger.finished or not trigger.enabled:
        return []
    schedule = trigger.schedule
    missed = _is_passed_over(trigger, schedule, planned, now)
    if missed:
        trigger.note(planned, now, "skipped", missed)
        effects = []
    else:
        effects = _begin(trigger, facts, planned, now)
    following = None
    if trigger.remaining_executions != 0:
        following = _following(trigger, schedule, planned, now)
    if following is None:
        _finish(trigger, facts, execution_id(trigger.id, planned))
        return effects
    trigger.next_execution_time = following
    due = CronDue(trigger_id=trigger.id, planned=following.isoformat())
    return [*effects, Tell(event=due, due_at=schedule.due(following))]


def look(
    trigger: Trigger, event: QueueLook, facts: Facts, now: datetime
) -> list[Effect]:
    """Start the oldest firing that waits, unless an earlier run has not ended."""
    waiting = list(facts.queued_firings(trigger.id, MOST_QUEUED + 1))
    effects: list[Effect] = []
    if waiting and trigger.enabled and not facts.open_firings(trigger.id):
        first = waiting.pop(0)
        trigger.noted.append({"id": first["id"], "outcome": "started"} | _stamp(now))
        effects.append(
            _start(trigger, first["planned_at"], first["fired_by"], first["id"])
        )
        if first["fired_by"] == "schedule":
            _count(trigger)
        if trigger.finished or trigger.remaining_executions == 0:
            waiting = _finish(trigger, facts, first["id"], waiting)
    if event.again and waiting:
        effects.append(Tell(event=event, due_at=now + LOOK_AGAIN))
    return effects


# -- Missed times -------------------------------------------------------------


def _is_passed_over(
    trigger: Trigger, schedule: Schedule, planned: datetime, now: datetime
) -> str:
    """Why a time that was missed is left out; empty: it is not."""
    if not schedules.is_missed(schedule.due(planned), now):
        return ""
    if trigger.catch_up == "skip":
        return "it was missed, and what was missed is skipped"
    if trigger.catch_up == "all" and planned < _oldest(trigger, now):
        return f"it was missed by more than {trigger.catch_up_window} s"
    return ""


def _oldest(trigger: Trigger, now: datetime) -> datetime:
    return now - timedelta(seconds=trigger.catch_up_window)


def _following(
    trigger: Trigger, schedule: Schedule, planned: datetime, now: datetime
) -> datetime | None:
    """The next planned time: in the past only where all of them are made up for."""
    if trigger.catch_up == "all":
        return schedule.following(max(planned, _oldest(trigger, now)))
    following = schedule.following(planned)
    if following is None or schedule.due(following) > now:
        return following
    return schedule.following(now)


# -- Overlapping runs ---------------------------------------------------------


def _begin(
    trigger: Trigger, facts: Facts, planned: datetime, now: datetime
) -> list[Effect]:
    """Start a run for a planned time, or what the policy says instead."""
    if trigger.overlap == "allow":
        return [_started(trigger, planned, now)]
    still = facts.open_firings(trigger.id)
    if trigger.overlap == "cancel-previous":
        ended = _cancel(trigger, still, now)
        return [*ended, _started(trigger, planned, now)]
    waiting = facts.queued_firings(trigger.id, MOST_QUEUED)
    if not (still or waiting):
        return [_started(trigger, planned, now)]
    first = (still or waiting)[0]["id"]
    if trigger.overlap == "skip":
        reason = f"the execution {first} has not ended"
        trigger.note(planned, now, "skipped", reason)
    elif len(waiting) >= MOST_QUEUED:
        reason = f"{MOST_QUEUED} firings wait already"
        trigger.note(planned, now, "skipped", reason)
    else:
        trigger.note(planned, now, "queued")
        if not waiting:
            again = QueueLook(trigger_id=trigger.id, again=True)
            return [Tell(event=again, due_at=now + LOOK_AGAIN)]
    return []


def _cancel(
    trigger: Trigger, still: Sequence[Mapping[str, Any]], now: datetime
) -> list[Effect]:
    """End what runs; what has not begun will not, or is ended when it has."""
    effects: list[Effect] = []
    for row in still:
        stop = StopWorkflow(
            run_id=row["id"], state=State.CANCELLED.value, message=REPLACED
        )
        effects.append(Tell(event=stop))
        if row["state"] is None:
            trigger.withdrawn.append(row["id"])
            said = {"outcome": "cancelled", "reason": REPLACED}
            trigger.noted.append({"id": row["id"]} | said | _stamp(now))
    return effects


def _started(trigger: Trigger, planned: datetime, now: datetime) -> Effect:
    _count(trigger)
    trigger.note(planned, now, "started")
    return _start(trigger, planned, "schedule")


def _start(
    trigger: Trigger, planned: datetime, fired_by: str, run_id: str | None = None
) -> Effect:
    return Tell(event=schedules.start(trigger.columns, planned, fired_by, run_id))


def _stamp(now: datetime) -> dict[str, Any]:
    return {"updated_at": now}


# -- The end ------------------------------------------------------------------


def _count(trigger: Trigger) -> None:
    """A firing of its own has started a run."""
    if trigger.remaining_executions:
        trigger.remaining_executions -= 1


def _finish(
    trigger: Trigger,
    facts: Facts,
    last_run_id: str,
    waiting: Sequence[Mapping[str, Any]] | None = None,
) -> list[Mapping[str, Any]]:
    """It has no further time, or has fired as often as it should. A definition keeps
    its trigger; others go when nothing of them waits.

    :param waiting: firings that wait; None: to be looked up.
    :returns: those that still do.
    """
    trigger.finished = True
    if waiting is None:
        waiting = [
            *facts.queued_firings(trigger.id, MOST_QUEUED + 1),
            *(row for row in trigger.firings if row["outcome"] == "queued"),
        ]
    left = list(waiting)
    if trigger.remaining_executions == 0:
        left = [row for row in waiting if row["fired_by"] != "schedule"]
        trigger.dropped = [row["id"] for row in waiting if row not in left]
    if not left and trigger.definition_id is None:
        trigger.last_run_id = last_run_id
    return left
