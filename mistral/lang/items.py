"""``with-items``: variables and the collections they walk (spec/language.md § 12)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from mistral.lang.embedded import Expressions
from mistral.lang.inline import is_json_list
from mistral.lang.shapes import Path, shortened

_ITEM: Final = re.compile(
    r"\s*(?P<name>[\w-]+)\s*in\s*(?P<source>\[[\s\S]+\]|\{\{.*?\}\}|<%.*?%>)"
)


def _lines(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    else:
        for position, line in enumerate(value):
            yield (*path, position), line


def check_items(expressions: Expressions, path: Path, value: Any) -> bool:
    """V-12, V-13 and the syntax of collections."""
    found = expressions.found
    sound = True
    seen: set[str] = set()
    for here, line in _lines(path, value):
        item = _ITEM.match(line)
        if item is None:
            message = "expected 'variable in <% … %>', '… in {{ … }}' or '… in [1, 2]'"
            found.error(here, message, "V-12")
            sound = False
            continue
        name, source = item["name"], item["source"]
        if source[0] != "[":
            expressions.must(here, source)
        elif not is_json_list(source):
            message = "the list is not JSON: strings need double quotes"
            found.error(here, message, "V-13")
            sound = False
        if name in seen:
            message = f"the variable '{shortened(name)}' is given twice"
            found.warn(here, f"{message}; the last one counts", "Q14")
        seen.add(name)
        ignored = line[item.end() :].strip()
        if ignored:
            message = f"'{shortened(ignored)}' is ignored: write a list, one line each"
            found.warn(here, message, "LINT-40", inside=(ignored, 0))
    return sound


def build_items(value: Any) -> Mapping[str, Any] | None:
    """Loop variable → literal list or expression, of a sound text."""
    if value is None:
        return None
    variables: dict[str, Any] = {}
    for _, line in _lines((), value):
        item = _ITEM.match(line)
        if item is not None:
            source = item["source"]
            literal = source[0] == "["
            variables[item["name"]] = json.loads(source) if literal else source
    return MappingProxyType(variables)
