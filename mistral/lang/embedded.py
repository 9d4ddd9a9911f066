"""Expressions inside a definition: their syntax, and what surprises in them.

Where the language checks syntax at upload (spec/language.md § 21.6) a fault
refuses the definition; everywhere else it is a warning (LINT-13, Q55), since
what uploads today must go on uploading.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mistral.errors import ExpressionFault
from mistral.expressions.evaluate import check
from mistral.expressions.recognition import (
    JINJA,
    LANGUAGES,
    YAQL,
    has_jinja,
    has_yaql,
)
from mistral.lang.shapes import Findings, Path, is_expression

_DELIMITERS: Final = (("<%", "%>"), ("{{", "}}"), ("{%", "%}"))

_METHOD_NAMES: Final = re.compile(
    r"(?<![\w.])_\.(items|keys|values|get|pop|update|copy|clear|setdefault|popitem"
    r"|fromkeys)\b(?!\s*\()"
)


@dataclass(frozen=True, slots=True)
class Expressions:
    """Checks texts of one document.

    :ivar languages: those that the operator allows (V-18).
    """

    found: Findings
    languages: Collection[str] = LANGUAGES

    def must(self, path: Path, text: str) -> None:
        """Refuse a text that cannot be evaluated: V-16, V-17, V-18."""
        fault = self._fault(path, text)
        if fault:
            self.found.error(
                path, fault.message, self._rule(text), inside=_inside(text, fault)
            )

    def should(self, path: Path, tree: Any) -> None:
        """Warn of every text in the tree that cannot be evaluated (LINT-13)."""
        if isinstance(tree, str):
            fault = self._fault(path, tree)
            if fault:
                inside = _inside(tree, fault)
                self.found.warn(path, fault.message, "LINT-13", inside=inside)
        elif isinstance(tree, dict):
            for key, item in tree.items():
                self.should((*path, key), item)
        elif isinstance(tree, list):
            for position, item in enumerate(tree):
                self.should((*path, position), item)

    def entries(self, path: Path, values: Mapping[Any, Any]) -> None:
        """Direct texts must be right, nested ones should (§ 21.6)."""
        for key, value in values.items():
            if isinstance(value, str):
                self.must((*path, key), value)
            else:
                self.should((*path, key), value)

    def _fault(self, path: Path, text: str) -> ExpressionFault | None:
        if "<%" not in text and "{{" not in text and "{%" not in text:
            return None
        self._lint(path, text)
        try:
            check(text, self.languages)
        except ExpressionFault as fault:
            return fault
        return None

    def _rule(self, text: str) -> str:
        yaql, jinja = has_yaql(text), has_jinja(text)
        if yaql and jinja:
            return "V-16"
        language = YAQL if yaql else JINJA
        return "V-17" if language in self.languages else "V-18"

    def _lint(self, path: Path, text: str) -> None:
        if text[-1:].isspace() and is_expression(text):
            self.found.warn(
                path,
                "blanks or a line break after the expression turn its value into"
                " a string; write it on one line, or in a '>-' block",
                "LINT-07",
            )
        if "\n" in text and _is_broken(text):
            self.found.warn(
                path,
                "an expression with a line break inside is not evaluated, it stays"
                " text; write it on one line, or in a '>-' block",
                "LINT-08",
            )
        method = _METHOD_NAMES.search(text) if has_jinja(text) else None
        if method:
            name = method.group(1)
            message = f"'_.{name}' is a method; the variable is _['{name}']"
            inside = (text, method.start())
            self.found.warn(path, message, "LINT-35", inside=inside)


def _inside(text: str, fault: ExpressionFault) -> tuple[str, int] | None:
    return None if fault.offset is None else (text, fault.offset)


def _is_broken(text: str) -> bool:
    """Whether delimiters open on one line and close on a later one (Q44)."""
    for opening, closing in _DELIMITERS:
        start = text.find(opening)
        while start >= 0:
            end = text.find(closing, start + 2)
            if end < 0:
                break
            if text.find("\n", start, end) >= 0:
                return True
            start = text.find(opening, end)
    return False
