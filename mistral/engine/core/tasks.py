"""One task at a time: created, begun, launched, completed; never its neighbours.

A finished task is only marked finished and not yet routed (``run.todo``);
``workflows.advance`` decides what follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from mistral.engine.core import actions, items, joins, notices, policies
from mistral.engine.core.contexts import Context, columns
from mistral.engine.core.data import Case, actions_of
from mistral.engine.core.publishing import publish
from mistral.engine.core.run import Action, Task, TaskFault, move
from mistral.engine.core.views import view
from mistral.engine.core.wording import message_of, of_item
from mistral.errors import AuthorError
from mistral.messages import (
    COMPLETED,
    MoreItems,
    StartWorkflow,
    State,
    StopWorkflow,
    Tell,
    Woke,
)

SOME_FAILED = "One or more actions had failed."
SOME_CANCELLED = "One or more actions was cancelled."

INHERITED: Final = ("notify", "priority")
"""Parameters of a run that its sub-workflows have, too."""


def create(
    case: Case,
    name: str,
    context: Context,
    triggered_by: list[dict[str, str]] | None,
) -> Task:
    """A new execution of a task: IDLE, or WAITING for a join."""
    run = case.run
    spec = run.spec.tasks[name]
    run.task_seq += 1
    waits = spec.join is not None
    task = Task(
        id=run.new_id(),
        workflow_execution_id=run.id,
        seq=run.task_seq,
        project_id=run.project_id,
        name=name,
        type=spec.type,
        workflow_name=run.workflow_name,
        workflow_namespace=run.workflow_namespace,
        workflow_id=run.workflow_id,
        tags=list(spec.tags),
        state=(State.WAITING if waits else State.IDLE).value,
        state_info="Task is waiting." if waits else None,
        processed=False,
        **columns(context),
        has_next_tasks=False,
        error_handled=False,
        unique_key=name if waits else None,
        runtime_context={"triggered_by": triggered_by} if triggered_by else {},
        created_at=case.now,
    )
    run.tasks[task.id] = task
    run.open += 1
    run.waiting += waits
    run.transitions.append(["task", task.id, name, None, task.state])
    return task


def begin(case: Case, task: Task, *, released: bool = False) -> bool:
    """Start a task for the first time, or again by a rerun.

    :param released: pause-before has been answered by a resume.
    :returns: whether the run must be paused (pause-before).
    """
    spec = case.spec_of(task)
    values = policies.evaluate(case, task, spec)
    task.epoch += 1
    task.warned = None
    task.expired = False
    task.waited = False
    task.outcome = None
    task.ready = False
    if not task.keep:
        # Its items are counted anew (§ 4.6).
        task.total = None
    if values.pause and not released:
        move(case.run, task, State.RUNNING)
        move(case.run, task, State.IDLE, "Set by 'pause-before' policy")
        task.step = "begin"
        return True
    task.step = None
    move(case.run, task, State.RUNNING)
    task.started_at = case.now
    context = dict(task.runtime_context or {})
    if values.concurrency:
        context["concurrency"] = values.concurrency
    if values.timeout:
        _wake(case, task, "timeout", values.timeout, task.epoch)
    _warn_when_slow(case, task)
    if values.wait:
        context["wait_before_policy"] = {"skip": True}
        task.runtime_context = context
        text = f"Delayed by 'wait-before' policy [delay={values.wait}]"
        move(case.run, task, State.DELAYED, text)
        _wake(case, task, "wait-before", values.wait, task.epoch)
        return False
    task.runtime_context = context
    launch(case, task)
    return False


def _wake(case: Case, task: Task, key: str, seconds: float, epoch: int) -> None:
    due = case.now + timedelta(seconds=seconds)
    event = Woke(run_id=case.run.id, task_id=task.id, key=key, epoch=epoch)
    case.run.timed = True
    case.effects.append(Tell(event=event, due_at=due))


def _warn_when_slow(case: Case, task: Task) -> None:
    """Let those hear of it who want to, if the task is not done in time."""
    began = task.started_at or case.now
    for seconds in notices.slow_after(case):
        due = began + timedelta(seconds=seconds)
        if due <= case.now:
            continue
        event = Woke(
            run_id=case.run.id,
            task_id=task.id,
            key="slow",
            epoch=task.epoch,
            seconds=seconds,
        )
        case.run.timed = True
        case.effects.append(Tell(event=event, due_at=due))


def limit_again(case: Case, task: Task) -> None:
    """Set the time-out of an open task anew: it may have come while the run was
    over. Of two that are set the later one finds nothing to do."""
    if task.completed or task.started_at is None:
        return
    _warn_when_slow(case, task)
    limit = policies.evaluate(case, task, case.spec_of(task)).timeout
    if limit:
        passed = int((case.now - task.started_at).total_seconds())
        _wake(case, task, "timeout", max(0, limit - passed), task.epoch)


def launch(case: Case, task: Task) -> None:
    """Open the task's children: the first time, and for each retry."""
    spec = case.spec_of(task)
    if task.state != State.RUNNING:
        move(case.run, task, State.RUNNING)
    if task.started_at is None:
        task.started_at = case.now
    task.tries += 1
    # The last attempt counts, also when it publishes nothing (ENG-112).
    task.published = task.published_versions = None
    task.open = task.done = task.failed = task.cancelled = 0
    task.held = task.kept = 0
    task.cursor = 0
    task.paging = False
    task.said = None
    with ordinary_errors(case, task):
        if spec.with_items is None:
            task.total = None
            _open(case, task, 0, None)
            return
        items.collect(case, task, spec)
        if not task.keep:
            task.chosen = None
        task.keep = False
        items.show(task)
        if items.queue_length(task) == 0:
            complete(case, task, State.SUCCESS, None)
            return
        open_items(case, task)


