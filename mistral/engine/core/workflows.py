"""The run as a whole: start, advance, pause, resume, stop, reopen, finish.

``advance`` is the fixed point: while the run is RUNNING it routes every
finished task, creates or counts what its edges lead to and starts what is
ready; with nothing open the run ends. Pause is "advance does nothing".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mistral.engine.core import actions, items, joins, reverse, routing, tasks
from mistral.engine.core.data import (
    Case,
    check_size,
    meet,
    merged,
    message_of,
    outbound,
    resolved,
    view,
)
from mistral.engine.core.run import Task, move
from mistral.errors import (
    BadRequest,
    ExpressionFault,
    Forbidden,
    InvalidInput,
    MistralError,
    NotFound,
    WorkflowFault,
)
from mistral.lang.graph import graph_of
from mistral.lang.specs import REQUIRED, WorkflowSpec
from mistral.messages import (
    COMPLETED,
    ChildFinished,
    ChildPaused,
    ChildReopened,
    ChildResumed,
    DeleteWorkflow,
    Event,
    PauseWorkflow,
    ResumeWorkflow,
    StartWorkflow,
    State,
    StopWorkflow,
    Tell,
    Woke,
)

CLOSED = "The task was open when its workflow ended."


# -- Start --------------------------------------------------------------------


def start(case: Case, event: StartWorkflow) -> None:
    """Fill the new run of ``case`` and start its first tasks (§ 2.1).

    :raises NotFound: no such definition.
    :raises BadRequest: input, environment or target task are wrong.
    :raises ExpressionFault: ``vars`` or the environment cannot be evaluated.
    """
    run = case.run
    project = event.context["project_id"]
    row = _definition(case, event, project)
    spec = case.facts.spec(row["spec_id"])
    given, params = _split(spec, event)
    parent = event.parent
    run.id = event.run_id
    run.seed = case.facts.uuid()
    run.project_id = project
    run.scope = "private"
    run.workflow_id = row["id"]
    run.workflow_name = row["name"]
    run.workflow_namespace = row["namespace"]
    run.workbook = row["workbook_name"]
    run.spec_id = row["spec_id"]
    run.spec = spec
    run.description = event.description
    run.tags = list(spec.tags)
    run.state = State.IDLE.value
    run.version = 0
    run.accepted = False
    run.output = {}
    run.created_at = run.updated_at = case.now
    run.security = {
        **actions.security_of(event.context),
        "user_id": event.context.get("user_id"),
        "roles": event.context.get("roles") or [],
    }
    run.context = {"__execution": {"id": run.id}}
    if parent is not None:
        run.parent = {
            key: parent[key] for key in ("run_id", "task_id", "attempt", "index")
        }
        run.task_execution_id = parent["task_id"]
        run.root_execution_id = parent["root_id"]
        params = {
            "root_execution_id": parent["root_id"],
            "task_execution_id": parent["task_id"],
            "index": parent["index"],
            **params,
        }
    run.input = _checked_input(case, spec, given)
    run.params = _checked_params(case, spec, params, row, event, project)
    try:
        check_size(case, run.params, "WorkflowExecution", "params")
    except WorkflowFault as error:
        raise BadRequest(error.message) from error
    if spec.vars:
        run.context = {**run.context, **case.evaluate(dict(spec.vars), view(case))}
    move(run, run, State.RUNNING)
    if spec.type == "direct":
        created = [
            tasks.create(case, name, {}, {}, None)
            for name in graph_of(spec).start_tasks
        ]
        for task in created:
            _begin(case, task)
    else:
        _start_ready(case)
    advance(case)


def _definition(case: Case, event: StartWorkflow, project: str) -> Mapping[str, Any]:
    name, namespace = event.workflow_name, event.namespace
    parent = event.parent
    if parent is None:
        row = case.facts.workflow(event.workflow_id, name, namespace, project)
    else:
        names = [f"{parent['workbook']}.{name}"] if parent.get("workbook") else []
        spaces = [namespace, ""] if namespace else [""]
        found = (
            case.facts.workflow(None, each, space, project)
            for each in (*names, name)
            for space in spaces
        )
        row = next((each for each in found if each is not None), None)
    if row is None:
        shown = name or event.workflow_id
        raise NotFound(
            f"Failed to find workflow [name={shown}] [namespace={namespace}]"
        )
    return row


def _split(
    spec: WorkflowSpec, event: StartWorkflow
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a sub-workflow: what it does not declare becomes a parameter (Q20)."""
    if event.parent is None:
        return dict(event.input), dict(event.params)
    declared = {k: v for k, v in event.input.items() if k in spec.input}
    others = {k: v for k, v in event.input.items() if k not in spec.input}
    return declared, {**event.params, **others}


