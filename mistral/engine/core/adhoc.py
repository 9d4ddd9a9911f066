"""Ad-hoc actions: each is based on another, down to one that an executor knows
(spec/engine.md § 8.11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mistral.engine.core.contexts import inbound
from mistral.engine.core.data import Case
from mistral.engine.core.run import Action, Task, TaskFault
from mistral.engine.core.views import view
from mistral.engine.core.wording import message_of_action
from mistral.errors import DefinitionFault, ExpressionFault, InvalidInput, WorkflowFault
from mistral.expressions.facts import View
from mistral.lang.specs import REQUIRED, ActionSpec


def chain(
    case: Case, name: str, namespace: str, workbook: str | None
) -> Iterator[ActionSpec]:
    """The ad-hoc actions from the one of this name down to the last, whose base is
    none.

    :raises TaskFault: one is based on itself, or was stored without validation and is
        not valid.
    """
    first, seen = name, set[str]()
    while (spec := _find(case, name, namespace, workbook)) is not None:
        if spec.name in seen:
            raise TaskFault(
                f"Failed to instantiate an action [action_desc={first}]: "
                f"'{spec.name}' is based on itself"
            )
        first = first if seen else spec.name
        seen.add(spec.name)
        yield spec
        name, workbook = spec.base, spec.workbook


def _find(
    case: Case, name: str, namespace: str, workbook: str | None
) -> ActionSpec | None:
    project = case.run.project_id
    names = (f"{workbook}.{name}", name) if workbook else (name,)
    found = (case.facts.adhoc(each, namespace, project) for each in names)
    try:
        return next((spec for spec in found if spec is not None), None)
    except DefinitionFault as error:
        raise TaskFault(error.message) from error


def base_input(
    case: Case,
    spec: ActionSpec,
    given: Mapping[str, Any],
    namespace: str,
    task: Task | None,
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Its own parameters with their defaults, and what it gives to its base.

    :raises WorkflowFault: wrong parameters.
    :raises TaskFault: ``base-input`` cannot be evaluated.
    """
    given = _own_input(spec, given)
    # No task is the current one there, its variables are seen (LANG § 7).
    branch = None if task is None else inbound(task)
    seen = view(case, first=given, branch=branch, with_input=False)
    try:
        found: Mapping[str, Any] = case.evaluate(spec.base_input, seen, "base-input")
    except ExpressionFault as error:
        raise TaskFault(
            f"Failed to instantiate an action [action_desc={spec.name}]: "
            f"{message_of_action(case, error, spec.name, namespace)}"
        ) from error
    return given, found


def _own_input(spec: ActionSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """:raises WorkflowFault: parameters are missing, or not declared."""
    missing = [n for n, v in spec.input.items() if v is REQUIRED and n not in given]
    unexpected = [name for name in given if name not in spec.input]
    if missing or unexpected:
        raise WorkflowFault(
            InvalidInput.listing(spec.name, "AdHocAction", missing, unexpected).message
        )
    defaults = {n: v for n, v in spec.input.items() if v is not REQUIRED}
    return {**defaults, **given}


def transformed(case: Case, action: Action, result: Any) -> Any:
    """What the ``output`` of ad-hoc actions makes of a result (§ 8.11).

    :raises WorkflowFault: one of them cannot be evaluated.
    """
    for position, tree in enumerate(action.outputs):
        try:
            result = case.evaluate(tree, View(result, None), "output")
        except ExpressionFault as error:
            name = _transformer(case, action, position)
            namespace = _namespace(case, action)
            told = error.message
            if name is not None:
                told = message_of_action(case, error, name, namespace)
            raise WorkflowFault(
                f"Failed to complete action [error={told}, action={action.name}]"
            ) from error
    return result


def _transformer(case: Case, action: Action, position: int) -> str | None:
    """Which ad-hoc action ``action.outputs[position]`` is of; None: definitions have
    changed since the call."""
    namespace, workbook = _namespace(case, action), case.run.workbook
    try:
        specs = list(chain(case, action.name, namespace, workbook))
    except TaskFault:
        return None
    names = [spec.name for spec in reversed(specs) if spec.output is not None]
    return names[position] if len(names) == len(action.outputs) else None


def _namespace(case: Case, action: Action) -> str:
    """Where the actions of a call were looked for."""
    given = (case.run.params or {}).get("namespace")
    return given or action.workflow_namespace or ""