@contextmanager
def ordinary_errors(case: Case, task: Task) -> Iterator[None]:
    try:
        yield
    except TaskFault as error:
        complete(case, task, State.ERROR, _told(case, error, task))


def _told(case: Case, error: TaskFault, task: Task) -> str | None:
    return of_item(message_of(case, error, task), error.item)


def open_items(case: Case, task: Task) -> None:
    """Open items up to the concurrency: a page at the most in one decision, less
    when their expressions take long."""
    page = case.facts.rules.page
    while page and items.has_more(task) and items.has_room(task):
        if task.completed:
            return
        if not case.facts.has_time():
            break
        index = items.next_index(task)
        page -= 1
        try:
            _open(case, task, index, items.at(case, task, index))
        except TaskFault as error:
            complete(case, task, State.ERROR, _told(case, error, task))
            return
    items.show(task)
    if task.completed:
        return
    if items.has_more(task) and items.has_room(task):
        tell_of_more(case, task)


def tell_of_more(case: Case, task: Task) -> None:
    """Have the next page opened by an event of its own."""
    task.paging = True
    event = MoreItems(run_id=case.run.id, task_id=task.id, epoch=task.tries)
    case.effects.append(Tell(event=event))


def _open(case: Case, task: Task, index: int, item: Mapping[str, Any] | None) -> None:
    """Open one child.

    :param item: the loop variables; None: the task has no items.
    :raises TaskFault, WorkflowFault, ExpressionFault: with the item.
    """
    task.open += 1
    try:
        with about_item(task, index):
            action = _opened(case, task, index, item)
    except AuthorError:
        task.open -= 1
        raise
    if action is not None and action.completed:
        with actions.handling(action):
            action_done(case, task, action)


@contextmanager
def about_item(task: Task, index: int) -> Iterator[None]:
    """A fault in here is one of this item, if the task has any."""
    try:
        yield
    except AuthorError as error:
        error.item = None if task.total is None else index
        raise


def _opened(
    case: Case, task: Task, index: int, item: Mapping[str, Any] | None
) -> Action | None:
    """The action execution; None: it is a sub-workflow."""
    spec = case.spec_of(task)
    if spec.workflow is not None:
        _open_workflow(case, task, index, item)
        return None
    timeout = 0
    if spec.policies.timeout:
        timeout = policies.evaluate(case, task, spec).timeout
    return actions.open_action(case, task, spec, index, item, timeout)


def _open_workflow(
    case: Case, task: Task, index: int, item: Mapping[str, Any] | None
) -> None:
    run = case.run
    spec = case.spec_of(task)
    seen = view(case, task, extra=item)
    name = actions.evaluated_name(case, task, spec.workflow or "", "workflow")
    given = actions.evaluated_input(case, spec, seen)
    params = run.params or {}
    case.effects.append(
        Tell(
            event=StartWorkflow(
                run_id=run.new_id(),
                workflow_name=name,
                namespace=params.get("namespace") or "",
                input=given,
                params={name: params[name] for name in INHERITED if params.get(name)},
                description="sub-workflow execution",
                context={**(run.security or {}), "project_id": run.project_id},
                parent={
                    "run_id": run.id,
                    "task_id": task.id,
                    "attempt": task.tries,
                    "index": index,
                    "root_id": run.root_execution_id or run.id,
                    "workbook": run.workbook,
                },
            )
        )
    )


def action_done(case: Case, task: Task, action: Action) -> None:
    """An action of the present launch ended: count it, perhaps complete the task."""
    count(task, action.state, 1)
    judge(case, task, actions.text_of((action.output or {}).get("result")))


def count(task: Task, state: str, ended: int) -> None:
    """A child of the present launch ended (1), or goes on after all (-1)."""
    task.open -= ended
    task.done += ended
    task.failed += ended * (state == State.ERROR)
    task.cancelled += ended * (state == State.CANCELLED)