def _checked_input(
    case: Case, spec: WorkflowSpec, given: Mapping[str, Any]
) -> dict[str, Any]:
    missing = [n for n, v in spec.input.items() if v is REQUIRED and n not in given]
    unexpected = [name for name in given if name not in spec.input]
    if missing or unexpected:
        text = actions.invalid_input(spec.name, "WorkflowSpec", missing, unexpected)
        raise InvalidInput(text)
    defaults = {n: v for n, v in spec.input.items() if v is not REQUIRED}
    filled = {**defaults, **given}
    try:
        check_size(case, filled, "WorkflowExecution", "input")
    except WorkflowFault as error:
        raise BadRequest(error.message) from error
    return {name: filled[name] for name in spec.input}


def _checked_params(
    case: Case,
    spec: WorkflowSpec,
    params: dict[str, Any],
    row: Mapping[str, Any],
    event: StartWorkflow,
    project: str,
) -> dict[str, Any]:
    env = params.get("env") or {}
    if isinstance(env, str):
        found = case.facts.environment(env, project)
        if found is None:
            raise BadRequest(f"Environment is not found: {env}")
        env = found["variables"]
    if not isinstance(env, Mapping):
        raise BadRequest(
            f"Unexpected value type for environment: a mapping or a name is "
            f"expected, found {type(env).__name__}"
        )
    namespace = event.namespace or row["namespace"] or ""
    result = {**params, "env": dict(env)}
    result.setdefault("namespace", namespace)
    if env and params.get("evaluate_env", True) is not False:
        case.run.params = result
        result["env"] = case.evaluate(dict(env), view(case))
    if spec.type == "reverse" and result.get("task_name") not in spec.tasks:
        raise BadRequest(
            f"Invalid task name [wf_name={spec.name}, "
            f"task_name={result.get('task_name')}]: a reverse workflow needs the "
            f"parameter 'task_name' with one of its tasks"
        )
    return result


# -- The fixed point ----------------------------------------------------------


def advance(case: Case) -> None:
    """Apply what follows from finished tasks until nothing changes."""
    run = case.run
    steps = case.facts.rules.steps
    position = 0
    while position < len(run.todo) and run.state == State.RUNNING:
        if steps == 0:
            case.effects.append(Tell(event=Woke(run_id=run.id, key="continue")))
            run.todo = []
            return
        steps -= 1
        task = run.todo[position]
        position += 1
        with forced(case, task, "Failed to complete task"):
            _route(case, task)
    run.todo = []
    if run.state == State.RUNNING and run.open == 0:
        _conclude(case)


@contextmanager
def forced(case: Case, task: Task, doing: str) -> Iterator[None]:
    """A fault in the text of the workflow ends the run at once (§ 2.8)."""
    try:
        yield
    except (ExpressionFault, WorkflowFault) as error:
        run = case.run
        text = (
            f"{doing} [error={message_of(error)}, wf={run.workflow_name}, "
            f"task={task.name}]"
        )
        if task.state != State.CANCELLED:
            move(run, task, State.ERROR, text)
        task.finished_at = case.now
        task.processed = False
        task.has_next_tasks = False
        task.error_handled = False
        if not run.completed:
            finish(case, State.ERROR, text)


