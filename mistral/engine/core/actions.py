"""From a task to a call, and from a result to what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from mistral.engine.core.data import Case, check_size, merged
from mistral.engine.core.ports import Descriptor
from mistral.engine.core.run import Action, Run, Task, TaskFault, move
from mistral.engine.core.views import env_of, view
from mistral.errors import AuthorError, ExpressionFault, InvalidInput, WorkflowFault
from mistral.expressions.facts import View
from mistral.lang.specs import REQUIRED, ActionSpec, TaskSpec
from mistral.messages import CallAction, State

NOOP: Final = "std.noop"

LONGEST_TARGET: Final = 200
"""Bytes; a broker takes 255 for the name of a queue, ours has more in it."""


class UnknownAction(WorkflowFault):
    """There is no action of this name."""


class Prepared:
    """A call that is ready: what is stored, and what an executor gets."""

    def __init__(
        self,
        name: str,
        input: Mapping[str, Any],
        descriptor: Descriptor,
        namespace: str,
        base_input: Mapping[str, Any],
        outputs: tuple[Any, ...],
    ) -> None:
        self.name = name
        self.input = input
        self.descriptor = descriptor
        self.namespace = namespace
        self.base_input = base_input
        self.outputs = outputs


def prepare(
    case: Case,
    name: str,
    given: Mapping[str, Any],
    namespace: str,
    *,
    task: Task | None = None,
    workbook: str | None = None,
) -> Prepared:
    """Follow ad-hoc actions to the action that an executor knows (§ 8.11).

    :raises TaskFault: a cycle, a missing base or a failing ``base-input``.
    :raises UnknownAction: there is no such action.
    :raises WorkflowFault: wrong parameters.
    """
    project = case.run.project_id
    outputs: list[Any] = []
    seen: set[str] = set()
    shown_name, shown_input = name, given
    while True:
        spec = None
        for candidate in _candidates(name, workbook):
            spec = case.facts.adhoc(candidate, namespace, project)
            if spec is not None:
                break
        if spec is None:
            break
        if spec.name in seen:
            raise TaskFault(
                f"Failed to instantiate an action [action_desc={shown_name}]: "
                f"'{spec.name}' is based on itself"
            )
        given = _adhoc_input(spec, given)
        if not seen:
            shown_name, shown_input = spec.name, given
        seen.add(spec.name)
        outputs.append(spec.output)
        seen_by = view(case, task, first=given, with_input=False)
        try:
            given = case.evaluate(spec.base_input, seen_by)
        except ExpressionFault as error:
            raise TaskFault(
                f"Failed to instantiate an action [action_desc={spec.name}]: "
                f"{error.message}"
            ) from error
        name = spec.base
    descriptor = case.facts.action(name, namespace, project)
    if descriptor is None:
        text = f"Failed to find action [action_name={name}]"
        raise TaskFault(text) if seen else UnknownAction(text)
    try:
        case.facts.check_input(descriptor, given)
    except InvalidInput as error:
        raise WorkflowFault(error.message) from error
    outputs.reverse()
    return Prepared(
        shown_name,
        shown_input,
        descriptor,
        namespace,
        given,
        tuple(o for o in outputs if o is not None),
    )


def _candidates(name: str, workbook: str | None) -> tuple[str, ...]:
    return (f"{workbook}.{name}", name) if workbook else (name,)


def _adhoc_input(spec: ActionSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    missing = [n for n, v in spec.input.items() if v is REQUIRED and n not in given]
    unexpected = [name for name in given if name not in spec.input]
    if missing or unexpected:
        raise WorkflowFault(
            InvalidInput.listing(spec.name, "AdHocAction", missing, unexpected).message
        )
    defaults = {n: v for n, v in spec.input.items() if v is not REQUIRED}
    return {**defaults, **given}


def evaluated_input(case: Case, spec: TaskSpec, seen: View) -> dict[str, Any]:
    """:raises WorkflowFault: a dynamic input is not a mapping (LANG-095)."""
    found = case.evaluate(spec.input, seen)
    if not isinstance(found, Mapping):
        raise WorkflowFault(
            f"Wrong dynamic input for task '{spec.name}': a mapping is expected, "
            f"found {type(found).__name__}"
        )
    return dict(found)


def _defaults(case: Case, name: str) -> dict[str, Any]:
    """What ``__actions`` of the environment gives to an action (LANG § 20).

    :raises WorkflowFault: it is no mapping of action name → mapping.
    """
    every = env_of(case).get("__actions") or {}
    found = every.get(name) or {} if isinstance(every, Mapping) else every
    if isinstance(found, Mapping):
        return dict(found)
    where = f"__actions.{name}" if isinstance(every, Mapping) else "__actions"
    raise WorkflowFault(
        f"'{where}' of the environment must be a mapping, found {type(found).__name__}"
    )


def open_action(
    case: Case,
    task: Task,
    spec: TaskSpec,
    index: int,
    item: Mapping[str, Any] | None,
    timeout: int | None,
) -> Action:
    """Create the action execution of one item; inline ones are over at once.

    :raises TaskFault: the task fails in the ordinary way.
    :raises WorkflowFault, ExpressionFault: forced failures.
    """
    run = case.run
    text = spec.action or NOOP
    name = text
    if "<%" in text or "{" in text:
        with _scheduling(item):
            name = case.evaluate(text, view(case, task)) or NOOP
    given = evaluated_input(case, spec, view(case, task, extra=item))
    defaults = _defaults(case, text)
    if defaults:
        given = merged(case.evaluate(defaults, view(case, task)), given)
    namespace = (run.params or {}).get("namespace") or ""
    with _scheduling(item, UnknownAction):
        call = prepare(
            case, str(name), given, namespace, task=task, workbook=run.workbook
        )
    try:
        check_size(case, call.input, "ActionExecution", "input")
    except WorkflowFault as error:
        raise TaskFault(error.message) from error
    target = spec.target
    if target is not None:
        with _scheduling(item):
            target = case.evaluate(target, view(case, task, first=call.base_input))
            target = _group(target)
    safe = spec.safe_rerun
    if isinstance(safe, str):
        safe = case.evaluate(safe, view(case, task))
    action = Action(
        id=run.new_id(),
        task_execution_id=task.id,
        workflow_execution_id=run.id,
        project_id=run.project_id,
        name=call.name,
        workflow_name=run.workflow_name,
        workflow_namespace=run.workflow_namespace,
        description="",
        tags=list(task.tags) if task.tags else None,
        state=State.RUNNING.value,
        input=call.input,
        accepted=False,
        is_sync=call.descriptor.is_sync is not False,
        item_index=index,
        attempt=1,
        created_at=case.now,
        epoch=task.tries,
        safe_rerun=bool(safe),
        outputs=call.outputs,
    )
    run.actions[action.id] = action
    run.transitions.append(["action", action.id, action.name, None, action.state])
    if not (target or timeout) and _inline(case, action, call):
        return action
    _offer(case, action, call, target, timeout)
    return action


@contextmanager
def _scheduling(
    item: Mapping[str, Any] | None, kind: type[AuthorError] = AuthorError
) -> Iterator[None]:
    """An item that cannot be scheduled fails its task in the ordinary way, a
    plain task ends the run (LANG § 28.1)."""
    try:
        yield
    except kind as error:
        if item is None:
            raise
        raise TaskFault(error.message) from error


def _inline(case: Case, action: Action, call: Prepared) -> bool:
    """Finish ours that are pure and instantaneous without an executor."""
    function = call.descriptor.inline if case.facts.rules.inline_actions else None
    if function is None:
        return False
    outcome = function(call.base_input, action.id)
    if outcome is None:
        return False
    state, result = outcome
    accept(case, action, state, result)
    return True


def _group(target: Any) -> str | None:
    """The group of executors that a target names (§ 8.5); nothing names none.

    :raises WorkflowFault: there can be no queue of that name.
    """
    if target is None or target == "":
        return None
    text = str(target)
    fits = len(text.encode()) <= LONGEST_TARGET and text.isprintable()
    if not isinstance(target, str | int) or not fits:
        raise WorkflowFault(
            "Invalid 'target': expected the name of an executor group, at most "
            f"{LONGEST_TARGET} bytes without control characters, found "
            f"{type(target).__name__}"
        )
    return text


def _offer(
    case: Case,
    action: Action,
    call: Prepared,
    target: str | None,
    timeout: int | None,
) -> None:
    run = case.run
    action.call = {
        "name": call.descriptor.name,
        "namespace": call.namespace,
        "input": dict(call.base_input),
        "safe_rerun": action.safe_rerun,
        "target": target,
        "timeout": timeout or None,
        "execution": {
            "workflow_execution_id": action.workflow_execution_id,
            "task_execution_id": action.task_execution_id,
            "action_execution_id": action.id,
            "workflow_name": action.workflow_name,
            "callback_url": f"/v2/action_executions/{action.id}",
            "with_items_index": action.item_index,
        },
        "security": dict(run.security or {}),
    }
    if call.descriptor.code is not None:
        action.call["code"] = dict(call.descriptor.code)
    case.effects.append(offer_of(action, run))


def offer_of(action: Action, run: Run) -> CallAction:
    """The offer of the action's present attempt."""
    run_id = "" if run.standalone else run.id
    call = action.call or {}
    return CallAction(
        action_id=action.id, run_id=run_id, attempt=action.attempt, **call
    )


