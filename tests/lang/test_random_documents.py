"""Documents made of the language's own words: none breaks the parser."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from mistral.expressions.references import known_names
from mistral.expressions.yaml_text import dump_yaml
from mistral.lang.graph import graph_of
from mistral.lang.parse import (
    action_from_dict,
    check_actions,
    check_workbook,
    check_workflows,
    parse_actions,
    parse_workbook,
    parse_workflows,
    workflow_from_dict,
)

known_names()  # is slow at its first call, which no single example should pay

WORDS = st.sampled_from(
    [
        *("tasks", "action", "workflow", "input", "with-items", "publish", "join"),
        *("on-success", "on-error", "on-complete", "retry", "requires", "next"),
        *("branch", "global", "a", "b", "fail", "all", "count=1 delay=<% 1 %>"),
        *("<% $.a %>", "{{ _.b }}", "<% ( %>", "i in [1]", "std.echo x=1 y", "version"),
        *("base", "base-input", "output", "vars", "type", "reverse", "timeout", "name"),
        *("workflows", "actions", "task-defaults", "", "a b", 'fail(msg="x")'),
    ]
)
SCALARS = WORDS | st.sampled_from([None, True, 0, 1, 2.0, -1, 1.5])
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS | st.sampled_from([1, True, None]), inner, max_size=4)
    ),
    max_leaves=12,
)

CLAUSES = st.sampled_from(["a", "b", "c", "fail", "pause"]).map(
    lambda name: [name]
) | st.dictionaries(
    st.sampled_from(["a", "b"]), st.just("<% 1 %>"), min_size=1, max_size=1
)
TASKS = st.fixed_dictionaries(
    {"action": st.sampled_from(["std.echo", "x y=1", "<% $.a %>"])},
    optional={
        "on-success": CLAUSES,
        "on-error": CLAUSES,
        "join": st.sampled_from(["all", "one", 0, 1, 2]),
        "input": st.just({"y": 2}) | st.just("<% $ %>"),
        "retry": st.sampled_from(["count=1 delay=2", {"count": 1, "delay": 0}]),
        "timeout": st.integers(0, 3) | st.just(1.0),
        "with-items": st.sampled_from(["i in [1]", ["i in <% $.l %>"]]),
    },
)
LIKELY = st.fixed_dictionaries(
    {"tasks": st.fixed_dictionaries(dict.fromkeys("sabc", TASKS))},
    optional={
        "task-defaults": st.fixed_dictionaries(
            {"on-error": CLAUSES, "timeout": st.just(9)}
        ),
        "input": st.just(["a", {"b": [1]}]),
        "vars": st.just({"v": "<% 1 %>"}),
    },
)


@given(TREES)
def test_nonsense_is_reported(tree):
    text = dump_yaml({"version": "2.0", "name": "n", "w": tree, "workflows": tree})
    for check in (check_workflows, check_actions, check_workbook):
        report = check(text)
        assert all(problem.line for problem in report.problems)
    for parse, check in (
        (parse_workflows, check_workflows),
        (parse_actions, check_actions),
        (parse_workbook, check_workbook),
    ):
        single = dump_yaml({"version": "2.0", "w": tree})
        if check(single).valid:
            parse(single)


@given(LIKELY)
def test_what_is_accepted_is_whole(body):
    text = dump_yaml({"version": "2.0", "w": body}, sort_keys=False)
    report = check_workflows(text)
    if not report.valid:
        assert {problem.rule for problem in report.problems} <= {
            "Q19",
            "V-23",
            "V-25",
            "V-26",
        }
        return
    spec = parse_workflows(text)[0].spec
    stored = json.loads(json.dumps(spec.body))
    again = workflow_from_dict(stored)
    assert again == spec
    assert again.body == spec.body
    graph = graph_of(spec)
    assert graph.start_tasks
    for name, task in spec.tasks.items():
        for target in graph.outbound(name):
            assert name in graph.inbound(target)
        if task.join == "all":
            assert graph.inbound(name)
    book = parse_workbook(
        dump_yaml({"version": "2.0", "name": "book", "workflows": {"w": body}})
    )
    assert book.workflows[0].spec.tasks == spec.tasks


@given(
    st.fixed_dictionaries(
        {"base": st.sampled_from(["a", "a x=1", "a x=[1] y=2"])},
        optional={
            "base-input": st.just({"x": 2, "z": {"d": 1}}),
            "input": st.just(["p", {"q": None}]),
            "output": st.sampled_from([None, "<% $ %>", {"a": 1}]),
        },
    )
)
def test_an_action_from_its_body_is_equal(body):
    spec = parse_actions(dump_yaml({"version": "2.0", "a": body}))[0].spec
    assert action_from_dict(json.loads(json.dumps(spec.body))) == spec
