"""Advice on definitions (spec/language.md, Appendix C).

``lints.yaml`` holds two texts for each lint. It fires on one, at the place that
``»`` marks; the other follows the advice, and no lint says anything about it.
"""

from __future__ import annotations

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
