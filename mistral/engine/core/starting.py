"""How a run begins: definition, input, parameters, first tasks (§ 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mistral.engine.core import actions, beginnings, notices
from mistral.engine.core.data import Case, check_size
from mistral.engine.core.views import env_view
from mistral.errors import (
    BadRequest,
    DefinitionFault,
    InvalidInput,
    MistralError,
    NotFound,
    WorkflowFault,
)
from mistral.expressions.evaluate import to_storable
from mistral.lang import appointments, priorities
from mistral.lang.specs import REQUIRED, WorkflowSpec
from mistral.messages import (
    ChildFinished,
    StartWorkflow,
    State,
    Tell,
)


def start(case: Case, event: StartWorkflow) -> None:
    """Fill the new run of ``case`` and start its first tasks (§ 2.1).

    :raises NotFound: no such definition.
    :raises BadRequest: input, environment or target task are wrong.
    :raises ExpressionFault: ``vars`` or the environment cannot be evaluated.
    """
    run = case.run
    project = event.context["project_id"]
    row = _definition(case, event, project)
    try:
        spec = case.facts.spec(row["spec_id"])
    except DefinitionFault as error:
        raise BadRequest(error.message) from error
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
    if event.trigger is not None:
        run.triggered_by = dict(event.trigger)
    run.context = {**_creator(event.context), "__execution": {"id": run.id}}
    if parent is not None:
        run.parent = {
            key: parent[key] for key in ("run_id", "task_id", "attempt", "index")
        }
        run.task_execution_id = parent["task_id"]
        run.root_execution_id = parent["root_id"]
        # What the engine sets wins over what the task calls by the same name.
        params = {
            **params,
            "root_execution_id": parent["root_id"],
            "task_execution_id": parent["task_id"],
            "index": parent["index"],
            "namespace": event.namespace,
        }
    run.input = _checked_input(case, spec, given)
    if parent is None and case.facts.rules.notify:
        # Once, here: sub-workflows inherit the list (§ 10.8).
        own = params.get("notify")
        more = own if isinstance(own, list) else []
        always = [each for each in case.facts.rules.notify if each not in more]
        params = {**params, "notify": [*more, *always]}
    run.params = _checked_params(case, spec, params, row, event, project)
    try:
        check_size(case, run.params, "WorkflowExecution", "params")
    except WorkflowFault as error:
        raise BadRequest(error.message) from error
    beginnings.prepare(case)
    # What a task gives to a sub-workflow by these names may mean something else (Q20).
    moment = None if parent is not None else appointments.of(params, case.now)
    if moment is None:
        beginnings.begin(case)
    else:
        beginnings.wait_until(case, moment)
    if parent is None:
        notices.note_advice(case)


def _creator(context: Mapping[str, Any]) -> dict[str, Any]:
    """``$.openstack``: who started the run, where callers are told apart; without
    their token and catalogue (ENG-028, spec/language.md § 22.1)."""
    user = context.get("user_id")
    if user is None:
        return {}
    names = (
        "user_name", "project_id", "project_name", "roles", "is_admin",
        "request_id", "region_name", "is_trust_scoped", "expires_at",
    )  # fmt: skip
    masked = {"auth_token": "***", "service_catalog": "***"}
    trust = {"trust_id": "***" if context.get("is_trust_scoped") else None}
    shown = {name: context.get(name) for name in names}
    return {"openstack": {"user": user, "user_id": user, **shown, **masked, **trust}}


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
        raise InvalidInput.listing(spec.name, "WorkflowSpec", missing, unexpected)
    defaults = {
        n: to_storable(v, f"input.{n}")
        for n, v in spec.input.items()
        if v is not REQUIRED and n not in given
    }
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
        env = found["variables"] or {}
    if not isinstance(env, Mapping):
        raise BadRequest(
            f"Unexpected value type for environment: a mapping or a name is "
            f"expected, found {type(env).__name__}"
        )
    namespace = event.namespace or row["namespace"] or ""
    result = {**params, "env": dict(env)}
    if not isinstance(result.setdefault("namespace", namespace), str):
        raise BadRequest(
            "Unexpected value type for namespace: a string is expected, found "
            f"{type(result['namespace']).__name__}"
        )
    priority = _priority(spec, params, event.parent is None)
    if priority is not None:
        result["priority"] = priority
    evaluate = params.get("evaluate_env", True) is not False
    if env and evaluate and event.parent is None:
        # What a sub-workflow is given has been evaluated with its input.
        case.run.params = result
        result["env"] = case.evaluate(dict(env), env_view(case))
    target = result.get("task_name")
    known = isinstance(target, str) and target in spec.tasks
    if spec.type == "reverse" and not known:
        raise BadRequest(
            f"Invalid task name [wf_name={spec.name}, task_name={target}]: a reverse "
            f"workflow needs the parameter 'task_name' with one of its tasks"
        )
    return result


def _priority(spec: WorkflowSpec, params: Mapping[str, Any], asked: bool) -> int | None:
    """Of ``params``, or of a tag of the definition; None: neither says anything.

    :param asked: somebody waits for an answer. What a task gives to a sub-workflow
        that does not declare it is a parameter, too (Q20): it may mean something else.
    :raises BadRequest: it is no whole number of those that there are.
    """
    if params.get("priority") is None:
        return priorities.of_tags(spec.tags)
    try:
        return priorities.of_params(params)
    except BadRequest:
        if asked:
            raise
        return None


def failed_start(event: StartWorkflow, error: MistralError) -> list[Tell]:
    """A sub-workflow that could not start leaves nothing but this (ENG-174)."""
    return [_no_child(event, State.ERROR, error.message)]


def cancelled_start(event: StartWorkflow) -> list[Tell]:
    """Nobody waits for the sub-workflow any more (ENG-158, ENG-170)."""
    return [_no_child(event, State.CANCELLED, None)]


def _no_child(event: StartWorkflow, state: str, message: str | None) -> Tell:
    parent = event.parent or {}
    return Tell(
        event=ChildFinished(
            run_id=parent["run_id"],
            task_id=parent["task_id"],
            attempt=parent["attempt"],
            index=parent["index"],
            state=state,
            message=message,
        )
    )
