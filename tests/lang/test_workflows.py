"""Workflows and tasks (spec/language.md § 8, 9, 17, 19, A.4 to A.6)."""

from __future__ import annotations

import pytest

from mistral.lang.parse import check_workflows
from mistral.lang.specs import REQUIRED

TASKS = "tasks: {t: {action: a}}"

WORKFLOWS = [
    ("LANG-040 unknown property", f"{{colour: red, {TASKS}}}", []),
    ("S-30 triggers", f"{{triggers: {{}}, {TASKS}}}", []),
    ("LANG-041 circular", f"{{type: circular, {TASKS}}}", ["V-05"]),
    ("LANG-041 null", f"{{type: null, {TASKS}}}", ["V-05"]),
    ("LANG-041 reverse", f"{{type: reverse, {TASKS}}}", []),
    ("LANG-042 mapping", f"{{input: {{a: 1}}, {TASKS}}}", ["V-06"]),
    ("LANG-042 string", f"{{input: a, {TASKS}}}", ["V-06"]),
    ("LANG-042 empty", f"{{input: [], {TASKS}}}", ["V-06"]),
    ("LANG-042 two in one", f"{{input: [{{a: 1, b: 2}}], {TASKS}}}", ["V-06"]),
    ("LANG-042 number", f"{{input: [5], {TASKS}}}", ["V-06"]),
    ("LANG-043 twice", f"{{input: [a, a], {TASKS}}}", ["V-19"]),
    ("Q14 twice, different", f"{{input: [a, {{a: 1}}], {TASKS}}}", []),
    ("LANG-051 output empty", f"{{output: {{}}, {TASKS}}}", ["V-06"]),
    ("LANG-051 output text", f"{{output: <% $ %>, {TASKS}}}", ["V-06"]),
    ("A.4 vars null", f"{{vars: null, {TASKS}}}", ["V-06"]),
    ("A.4 tags", f"{{tags: [a, a], {TASKS}}}", ["V-19"]),
    ("A.4 no tasks", "{type: direct}", ["V-06"]),
    ("A.4 empty tasks", "{tasks: {}}", ["V-06"]),
    ("A.4 tasks as list", "{tasks: [a]}", ["V-06"]),
    ("Q12 description", f"{{description: 5, {TASKS}}}", []),
    ("Q12 description list", f"{{description: [5], {TASKS}}}", []),
    ("S-4 version and name", f"{{version: [], name: 5, {TASKS}}}", []),
    (
        "LANG-058 no start task",
        "{tasks: {a: {on-success: b}, b: {on-success: a}}}",
        ["V-23"],
    ),
    (
        "LANG-058 no start task by defaults",
        "{task-defaults: {on-error: b}, tasks: {b: {on-success: c}, c: {on-skip: b}}}",
        ["V-23"],
    ),
    (
        "LANG-059 island",
        "{tasks: {s: {action: a}, a: {on-success: b}, b: {on-success: a}}}",
        [],
    ),
    (
        "LANG-064 join in reverse",
        "{type: reverse, tasks: {t: {join: all}}}",
        ["V-07"],
    ),
    (
        "LANG-064 on-success in reverse",
        "{type: reverse, tasks: {t: {on-success: t}}}",
        ["V-07"],
    ),
    ("LANG-064 requires in direct", "{tasks: {t: {requires: t}}}", ["V-07"]),
    (
        "LANG-192 unknown",
        "{type: reverse, tasks: {t: {requires: [u]}}}",
        ["V-27"],
    ),
    (
        "LANG-192 command",
        "{type: reverse, tasks: {t: {requires: noop}}}",
        ["V-27"],
    ),
    (
        "LANG-192 unknown in defaults",
        "{type: reverse, task-defaults: {requires: u}, tasks: {t: {action: a}}}",
        ["V-27"],
    ),
    (
        "LANG-193 cycle",
        "{type: reverse, tasks: {a: {requires: b}, b: {requires: [c]},"
        " c: {requires: a}}}",
        ["Q37"],
    ),
    (
        "LANG-193 itself is ignored",
        "{type: reverse, tasks: {a: {requires: [a]}}}",
        [],
    ),
    (
        "S-17 empty requires",
        "{type: reverse, tasks: {a: {requires: []}}}",
        ["V-06"],
    ),
    (
        "LANG-218 publish",
        "{task-defaults: {publish: {a: 1}}, tasks: {t: {action: a}}}",
        ["V-07"],
    ),
    (
        "LANG-218 join",
        "{task-defaults: {join: all}, tasks: {t: {action: a}}}",
        ["V-07"],
    ),
    ("A.9 empty", f"{{task-defaults: {{}}, {TASKS}}}", ["V-06"]),
    (
        "0043 run",
        f"{{timeout: 5, retry: {{count: 1, delay: 1, jitter: 1}}, {TASKS}}}",
        [],
    ),
    (
        "0043 run by expressions",
        f"{{timeout: <% $.n %>, retry: count=1 delay=1, {TASKS}}}",
        [],
    ),
    ("0043 run: timeout", f"{{timeout: 5m, {TASKS}}}", ["V-06"]),
    ("0043 run: no expression", f"{{timeout: <% $. %>, {TASKS}}}", ["V-17"]),
    ("0043 run: retry", f"{{retry: 5, {TASKS}}}", ["V-06"]),
    ("0043 run: count", f"{{retry: {{delay: 1}}, {TASKS}}}", ["V-14"]),
    (
        "0043 run: continue-on",
        f"{{retry: {{count: 1, delay: 1, continue-on: <% 1 %>}}, {TASKS}}}",
        ["V-14"],
    ),
    ("A.9 retry", f"{{task-defaults: {{retry: count=1}}, {TASKS}}}", ["V-14"] * 2),
    (
        "S-19 ignored in reverse",
        "{type: reverse, task-defaults: {on-error: nowhere}, tasks: {t: {action: a}}}",
        [],
    ),
    (
        "S-19 ignored in direct",
        "{task-defaults: {requires: nowhere}, tasks: {t: {action: a}}}",
        [],
    ),
    ("LANG-141 defaults", f"{{task-defaults: {{on-error: x}}, {TASKS}}}", ["V-24"]),
]


