"""How a run begins: now, at its time, or anew after its failure (decision 0043).

A run that waits for its time is IDLE. One whose attempt has failed and is to be
repeated is RUNNING, or PAUSED, and ``resting``: nothing of it goes on until a timer
comes. What an attempt has left is closed when it fails and belongs to the past: its
tasks stay, and no rule sees them any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mistral.engine.core import lifecycle, policies, tasks, workflows
from mistral.engine.core.actions import abandon
from mistral.engine.core.contexts import Context
from mistral.engine.core.data import Case, stored
from mistral.engine.core.run import move
from mistral.engine.core.views import view
from mistral.engine.core.wording import message_of
from mistral.errors import ExpressionFault, WorkflowFault
from mistral.lang.graph import graph_of
from mistral.messages import RunWoke, State, StopWorkflow, Tell

KEPT_VARIABLES = ("openstack", "__execution")
"""What the context of a run holds before anything is evaluated."""


def prepare(case: Case) -> None:
    """Evaluate what holds for the whole of an attempt: ``vars``, the time limit, the
    numbers of ``retry``.

    :raises ExpressionFault: one of them fails, or is of a wrong type.
    """
    run = case.run
    context = run.context or {}
    run.context = {name: context[name] for name in KEPT_VARIABLES if name in context}
    try:
        if run.spec.vars:
            found = case.evaluate(dict(run.spec.vars), view(case), "vars")
            kept = {name: stored(case, value) for name, value in found.items()}
            run.context = {**run.context, **kept}
        run.limit, run.repeats = policies.of_run(case)
    except (ExpressionFault, WorkflowFault) as error:
        raise ExpressionFault(message_of(case, error)) from error


def wait_until(case: Case, moment: datetime) -> None:
    """Be IDLE until then."""
    run = case.run
    run.state_info = f"Starts at {moment.isoformat(timespec='seconds')}Z."
    _wake(case, "start", run.begun, moment)


def _wake(case: Case, key: str, epoch: int, due: datetime) -> None:
    case.run.timed = True
    event = RunWoke(run_id=case.run.id, key=key, epoch=epoch)
    case.effects.append(Tell(event=event, due_at=due))


def begin(case: Case) -> None:
    """Start the first tasks; ``prepare`` was called."""
    run = case.run
    run.begun += 1
    _start(case)


def begin_by_itself(case: Case) -> None:
    """Begin when nobody waits for an answer: what fails ends the run."""
    run = case.run
    run.begun += 1
    run.resting = run.ready = False
    try:
        prepare(case)
    except ExpressionFault as error:
        lifecycle.finish(case, State.ERROR, error.message)
        return
    _start(case)


def _start(case: Case) -> None:
    run = case.run
    if run.state == State.IDLE and case.now != run.created_at:
        run.began = case.now.isoformat()
    move(run, run, State.RUNNING)
    if not run.limits:
        limit(case)
    # A sub-workflow that was asked for before maintenance began.
    lifecycle.keep(case)
    if run.spec.type == "direct":
        created = [
            tasks.create(case, name, Context(), None)
            for name in graph_of(run.spec).start_tasks
        ]
        workflows.begin_all(case, created)
    else:
        workflows.start_ready(case)
    workflows.advance(case)


def limit(case: Case) -> None:
    """Set the time limit, for all that is still to come."""
    run = case.run
    if run.limit:
        run.limits += 1
        _wake(case, "timeout", run.limits, case.now + timedelta(seconds=run.limit))


def expire(case: Case) -> None:
    """The time is over: the run ends for good and lets go of what it has started."""
    run = case.run
    run.expired = True
    text = f"Workflow timed out [timeout(s)={run.limit}]."
    _cancel_children(case, f"Parent w{text[1:]}")
    lifecycle.finish(case, State.ERROR, text, final=True)


def _cancel_children(case: Case, reason: str) -> None:
    for row in lifecycle.open_children(case):
        event = StopWorkflow(run_id=row["id"], state=State.CANCELLED, message=reason)
        case.effects.append(Tell(event=event))


def repeat(case: Case) -> None:
    """What is left to do behind every decision: if it let an attempt of the run fail
    that is to be repeated, leave that attempt behind and wait."""
    run, was = case.run, case.failed
    if was is None:
        return
    case.failed = None
    _leave_behind(case)
    chance = run.chance("run", run.begun)
    seconds = policies.repeats_of(run).seconds(run.begun - 1, chance)
    text = f"Delayed by 'retry' policy [delay={seconds}]: {run.state_info or ''}"
    move(run, run, State.RUNNING, text)
    if was.state == State.PAUSED:
        # As before: neither parent nor sub-workflows need to hear of it.
        move(run, run, State.PAUSED, text)
        run.paused_by = was.paused_by
    run.resting = True
    run.timed, run.untimed = True, False
    run.accepted, run.output, run.ended_by = False, {}, None
    _wake(case, "retry", run.begun, case.now + timedelta(seconds=seconds))
    lifecycle.keep(case)


def _leave_behind(case: Case) -> None:
    run = case.run
    if not run.is_new:
        run.adopt(case.facts.tasks(run.id, processed=False))
        joins = [name for name, spec in run.spec.tasks.items() if spec.join is not None]
        if joins:
            run.adopt(case.facts.tasks(run.id, names=joins))
    _cancel_children(case, "The attempt of the parent workflow failed.")
    left = [t for t in run.tasks.values() if t.closed_from or not t.completed]
    lifecycle.adopt_actions(case, left, [State.RUNNING, State.PAUSED])
    for task in left:
        for action in run.actions.of(task.id):
            if not action.completed:
                abandon(case, action)
        if not task.completed:
            lifecycle.close(case, task)
    for task in run.tasks.values():
        task.processed = True
        task.rest = task.closed_from = None
        # The next attempt has its own row of each join.
        task.unique_key = None
    run.leave_tasks_behind()
    run.behind = False
    run.todo = []
