"""LINT-24, 25, 26: what tasks call, compared with what exists."""

from __future__ import annotations

import pytest

from mistral.lang.parse import (
    Advice,
    Signature,
    check_actions,
    check_workbook,
    check_workflows,
)

ACTIONS = {
    "std.echo": Signature(frozenset({"output"}), frozenset({"delay"})),
    "any": Signature(frozenset(), frozenset(), open=True),
}
WORKFLOWS = {"child": Signature.declared(["a", {"b": 1}])}


class Catalogue:
    """Two actions and a workflow."""

    def action(self, name):
        return ACTIONS.get(name)

    def action_names(self):
        return list(ACTIONS)

    def workflow(self, name):
        return WORKFLOWS.get(name)


ADVICE = Advice(catalogue=Catalogue())


def said(report):
    assert report.valid
    return [f"{w.rule} {w.line}:{w.column} {w.message}" for w in report.warnings]


@pytest.mark.parametrize(
    ("task", "warning"),
    [
        ("action: std.ehco", "LINT-25 4:17 there is no action 'std.ehco' now; did"
         " you mean 'std.echo'?"),
        ("action: std.echo", "LINT-26 4:17 'std.echo' needs 'output', which only"
         " '__actions' of an environment could give"),
        ("action: std.echo output=1 dleay=2", "LINT-26 4:17 'std.echo' does not take"
         " 'dleay'; did you mean 'delay'?"),
        ("workflow: chid a=1", "LINT-25 4:19 there is no workflow 'chid' now"),
        ("workflow: child", "LINT-26 4:19 'child' needs the input 'a'"),
        ("workflow: child a=1 c=1", "LINT-24 4:19 'child' declares no input 'c'; it"
         " becomes a parameter of the execution"),
    ],
)  # fmt: skip
def test_lint_24_25_26_fires(task, warning):
    text = f"version: '2.0'\nw:\n  tasks:\n    t: {{{task}}}\n"
    assert said(check_workflows(text, advice=ADVICE)) == [warning]


@pytest.mark.parametrize(
    "task",
    [
        "action: std.echo output=1",
        "action: std.echo, input: {output: 1, delay: 2}",
        "action: std.echo, input: <% env() %>",
        "action: any x=1",
        "action: <% env().x %> x=1",
        "workflow: child a=1",
        "workflow: child a=1 b=2 task_name='x'",
        "workflow: child, input: <% env() %>",
        "workflow: w",
        "description: nothing is called",
    ],
)
def test_lint_24_25_26_is_silent_on_good_input(task):
    text = f"version: '2.0'\nw:\n  tasks:\n    t: {{{task}}}\n"
    assert said(check_workflows(text, advice=ADVICE)) == []


BOOK = """\
version: '2.0'
name: box
actions:
  shout: {input: [text], base: std.echo, base-input: {output: <% $.text %>}}
  wrong: {base: shuot}
workflows:
  run:
    tasks:
      a: {action: shout text="a", on-success: b}
      b: {action: box.shout txt="a", on-success: c}
      c: {workflow: run}
"""


def test_members_of_a_workbook_know_each_other():
    assert said(check_workbook(BOOK, advice=ADVICE)) == [
        "LINT-25 5:17 there is no action 'shuot' now; did you mean 'shout'?",
        "LINT-26 10:19 'box.shout' needs 'text', which only '__actions' of an"
        " environment could give",
        "LINT-26 10:19 'box.shout' does not take 'txt'; did you mean 'text'?",
    ]


def test_actions_are_looked_at_and_functions_of_plug_ins_known():
    text = "version: '2.0'\na:\n  base: std.echo output='<% ours(1) %>'\n"
    [warning] = said(check_actions(text, advice=ADVICE))
    assert warning.startswith("LINT-12 3:29 YAQL has no 'ours'")
    advice = Advice(functions={"ours"}, catalogue=Catalogue())
    assert said(check_actions(text, advice=advice)) == []


def test_without_a_catalogue_nothing_is_said_of_names_outside():
    text = "version: '2.0'\nw:\n  tasks:\n    t: {action: no.such x=1}\n"
    assert said(check_workflows(text)) == []


def test_strict_refuses_what_is_advised_against():
    text = "version: '2.0'\nw:\n  vars: {unused: 1}\n  tasks:\n    t: {join: 0}\n"
    assert check_workflows(text).valid
    report = check_workflows(text, strict=True)
    assert [p.rule for p in report.problems] == ["LINT-42"]


DEEP = " + ".join(["_.a"] * 5_000)
MANY = "".join(f"    t{n}: {{target: <% $.no{n} + no{n}() %>}}\n" for n in range(999))


@pytest.mark.parametrize(
    "tasks",
    [
        f"    t: {{target: '{{{{ {DEEP} }}}}'}}\n",
        f"    t: {{target: '<% {DEEP.replace('_', '$')} %>'}}\n",
        MANY,
    ],
    ids=["deep Jinja", "deep YAQL", "many"],
)
def test_sec_13_hostile_texts_are_advised_on_without_an_error(tasks):
    report = check_workflows(f"version: '2.0'\nw:\n  tasks:\n{tasks}")
    assert report.valid
