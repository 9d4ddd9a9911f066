"""Joins on loops: once a pass, with what that pass brought (ENG-096, ENG-097)."""

from __future__ import annotations

import pytest
from answered import count, join, simulator, started, state, task_id, times
from simulator import ERROR, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.messages import (
    ResumeWorkflow,
    UpdateAction,
)


def loop(join: int | str, again: str, tasks: str) -> str:
    """A workflow that counts the passes of ``j``, three, and shows its last result.

    :param again: tasks that ``j`` leads back to.
    """
    back = ", ".join(f"{{{name}: <% $.n < 3 %>}}" for name in again.split())
    return f"""w:
  output: {{n: <% $.n %>, r: <% task(j).result %>}}
  tasks:{tasks}
    j:
      join: {join}
      action: std.echo output=<% $.n %>
      publish: {{n: <% $.n + 1 %>}}
      on-success: [{back}]"""


TWO_BRANCHES = """
    s: {publish: {n: 0}, on-success: [a, b]}
    a: {on-success: j}
    b: {on-success: j}"""
BACK_EDGE = """
    s: {publish: {n: 0}, on-success: j}
    b: {on-success: j}"""
LATE_BACK_EDGE = """
    s: {publish: {n: 0}, on-success: [j, late]}
    late: {action: std.sleep, on-success: [{b: <% false %>}]}
    b: {on-success: j}"""
THIRD_BRANCH = (
    TWO_BRANCHES
    + """
    c: {on-success: j}"""
)
ITSELF = """
    s: {publish: {n: 0}, on-success: j}"""
JOIN_BEFORE = """
    s: {publish: {n: 0}, on-success: [a, k]}
    k: {join: one, on-success: j}
    a: {on-success: j}"""
LOOPS = {
    "ENG-096 all": loop("all", "a b", TWO_BRANCHES),
    "ENG-096 one, both branches in the loop": loop("one", "a b", TWO_BRANCHES),
    "ENG-096 one, entry and back edge": loop("one", "b", BACK_EDGE),
    "ENG-096 one, the back edge has another way in": loop("one", "b", LATE_BACK_EDGE),
    "ENG-096 two of three": loop(2, "c", THIRD_BRANCH),
    "ENG-096 only one branch goes round again": loop("all", "a", TWO_BRANCHES),
    "ENG-096 the join is its own inbound task": loop("one", "j", ITSELF),
    "ENG-096 a join leads to a join": loop("all", "k a", JOIN_BEFORE),
}


@pytest.mark.parametrize("seed", [None, *range(6)])
@pytest.mark.parametrize("inline", [True, False], ids=["inline", "offers"])
@pytest.mark.parametrize("name", LOOPS)
def test_eng_096_097_a_loop_runs_the_join_once_a_pass(
    name: str, inline: bool, seed: int | None
) -> None:
    """The counter that the join publishes is seen in the next pass, and the
    result is that of the last one."""
    rules = Rules(inline_actions=inline, steps=3)
    sim = simulator(LOOPS[name], rules=rules, seed=seed)
    row = sim.run("w")
    assert (row["state"], row["output"]) == (SUCCESS, {"n": 3, "r": 2}), row
    assert times(sim, row["id"], "j") == 3


@pytest.mark.parametrize("seed", [None, *range(4)])
@pytest.mark.parametrize("kind", ["all", "one"])
def test_eng_096_a_loop_within_a_loop(kind: str, seed: int | None) -> None:
    body = """w:
  output: {i: <% $.i %>, o: <% $.o %>, all: <% $.all %>}
  tasks:
    s: {publish: {o: 0, all: 0}, on-success: [oa, ob]}
    oa: {on-success: outer}
    ob: {on-success: outer}
    outer: {join: KIND, publish: {o: <% $.o + 1 %>, i: 0}, on-success: [ia, ib]}
    ia: {on-success: inner}
    ib: {on-success: inner}
    inner:
      join: KIND
      publish: {i: <% $.i + 1 %>, all: <% $.all + 1 %>}
      on-success: [{ia: <% $.i < 3 %>}, {ib: <% $.i < 3 %>}, {e: <% $.i = 3 %>}]
    e: {on-success: [{oa: <% $.o < 3 %>}, {ob: <% $.o < 3 %>}]}"""
    rules = Rules(inline_actions=False)
    sim = simulator(body.replace("KIND", kind), seed=seed, rules=rules)
    row = sim.run("w")
    assert (row["state"], row["output"]) == (SUCCESS, {"i": 3, "o": 3, "all": 9})
    assert times(sim, row["id"], "inner") == 9


