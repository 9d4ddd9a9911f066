"""What becomes of who waits for an event that no decision could be made about.

Such an event is set aside as poison, and nobody hears it again (DESIGN § 3). What
would wait for it for ever ends with the reason, as by a forced failure: so users can
rerun, skip and stop, and a parent or a caller is told. What only informs, or is said
again by who says it, is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from mistral.engine.core import actions, lifecycle, results, timers
from mistral.engine.core.data import Case
from mistral.engine.core.run import Task
from mistral.errors import WorkflowFault
from mistral.messages import (
    COMPLETED,
    ActionFinished,
    ChildFinished,
    Effect,
    Event,
    ExecutorLost,
    MoreItems,
    NobodyCame,
    RunWoke,
    State,
    Tell,
    TriggerEvent,
    Woke,
)

AGAIN: Final = timedelta(hours=1)
"""After this a cron trigger that could not fire is tried once more."""


def missed(case: Case, event: Event, reason: str) -> None:
    """End what waits for the event.

    :param reason: of that end; says that an event was set aside.
    """
    if type(event) in WAITED_FOR:
        WAITED_FOR[type(event)](case, event, reason)


def fire_later(event: TriggerEvent, now: datetime) -> list[Effect]:
    """A trigger without a next time would never fire again."""
    return [Tell(event=event, due_at=now + AGAIN)]


def _fail(case: Case, task: Task, reason: str, doing: str) -> None:
    with lifecycle.forced(case, task, doing):
        raise WorkflowFault(reason)


def _timer(case: Case, event: Woke, reason: str) -> None:
    if event.key == "continue":
        _rest(case, reason)
        return
    if event.key == "message":
        _result(case, event, reason)
        return
    task = results.task_of(case, event.task_id)
    if task is not None and timers.is_awaited(case, task, event):
        begun = task.outcome is not None or event.key == "timeout"
        doing = lifecycle.COMPLETING if begun else lifecycle.RUNNING
        _fail(case, task, reason, doing)


def _run_timer(case: Case, event: RunWoke, reason: str) -> None:
    if timers.is_awaited_by_run(case, event):
        lifecycle.finish(case, State.ERROR, reason, final=True)


def _rest(case: Case, reason: str) -> None:
    """Of the tasks that an earlier decision has put off the first one fails."""
    run = case.run
    if run.state != State.RUNNING:
        # A resume looks for itself at what there is.
        return
    run.behind = False
    states = [*COMPLETED, State.IDLE]
    left = run.adopt(case.facts.tasks(run.id, states=states, processed=False))
    if not left:
        lifecycle.finish(case, State.ERROR, reason)
        return
    first = min(left, key=lambda task: task.seq)
    _fail(case, first, reason, lifecycle.deciding(first))


def _page(case: Case, event: MoreItems, reason: str) -> None:
    task = results.task_of(case, event.task_id)
    if task is not None and event.epoch == task.tries and not task.completed:
        task.paging = False
        _fail(case, task, reason, lifecycle.RUNNING)


def _result(case: Case, event: Any, reason: str) -> None:
    action = results.action_of(case, event.action_id)
    attempt = 1 if isinstance(event, Woke) else event.attempt
    if action is None or action.completed or action.attempt != attempt:
        return
    actions.give_up(case, action, reason)
    if action.task_execution_id is None:
        return
    task = results.task_of(case, action.task_execution_id)
    if task is not None and not task.completed and not results.is_void(action, task):
        _fail(case, task, reason, lifecycle.HANDLING)


def _child(case: Case, event: ChildFinished, reason: str) -> None:
    task = results.task_of(case, event.task_id)
    if task is not None and event.attempt == task.tries and not task.completed:
        _fail(case, task, reason, lifecycle.HANDLING)


WAITED_FOR: Final[Mapping[type[Event], Callable[[Case, Any, str], None]]] = {
    Woke: _timer,
    RunWoke: _run_timer,
    MoreItems: _page,
    ActionFinished: _result,
    ExecutorLost: _result,
    NobodyCame: _result,
    ChildFinished: _child,
}
