"""One workflow: its text judged, normalised and filled into a
``WorkflowSpec`` (spec/language.md § 8, 17, 19 and 29, A.4 and A.9)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from mistral.lang import policies, shapes
from mistral.lang.actions import build_input, warn_reserved_inputs
from mistral.lang.clauses import (
    EVENTS,
    build_clause,
    check_clause,
    check_targets,
    check_variables,
    entries,
)
from mistral.lang.embedded import Expressions
from mistral.lang.graph import Graph, graph_of
from mistral.lang.shapes import Findings, Path, Shape
from mistral.lang.specs import ENGINE_COMMANDS, TaskSpec, WorkflowSpec
from mistral.lang.tasks import (
    Defaults,
    Kind,
    build_task,
    check_task,
    frozen,
    names_in,
    normalise_task,
)
from mistral.lang.text import to_json
from mistral.lang.triggers import SECTIONS, check_triggers

DEFAULT_TRANSITIONS: Final = 1_000_000
"""Defaults are multiplied by the tasks: two long lists of a small text must
not become more edges than memory holds."""

_TASK_DEFAULTS: Final[Mapping[str, Shape]] = {
    **policies.SHAPES,
    "safe-rerun": shapes.boolean_or_expression,
    "requires": shapes.text_or_list,
    **dict.fromkeys(EVENTS, shapes.anything),
}


def _type(found: Findings, path: Path, value: Any) -> bool:
    if value in ("direct", "reverse"):
        return True
    message = f"expected 'direct' or 'reverse', found {shapes.kind_of(value)}"
    hint = ""
    if isinstance(value, str):
        hint = found.did_you_mean(value, ("direct", "reverse"))
    found.error(path, message + hint, "V-05")
    return False


def _description(found: Findings, path: Path, value: Any) -> bool:
    """Any scalar; the language does not check it (Q12)."""
    if value is None or isinstance(value, (list, dict)):
        message = f"a description should be text, found {shapes.kind_of(value)}"
        found.warn(path, message, "Q12")
    return True


def _entries(found: Findings, path: Path, value: Any) -> bool:
    """A mapping of one or more names; what is in them is looked at later."""
    if isinstance(value, dict) and value:
        return shapes.names_only(found, path, value)
    message = f"expected a mapping with entries, found {shapes.kind_of(value)}"
    found.error(path, message, "V-06")
    return False


_PROPERTIES: Final[Mapping[str, Shape]] = {
    "name": shapes.anything,
    "version": shapes.anything,
    "type": _type,
    "description": _description,
    "tags": shapes.string_list,
    "input": shapes.input_declaration,
    "vars": shapes.mapping,
    "output": shapes.mapping,
    "output-on-error": shapes.mapping,
    "timeout": shapes.number_or_expression,
    "retry": policies.retry_of_run,
    "task-defaults": _entries,
    "tasks": _entries,
    **dict.fromkeys(SECTIONS, shapes.anything),
}


_OF_RUN: Final[tuple[str, ...]] = ("timeout", "retry")
"""Policies of the run as a whole (decision 0043)."""


def check_workflow(
    expressions: Expressions, path: Path, name: str, value: Any
) -> WorkflowSpec | None:
    """Report what is wrong with a workflow.

    :param name: the name it is to have; that of a workbook's member is full.
    :returns: the workflow, of those parts that can be built; the whole of it
        when nothing was reported.
    """
    found = expressions.found
    if not isinstance(value, dict) or not value:
        rule = "V-06" if isinstance(value, dict) else "V-09"
        message = f"expected a workflow, found {shapes.kind_of(value)}"
        found.error(path, message, rule)
        return None
    sound = shapes.fields(found, path, value, _PROPERTIES, closed=False)
    _check_data(expressions, path, sound)
    of_run = {name: sound[name] for name in _OF_RUN if name in sound}
    policies.check_policies(expressions, path, of_run)
    kind: Kind = "reverse" if sound.get("type") == "reverse" else "direct"
    defaults = sound.get("task-defaults")
    if defaults is not None:
        sound["task-defaults"] = _check_defaults(expressions, path, defaults, kind)
    if "tasks" not in value:
        hint = shapes.misspelled("tasks", value)
        found.error(path, f"a workflow needs 'tasks'{hint}", "V-06")
    tasks = value.get("tasks")
    if not isinstance(tasks, dict) or not tasks:
        return None
    judged = {
        task: check_task(expressions, (*path, "tasks", task), task, body, kind)
        for task, body in tasks.items()
        if isinstance(task, str)
    }
    sound["tasks"] = {task: body for task, body in judged.items() if body is not None}
    _check_names(found, path, sound, judged.keys(), kind)
    if _too_many_edges(found, path, sound):
        return None
    spec = build_workflow(normalise_workflow(name, to_json(sound)))
    triggers = check_triggers(expressions, path, value, name, {name: spec})
    spec = replace(spec, triggers=triggers)
    if _is_graph_known(value, sound):
        _check_graph(found, path, spec)
    return spec


def _check_data(expressions: Expressions, path: Path, sound: Mapping[str, Any]) -> None:
    if "vars" in sound:
        check_variables(expressions, (*path, "vars"), sound["vars"])
    expressions.entries((*path, "output"), sound.get("output", {}))
    expressions.should((*path, "output-on-error"), sound.get("output-on-error"))
    warn_reserved_inputs(expressions.found, (*path, "input"), sound.get("input"))


def _check_defaults(
    expressions: Expressions, path: Path, value: Mapping[str, Any], kind: Kind
) -> dict[str, Any]:
    """``task-defaults`` (A.9): the properties that can be built."""
    found = expressions.found
    here = (*path, "task-defaults")
    sound = shapes.fields(found, here, value, _TASK_DEFAULTS)
    policies.check_policies(expressions, here, sound)
    if isinstance(sound.get("safe-rerun"), str):
        expressions.must((*here, "safe-rerun"), sound["safe-rerun"])
    for event in EVENTS:
        if event not in sound:
            continue
        clause = sound[event]
        if not check_clause(expressions, (*here, event), clause):
            del sound[event]
        elif build_clause(clause).publish and kind == "direct":
            message = "'publish' of a default clause has no effect"
            found.warn((*here, event), message, "Q40")
    return sound


def _check_names(
    found: Findings,
    path: Path,
    sound: Mapping[str, Any],
    tasks: Collection[str],
    kind: Kind,
) -> None:
    """V-24 and V-27: whatever is named exists."""
    bodies = [((*path, "tasks", name), body) for name, body in sound["tasks"].items()]
    if "task-defaults" in sound:
        bodies.append(((*path, "task-defaults"), sound["task-defaults"]))
    for here, body in bodies:
        if kind == "reverse":
            _check_required(found, (*here, "requires"), body.get("requires"), tasks)
            continue
        for event in EVENTS:
            if event in body:
                check_targets(found, (*here, event), body[event], tasks)


def _check_required(
    found: Findings, path: Path, value: Any, tasks: Collection[str]
) -> None:
    for position, name in enumerate(names_in(value)):
        if name in tasks:
            continue
        here = (*path, position) if isinstance(value, list) else path
        shown = shapes.shortened(name)
        if name in ENGINE_COMMANDS:
            message = f"'{shown}' is a command; only a task can be required"
        else:
            message = f"'{shown}' is no task{found.did_you_mean(name, tasks)}"
        found.error(here, message, "V-27")


def _too_many_edges(found: Findings, path: Path, sound: Mapping[str, Any]) -> bool:
    defaults = sound.get("task-defaults", {})
    given = len(names_in(defaults.get("requires"))) + sum(
        sum(1 for _ in entries((), defaults[event]))
        for event in EVENTS
        if event in defaults
    )
    if given * len(sound["tasks"]) <= DEFAULT_TRANSITIONS:
        return False
    message = f"the defaults give more than {DEFAULT_TRANSITIONS} transitions"
    found.error((*path, "task-defaults"), message, "SEC-03")
    return True


def _is_graph_known(value: Mapping[Any, Any], sound: Mapping[str, Any]) -> bool:
    """Whether no part was dropped that leads from task to task."""
    if "type" in value and "type" not in sound:
        return False
    parts = [(value["tasks"].get(name), body) for name, body in sound["tasks"].items()]
    if len(parts) != len(value["tasks"]):
        return False
    if "task-defaults" in value:
        if "task-defaults" not in sound:
            return False
        parts.append((value["task-defaults"], sound["task-defaults"]))
    leading = {*EVENTS, "join", "requires"}
    return all(leading.intersection(raw) <= body.keys() for raw, body in parts)


def _check_graph(found: Findings, path: Path, spec: WorkflowSpec) -> None:
    graph = graph_of(spec)
    if spec.type == "reverse":
        cycle = graph.requirement_cycle
        if cycle:
            here = (*path, "tasks", cycle[0], "requires")
            message = f"these tasks require each other: {shapes.quoted(cycle)}"
            found.error(here, message, "Q37")
        return
    if not graph.start_tasks:
        message = "every task has a transition to it, so none can be the first"
        found.error((*path, "tasks"), message, "V-23")
        return
    certain = _certain_transitions(spec)
    for task in spec.tasks.values():
        if task.join is not None:
            here = (*path, "tasks", task.name, "join")
            _check_join(found, here, task, graph)
            if task.join == "all":
                inbound = graph.inbound(task.name)
                _warn_of_conditions(found, here, inbound, certain[task.name])
    if graph.unreachable:
        names = shapes.quoted(graph.unreachable)
        here = (*path, "tasks", graph.unreachable[0])
        message = f"no start task leads to {names}; such tasks never run"
        found.warn(here, message, "LINT-33", at_key=True)


def _check_join(found: Findings, path: Path, task: TaskSpec, graph: Graph) -> None:
    inbound = len(graph.inbound(task.name))
    if task.join == "all":
        if not inbound:
            found.error(path, "a join of all needs a task that leads to it", "V-25")
    elif task.join is not None and task.join > inbound:
        message = f"a join of {task.join} needs as many tasks that lead to it"
        found.error(path, f"{message}; there are {inbound}", "V-26")


def _certain_transitions(spec: WorkflowSpec) -> Mapping[str, Collection[str]]:
    """Target → tasks that lead there by some transition without condition."""
    certain: dict[str, set[str]] = {name: set() for name in spec.tasks}
    for task in spec.tasks.values():
        for event in EVENTS:
            for edge in task.clause(event).edges:
                if edge.condition is None and edge.target in certain:
                    certain[edge.target].add(task.name)
    return certain


def _warn_of_conditions(
    found: Findings, path: Path, inbound: Sequence[str], certain: Collection[str]
) -> None:
    """LINT-14: with a false condition a join of all fails the workflow."""
    doubtful = [name for name in inbound if name not in certain]
    if doubtful:
        message = (
            f"a condition of {shapes.quoted(doubtful)} that is false makes this join"
            " fail; use 'join: one', or lead to it unconditionally"
        )
        found.warn(path, message, "LINT-14")


def normalise_workflow(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The form of § 29.3; ``body`` is sound and JSON already."""
    kind: Kind = body.get("type", "direct")
    normal = {"name": name, "version": "2.0", **body}
    normal.update(name=name, version="2.0")
    normal["tasks"] = {
        task: normalise_task(task, content, kind)
        for task, content in body["tasks"].items()
    }
    return normal


