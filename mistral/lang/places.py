"""From an expression that failed while a workflow ran back to its place in the
text of the definition (spec/language.md § 28.3, Appendix C)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from mistral.errors import AuthorError, DefinitionFault
from mistral.lang.shapes import Path, path_text
from mistral.lang.text import Document, read

Scope = tuple[Path, ...]
"""Paths below a workflow or action, all of which are looked at."""

CHARACTERS: Final = 262_144
"""A longer definition is not read again for the sake of a message."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression stands: ``path`` is an attribute path of the workflow
    (``tasks.t1.publish.v``), line and column count from 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}, column {self.column}"


def find_places(
    text: str, name: str, task: str | None, fault: AuthorError
) -> tuple[Place, ...]:
    """Every place of the expression in a workflow: more than one when the task has
    the same text in several attributes, none when it cannot be found.

    :param text: the stored definition, of one workflow or more.
    :param name: the workflow's name; a member of a workbook has it in full.
    :param task: whose expression it is; None for one of the workflow itself.
    :param fault: with the text of the expression.
    """
    return _find(text, name, _scopes(task), fault)


def find_action_places(text: str, name: str, fault: AuthorError) -> tuple[Place, ...]:
    """The same in an ad-hoc action: of its ``output``, or of what it gives to its
    base. Paths start below the name of the action."""
    what = "output" if fault.path.startswith("output") else "base-input"
    scopes = (
        ((("output",),),) if what == "output" else ((("base-input",),), (("base",),))
    )
    return _find(text, name, scopes, fault)


def _find(
    text: str, name: str, scopes: Iterable[Scope], fault: AuthorError
) -> tuple[Place, ...]:
    if not fault.text or len(text) > CHARACTERS:
        return ()
    try:
        document = read(text)
    except DefinitionFault:
        return ()
    short = name if name in document.data else name.rpartition(".")[2]
    if not isinstance(document.data.get(short), dict):
        return ()
    for scope in scopes:
        found = tuple(_in_scope(document, (short,), scope, fault.text, fault.offset))
        if found:
            return _meant(found, fault.path) or found
    return ()


def _meant(found: Iterable[Place], path: str) -> tuple[Place, ...]:
    """Those at that path; else those of its attribute, of which one line may hold
    it all. Inline parameters have no path of their own in the text."""
    places = [(f".{place.path}", place) for place in found]
    exact = tuple(place for shown, place in places if shown.endswith(f".{path}"))
    first = re.escape(re.split(r"[.\[]", path, maxsplit=1)[0])
    attribute = re.compile(rf"\.{first}(?![\w-])")
    return exact or tuple(p for shown, p in places if first and attribute.search(shown))


def _scopes(task: str | None) -> Iterator[Scope]:
    """Where to look, and where else when it is not there."""
    if task is None:
        yield ("vars",), ("output",), ("output-on-error",)
    else:
        yield (("tasks", task),)
        yield (("task-defaults",),)


def _in_scope(
    document: Document,
    root: Path,
    scope: Scope,
    text: str,
    offset: int | None,
) -> Iterator[Place]:
    for path in scope:
        tree: Any = document.data
        for step in (*root, *path):
            tree = tree.get(step) if isinstance(tree, dict) else None
        for here, at_key in _holders((*root, *path), tree, text):
            shown = path_text(here[len(root) :])
            inside = (text, offset or 0)
            line, column = document.place(here, at_key=at_key, inside=inside)
            yield Place(shown, line, column)


def _holders(path: Path, tree: Any, text: str) -> Iterator[tuple[Path, bool]]:
    """(path, at_key) of every text that holds the expression."""
    if isinstance(tree, str):
        if text in tree:
            yield path, False
    elif isinstance(tree, dict):
        for key, item in tree.items():
            here = (*path, key)
            if isinstance(key, str) and text in key:
                yield here, True
            yield from _holders(here, item, text)
    elif isinstance(tree, list):
        for position, item in enumerate(tree):
            yield from _holders((*path, position), item, text)
