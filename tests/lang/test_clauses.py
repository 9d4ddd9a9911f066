"""Transitions (spec/language.md § 13 to 15, A.7)."""

from __future__ import annotations

import pytest

from mistral.lang.parse import DefinitionFault, parse_target
from mistral.lang.specs import Edge, Publish

FORMS = [
    ("LANG-140 name", "b", [("b", None, {})]),
    (
        "LANG-140 parameters",
        'fail msg="no luck"',
        [("fail", None, {"msg": "no luck"})],
    ),
    ("LANG-140 list", "[b, c]", [("b", None, {}), ("c", None, {})]),
    (
        "LANG-140 conditions",
        "[{b: <% $.ok %>}, c]",
        [("b", "<% $.ok %>", {}), ("c", None, {})],
    ),
    (
        "LANG-140 condition on a command",
        "[{'fail msg=\"x y\"': <% $.bad %>}]",
        [("fail", "<% $.bad %>", {"msg": "x y"})],
    ),
    (
        "LANG-140 advanced",
        "{publish: {branch: {k: 1}}, next: [b, {c: <% $.k %>}]}",
        [("b", None, {}), ("c", "<% $.k %>", {})],
    ),
    ("LANG-140 publish only", "{publish: {global: {k: 1}}}", []),
    ("LANG-140 next only", "{next: b}", [("b", None, {})]),
    (
        "LANG-143 two conditions",
        "[{b: <% 1 %>}, {b: <% 2 %>}]",
        [("b", "<% 1 %>", {}), ("b", "<% 2 %>", {})],
    ),
    ("LANG-146 bare condition", "{b: <% $.ok %>}", [("b", "<% $.ok %>", {})]),
    ("LANG-147 next condition", "{next: {b: <% $.ok %>}}", [("b", "<% $.ok %>", {})]),
    ("LANG-146 Jinja", "{b: '{{ _.ok }}'}", [("b", "{{ _.ok }}", {})]),
    (
        "LANG-161 with a blank",
        'fail(msg="a b")',
        [("fail", None, {"msg": "a b"})],
    ),
    ("LANG-161 without", 'fail(msg="ab")', [("fail", None, {"msg": "ab"})]),
    ("Q16 unquoted", "fail msg=oops", [("fail", None, {})]),
    ("Q04 trailing line break", '{b: "<% $.ok %>\\n"}', [("b", "<% $.ok %>\n", {})]),
]


@pytest.mark.parametrize(
    ("clause", "edges"),
    [case[1:] for case in FORMS],
    ids=[case[0] for case in FORMS],
)
@pytest.mark.parametrize("event", ["on-success", "on-error", "on-complete", "on-skip"])
def test_form(workflow, event, clause, edges):
    spec = workflow(
        f"tasks:\n  t:\n    {event}: {clause}\n  b: {{action: x}}\n  c: {{action: x}}"
    )
    expected = tuple(Edge(*edge) for edge in edges)
    assert spec.tasks["t"].clause(event).edges == expected


