"""Every lint of Appendix C of the language page is shown at work, and a near miss of
it where it is silent.

Advice is shown by ``lang/lints.yaml``, whose entries have both. What is refused,
mended, bounded or said elsewhere is shown by tests whose names have
``lint_<number>_fires`` and ``lint_<number>_is_silent``, for one number or several.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
SPECIFICATION = HERE.parent.parent / "shared" / "spec" / "language.md"
APPENDIX = [f"LINT-{number:02}" for number in range(1, 41)]
OURS = [f"LINT-{number:02}" for number in range(41, 45)]
"""Advice that the appendix does not have."""

IN_NAME = re.compile(r"def test_\w*?lint((?:_\d\d)+)_(fires|is_silent)")


@cache
def shown() -> dict[str, set[str]]:
    """``fires`` and ``is_silent``: the lints that tests show."""
    entries = yaml.safe_load((HERE / "lang" / "lints.yaml").read_text())
    advice = {entry["rule"] for entry in entries}
    found = {"fires": set(advice), "is_silent": set(advice)}
    for path in HERE.rglob("test_*.py"):
        for numbers, how in IN_NAME.findall(path.read_text()):
            found[how] |= {f"LINT-{number}" for number in numbers.strip("_").split("_")}
    return found


@pytest.mark.parametrize("how", ["fires", "is_silent"])
def test_every_lint_is_shown(how: str) -> None:
    assert sorted({*APPENDIX, *OURS} - shown()[how]) == []


@pytest.mark.parametrize("how", ["fires", "is_silent"])
def test_no_test_shows_a_lint_that_there_is_not(how: str) -> None:
    assert sorted(shown()[how] - {*APPENDIX, *OURS}) == []


@pytest.mark.skipif(not SPECIFICATION.is_file(), reason="no specification beside us")
def test_the_list_is_that_of_the_appendix() -> None:
    text = SPECIFICATION.read_text()
    assert sorted(set(re.findall(r"^\| (LINT-\d\d) ", text, re.MULTILINE))) == APPENDIX