def unsaved(call: CallAction) -> CallAction:
    """The call of a run of which nothing is stored: there is no id to know or to
    call back (§ 8.4)."""
    execution = dict.fromkeys(call.execution)
    return replace(call, action_id="", execution={**execution, "with_items_index": 0})


def accept(
    case: Case, action: Action, state: str, result: Any, *, fault: bool = False
) -> None:
    """Complete an action execution with its first outcome, which is final.

    :param fault: the result could not be kept by who had it, see ``ActionFinished``.
    :raises WorkflowFault: the result is too large, or its transformation fails;
        the action is in ERROR then.
    """
    if fault:
        _settle(case, action, State.ERROR, result)
        raise WorkflowFault(str(result))
    if state == State.SUCCESS:
        try:
            for tree in action.outputs:
                result = case.evaluate(tree, View(result, None))
        except ExpressionFault as error:
            text = (
                f"Failed to complete action [error={error.message}, "
                f"action={action.name}]"
            )
            _settle(case, action, State.ERROR, text)
            raise WorkflowFault(text) from error
    try:
        check_size(case, {"result": result}, "ActionExecution", "output")
    except WorkflowFault as error:
        _settle(case, action, State.ERROR, error.message)
        raise
    _settle(case, action, state, result)


def _settle(case: Case, action: Action, state: str, result: Any) -> None:
    move(case.run, action, state)
    action.output = {"result": result}
    action.accepted = not action.immediate
    action.call = None
    case.run.settled_offers.append(action.id)


