"""News between a run and its sub-workflows (§ 6.2, § 6.3).

Two runs have two locks, so neither may look at the other's row and believe
it. They tell each other what happened, each thing once, in any order:

* Upwards, news are sums. A task counts its open, ended, failed, cancelled and
  paused children; what an earlier and a later word add up to is the same
  whichever comes first. News of an earlier launch of the task do not count.
* Downwards, a pause and a resume carry the parent's ``word``, a number that
  grows; a child heeds what is newer than the last that it heard.
* A child that starts says so: what its parent decided before it could see the
  child is said to it then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mistral.engine.core import items, joins, lifecycle, operations, tasks, workflows
from mistral.engine.core.data import Case
from mistral.engine.core.run import Task, move
from mistral.engine.core.wording import of_item
from mistral.messages import (
    ChildFinished,
    ChildPaused,
    ChildReopened,
    ChildResumed,
    ChildStarted,
    DeleteWorkflow,
    Effect,
    PauseWorkflow,
    Request,
    ResumeWorkflow,
    State,
    StopWorkflow,
    Tell,
)


def begin(case: Case, parent: Mapping[str, Any] | None) -> None:
    """A new sub-workflow, its first tasks begun: PAUSED if its parent is seen
    so, and its parent hears of it.

    :param parent: the parent's header, as somebody saw it.
    """
    run = case.run
    heeded = None
    may_run = run.state == State.RUNNING or run.paused_by is not None
    if may_run and parent and _is_paused_by_word(parent):
        heeded = run.heeded = parent["internals"].get("word", 0)
        lifecycle.pause(case, None, heeded)
    lifecycle.tell_parent(case, ChildStarted, heeded=heeded)


def _is_paused_by_word(header: Mapping[str, Any]) -> bool:
    """Somebody paused it, not maintenance, which speaks to each run itself."""
    return header["state"] == State.PAUSED and header["paused_by"] is None


def started(case: Case, task: Task, event: ChildStarted) -> None:
    """Say what the child could not hear, because it was not there yet."""
    run, child = case.run, event.child_id
    late = task.expired and event.attempt == task.tries
    late = late or (run.expired and run.completed)
    if run.state == State.CANCELLED or late:
        text = task.state_info if task.expired else run.state_info
        said: Request = StopWorkflow(run_id=child, state=State.CANCELLED, message=text)
    elif run.paused_by is not None:
        return
    elif run.state == State.PAUSED and event.heeded is None:
        said = PauseWorkflow(run_id=child, message=run.state_info, word=run.word)
    elif run.state == State.RUNNING and event.heeded is not None:
        said = ResumeWorkflow(run_id=child, word=run.word)
    else:
        return
    case.effects.append(Tell(event=said))


def left_behind(event: ChildStarted) -> list[Effect]:
    """The attempt of the parent that asked for it has failed meanwhile."""
    said = StopWorkflow(run_id=event.child_id, state=State.CANCELLED)
    return [Tell(event=said)]


def orphaned(event: ChildStarted | ChildFinished) -> list[Effect]:
    """Its parent was deleted meanwhile. One that ends in its first turn says only
    that."""
    if not event.child_id:
        return []
    return [Tell(event=DeleteWorkflow(run_id=event.child_id, force=True))]


def finished(case: Case, task: Task, event: ChildFinished) -> None:
    if event.attempt != task.tries:
        return
    tasks.count(task, event.state, 1)
    task.held -= event.paused
    task.kept -= event.kept
    if task.said is None or event.ending >= task.said[0]:
        task.said = [event.ending, event.message]
    if not event.child_id and event.state == State.ERROR and task.total is not None:
        with lifecycle.forced(case, task, lifecycle.HANDLING):
            not_started(case, task, of_item(event.message, event.index))
    _consider(case, task)


def not_started(case: Case, task: Task, reason: str | None) -> None:
    """A child could not start: the task says why, at once, whatever its other
    items do (§ 4.4).

    :raises ExpressionFault, WorkflowFault: forced failures.
    """
    if not task.expired and task.state in lifecycle.AWAITING:
        tasks.complete(case, task, State.ERROR, reason)


def paused(case: Case, task: Task, event: ChildPaused) -> None:
    if event.attempt != task.tries:
        return
    task.held += not event.again
    task.kept += event.alone - event.again
    if task.held > 0 and task.state in lifecycle.AWAITING:
        hold(case, task, upwards=not event.word and not event.alone)


def hold(case: Case, task: Task, *, upwards: bool) -> None:
    """A child is PAUSED, so its task is; and so is the run, unless the pause
    came from there."""
    if task.state == State.RUNNING:
        move(case.run, task, State.PAUSED)
    if upwards and not case.run.completed:
        lifecycle.pause(case, None)


def resumed(case: Case, task: Task, event: ChildResumed) -> None:
    if event.attempt != task.tries:
        return
    task.held -= 1
    task.kept -= event.kept
    if task.held > task.kept:
        return
    release(case, task, upwards=not event.word and not event.alone)


def release(case: Case, task: Task, *, upwards: bool) -> None:
    """No child of the task is PAUSED any more, but for maintenance."""
    run = case.run
    if task.state == State.PAUSED and task.held <= 0:
        move(run, task, State.RUNNING)
    if run.state == State.PAUSED:
        run.adopt(case.facts.tasks(run.id, states=[State.PAUSED]))
        held = any(
            t.state == State.PAUSED and (t.held > t.kept or t.held <= 0)
            for t in run.tasks.values()
        )
        if upwards and not held:
            operations.resume(case, None)
    _consider(case, task)


def reopened(case: Case, task: Task, event: ChildReopened) -> None:
    if event.attempt != task.tries:
        return
    tasks.count(task, event.was, -1)
    run = case.run
    if task.state in (State.SUCCESS, State.SKIPPED) or run.state == State.SUCCESS:
        # A run that ended well is not opened again; the child is on its own.
        return
    if not task.completed and task.state not in lifecycle.AWAITING:
        # It has given this launch up and waits for a timer.
        return
    operations.reopen(case, task)
    if task.completed:
        task.closed_from = None
        move(run, task, State.RUNNING)
        joins.mark_redone(case, task)
        task.processed = task.error_handled = task.expired = False
        task.finished_at = None
        task.next_tasks, task.has_next_tasks = None, False
    operations.go_on_after(case, task)
    _consider(case, task)


def action_went_on(case: Case, task: Task) -> None:
    """An asynchronous action is not PAUSED any more; perhaps none is."""
    if not _has_paused_action(case, task):
        release(case, task, upwards=True)


def _has_paused_action(case: Case, task: Task) -> bool:
    run = case.run
    found = run.adopt_actions(case.facts.actions(run.id, task_ids=[task.id]))
    return any(action.state == State.PAUSED for action in found)


def action_finished(case: Case, task: Task, action: Any, was: str) -> None:
    """The outcome of an action of the present launch.

    :raises ExpressionFault, WorkflowFault: forced failures.
    """
    if was == State.PAUSED and task.state == State.PAUSED:
        if not _has_paused_action(case, task):
            move(case.run, task, State.RUNNING)
    tasks.action_done(case, task, action)
    open_more(case, task)


def _consider(case: Case, task: Task) -> None:
    """What the counts say now: the task is over, or has room for more."""
    if task.expired:
        return
    with lifecycle.forced(case, task, lifecycle.HANDLING):
        if task.state == State.PAUSED and task.held <= 0:
            move(case.run, task, State.RUNNING)
        if task.type == "WORKFLOW":
            tasks.judge(case, task, (task.said or (0, None))[1])
        open_more(case, task)
    workflows.advance(case)


def open_more(case: Case, task: Task) -> None:
    """Room became free in a with-items task. As long as a page is under way it takes
    the room: else each of many results would open a page."""
    if task.total is None or task.completed:
        return
    if case.run.completed:
        if not lifecycle.in_progress(case, [task]):
            lifecycle.close(case, task)
    elif (
        task.state == State.RUNNING
        and case.run.state == State.RUNNING
        and items.has_more(task)
        and not task.paging
    ):
        tasks.open_items(case, task)
