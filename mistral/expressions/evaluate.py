"""The face of the room: check a text, evaluate a tree."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from jinja2 import Environment

from mistral.errors import ExpressionFault
from mistral.expressions import jinja_syntax, yaql_syntax
from mistral.expressions.faults import shown
from mistral.expressions.recognition import (
    JINJA,
    LANGUAGES,
    YAQL,
    contains_expression,
    has_jinja,
    has_yaql,
    yaql_pairs,
)

__all__ = [
    "check",
    "contains_expression",
    "is_whole_expression",
]

CACHED_CHARACTERS = 4_096
"""Longer texts are parsed anew: they are rare, and a cache of them is big."""


def check(text: str, languages: Collection[str] = LANGUAGES) -> None:
    """Refuse a text whose expressions cannot work (§ 21.6). Syntax only: names
    are not looked up. A text without expressions passes.

    :param languages: those that the operator allows.
    :raises ExpressionFault: V-16 (both languages), V-17 (syntax, with the
        position in the expression), V-18 (language disabled).
    """
    if "<%" not in text and "{{" not in text and "{%" not in text:
        return
    allowed = tuple(name for name in LANGUAGES if name in languages)
    if len(text) > CACHED_CHARACTERS:
        _check(text, allowed)
    else:
        _check_once(text, allowed)


def _check(text: str, allowed: tuple[str, ...]) -> None:
    yaql, jinja = yaql_pairs(text), has_jinja(text)
    if yaql and jinja:
        raise ExpressionFault(f"YAQL and Jinja are mixed in '{shown(text)}'")
    if yaql:
        require_language(YAQL, text, allowed)
        for start, end in yaql:
            yaql_syntax.parse(text[start + 2 : end - 2], yaql_syntax.engine())
    elif jinja:
        require_language(JINJA, text, allowed)
        jinja_syntax.parse(text, _syntax_environment())


_check_once = lru_cache(maxsize=4_096)(_check)


def require_language(language: str, text: str, allowed: Collection[str]) -> None:
    """:raises ExpressionFault: V-18."""
    if language not in allowed:
        raise ExpressionFault(
            f"The expression language '{language}' is disabled here: '{shown(text)}'"
        )


@lru_cache(maxsize=1)
def _syntax_environment() -> Environment:
    return Environment(**jinja_syntax.SYNTAX)  # type: ignore[arg-type]


def is_whole_expression(text: str) -> bool:
    """Whether one expression spans the text, so that its value keeps its
    native type (§ 21.3)."""
    if has_jinja(text):
        return jinja_syntax.is_whole(text, _syntax_environment())
    return has_yaql(text) and yaql_pairs(text) == [(0, len(text))]
