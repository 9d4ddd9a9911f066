"""The one place where YAML is read and written (SEC-03, SEC-04).

The dialect (spec/language.md § 1) is YAML 1.1 without anchors and aliases:
``&``, ``*`` and ``@`` are ordinary characters that a plain scalar may begin
with. The C scanner knows no such dialect, so it is shown stand-ins for these
three characters, one for one, and never learns that they were there; what it
returns is translated back. So an alias cannot exist, positions stay true and
every text is read at the speed of the C scanner.

Nodes are composed here, from events, without recursion: bytes, nodes and
depth are limited before anything looks at the content, and every node keeps
its place. Only plain data is ever constructed: an unknown tag is a fault.

The three steps are ``compose`` (text → nodes), ``construct`` (nodes → data)
and, for those who need no positions, ``load_yaml`` (text → data).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.constructor import SafeConstructor

from mistral.errors import ExpressionFault

_SCANNER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PAINTER: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_TAB_AFTER_COLON: Final = re.compile(r"\s*: *\t")
_ANCHORED: Final = re.compile(r"&\S+ (?:[\[{]|- |-$)")

_ORDINARY: Final = "&*@"
_PRIVATE_USE: Final = range(0xE000, 0xF900)

NUMBER_CHARACTERS: Final = 1_000
"""A longer plain number is refused: Python's own limit for decimal text is
4,300 digits, and base-60 numbers of any length cost quadratic time."""

_STANDARD: Final = "tag:yaml.org,2002:"
_MERGE: Final = _STANDARD + "merge"
_VALUE: Final = _STANDARD + "value"
_STRING: Final = _STANDARD + "str"
_TYPED: Final = frozenset({_STANDARD + "int", _STANDARD + "float"})


class YamlFault(ValueError):
    """The text is not one document of the dialect (V-01).

    Lines and columns count from 1; the message holds nothing of the text.
    """

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"{message} (line {line}, column {column})")
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Limits:
    """What a text may cost. The size is that of the storage (§ 1.1); the
    nodes of a workflow of about 20,000 tasks fit; depth is Q02."""

    bytes: int = 16 * 1024 * 1024
    nodes: int = 250_000
    depth: int = 200


LIMITS: Final = Limits()


class Node:
    """A scalar, sequence or mapping, and where it stands.

    ``scalar`` is the text of a scalar, None for collections. ``children`` are
    the items of a sequence, or keys and values in turn. ``start`` and ``end``
    are marks of the scanner: ``index``, ``line``, ``column`` from 0.
    """

    __slots__ = ("children", "end", "flow", "scalar", "start", "tag")

    def __init__(self, tag: str, start: Any) -> None:
        self.tag = tag
        self.start = start
        self.end = start
        self.scalar: str | None = None
        self.children: list[Node] = []
        self.flow = False

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """(key, value) of a mapping, in the order of the text."""
        children = iter(self.children)
        return zip(children, children, strict=True)

    @property
    def place(self) -> tuple[int, int]:
        """Line and column, from 1."""
        return self.start.line + 1, self.start.column + 1

    def fault(self, message: str) -> YamlFault:
        return YamlFault(message, *self.place)


class _MappingNode(Node):
    __slots__ = ()


class _SequenceNode(Node):
    __slots__ = ()


def is_mapping(node: Node) -> bool:
    return isinstance(node, _MappingNode)


def is_sequence(node: Node) -> bool:
    return isinstance(node, _SequenceNode)


def compose(text: str, limits: Limits = LIMITS) -> Node | None:
    """The tree of the one document in the text; None if it is empty.

    :raises YamlFault: syntax, a second document, a limit passed.
    """
    text = text.removeprefix("\ufeff")
    _check_characters(text, limits)
    shown, real = _hide_ordinary(text)
    try:
        root = _tree(yaml.parse(shown, Loader=_SCANNER), real, limits)
    except yaml.MarkedYAMLError as error:
        raise _syntax_fault(error) from None
    except yaml.YAMLError:
        raise YamlFault("the text cannot be read as YAML", 1, 1) from None
    if root is not None and "\t" in text:
        _refuse_tabs_after_colons(text, root)
    return root


def _check_characters(text: str, limits: Limits) -> None:
    if len(text) <= limits.bytes:
        found = _UNPRINTABLE.search(text)
        if found:
            line = text.count("\n", 0, found.start()) + 1
            column = found.start() - text.rfind("\n", 0, found.start())
            code = f"U+{ord(found.group()):04X}"
            raise YamlFault(f"the character {code} is not allowed", line, column)
        if len(text) * 4 <= limits.bytes or len(text.encode()) <= limits.bytes:
            return
    raise YamlFault(f"the text is longer than {limits.bytes} bytes", 1, 1)


def _hide_ordinary(text: str) -> tuple[str, dict[int, str]]:
    """The text with stand-ins, and the table that translates back."""
    present = [character for character in _ORDINARY if character in text]
    if not present:
        return text, {}
    unused = (chr(code) for code in _PRIVATE_USE if chr(code) not in text)
    there = dict(zip(map(ord, present), unused, strict=False))
    if len(there) < len(present):
        raise YamlFault("the text uses every character of private use", 1, 1)
    return text.translate(there), {ord(v): chr(k) for k, v in there.items()}


def _syntax_fault(error: yaml.MarkedYAMLError) -> YamlFault:
    mark = error.problem_mark or error.context_mark
    parts = [part for part in (error.context, error.problem) if part]
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return YamlFault(", ".join(parts) or "YAML syntax", *place)


def _tree(events: Iterator[Any], real: dict[int, str], limits: Limits) -> Node | None:
    root: Node | None = None
    documents = 0
    nodes = 0
    open_nodes: list[Node] = []
    for event in events:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            node = _scalar(event, real)
        elif kind in _COLLECTIONS:
            node_class, default = _COLLECTIONS[kind]
            node = node_class(_explicit(event, default), event.start_mark)
            node.flow = bool(event.flow_style)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            open_nodes.pop().end = event.end_mark
            continue
        elif kind is yaml.DocumentStartEvent:
            documents += 1
            if documents > 1:
                mark = event.start_mark
                message = "a second document begins here; only one is allowed"
                raise YamlFault(message, mark.line + 1, mark.column + 1)
            continue
        else:
            continue
        nodes += 1
        if nodes > limits.nodes:
            raise node.fault(f"the document has more than {limits.nodes} nodes")
        if open_nodes:
            open_nodes[-1].children.append(node)
        else:
            root = node
        if node.scalar is None:
            open_nodes.append(node)
            if len(open_nodes) > limits.depth:
                raise node.fault(f"nested deeper than {limits.depth} levels")
    return root


_COLLECTIONS: Final[dict[Any, tuple[type[Node], str]]] = {
    yaml.MappingStartEvent: (_MappingNode, _STANDARD + "map"),
    yaml.SequenceStartEvent: (_SequenceNode, _STANDARD + "seq"),
}


def _explicit(event: Any, default: str) -> str:
    return default if event.tag in (None, "!") else str(event.tag)


_RESOLVERS: Final[Mapping[Any, Any]] = yaml.SafeLoader.yaml_implicit_resolvers


def _scalar(event: Any, real: dict[int, str]) -> Node:
    node = Node("", event.start_mark)
    node.end = event.end_mark
    value: str = event.value
    if real:
        value = value.translate(real)
    node.scalar = value
    if event.tag not in (None, "!"):
        node.tag = event.tag
        return node
    node.tag = _STRING
    if event.implicit[0]:
        for tag, pattern in _RESOLVERS.get(value[:1], ()):
            if pattern.match(value):
                node.tag = tag
                break
        if value[:1] == "&" and _ANCHORED.match(value):
            # Read on as plain text this would silently become a string.
            raise node.fault("anchors are disabled; none may precede a collection")
    return node


def _refuse_tabs_after_colons(text: str, root: Node) -> None:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if is_mapping(node):
            for key, _ in node.pairs():
                if _TAB_AFTER_COLON.match(text, key.end.index):
                    raise key.fault("a tab must not follow the ':' of this key")
        waiting.extend(child for child in node.children if child.scalar is None)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key given twice in one mapping; the second one counts (Q01)."""

    path: tuple[Any, ...]
    first: Node
    second: Node


