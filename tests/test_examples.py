"""The examples are right, and say how they are used."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from mistral.cli.texts import read_definition
from mistral.lang import parse

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))
CHECKS = {
    "workflows": parse.check_workflows,
    "workbooks": parse.check_workbook,
    "actions": parse.check_actions,
}

each = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES} >= {
        "approval",
        "clean_up",
        "fan_out_fan_in",
        "fan_out_http",
        "order",
        "pictures",
        "poll_until_ready",
        "saga",
    }


@each
def test_example_is_valid(path):
    definition = read_definition(path)
    report = CHECKS[definition.kind](definition.text, strict=True)
    assert report.problems == ()


@each
def test_names_seen_by_the_command_line_are_those_of_the_parser(path):
    definition = read_definition(path)
    if definition.kind == "workbooks":
        parsed = parse.parse_workbook(definition.text).workflows
    else:
        parsed = parse.parse_workflows(definition.text)
    assert list(definition.workflows) == [one.spec.name for one in parsed]


@each
def test_example_says_how_it_is_run_and_what_it_shows(path):
    header = path.read_text().partition("version:")[0]
    assert "mistralctl" in header
    assert "# Shown:" in header


@pytest.mark.parametrize("page", ["README.rst", "doc/user.rst"])
def test_workflows_in_the_documentation_are_valid(page):
    text = (EXAMPLES[0].parents[1] / page).read_text()
    blocks = re.findall(r"code-block:: yaml\n\n((?:    .*\n|\n)+)", text)
    assert blocks
    for block in blocks:
        report = parse.check_workflows(textwrap.dedent(block), strict=True)
        assert report.problems == ()
