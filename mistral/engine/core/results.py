"""What executors and users say of actions: results, holds, losses."""

from __future__ import annotations

from typing import Any

from mistral.engine.core import actions, children, lifecycle, tasks, workflows
from mistral.engine.core.data import Case
from mistral.engine.core.run import Action, Task, move
from mistral.engine.core.wording import of_item
from mistral.errors import AuthorError, BadRequest, Forbidden, NotFound
from mistral.messages import (
    COMPLETED,
    ActionFinished,
    ActionTurnedAsync,
    DeleteAction,
    ExecutorLost,
    NobodyCame,
    State,
    UpdateAction,
)


def task_of(case: Case, task_id: str) -> Task | None:
    run = case.run
    if task_id not in run.tasks:
        run.adopt(case.facts.tasks(run.id, ids=[task_id]))
    return run.tasks.get(task_id)


def action_of(case: Case, action_id: str) -> Action | None:
    run = case.run
    if action_id not in run.actions and not run.standalone:
        run.adopt_actions(case.facts.actions(run.id, ids=[action_id]))
    return run.actions.get(action_id)


def finished(case: Case, event: ActionFinished) -> None:
    action = action_of(case, event.action_id)
    if action is None or action.completed or action.attempt != event.attempt:
        return
    if event.unmade and action.task_execution_id is not None:
        _withdraw(case, action, action.task_execution_id, event.result)
        return
    settle(case, action, event.state, event.result, fault=event.fault)


def _withdraw(case: Case, action: Action, task_id: str, reason: str) -> None:
    """The action could not be made: an ordinary error of its task, of which no
    action execution is left (§ 2.8). A stand-alone one stays, as its id is known."""
    task = task_of(case, task_id)
    actions.withdraw(case, action)
    if task is None or is_void(action, task):
        return
    index = None if task.total is None else action.item_index
    with lifecycle.forced(case, task, lifecycle.HANDLING):
        lifecycle.reopen_detached(case, task)
        tasks.count(task, State.ERROR, 1)
        children.not_started(case, task, of_item(reason, index))
    workflows.advance(case)


def is_void(action: Action, task: Task) -> bool:
    """Whether a later launch has replaced the action, or will: its result counts
    no more."""
    return action.epoch != task.tries or task.step == "launch"


def settle(
    case: Case, action: Action, state: str, result: Any, *, fault: bool = False
) -> None:
    """The outcome of an action, and what it means for its task."""
    task_id = action.task_execution_id
    task = None if task_id is None else task_of(case, task_id)
    was = action.state
    void = task is not None and is_void(action, task)
    if task is None or void:
        try:
            actions.accept(case, action, state, result, fault=fault)
        except AuthorError:
            # The action is in ERROR and says why; nobody else is concerned.
            pass
        if void:
            action.accepted = False
        return
    with lifecycle.forced(case, task, lifecycle.HANDLING), actions.handling(action):
        lifecycle.reopen_detached(case, task)
        with tasks.about_item(task, action.item_index):
            actions.accept(case, action, state, result, fault=fault)
        if not task.completed:
            children.action_finished(case, task, action, was)
    workflows.advance(case)


def turned_async(case: Case, event: ActionTurnedAsync) -> None:
    action = action_of(case, event.action_id)
    if action is None or action.completed or action.attempt != event.attempt:
        return
    action.is_sync = False
    # Its outcome comes from elsewhere: whatever becomes of the executor is nothing
    # to it (ENG-210).
    action.executor_id = None
    if case.run.completed and action.task_execution_id:
        lifecycle.close_open(case)


def executor_lost(case: Case, event: ExecutorLost) -> None:
    action = action_of(case, event.action_id)
    if (
        action is None
        or action.completed
        or action.attempt != event.attempt
        or action.executor_id != event.executor_id
    ):
        return
    if event.unused and action.started_by != event.unused:
        return
    if (action.safe_rerun or event.unused) and action.call is not None:
        action.attempt += 1
        action.started_by = action.executor_id = action.started_at = None
        case.effects.append(actions.offer_of(action, case.run))
        return
    text = (
        f"Heartbeat wasn't received. [executor={event.executor_id}, "
        f"last sign={event.last_seen}]"
    )
    settle(case, action, State.ERROR, text)


def nobody_came(case: Case, event: NobodyCame) -> None:
    action = action_of(case, event.action_id)
    if action is None or action.completed or action.started_by is not None:
        return
    if action.attempt == event.attempt:
        text = "Heartbeat wasn't received. [no executor took the action]"
        settle(case, action, State.ERROR, text)


def update(case: Case, event: UpdateAction) -> Any:
    action = action_of(case, event.action_id)
    if action is None:
        raise NotFound(f"Action execution not found [id={event.action_id}]")
    answer = {"id": action.id}
    if event.state in (State.PAUSED, State.RUNNING):
        _hold(case, action, event.state)
        return answer
    if event.state not in COMPLETED or event.state == State.SKIPPED:
        raise BadRequest(
            "Error. Expected one of ['SUCCESS', 'ERROR', 'CANCELLED', 'PAUSED', "
            f"'RUNNING'], actual: {event.state}"
        )
    result = event.result
    if event.state == State.ERROR and not result:
        result = "Unknown error"
    if event.state == State.CANCELLED:
        result = None
    if action.completed:
        if action.state == event.state and action.output == {"result": result}:
            return answer
        raise BadRequest(
            f"Action execution {action.id} is already completed [state={action.state}]"
        )
    settle(case, action, event.state, result, fault=event.fault)
    return answer


def _hold(case: Case, action: Action, state: str) -> None:
    """PAUSED and RUNNING of an asynchronous action; task and run follow."""
    if action.state == state:
        return
    if action.completed:
        raise BadRequest(f"Invalid state transition from {action.state} to {state}.")
    if state == State.PAUSED and action.is_sync:
        raise BadRequest(
            "Transition to the PAUSED state is only supported for asynchronous "
            "action execution."
        )
    move(case.run, action, state)
    task = task_of(case, action.task_execution_id) if action.task_execution_id else None
    if task is None:
        return
    if state == State.PAUSED:
        children.hold(case, task, upwards=True)
        return
    children.action_went_on(case, task)


def delete(case: Case, event: DeleteAction) -> Any:
    action = action_of(case, event.action_id)
    if action is None:
        raise NotFound(f"Action execution not found [id={event.action_id}]")
    if not case.run.standalone:
        raise Forbidden("Only action executions without a task can be deleted.")
    if not action.completed:
        raise Forbidden("Only completed action executions can be deleted.")
    case.run.deleted = True
    return {"id": action.id}
