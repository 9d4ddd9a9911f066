"""The header's own moves: it is paused, it ends; and who is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from mistral.engine.core import policies
from mistral.engine.core.contexts import Held
from mistral.engine.core.data import Case, Failed, check_size
from mistral.engine.core.meeting import meet
from mistral.engine.core.ports import Facts
from mistral.engine.core.run import Move, Task, move
from mistral.engine.core.views import counting_children, view
from mistral.engine.core.wording import attempt_of, message_of
from mistral.errors import (
    AuthorError,
    ExpressionFault,
    Locked,
    WorkflowFault,
)
from mistral.messages import (
    COMPLETED,
    ChildFinished,
    ChildNews,
    ChildPaused,
    Effect,
    Event,
    PauseWorkflow,
    QueueLook,
    State,
    Tell,
)

BUDGET: Final = "the timeout covers waits, all attempts and the delays between them"
"""What a time-out is often not thought to be (LINT-22)."""

CLOSED = "The task was open when its workflow ended."

MAINTENANCE: Final = "maintenance"
KEPT: Final = "Paused by maintenance."

LATER: Final = timedelta(seconds=5)
"""After this a trigger that came in maintenance asks again."""

AWAITING = (State.RUNNING, State.PAUSED)
"""States of a task that waits for its children."""


RUNNING: Final = "Failed to run task"
HANDLING: Final = "Failed to handle action completion"
COMPLETING: Final = "Failed to complete task"
"""What was being done, as the text of a forced failure begins (§ 1.7): starting;
what a result led to; what no child did: a timer, a time-out, a join, a skip."""


def deciding(task: Task) -> str:
    """What is being done when the follow-ups of an ended task are decided."""
    if task.total == 0:
        # Without an item it ends as it starts.
        return RUNNING
    by_itself = task.expired or task.waited or task.started_at is None
    return COMPLETING if by_itself or task.state == State.SKIPPED else HANDLING


@contextmanager
def forced(case: Case, task: Task, doing: str) -> Iterator[None]:
    """A fault in the text of the workflow ends the run at once (§ 2.8), unless a
    command that stands behind the task is about to.

    :param doing: one of ``RUNNING``, ``HANDLING``, ``COMPLETING``.
    """
    try:
        yield
    except (ExpressionFault, WorkflowFault) as error:
        run = case.run
        if error.handled is not None:
            doing = HANDLING
        about = ""
        if doing == HANDLING:
            about = f", action={error.handled or _last_child(case, task)}"
        about += _which(error, task)
        text = (
            f"{doing} [error={message_of(case, error, task)}, wf={run.workflow_name}, "
            f"task={task.name}{about}]"
        )
        if task.state != State.CANCELLED:
            move(run, task, State.ERROR, text)
        task.finished_at = case.now
        task.processed = False
        task.has_next_tasks = False
        task.error_handled = False
        if not (run.completed or case.ending):
            finish(case, State.ERROR, text)


def _last_child(case: Case, task: Task) -> str:
    """Name of the action or workflow whose result the task heard last."""
    if task.type == "WORKFLOW":
        names = [row["workflow_name"] for row in case.facts.children([task.id])]
    else:
        run = case.run
        rows = case.facts.actions(run.id, task_ids=[task.id])
        known = [*run.adopt_actions(rows), *run.actions.values()]
        names = [each.name for each in known if each.task_execution_id == task.id]
    return names[-1] if names else task.name


def _which(error: AuthorError, task: Task) -> str:
    """Item and attempt of a fault, where there are several."""
    item = "" if error.item is None else f", item={error.item}"
    attempt = attempt_of(task)
    return f"{item}, attempt={attempt}" if attempt > 1 else item


def pause(case: Case, message: str | None, word: int = 0) -> None:
    """:param word: the parent's word that demands it; 0: the run's own.
    :raises TransitionRefused: the run is over.
    """
    run = case.run
    again = run.paused_by is not None
    if run.state == State.PAUSED and not again:
        return
    move(run, run, State.PAUSED, message)
    run.word += 1
    for row in open_children(case):
        event = PauseWorkflow(run_id=row["id"], message=message, word=run.word)
        case.effects.append(Tell(event=event))
    if run.parent:
        tell_parent(case, ChildPaused, word=word, again=again)


def keep(case: Case) -> None:
    """In maintenance nothing runs on: the run is PAUSED until that is over.

    Its relatives are not told to follow: each is kept when its turn comes, and
    goes on by itself (Q-37), unless somebody else pauses or resumes it.
    """
    run = case.run
    if not case.facts.maintenance or run.standalone or run.state != State.RUNNING:
        return
    move(run, run, State.PAUSED, KEPT)
    run.paused_by = MAINTENANCE
    if run.parent:
        tell_parent(case, ChildPaused, alone=True)


def refuse_in_maintenance(facts: Facts) -> None:
    """:raises Locked: nothing may be started now (ENG-229)."""
    if facts.maintenance:
        raise Locked(
            f"Current Mistral state is {facts.maintenance}. Method is not allowed"
        )


def postponed(facts: Facts, event: Event, now: datetime) -> list[Effect] | None:
    """Whether a trigger must wait: the one place where what is about to start a
    workflow by itself asks (ENG-225).

    :returns: in maintenance the effects that replace everything else: the same
        event, later. Nothing is lost or moved on. None: go ahead.
    """
    return [Tell(event=event, due_at=now + LATER)] if facts.maintenance else None


def open_children(case: Case) -> Sequence[Mapping[str, Any]]:
    """Sub-workflows that are not over, of every task: one that failed or was
    cancelled because of one item has left the others running (§ 4.4, § 6.3)."""
    run = case.run
    calls = any(spec.workflow is not None for spec in run.spec.tasks.values())
    return case.facts.open_children(run.id) if calls and not run.is_new else ()


def finish(
    case: Case,
    state: str,
    info: str | None,
    by: Task | None = None,
    result: Any = None,
    *,
    final: bool = False,
) -> None:
    """End the run: output, state, word to the parent, nothing left open.

    :param by: the task whose command it was: its variables are in the output
        although others follow it.
    :param result: what the output says as ``result``; null: the reason.
    :param final: not to be repeated, whatever ``retry`` of the workflow says.
    """
    run = case.run
    try:
        output = output_of(case, state, info, by, result)
        check_size(case, output, "WorkflowExecution", "output")
    except (ExpressionFault, WorkflowFault) as error:
        if state == State.SUCCESS:
            text = (
                f"Failed to check and complete [wf_ex_id={run.id}, "
                f"wf_name={run.workflow_name}]: {message_of(case, error)}"
            )
            finish(case, State.ERROR, text, by)
            return
        info = (
            "Failed to evaluate expression in output-on-error! "
            f"[error={message_of(case, error)}, cause={info}]"
        )
        output = {"result": info}
    was, kept = run.state, run.paused_by is not None
    if state == State.ERROR and not final:
        info = _decide_to_repeat(case, info, by)
    move(run, run, state, info)
    run.endings += 1
    run.untimed, run.timed = run.timed, False
    run.output = output
    run.accepted = True
    run.ended_by = None if by is None else by.id
    close_open(case)
    link = run.triggered_by or {}
    if link.get("awaited") and case.failed is None:
        case.effects.append(Tell(event=QueueLook(trigger_id=link["id"])))
    if run.parent and case.failed is None:
        tell_parent(
            case,
            ChildFinished,
            state=state,
            message=text_of_output(output, info),
            index=run.parent["index"],
            paused=was == State.PAUSED,
            kept=kept,
            ending=run.endings,
        )


def _decide_to_repeat(case: Case, info: str | None, by: Task | None) -> str | None:
    """Note if the attempt that fails is followed by another (``beginnings.repeat``).

    :returns: why it failed; with the fault of ``break-on``, which ends it for good.
    """
    run = case.run
    if not 1 <= run.begun <= policies.repeats_of(run).count:
        return info
    break_on = run.spec.retry and run.spec.retry.break_on
    if break_on:
        seen = view(case, branch=meet(case, end_tasks(case, by)))
        try:
            if case.evaluate(break_on, seen, "retry.break-on"):
                return info
        except ExpressionFault as error:
            return f"{info or ''}\n{message_of(case, error)}".strip()
    case.failed = Failed(run.state, run.paused_by)
    return info


def say_again(case: Case, info: str | None) -> None:
    """A run that succeeded is told so once more (§ 7.2): reason and output are
    written anew and publishers hear it. The parent's task is over, it does not.

    :raises ExpressionFault, WorkflowFault: the output fails; nothing changes.
    """
    run = case.run
    by = None
    if run.ended_by:
        [by] = run.adopt(case.facts.tasks(run.id, ids=[run.ended_by]))
    output = output_of(case, State.SUCCESS, info, by)
    check_size(case, output, "WorkflowExecution", "output")
    move(run, run, State.SUCCESS, info)
    run.moves.append(Move(run, State.SUCCESS, State.SUCCESS, info, False))
    run.output = output


def text_of_output(output: Mapping[str, Any], info: str | None) -> str | None:
    said = output.get("result", info)
    return said if said is None or isinstance(said, str) else str(said)


def output_of(
    case: Case, state: str, info: str | None, by: Task | None, result: Any = None
) -> dict[str, Any]:
    run = case.run
    if state == State.CANCELLED:
        return {"result": info}
    if run.spec.type == "reverse":
        target = (run.params or {}).get("task_name")
        ended = [t for t in end_tasks(case) if t.name == target]
    else:
        ended = end_tasks(case, by)
    context = meet(case, ended)
    tree, name = run.spec.output, "output"
    if state != State.SUCCESS:
        tree, name = run.spec.output_on_error, "output-on-error"
    output: Mapping[str, Any] = {}
    if tree:
        output = case.evaluate(dict(tree), view(case, branch=context), name)
    if not tree or (state == State.SUCCESS and not output):
        output = Held(case, context)
    if state == State.SUCCESS:
        return dict(output)
    return {"result": info if result is None else result, **output}


def end_tasks(case: Case, by: Task | None = None) -> list[Task]:
    run = case.run
    if not run.is_new:
        run.adopt(case.facts.tasks(run.id, states=list(COMPLETED), has_next=False))
    found = {
        task.id: task
        for task in run.tasks.values()
        if task.completed and not task.has_next_tasks and not task.closed_from
    }
    if by is not None:
        found[by.id] = by
    return list(found.values())


def failure(case: Case, failed: list[Task]) -> str:
    """The text of § 1.7; what a sub-workflow says is told once."""
    names = ", ".join(dict.fromkeys(task.name for task in failed))
    lines = [f"Failure caused by error in tasks: {names}\n"]
    adopt_actions(case, failed, [State.ERROR])
    for task in failed:
        info = (task.state_info or "")[:2000]
        lines.append(f"\n  {task.name} [task_ex_id={task.id}] -> {info}\n")
        attempts = attempt_of(task)
        if attempts > 1:
            lines.append(f"    attempts: {attempts}\n")
        if task.expired:
            lines.append(f"    {BUDGET}\n")
        if task.type != "ACTION":
            lines.extend(_failed_items(case, task))
            continue
        actions = case.run.actions.of(task.id)
        for action in sorted(actions, key=lambda each: each.item_index):
            if action.accepted and action.state == State.ERROR:
                shown = str((action.output or {}).get("result"))[:1000]
                lines.append(
                    f"    [action_ex_id={action.id}, idx={action.item_index}]:"
                    f" {shown}\n"
                )
    return "".join(lines)


def _failed_items(case: Case, task: Task) -> Iterator[str]:
    """Which sub-workflows of a with-items task failed, and why. A task with one
    sub-workflow says its text itself, and once is enough (§ 1.7)."""
    if case.run.spec.tasks[task.name].with_items is None:
        return
    rows = counting_children(case, [task])[task.id]
    for index, row in sorted(rows.items()):
        if row["state"] == State.ERROR:
            said = text_of_output(row["output"] or {}, row["state_info"])
            yield f"    [wf_ex_id={row['id']}, idx={index}]: {str(said)[:1000]}\n"


def close_open(case: Case) -> None:
    """Nothing that could start something stays open (ENG-068, ENG-074): it is
    closed and remembered, for the case that the run is reopened."""
    run = case.run
    if run.open == 0:
        return
    if not run.is_new:
        run.adopt(case.facts.tasks(run.id, processed=False))
    left = [task for task in run.tasks.values() if not task.completed]
    going_on = in_progress(case, left)
    for task in left:
        if task.id not in going_on:
            close(case, task)


def adopt_actions(case: Case, tasks: Iterable[Task], states: list[State]) -> None:
    """Load actions of these tasks: one look-up for all."""
    ids = [task.id for task in tasks if task.type == "ACTION" and not task.is_new]
    if ids:
        rows = case.facts.actions(case.run.id, task_ids=ids, states=states)
        case.run.adopt_actions(rows)


def in_progress(case: Case, tasks: Iterable[Task]) -> set[str]:
    """Ids of those of the tasks that have a child which will end by itself.

    A synchronous action does, or its executor is found lost; a sub-workflow is
    a run of its own. An asynchronous action may be answered never: it is
    detached, and a result that comes all the same still completes the task.
    """
    awaiting = [task for task in tasks if task.open > 0 and task.state in AWAITING]
    adopt_actions(case, awaiting, [State.RUNNING, State.PAUSED])
    return {
        task.id
        for task in awaiting
        if task.type != "ACTION" or _has_own_end(case, task)
    }


def _has_own_end(case: Case, task: Task) -> bool:
    return any(
        action.is_sync and not action.completed and action.epoch == task.tries
        for action in case.run.actions.of(task.id)
    )


def reopen_detached(case: Case, task: Task) -> None:
    """A child of a task that the end of the run closed has a result after all
    (§ 7.8): the task is as it was, so that it can take it."""
    if task.closed_from not in AWAITING or task.open <= 0:
        return
    was, task.closed_from = task.closed_from, None
    move(case.run, task, was)
    task.finished_at = None


def close(case: Case, task: Task) -> None:
    """The run is over and nothing of the task is: it is not waited for."""
    task.closed_from = task.state
    move(case.run, task, State.CANCELLED, CLOSED)
    task.finished_at = case.now
    task.processed = False


def tell_parent(case: Case, kind: type[ChildNews], **values: Any) -> None:
    parent = case.run.parent or {}
    event = kind(
        run_id=parent["run_id"],
        task_id=parent["task_id"],
        child_id=case.run.id,
        attempt=parent["attempt"],
        **values,
    )
    case.effects.append(Tell(event=event))