@pytest.mark.parametrize(
    ("body", "broken"),
    [case[1:] for case in WORKFLOWS],
    ids=[case[0] for case in WORKFLOWS],
)
def test_workflow(judge, rules, body, broken):
    assert rules(judge(body)) == broken


TASK_BODIES = [
    ("LANG-060 both", "{action: a, workflow: b}", ["V-10"]),
    ("LANG-062 empty", "{}", ["V-06"]),
    ("LANG-062 null", "", ["V-09"]),
    ("LANG-062 string", "std.noop", ["V-09"]),
    ("LANG-063 unknown", "{acton: a}", ["V-07"]),
    ("LANG-067 1.0", "{wait-before: 1.0}", []),
    ("LANG-067 1.5", "{wait-before: 1.5}", ["V-06"]),
    ("LANG-067 '1'", "{wait-before: '1'}", ["V-06"]),
    ("LANG-067 -1", "{wait-before: -1}", ["V-06"]),
    ("LANG-067 true", "{wait-before: true}", ["V-06"]),
    ("LANG-067 null", "{wait-before: null}", ["V-06"]),
    ("LANG-067 expression", "{wait-before: <% 1 %>}", []),
    ("LANG-067 other policies", "{wait-after: -1, timeout: x}", ["V-06"] * 2),
    ("LANG-067 concurrency", "{concurrency: -1}", ["V-06"]),
    ("LANG-068 pause-before", "{pause-before: 'true'}", ["V-06"]),
    ("LANG-068 fail-on", "{fail-on: 1}", ["V-06"]),
    ("LANG-066 keep-result", "{keep-result: <% false %>}", []),
    ("S-9 keep-result", "{keep-result: 1}", ["V-06"]),
    ("S-9 safe-rerun", "{safe-rerun: 'yes'}", ["V-06"]),
    ("S-9 target", "{target: ''}", ["V-06"]),
    ("S-9 description", "{description: 5}", ["V-06"]),
    ("S-9 tags", "{tags: []}", ["V-06"]),
    ("S-9 injected", "{type: 1, name: 2, version: 3}", []),
    ("S-9 action null", "{action: null}", ["V-06"]),
    ("S-9 publish empty", "{publish: {}}", ["V-06"]),
    ("S-9 publish-on-skip", "{publish-on-skip: {a: 1}, publish-on-error: 5}", ["V-06"]),
    ("S-9 input", "{action: a, input: []}", ["V-06"]),
    ("LANG-093 string input", "{action: a x=1, input: <% $ %>}", ["Q19"]),
    ("LANG-095 string input", "{action: a, input: <% $ %>}", []),
    ("LANG-089 leading blank", "{action: ' a x=1'}", ["V-11"]),
    ("LANG-089 leading quote", "{workflow: '\"a\" x=1'}", ["V-11"]),
    ("LANG-202 no delay", "{retry: {count: 1}}", ["V-14"]),
    ("LANG-202 no count", "{retry: {delay: 1}}", ["V-14"]),
    ("LANG-202 unknown", "{retry: {count: 1, delay: 1, x: 1}}", ["V-14"]),
    ("LANG-202 unknown in one line", "{retry: count=1 delay=1 x=1}", ["V-14"]),
    ("LANG-202 lost in one line", "{retry: count=-1 delay=1}", ["V-14"]),
    ("LANG-202 no blank", "{retry: count=1}", ["V-14"] * 2),
    ("LANG-202 wrong type", "{retry: {count: '1', delay: 1}}", ["V-06"]),
    ("LANG-202 list", "{retry: [1]}", ["V-06"]),
    (
        "0043 back-off",
        "{retry: {count: 1, delay: 1, backoff: 1.5, max-delay: 60, jitter: 0.2}}",
        [],
    ),
    (
        "0043 back-off by expressions",
        "{retry: {count: 1, delay: 1, backoff: <% $.b %>, jitter: '{{ _.j }}'}}",
        [],
    ),
    ("0043 one line", "{retry: count=1 delay=1 backoff=2 max-delay=9 jitter=1}", []),
    ("0043 shrinks", "{retry: {count: 1, delay: 1, backoff: 0.5}}", ["V-06"]),
    ("0043 endless", "{retry: {count: 1, delay: 1, backoff: .inf}}", ["V-06"]),
    ("0043 more than all", "{retry: {count: 1, delay: 1, jitter: 1.1}}", ["V-06"]),
    ("0043 no share", "{retry: {count: 1, delay: 1, jitter: true}}", ["V-06"]),
    ("0043 negative", "{retry: {count: 1, delay: 1, max-delay: -1}}", ["V-06"]),
    ("LANG-202 condition", "{retry: {count: 1, delay: 1, break-on: true}}", ["V-06"]),
    ("LANG-100 one", "{with-items: i in <% $.l %>}", []),
    ("LANG-100 several", "{with-items: ['i in <% $.l %>', 'j in <% $.m %>']}", []),
    ("LANG-100 literal", "{with-items: 'i in [1, 2]'}", []),
    ("LANG-100 Jinja", "{with-items: 'i in {{ _.l }}'}", []),
    ("LANG-100 number", "{with-items: i in 5}", ["V-12"]),
    ("LANG-100 bare", "{with-items: i in $.l}", ["V-12"]),
    ("LANG-100 empty", "{with-items: 'i in []'}", ["V-12"]),
    ("LANG-100 several with a fault", "{with-items: ['i in <% $.l %>', x]}", ["V-12"]),
    ("LANG-100 mapping", "{with-items: {i: [1]}}", ["V-06"]),
    ("LANG-101 bare words", "{with-items: 'i in [a, b]'}", ["V-13"]),
    ("LANG-101 quoted", '{with-items: \'i in ["a", "b"]\'}', []),
    ("LANG-114 several in one", "{with-items: 'x in <% a %>, y in <% b %>'}", []),
    ("V-19 with-items", "{with-items: ['i in <% a %>', 'i in <% a %>']}", ["V-19"]),
    ("V-17 with-items", "{with-items: i in <% ( %>}", ["V-17"]),
    ("LANG-179 one", "{join: ONE}", ["V-06"]),
    ("S-16 join text", "{join: '1'}", ["V-06"]),
    ("S-16 join true", "{join: true}", ["V-06"]),
    ("S-16 join negative", "{join: -1}", ["V-06"]),
    ("LANG-179 zero", "{join: 0}", []),
    ("LANG-181 all", "{join: all}", ["V-25"]),
    ("LANG-180 one without inbound", "{join: one}", ["V-26"]),
]


