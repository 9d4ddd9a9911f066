"""The fixed point of a run.

``advance`` routes, while the run is RUNNING, every finished task: it creates or
counts what its edges lead to and starts what is ready; with nothing open the
run ends. Pause is "advance does nothing": the marks stay in the rows.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from mistral.engine.core import (
    joins,
    lifecycle,
    reverse,
    routing,
    tasks,
)
from mistral.engine.core.contexts import Context, outbound, shared
from mistral.engine.core.data import Case
from mistral.engine.core.meeting import meet
from mistral.engine.core.run import Task, move
from mistral.errors import (
    ExpressionFault,
    WorkflowFault,
)
from mistral.lang.graph import graph_of
from mistral.messages import (
    COMPLETED,
    State,
    Tell,
    Woke,
)


def advance(case: Case) -> None:
    """Apply what follows from finished tasks until nothing changes."""
    run = case.run
    steps = case.facts.rules.steps
    position = 0
    while run.state == State.RUNNING:
        if position == len(run.todo):
            if not _break_stall(case):
                break
            continue
        if steps == 0 or not case.facts.has_time():
            run.todo = []
            put_off(case)
            return
        steps -= 1
        task = run.todo[position]
        position += 1
        with lifecycle.forced(case, task, lifecycle.deciding(task)):
            _route(case, task)
    run.todo = []
    idle = run.behind or run.resting
    if run.state == State.RUNNING and run.open == 0 and not idle:
        if case.facts.has_time():
            _conclude(case)
        else:
            put_off(case)


def put_off(case: Case) -> None:
    """The rest of what this decision should do is for another: finished tasks that
    are not routed, and those that may begin."""
    run = case.run
    if not run.behind:
        case.effects.append(Tell(event=Woke(run_id=run.id, key="continue")))
        run.behind = True


def catch_up(case: Case) -> None:
    """What an earlier decision has put off."""
    run = case.run
    run.behind = False
    states = [*COMPLETED, State.IDLE]
    run.adopt(case.facts.tasks(run.id, states=states, processed=False))
    left = sorted(
        (task for task in run.tasks.values() if not task.processed),
        key=lambda task: task.seq,
    )
    run.todo = [task for task in left if task.completed]
    idle = [task for task in left if task.state == State.IDLE]
    # Who holds the run has waited for these.
    pauses = any(task.step == "begin" for task in idle)
    begin_all(case, [task for task in idle if task.step != "begin"], pauses)
    advance(case)


def _break_stall(case: Case) -> bool:
    """Only joins are open, and each waits for another: the first of them can
    have no more inbound tasks and is decided with those it has (ENG-089).

    :returns: whether something has changed.
    """
    run = case.run
    if run.behind or run.open == 0 or run.open != run.waiting:
        return False
    if not run.is_new:
        run.adopt(case.facts.tasks(run.id, states=[State.WAITING]))
    waiting = [task for task in run.tasks.values() if task.state == State.WAITING]
    if any(join.step is not None for join in waiting):
        # The delay of a retry goes on: a timer will come.
        return False
    first = min(waiting, key=lambda task: task.seq)
    joins.give_up(case, first)
    decide_join(case, first)
    return True


def begin(case: Case, task: Task) -> None:
    if _begin(case, task) and case.run.state == State.RUNNING:
        lifecycle.pause(case, None)


def _begin(case: Case, task: Task) -> bool:
    """:returns: whether the run must be paused (pause-before)."""
    with lifecycle.forced(case, task, lifecycle.RUNNING):
        return tasks.begin(case, task, released=task.step == "released")
    return False


def _route(case: Case, task: Task) -> None:
    run = case.run
    task.processed = True
    if run.spec.type == "reverse":
        task.next_tasks, task.has_next_tasks = [], False
        start_ready(case)
        return
    if task.rest is not None:
        commands, task.rest = task.rest, None
        # Behind a pause its clause may name a join once more.
        run.redone = run.redone or 1
    else:
        try:
            fired = routing.next_edges(case, task, case.spec_of(task))
        except (ExpressionFault, WorkflowFault):
            task.processed = False
            raise
        routing.remember(task, fired)
        commands = routing.dispatch_order(fired)
        if task.resumed:
            task.resumed = False
            commands = [c for c in commands if c["target"] != "pause"]
    stop = next(
        (i for i, c in enumerate(commands) if c["target"] in routing.STATE_COMMANDS),
        len(commands),
    )
    case.ending = any(c["target"] in ("fail", "succeed") for c in commands[stop:][:1])
    try:
        _follow(case, task, commands[:stop])
        _settle_joins(case, task, {name for name, _ in task.next_tasks or ()})
    finally:
        case.ending = False
    if stop < len(commands):
        _command(case, task, commands[stop], commands[stop + 1 :])
    if task.pending and task.processed and run.state == State.RUNNING:
        _enter_again(case, task)


def _enter_again(case: Case, join: Task) -> None:
    """The next round of a join that was triggered before it was routed."""
    joins.reopen(case, join, join.pending or [])
    _reset_join(case, join)
    joins.survey(case, join)
    decide_join(case, join)


def _follow(case: Case, task: Task, commands: list[routing.Command]) -> None:
    """Start the tasks that fired, then count the arrivals at joins."""
    run = case.run

    @cache
    def handed() -> Context:
        """What the new ones among them are given."""
        return shared(case, outbound(case, task), len(commands))

    passes = joins.passes_after(case, task)
    started: list[Task] = []
    arrivals: list[Task] = []
    for command in commands:
        name, event = command["target"], command["event"]
        if run.spec.tasks[name].join is None:
            cause = [{"task_id": task.id, "event": event}]
            started.append(tasks.create(case, name, handed(), cause))
            started[-1].passes = passes
            continue
        join = joins.find(case, name)
        new = join is None
        if join is None:
            join = tasks.create(case, name, handed(), None)
        before = join.round
        joins.arrive(case, join, task, event)
        if new or join.round != before:
            _reset_join(case, join)
            arrivals.append(join)
    for join in arrivals:
        joins.survey(case, join)
    begin_all(case, started)


def begin_all(case: Case, started: list[Task], pauses: bool = False) -> None:
    """Start tasks that one event leads to; nothing starts in a run that one of
    them has ended. A pause-before among them holds its own task (§ 7.3): the
    pause comes when the others have begun, in whatever order they stand."""
    most = case.facts.rules.page
    for place, task in enumerate(started):
        if case.run.state != State.RUNNING:
            task.step = task.step or "start"
        elif place >= most or not case.facts.has_time():
            for each in started[place:]:
                each.step = each.step or "start"
            put_off(case)
            return
        else:
            pauses |= _begin(case, task)
    if pauses and case.run.state == State.RUNNING:
        lifecycle.pause(case, None)


def _reset_join(case: Case, join: Task) -> None:
    """A join enters its next round as if it were new."""
    if join.state == State.WAITING:
        return
    tasks.invalidate(case, join)
    move(case.run, join, State.WAITING, "Task is waiting.")
    # Timers and marks of the round before are void.
    join.epoch += 1
    join.expired = join.waited = False
    join.runtime_context = {}
    join.outcome = None
    join.processed = False
    join.error_handled = False
    join.has_next_tasks = False
    join.next_tasks = None
    join.published = join.published_global = None
    join.runtime_context = {}
    join.started_at = join.finished_at = None


def _settle_joins(case: Case, task: Task, fired: set[str]) -> None:
    """Joins that this task could have led to: count the miss, look again where
    it was the witness, and start or fail what is decided."""
    run = case.run
    touched: dict[str, Task] = {}
    for name in graph_of(run.spec).joins_after(task.name):
        join = joins.find(case, name)
        if join is None:
            continue
        if name not in fired:
            joins.miss(case, join, task)
        touched[join.id] = join
    if task.watchers:
        ids = [id for id in task.watchers if id not in run.tasks]
        if ids:
            run.adopt(case.facts.tasks(run.id, ids=ids))
        for id in task.watchers:
            join = run.tasks[id]
            if join.state == State.WAITING:
                joins.survey(case, join)
                touched[id] = join
        task.watchers = None
    for join in touched.values():
        decide_join(case, join)


def decide_join(case: Case, join: Task) -> None:
    """Start or fail a waiting join if its counters say so."""
    if case.run.state != State.RUNNING or join.step is not None:
        return
    verdict = joins.verdict(case, join)
    if verdict is None:
        return
    join.judged = case.run.redone
    failing, causes = joins.gather(case, join)
    join.runtime_context = {**(join.runtime_context or {}), "triggered_by": causes}
    if verdict == "run":
        join.ran = True
        begin(case, join)
        return
    with lifecycle.forced(case, join, lifecycle.COMPLETING):
        tasks.complete(case, join, State.ERROR, f"Failed by tasks: {failing}")


def _command(
    case: Case, task: Task, command: routing.Command, rest: list[routing.Command]
) -> None:
    if case.run.completed:
        return
    if case.run.state == State.PAUSED:
        # Something before it paused the run: the command waits (§ 2.5.1).
        task.rest = [command, *rest]
        task.processed = False
        return
    message = command["params"].get("msg")
    text = message if message is None or isinstance(message, str) else _json(message)
    if command["target"] == "pause":
        task.rest = rest
        task.processed = False
        lifecycle.pause(case, text)
    elif command["target"] == "fail":
        lifecycle.finish(case, State.ERROR, text, by=task, result=message)
    else:
        lifecycle.finish(case, State.SUCCESS, text, by=task)


def _json(value: Any) -> str:
    import json

    return (
        json.dumps(value, ensure_ascii=False)
        if isinstance(value, (dict, list))
        else str(value)
    )


def start_ready(case: Case) -> None:
    created = []
    for name, needed in reverse.ready(case):
        context = shared(case, meet(case, needed))
        created.append(tasks.create(case, name, context, None))
    begin_all(case, created)


def _conclude(case: Case) -> None:
    """Nothing is open: how did it end? (§ 2.6)"""
    run = case.run
    if not run.is_new:
        bad = [State.CANCELLED, State.ERROR]
        run.adopt(case.facts.tasks(run.id, states=bad))
    every = sorted(run.tasks.values(), key=lambda task: (task.name, task.seq))
    cancelled = [t for t in every if t.state == State.CANCELLED]
    failed = [t for t in every if t.state == State.ERROR and not t.error_handled]
    if cancelled:
        names = ", ".join(task.name for task in cancelled)
        lifecycle.finish(case, State.CANCELLED, f"Cancelled tasks: {names}")
    elif failed:
        lifecycle.finish(case, State.ERROR, lifecycle.failure(case, failed))
    else:
        lifecycle.finish(case, State.SUCCESS, None)
