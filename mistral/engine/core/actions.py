"""From a task to a call, and from a result to what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from mistral.engine.core import adhoc, mail
from mistral.engine.core.data import Case, check_size, merged
from mistral.engine.core.ports import Descriptor
from mistral.engine.core.run import Action, Run, Task, TaskFault, move
from mistral.engine.core.views import env_of, view
from mistral.errors import AuthorError, InvalidInput, WorkflowFault
from mistral.expressions.facts import View
from mistral.expressions.faults import wrong_value
from mistral.lang.shapes import kind_of
from mistral.lang.specs import TaskSpec
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

    :param workbook: of who calls it; a base is looked up in the workbook of the
        action that names it (Q09).
    :raises TaskFault: a cycle, a missing base or a failing ``base-input``.
    :raises UnknownAction: there is no such action.
    :raises WorkflowFault: wrong parameters.
    """
    outputs: list[Any] = []
    shown_name, shown_input = name, given
    first = True
    for spec in adhoc.chain(case, name, namespace, workbook):
        own, given = adhoc.base_input(case, spec, given, namespace, task)
        if first:
            shown_name, shown_input, first = spec.name, own, False
        outputs.append(spec.output)
        name = spec.base
    descriptor = case.facts.action(name, namespace, case.run.project_id)
    if descriptor is None:
        text = f"Failed to find action [action_name={name}]"
        raise UnknownAction(text) if first else TaskFault(text)
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


def evaluated_input(case: Case, spec: TaskSpec, seen: View) -> dict[str, Any]:
    """:raises WorkflowFault: a dynamic input is not a mapping (LANG-095)."""
    found = case.evaluate(spec.input, seen, "input")
    if not isinstance(found, Mapping):
        sentence = (
            f"Wrong dynamic input for task '{spec.name}': a mapping is expected, "
            f"found {kind_of(found)}"
        )
        raise wrong_value(sentence, spec.input, "input")
    return dict(found)


def evaluated_name(case: Case, task: Task, tree: str, what: str) -> str:
    """The name of the action or workflow that a task calls; null: empty.

    :param what: ``action`` or ``workflow``.
    :raises WorkflowFault: it is no text.
    """
    if "<%" not in tree and "{" not in tree:
        return tree
    found = case.evaluate(tree, view(case, task), what) or ""
    if isinstance(found, str):
        return found
    sentence = f"The name of the {what} must be a string, found {kind_of(found)}"
    raise wrong_value(sentence, tree, what)


def _defaults(case: Case, name: str) -> dict[str, Any]:
    """What ``__actions`` of the environment gives to an action (LANG § 20); values,
    as the environment is evaluated once, at the start (LANG-226).

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
    with _scheduling(item):
        name = evaluated_name(case, task, text, "action") or NOOP
    action_id = run.new_id()
    with _opening(case, action_id):
        given = evaluated_input(case, spec, view(case, task, extra=item))
        given = merged(_defaults(case, text), given)
        namespace = (run.params or {}).get("namespace") or ""
        with _scheduling(item, UnknownAction):
            call = prepare(
                case, name, given, namespace, task=task, workbook=run.workbook
            )
    try:
        check_size(case, call.input, "ActionExecution", "input")
    except WorkflowFault as error:
        raise error.retold(TaskFault) from error
    is_wait = call.descriptor.name == mail.WAIT_FOR
    message = mail.wanted(call.base_input) if is_wait else None
    target = spec.target
    if target is not None:
        with _scheduling(item):
            seen = view(case, task, first=call.base_input)
            target = _group(case.evaluate(target, seen, "target"), target)
    safe = spec.safe_rerun
    if isinstance(safe, str):
        safe = case.evaluate(safe, view(case, task), "safe-rerun")
    action = Action(
        id=action_id,
        task_execution_id=task.id,
        workflow_execution_id=run.id,
        project_id=run.project_id,
        name=call.name,
        task_name=task.name,
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
    if message is not None:
        _await_message(case, action, message)
        return action
    if not (target or timeout) and _inline(case, action, call):
        return action
    _offer(case, action, call, target, timeout)
    return action


@contextmanager
def _opening(case: Case, action_id: str) -> Iterator[None]:
    """What is evaluated in here may hand out the action's address."""
    case.opening = action_id
    try:
        yield
    finally:
        case.opening = None


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
        raise error.retold(TaskFault) from error