def _begin(case: Case, task: Task) -> None:
    with forced(case, task, "Failed to run task"):
        if tasks.begin(case, task) and case.run.state == State.RUNNING:
            pause(case, None)


def _route(case: Case, task: Task) -> None:
    run = case.run
    task.processed = True
    if run.spec.type == "reverse":
        task.next_tasks, task.has_next_tasks = [], False
        _start_ready(case)
        return
    if task.rest is not None:
        commands, task.rest = task.rest, None
    else:
        try:
            fired = routing.next_edges(case, task, case.spec_of(task))
        except (ExpressionFault, WorkflowFault):
            task.processed = False
            raise
        routing.remember(task, fired)
        commands = routing.dispatch_order(fired)
        if task.id in case.resumed:
            commands = [c for c in commands if c["target"] != "pause"]
    stop = next(
        (i for i, c in enumerate(commands) if c["target"] in routing.STATE_COMMANDS),
        len(commands),
    )
    _follow(case, task, commands[:stop])
    _settle_joins(case, task, {name for name, _ in task.next_tasks or ()})
    if stop < len(commands):
        _command(case, task, commands[stop], commands[stop + 1 :])


def _follow(case: Case, task: Task, commands: list[routing.Command]) -> None:
    """Start the tasks that fired, then count the arrivals at joins."""
    run = case.run
    context, versions = outbound(case, task)
    started: list[Task] = []
    arrivals: list[Task] = []
    for command in commands:
        name, event = command["target"], command["event"]
        if run.spec.tasks[name].join is None:
            cause = [{"task_id": task.id, "event": event}]
            started.append(tasks.create(case, name, context, versions, cause))
            continue
        join = joins.find(case, name)
        new = join is None
        if join is None:
            join = tasks.create(case, name, context, versions, None)
        before = join.round
        joins.arrive(case, join, task, event)
        if new or join.round != before:
            _reset_join(case, join)
            arrivals.append(join)
    for join in arrivals:
        joins.survey(case, join)
    for each in started:
        if run.state != State.RUNNING:
            # A pause-before among them: they go on when the run does.
            each.step = "start"
            continue
        _begin(case, each)


def _reset_join(case: Case, join: Task) -> None:
    """A join enters its next round as if it were new."""
    if join.state == State.WAITING:
        return
    tasks.invalidate(case, join)
    move(case.run, join, State.WAITING, "Task is waiting.")
    join.processed = False
    join.error_handled = False
    join.has_next_tasks = False
    join.next_tasks = None
    join.published = None
    join.finished_at = None


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
    if task.unique_key and task.pending:
        pending = task.pending
        joins.reopen(case, task, pending)
        _reset_join(case, task)
        joins.survey(case, task)
        touched[task.id] = task
    for join in touched.values():
        decide_join(case, join)


def decide_join(case: Case, join: Task) -> None:
    """Start or fail a waiting join if its counters say so."""
    if case.run.state != State.RUNNING or join.step is not None:
        return
    verdict = joins.verdict(case, join)
    if verdict is None:
        return
    failing, causes = joins.gather(case, join)
    join.runtime_context = {**(join.runtime_context or {}), "triggered_by": causes}
    if verdict == "run":
        join.ran = True
        _begin(case, join)
        return
    with forced(case, join, "Failed to complete task"):
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
        pause(case, text)
    elif command["target"] == "fail":
        finish(case, State.ERROR, text, also=[task])
    else:
        finish(case, State.SUCCESS, text, also=[task])


def _json(value: Any) -> str:
    import json

    return (
        json.dumps(value, ensure_ascii=False)
        if isinstance(value, (dict, list))
        else str(value)
    )


def _start_ready(case: Case) -> None:
    for name, needed in reverse.ready(case):
        context, versions = meet(case, needed)
        _begin(case, tasks.create(case, name, context, versions, None))


# -- End ----------------------------------------------------------------------