def build_workflow(body: Mapping[str, Any]) -> WorkflowSpec:
    """The workflow of a normalised body, defaults applied to each task."""
    kind: Kind = body.get("type", "direct")
    defaults = _defaults(body.get("task-defaults", {}), kind)
    return WorkflowSpec(
        name=body["name"],
        type=kind,
        tasks=MappingProxyType(
            {
                name: build_task(name, content, defaults, kind)
                for name, content in body["tasks"].items()
            }
        ),
        input=build_input(body.get("input")),
        vars=_frozen_or_none(body.get("vars")),
        output=_frozen_or_none(body.get("output")),
        output_on_error=_frozen_or_none(body.get("output-on-error")),
        description=body.get("description"),
        tags=tuple(body.get("tags", ())),
        timeout=policies.whole(_of_run(body, "timeout")),
        retry=policies.build_retry(_of_run(body, "retry")),
        body=body,
    )


def _of_run(body: Mapping[str, Any], name: str) -> Any:
    """None, too, for what a definition that is older than these properties has by
    their names: it had no effect."""
    value = body.get(name)
    return value if _PROPERTIES[name](Findings(), (), value) else None


def _frozen_or_none(mapping: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if mapping is None else frozen(mapping)


def _defaults(given: Mapping[str, Any], kind: Kind) -> Defaults:
    clauses = {}
    if kind == "direct":
        clauses = {
            event: build_clause(given[event]) for event in EVENTS if event in given
        }
    return Defaults(clauses, given, names_in(given.get("requires")))
