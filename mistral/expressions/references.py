"""What a text with expressions refers to, without evaluating it.

For diagnostics at upload: which variables of the context it reads, which
functions it calls, which bare words it holds. Where that cannot be known
(``$`` of a lambda is not the context) nothing is claimed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from jinja2 import Environment, meta, nodes
from yaql.language import expressions as yaql_nodes  # type: ignore[import-untyped]

from mistral.errors import ExpressionFault
from mistral.expressions import jinja_syntax, yaql_syntax
from mistral.expressions.evaluate import Evaluator
from mistral.expressions.functions import FUNCTIONS
from mistral.expressions.recognition import JINJA, YAQL, has_jinja, yaql_pairs

CONTEXT_METHODS: Final = frozenset(
    "items keys values get pop update copy clear setdefault popitem fromkeys".split()
)

_KEEPS_CONTEXT: Final = frozenset(FUNCTIONS) | frozenset(
    "abs bool coalesce concat dict float format int isEmpty len let list max min"
    " range round set str switch timespan datetime".split()
)
"""Functions whose arguments see the same ``$``; others may take a lambda."""

PLACED: Final = 100
"""Of one text. Parsers keep no places, and to look for each of thousands would
cost the square of their number; further ones get the place of the text."""

_WORDS: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Reference:
    """A name in a text.

    :ivar offset: where it stands, in characters from the start of the text.
    :ivar required: whether it is an error when there is no such variable.
    """

    name: str
    offset: int
    required: bool = True


@dataclass(slots=True)
class References:
    """What one text refers to.

    :ivar variables: read from the context: ``$.x``, ``_.x``.
    :ivar functions: (language, reference) of functions, methods, filters, tests.
    :ivar constants: (language, reference) of words that look like constants of
        another language: ``True`` in YAQL, ``null`` in Jinja.
    :ivar undeclared: names that Jinja does not know: ``{{ a }}`` for ``_.a``.
    :ivar whole: the context is used as a whole, so every variable may be read.
    :ivar words: every word inside an expression.
    """

    variables: list[Reference] = field(default_factory=list)
    functions: list[tuple[str, Reference]] = field(default_factory=list)
    constants: list[tuple[str, Reference]] = field(default_factory=list)
    undeclared: list[Reference] = field(default_factory=list)
    whole: bool = False
    words: set[str] = field(default_factory=set)


@lru_cache(maxsize=1)
def known_names() -> dict[str, frozenset[str]]:
    """Language → names of functions, methods, filters and tests, without those
    of plug-ins."""
    evaluator = Evaluator()
    return {YAQL: evaluator.yaql_names, JINJA: evaluator.jinja_names}


def references(text: str) -> References:
    """What a text refers to; of pieces that cannot be parsed, nothing."""
    found = References()
    try:
        if has_jinja(text):
            _read_jinja(found, text)
        else:
            for start, end in yaql_pairs(text):
                _read_yaql(found, text, start + 2, end - 2)
    except RecursionError:
        # Deeper than can be walked: what has been read so far is all there is.
        found.whole = True
    return found


# -- YAQL ---------------------------------------------------------------------


def _read_yaql(found: References, text: str, start: int, end: int) -> None:
    piece = text[start:end]
    found.words.update(_WORDS.findall(piece))
    try:
        tree = yaql_syntax.parse(piece, yaql_syntax.engine())
    except ExpressionFault:
        return
    reader = _YaqlReader(found, piece, start)
    reader.read(tree, True)
    if not reader.defines:
        found.functions.extend((YAQL, each) for each in reader.functions)
    found.variables.extend(
        Reference(name, offset, name not in reader.optional)
        for name, offset in reader.variables
    )


class _YaqlReader:
    """Walks one YAQL tree; the parser keeps no positions, so they are looked
    for in the text."""

    def __init__(self, found: References, piece: str, start: int) -> None:
        self.found = found
        self.piece = piece
        self.start = start
        self.variables: list[tuple[str, int]] = []
        self.optional: set[str] = set()
        self.functions: list[Reference] = []
        self.defines = False

    def read(self, node: Any, at_context: bool) -> None:
        """:param at_context: whether ``$`` is the context here."""
        if isinstance(node, yaql_nodes.BinaryOperator):
            self._binary(node, at_context)
        elif isinstance(node, yaql_nodes.IndexExpression):
            self._index(node, at_context)
        elif isinstance(node, yaql_nodes.GetContextValue):
            self.found.whole |= node.path.value == "$" and at_context
        elif isinstance(node, yaql_nodes.Function):
            self._function(node, at_context)
        elif isinstance(node, yaql_nodes.MappingRuleExpression):
            self.read(node.source, at_context)
            self.read(node.destination, at_context)
        elif isinstance(node, yaql_nodes.Wrap):
            self.read(node.expr, at_context)
        elif isinstance(node, yaql_nodes.KeywordConstant):
            if node.value in ("True", "False", "None", "none"):
                self.found.constants.append((YAQL, self._at(node.value)))

    def _binary(self, node: Any, at_context: bool) -> None:
        left, right = node.args
        if node.operator == "->":
            self.read(left, at_context)
            self.read(right, False)
        elif node.operator not in (".", "?."):
            self.read(left, at_context)
            self.read(right, at_context)
        elif isinstance(right, yaql_nodes.KeywordConstant):
            if self._is_context(left):
                if at_context:
                    self._variable(right.value)
            else:
                self.read(left, at_context)
        else:
            self._method(left, right, at_context)

    def _method(self, owner: Any, call: Any, at_context: bool) -> None:
        name = _constant(call.args[0]) if getattr(call, "args", ()) else None
        by_name = getattr(call, "name", "") in ("get", "containsKey")
        if self._is_context(owner) and at_context and by_name and name is not None:
            self.optional.add(name)
            self._variable(name)
        else:
            self.read(owner, at_context)
        self.read(call, at_context)

    def _index(self, node: Any, at_context: bool) -> None:
        owner, *rest = node.args
        name = _constant(rest[0]) if len(rest) == 1 else None
        if self._is_context(owner) and at_context and name is not None:
            self._variable(name)
            return
        self.read(owner, at_context)
        for each in rest:
            self.read(each, False)

    def _function(self, node: Any, at_context: bool) -> None:
        keeps = node.name[:1] in "#*" or node.name in _KEEPS_CONTEXT
        if node.name[:1] not in "#*":
            self.functions.append(self._at(node.name))
            self.defines |= node.name == "def"
        for each in node.args:
            self.read(each, at_context and keeps)

    @staticmethod
    def _is_context(node: Any) -> bool:
        return isinstance(node, yaql_nodes.GetContextValue) and node.path.value == "$"

    def _variable(self, name: str) -> None:
        if len(self.variables) >= PLACED:
            self.variables.append((name, self.start))
            return
        place = re.search(rf"\$\s*(?:\.|\?\.|\[)[^\w]*{re.escape(name)}\b", self.piece)
        self.variables.append((name, self.start + (place.start() if place else 0)))

    def _at(self, name: str) -> Reference:
        if len(self.functions) >= PLACED:
            return Reference(name, self.start)
        place = re.search(rf"\b{re.escape(name)}\b", self.piece)
        return Reference(name, self.start + (place.start() if place else 0))


def _constant(node: Any) -> str | None:
    value = node.value if isinstance(node, yaql_nodes.Constant) else None
    return value if isinstance(value, str) else None


# -- Jinja --------------------------------------------------------------------


class _Anything(dict[str, Any]):
    """Every filter and test exists: whether it does is not asked here."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, str)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(**jinja_syntax.SYNTAX)  # type: ignore[arg-type]
    environment.filters = _Anything(environment.filters)
    environment.tests = _Anything(environment.tests)
    return environment


