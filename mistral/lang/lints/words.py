"""Advice on names inside expressions: LINT-09, LINT-12."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any, Final

from mistral.expressions.recognition import JINJA, YAQL
from mistral.expressions.references import References, known_names, references
from mistral.lang.lints.subject import texts
from mistral.lang.shapes import Findings, Path, shortened

_CONSTANTS: Final[Mapping[tuple[str, str], str]] = {
    (YAQL, "True"): "true",
    (YAQL, "False"): "false",
    (YAQL, "None"): "null",
    (YAQL, "none"): "null",
    (JINJA, "null"): "none",
}
_TITLES: Final = {YAQL: "YAQL", JINJA: "Jinja"}


def check_words(
    found: Findings,
    path: Path,
    text: str,
    refers: References,
    functions: Collection[str],
) -> None:
    """:param functions: names that plug-ins add to both languages."""
    for language, reference in refers.constants:
        right = _CONSTANTS[language, reference.name]
        if language == YAQL:
            message = f"'{reference.name}' is a string in YAQL; write '{right}'"
        else:
            message = f"Jinja does not know '{reference.name}'; write '{right}'"
        found.warn(path, message, "LINT-09", inside=(text, reference.offset))
    for language, reference in refers.functions:
        known = known_names()[language]
        name = reference.name
        if name in known or name in functions:
            continue
        hint = found.did_you_mean(name, chain(known, functions))
        message = f"{_TITLES[language]} has no '{shortened(name)}'{hint}"
        found.warn(path, message, "LINT-12", inside=(text, reference.offset))


def check_words_in(
    found: Findings, path: Path, tree: Any, functions: Collection[str]
) -> None:
    """All texts of a tree."""
    for here, text in texts(path, tree):
        check_words(found, here, text, references(text), functions)
