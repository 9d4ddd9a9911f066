"""YAML text to nodes that know their places: one half of ``yaml_text``.

The dialect (spec/language.md § 1) is YAML 1.1 without anchors and aliases:
``&``, ``*`` and ``@`` are ordinary characters that a plain scalar may begin
with. The C scanner knows no such dialect, so it is shown stand-ins for these
three characters, one for one, and never learns that they were there; what it
returns is translated back. So an alias cannot exist, positions stay true and
every text is read at the speed of the C scanner.

Nodes are composed here, from events, without recursion: bytes, nodes and
depth are limited before anything looks at the content (SEC-03).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

_SCANNER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_TAB_AFTER_COLON: Final = re.compile(r"\s*: *\t")
_ANCHORED: Final = re.compile(r"&\S+ (?:[\[{]|- |-$)")

_ORDINARY: Final = "&*@"
_PRIVATE_USE: Final = range(0xE000, 0xF900)

STANDARD: Final = "tag:yaml.org,2002:"
STRING: Final = STANDARD + "str"


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


class MappingNode(Node):
    __slots__ = ()


class SequenceNode(Node):
    __slots__ = ()


def is_mapping(node: Node) -> bool:
    return isinstance(node, MappingNode)


def is_sequence(node: Node) -> bool:
    return isinstance(node, SequenceNode)


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
    yaml.MappingStartEvent: (MappingNode, STANDARD + "map"),
    yaml.SequenceStartEvent: (SequenceNode, STANDARD + "seq"),
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
    node.tag = STRING
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
