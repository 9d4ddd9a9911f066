"""Normalised bodies (§ 29.3), specs made from them, and the graph."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mistral.lang.graph import graph_of
from mistral.lang.parse import (
    action_from_dict,
    parse_actions,
    parse_workbook,
    parse_workflows,
    workflow_from_dict,
)

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.yaml"))
PARSERS = {
    "workflow": parse_workflows,
    "action": parse_actions,
    "workbook": parse_workbook,
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_of_the_reference_is_accepted(path):
    parsed = PARSERS[path.stem.partition("-")[0]](path.read_text())
    members = (
        parsed if isinstance(parsed, tuple) else (*parsed.workflows, *parsed.actions)
    )
    assert members
    for member in members:
        body = json.loads(json.dumps(member.spec.body))
        again = (workflow_from_dict if "tasks" in body else action_from_dict)(body)
        assert again == member.spec
        assert again.body == member.spec.body


def test_there_are_examples():
    assert len(EXAMPLES) >= 18


def test_the_normalised_form():
    """§ 29.3, its example"""
    text = (
        "version: '2.0'\n"
        "w: {tasks: {a: {action: 'std.echo output=1', input: {delay: 0}}}}"
    )
    assert parse_workflows(text)[0].spec.body == {
        "name": "w",
        "version": "2.0",
        "tasks": {
            "a": {
                "action": "std.echo output=1",
                "input": {"delay": 0, "output": 1},
                "type": "direct",
                "name": "a",
                "version": "2.0",
            }
        },
    }


def test_the_normalised_form_keeps_everything_else():
    """§ 29.3: one-line retry, unknown properties, what is overwritten."""
    text = """
version: 2
w:
  type: reverse
  name: other
  version: 1
  colour: {5: 2020-01-01, on: x}
  tasks:
    a:
      action: std.echo output=1
      retry: count=1 delay=2
      name: other
      type: other
    b: {workflow: sub, input: <% $.all %>}
"""
    body = parse_workflows(text)[0].spec.body
    assert (body["name"], body["version"]) == ("w", "2.0")
    assert body["colour"] == {"5": "2020-01-01", "true": "x"}
    assert body["tasks"]["a"] == {
        "action": "std.echo output=1",
        "retry": "count=1 delay=2",
        "name": "a",
        "type": "reverse",
        "version": "2.0",
    }
    assert body["tasks"]["b"]["input"] == "<% $.all %>"
    json.dumps(body)


def test_the_normalised_form_of_an_action():
    """§ 29.3"""
    text = "version: 2\na: {base: b x=1, base-input: {x: 2, y: 3}}"
    spec = parse_actions(text)[0].spec
    assert spec.body == {
        "name": "a",
        "version": "2.0",
        "base": "b x=1",
        "base-input": {"x": 1, "y": 3},
    }
    assert (spec.base, spec.base_input) == ("b", {"x": 1, "y": 3})
    bare = parse_actions("version: 2\na: {base: b x=1}")[0].spec
    assert "base-input" not in bare.body
    assert bare.base_input == {"x": 1}


def test_specs_cannot_be_changed(workflow):
    spec = workflow("vars: {a: 1}\ntasks: {t: {input: {x: 1}, publish: {y: 1}}}")
    for mapping in (spec.tasks, spec.vars, spec.tasks["t"].input):
        with pytest.raises(TypeError):
            mapping["new"] = 1
    with pytest.raises(AttributeError):
        spec.name = "x"


def test_from_dict_applies_defaults(workflow):
    """§ 19: the body is as written, the spec is effective."""
    spec = workflow(
        "task-defaults: {timeout: 5, on-error: h}\n"
        "tasks: {a: {action: x}, h: {action: y}}"
    )
    assert "timeout" not in spec.body["tasks"]["a"]
    again = workflow_from_dict(json.loads(json.dumps(spec.body)))
    assert again == spec
    assert again.tasks["a"].policies.timeout == 5
    assert again.tasks["a"].body == spec.tasks["a"].body


DIAMOND = """
tasks:
  a: {on-success: [b, {c: <% $.x %>}, fail], on-error: {next: b}}
  b: {on-complete: d}
  c: {on-skip: [d, noop]}
  d: {join: all, on-success: e}
  e: {on-success: [{d: <% $.again %>}]}
  x: {on-success: y}
  y: {on-success: x}
  fail: {action: z}
"""


def test_graph(workflow):
    """§ 16.1, Q06: conditions do not count, commands never do."""
    spec = workflow(DIAMOND)
    graph = graph_of(spec)
    assert graph is graph_of(spec)
    assert graph.start_tasks == ("a", "fail")
    assert graph.outbound("a") == ("b", "c")
    assert graph.inbound("b") == ("a",)
    assert graph.inbound("d") == ("b", "c", "e")
    assert graph.inbound("fail") == ()
    assert graph.joins_after("b") == ("d",)
    assert graph.joins_after("a") == ()
    assert graph.upstream("e") == {"a", "b", "c", "d", "e"}
    assert graph.upstream("b") == {"a"}
    assert graph.upstream("a") == frozenset()
    assert graph.unreachable == ("x", "y")


def test_graph_takes_defaults(workflow):
    """§ 19"""
    graph = graph_of(
        workflow(
            "task-defaults: {on-error: h}\ntasks: {a: {action: x}, h: {action: y}}"
        )
    )
    assert graph.start_tasks == ("a",)
    assert graph.inbound("h") == ("a",)
    assert graph.outbound("h") == ()


def test_graph_of_a_reverse_workflow(workflow):
    """§ 17, LANG-190"""
    graph = graph_of(
        workflow(
            """
            type: reverse
            tasks:
              roof: {requires: [walls, base]}
              walls: {requires: base}
              base: {action: x}
              pool: {action: x}
            """
        )
    )
    assert graph.requirements("roof") == ("base", "walls")
    assert graph.requirements("base") == ()
    assert graph.start_tasks == ()
    assert graph.unreachable == ()
    assert graph.requirement_cycle == ()


def test_lang_193_the_cycle_is_named(judge):
    (problem,) = judge(
        "type: reverse\n"
        "tasks: {z: {requires: a}, a: {requires: b},"
        " b: {requires: [c, a]}, c: {action: x}}"
    ).problems
    assert problem.rule == "Q37"
    assert "'a', 'b', 'a'" in problem.message


def test_long_chains_do_not_recurse(workflow):
    """A chain of requirements or transitions longer than the stack."""
    tasks = "".join(f"  t{i}: {{requires: t{i + 1}}}\n" for i in range(3000))
    spec = workflow(f"type: reverse\ntasks:\n{tasks}  t3000: {{action: x}}\n")
    assert len(graph_of(spec).requirements("t0")) == 3000
    tasks = "".join(f"  t{i}: {{on-success: t{i + 1}}}\n" for i in range(3000))
    spec = workflow(f"tasks:\n{tasks}  t3000: {{action: x}}\n")
    assert len(graph_of(spec).upstream("t3000")) == 3000


def test_two_thousand_tasks_before_one_join_parse_within_two_seconds():
    tasks = "".join(
        f"    t{i}:\n      action: std.echo output=<% $.x + {i} %>\n"
        f"      publish: {{v{i}: <% task().result %>}}\n      on-success: j\n"
        for i in range(2000)
    )
    text = f"version: '2.0'\nw:\n  tasks:\n{tasks}    j: {{join: all}}\n"
    before = time.process_time()
    (parsed,) = parse_workflows(text)
    assert len(graph_of(parsed.spec).inbound("j")) == 2000
    assert time.process_time() - before < 2
