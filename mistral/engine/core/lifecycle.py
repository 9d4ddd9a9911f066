"""The header's own moves: it is paused, it ends; and who is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from mistral.engine.core.data import Case, check_size, meet, resolved
from mistral.engine.core.ports import Facts
from mistral.engine.core.run import Task, move
from mistral.engine.core.views import counting_children, view
from mistral.engine.core.wording import message_of
from mistral.errors import (
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
    State,
    Tell,
)

CLOSED = "The task was open when its workflow ended."

MAINTENANCE: Final = "maintenance"
KEPT: Final = "Paused by maintenance."

LATER: Final = timedelta(seconds=5)
"""After this a trigger that came in maintenance asks again."""

AWAITING = (State.RUNNING, State.PAUSED)
"""States of a task that waits for its children."""


@contextmanager
def forced(case: Case, task: Task, doing: str, action: str = "") -> Iterator[None]:
    """A fault in the text of the workflow ends the run at once (§ 2.8).

    :param action: name of the action whose result is handled (§ 1.7).
    """
    try:
        yield
    except (ExpressionFault, WorkflowFault) as error:
        run = case.run
        about = f", action={action}" if action else ""
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
        if not run.completed:
            finish(case, State.ERROR, text)


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


def open_children(case: Case) -> list[Mapping[str, Any]]:
    run = case.run
    if not run.is_new:
        states = [State.RUNNING, State.PAUSED, State.DELAYED]
        run.adopt(case.facts.tasks(run.id, states=states))
    ids = [
        task.id
        for task in run.tasks.values()
        if task.type == "WORKFLOW" and not task.completed and not task.is_new
    ]
    if not ids:
        return []
    return [row for row in case.facts.children(ids) if row["state"] not in COMPLETED]


def finish(case: Case, state: str, info: str | None, also: Iterable[Task] = ()) -> None:
    """End the run: output, state, word to the parent, nothing left open."""
    run = case.run
    try:
        output = output_of(case, state, info, also)
        check_size(case, output, "WorkflowExecution", "output")
    except (ExpressionFault, WorkflowFault) as error:
        if state == State.SUCCESS:
            text = (
                f"Failed to check and complete [wf_ex_id={run.id}, "
                f"wf_name={run.workflow_name}]: {message_of(case, error)}"
            )
            finish(case, State.ERROR, text, also)
            return
        info = (
            "Failed to evaluate expression in output-on-error! "
            f"[error={message_of(case, error)}, cause={info}]"
        )
        output = {"result": info}
    was, kept = run.state, run.paused_by is not None
    move(run, run, state, info)
    run.endings += 1
    run.output = output
    run.accepted = True
    close_open(case)
    if run.parent:
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


def text_of_output(output: Mapping[str, Any], info: str | None) -> str | None:
    said = output.get("result", info)
    return said if said is None or isinstance(said, str) else str(said)


def output_of(
    case: Case, state: str, info: str | None, also: Iterable[Task]
) -> dict[str, Any]:
    run = case.run
    if state == State.CANCELLED:
        return {"result": info}
    if run.spec.type == "reverse":
        target = (run.params or {}).get("task_name")
        ended = [t for t in end_tasks(case) if t.name == target]
    else:
        ended = end_tasks(case, also)
    context, _ = meet(case, ended)
    final = {key: resolved(case, value) for key, value in context.items()}
    tree = run.spec.output if state == State.SUCCESS else run.spec.output_on_error
    output = final
    if tree:
        output = case.evaluate(dict(tree), view(case, branch=context))
    if state == State.SUCCESS:
        return output or final
    return {"result": info, **output}


def end_tasks(case: Case, also: Iterable[Task] = ()) -> list[Task]:
    run = case.run
    if not run.is_new:
        run.adopt(case.facts.tasks(run.id, states=list(COMPLETED), has_next=False))
    found = {
        task.id: task
        for task in run.tasks.values()
        if task.completed and not task.has_next_tasks and not task.closed_from
    }
    found.update((task.id, task) for task in also)
    return list(found.values())


def failure(case: Case, failed: list[Task]) -> str:
    """The text of § 1.7; what a sub-workflow says is told once."""
    names = ", ".join(dict.fromkeys(task.name for task in failed))
    lines = [f"Failure caused by error in tasks: {names}\n"]
    for task in failed:
        info = (task.state_info or "")[:2000]
        lines.append(f"\n  {task.name} [task_ex_id={task.id}] -> {info}\n")
        retries = (task.runtime_context or {}).get("retry_task_policy") or {}
        if retries.get("retry_no"):
            lines.append(f"    attempts: {retries['retry_no'] + 1}\n")
        if task.type != "ACTION":
            lines.extend(_failed_items(case, task))
            continue
        if not task.is_new:
            rows = case.facts.actions(case.run.id, task_ids=[task.id])
            case.run.adopt_actions(rows)
        for action in sorted(case.run.actions.values(), key=lambda a: a.item_index):
            if (
                action.task_execution_id == task.id
                and action.accepted
                and action.state == State.ERROR
            ):
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
    for task in list(run.tasks.values()):
        if not task.completed and not in_progress(case, task):
            close(case, task)


def in_progress(case: Case, task: Task) -> bool:
    """Whether a child of the task will end by itself.

    A synchronous action does, or its executor is found lost; a sub-workflow is
    a run of its own. An asynchronous action may be answered never: it is
    detached, and a result that comes all the same still completes the task.
    """
    if task.open <= 0 or task.state not in AWAITING or task.type != "ACTION":
        return task.open > 0 and task.state in AWAITING
    run = case.run
    if not task.is_new:
        states = [State.RUNNING, State.PAUSED]
        rows = case.facts.actions(run.id, task_ids=[task.id], states=states)
        run.adopt_actions(rows)
    return any(
        action.is_sync and not action.completed and action.epoch == task.tries
        for action in run.actions.values()
        if action.task_execution_id == task.id
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