@pytest.mark.parametrize(
    ("body", "broken"),
    [case[1:] for case in TASK_BODIES],
    ids=[case[0] for case in TASK_BODIES],
)
def test_task(judge_task, rules, body, broken):
    assert rules(judge_task(body)) == broken


NAMES = [
    ("LANG-032 255", "a" * 255, "{action: a}", []),
    ("LANG-032 256", "a" * 256, "{action: a}", ["V-21"]),
    ("LANG-033 208", "a" * 208, "{join: one}", []),
    ("LANG-033 209", "a" * 209, "{join: one}", ["V-22"]),
    ("LANG-033 209 without join", "a" * 209, "{join: 0}", []),
    ("LANG-034 hyphen", "t-2", "{action: a}", []),
    ("LANG-034 dot", "t3.task", "{action: a}", []),
    ("LANG-034 comma", "t4,task", "{action: a}", []),
    ("LANG-034 plus", "t5+task", "{action: a}", []),
    ("LANG-035 version", "version", "{action: a}", ["Q05"]),
    ("LANG-035 version with a fault", "version", "5", ["Q05", "V-09"]),
]


@pytest.mark.parametrize(
    ("name", "body", "broken"),
    [case[1:] for case in NAMES],
    ids=[case[0] for case in NAMES],
)
def test_task_name(judge, rules, name, body, broken):
    report = judge(f"tasks:\n  s: {{on-success: ['{name}']}}\n  ? '{name}'\n  : {body}")
    assert rules(report) == broken


