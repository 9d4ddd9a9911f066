"""Advice on definitions (spec/language.md, Appendix C).

``lints.yaml`` holds two texts for each lint. It fires on one, at the place that
``»`` marks; the other follows the advice, and no lint says anything about it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from mistral.lang.parse import check_workflows

HEAD = "version: '2.0'\n"
LINTS = yaml.safe_load(Path(__file__).with_name("lints.yaml").read_text())

each = pytest.mark.parametrize(
    "lint", LINTS, ids=[f"{lint['rule']} {lint['words'][:40]}" for lint in LINTS]
)


@each
def test_fires(lint):
    before = lint["warned"].partition("»")[0]
    place = (before.count("\n") + 2, len(before) - before.rfind("\n"))
    report = check_workflows(HEAD + lint["warned"].replace("»", ""))
    assert report.valid
    found = [w for w in report.warnings if w.rule == lint["rule"]]
    assert [(w.line, w.column) for w in found] == [place], report.warnings
    assert lint["words"] in found[0].message


@each
def test_is_silent_on_good_input(lint):
    report = check_workflows(HEAD + lint["good"])
    assert (report.problems, report.warnings) == ((), ())


def test_every_lint_is_documented_and_shown():
    root = Path(__file__).parents[2]
    sources = [path.read_text() for path in (root / "mistral/lang").rglob("*.py")]
    given = {code for text in sources for code in re.findall(r'"(LINT-\d\d)"', text)}
    page = (root / "doc/advice.rst").read_text()
    assert set(re.findall(r"^(LINT-\d\d) ", page, re.MULTILINE)) == given
    names = Path(__file__).with_name("test_lints_of_names.py").read_text()
    shown = {lint["rule"] for lint in LINTS} | set(re.findall(r'"(LINT-\d\d) ', names))
    assert shown == given