def _end_tasks(case: Case, also: Iterable[Task] = ()) -> list[Task]:
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
        finish(case, State.CANCELLED, f"Cancelled tasks: {names}")
    elif failed:
        finish(case, State.ERROR, _failure(case, failed))
    else:
        finish(case, State.SUCCESS, None)


def _failure(case: Case, failed: list[Task]) -> str:
    """The text of § 1.7; what a sub-workflow says is told once."""
    names = ", ".join(dict.fromkeys(task.name for task in failed))
    lines = [f"Failure caused by error in tasks: {names}\n"]
    for task in failed:
        info = (task.state_info or "")[:2000]
        lines.append(f"\n  {task.name} [task_ex_id={task.id}] -> {info}\n")
        if task.type != "ACTION":
            continue
        if not task.is_new:
            rows = case.facts.actions(case.run.id, task_ids=[task.id])
            case.run.adopt_actions(rows)
        for action in case.run.actions.values():
            if (
                action.task_execution_id == task.id
                and action.accepted
                and action.state == State.ERROR
            ):
                shown = str((action.output or {}).get("result"))[:1000]
                lines.append(
                    f"    [action_ex_id={action.id}, idx={action.item_index}]: {shown}\n"
                )
    return "".join(lines)


def finish(case: Case, state: str, info: str | None, also: Iterable[Task] = ()) -> None:
    """End the run: output, state, word to the parent, nothing left open."""
    run = case.run
    try:
        output = _output(case, state, info, also)
        check_size(case, output, "WorkflowExecution", "output")
    except (ExpressionFault, WorkflowFault) as error:
        if state == State.SUCCESS:
            text = (
                f"Failed to check and complete [wf_ex_id={run.id}, "
                f"wf_name={run.workflow_name}]: {message_of(error)}"
            )
            finish(case, State.ERROR, text, also)
            return
        info = (
            "Failed to evaluate expression in output-on-error! "
            f"[error={message_of(error)}, cause={info}]"
        )
        output = {"result": info}
    move(run, run, state, info)
    run.output = output
    run.accepted = True
    _close_open(case)
    if run.parent:
        _tell_parent(case, ChildFinished, state=state, message=_text(output, info),
                     attempt=run.parent["attempt"], index=run.parent["index"])  # fmt: skip


def _text(output: Mapping[str, Any], info: str | None) -> str | None:
    said = output.get("result", info)
    return said if said is None or isinstance(said, str) else str(said)


def _output(
    case: Case, state: str, info: str | None, also: Iterable[Task]
) -> dict[str, Any]:
    run = case.run
    if state == State.CANCELLED:
        return {"result": info}
    if run.spec.type == "reverse":
        target = run.params.get("task_name")
        ended = [t for t in _end_tasks(case) if t.name == target]
    else:
        ended = _end_tasks(case, also)
    context, _ = meet(case, ended)
    final = {key: resolved(case, value) for key, value in context.items()}
    tree = run.spec.output if state == State.SUCCESS else run.spec.output_on_error
    output = final
    if tree:
        output = case.evaluate(dict(tree), view(case, branch=final))
    if state == State.SUCCESS:
        return output or final
    return {"result": info, **output}


def _close_open(case: Case) -> None:
    """Nothing that could start something stays open (ENG-068, ENG-074): it is
    closed and remembered, for the case that the run is reopened."""
    run = case.run
    if run.open == 0:
        return
    if not run.is_new:
        run.adopt(case.facts.tasks(run.id, processed=False))
    for task in list(run.tasks.values()):
        if task.completed or task.open > 0:
            continue
        task.closed_from = task.state
        move(run, task, State.CANCELLED, CLOSED)
        task.finished_at = case.now
        task.processed = False


def _tell_parent(case: Case, kind: type[Event], **values: Any) -> None:
    parent = case.run.parent
    event: Any = kind(
        run_id=parent["run_id"],
        task_id=parent["task_id"],
        child_id=case.run.id,
        **values,
    )  # type: ignore[call-arg]
    case.effects.append(Tell(event=event))