def test_an_empty_task_name_is_refused(judge, rules):
    """V-21"""
    assert rules(judge("tasks: {'': {action: a}}")) == ["V-21"]


def test_a_task_name_that_no_database_keeps_is_refused(judge, rules):
    """V-21: quoted text can spell NUL; a run would break where the task begins."""
    assert rules(judge('tasks: {"a\\0b": {action: a}}')) == ["V-21"]


def test_lang_034_such_names_are_targets(workflow):
    names = ("t-2", "t3.task", "t4,task", "t5+task")
    tasks = "\n".join(f"  {name}: {{action: a}}" for name in names)
    spec = workflow(f"tasks:\n{tasks}\n  s: {{on-success: {list(names)}}}")
    edges = spec.tasks["s"].on_success.edges
    assert tuple(edge.target for edge in edges) == names
    assert not any(edge.params for edge in edges)


def test_lang_036_a_command_wins_over_a_task_of_its_name(workflow, judge, lints):
    body = "tasks: {fail: {action: a}, b: {on-success: fail}}"
    assert workflow(body).tasks["b"].on_success.edges[0].is_command
    assert "LINT-32" in lints(judge(body))


def test_lang_040_a_similar_property_is_suggested(judge):
    (warning,) = judge(f"outputs: {{a: 1}}\n{TASKS}").warnings
    assert warning.rule == "LINT-04"
    assert warning.path == "w.outputs"
    assert "did you mean 'output'?" in warning.message
    assert (warning.line, warning.column) == (3, 3)


def test_lang_041_direct_is_the_default(workflow):
    assert workflow(TASKS).type == "direct"


