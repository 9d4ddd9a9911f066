"""The document around the language: its data, and the places of what is in it.

Built on the dialect of ``mistral.expressions.yaml_text``. Everything above
works with plain data and with paths; here a path becomes a line and column.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final

from mistral.errors import DefinitionFault, Problem
from mistral.expressions.yaml_text import (
    LIMITS,
    Duplicate,
    Limits,
    Node,
    YamlFault,
    compose,
    construct,
    dump_yaml,
    entries,
    is_mapping,
    is_sequence,
)
from mistral.lang.shapes import Finding, Path, path_text

MESSAGES: Final = 100
"""Of each kind; a document that breaks more rules is told how many more."""


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document whose top level is a mapping."""

    text: str
    root: Node | None
    data: Mapping[Any, Any]
    duplicates: tuple[Duplicate, ...]
    # Paths of numbers that are not finite.
    endless: tuple[Path, ...] = ()
    # Entries by key of the mappings that a path led through so far.
    indexes: dict[int, dict[Any, tuple[Node, Node]]] = field(default_factory=dict)

    def place(
        self,
        path: Path,
        *,
        at_key: bool = False,
        inside: tuple[str, int] | None = None,
    ) -> tuple[int, int]:
        """Line and column of what a path leads to, or of the nearest thing
        around it that exists.

        :param inside: a piece of the text there, and the characters of the
            piece before what is meant.
        """
        node = self.root
        place = (1, 1) if node is None else node.place
        for position, step in enumerate(path):
            if node is None:
                break
            key, node = self.entry(node, step)
            if node is not None:
                is_last = position == len(path) - 1
                meant = key if key and is_last and at_key else node
                place = meant.place
                if is_last and inside is not None and meant.scalar is not None:
                    place = self._place_inside(meant, *inside)
        return place

    def _place_inside(self, node: Node, piece: str, offset: int) -> tuple[int, int]:
        """Where a character of a scalar stands in the file. An escape or a
        folded line may hide the piece: then its line, or the scalar."""
        written = self.text.removeprefix("\ufeff")[node.start.index : node.end.index]
        found = written.find(piece)
        if found < 0:
            line_start = piece.rfind("\n", 0, offset) + 1
            line = piece[line_start:].partition("\n")[0]
            found = written.find(line) if line.strip() else -1
            offset -= line_start
        if found < 0:
            return node.place
        before = written[: found + offset]
        line_number, column = node.place
        breaks = before.count("\n")
        if breaks:
            return line_number + breaks, len(before) - before.rfind("\n")
        return line_number, column + len(before)

    def problem(self, finding: Finding) -> Problem:
        """The finding with its place."""
        line, column = self.place(
            finding.path, at_key=finding.at_key, inside=finding.inside
        )
        path = path_text(finding.path)
        return Problem(finding.message, path, line, column, finding.rule)

    def problems(self, findings: list[Finding]) -> tuple[Problem, ...]:
        """All of them, in the order of the text."""
        problems = [self.problem(finding) for finding in findings[:MESSAGES]]
        problems.sort(key=lambda problem: (problem.line or 0, problem.column or 0))
        if len(findings) > MESSAGES:
            problems.append(Problem(f"and {len(findings) - MESSAGES} more"))
        return tuple(problems)

    def entry(self, node: Node, step: Any) -> tuple[Node | None, Node | None]:
        """(key, value) of the entry that counts; (None, None) without one."""
        if is_sequence(node):
            if isinstance(step, int) and 0 <= step < len(node.children):
                return None, node.children[step]
        elif is_mapping(node):
            if id(node) not in self.indexes:
                self.indexes[id(node)] = entries(node)
            return self.indexes[id(node)].get(step, (None, None))
        return None, None


def read(text: str, limits: Limits = LIMITS) -> Document:
    """The document in a text.

    :raises DefinitionFault: V-01, with line and column; V-06, the top level
        is no mapping; Q02, nested too deep.
    """
    try:
        root = compose(text, limits)
        made = construct(root)
    except YamlFault as fault:
        problem = Problem(
            fault.message, line=fault.line, column=fault.column, rule="V-01"
        )
        raise DefinitionFault([problem]) from None
    data = made.data or {}
    if not isinstance(data, dict):
        message = "the document must be a mapping, with 'version' and definitions"
        raise DefinitionFault([Problem(message, line=1, column=1, rule="V-06")])
    return Document(text, root, data, made.duplicates, made.endless)


def to_json(value: Any) -> Any:
    """The value as it is stored: dates as ISO text, sets as lists, names of
    every mapping as text (§ 1.2, 29.3)."""
    if isinstance(value, dict):
        return {_key_text(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [to_json(item) for item in sorted(value, key=str)]
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)
        return value.isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        return key
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(to_json(key))


def rewrite(version: Any, name: str, body: Any) -> str:
    """A document of one definition: order kept, comments lost (§ 5)."""
    return dump_yaml({"version": version, name: body}, sort_keys=False)


def checksum(text: str) -> str:
    """MD5 of the stored text, in hex (§ 5); an identity, no protection."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
