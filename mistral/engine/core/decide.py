"""``decide(run, event, facts, now)``: what an event means.

Events go by their class to one function each; the run is changed in place and
effects are returned. A request may raise an error of the caller: what was
changed until then must be thrown away with the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mistral.engine.core import (
    actions,
    aside,
    beginnings,
    children,
    cron,
    lifecycle,
    notices,
    operations,
    posting,
    results,
    starting,
    timers,
)
from mistral.engine.core.data import Case
from mistral.engine.core.ports import Facts
from mistral.engine.core.run import Run, Task
from mistral.errors import (
    AuthorError,
    BadRequest,
    Bug,
    CallerError,
    Conflict,
    NotFound,
)
from mistral.messages import (
    ActionFinished,
    ActionTurnedAsync,
    ChildFinished,
    ChildPaused,
    ChildReopened,
    ChildResumed,
    ChildStarted,
    CronDue,
    DeleteAction,
    DeleteWorkflow,
    Effect,
    Event,
    ExecutorLost,
    MaintenanceChanged,
    MoreItems,
    NobodyCame,
    PauseWorkflow,
    PostMessage,
    QueueLook,
    Request,
    RerunTask,
    ResumeWorkflow,
    RunAction,
    RunWoke,
    SkipTask,
    StartWorkflow,
    State,
    StopWorkflow,
    TriggerEvent,
    UpdateAction,
    UpdateWorkflow,
    Woke,
    encode,
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one event.

    :param run: the run as it is now; None: there is none and none was made.
    :param answer: for who waits; JSON.
    """

    run: Run | None
    effects: list[Effect] = field(default_factory=list)
    answer: Any = None


def decide(run: Run | None, event: Event, facts: Facts, now: datetime) -> Decision:
    """Change the run as the event demands.

    :param run: None when there is no such header.
    :raises CallerError, AuthorError: the request is refused.
    """
    if run is not None and run.removing:
        if isinstance(event, StartWorkflow):
            raise Conflict(
                f"The execution {run.id} was deleted; its id is free when all of it"
                " is gone. Try again later."
            )
        run = None
    if isinstance(event, StartWorkflow):
        return _start(run, event, facts, now)
    if isinstance(event, RunAction):
        return _run_action(run, event, facts, now)
    if isinstance(event, TriggerEvent):
        return _of_trigger(run, event, facts, now)
    if run is None or (run.standalone and not run.actions):
        if isinstance(event, DeleteWorkflow) and not event.request_id:
            # Nobody asked but the engine itself: it is gone, as was wanted.
            return Decision(None)
        if isinstance(event, Request):
            raise NotFound(f"Execution not found [id={_key(event)}]")
        if isinstance(event, ChildStarted | ChildFinished):
            return Decision(None, children.orphaned(event))
        return Decision(None)
    case = Case(run, facts, now)
    if not isinstance(event, WITHOUT_START):
        lifecycle.keep(case)
    answer = HANDLERS[type(event)](case, event)
    beginnings.repeat(case)
    return Decision(run, [*case.effects, *notices.of(case)], answer)


def set_aside(
    run: Run | None, event: Event, facts: Facts, now: datetime, reason: str
) -> Decision:
    """What follows when no decision could be made about an event and it is not heard
    again: nothing waits for it any longer.

    :param run: as it was before the event.
    :param reason: told wherever something ends because of it.
    """
    if run is not None and run.removing:
        return Decision(None)
    if isinstance(event, StartWorkflow):
        if run is not None or event.parent is None:
            return Decision(run)
        return Decision(None, list(starting.failed_start(event, Bug(reason))))
    if run is None or (run.standalone and not run.actions and run.trigger is None):
        return Decision(run)
    if isinstance(event, TriggerEvent):
        return Decision(run, aside.fire_later(event, now))
    case = Case(run, facts, now)
    aside.missed(case, event, reason)
    beginnings.repeat(case)
    return Decision(run, [*case.effects, *notices.of(case)])