REFUSED = [
    ("LANG-141 unknown", "nowhere", ["V-24"]),
    ("LANG-141 expression", "<%$.x%>", ["V-24"]),
    ("LANG-141 in next", "{next: [b, nowhere]}", ["V-24"]),
    ("LANG-141 condition", "[{nowhere: <% 1 %>}]", ["V-24"]),
    ("LANG-142 same twice", "[b, b]", ["V-19"]),
    ("LANG-142 same condition twice", "[{b: <% 1 %>}, {b: <% 1 %>}]", ["V-19"]),
    ("LANG-142 empty list", "[]", ["V-06"]),
    ("LANG-142 empty string", "''", ["V-06"]),
    ("LANG-142 empty mapping", "{}", ["V-06"]),
    ("LANG-142 null", "null", ["V-06"]),
    ("LANG-142 number", "5", ["V-06"]),
    ("LANG-142 next null", "{next: null}", ["V-06"]),
    ("LANG-144 two entries", "[{b: <% 1 %>, c: <% 2 %>}]", ["V-06"]),
    ("LANG-144 two entries, bare", "{b: <% 1 %>, c: <% 2 %>}", ["V-06"]),
    ("LANG-144 list in a list", "[[b]]", ["V-06"]),
    ("LANG-145 true", "[{b: true}]", ["V-06"]),
    ("LANG-145 'true'", "[{b: 'true'}]", ["V-06"]),
    ("LANG-145 $.a", "[{b: $.a}]", ["V-06"]),
    ("LANG-145 block", "[{b: '{% if 1 %}x{% endif %}'}]", ["V-06"]),
    ("LANG-145 null", "[{b: }]", ["V-06"]),
    ("LANG-145 bare", "{b: true}", ["V-06"]),
    ("LANG-146 syntax", "[{b: <% ( %>}]", ["V-17"]),
    ("S-14.3 two words", "b c", ["V-06"]),
    ("S-14.3 two blanks", 'fail  msg="x"', ["V-06"]),
    ("S-14.1 advanced, unknown", "{publish: {branch: {a: 1}}, then: b}", ["V-07"]),
    ("LANG-130 empty", "{publish: {}}", ["V-15"]),
    ("LANG-130 unknown", "{publish: {x: 1}}", ["V-07", "V-15"]),
    ("LANG-130 beside", "{publish: {branch: {a: 1}, x: 1}}", ["V-07"]),
    ("LANG-130 scope empty", "{publish: {branch: {}}}", ["V-06"]),
    ("LANG-130 list", "{publish: [1]}", ["V-06"]),
    ("V-17 publish", "{publish: {atomic: {a: <% ( %>}}}", ["V-17"]),
    ("Q03 name", "{on: <% 1 %>}", ["Q03"]),
    ("V-11 free key", "[{' b': 1}]", ["V-11"]),
]


@pytest.mark.parametrize(
    ("clause", "broken"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_refused(judge, rules, clause, broken):
    report = judge(
        f"tasks:\n  t:\n    on-success: {clause}\n"
        "  b: {action: x}\n  c: {action: x}\n"
    )
    assert sorted(rules(report)) == broken


def test_s_14_1_the_value_under_a_free_key_is_not_checked(workflow):
    """A key that is no target form hides its value from the language."""
    spec = workflow(
        "tasks: {t: {on-success: [{'fail  msg=\"x\"': true}, {'b  x': false}]},"
        " b: {action: x}}"
    )
    first, second = spec.tasks["t"].on_success.edges
    assert first == Edge("fail", None, {"msg": "x"})
    assert (second.target, second.condition) == ("b", "<% false %>")


def test_a_task_may_be_called_next_or_publish(workflow):
    """A.7: the alternative that fits."""
    spec = workflow("tasks: {t: {on-success: {next: <% $.ok %>}}, next: {action: x}}")
    assert spec.tasks["t"].on_success.edges == (Edge("next", "<% $.ok %>"),)


def test_clause_publish(workflow):
    """§ 13.1"""
    spec = workflow(
        "tasks: {t: {on-complete: {publish: {branch: {a: 1}, global: {b: 2},"
        " atomic: {c: 3}}}}}"
    )
    expected = Publish({"a": 1}, {"b": 2}, {"c": 3})
    assert spec.tasks["t"].on_complete.publish == expected


WARNED = [
    ("LINT-03 bare condition", "{b: <% $.ok %>}", {"LINT-03"}),
    ("LINT-03 next", "{next: {b: <% $.ok %>}}", {"LINT-03"}),
    ("LINT-01 unquoted message", "fail msg=oops", {"LINT-01"}),
    ("LINT-13 parameter", 'fail msg="<% ( %>"', {"LINT-13"}),
    ("LINT-33 behind fail", "[fail, b]", {"LINT-33"}),
    ("LINT-33 not behind a condition", "[{fail: <% 1 %>}, b]", set()),
    ("LINT-39 reserved", "{publish: {branch: {__env: 1}}}", {"LINT-39"}),
]


@pytest.mark.parametrize(
    ("clause", "warned"),
    [case[1:] for case in WARNED],
    ids=[case[0] for case in WARNED],
)
def test_warned(judge, lints, clause, warned):
    report = judge(f"tasks:\n  t:\n    on-success: {clause}\n  b: {{action: x}}")
    assert report.valid
    assert lints(report) == warned


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("b", "b", {}),
        ('fail msg="x" n=1', "fail", {"msg": "x", "n": 1}),
        ('fail(msg="x y", n=1)', "fail", {"msg": "x y", "n": 1}),
        ("a.b-c", "a.b-c", {}),
    ],
)
def test_parse_target(text, name, params):
    """§ 14.3"""
    assert parse_target(text)[:2] == (name, params)


