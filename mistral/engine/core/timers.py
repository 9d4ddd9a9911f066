"""What is heard when a timer is due, or the next page of items."""

from __future__ import annotations

from mistral.engine.core import (
    beginnings,
    lifecycle,
    notices,
    policies,
    posting,
    results,
    tasks,
    workflows,
)
from mistral.engine.core.data import Case
from mistral.engine.core.run import Task
from mistral.messages import MoreItems, RunWoke, State, Woke


def woke(case: Case, event: Woke) -> None:
    run = case.run
    if event.key == "continue":
        if run.state == State.RUNNING:
            workflows.catch_up(case)
        return
    if event.key == "message":
        posting.wait_ended(case, event)
        return
    task = results.task_of(case, event.task_id)
    if event.key == "slow":
        if task is not None and event.epoch == task.epoch and not task.completed:
            notices.note_slow(case, task, event.seconds)
        return
    if task is None or not is_awaited(case, task, event):
        return
    if event.key == "timeout":
        seconds = int((case.now - (task.started_at or case.now)).total_seconds())
        with lifecycle.forced(case, task, lifecycle.COMPLETING):
            limit = policies.evaluate(case, task, case.spec_of(task)).timeout
            tasks.expire(case, task, limit or seconds)
        workflows.advance(case)
        return
    if run.state == State.PAUSED:
        task.ready = True
        return
    waited = task.outcome is not None
    doing = lifecycle.COMPLETING if waited else lifecycle.RUNNING
    with lifecycle.forced(case, task, doing):
        if event.key == "retry" and task.state == State.WAITING and not task.ran:
            task.step = None
            workflows.decide_join(case, task)
        else:
            tasks.release(case, task)
    workflows.advance(case)


def run_woke(case: Case, event: RunWoke) -> None:
    """A timer of the run itself: its time has come, to begin, again, or to end."""
    run = case.run
    if not is_awaited_by_run(case, event):
        return
    if event.key == "timeout":
        beginnings.expire(case)
    elif event.key == "start":
        later = lifecycle.postponed(case.facts, event, case.now)
        if later is not None:
            case.effects.extend(later)
        else:
            beginnings.begin_by_itself(case)
    elif run.state == State.PAUSED:
        run.ready = True
    else:
        beginnings.begin_by_itself(case)


def is_awaited_by_run(case: Case, event: RunWoke) -> bool:
    """Whether the run waits for this timer still, and not for another."""
    run = case.run
    if event.key == "timeout":
        return event.epoch == run.limits and not run.completed
    if event.key == "start":
        return run.state == State.IDLE and event.epoch == run.begun
    return run.resting and event.epoch == run.begun and not run.completed


def is_awaited(case: Case, task: Task, event: Woke) -> bool:
    """Whether the task waits for this timer still, and not for another."""
    if task.completed or case.run.completed or event.key == "slow":
        return False
    if event.key == "timeout":
        return event.epoch == task.epoch
    if task.state not in (State.DELAYED, State.WAITING):
        return False
    if event.key == "wait-before":
        held = task.outcome is None and task.step is None
        return held and event.epoch == task.epoch
    held = task.step == "launch" if event.key == "retry" else task.outcome is not None
    return held and event.epoch == task.tries


def more_items(case: Case, event: MoreItems) -> None:
    task = results.task_of(case, event.task_id)
    if task is None or event.epoch != task.tries:
        return
    # Also when nothing is opened now: what goes on later looks for itself.
    task.paging = False
    if task.state != State.RUNNING or case.run.state != State.RUNNING:
        return
    with lifecycle.forced(case, task, lifecycle.RUNNING):
        tasks.open_items(case, task)
    workflows.advance(case)