def _read_jinja(found: References, text: str) -> None:
    found.words.update(_WORDS.findall(text))
    try:
        tree = jinja_syntax.parse(text, _environment())
    except ExpressionFault:
        return
    optional: set[str] = set()
    variables: list[str] = []
    reader = _JinjaReader(found, text, variables, optional)
    reader.read(tree)
    found.variables.extend(
        Reference(name, _offset(text, name, number), name not in optional)
        for number, name in enumerate(variables)
    )
    known = known_names()[JINJA] | reader.called | {"_"}
    undeclared = sorted(meta.find_undeclared_variables(tree) - known)
    for number, name in enumerate(undeclared):
        place = Reference(name, _offset(text, name, number))
        if name == "null":
            found.constants.append((JINJA, place))
        elif not name.startswith("__"):
            found.undeclared.append(place)


def _offset(text: str, name: str, number: int) -> int:
    """:param number: how many places were looked for in this text before."""
    if number >= PLACED:
        return 0
    place = re.search(rf"\b{re.escape(name)}\b", text)
    return place.start() if place else 0


class _JinjaReader:
    """Walks one Jinja tree."""

    def __init__(
        self, found: References, text: str, variables: list[str], optional: set[str]
    ) -> None:
        self.found = found
        self.text = text
        self.variables = variables
        self.optional = optional
        self.called: set[str] = set()

    def read(self, node: nodes.Node) -> None:
        name = _context_name(node)
        if name is not None:
            self.variables.append(name)
            return
        if isinstance(node, nodes.Name) and node.name == "_":
            self.found.whole = True
        elif isinstance(node, nodes.Call):
            self._call(node)
        elif isinstance(node, nodes.Filter | nodes.Test):
            self._checked(node)
        for child in self._children(node):
            self.read(child)

    def _children(self, node: nodes.Node) -> Iterator[nodes.Node]:
        for child in node.iter_child_nodes():
            if isinstance(node, nodes.Call) and child is node.node:
                inner = child
                if isinstance(inner, nodes.Getattr) and _is_context(inner.node):
                    continue
            yield child

    def _call(self, node: nodes.Call) -> None:
        called = node.node
        if isinstance(called, nodes.Name):
            self.called.add(called.name)
            place = self._at(called.name)
            self.found.functions.append((JINJA, place))
        elif isinstance(called, nodes.Getattr) and _is_context(called.node):
            first = node.args[0] if node.args else None
            if called.attr == "get" and isinstance(first, nodes.Const):
                self.optional.add(str(first.value))
                self.variables.append(str(first.value))
            else:
                self.found.whole = True

    def _at(self, name: str) -> Reference:
        number = len(self.found.functions)
        return Reference(name, _offset(self.text, name, number))

    def _checked(self, node: nodes.Filter | nodes.Test) -> None:
        place = self._at(node.name)
        self.found.functions.append((JINJA, place))
        name = _context_name(node.node) if node.node is not None else None
        if name is not None and node.name in ("default", "d", "defined", "undefined"):
            self.optional.add(name)


def _is_context(node: Any) -> bool:
    return isinstance(node, nodes.Name) and node.name == "_"


def _context_name(node: Any) -> str | None:
    """``x`` of ``_.x`` and ``_['x']``."""
    if isinstance(node, nodes.Getattr) and _is_context(node.node):
        return None if node.attr in CONTEXT_METHODS else str(node.attr)
    if isinstance(node, nodes.Getitem) and _is_context(node.node):
        key = node.arg
        if isinstance(key, nodes.Const) and isinstance(key.value, str):
            return key.value
    return None