@pytest.mark.parametrize("text", ["", " b", "b ", "a b", "a.b x=1", "f (x=1 )"])
def test_parse_target_refuses(text):
    """§ 14.3"""
    with pytest.raises(DefinitionFault):
        parse_target(text)


# Joins


JOINS = [
    ("LANG-175 all of two", "a: {on-success: j}, b: {on-success: j}", "all", []),
    ("LANG-178 two of two", "a: {on-success: j}, b: {on-error: j}", "2", []),
    ("LANG-180 three of two", "a: {on-success: j}, b: {on-success: j}", "3", ["V-26"]),
    ("LANG-180 counts once", "a: {on-success: j, on-error: j}", "2", ["V-26"]),
    ("LANG-180 in next", "a: {on-success: {next: j}}", "one", []),
    ("LANG-181 none", "a: {on-success: noop}", "all", ["V-25"]),
    ("LANG-179 none", "a: {on-success: noop}", "0", []),
]


@pytest.mark.parametrize(
    ("tasks", "join", "broken"),
    [case[1:] for case in JOINS],
    ids=[case[0] for case in JOINS],
)
def test_join(judge, rules, tasks, join, broken):
    assert rules(judge(f"tasks: {{{tasks}, j: {{join: {join}}}}}")) == broken


def test_all_join_faults_are_reported_together(judge, rules):
    """§ 29.2"""
    report = judge("tasks: {a: {action: x}, j: {join: all}, k: {join: 2}}")
    assert rules(report) == ["V-25", "V-26"]


def test_lang_181_defaults_take_part(judge):
    """§ 19: defaults take part in all graph checks."""
    body = "task-defaults: {on-error: j}\ntasks: {a: {action: x}, j: {join: all}}"
    assert judge(body).valid


@pytest.mark.parametrize(
    ("join", "value"), [("one", 1), ("1", 1), ("0", None), ("all", "all"), ("1.0", 1)]
)
def test_lang_179_values_of_join(workflow, join, value):
    spec = workflow(f"tasks: {{a: {{on-success: j}}, j: {{join: {join}}}}}")
    found = spec.tasks["j"].join
    assert found == value
    assert type(found) is type(value)


def test_lint_14_conditions_before_a_join_of_all(judge, lints):
    body = "tasks: {{a: {{on-success: {}}}, b: {{on-success: j}}, j: {{join: {}}}}}"
    assert lints(judge(body.format("[{j: <% 1 %>}]", "all"))) == {"LINT-14"}
    assert not lints(judge(body.format("[{j: <% 1 %>}]", "one")))
    assert not lints(judge(body.format("[{j: <% 1 %>}, j]", "all")))


def test_a_fault_elsewhere_does_not_hide_graph_faults(judge, rules):
    report = judge("tasks: {a: {timeout: -1}, j: {join: all}}")
    assert rules(report) == ["V-06", "V-25"]


def test_a_broken_clause_does_not_invent_graph_faults(judge, rules):
    report = judge("tasks: {a: {on-success: [j, j]}, j: {join: all}}")
    assert rules(report) == ["V-19"]