# -- Requests -----------------------------------------------------------------


def _open_children(case: Case) -> list[Mapping[str, Any]]:
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


def pause(case: Case, message: str | None) -> None:
    """:raises TransitionRefused: the run is over."""
    run = case.run
    if run.state == State.PAUSED:
        return
    move(run, run, State.PAUSED, message)
    for row in _open_children(case):
        event = PauseWorkflow(run_id=row["id"], message=message)
        case.effects.append(Tell(event=event))
    if run.parent:
        _tell_parent(case, ChildPaused)


def resume(case: Case, env: Mapping[str, Any] | None) -> None:
    run = case.run
    if run.state not in (State.PAUSED, State.IDLE):
        return
    for row in _open_children(case):
        case.effects.append(Tell(event=ResumeWorkflow(run_id=row["id"])))
    merge_env(case, env)
    move(run, run, State.RUNNING)
    if run.parent:
        _tell_parent(case, ChildResumed)
    _go_on(case)


def _go_on(case: Case) -> None:
    """Take up everything that a pause, or the end of the run, held back."""
    run = case.run
    run.adopt(case.facts.tasks(run.id, processed=False))
    waiting = sorted(
        (t for t in run.tasks.values() if not t.processed), key=lambda t: t.seq
    )
    run.todo = [t for t in waiting if t.completed]
    case.resumed = {t.id for t in run.todo if t.rest is None}
    for task in waiting:
        if run.state != State.RUNNING:
            break
        if task.completed:
            continue
        with forced(case, task, "Failed to run task"):
            if task.state == State.IDLE or task.ready:
                if tasks.release(case, task):
                    pause(case, None)
            elif task.state == State.WAITING:
                joins.survey(case, task)
                decide_join(case, task)
            elif task.total is not None and task.state == State.RUNNING:
                if items.has_more(task):
                    tasks.open_items(case, task)
    advance(case)


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
    if run.completed and (run.state == State.SUCCESS or state != State.SUCCESS):
        return
    if state == State.SUCCESS:
        if run.state != State.RUNNING:
            move(run, run, State.SUCCESS)
        _output(case, state, message, ())
    if state == State.CANCELLED:
        for row in _open_children(case):
            event = StopWorkflow(run_id=row["id"], state=state, message=message)
            case.effects.append(Tell(event=event))
    finish(case, state, message)


def reopen(case: Case, rerun: Task | None) -> None:
    """RUNNING again, and with it every ancestor (W8).

    :raises TransitionRefused: the run ended in SUCCESS.
    """
    run = case.run
    if not run.completed:
        return
    move(run, run, State.RUNNING)
    run.accepted = False
    if run.parent:
        _tell_parent(case, ChildReopened)
    run.adopt(case.facts.tasks(run.id, processed=False))
    for task in list(run.tasks.values()):
        if task is rerun or task.closed_from is None:
            continue
        was, task.closed_from = task.closed_from, None
        move(run, task, was)
        task.finished_at = None
        # Its timer may be gone: it goes on at once.
        task.ready = was == State.DELAYED


def rerun(case: Case, task: Task, reset: bool, env: Mapping[str, Any] | None) -> None:
    """:raises BadRequest: the task is not in ERROR, or the run is paused."""
    _check_redo(case, task, "rerun")
    merge_env(case, env)
    reopen(case, task)
    kept: set[int] = set()
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
    _begin(case, task)
    _go_on_after(case, task)


def _good_children(case: Case, task: Task) -> set[int]:
    return {
        row["internals"]["parent"]["index"]
        for row in case.facts.children([task.id])
        if row["state"] == State.SUCCESS
    }


def skip(case: Case, task: Task, env: Mapping[str, Any] | None) -> None:
    """:raises BadRequest: the task is not in ERROR, or the run is paused."""
    _check_redo(case, task, "skip")
    merge_env(case, env)
    reopen(case, task)
    task.runtime_context = {}
    task.rest = None
    task.processed = False
    with forced(case, task, "Failed to complete task"):
        tasks.complete(case, task, State.SKIPPED, "Task was skipped.")
    _go_on_after(case, task)


