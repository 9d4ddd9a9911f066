"""One task: its text judged, normalised and filled into a ``TaskSpec``
(spec/language.md § 9 to 19, A.5 and A.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from mistral.errors import DefinitionFault
from mistral.lang import policies, shapes
from mistral.lang.clauses import (
    EVENTS,
    build_clause,
    check_clause,
    check_variables,
)
from mistral.lang.embedded import Expressions
from mistral.lang.heads import NUL
from mistral.lang.inline import Call, parse_inline, warn_ignored
from mistral.lang.items import build_items, check_items
from mistral.lang.shapes import Findings, Path, Shape
from mistral.lang.specs import (
    ENGINE_COMMANDS,
    NO_CLAUSE,
    NOTHING,
    Clause,
    Event,
    TaskSpec,
)

Kind = Literal["direct", "reverse"]

NAME_CHARACTERS: Final = 255
JOIN_NAME_CHARACTERS: Final = 208
"""A join's key in storage holds more than the name (V-22)."""

DEFAULT_ACTION: Final = "std.noop"


def join(found: Findings, path: Path, value: Any) -> bool:
    """The shape of ``join``."""
    if value in ("all", "one") or shapes.is_whole_number(value):
        return True
    message = "expected 'all', 'one' or a whole number from 0 on"
    hint = ""
    if isinstance(value, str):
        hint = found.did_you_mean(value.lower(), ("all", "one"))
    found.error(path, f"{message}, found {shapes.kind_of(value)}{hint}", "V-06")
    return False


_BOTH_KINDS: Final[Mapping[str, Shape]] = {
    "name": shapes.anything,
    "version": shapes.anything,
    "type": shapes.anything,
    "description": shapes.text,
    "tags": shapes.string_list,
    "action": shapes.text,
    "workflow": shapes.text,
    "input": shapes.text_or_mapping,
    "with-items": shapes.text_or_list,
    "publish": shapes.mapping,
    "publish-on-error": shapes.mapping,
    "publish-on-skip": shapes.mapping,
    "keep-result": shapes.boolean_or_expression,
    "safe-rerun": shapes.boolean_or_expression,
    "target": shapes.text,
    **policies.SHAPES,
}

_PROPERTIES: Final[Mapping[Kind, Mapping[str, Shape]]] = {
    "direct": {
        **_BOTH_KINDS,
        "join": join,
        **dict.fromkeys(EVENTS, shapes.anything),
    },
    "reverse": {**_BOTH_KINDS, "requires": shapes.text_or_list},
}

_HINTS: Final[Mapping[Kind, Mapping[str, str]]] = {
    "direct": {"requires": ": only tasks of a reverse workflow have it"},
    "reverse": dict.fromkeys(
        ("join", *EVENTS), ": tasks of a reverse workflow have 'requires' instead"
    ),
}


def check_task(
    expressions: Expressions, path: Path, name: str, body: Any, kind: Kind
) -> dict[str, Any] | None:
    """Report what is wrong with a task.

    :returns: the properties that can be built; None if there is no telling.
    """
    found = expressions.found
    _check_name(found, path, name, body)
    if not isinstance(body, dict):
        message = f"expected a mapping, found {shapes.kind_of(body)}"
        found.error(path, message, "V-09")
        return None
    if not body:
        found.error(path, "a task needs at least one property", "V-06")
        return None
    sound = shapes.fields(found, path, body, _PROPERTIES[kind], hints=_HINTS[kind])
    _check_call(expressions, path, sound)
    items = sound.get("with-items")
    if items is not None and not check_items(expressions, (*path, "with-items"), items):
        del sound["with-items"]
    for key in ("publish", "publish-on-error", "publish-on-skip"):
        if key in sound:
            check_variables(expressions, (*path, key), sound[key])
    policies.check_policies(expressions, path, sound)
    for key in ("keep-result", "safe-rerun"):
        if isinstance(sound.get(key), str):
            expressions.must((*path, key), sound[key])
    expressions.should((*path, "target"), sound.get("target"))
    for event in EVENTS:
        if event in sound and not check_clause(
            expressions, (*path, event), sound[event]
        ):
            del sound[event]
    return sound


def _check_name(found: Findings, path: Path, name: str, body: Any) -> None:
    if name == "version":
        message = "a task cannot be called 'version': the name is reserved"
        found.error(path, message, "Q05", at_key=True)
    elif name in ENGINE_COMMANDS:
        message = f"a transition to '{name}' always runs the command, not this task"
        found.warn(path, message, "LINT-32", at_key=True)
    if not name or len(name) > NAME_CHARACTERS:
        message = f"a task name has 1 to {NAME_CHARACTERS} characters"
        found.error(path, message, "V-21", at_key=True)
    elif len(name) > JOIN_NAME_CHARACTERS and _is_join(body):
        message = f"the name of a join has at most {JOIN_NAME_CHARACTERS} characters"
        found.error(path, message, "V-22", at_key=True)
    elif NUL in name:
        found.error(path, "a name holds no NUL character", "V-21", at_key=True)


def _is_join(body: Any) -> bool:
    return isinstance(body, dict) and bool(body.get("join"))


