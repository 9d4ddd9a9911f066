"""Every numbered statement on security and on the REST API is named by a test.

``SEC-nn``: the rows of spec/security.md. Of spec/rest-api.md: ``Q-nn``, the register of
quirks (§ 11, with the holes of isolation, § 11.1); ``C-nn``, the items of the
compatibility checklist (§ 12); ``M-nn``, the rows of the matrix of requests and
statuses (§ 13). A test names one in a string of its module (``M-17``), or in its own
name (``test_m17_sec02_…``, ``test_q_12_14_…``); in names ``q`` is a quirk of this
register only below ``tests/api``, since the language has quirks, too.

The lists below are compared with the specification where it lies beside the project.
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
COUNTS = {"SEC": 27, "Q": 64, "C": 22, "M": 100}
IN_TEXT = re.compile(r"\b(SEC|Q|C|M)-(\d{2,3})\b")
IN_NAME = re.compile(r"_(sec|q|c|m)((?:_?\d{2,3})+)(?![a-z\d])")


def listed() -> set[str]:
    return {
        f"{kind}-{number:02}"
        for kind, last in COUNTS.items()
        for number in range(1, last + 1)
    }


@cache
def named() -> dict[str, set[str]]:
    """Ids by the files that name them."""
    found: dict[str, set[str]] = {}
    for path in HERE.rglob("test_*.py"):
        if path == Path(__file__):
            continue
        for id in _ids(path):
            found.setdefault(id, set()).add(str(path.relative_to(HERE)))
    return found


def _ids(path: Path) -> Iterator[str]:
    module = ast.parse(path.read_text())
    first = module.body[0] if module.body else None
    own = first.value if isinstance(first, ast.Expr) else None
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for kind, numbers in IN_NAME.findall(node.name):
                if kind == "q" and "api" not in path.relative_to(HERE).parts:
                    continue
                for number in re.findall(r"\d+", numbers):
                    yield f"{kind.upper()}-{number}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node is not own:
                for kind, number in IN_TEXT.findall(node.value):
                    yield f"{kind}-{number}"


@pytest.mark.parametrize("kind", COUNTS)
def test_every_statement_is_named_by_a_test(kind: str) -> None:
    wanted = _of(kind)
    if not (HERE.parent / "mistral" / "actions" / "ssh.py").exists():
        wanted.discard("SEC-22")
    assert sorted(wanted - named().keys()) == []


def test_no_test_names_a_statement_that_there_is_not() -> None:
    assert {id: named()[id] for id in named().keys() - listed()} == {}


@pytest.mark.skipif(not SPECIFICATION.is_dir(), reason="no specification beside us")
def test_the_lists_are_those_of_the_specification() -> None:
    security = (SPECIFICATION / "security.md").read_text()
    rest = (SPECIFICATION / "rest-api.md").read_text()
    assert set(re.findall(r"^\| (SEC-\d\d) ", security, re.M)) == _of("SEC")
    assert set(re.findall(r"\bQ-\d\d\b", rest)) == _of("Q")
    _, _, rest = rest.rpartition("\n## 12. ")
    checklist, _, matrix = rest.partition("\n## 13. ")
    items = re.findall(r"^(\d+)\. ", checklist, re.M)
    assert {f"C-{int(number):02}" for number in items} == _of("C")
    rows = re.findall(r"^\| (\d+) \|", matrix, re.M)
    assert {f"M-{int(number):02}" for number in rows} == _of("M")


def _of(kind: str) -> set[str]:
    return {id for id in listed() if id.startswith(f"{kind}-")}
