"""The face of the room: check a text, evaluate a tree."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Environment

from mistral.errors import ExpressionFault
from mistral.expressions import jinja_syntax, yaql_syntax
from mistral.expressions.facts import View
from mistral.expressions.faults import evaluation_fault, shown
from mistral.expressions.functions import FUNCTIONS, LookupFailed, load_functions
from mistral.expressions.jinja import Jinja
from mistral.expressions.limits import (
    Allowance,
    Budget,
    LimitExceeded,
    budget,
    spending,
)
from mistral.expressions.recognition import (
    JINJA,
    LANGUAGES,
    YAQL,
    contains_expression,
    has_jinja,
    has_yaql,
    yaql_pairs,
)
from mistral.expressions.settings import ExpressionSettings
from mistral.expressions.values import to_storable
from mistral.expressions.yaql import Yaql
from mistral.expressions.yaql_runtime import StepContext

__all__ = [
    "Evaluator",
    "ExpressionSettings",
    "check",
    "contains_expression",
    "is_whole_expression",
    "load_functions",
    "to_storable",
]

CACHED_CHARACTERS = 4_096
"""Longer texts are parsed anew: they are rare, and a cache of them is big."""


def check(
    text: str,
    languages: Collection[str] = LANGUAGES,
    *,
    keyword_operator: str = "=>",
    allow_delegates: bool = False,
) -> None:
    """Refuse a text whose expressions cannot work (§ 21.6). Syntax only: names
    are not looked up. A text without expressions passes.

    :param languages: those that the operator allows.
    :param keyword_operator: as in :class:`ExpressionSettings`, like the next.
    :raises ExpressionFault: V-16 (both languages), V-17 (syntax, with the
        position in the expression), V-18 (language disabled).
    """
    if "<%" not in text and "{{" not in text and "{%" not in text:
        return
    allowed = tuple(name for name in LANGUAGES if name in languages)
    known = _check_once if len(text) <= CACHED_CHARACTERS else _check
    known(text, allowed, keyword_operator, allow_delegates)


def _check(
    text: str, allowed: tuple[str, ...], keyword_operator: str, allow_delegates: bool
) -> None:
    yaql, jinja = yaql_pairs(text), has_jinja(text)
    if yaql and jinja:
        raise ExpressionFault(f"YAQL and Jinja are mixed in '{shown(text)}'")
    if yaql:
        require_language(YAQL, text, allowed)
        engine = yaql_syntax.engine(keyword_operator, allow_delegates)
        for start, end in yaql:
            try:
                yaql_syntax.parse(text[start + 2 : end - 2], engine)
            except ExpressionFault as fault:
                offset = start + 2 + (fault.offset or 0)
                raise ExpressionFault(fault.message, text=text, offset=offset) from None
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


class Evaluator:
    """Evaluates trees; built once per process, safe to use from any thread.

    :param functions: those of plug-ins (:func:`load_functions`).
    :param monotonic: seconds that never run back; without it only steps and
        sizes are limited.
    """

    def __init__(
        self,
        settings: ExpressionSettings = ExpressionSettings(),  # noqa: B008
        functions: Mapping[str, Callable[..., Any]] | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self.settings = settings
        extra = dict(functions or {})
        self._monotonic = monotonic
        self._yaql = Yaql(settings, extra)
        self._jinja = Jinja(extra)
        self.functions: frozenset[str] = frozenset(FUNCTIONS) | frozenset(extra)
        """Names of the engine's functions and those of plug-ins."""

    @property
    def yaql_names(self) -> frozenset[str]:
        """Every function and method of YAQL here (LINT-12)."""
        return self._yaql.names

    @property
    def jinja_names(self) -> frozenset[str]:
        """Every global function, filter and test of Jinja here (LINT-12)."""
        return self._jinja.names | self._jinja.filters

    def evaluate(
        self, tree: Any, view: View, allowance: Allowance | None = None
    ) -> Any:
        """The tree with every expression in its values evaluated (§ 21).

        Mappings and lists are walked, keys are never evaluated, results are
        never evaluated again. What comes back is plain data of its own: no
        part of it is shared with the view.

        :param allowance: time that this evaluation shares with others.
        :raises ExpressionFault: names the place in the tree, the expression
            and the cause, never values (Q56).

        What the facts raise (other than ExpressionFault) passes through.
        """
        with spending(Budget(self.settings, self._monotonic, allowance)):
            try:
                return _Walk(self, self._yaql, self._jinja, view).value(tree, "")
            except LookupFailed as failure:
                raise failure.error from None


class _Walk:
    """One evaluation of one tree."""

    __slots__ = ("_jinja", "_languages", "_root", "_view", "_yaql")

    def __init__(
        self, evaluator: Evaluator, yaql: Yaql, jinja: Jinja, view: View
    ) -> None:
        self._languages = evaluator.settings.languages
        self._yaql = yaql
        self._jinja = jinja
        self._view = view
        self._root: StepContext | None = None

    def value(self, node: Any, path: str) -> Any:
        if isinstance(node, str):
            if "<%" not in node and "{{" not in node and "{%" not in node:
                return node
            try:
                return self._text(node)
            except ExpressionFault as fault:
                raise ExpressionFault(
                    fault.message, text=node, path=path, offset=fault.offset
                ) from None
        if node is None or isinstance(node, bool | int):
            return node
        if isinstance(node, Mapping):
            prefix = f"{path}." if path else ""
            return {
                key: self.value(item, f"{prefix}{key}") for key, item in node.items()
            }
        if isinstance(node, list | tuple):
            return [
                self.value(item, f"{path}[{index}]") for index, item in enumerate(node)
            ]
        return to_storable(node, path)

    def _text(self, text: str) -> Any:
        """Jinja alone where both languages are (Q46)."""
        budget().next_expression()
        if has_jinja(text):
            require_language(JINJA, text, self._languages)
            return self._jinja.evaluate(text, self._view)
        pairs = yaql_pairs(text)
        if not pairs:
            return text
        require_language(YAQL, text, self._languages)
        if pairs == [(0, len(text))]:
            return self._yaql.value(text[2:-2], self._view, self.root)
        # by position: a result that looks like an expression stays (Q43)
        pieces: list[str] = []
        end = 0
        size = 0
        for start, stop in pairs:
            try:
                piece = self._yaql.text(
                    text[start + 2 : stop - 2], self._view, self.root
                )
            except ExpressionFault as fault:
                fault.offset = start
                raise
            pieces += (text[end:start], piece)
            size += len(piece)
            _require(budget().bytes, size, text)
            end = stop
        pieces.append(text[end:])
        _require(budget().holds, size, text)
        return "".join(pieces)

    def root(self) -> StepContext:
        """``$`` of the view, made when first needed."""
        if self._root is None:
            self._root = self._yaql.root(self._view)
        return self._root


def _require(check: Callable[[int], None], size: int, text: str) -> None:
    try:
        check(size)
    except LimitExceeded as error:
        raise evaluation_fault(YAQL, text, str(error)) from None