def _check_call(expressions: Expressions, path: Path, sound: dict[str, Any]) -> None:
    """What is called, and with what (§ 10, 11)."""
    found = expressions.found
    if "action" in sound and "workflow" in sound:
        message = "a task has an 'action' or a 'workflow', not both"
        found.error((*path, "workflow"), message, "V-10", at_key=True)
    given = sound.get("input")
    if isinstance(given, dict):
        expressions.entries((*path, "input"), given)
    elif given is not None:
        expressions.must((*path, "input"), given)
        if not shapes.is_expression(given):
            message = "a string as input must be an expression that gives a mapping"
            found.warn((*path, "input"), message, "V-33")
    for key in ("action", "workflow"):
        if key not in sound:
            continue
        here = (*path, key)
        call = check_call_text(expressions, here, sound[key])
        if call is None:
            del sound[key]
            continue
        expressions.should(here, call.name)
        if isinstance(given, str) and call.params:
            message = "an 'input' that is an expression excludes inline parameters"
            found.error((*path, "input"), message, "Q19")
        elif isinstance(given, dict):
            warn_overridden(found, (*path, "input"), given, call)


def check_call_text(expressions: Expressions, path: Path, text: str) -> Call | None:
    """Inline parameters of ``action``, ``workflow`` or ``base`` (V-11)."""
    try:
        call = parse_inline(text)
    except DefinitionFault as fault:
        problem = fault.problems[0]
        expressions.found.error(path, problem.message, problem.rule)
        return None
    warn_ignored(expressions.found, path, call)
    for value in call.params.values():
        if isinstance(value, str):
            expressions.must(path, value)
        else:
            expressions.should(path, value)
    return call


def warn_overridden(
    found: Findings, path: Path, given: Mapping[str, Any], call: Call
) -> None:
    """Q18: the inline value wins over the mapping's."""
    for key in call.params.keys() & given.keys():
        message = f"'{shapes.shortened(key)}' is also given inline, and that wins"
        found.warn((*path, key), message, "Q18", at_key=True)


def merge_inline(given: Any, text: str) -> Any:
    """``input`` with the inline parameters of a sound text over it (Q18)."""
    call = parse_inline(text)
    if not call.params or not isinstance(given, Mapping):
        return given
    return {**given, **call.params}


def normalise_task(name: str, body: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The form of § 29.3; ``body`` is sound and JSON already."""
    normal = dict(body)
    text = normal.get("action", normal.get("workflow"))
    if text is not None and "input" in normal:
        normal["input"] = merge_inline(normal["input"], text)
    normal.update(type=kind, name=name, version="2.0")
    return normal


@dataclass(frozen=True, slots=True)
class Defaults:
    """What ``task-defaults`` gives to every task (§ 19)."""

    clauses: Mapping[Event, Clause] = field(default_factory=dict)
    policies: Mapping[str, Any] = field(default_factory=dict)
    requires: tuple[str, ...] = ()


def build_task(
    name: str, body: Mapping[str, Any], defaults: Defaults, kind: Kind
) -> TaskSpec:
    """The effective task of a normalised body."""
    action, workflow = body.get("action"), body.get("workflow")
    call = parse_inline(action or workflow or DEFAULT_ACTION)
    given: Any = body.get("input", NOTHING)
    if not isinstance(given, str):
        given = frozen({**given, **call.params})
    is_workflow = workflow is not None and action is None
    clauses = {}
    if kind == "direct":
        clauses = {event: _clause(name, body, event, defaults) for event in EVENTS}
    return TaskSpec(
        name=name,
        action=None if is_workflow else call.name,
        workflow=call.name if is_workflow else None,
        input=given,
        with_items=build_items(body.get("with-items")),
        publish=frozen(body.get("publish")),
        publish_on_error=frozen(body.get("publish-on-error")),
        publish_on_skip=frozen(body.get("publish-on-skip")),
        on_success=clauses.get("on-success", NO_CLAUSE),
        on_error=clauses.get("on-error", NO_CLAUSE),
        on_complete=clauses.get("on-complete", NO_CLAUSE),
        on_skip=clauses.get("on-skip", NO_CLAUSE),
        join=_join(body.get("join")) if kind == "direct" else None,
        requires=_requires(name, body, defaults) if kind == "reverse" else (),
        policies=policies.build_policies(body, defaults.policies),
        target=body.get("target"),
        keep_result=body.get("keep-result", True),
        safe_rerun=body.get("safe-rerun", defaults.policies.get("safe-rerun", False)),
        description=body.get("description"),
        tags=tuple(body.get("tags", ())),
        body=body,
    )


def frozen(mapping: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A view that cannot be changed; None becomes the empty mapping."""
    return MappingProxyType(dict(mapping)) if mapping else NOTHING


def _clause(
    name: str, body: Mapping[str, Any], event: Event, defaults: Defaults
) -> Clause:
    """The task's clause, or the default's targets where it has none; a
    handler that is a default does not call itself."""
    own = build_clause(body[event]) if event in body else NO_CLAUSE
    default = defaults.clauses.get(event)
    if own.edges or default is None:
        return own
    edges = tuple(
        edge for edge in default.edges if edge.is_command or edge.target != name
    )
    return Clause(edges, own.publish) if edges or own.publish else NO_CLAUSE


def _join(value: Any) -> Literal["all"] | int | None:
    if value == "all":
        return "all"
    if value == "one":
        return 1
    return int(value) if value else None


def _requires(
    name: str, body: Mapping[str, Any], defaults: Defaults
) -> tuple[str, ...]:
    """Own requirements, then the default ones, which do not apply to the
    tasks they name (LANG-195)."""
    added = () if name in defaults.requires else defaults.requires
    listed = dict.fromkeys((*names_in(body.get("requires")), *added))
    listed.pop(name, None)
    return tuple(listed)


def names_in(value: Any) -> tuple[str, ...]:
    """The names of a ``requires``: one, a list, or nothing."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