@dataclass(slots=True)
class _Construction:
    path: list[Any] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)

    def make(self, node: Node) -> Any:
        if node.scalar is not None:
            return _plain_value(node, node.scalar)
        try:
            maker = _MAKERS[type(node), node.tag]
        except KeyError:
            raise _unknown_tag(node) from None
        return maker(self, node)

    def mapping(self, node: Node) -> dict[Any, Any]:
        data: dict[Any, Any] = {}
        first_seen: dict[Any, Node] = {}
        for source in (*reversed(list(merged(node))), node):
            for key_node, value in source.pairs():
                if _is_merge(key_node):
                    continue
                key = self._key(key_node)
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

    def _key(self, node: Node) -> Any:
        if node.scalar is None:
            hint = ""
            if is_mapping(node) and node.flow:
                # LINT-05: how an unquoted {{ x }} arrives here.
                hint = "; a Jinja expression must be quoted"
            raise node.fault("a list or mapping cannot be a key" + hint)
        if node.tag == _VALUE:
            return node.scalar
        return self.make(node)


def _is_merge(key: Node) -> bool:
    return key.tag == _MERGE


def merged(node: Node) -> Iterator[Node]:
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
            yield from merged(source)


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
    _STRING: str,
    _STANDARD + "null": lambda text: None,
    _STANDARD + "bool": lambda text: _BOOLEANS[text.lower()],
    _STANDARD + "int": _by_library(_SAFE.construct_yaml_int),
    _STANDARD + "float": _by_library(_SAFE.construct_yaml_float),
    _STANDARD + "timestamp": _by_library(_SAFE.construct_yaml_timestamp),
    _STANDARD + "binary": _by_library(_SAFE.construct_yaml_binary),
}

_Maker = Callable[[_Construction, Node], Any]

_MAKERS: Final[Mapping[tuple[type[Node], str], _Maker]] = {
    (_MappingNode, _STANDARD + "map"): _Construction.mapping,
    (_MappingNode, _STANDARD + "set"): _Construction.unordered,
    (_SequenceNode, _STANDARD + "seq"): _Construction.sequence,
    (_SequenceNode, _STANDARD + "omap"): _Construction.pairs,
    (_SequenceNode, _STANDARD + "pairs"): _Construction.pairs,
}


def _plain_value(node: Node, text: str) -> Any:
    tag = node.tag
    if tag == _STRING:
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
        kind = tag.removeprefix(_STANDARD)
        raise node.fault(f"this is not a value of the type '{kind}'") from None
    except yaml.YAMLError:
        raise node.fault("this is not base64 text") from None


def construct(node: Node | None) -> tuple[Any, tuple[Duplicate, ...]]:
    """Plain data, and the keys that were given more than once.

    :raises YamlFault: an unknown tag, a collection as a key, a bad merge, a
        value that its tag does not allow.
    """
    if node is None:
        return None, ()
    construction = _Construction()
    data = construction.make(node)
    return data, tuple(construction.duplicates)


def load_yaml(text: str, limits: Limits = LIMITS) -> Any:
    """Plain data: mappings, lists, scalars, dates, sets.

    :raises ExpressionFault: the text is not YAML; says where, quotes nothing.
    """
    try:
        return construct(compose(text, limits))[0]
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
