"""What authors are told: everything at once, where, and what they may mean."""

from __future__ import annotations

import pytest

from mistral.lang.parse import check_actions, check_workbook, check_workflows

MANY = """\
version: '2.0'
w:
  type: revers
  tasks:
    build:
      acton: std.noop
      on-success: tset
    test:
      join: al
      timeout: soon
      on-error: [fail, biuld]
    deploy:
      publish: {v: <% $.a + %>}
"""


def test_every_problem_of_a_document_in_one_pass_with_place_and_suggestion():
    report = check_workflows(MANY)
    found = [(p.rule, p.line, p.column, p.path) for p in report.problems]
    assert found == [
        ("V-05", 3, 9, "w.type"),
        ("V-07", 6, 7, "w.tasks.build.acton"),
        ("V-24", 7, 19, "w.tasks.build.on-success"),
        ("V-06", 9, 13, "w.tasks.test.join"),
        ("V-06", 10, 16, "w.tasks.test.timeout"),
        ("V-24", 11, 24, "w.tasks.test.on-error[1]"),
        ("V-17", 13, 29, "w.tasks.deploy.publish.v"),
    ]
    words = ["reverse", "action", "test", "all", None, "build", None]
    for problem, word in zip(report.problems, words, strict=True):
        suggestion = f"did you mean '{word}'?"
        assert (suggestion in problem.message) is (word is not None), problem


@pytest.mark.parametrize(
    ("check", "text", "said"),
    [
        (
            check_workflows,
            "version: '2.0'\nw: {taks: {t: {join: 0}}}",
            "a workflow needs 'tasks'; is it meant by 'taks'?",
        ),
        (
            check_actions,
            "version: '2.0'\na: {bas: std.echo}",
            "an action needs 'base'; is it meant by 'bas'?",
        ),
        (
            check_workbook,
            "version: '2.0'\nname: b\nworkflow: {}",
            "unknown property 'workflow'; did you mean 'workflows'?",
        ),
        (
            check_workflows,
            "version: '2.0'\nw: {tasks: {t: {timeout: [1]}}}",
            "expected a whole number from 0 on or an expression, found a list",
        ),
    ],
)
def test_sentence(check, text, said):
    assert said in [problem.message for problem in check(text).problems]


@pytest.mark.parametrize(
    ("value", "line", "column"),
    [
        ("<% $.a + %>", 6, 25),
        ('"<% $.a + %>"', 6, 26),
        ("'it''s <% $.a + %>'", 6, 16),
        ("text <% $.ok %> and <% $.a + %>", 6, 45),
        ("'{{ _.a + }}'", 6, 26),
        ("|\n          one\n          two <% $.a + %>", 8, 24),
        (">-\n          one\n          two <% $.a + %>", 6, 16),
    ],
    ids=["plain", "quoted", "escaped", "second", "jinja", "block", "folded"],
)
def test_lang_246_where_in_the_file_an_expression_is_wrong(value, line, column):
    """The character; where an escape or a fold hides it, the scalar."""
    text = (
        f"version: '2.0'\nw:\n  tasks:\n    t:\n      publish:\n        nam: x{value}\n"
    )
    text = text.replace("nam: x", "name:  ")
    [problem] = check_workflows(text).problems
    assert problem.rule == "V-17"
    assert (problem.line, problem.column) == (line, column)


def test_lang_246_where_an_inline_parameter_is_wrong():
    text = (
        "version: '2.0'\nw:\n  tasks:\n    t: {action: std.echo output=<% $.a + %>}\n"
    )
    [problem] = check_workflows(text).problems
    assert (problem.line, problem.column) == (4, 42)