def _inline(case: Case, action: Action, call: Prepared) -> bool:
    """Finish ours that are pure and instantaneous without an executor.

    Not so what starts before a command that ends the run: whatever the action, it
    ends after the run, which shows nothing of it (LANG § 15.2).
    """
    allowed = case.facts.rules.inline_actions and not case.ending
    function = call.descriptor.inline if allowed else None
    if function is None:
        return False
    outcome = function(call.base_input, action.id)
    if outcome is None:
        return False
    with handling(action):
        accept(case, action, *outcome)
    return True


def _await_message(case: Case, action: Action, message: mail.Wanted) -> None:
    """Take what has come already, or wait: no executor has anything to do with it."""
    found = None if case.ending else mail.take(case, message.subject, action)
    if found is None:
        mail.wait(case, action, message)
        return
    with handling(action):
        accept(case, action, State.SUCCESS, found["payload"])


@contextmanager
def handling(action: Action) -> Iterator[None]:
    """A fault in here is found in what the action's result leads to (§ 1.7)."""
    try:
        yield
    except AuthorError as error:
        error.handled = action.name
        raise


def _group(target: Any, tree: Any) -> str | None:
    """The group of executors that a target names (§ 8.5); nothing names none.

    :param tree: what the target was evaluated from.
    :raises WorkflowFault: there can be no queue of that name.
    """
    if target is None or target == "":
        return None
    text = str(target)
    fits = len(text.encode()) <= LONGEST_TARGET and text.isprintable()
    if not isinstance(target, str | int) or not fits:
        sentence = (
            "Invalid 'target': expected the name of an executor group, at most "
            f"{LONGEST_TARGET} bytes without control characters, found "
            f"{kind_of(target)}"
        )
        raise wrong_value(sentence, tree if tree is not target else None, "target")
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
    call = action.call or {}
    if run.standalone:
        return CallAction(action_id=action.id, attempt=action.attempt, **call)
    return CallAction(
        action_id=action.id,
        run_id=run.id,
        root_id=run.root_execution_id or run.id,
        priority=(run.params or {}).get("priority", 0),
        attempt=action.attempt,
        **call,
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
            result = adhoc.transformed(case, action, result)
        except WorkflowFault as error:
            _settle(case, action, State.ERROR, error.message)
            raise
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
    if not action.is_new and action.started_by is None:
        # Of what was claimed there is no offer any more.
        case.run.settled_offers.append(action.id)
    if action.awaits is not None:
        action.awaits = None
        mail.end_wait(case, action.id)


def abandon(case: Case, action: Action) -> None:
    """The task does not wait any longer: a later result is refused."""
    _settle(case, action, State.CANCELLED, None)
    action.accepted = False


def give_up(case: Case, action: Action, reason: str) -> None:
    """It has an outcome that could not be handled."""
    _settle(case, action, State.ERROR, reason)


def withdraw(case: Case, action: Action) -> None:
    """There was no call after all: the action could not be made (ENG-064)."""
    run = case.run
    run.transitions.append(["action", action.id, action.name, action.state, None])
    run.withdrawn.add(action.id)
    del run.actions[action.id]


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
    with _opening(case, event.action_id):
        call = prepare(case, event.name, dict(event.input), event.namespace)
    if call.descriptor.name == mail.WAIT_FOR:
        raise WorkflowFault(
            f"{mail.WAIT_FOR} waits for a message to its workflow execution: it cannot"
            " be run outside of one."
        )
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
    _offer(case, action, call, _group(event.target, event.target), event.timeout)
    return action


def security_of(context: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the caller's context that actions may know; secrets are sealed, and
    only executors have the key (SEC-07)."""
    names = ("project_id", "project_name", "user_name")
    kept = {name: context.get(name) for name in names}
    more = ("region_name", "expires_at", "is_trust_scoped", "sealed")
    return kept | {name: context[name] for name in more if context.get(name)}
