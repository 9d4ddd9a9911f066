"""Where expressions are checked, and how strictly (spec/language.md § 21)."""

from __future__ import annotations

import pytest

BAD = "<% ( %>"
MIXED = "<% $.a %> {{ _.b }}"

CHECKED = [
    ("input", "tasks: {t: {action: a, input: {x: '%s'}}}"),
    ("string input", "tasks: {t: {action: a, input: '%s'}}"),
    ("inline", "tasks: {t: {action: 'a x=\"%s\"'}}"),
    ("publish", "tasks: {t: {publish: {x: '%s'}}}"),
    ("publish-on-error", "tasks: {t: {publish-on-error: {x: '%s'}}}"),
    ("publish-on-skip", "tasks: {t: {publish-on-skip: {x: '%s'}}}"),
    ("branch", "tasks: {t: {on-error: {publish: {branch: {x: '%s'}}}}}"),
    ("global", "tasks: {t: {on-skip: {publish: {global: {x: '%s'}}}}}"),
    ("vars", "vars: {x: '%s'}\ntasks: {t: {action: a}}"),
    ("output", "output: {x: '%s'}\ntasks: {t: {action: a}}"),
]

POLICIES = [
    ("condition", "tasks: {t: {on-success: [{t: '%s'}]}, s: {action: a}}"),
    ("wait-before", "tasks: {t: {wait-before: '%s'}}"),
    ("timeout", "tasks: {t: {timeout: '%s'}}"),
    ("fail-on", "tasks: {t: {fail-on: '%s'}}"),
    ("pause-before", "tasks: {t: {pause-before: '%s'}}"),
    ("concurrency", "tasks: {t: {concurrency: '%s'}}"),
    ("keep-result", "tasks: {t: {keep-result: '%s'}}"),
    ("safe-rerun", "tasks: {t: {safe-rerun: '%s'}}"),
    ("retry", "tasks: {t: {retry: {count: 1, delay: 1, break-on: '%s'}}}"),
    ("one-line retry", "tasks: {t: {retry: 'count=1 delay=1 break-on=%s'}}"),
    ("with-items", "tasks: {t: {with-items: 'i in %s'}}"),
    ("default", "task-defaults: {timeout: '%s'}\ntasks: {t: {action: a}}"),
    ("default rerun", "task-defaults: {safe-rerun: '%s'}\ntasks: {t: {action: a}}"),
]

UNCHECKED = [
    ("nested input", "tasks: {t: {action: a, input: {x: {y: ['%s']}}}}"),
    ("nested publish", "tasks: {t: {publish: {x: ['%s']}}}"),
    ("output-on-error", "output-on-error: {x: '%s'}\ntasks: {t: {action: a}}"),
    ("target", "tasks: {t: {target: '%s'}}"),
    ("action name", "tasks: {t: {action: '%s'}}"),
    ("workflow name", "tasks: {t: {workflow: '%s'}}"),
    ("command parameter", "tasks: {t: {on-error: 'fail msg=\"%s\"'}}"),
]


@pytest.mark.parametrize(
    "body", [case[1] for case in CHECKED + POLICIES], ids=lambda body: body[:50]
)
def test_lang_246_syntax_errors_are_refused_with_position(judge, body):
    (problem,) = judge(body % BAD).problems
    assert problem.rule == "V-17"
    assert "position" in problem.message
    assert problem.line


@pytest.mark.parametrize(
    "body", [case[1] for case in CHECKED], ids=lambda body: body[:50]
)
def test_lang_245_mixed_languages_are_refused(judge, rules, body):
    assert rules(judge(body % MIXED)) == ["V-16"]


@pytest.mark.parametrize(
    "body", [case[1] for case in CHECKED + POLICIES], ids=lambda body: body[:50]
)
def test_lang_252_v_18_a_disabled_language_is_refused(judge, rules, body):
    report = judge(body % "{{ _.a }}", languages=("yaql",))
    assert rules(report) == ["V-18"]
    assert not rules(judge(body % "{{ _.a }}", languages=("jinja",)))


@pytest.mark.parametrize(
    "body", [case[1] for case in UNCHECKED], ids=lambda body: body[:50]
)
@pytest.mark.parametrize("text", [BAD, "<%$.a%>{{_.b}}"])
def test_lint_13_elsewhere_they_are_warned_of(judge, lints, body, text):
    report = judge(body % text)
    assert report.valid
    assert "LINT-13" in lints(report)


@pytest.mark.parametrize(
    "body",
    [
        "input: [{a: '<% ( %>'}]\ntasks: {t: {action: a}}",
        "tasks: {t: {description: '<% ( %>', tags: ['<% ( %>']}}",
    ],
)
def test_no_expressions_there_at_all(judge, body):
    """§ 21.2: input defaults and descriptions are never evaluated."""
    report = judge(body)
    assert (report.problems, report.warnings) == ((), ())


def test_lang_247_lint_08_broken_over_lines(judge, lints):
    report = judge(
        "tasks:\n  t:\n    publish:\n      x: |-\n        <% $.a\n        + 1 %>"
    )
    assert report.valid
    assert lints(report) == {"LINT-08"}


@pytest.mark.parametrize("block", ["|", ">"])
def test_q04_lint_07_a_line_break_behind_the_expression(judge, lints, block):
    report = judge(f"tasks:\n  t:\n    fail-on: {block}\n      <% false %>\n")
    assert report.valid
    assert lints(report) == {"LINT-07"}


def test_folded_scalars_work(judge):
    """Q44"""
    report = judge("tasks:\n  t:\n    fail-on: >-\n      <% $.a\n      = 1 %>\n")
    assert (report.problems, report.warnings) == ((), ())


def test_lint_35_methods_of_the_context(judge, lints):
    body = "tasks: {t: {publish: {x: '{{ %s }}'}}}"
    assert lints(judge(body % "_.items")) == {"LINT-35"}
    assert not lints(judge(body % "_.items()"))
    assert not lints(judge(body % "_.itemsets"))
    assert not lints(judge(body % "x._.items"))


def test_s_2_expressions_at_both_ends_qualify(judge):
    """§ 2, Expr: the rule looks only at both ends."""
    assert judge("tasks: {t: {fail-on: '<% $.a %> and <% $.b %>'}}").valid


@pytest.mark.parametrize("value", [" <% 1 %>", "<% 1", "<%>", "{% a %}", "<% 1 }}"])
def test_s_2_no_expression(judge, rules, value):
    assert rules(judge(f"tasks: {{t: {{fail-on: '{value}'}}}}")) == ["V-06"]