def _of_trigger(
    run: Run | None, event: TriggerEvent, facts: Facts, now: datetime
) -> Decision:
    if run is None or run.trigger is None:
        return Decision(None)
    later = lifecycle.postponed(facts, event, now)
    if later is not None:
        return Decision(run, later)
    if isinstance(event, CronDue):
        return Decision(run, cron.fire(run.trigger, event, facts, now))
    assert isinstance(event, QueueLook)
    return Decision(run, cron.look(run.trigger, event, facts, now))


def _key(event: Event) -> str:
    return event.run_id or getattr(event, "action_id", "")


def _start(
    run: Run | None, event: StartWorkflow, facts: Facts, now: datetime
) -> Decision:
    if run is not None:
        # The id is taken: the stored run is the answer (ENG-177).
        if run.project_id != event.context["project_id"]:
            raise NotFound(f"Execution not found [id={event.run_id}]")
        return Decision(run, [], {"id": run.id})
    if event.trigger is not None:
        # It fired before maintenance began: nobody would ask again.
        later = lifecycle.postponed(facts, event, now)
        if later is not None:
            return Decision(None, later)
    elif event.parent is None:
        lifecycle.refuse_in_maintenance(facts)
    case = Case(Run(), facts, now)
    if event.parent is not None and not _still_wanted(case, event.parent):
        return Decision(None, list(starting.cancelled_start(event)))
    try:
        starting.start(case, event)
    except (CallerError, AuthorError) as error:
        if event.parent is None:
            raise
        return Decision(None, list(starting.failed_start(event, error)))
    beginnings.repeat(case)
    if event.parent is not None and not case.run.completed:
        children.begin(case, facts.header(event.parent["run_id"]))
    effects = [*case.effects, *notices.of(case)]
    return Decision(case.run, effects, {"id": case.run.id})


def _still_wanted(case: Case, parent: Mapping[str, Any]) -> bool:
    """Whether the task that asked for a sub-workflow waits for it still."""
    header = case.facts.header(parent["run_id"])
    rows = case.facts.tasks(parent["run_id"], ids=[parent["task_id"]])
    if header is None or header["state"] == State.CANCELLED or not rows:
        return False
    task = Task.from_row(rows[0])
    return not task.completed and task.tries == parent["attempt"]


def _run_action(
    run: Run | None, event: RunAction, facts: Facts, now: datetime
) -> Decision:
    if run is not None and (run.actions or not run.standalone):
        # The id is taken: what is stored is the answer, as of a start (ENG-177).
        known = run.actions.get(event.action_id)
        if known is None or known.project_id != event.context.get("project_id"):
            raise NotFound(f"Action execution not found [id={event.action_id}]")
        return Decision(run, [], {"id": event.action_id})
    lifecycle.refuse_in_maintenance(facts)
    case = Case(Run.alone(None, event.action_id), facts, now)
    action = actions.run_alone(case, event)
    if not action.is_sync and event.sync:
        raise BadRequest("Action does not support synchronous execution.")
    if action.is_sync and not event.save:
        call = actions.unsaved(actions.offer_of(action, case.run))
        return Decision(
            None, [], {"call": encode(call), "outputs": list(action.outputs)}
        )
    return Decision(case.run, case.effects, {"id": action.id})


# -- Workflows ----------------------------------------------------------------


def _is_void(case: Case, event: PauseWorkflow | ResumeWorkflow) -> bool:
    """The parent has changed its mind since it said so, or the run is over."""
    run = case.run
    if not event.word:
        return False
    if run.completed or event.word <= run.heeded:
        return True
    run.heeded = event.word
    return False


def _pause(case: Case, event: PauseWorkflow) -> Any:
    if not _is_void(case, event):
        lifecycle.pause(case, event.message, event.word)
    return {"id": case.run.id}


