"""The one place where YAML is read and written (SEC-03, SEC-04).

Only plain data is ever constructed: an unknown tag is a fault, an alias does
not exist in the dialect (``yaml_nodes``). The steps are ``compose`` (text →
nodes), ``construct`` (nodes → data) and, for those who need no positions,
``load_yaml`` (text → data); ``dump_yaml`` is the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

import yaml
from yaml.constructor import SafeConstructor

from mistral.errors import ExpressionFault
from mistral.expressions.yaml_nodes import (
    LIMITS,
    STANDARD,
    STRING,
    Limits,
    MappingNode,
    Node,
    SequenceNode,
    YamlFault,
    compose,
    is_mapping,
    is_sequence,
)

__all__ = [
    "LIMITS",
    "Duplicate",
    "Limits",
    "Node",
    "YamlFault",
    "compose",
    "construct",
    "dump_yaml",
    "entries",
    "is_mapping",
    "is_sequence",
    "load_yaml",
]

_PAINTER: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_MERGE: Final = STANDARD + "merge"
_VALUE: Final = STANDARD + "value"
_TYPED: Final = frozenset({STANDARD + "int", STANDARD + "float"})

NUMBER_CHARACTERS: Final = 1_000
"""A longer plain number is refused: Python's own limit for decimal text is
4,300 digits, and base-60 numbers of any length cost quadratic time."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key given twice in one mapping; the second one counts (Q01)."""

    path: tuple[Any, ...]
    first: Node
    second: Node


@dataclass(frozen=True, slots=True)
class Constructed:
    """Plain data, and what is odd about it.

    :param duplicates: keys that were given more than once.
    :param endless: paths of numbers that are not finite (``.inf``, ``.nan``).
    """

    data: Any
    duplicates: tuple[Duplicate, ...] = ()
    endless: tuple[tuple[Any, ...], ...] = ()


@dataclass(slots=True)
class _Construction:
    path: list[Any] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    endless: list[tuple[Any, ...]] = field(default_factory=list)

    def make(self, node: Node) -> Any:
        if node.scalar is not None:
            value = _plain_value(node, node.scalar)
            if type(value) is float and not isfinite(value):
                self.endless.append(tuple(self.path))
            return value
        try:
            maker = _MAKERS[type(node), node.tag]
        except KeyError:
            raise _unknown_tag(node) from None
        return maker(self, node)

    def mapping(self, node: Node) -> dict[Any, Any]:
        data: dict[Any, Any] = {}
        first_seen: dict[Any, Node] = {}
        for source in (*reversed(list(_merged(node))), node):
            for key_node, value in source.pairs():
                if _is_merge(key_node):
                    continue
                key = _key(key_node)
                self.path.append(key)
                if source is node:
                    if key in first_seen:
                        path = tuple(self.path)
                        found = Duplicate(path, first_seen[key], key_node)
                        self.duplicates.append(found)
                    first_seen[key] = key_node
                data[key] = self.make(value)
                self.path.pop()
        return data

    def sequence(self, node: Node) -> list[Any]:
        items = []
        for position, child in enumerate(node.children):
            self.path.append(position)
            items.append(self.make(child))
            self.path.pop()
        return items

    def pairs(self, node: Node) -> list[tuple[Any, Any]]:
        """``!!omap`` and ``!!pairs``: a list of mappings with one entry each."""
        items: list[tuple[Any, Any]] = []
        for entry in self.sequence(node):
            if not isinstance(entry, dict) or len(entry) != 1:
                raise node.fault("expected a list of mappings with one entry each")
            items.extend(entry.items())
        return items

    def unordered(self, node: Node) -> set[Any]:
        return set(self.mapping(node))


def _key(node: Node) -> Any:
    if node.scalar is None:
        hint = ""
        if is_mapping(node) and node.flow:
            # LINT-05: how an unquoted {{ x }} arrives here.
            hint = "; a Jinja expression must be quoted"
        raise node.fault("a list or mapping cannot be a key" + hint)
    return node.scalar if node.tag == _VALUE else _plain_value(node, node.scalar)


def _is_merge(key: Node) -> bool:
    return key.tag == _MERGE


def _merged(node: Node) -> Iterator[Node]:
    """The mappings that ``<<`` brings into this one, the strongest first.

    :raises YamlFault: something else than mappings is merged.
    """
    for key, value in node.pairs():
        if not _is_merge(key):
            continue
        sources = value.children if is_sequence(value) else [value]
        for source in sources:
            if not is_mapping(source):
                raise source.fault("'<<' takes a mapping or a list of mappings")
            yield source
            yield from _merged(source)


