"""The texts of a workbook's members, cut out of its text (spec/language.md § 6).

A member is cut by its indentation, comments and all. Where that is not
possible (flow mappings), or would change what it says (a continued line that
is indented less than its key), it is written anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mistral.expressions.yaml_text import (
    Node,
    YamlFault,
    compose,
    construct,
    dump_yaml,
)
from mistral.lang.text import Document


def member_texts(document: Document, section: str) -> Mapping[str, str]:
    """The text of every member of a section, by its short name."""
    root, members = document.root, document.data.get(section, {})
    _, parent = (None, None) if root is None else document.entry(root, section)
    cuts = {} if parent is None or parent.flow else _cuts(document.text, parent)
    return {
        name: _faithful(cuts.get(name), name, body) for name, body in members.items()
    }


def _faithful(cut: str | None, name: str, body: Any) -> str:
    if cut is not None and _data_of(cut) == {name: body}:
        return cut
    return dump_yaml({name: body}, sort_keys=False)


def _data_of(text: str) -> Any:
    try:
        return construct(compose(text)).data
    except YamlFault:
        return None


def _cuts(text: str, parent: Node) -> dict[str | None, str]:
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    pairs = list(parent.pairs())
    ends = [key.start.line for key, _ in pairs[1:]]
    if pairs:
        ends.append(_end_line(*pairs[-1]))
    return {
        key.scalar: _dedented(lines[key.start.line : end], key.start.column)
        for (key, _), end in zip(pairs, ends, strict=True)
    }


def _end_line(key: Node, value: Node) -> int:
    """The line behind the last member: a block ends where the next token
    stands, or in the middle of a line where the text ends without a break."""
    is_block = value.scalar is None and not value.flow
    if is_block and value.end.column <= key.start.column:
        return int(value.end.line)
    return int(value.end.line) + 1


def _dedented(lines: Sequence[str], indent: int) -> str:
    """Lines without their indentation and without what trails behind them."""
    end = len(lines)
    while end and _is_outside(lines[end - 1], indent):
        end -= 1
    blank = " " * indent
    return "".join(
        line[indent:] if line.startswith(blank) else line.lstrip(" ")
        for line in lines[:end]
    )


def _is_outside(line: str, indent: int) -> bool:
    bare = line.lstrip(" ")
    if not bare.strip():
        return True
    return bare.startswith("#") and len(line) - len(bare) <= indent