def judge(case: Case, task: Task, message: str | None) -> None:
    """Complete the task if its children say so.

    :param message: what an only child said.
    """
    if task.completed or task.state in (State.DELAYED, State.WAITING, State.IDLE):
        # It is over, or it waits for a timer or a resume.
        return
    single = task.total is None
    if not single:
        items.show(task)
    if task.cancelled > 0 and (task.open <= 0 or not single):
        complete(case, task, State.CANCELLED, message if single else SOME_CANCELLED)
    elif task.open > 0 or (not single and items.has_more(task)):
        return
    elif task.failed > 0:
        complete(case, task, State.ERROR, message if single else SOME_FAILED)
    else:
        complete(case, task, State.SUCCESS, None)


def complete(case: Case, task: Task, state: str, info: str | None) -> None:
    """The completion sequence of a task (§ 2.2, steps 1 to 7).

    :raises ExpressionFault, WorkflowFault: forced failures.
    """
    if task.completed and state != State.SKIPPED:
        return
    spec = case.spec_of(task)
    if task.state == State.WAITING and state == State.SUCCESS:
        move(case.run, task, State.RUNNING)
    move(case.run, task, state, info)
    task.finished_at = case.now
    task.step = None
    if state != State.CANCELLED:
        joins.refresh(case, task)
        publish(case, task, spec)
    if state == State.SKIPPED:
        _drop_result(case, task, spec.keep_result)
    if state != State.SKIPPED and _held_by_policy(case, task):
        return
    task.ready = False
    case.run.todo.append(task)


def _drop_result(case: Case, task: Task, keep: Any) -> None:
    if isinstance(keep, str):
        keep = case.evaluate(keep, view(case, task), "keep-result")
    if keep or task.type != "ACTION":
        return
    for action in actions_of(case, task):
        if action.completed:
            action.output = {}


def _held_by_policy(case: Case, task: Task) -> bool:
    """wait-after, fail-on, retry, in this order; true: it is not over yet."""
    spec = case.spec_of(task)
    values = policies.evaluate(case, task, spec)
    over = case.run.completed
    if values.wait_after and not (task.waited or task.expired or over):
        task.waited = True
        task.outcome = [task.state, task.state_info]
        task.runtime_context = {
            **(task.runtime_context or {}),
            "wait_after_policy": {"skip": True},
        }
        text = f"Delayed by 'wait-after' policy [delay={values.wait_after}]"
        move(case.run, task, State.DELAYED, text)
        _wake(case, task, "wait-after", values.wait_after, task.tries)
        return True
    if task.state != State.CANCELLED:
        # Only now: after a wait it is published once more.
        _drop_result(case, task, spec.keep_result)
    if policies.fails_on(case, task, spec):
        move(case.run, task, State.ERROR, "Failed by 'fail-on' policy")
    if not policies.repeats(case, task, spec, values) or over:
        # Nothing starts again in a run that has ended (§ 2.6).
        return False
    context = task.runtime_context or {}
    made = context["retry_task_policy"].get("retry_no", 0) + 1
    task.runtime_context = {
        **context,
        "retry_task_policy": {"retry_no": made},
    }
    invalidate(case, task)
    chance = case.run.chance(task.id, task.tries)
    seconds = values.retry.seconds(made - 1, chance)
    text = f"Delayed by 'retry' policy [delay={seconds}]"
    held = State.WAITING if task.unique_key else State.DELAYED
    task.step = "launch"
    move(case.run, task, held, text)
    _wake(case, task, "retry", seconds, task.tries)
    return True


def invalidate(case: Case, task: Task, only_bad: bool = False) -> set[int]:
    """Results so far do not count any more; returns the indexes that still do."""
    kept: set[int] = set()
    if task.type != "ACTION":
        if not only_bad:
            task.since = task.tries + 1
        return kept
    for action in actions_of(case, task):
        if not action.accepted:
            continue
        if only_bad and action.state == State.SUCCESS:
            kept.add(action.item_index)
        else:
            action.accepted = False
    return kept


def release(case: Case, task: Task) -> bool:
    """Go on with what was held back: a pause, or a timer during one.

    :returns: whether the run must be paused again.
    """
    step, task.ready = task.step, False
    if task.state == State.IDLE:
        return begin(case, task, released=step in ("begin", "released"))
    if task.outcome is not None and task.state == State.DELAYED:
        (state, info), task.outcome = task.outcome, None
        complete(case, task, state, info)
    elif task.state in (State.DELAYED, State.WAITING):
        task.step = None
        launch(case, task)
    return False


def expire(case: Case, task: Task, seconds: int) -> None:
    """The time-out: the task ends for good and lets go of its children."""
    task.expired = True
    task.outcome = None
    for action in actions_of(case, task):
        if not action.completed:
            actions.abandon(case, action)
    if task.type == "WORKFLOW":
        for row in case.facts.children([task.id]):
            if row["state"] not in COMPLETED:
                text = f"Parent task timed out [timeout(s)={seconds}]."
                event = StopWorkflow(
                    run_id=row["id"], state=State.CANCELLED, message=text
                )
                case.effects.append(Tell(event=event))
    complete(case, task, State.ERROR, f"Task timed out [timeout(s)={seconds}].")
