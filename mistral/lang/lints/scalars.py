"""Advice on how YAML reads a text: LINT-31, LINT-43."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mistral.expressions.yaml_text import Node, is_mapping
from mistral.lang.shapes import Findings, Path, shortened
from mistral.lang.text import Document

_BOOLEAN_PROPERTIES: Final = frozenset(
    {"keep-result", "safe-rerun", "pause-before", "fail-on"}
)

_TAG: Final = "tag:yaml.org,2002:"
_SURPRISES: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    _TAG + "bool": (re.compile("yes|no|on|off", re.IGNORECASE), "a boolean"),
    _TAG + "int": (re.compile(r"[-+]?(?:0[0-9_]+|[0-9_]+:.*)"), "a number"),
    _TAG + "float": (re.compile(r"[-+]?[0-9_]+:.*"), "a number"),
    _TAG + "timestamp": (re.compile(r".+"), "a date"),
}
_PAIRS: Final = (("<%", "%>"), ("{{", "}}"), ("{%", "%}"))


def check_scalars(found: Findings, document: Document) -> None:
    for path, node in _values(document):
        text = node.scalar or ""
        pattern, kind = _SURPRISES.get(node.tag, (None, ""))
        is_expected = bool(path) and path[-1] in _BOOLEAN_PROPERTIES
        if pattern is not None and pattern.fullmatch(text) and not is_expected:
            message = f"'{shortened(text)}' is read as {kind}; quote it if it is text"
            found.warn(path, message, "LINT-31")
        for opening, closing in _PAIRS:
            start = text.rfind(opening)
            if start >= 0 and text.find(closing, start) < 0:
                message = (
                    f"'{opening}' is never closed here, so this stays text; unquoted,"
                    " a text ends at ', ' in brackets, at ': ' and at ' #': quote it"
                )
                found.warn(path, message, "LINT-43", inside=(text, start))


def _values(document: Document) -> Iterator[tuple[Path, Node]]:
    """Every scalar that is a value, keys left out."""
    waiting: list[tuple[Path, Node]] = []
    if document.root is not None:
        waiting.append(((), document.root))
    while waiting:
        path, node = waiting.pop()
        if node.scalar is not None:
            yield path, node
        elif is_mapping(node):
            for key, value in node.pairs():
                waiting.append(((*path, _name(key)), value))
        else:
            waiting.extend(
                ((*path, position), child)
                for position, child in enumerate(node.children)
            )


def _name(key: Node) -> Any:
    return key.scalar