def test_input_declaration(workflow):
    """§ 8.1: required, default, null as default, never evaluated."""
    declared = workflow(f"input: [a, {{b: 5}}, {{c: }}, {{d: <% 1 + 1 %>}}]\n{TASKS}")
    assert dict(declared.input) == {
        "a": REQUIRED,
        "b": 5,
        "c": None,
        "d": "<% 1 + 1 %>",
    }
    assert list(declared.input) == ["a", "b", "c", "d"]


def test_q14_of_a_parameter_declared_twice_the_last_counts(workflow, judge, lints):
    body = f"input: [a, {{a: 1}}]\n{TASKS}"
    assert workflow(body).input == {"a": 1}
    assert "Q14" in lints(judge(body))


def test_lang_059_islands_are_warned_of(judge, lints):
    body = "tasks: {s: {action: a}, a: {on-success: b}, b: {on-success: a}}"
    assert lints(judge(body)) == {"LINT-33"}


def test_lang_061_the_default_action(task):
    assert (task("{description: x}").action, task("{description: x}").workflow) == (
        "std.noop",
        None,
    )


def test_a_workflow_task(task):
    """§ 11.3"""
    found = task("{workflow: sub a=1, input: {b: 2}}")
    assert (found.type, found.workflow, found.action) == ("WORKFLOW", "sub", None)
    assert found.input == {"a": 1, "b": 2}


def test_lang_092_inline_wins_over_input(task, judge_task, lints):
    body = "{action: a x=1, input: {x: 2, y: 3}}"
    assert task(body).input == {"x": 1, "y": 3}
    assert "Q18" in lints(judge_task(body))


def test_lang_094_dynamic_names(task):
    assert task("{action: std.<%$.k%>}").action == "std.<%$.k%>"
    found = task("{action: <% $.name %> x=1}")
    assert (found.action, found.input) == ("<% $.name %>", {"x": 1})


def test_lang_095_input_as_expression(task, judge_task, lints):
    assert task("{action: a, input: <% $.m %>}").input == "<% $.m %>"
    assert "V-33" in lints(judge_task("{action: a, input: word}"))


def test_lang_066_keep_result_is_kept_as_expression(task):
    found = task("{keep-result: <% false %>, safe-rerun: <% true %>}")
    assert (found.keep_result, found.safe_rerun) == ("<% false %>", "<% true %>")


def test_lang_067_a_whole_float_is_an_integer(task):
    found = task("{wait-before: 1.0, timeout: 2, retry: {count: 3.0, delay: 0}}")
    policies = found.policies
    assert [type(value) for value in (policies.wait_before, policies.timeout)] == [
        int,
        int,
    ]
    assert policies.retry is not None
    assert type(policies.retry.count) is int


@pytest.mark.parametrize(
    "retry",
    [
        "count=3 delay=5 break-on=<% $.enough %>",
        "retry count=3 delay=5 break-on=<% $.enough %>",
        "{count: 3, delay: 5, break-on: <% $.enough %>}",
    ],
)
def test_lang_201_one_line_and_mapping_are_equal(task, retry):
    found = task(f"retry: {retry}").policies.retry
    assert found is not None
    assert (found.count, found.delay) == (3, 5)
    assert (found.break_on, found.continue_on) == ("<% $.enough %>", None)


def test_with_items(task):
    """§ 12.1"""
    found = task("with-items: ['h in <% $.hosts %>', 'p in [1, \"a\"]']").with_items
    assert found == {"h": "<% $.hosts %>", "p": [1, "a"]}
    assert task("with-items: in in {{ _.l }}").with_items == {"in": "{{ _.l }}"}
    assert task("with-items: main <% $.l %>").with_items == {"ma": "<% $.l %>"}


def test_lang_114_trailing_text_is_reported(task, judge_task, lints):
    body = "with-items: 'x in <% a %>, y in <% b %>'"
    assert task(body).with_items == {"x": "<% a %>"}
    assert lints(judge_task(body)) == {"LINT-40"}


def test_q14_of_a_loop_variable_given_twice_the_last_counts(task, judge_task, lints):
    body = "with-items: ['x in <% a %>', 'x in <% b %>']"
    assert task(body).with_items == {"x": "<% b %>"}
    assert lints(judge_task(body)) == {"Q14"}