def test_eng_096_a_join_on_a_loop_hands_on_what_it_had_published() -> None:
    """Its row is used for the next pass while another join still waits."""
    body = """w:
  output: {last: <% $.last %>}
  tasks:
    s: {publish: {n: 0}, on-success: [j, slow]}
    slow: {action: std.async_noop, on-success: k}
    j:
      join: one
      publish: {n: <% $.n + 1 %>}
      on-success: [{b: <% $.n < 3 %>}, {k: <% $.n = 2 %>}]
    b: {action: std.async_noop, on-success: j}
    k: {join: all, publish: {last: <% $.n %>}}"""
    sim, run_id = started(body)
    sim.answer(run_id, "b")
    assert join(sim, run_id, "k").state == "WAITING"
    sim.answer(run_id, "b")
    sim.answer(run_id, "slow")
    assert sim.store.runs[run_id]["output"] == {"last": 2}


@pytest.mark.parametrize("back", ["c", "a"], ids=["two tasks", "itself"])
def test_eng_077_a_branch_that_loops_before_the_join_can_still_trigger(
    back: str,
) -> None:
    """The join waits as long as another pass may lead to it, and fails when
    none can."""
    body = """w:
  input: [wanted]
  tasks:
    s: {publish: {n: 0}, on-success: [b, a]}
    b: {on-success: j}
    a:
      action: std.sleep
      publish: {n: <% $.n + 1 %>}
      on-success: [{BACK: <% $.n < 3 %>}, {j: <% $.n = $.wanted %>}]
    j: {join: all, on-error: h}
    h: {description: x}"""
    if back == "c":
        body += "\n    c: {on-success: a}"
    sim = simulator(body.replace("BACK", back))
    row = sim.run("w", {"wanted": 3})
    assert (row["state"], join(sim, row["id"]).state) == (SUCCESS, SUCCESS)
    assert "h" not in sim.states(row["id"])
    row = sim.run("w", {"wanted": 9})
    assert join(sim, row["id"]).state_info == "Failed by tasks: ['a']"
    assert sim.states(row["id"])["h"] == SUCCESS


def test_eng_077_an_upstream_loop_keeps_the_join_waiting() -> None:
    body = """w:
  tasks:
    s: {publish: {n: 0}, on-success: [b, x]}
    b: {on-success: j}
    x:
      publish: {n: <% $.n + 1 %>}
      on-success: [{y: <% $.n < 3 %>}, {z: <% $.n >= 3 %>}]
    y: {action: std.async_noop, on-success: x}
    z: {on-success: j}
    j: {join: all}"""
    sim, run_id = started(body)
    assert join(sim, run_id).state == "WAITING"
    sim.answer(run_id, "y")
    sim.answer(run_id, "y")
    assert times(sim, run_id, "j") == 1
    assert state(sim, run_id) == SUCCESS


def test_eng_096_the_latest_execution_of_an_inbound_task_counts() -> None:
    body = """w:
  output: {n: <% $.seen %>}
  tasks:
    s: {publish: {n: 0}, on-success: [a, b]}
    a: {publish: {n: <% $.n + 1 %>}, on-success: [{a: <% $.n < 3 %>}, j]}
    b: {action: std.async_noop, on-success: j}
    j: {join: all, publish: {seen: <% $.n %>}}"""
    sim, run_id = started(body)
    sim.answer(run_id, "b")
    assert times(sim, run_id, "j") == 1
    assert sim.store.runs[run_id]["output"] == {"n": 3}
    last = sim.tasks(run_id, "a")[-1].id
    causes = join(sim, run_id).runtime_context["triggered_by"]
    assert last in [cause["task_id"] for cause in causes]


