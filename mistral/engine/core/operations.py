"""What users and sub-workflows ask of a run (§ 6.3, § 7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mistral.engine.core import (
    beginnings,
    items,
    joins,
    lifecycle,
    mail,
    tasks,
    workflows,
)
from mistral.engine.core.data import Case, merged
from mistral.engine.core.run import Task, move
from mistral.engine.core.views import counting_children
from mistral.errors import (
    BadRequest,
    Forbidden,
    TransitionRefused,
)
from mistral.messages import (
    ChildFinished,
    ChildReopened,
    ChildResumed,
    ResumeWorkflow,
    State,
    StopWorkflow,
    Tell,
    Woke,
)


def resume(case: Case, env: Mapping[str, Any] | None, word: int = 0) -> None:
    """:param word: the parent's word that demands it; 0: the run's own."""
    run = case.run
    if run.state == State.IDLE:
        # It does not wait for its time any longer.
        merge_env(case, env)
        beginnings.prepare(case)
        beginnings.begin(case)
        return
    if run.state != State.PAUSED:
        return
    kept = run.paused_by is not None
    if kept and case.facts.maintenance:
        # It goes on by itself when that is over.
        return
    run.word += 1
    for row in lifecycle.open_children(case):
        event = ResumeWorkflow(run_id=row["id"], word=run.word)
        case.effects.append(Tell(event=event))
    merge_env(case, env)
    move(run, run, State.RUNNING)
    if run.parent:
        lifecycle.tell_parent(case, ChildResumed, word=word, kept=kept)
    lifecycle.keep(case)
    _go_on(case)


def leave_maintenance(case: Case) -> None:
    """Go on, if it is maintenance that paused the run (ENG-230). Its relatives
    hear the same for themselves."""
    run = case.run
    if case.facts.maintenance or run.paused_by is None:
        return
    move(run, run, State.RUNNING)
    if run.parent:
        lifecycle.tell_parent(case, ChildResumed, alone=True, kept=True)
    _go_on(case)


def _go_on(case: Case) -> None:
    """Take up everything that a pause, or the end of the run, held back."""
    run = case.run
    if run.state != State.RUNNING:
        return
    if run.resting:
        if run.ready:
            beginnings.begin_by_itself(case)
        return
    run.behind = False
    run.adopt(case.facts.tasks(run.id, processed=False))
    waiting = sorted(
        (t for t in run.tasks.values() if not t.processed), key=lambda t: t.seq
    )
    run.todo = [t for t in waiting if t.completed]
    for task in run.todo:
        task.resumed = task.rest is None
    _take_up_all(case, waiting)
    workflows.advance(case)


def _take_up_all(case: Case, held: Iterable[Task]) -> None:
    """Go on with what is not over, in this decision or in those that follow."""
    for task in held:
        if case.run.state != State.RUNNING:
            return
        if case.facts.has_time():
            _take_up(case, task)
        else:
            _take_up_later(case, task)


def _take_up_later(case: Case, task: Task) -> None:
    run = case.run
    if task.state == State.IDLE:
        task.step = "released" if task.step == "begin" else "start"
        workflows.put_off(case)
    elif task.state == State.WAITING and not task.ran:
        # To look at a join takes no expressions.
        _take_up(case, task)
    elif task.ready and not task.completed:
        # Its timer comes once more.
        key, epoch = "wait-before", task.epoch
        if task.outcome is not None or task.step == "launch":
            key = "retry" if task.step == "launch" else "wait-after"
            epoch = task.tries
        event = Woke(run_id=run.id, task_id=task.id, key=key, epoch=epoch)
        case.effects.append(Tell(event=event))
    elif task.state == State.RUNNING and task.total is not None:
        tasks.tell_of_more(case, task)


def _take_up(case: Case, task: Task) -> None:
    """Go on with one task that is not over: start, count again, open items."""
    waited = task.outcome is not None
    doing = lifecycle.COMPLETING if waited else lifecycle.RUNNING
    with lifecycle.forced(case, task, doing):
        if task.state == State.WAITING and not task.ran:
            if task.ready:
                # The delay of a retry is over: the join is decided again.
                task.ready, task.step = False, None
            joins.survey(case, task)
            workflows.decide_join(case, task)
        elif task.state == State.IDLE or (task.ready and not task.completed):
            if tasks.release(case, task) and case.run.state == State.RUNNING:
                lifecycle.pause(case, None)
        elif task.state == State.RUNNING and task.total is not None:
            if items.has_more(task):
                tasks.open_items(case, task)


def merge_env(case: Case, env: Mapping[str, Any] | None) -> None:
    """:raises Forbidden: the run is in a state that has no use for it (§ 7.5)."""
    run = case.run
    if not env:
        return
    if run.state not in (State.IDLE, State.PAUSED, State.ERROR):
        raise Forbidden(
            "Updating env to workflow execution is only permitted if it is in "
            "IDLE, PAUSED, or ERROR state."
        )
    params = run.params or {}
    run.params = {**params, "env": merged(params.get("env") or {}, env)}


def stop(case: Case, state: str, message: str | None) -> None:
    """:raises BadRequest, TransitionRefused, ExpressionFault: see § 7.2."""
    run = case.run
    if state not in (State.SUCCESS, State.ERROR, State.CANCELLED):
        raise BadRequest(
            f"Cannot change state to {state}. Allowed states are: "
            "SUCCESS, ERROR, CANCELLED"
        )
    if run.state == State.SUCCESS == state:
        lifecycle.say_again(case, message)
        return
    if run.completed and (run.state == State.SUCCESS or state != State.SUCCESS):
        return
    if state == State.SUCCESS:
        if run.state != State.RUNNING:
            move(run, run, State.SUCCESS)
        lifecycle.output_of(case, state, message, None)
    if state == State.CANCELLED:
        for row in lifecycle.open_children(case):
            event = StopWorkflow(run_id=row["id"], state=state, message=message)
            case.effects.append(Tell(event=event))
    lifecycle.finish(case, state, message, final=True)


def reopen(case: Case, rerun: Task | None) -> None:
    """RUNNING again, and with it every ancestor (W8).

    :raises TransitionRefused: the run ended in SUCCESS.
    """
    run = case.run
    run.redone += 1
    if not run.completed:
        return
    was = run.state
    move(run, run, State.RUNNING)
    run.timed, run.untimed = run.timed or run.untimed, False
    run.accepted = run.expired = False
    beginnings.limit(case)
    if run.parent:
        lifecycle.tell_parent(case, ChildReopened, was=was)
    lifecycle.keep(case)
    run.adopt(case.facts.tasks(run.id, processed=False))
    for task in list(run.tasks.values()):
        if task is rerun:
            continue
        if task.closed_from is not None:
            was, task.closed_from = task.closed_from, None
            move(run, task, was)
            task.finished_at = None
            # Its timer may be gone: it goes on at once.
            task.ready = task.state == State.DELAYED or task.step == "launch"
        with lifecycle.forced(case, task, lifecycle.COMPLETING):
            tasks.limit_again(case, task)
    mail.limit_again(case)


def rerun(case: Case, task: Task, reset: bool, env: Mapping[str, Any] | None) -> None:
    """:raises BadRequest: the task is not in ERROR, or the run is paused."""
    _check_redo(case, task, "rerun")
    merge_env(case, env)
    reopen(case, task)
    kept: set[int] = set()
    task.keep = False
    if reset or task.total is None:
        tasks.invalidate(case, task)
    else:
        kept = tasks.invalidate(case, task, only_bad=True)
        if task.type == "WORKFLOW":
            kept = _good_children(case, task)
        task.chosen = [i for i in range(task.total) if i not in kept]
        task.keep = True
    causes = (task.runtime_context or {}).get("triggered_by")
    task.runtime_context = {"triggered_by": causes} if causes else {}
    task.processed = task.error_handled = False
    task.finished_at = None
    task.next_tasks, task.has_next_tasks = None, False
    task.rest = None
    joins.mark_redone(case, task)
    # An operator's word overrides the inbound tasks, in its retries too (J5).
    task.ran = task.unique_key is not None
    workflows.begin(case, task)
    go_on_after(case, task)


def _good_children(case: Case, task: Task) -> set[int]:
    found = counting_children(case, [task])[task.id]
    return {i for i, row in found.items() if row["state"] == State.SUCCESS}


def skip(case: Case, task: Task, env: Mapping[str, Any] | None) -> None:
    """:raises BadRequest: the task is not in ERROR, or the run is paused."""
    _check_redo(case, task, "skip")
    merge_env(case, env)
    reopen(case, task)
    # It ends a second time: joins have to look at what it gave them before.
    task.epoch += 1
    joins.mark_redone(case, task)
    task.runtime_context = {}
    task.rest = None
    task.processed = False
    with lifecycle.forced(case, task, lifecycle.COMPLETING):
        tasks.complete(case, task, State.SKIPPED, "Task was skipped.")
    go_on_after(case, task)


def go_on_after(case: Case, task: Task) -> None:
    mine = [each for each in case.run.todo if each is task]
    if case.run.state != State.RUNNING:
        return
    todo = [each for each in case.run.todo if each is not task]
    case.run.behind = False
    case.run.adopt(case.facts.tasks(case.run.id, processed=False))
    held = [
        each
        for each in case.run.tasks.values()
        if not each.processed and each is not task and each not in todo
    ]
    todo.extend(each for each in held if each.completed)
    _take_up_all(case, [each for each in held if not each.completed])
    case.run.todo = [*mine, *todo, *(t for t in case.run.todo if t not in mine + todo)]
    workflows.advance(case)


def _check_redo(case: Case, task: Task, verb: str) -> None:
    """:raises TransitionRefused: the run, or one above it, ended in SUCCESS (W8)."""
    above = case.run.parent
    while above is not None:
        header = case.facts.header(above["run_id"])
        if header is None:
            break
        if header["state"] == State.SUCCESS:
            raise TransitionRefused(
                f"Cannot {verb} a task below a workflow execution that ended in "
                f"SUCCESS [execution_id={header['id']}]"
            )
        above = header["internals"].get("parent")
    if case.run.state == State.PAUSED:
        raise BadRequest(
            f"Cannot {verb} a task of a paused workflow execution; resume it first."
        )
    if task.state != State.ERROR:
        raise BadRequest(
            f"The current task execution must be in ERROR for {verb}. "
            f"Only updating environment is allowed... found {task.state}"
        )


def delete(case: Case, force: bool) -> None:
    """All sub-workflows go with it; whoever waits for its end hears of an error, as
    nothing else would ever come (decision 0035).

    :raises Forbidden: the run is not over, and nobody insisted.
    """
    run = case.run
    if not run.completed and not force:
        raise Forbidden(
            f"Only completed executions can be deleted. Execution {run.id} is in "
            f"{run.state} state; use force to delete it all the same."
        )
    if run.parent and not run.completed:
        lifecycle.tell_parent(
            case,
            ChildFinished,
            index=run.parent["index"],
            state=State.ERROR,
            message=f"The sub-workflow was deleted [wf_ex_id={run.id}].",
            paused=run.state == State.PAUSED,
            kept=run.paused_by is not None,
            ending=run.endings + 1,
        )
    run.deleted = True
