"""Every numbered statement of the specification is named by a test.

``statements.txt`` lists the ids; where the specification lies beside the
project, the list is compared with it. A statement counts as covered when the
name of a test, a string of a test module (its own docstring excepted) or the
``covers`` of a story names it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SPECIFICATION = HERE.parent.parent / "shared" / "spec"
IN_TEXT = re.compile(r"\b((?:LANG|ENG)-\d{3})\b")
IN_NAME = re.compile(r"(lang|eng)((?:_\d{3})+)(?!\d)")


def listed() -> set[str]:
    return set((HERE / "statements.txt").read_text().split())


@cache
def named() -> set[str]:
    found: set[str] = set()
    for path in HERE.rglob("test_*.py"):
        if path == Path(__file__):
            continue
        for text in _texts(ast.parse(path.read_text())):
            found |= _ids(text)
    for path in (HERE / "stories").glob("*.yaml"):
        found |= _ids(path.read_text())
    return found


def _texts(module: ast.Module) -> Iterator[str]:
    first = module.body[0] if module.body else None
    own = first.value if isinstance(first, ast.Expr) else None
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node is not own:
                yield node.value


def _ids(text: str) -> set[str]:
    found = set(IN_TEXT.findall(text))
    for kind, numbers in IN_NAME.findall(text):
        found |= {f"{kind.upper()}-{n}" for n in numbers.strip("_").split("_")}
    return found


def test_every_statement_is_named_by_a_test() -> None:
    assert sorted(listed() - named()) == []


def test_no_test_names_a_statement_that_there_is_not() -> None:
    assert sorted(named() - listed()) == []


@pytest.mark.skipif(not SPECIFICATION.is_dir(), reason="no specification beside us")
def test_the_list_is_that_of_the_specification() -> None:
    text = "".join(path.read_text() for path in sorted(SPECIFICATION.glob("*.md")))
    assert listed() == set(IN_TEXT.findall(text))
