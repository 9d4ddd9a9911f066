"""Lints of Appendix C that do more than advise: what is refused with a hint, and what
simply works (see ``tests/test_every_lint.py``)."""

from __future__ import annotations

import pytest

from mistral.expressions.evaluate import Evaluator
from mistral.expressions.facts import View
from mistral.lang.parse import (
    Report,
    advice_on,
    check_workbook,
    check_workflows,
    parse_workbook,
    parse_workflows,
)

HEAD = "version: '2.0'\n"


def said(report: Report) -> list[str]:
    assert report.warnings == ()
    return [str(problem) for problem in report.problems]


def test_lint_05_fires_on_unquoted_jinja() -> None:
    text = HEAD + "w: {output: {v: {{ _.a }}}, tasks: {t: {publish: {a: 1}}}}\n"
    assert said(check_workflows(text)) == [
        "line 2, column 18: a list or mapping cannot be a key; a Jinja expression must"
        " be quoted"
    ]


@pytest.mark.parametrize("value", ["'{{ _.a }}'", '"{{ _.a }}"', "{b: {c: <% $.a %>}}"])
def test_lint_05_is_silent_on_quotes_and_mappings(value: str) -> None:
    text = HEAD + f"w: {{output: {{v: {value}}}, tasks: {{t: {{publish: {{a: 1}}}}}}}}"
    assert said(check_workflows(text)) == []


def evaluated(text: str) -> object:
    return Evaluator().evaluate(text, View({"a": True}, None))


def test_lint_06_fires_blocks_alone_are_rendered() -> None:
    """LANG-250."""
    assert evaluated("{% if _.a %}x{% endif %}") == "x"
    assert evaluated("{% if not _.a %}x{% endif %}") == ""


@pytest.mark.parametrize("text", ["50 {% off", "%} x {%", "{ % if _.a %}x"])
def test_lint_06_is_silent_on_what_is_no_block(text: str) -> None:
    assert evaluated(text) == text


BOOK = "version: {}\nname: b\nworkflows: {{w: {{tasks: {{t: {{join: 0}}}}}}}}\n"


@pytest.mark.parametrize("version", ["2.0", "2", "'2.0'"])
def test_lint_30_fires_workbooks_take_every_form_of_version_2(version: str) -> None:
    """LANG-020."""
    assert said(check_workbook(BOOK.format(version))) == []


@pytest.mark.parametrize("version", ["1.0", "2.1", "'v2.0'"])
def test_lint_30_is_silent_on_other_versions(version: str) -> None:
    """LANG-021: they are refused as ever."""
    [problem] = said(check_workbook(BOOK.format(version)))
    assert "unsupported version" in problem


REVERSE = HEAD + "w: {{type: reverse, tasks: {{{}}}}}\n"


def test_lint_36_fires_on_tasks_that_require_each_other() -> None:
    """LANG-193."""
    text = REVERSE.format("a: {requires: b}, b: {requires: c}, c: {requires: a}")
    [problem] = said(check_workflows(text))
    assert "these tasks require each other: 'a', 'b', 'c', 'a'" in problem


@pytest.mark.parametrize(
    "tasks",
    [
        "a: {requires: [b, c]}, b: {requires: d}, c: {requires: d}, d: {join: 0}",
        "a: {requires: [a, b]}, b: {description: x}",
    ],
    ids=["a diamond", "itself"],
)
def test_lint_36_is_silent_without_a_circle(tasks: str) -> None:
    text = REVERSE.format(tasks.replace("join: 0", "description: x"))
    assert said(check_workflows(text)) == []


ALTERNATIVES = [
    ("join: ALL", "expected 'all', 'one' or a whole number", "did you mean 'all'?"),
    ("retry: {count: 1}", "'retry' needs 'delay'", ""),
    ("on-success: {b: 1, c: 2}", "expected one target with its condition", ""),
    ("on-success: {publish: {branch: {v: 1}}, b: <% 1 %>}", "unknown property 'b'",
     "write targets under 'next'"),
    ("on-success: {publish: {v: 1}}", "at least one of 'branch', 'global'", ""),
    ("on-success: [{b: 1}]", "expected an expression '<% … %>'", "found a number"),
    ("with-items: i of <% $.b %>", "expected 'variable in <% … %>'", ""),
    ("timeout: soon", "expected a whole number from 0 on or an expression",
     "found a string"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "expected", "found"), ALTERNATIVES, ids=[a[0] for a in ALTERNATIVES]
)
def test_lint_38_fires_the_closest_form_is_named(
    body: str, expected: str, found: str
) -> None:
    """And what is wrong in it; never "not valid under any of the given"."""
    text = HEAD + f"w: {{tasks: {{t: {{{body}}}, b: {{join: 0}}}}}}\n"
    first = said(check_workflows(text))
    assert any(expected in problem and found in problem for problem in first), first
    assert not any("any of" in problem for problem in first)


@pytest.mark.parametrize(
    "body",
    ["on-success: b", "on-success: [b]", "on-success: [{b: <% env().x %>}]",
     "on-success: {next: b}", "on-success: {publish: {global: {v: 1}}, next: [b]}",
     "retry: count=1 delay=2", "retry: {count: 1, delay: <% env().d %>}",
     "timeout: 1.0", "timeout: <% env().t %>"],
)  # fmt: skip
def test_lint_38_is_silent_on_every_form_that_there_is(body: str) -> None:
    tasks = f"t: {{{body}}}, b: {{join: 0}}"
    report = check_workflows(HEAD + f"w: {{output: {{v: 1}}, tasks: {{{tasks}}}}}\n")
    assert report.problems == ()


@pytest.mark.parametrize("uploaded", ["workflow", "workbook"])
def test_a_stored_text_is_advised_on_with_its_own_lines(uploaded: str) -> None:
    body = "w:\n  output: {y: <% $.nobody %>}\n  tasks: {t: {action: std.noop}}\n"
    if uploaded == "workflow":
        [parsed] = parse_workflows(f"version: '2.0'\n{body}")
    else:
        indented = "".join(f"  {line}\n" for line in body.splitlines())
        text = f"version: '2.0'\nname: book\nworkflows:\n{indented}"
        [parsed] = parse_workbook(text).workflows
    [advice] = advice_on(parsed.text)
    assert (advice.rule, advice.path) == ("LINT-11", "w.output.y")
    assert advice.line is not None
    assert "nobody" in parsed.text.splitlines()[advice.line - 1]


@pytest.mark.parametrize("text", ["", "w: {tasks: 1}", "[", "version: '2.0'"])
def test_of_a_stored_text_with_faults_nothing_is_said(text: str) -> None:
    assert advice_on(text) == ()


def test_functions_of_packages_are_known_in_stored_texts() -> None:
    text = (
        "version: '2.0'\nw:\n  output: {y: <% theirs() %>}\n"
        "  tasks: {t: {action: std.noop}}\n"
    )
    assert advice_on(text, {"theirs"}) == ()
    assert [each.rule for each in advice_on(text)] != []