def test_lint_39_reserved_variables(judge, lints):
    body = (
        "input: [openstack]\nvars: {__env: 1}\ntasks: {t: {publish: {__execution: 1}}}"
    )
    report = judge(body)
    assert [w.rule for w in report.warnings] == ["LINT-39"] * 3


def test_lint_22_the_time_is_over_before_the_task_begins(judge_task, lints):
    assert lints(judge_task("{timeout: 5, wait-before: 5}")) == {"LINT-22"}
    assert not lints(judge_task("{timeout: 0, wait-before: 5}"))
    # The delays are 5, 10 and 20 seconds, or 5, 8 and 8.
    retry = "count: 3, delay: 5, backoff: 2"
    assert lints(judge_task(f"{{timeout: 35, retry: {{{retry}}}}}")) == {"LINT-22"}
    assert not lints(judge_task(f"{{timeout: 36, retry: {{{retry}}}}}"))
    assert not lints(judge_task(f"{{timeout: 22, retry: {{{retry}, max-delay: 8}}}}"))
    assert not lints(judge_task(f"{{timeout: 35, retry: {{{retry}, jitter: 0.1}}}}"))


# task-defaults


def test_lang_215_lang_216_what_a_task_sets_overrides(workflow):
    spec = workflow(
        """
        task-defaults:
          wait-before: 5
          fail-on: true
          safe-rerun: true
          retry: count=1 delay=0
        tasks:
          a: {action: x}
          b:
            wait-before: 0
            fail-on: false
            safe-rerun: false
            retry: {count: 0, delay: 0}
        """
    )
    a, b = spec.tasks["a"], spec.tasks["b"]
    assert (a.policies.wait_before, a.policies.fail_on, a.safe_rerun) == (5, True, True)
    assert (b.policies.wait_before, b.policies.fail_on, b.safe_rerun) == (
        0,
        False,
        False,
    )
    assert a.policies.retry is not None
    assert b.policies.retry is not None
    assert (a.policies.retry.count, b.policies.retry.count) == (1, 0)
    assert a.policies.timeout is None


def test_lang_217_a_default_handler_does_not_call_itself(workflow):
    spec = workflow(
        """
        task-defaults: {on-error: [h, fail]}
        tasks:
          a: {action: x}
          b: {on-error: a}
          c: {on-error: {publish: {branch: {k: 1}}}}
          h: {action: y}
        """
    )

    def targets(name):
        return [edge.target for edge in spec.tasks[name].on_error.edges]

    assert targets("a") == ["h", "fail"]
    assert targets("b") == ["a"]
    assert targets("c") == ["h", "fail"]
    assert spec.tasks["c"].on_error.publish.branch == {"k": 1}
    assert targets("h") == ["fail"]


def test_q40_publish_of_a_default_clause_has_no_effect(workflow, judge, lints):
    body = (
        "task-defaults: {on-error: {publish: {branch: {k: 1}}, next: h}}\n"
        "tasks: {a: {action: x}, h: {action: y}}"
    )
    clause = workflow(body).tasks["a"].on_error
    assert not clause.publish
    assert clause.edges[0].target == "h"
    assert "Q40" in lints(judge(body))


def test_lang_195_default_requirements(workflow):
    spec = workflow(
        """
        type: reverse
        task-defaults: {requires: [a, b]}
        tasks:
          a: {action: x}
          b: {action: x}
          c: {requires: [d, b]}
          d: {action: x}
        """
    )
    required = {name: task.requires for name, task in spec.tasks.items()}
    assert required == {"a": (), "b": (), "c": ("d", "b", "a"), "d": ("a", "b")}


def test_unknown_names_are_suggested():
    """V-24, V-27"""
    text = "version: 2\nw: {tasks: {build: {on-success: biuld}}}"
    (problem,) = check_workflows(text).problems
    assert problem.path == "w.tasks.build.on-success"
    assert "did you mean 'build'?" in problem.message