def _resume(case: Case, event: ResumeWorkflow) -> Any:
    if not event.word:
        lifecycle.refuse_in_maintenance(case.facts)
    if not _is_void(case, event):
        operations.resume(case, event.env, event.word)
    return {"id": case.run.id}


def _stop(case: Case, event: StopWorkflow) -> Any:
    operations.stop(case, event.state, event.message)
    return {"id": case.run.id}


def _update(case: Case, event: UpdateWorkflow) -> Any:
    operations.merge_env(case, event.env)
    if event.description is not None:
        case.run.description = event.description
    return {"id": case.run.id}


def _delete(case: Case, event: DeleteWorkflow) -> Any:
    if event.version not in (None, case.run.version):
        raise Conflict(f"The execution {case.run.id} has changed since it was read.")
    operations.delete(case, event.force)
    return {"id": case.run.id}


def _wanted(case: Case, task_id: str) -> Task:
    task = results.task_of(case, task_id)
    if task is None and case.facts.tasks(case.run.id, ids=[task_id]):
        raise BadRequest(
            f"The task execution {task_id} belongs to an attempt of its workflow"
            " execution that has failed and was followed by another"
        )
    if task is None:
        raise NotFound(f"Task execution not found [id={task_id}]")
    return task


def _rerun(case: Case, event: RerunTask) -> Any:
    lifecycle.refuse_in_maintenance(case.facts)
    task = _wanted(case, event.task_id)
    if not event.reset and case.spec_of(task).with_items is None:
        raise BadRequest("Only with-items task has the option to not reset.")
    operations.rerun(case, task, event.reset, event.env)
    return {"id": task.id}


def _skip(case: Case, event: SkipTask) -> Any:
    lifecycle.refuse_in_maintenance(case.facts)
    task = _wanted(case, event.task_id)
    operations.skip(case, task, event.env)
    return {"id": task.id}


# -- Sub-workflows, maintenance -----------------------------------------------


def _child(
    function: Callable[[Case, Task, Any], None],
) -> Callable[[Case, Any], None]:
    def handle(case: Case, event: Any) -> None:
        task = results.task_of(case, event.task_id)
        if task is not None:
            function(case, task, event)

    return handle


def _child_started(case: Case, event: ChildStarted) -> None:
    task = results.task_of(case, event.task_id)
    if task is None:
        case.effects.extend(children.left_behind(event))
    else:
        children.started(case, task, event)


def _maintenance_changed(case: Case, event: MaintenanceChanged) -> None:
    """Its beginning was heeded before the event was handled (``lifecycle.keep``)."""
    operations.leave_maintenance(case)


WITHOUT_START: Final = (PauseWorkflow, StopWorkflow, DeleteWorkflow)
"""A run that is still RUNNING when maintenance has begun is paused before it hears
anything, so that nothing starts; but for these, whose word counts alone."""

Handler = Callable[[Case, Any], Any]

HANDLERS: Final[Mapping[type[Event], Handler]] = {
    PauseWorkflow: _pause,
    ResumeWorkflow: _resume,
    StopWorkflow: _stop,
    UpdateWorkflow: _update,
    DeleteWorkflow: _delete,
    RerunTask: _rerun,
    SkipTask: _skip,
    ActionFinished: results.finished,
    ActionTurnedAsync: results.turned_async,
    ExecutorLost: results.executor_lost,
    NobodyCame: results.nobody_came,
    UpdateAction: results.update,
    DeleteAction: results.delete,
    PostMessage: posting.post,
    Woke: timers.woke,
    RunWoke: timers.run_woke,
    MoreItems: timers.more_items,
    MaintenanceChanged: _maintenance_changed,
    ChildStarted: _child_started,
    ChildFinished: _child(children.finished),
    ChildPaused: _child(children.paused),
    ChildResumed: _child(children.resumed),
    ChildReopened: _child(children.reopened),
}