def test_eng_080_096_a_straggler_of_an_earlier_pass_is_absorbed() -> None:
    """The slow branch of each pass comes when its pass is over."""
    body = """w:
  output: {n: <% $.n %>}
  tasks:
    s: {publish: {n: 0}, on-success: [a, b]}
    a: {action: std.async_noop, on-success: j}
    b: {action: std.async_noop, on-success: j}
    j:
      join: one
      publish: {n: <% $.n + 1 %>}
      on-success: [{a: <% $.n < 3 %>}, {b: <% $.n < 3 %>}]"""
    sim, run_id = started(body)

    def answer(name: str, number: int) -> None:
        owner = sim.tasks(run_id, name)[number].id
        [action] = [
            row
            for row in sim.store.action_rows.values()
            if row["task_execution_id"] == owner
        ]
        sim.ask(UpdateAction, run_id, action_id=action["id"], state=SUCCESS)

    answer("a", 0)
    assert times(sim, run_id, "j") == 1
    answer("a", 1)
    assert times(sim, run_id, "j") == 2
    # Both belong to passes that are decided.
    answer("b", 0)
    answer("b", 1)
    assert times(sim, run_id, "j") == 2
    answer("b", 2)
    assert times(sim, run_id, "j") == 3
    answer("a", 2)
    assert times(sim, run_id, "j") == 3
    assert sim.store.runs[run_id]["output"] == {"n": 3}


def test_eng_096_an_inbound_task_that_runs_twice_runs_the_join_again() -> None:
    """Two routes to a task that is no join: two executions, two triggers."""
    body = """w:
  tasks:
    a: {on-success: t}
    b: {action: std.async_noop, on-success: t}
    t: {on-success: j}
    j: {join: all, on-success: after}
    after: {description: x}"""
    sim, run_id = started(body)
    assert times(sim, run_id, "j") == 1
    sim.answer(run_id, "b")
    assert (times(sim, run_id, "j"), count(sim, run_id)["after"]) == (2, 2)


def test_eng_096_the_body_fails_sometimes() -> None:
    """A failed pass goes round by ``on-error``; each pass has its own retries."""
    body = """w:
  output: {n: <% $.n %>}
  output-on-error: {n: <% $.n %>}
  tasks:
    s: {publish: {n: 0}, on-success: [a, b]}
    a: {publish: {n: <% $.n + 1 %>}, on-success: j}
    b: {on-success: j}
    j:
      join: all
      action: std.sleep
      retry: {count: 1, delay: 2}
      on-error: [a, b]"""
    answers = [ERROR, ERROR, ERROR, SUCCESS]
    sim = Simulator(
        "version: '2.0'\n\n" + body, script=lambda call: (answers.pop(0), None)
    )
    row = sim.run("w")
    assert answers == []
    assert (row["state"], row["output"]) == (SUCCESS, {"n": 2})
    context = join(sim, row["id"]).runtime_context
    assert context["retry_task_policy"] == {"retry_no": 1}


def test_eng_010_096_a_join_that_fails_in_its_second_pass_never_started() -> None:
    body = """w:
  tasks:
    s: {publish: {n: 0}, on-success: [a, b]}
    a: {publish: {n: <% $.n + 1 %>}, on-success: j}
    b: {on-success: [{j: <% $.n = 0 %>}]}
    j: {join: all, publish: {n: <% $.n %>}, on-success: [a, b]}"""
    sim, run_id = started(body)
    found = join(sim, run_id)
    assert (found.state_info, found.started_at) == ("Failed by tasks: ['b']", None)
    assert found.finished_at is not None
    assert found.runtime_context["triggered_by"] == [
        {"task_id": task_id(sim, run_id, "b"), "event": "not triggered"}
    ]
    assert state(sim, run_id) == ERROR


def test_eng_044_049_a_pause_on_the_loop_of_a_join_keeps_the_next_pass() -> None:
    body = """w:
  output: {n: <% $.n %>}
  tasks:
    s: {publish: {n: 0}, on-success: j}
    j:
      join: one
      publish: {n: <% $.n + 1 %>}
      on-success: [{j: <% $.n < 2 %>}, {pause: <% $.n < 2 %>}, after]
    after: {description: x}"""
    sim, run_id = started(body)
    assert state(sim, run_id) == "PAUSED"
    assert count(sim, run_id) == {"s": 1, "j": 1}
    sim.ask(ResumeWorkflow, run_id)
    assert (state(sim, run_id), times(sim, run_id, "j")) == (SUCCESS, 2)
    assert count(sim, run_id)["after"] == 2