def abandon(case: Case, action: Action) -> None:
    """The task does not wait any longer: a later result is refused."""
    _settle(case, action, State.CANCELLED, None)
    action.accepted = False


def text_of(result: Any) -> str | None:
    """Error data as ``state_info``; null when it is empty (§ 1.7)."""
    if result is None or result in ("", {}, []):
        return None
    return result if isinstance(result, str) else str(result)


def run_alone(case: Case, event: Any) -> Action:
    """A stand-alone run (§ 7.9).

    :raises WorkflowFault: unknown action, wrong or too large parameters (a 400).
    """
    run = case.run
    run.project_id = event.context.get("project_id")
    run.security = security_of(event.context)
    call = prepare(case, event.name, dict(event.input), event.namespace)
    check_size(case, call.input, "ActionExecution", "input")
    action = Action(
        id=event.action_id,
        project_id=run.project_id,
        name=call.name,
        workflow_namespace=event.namespace,
        description=event.description,
        state=State.RUNNING.value,
        input=call.input,
        accepted=False,
        is_sync=call.descriptor.is_sync is not False,
        item_index=0,
        attempt=1,
        created_at=case.now,
        immediate=event.save and event.sync,
        outputs=call.outputs,
    )
    run.actions[action.id] = action
    run.transitions.append(["action", action.id, action.name, None, action.state])
    _offer(case, action, call, _group(event.target), event.timeout)
    return action


def security_of(context: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the caller's context that actions may know; secrets are sealed, and
    only executors have the key (SEC-07)."""
    names = ("project_id", "project_name", "user_name", "trust_id")
    kept = {name: context.get(name) for name in names}
    more = ("region_name", "expires_at", "sealed")
    return kept | {name: context[name] for name in more if context.get(name)}
