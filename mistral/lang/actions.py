"""Ad-hoc actions, and declared inputs (spec/language.md § 7 and 8.1, A.10)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from mistral.expressions.recognition import has_jinja, has_yaql
from mistral.lang import shapes
from mistral.lang.clauses import RESERVED_VARIABLES
from mistral.lang.embedded import Expressions
from mistral.lang.inline import parse_inline
from mistral.lang.shapes import Findings, Path, Shape
from mistral.lang.specs import (
    NOTHING,
    REQUIRED,
    ActionSpec,
    InputDeclaration,
)
from mistral.lang.tasks import check_call_text, frozen, merge_inline, warn_overridden
from mistral.lang.text import to_json

_PROPERTIES: Final[Mapping[str, Shape]] = {
    "name": shapes.anything,
    "version": shapes.anything,
    "base": shapes.text,
    "base-input": shapes.mapping,
    "input": shapes.input_declaration,
    "output": shapes.json_value,
    "description": shapes.text,
    "tags": shapes.string_list,
}


def check_action(
    expressions: Expressions, path: Path, name: str, value: Any
) -> ActionSpec | None:
    """Report what is wrong with an action.

    :param name: the name it is to have; that of a workbook's action is full.
    :returns: the action if it can be built.
    """
    found = expressions.found
    if not isinstance(value, dict) or not value:
        message = f"expected an action, found {shapes.kind_of(value)}"
        found.error(path, message, "V-06")
        return None
    sound = shapes.fields(found, path, value, _PROPERTIES)
    if "base" not in value:
        hint = shapes.misspelled("base", value)
        found.error(path, f"an action needs 'base'{hint}", "V-06")
    given = sound.get("base-input")
    if given is not None:
        expressions.entries((*path, "base-input"), given)
    if "base" in sound:
        call = check_call_text(expressions, (*path, "base"), sound["base"])
        if call is None:
            return None
        if has_yaql(call.name) or has_jinja(call.name):
            message = "the name of a base is never evaluated"
            found.warn((*path, "base"), message, "V-33")
        if given is not None:
            warn_overridden(found, (*path, "base-input"), given, call)
    output = sound.get("output")
    if isinstance(output, str):
        expressions.must((*path, "output"), output)
    else:
        expressions.should((*path, "output"), output)
    warn_reserved_inputs(found, (*path, "input"), sound.get("input"))
    if "base" not in sound:
        return None
    return build_action(normalise_action(name, to_json(sound)))


def normalise_action(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The form of § 29.3; ``body`` is sound and JSON already."""
    normal = {"name": name, "version": "2.0", **body}
    normal.update(name=name, version="2.0")
    if "base-input" in normal:
        normal["base-input"] = merge_inline(normal["base-input"], normal["base"])
    return normal


def build_action(body: Mapping[str, Any]) -> ActionSpec:
    """The action of a normalised body."""
    call = parse_inline(body["base"])
    return ActionSpec(
        name=body["name"],
        base=call.name,
        base_input=frozen({**body.get("base-input", {}), **call.params}),
        input=build_input(body.get("input")),
        output=body.get("output"),
        description=body.get("description"),
        tags=tuple(body.get("tags", ())),
        body=body,
    )


def build_input(declared: list[Any] | None) -> InputDeclaration:
    """Parameters in order; of one that is declared twice the last counts
    (Q14)."""
    if not declared:
        return NOTHING
    parameters: dict[str, Any] = {}
    for item in declared:
        parameters.update(item if isinstance(item, dict) else {item: REQUIRED})
    return MappingProxyType(parameters)


def warn_reserved_inputs(found: Findings, path: Path, declared: Any) -> None:
    """LINT-39 for parameters."""
    for position, item in enumerate(declared or ()):
        name = next(iter(item)) if isinstance(item, dict) else item
        if name in RESERVED_VARIABLES:
            message = f"'{name}' is reserved; built-in functions keep the real value"
            found.warn((*path, position), message, "LINT-39")