def _go_on_after(case: Case, task: Task) -> None:
    mine = [each for each in case.run.todo if each is task]
    if case.run.state != State.RUNNING:
        return
    todo = [each for each in case.run.todo if each is not task]
    case.run.adopt(case.facts.tasks(case.run.id, processed=False))
    held = [
        each
        for each in case.run.tasks.values()
        if not each.processed and each is not task and each not in todo
    ]
    for each in held:
        if each.completed:
            todo.append(each)
        elif each.ready or each.state == State.IDLE:
            with forced(case, each, "Failed to run task"):
                tasks.release(case, each)
        elif each.state == State.WAITING:
            decide_join(case, each)
    case.run.todo = [*mine, *todo, *(t for t in case.run.todo if t not in mine + todo)]
    advance(case)


def _check_redo(case: Case, task: Task, verb: str) -> None:
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
    """:raises Forbidden: the run is not over, and nobody insisted."""
    run = case.run
    if not run.completed and not force:
        raise Forbidden(
            f"Only completed executions can be deleted. Execution {run.id} is in "
            f"{run.state} state; use force to delete it all the same."
        )
    ids = [row["id"] for row in case.facts.tasks(run.id) if row["type"] == "WORKFLOW"]
    for row in case.facts.children(ids) if ids else ():
        case.effects.append(Tell(event=DeleteWorkflow(run_id=row["id"], force=True)))
    run.deleted = True


# -- What sub-workflows tell --------------------------------------------------


def child_finished(case: Case, task: Task, event: ChildFinished) -> None:
    if event.attempt != task.tries or task.expired:
        return
    with forced(case, task, "Failed to handle action completion"):
        tasks.child_done(case, task, event.state, None, event.message)
        open_more(case, task)
    advance(case)


def open_more(case: Case, task: Task) -> None:
    """Room became free in a with-items task."""
    if (
        task.total is not None
        and task.state == State.RUNNING
        and case.run.state == State.RUNNING
        and (task.runtime_context or {}).get("concurrency")
        and items.has_more(task)
    ):
        tasks.open_items(case, task)


def child_paused(case: Case, task: Task) -> None:
    if task.state == State.RUNNING:
        move(case.run, task, State.PAUSED)
    if not case.run.completed:
        pause(case, None)


def child_resumed(case: Case, task: Task, child_id: str) -> None:
    run = case.run
    if task.type == "WORKFLOW":
        others = case.facts.children([task.id])
        if any(r["state"] == State.PAUSED and r["id"] != child_id for r in others):
            return
    if task.state == State.PAUSED:
        move(run, task, State.RUNNING)
    if run.state == State.PAUSED:
        run.adopt(case.facts.tasks(run.id, states=[State.PAUSED]))
        if not any(t.state == State.PAUSED for t in run.tasks.values()):
            resume(case, None)


def child_reopened(case: Case, task: Task) -> None:
    if task.state == State.SUCCESS:
        return
    was_completed = task.completed
    reopen(case, task)
    if not was_completed:
        return
    task.closed_from = None
    if task.state == State.ERROR:
        task.failed = max(0, task.failed - 1)
    task.open += 1
    task.done = max(0, task.done - 1)
    move(case.run, task, State.RUNNING)
    task.processed = task.error_handled = False
    task.finished_at = None
    task.next_tasks, task.has_next_tasks = None, False
    _go_on_after(case, task)


def failed_start(event: StartWorkflow, error: MistralError) -> list[Tell]:
    """A sub-workflow that could not start leaves nothing but this (ENG-174)."""
    parent = event.parent or {}
    return [
        Tell(
            event=ChildFinished(
                run_id=parent["run_id"],
                task_id=parent["task_id"],
                attempt=parent["attempt"],
                index=parent["index"],
                state=State.ERROR,
                message=error.message,
            )
        )
    ]
