"""What ``executions()`` and ``tasks()`` show while a run is decided (LANG § 23)."""

from __future__ import annotations

import pytest
from played import HEAD, output, play
from simulator import ERROR, SUCCESS, Simulator

CALLS = [
    "task([1])", "task(5)", "global([1])", "global(5)",
    "tasks(5)", "tasks([1])", "tasks('a', false, 7)", "tasks('a', false, [1])",
    "executions(5)", "executions([1])", "executions('a', 5)",
    "executions('a', 'a', [1])", "execution(1)",
]  # fmt: skip


@pytest.mark.parametrize("form", ["<% {} %>", "{{{{ {} }}}}"], ids=["yaql", "jinja"])
@pytest.mark.parametrize("call", CALLS)
def test_functions_with_wrong_arguments_end_the_run_not_the_engine(
    call: str, form: str
) -> None:
    """§ 2.8: an expression that fails in ``publish`` is a forced failure."""
    text = form.format(call)
    body = f'w: {{tasks: {{t: {{publish: {{r: "{text}"}}}}}}}}'
    assert Simulator(HEAD + body).run("w")["state"] == ERROR


def test_executions_and_tasks_show_the_run_as_it_is_now() -> None:
    """LANG § 23: also in the very turn that started it."""
    body = """w:
  tasks:
    t:
      publish:
        mine: <% executions(execution().id).select([$.id, $.state]) %>
        others: <% executions('nobody').len() %>
        running: <% executions(state => RUNNING).len() %>
        ended: <% executions(state => SUCCESS).len() %>
        tasks: <% tasks(execution().id).select([$.name, $.state]) %>"""
    row = play(body)
    assert row["output"] == {
        "mine": [[row["id"], "RUNNING"]], "others": 0, "running": 1, "ended": 0,
        "tasks": [["t", SUCCESS]],
    }  # fmt: skip


def test_look_ups_of_a_whole_project_are_bounded() -> None:
    body = "w: {tasks: {t: {publish: {r: <% CALL.len() %>}}}}"
    for call in ("tasks()", "executions()"):
        sim = Simulator(HEAD + body.replace("CALL", call))
        first = sim.run("w")
        assert (first["state"], first["output"]) == (SUCCESS, {"r": 1})
        (task,) = sim.store.task_rows.values()
        for number in range(10_000):
            run_id = f"r{number}"
            sim.store.runs[run_id] = {**first, "id": run_id}
            id = f"t{number}"
            other = {**task, "id": id, "workflow_execution_id": run_id}
            sim.store.task_rows[id] = other
        row = sim.run("w")
        assert row["state"] == ERROR
        assert f"{call} finds more than 10000" in row["state_info"]


def test_tasks_without_an_id_shows_all_executions_of_the_project() -> None:
    """LANG § 23: all that the caller may see, by creation time."""
    body = """w:
  tasks:
    t: {workflow: s, publish: {mine: 1}, on-success: look}
    look:
      publish:
        all: <% tasks().orderBy($.name).select([$.name, $.result]) %>
        good: <% tasks(state => SUCCESS).name.orderBy($) %>
s: {tasks: {e: {action: std.echo output=7}}}
other: {tasks: {o: {with-items: 'i in <% [1, 2] %>', action: 'std.echo output=3'}}}"""
    sim = Simulator(HEAD + body)
    sim.run("other")
    foreign = sim.run("other")
    for row in sim.store.task_rows.values():
        if row["workflow_execution_id"] == foreign["id"]:
            row["project_id"] = "somebody else"
    row = sim.run("w")
    assert row["state"] == SUCCESS, row["state_info"]
    assert row["output"]["all"] == [
        ["e", 7], ["look", None], ["o", [3, 3]], ["t", {}],
    ]  # fmt: skip
    assert row["output"]["good"] == ["e", "look", "o", "t"]


def test_tasks_goes_down_from_any_execution() -> None:
    """LANG § 23: ``recursive`` adds the tasks of nested executions."""
    body = """w: {tasks: {t: {workflow: mid, publish: {r: <% task().result.n %>}}}}
mid:
  output: {n: <% $.n %>}
  tasks:
    m: {workflow: leaf, on-success: look}
    look:
      publish:
        n: <% tasks(execution().id, true).select($.name).orderBy($) %>
leaf: {tasks: {l: {workflow: end}}}
end: {tasks: {e: {publish: {big: <% 'x' * 9000 %>}}}}"""
    assert output(body) == {"r": ["e", "l", "look", "m"]}


def test_tasks_of_other_executions_show_large_values() -> None:
    body = """w:
  tasks:
    t: {workflow: s, on-success: look}
    look:
      publish:
        n: >-
          <% tasks(execution().id, true).where($.name = e)
          .select($.published.big.len()) %>
s: {tasks: {e: {publish: {big: <% 'x' * 9000 %>}}}}"""
    assert output(body)["n"] == [9000]


def test_flat_leaves_out_tasks_that_only_mirror_their_sub_workflow() -> None:
    """LANG § 23: a workflow task stays when its state is not its child's."""
    body = """w:
  tasks:
    good: {workflow: s, on-complete: look}
    odd: {workflow: s, fail-on: <% true %>, on-error: noop, on-complete: look}
    none: {workflow: nowhere, on-error: noop, on-complete: look}
    look:
      join: all
      publish:
        n: <% tasks(execution().id, flat => true).select($.name).orderBy($) %>
s: {tasks: {e: {description: x}}}"""
    assert output(body)["n"] == ["look", "none", "odd"]