def entries(node: Node) -> dict[Any, tuple[Node, Node]]:
    """(key, value) of the entries that count in a mapping, by their keys:
    merged ones included, of equal keys the last.

    :raises YamlFault: as ``construct``.
    """
    return {
        _key(key): (key, value)
        for source in (*reversed(list(_merged(node))), node)
        for key, value in source.pairs()
        if not _is_merge(key)
    }


def _unknown_tag(node: Node) -> YamlFault:
    return node.fault("unknown tag: only the standard tags of YAML are known")


_SAFE: Final = SafeConstructor()

_BOOLEANS: Final = {
    "yes": True,
    "no": False,
    "true": True,
    "false": False,
    "on": True,
    "off": False,
}


def _by_library(make: Callable[[yaml.ScalarNode], Any]) -> Callable[[str], Any]:
    return lambda text: make(yaml.ScalarNode("", text))


_SCALARS: Final[Mapping[str, Callable[[str], Any]]] = {
    STRING: str,
    STANDARD + "null": lambda text: None,
    STANDARD + "bool": lambda text: _BOOLEANS[text.lower()],
    STANDARD + "int": _by_library(_SAFE.construct_yaml_int),
    STANDARD + "float": _by_library(_SAFE.construct_yaml_float),
    STANDARD + "timestamp": _by_library(_SAFE.construct_yaml_timestamp),
    STANDARD + "binary": _by_library(_SAFE.construct_yaml_binary),
}

_Maker = Callable[[_Construction, Node], Any]

_MAKERS: Final[Mapping[tuple[type[Node], str], _Maker]] = {
    (MappingNode, STANDARD + "map"): _Construction.mapping,
    (MappingNode, STANDARD + "set"): _Construction.unordered,
    (SequenceNode, STANDARD + "seq"): _Construction.sequence,
    (SequenceNode, STANDARD + "omap"): _Construction.pairs,
    (SequenceNode, STANDARD + "pairs"): _Construction.pairs,
}


def _plain_value(node: Node, text: str) -> Any:
    tag = node.tag
    if tag == STRING:
        return text
    if tag == _VALUE:
        raise node.fault("a plain '=' has no meaning here: quote it")
    if tag == _MERGE:
        raise node.fault("a plain '<<' has no meaning here: quote it")
    make = _SCALARS.get(tag)
    if make is None:
        raise _unknown_tag(node)
    if tag in _TYPED and len(text) > NUMBER_CHARACTERS:
        raise node.fault(f"a number of more than {NUMBER_CHARACTERS} characters")
    try:
        return make(text)
    except (ValueError, KeyError, AttributeError, IndexError, OverflowError):
        kind = tag.removeprefix(STANDARD)
        raise node.fault(f"this is not a value of the type '{kind}'") from None
    except yaml.YAMLError:
        raise node.fault("this is not base64 text") from None


def construct(node: Node | None) -> Constructed:
    """Plain data out of nodes.

    :raises YamlFault: an unknown tag, a collection as a key, a bad merge, a
        value that its tag does not allow.
    """
    if node is None:
        return Constructed(None)
    construction = _Construction()
    data = construction.make(node)
    return Constructed(
        data, tuple(construction.duplicates), tuple(construction.endless)
    )


def load_yaml(text: str, limits: Limits = LIMITS) -> Any:
    """Plain data: mappings, lists, scalars, dates, sets.

    :raises ExpressionFault: the text is not YAML; says where, quotes nothing.
    """
    try:
        return construct(compose(text, limits)).data
    except YamlFault as fault:
        raise ExpressionFault(f"The text is not YAML: {fault}") from None


WHOLE_LINES: Final = 2**31 - 1
"""A width that no line reaches: an expression is not folded in the middle."""


class _Dumper(_PAINTER):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump_yaml(data: Any, *, sort_keys: bool = True) -> str:
    """Block style, no anchors, long lines left whole; ``load_yaml`` reads it
    back.

    :raises ExpressionFault: a value that YAML cannot hold, or nesting without
        end.
    """
    try:
        return str(
            yaml.dump(
                data,
                Dumper=_Dumper,
                default_flow_style=False,
                allow_unicode=True,
                sort_keys=sort_keys,
                width=WHOLE_LINES,
            )
        )
    except (yaml.YAMLError, RecursionError, TypeError, ValueError):
        raise ExpressionFault("The value cannot be written as YAML") from None
