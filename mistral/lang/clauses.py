"""Transition clauses: ``on-success`` and its like (spec/language.md § 14, A.7).

A clause is a target, a condition, a list of both, or the advanced form with
``publish`` and ``next``. ``check_clause`` judges the text, ``build_clause``
reads what is sound; both walk the same entries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from mistral.errors import DefinitionFault
from mistral.lang import shapes
from mistral.lang.embedded import Expressions
from mistral.lang.inline import (
    Call,
    is_target,
    parse_inline,
    parse_target,
    warn_ignored,
)
from mistral.lang.shapes import Findings, Path
from mistral.lang.specs import ENGINE_COMMANDS, NOTHING, Clause, Edge, Event, Publish

EVENTS: Final[tuple[Event, ...]] = ("on-success", "on-error", "on-complete", "on-skip")

_ADVANCED: Final = frozenset({"publish", "next"})

RESERVED_VARIABLES: Final = frozenset(
    {"__env", "__execution", "__task_execution", "__versions", "openstack"}
)


class Entry(NamedTuple):
    """One transition as it is written, and where."""

    path: Path
    target: str
    condition: Any = None
    conditional: bool = False


def is_advanced(value: Any) -> bool:
    """Whether a clause has the form with ``publish`` and ``next``.

    ``{next: <% … %>}`` is a condition on a task of that name.
    """
    if not isinstance(value, dict) or not _ADVANCED.intersection(value):
        return False
    return len(value) > 1 or not shapes.is_expression(next(iter(value.values())))


def entries(path: Path, value: Any) -> Iterator[Entry]:
    """The transitions of a sound clause, in the order of the text."""
    if is_advanced(value):
        if "next" in value:
            yield from entries((*path, "next"), value["next"])
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from entries((*path, position), item)
    elif isinstance(value, dict):
        for target, condition in value.items():
            yield Entry((*path, target), target, condition, conditional=True)
    else:
        yield Entry(path, value)


def check_clause(expressions: Expressions, path: Path, value: Any) -> bool:
    """Report what is wrong with a clause; False if it cannot be built."""
    found = expressions.found
    if is_advanced(value):
        sound = _check_advanced(expressions, path, value)
    else:
        sound = _check_simple(expressions, path, value)
    if sound:
        _warn_dead_code(found, list(entries(path, value)))
    return sound


def _check_advanced(
    expressions: Expressions, path: Path, value: Mapping[Any, Any]
) -> bool:
    found = expressions.found
    if not shapes.names_only(found, path, value):
        return False
    sound = True
    for key in value:
        if key not in _ADVANCED:
            message = (
                f"unknown property '{shapes.shortened(key)}': beside 'publish' and"
                " 'next' nothing is possible; write targets under 'next'"
            )
            found.error((*path, key), message, "V-07", at_key=True)
            sound = False
    if "publish" in value:
        here = (*path, "publish")
        sound = _check_publish(expressions, here, value["publish"]) and sound
    if "next" in value:
        sound = _check_simple(expressions, (*path, "next"), value["next"]) and sound
    return sound


def _check_publish(expressions: Expressions, path: Path, value: Any) -> bool:
    found = expressions.found
    if not isinstance(value, dict):
        message = "expected a mapping of 'branch', 'global' or 'atomic'"
        found.error(path, f"{message}, found {shapes.kind_of(value)}", "V-06")
        return False
    scopes = shapes.fields(
        found,
        path,
        value,
        dict.fromkeys(("branch", "global", "atomic"), shapes.mapping),
    )
    if not {"branch", "global", "atomic"}.intersection(value):
        message = "expected at least one of 'branch', 'global' and 'atomic'"
        found.error(path, message, "V-15")
    for scope, variables in scopes.items():
        check_variables(expressions, (*path, scope), variables)
    return bool(scopes) and len(scopes) == len(value)


def check_variables(
    expressions: Expressions, path: Path, variables: Mapping[str, Any]
) -> None:
    """Expressions of a ``publish`` or ``vars``, and names that shadow ours."""
    expressions.entries(path, variables)
    for name in RESERVED_VARIABLES.intersection(variables):
        message = f"'{name}' is reserved; built-in functions keep the real value"
        expressions.found.warn((*path, name), message, "LINT-39", at_key=True)


def _check_simple(expressions: Expressions, path: Path, value: Any) -> bool:
    found = expressions.found
    if isinstance(value, list) and value:
        sound = [
            _check_item(expressions, (*path, position), item)
            for position, item in enumerate(value)
        ]
        return all(sound) and shapes.unique(found, path, value)
    if isinstance(value, dict) and len(value) == 1:
        sound_one = _check_item(expressions, path, value)
        if sound_one:
            name = next(iter(value))
            message = (
                "a condition without a list is taken as a list of one; write"
                f" '- {shapes.shortened(name)}: …'"
            )
            found.warn(path, message, "LINT-03")
        return sound_one
    return _check_item(expressions, path, value)


def _check_item(expressions: Expressions, path: Path, item: Any) -> bool:
    found = expressions.found
    if isinstance(item, str) and item:
        return _check_target(expressions, path, item)
    if isinstance(item, dict):
        if len(item) != 1:
            message = "expected one target with its condition; write one item for each"
            found.error(path, message, "V-06")
            return False
        if not shapes.names_only(found, path, item):
            return False
        target, condition = next(iter(item.items()))
        here = (*path, target)
        if not is_target(target):
            # The language does not look at the value then (§ 14.1).
            return _check_free_target(found, here, target)
        sound = _check_target(expressions, here, target, at_key=True)
        if not shapes.expression(found, here, condition):
            return False
        expressions.must(here, condition)
        return sound
    message = f"expected a target or a condition, found {shapes.kind_of(item)}"
    found.error(path, message, "V-06")
    return False


def _check_target(
    expressions: Expressions, path: Path, target: str, *, at_key: bool = False
) -> bool:
    found = expressions.found
    try:
        call = parse_target(target)
    except DefinitionFault as fault:
        problem = fault.problems[0]
        found.error(path, problem.message, problem.rule, at_key=at_key)
        return False
    warn_ignored(found, path, call)
    expressions.should(path, call.params)
    return True


def _check_free_target(found: Findings, path: Path, target: str) -> bool:
    try:
        call = parse_inline(target)
    except DefinitionFault as fault:
        problem = fault.problems[0]
        found.error(path, problem.message, problem.rule, at_key=True)
        return False
    warn_ignored(found, path, call)
    return True


def _warn_dead_code(found: Findings, listed: list[Entry]) -> None:
    ended_by = ""
    for entry in listed:
        if ended_by:
            message = f"nothing behind '{ended_by}' is reached"
            found.warn(entry.path, message, "LINT-33")
            return
        name = _call(entry.target).name
        if name in ("fail", "succeed") and not entry.conditional:
            ended_by = name


def check_targets(
    found: Findings, path: Path, value: Any, tasks: Collection[str]
) -> None:
    """V-24: every target of a sound clause is a task or a command."""
    for entry in entries(path, value):
        name = _call(entry.target).name
        if name in tasks or name in ENGINE_COMMANDS:
            continue
        hint = found.did_you_mean(name, tasks)
        message = f"'{shapes.shortened(name)}' is neither a task nor a command{hint}"
        found.error(entry.path, message, "V-24", at_key=entry.conditional)


def build_clause(value: Any) -> Clause:
    """The clause of a sound text; None gives the empty clause."""
    if value is None:
        return Clause()
    publish = Publish()
    if is_advanced(value) and "publish" in value:
        scopes = value["publish"]
        publish = Publish(
            branch=_frozen(scopes.get("branch")),
            global_=_frozen(scopes.get("global")),
            atomic=_frozen(scopes.get("atomic")),
        )
    return Clause(tuple(_edge(entry) for entry in entries((), value)), publish)


def _frozen(variables: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return MappingProxyType(dict(variables)) if variables else NOTHING


def _call(target: str) -> Call:
    return parse_target(target) if is_target(target) else parse_inline(target)


def _edge(entry: Entry) -> Edge:
    call = _call(entry.target)
    return Edge(call.name, _condition(entry.condition), _frozen(call.params))


def _condition(value: Any) -> str | None:
    """Only the unchecked value of § 14.1 is no text: a constant."""
    if value is None or isinstance(value, str):
        return value
    return None if value else "<% false %>"
