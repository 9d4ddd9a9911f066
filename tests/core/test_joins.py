"""Joins: when they start and when they fail (ENG-075 to ENG-089)."""

from __future__ import annotations

import pytest
from answered import THREE, count, join, simulator, started, state, task_id, times
from simulator import CONTEXT, ERROR, SUCCESS

from mistral.engine.core.ports import Rules
from mistral.messages import (
    UpdateAction,
)


def test_eng_075_098_join_all_starts_in_the_turn_of_its_last_inbound_task() -> None:
    sim, run_id = started(THREE % "all")
    assert "j" not in sim.states(run_id)
    sim.answer(run_id, "a")
    sim.answer(run_id, "c", ERROR)
    assert join(sim, run_id).state == "WAITING"
    assert join(sim, run_id).state_info == "Task is waiting."
    clock = sim.clock.now()
    sim.answer(run_id, "b")
    assert join(sim, run_id).state == SUCCESS
    assert join(sim, run_id).started_at == clock
    assert state(sim, run_id) == SUCCESS


def test_eng_076_a_join_that_nobody_triggers_has_no_execution() -> None:
    body = """w:
  tasks:
    a: {on-success: [{j: <% false %>}]}
    b: {on-error: j}
    j: {join: all}"""
    sim, run_id = started(body)
    assert sim.states(run_id) == {"a": SUCCESS, "b": SUCCESS}
    assert state(sim, run_id) == SUCCESS


def test_eng_077_085_join_all_fails_while_others_are_open() -> None:
    sim, run_id = started(THREE % "all")
    sim.answer(run_id, "c")
    sim.answer(run_id, "b", ERROR)
    found = join(sim, run_id)
    assert (found.state, found.state_info) == (ERROR, "Failed by tasks: ['b']")
    assert found.started_at is None
    cause = {"task_id": task_id(sim, run_id, "b"), "event": "not triggered"}
    assert found.runtime_context["triggered_by"] == [cause]
    assert sim.states(run_id)["a"] == "RUNNING"
    assert state(sim, run_id) == "RUNNING"


def test_eng_077_nothing_fails_before_one_inbound_task_triggers() -> None:
    sim, run_id = started(THREE % "all")
    sim.answer(run_id, "b", ERROR)
    assert "j" not in sim.states(run_id)
    sim.answer(run_id, "a")
    assert join(sim, run_id).state_info == "Failed by tasks: ['b']"


def test_eng_078_join_2_fails_when_two_of_three_cannot_trigger() -> None:
    sim, run_id = started(THREE % 2)
    sim.answer(run_id, "c")
    sim.answer(run_id, "b", ERROR)
    assert join(sim, run_id).state == "WAITING"
    sim.answer(run_id, "a", ERROR)
    found = join(sim, run_id)
    assert (found.state, found.state_info) == (ERROR, "Failed by tasks: ['a', 'b']")
    assert "triggered_by" not in found.runtime_context or (
        found.runtime_context["triggered_by"] == []
    )


def test_eng_078_join_2_runs_with_two_of_three() -> None:
    sim, run_id = started(THREE % 2)
    sim.answer(run_id, "c")
    sim.answer(run_id, "a")
    assert sim.states(run_id)["after"] == SUCCESS
    assert sim.states(run_id)["b"] == "RUNNING"


def test_eng_079_080_join_one_starts_first_and_once() -> None:
    sim, run_id = started(THREE % "one")
    sim.answer(run_id, "b")
    assert sim.states(run_id)["j"] == sim.states(run_id)["after"] == SUCCESS
    assert sim.states(run_id)["a"] == "RUNNING"
    sim.answer(run_id, "a")
    sim.answer(run_id, "c")
    assert times(sim, run_id, "j") == 1
    assert count(sim, run_id)["after"] == 1
    assert state(sim, run_id) == SUCCESS


def test_eng_080_triggers_while_a_partial_join_runs_are_absorbed() -> None:
    body = """w:
  tasks:
    a: {on-success: j}
    b: {action: std.async_noop, on-success: j}
    j: {join: one, action: std.async_noop, on-success: after}
    after: {description: x}"""
    sim, run_id = started(body)
    assert join(sim, run_id).state == "RUNNING"
    sim.answer(run_id, "b")
    assert join(sim, run_id).state == "RUNNING"
    sim.answer(run_id, "j")
    assert (times(sim, run_id, "j"), count(sim, run_id)["after"]) == (1, 1)
    assert state(sim, run_id) == SUCCESS


def test_eng_080_what_came_while_a_partial_join_ran_is_seen_at_its_end() -> None:
    """§ 2.2, step 3: the inbound context is looked up again at completion."""
    body = """w:
  output: {seen: <% $.seen %>, x: <% $.x %>}
  tasks:
    a: {publish: {x: 1}, on-success: j}
    b: {action: std.async_noop, publish: {y: 2}, on-success: j}
    j:
      join: one
      action: std.async_noop
      publish: {seen: '<% $.get(y, nothing) %>'}"""
    sim, run_id = started(body)
    sim.answer(run_id, "b")
    sim.answer(run_id, "j")
    assert sim.store.runs[run_id]["output"] == {"seen": 2, "x": 1}
    sim, run_id = started(body)
    sim.answer(run_id, "j")
    sim.answer(run_id, "b")
    assert sim.store.runs[run_id]["output"] == {"seen": "nothing", "x": 1}


def test_eng_081_the_failure_of_a_join_reaches_the_next() -> None:
    body = """w:
  tasks:
    a: {on-success: j}
    b: {action: std.fail, on-success: j}
    c: {on-success: k}
    j: {join: all, on-success: k}
    k: {join: all, on-success: l}
    d: {on-success: l}
    l: {join: all}"""
    sim, run_id = started(body)
    assert join(sim, run_id, "k").state_info == "Failed by tasks: ['j']"
    assert join(sim, run_id, "l").state_info == "Failed by tasks: ['k']"
    assert state(sim, run_id) == ERROR


@pytest.mark.parametrize("clause", ["on-error", "on-complete"])
def test_eng_082_a_failed_join_takes_its_clauses(clause: str) -> None:
    body = """w:
  tasks:
    a: {on-success: j}
    b: {action: std.fail, on-success: j, on-error: noop}
    j: {join: all, publish-on-error: {why: broken}, %s: h}
    h: {publish: {seen: <%% $.why %%>}}
  output: {seen: <%% $.seen %%>}"""
    sim, run_id = started(body % clause)
    assert sim.states(run_id)["h"] == SUCCESS
    assert sim.tasks(run_id, "h")[0].published == {"seen": "broken"}
    assert state(sim, run_id) == (SUCCESS if clause == "on-error" else ERROR)


def test_eng_083_a_failed_join_is_handled_once() -> None:
    sim, run_id = started(THREE % "all")
    sim.answer(run_id, "a", ERROR)
    sim.answer(run_id, "b")
    assert count(sim, run_id)["sorry"] == 1
    sim.answer(run_id, "c")
    assert count(sim, run_id)["sorry"] == 1
    assert join(sim, run_id).state == ERROR


def test_eng_084_triggered_by_names_all_inbound_executions() -> None:
    sim, run_id = started(THREE % "all")
    for name in "cba":
        sim.answer(run_id, name, ERROR if name == "c" else SUCCESS)
    causes = join(sim, run_id).runtime_context["triggered_by"]
    events = {"a": "on-success", "b": "on-success", "c": "on-complete"}
    assert sorted(c["task_id"] for c in causes) == sorted(
        task_id(sim, run_id, name) for name in "abc"
    )
    for cause in causes:
        [name] = [n for n in "abc" if task_id(sim, run_id, n) == cause["task_id"]]
        assert cause["event"] == events[name]


def test_eng_086_a_branch_that_ended_upstream_fails_the_join() -> None:
    body = """w:
  tasks:
    s: {action: std.fail, on-success: b, on-error: noop}
    b: {on-success: c}
    c: {on-success: j}
    a: {action: std.async_noop, on-success: j}
    j: {join: all}"""
    sim, run_id = started(body)
    sim.answer(run_id, "a")
    assert join(sim, run_id).state_info == "Failed by tasks: ['c']"
    assert state(sim, run_id) == ERROR


def test_eng_086_a_branch_that_ends_later_fails_the_waiting_join() -> None:
    body = """w:
  tasks:
    s: {action: std.async_noop, on-success: b, on-error: noop}
    b: {on-success: c}
    c: {on-success: j}
    a: {on-success: j}
    j: {join: all}"""
    sim, run_id = started(body)
    assert join(sim, run_id).state == "WAITING"
    sim.answer(run_id, "s", ERROR)
    assert join(sim, run_id).state_info == "Failed by tasks: ['c']"


@pytest.mark.parametrize(
    "policy", ["wait-before: 100", "wait-after: 100", "retry: {count: 1, delay: 100}"]
)
def test_eng_087_a_delayed_chain_keeps_the_join_waiting(policy: str) -> None:
    body = """w:
  tasks:
    s: {action: std.%s, %s, on-complete: b, on-error: noop}
    b: {on-success: j}
    a: {on-success: j}
    j: {join: all}"""
    action = "fail" if policy.startswith("retry") else "noop"
    sim = simulator(body % (action, policy))
    run_id = sim.start("w")
    while sim.queue:
        sim.request(sim.queue.pop(0)[0])
    assert sim.states(run_id) == {"s": "DELAYED", "a": SUCCESS, "j": "WAITING"}
    sim.settle()
    assert join(sim, run_id).state == SUCCESS


def test_eng_088_a_cancelled_inbound_task_does_not_trigger() -> None:
    sim, run_id = started(THREE % "all")
    sim.answer(run_id, "a")
    sim.answer(run_id, "c", "CANCELLED")
    assert join(sim, run_id).state_info == "Failed by tasks: ['c']"
    sim.answer(run_id, "b")
    assert state(sim, run_id) == "CANCELLED"


def test_eng_089_an_unexecuted_cycle_is_no_route() -> None:
    body = """w:
  tasks:
    s: {on-success: [{x: <% false %>}, a]}
    x: {on-success: y}
    y: {on-success: [x, j]}
    a: {on-success: j}
    j: {join: all}"""
    sim, run_id = started(body)
    assert join(sim, run_id).state_info == "Failed by tasks: ['y']"


# -- Joins that can never be satisfied ----------------------------------------


def test_eng_074_089_two_joins_that_wait_for_each_other_end() -> None:
    body = """w:
  tasks:
    s: {on-success: [j, k, slow]}
    slow: {action: std.async_noop}
    j: {join: all, on-success: k}
    k: {join: all, on-success: j}"""
    sim, run_id = started(body)
    sim.answer(run_id, "slow")
    assert join(sim, run_id, "j").state_info == "Failed by tasks: ['k']"
    assert join(sim, run_id, "k").state_info == "Failed by tasks: ['j']"
    assert state(sim, run_id) == ERROR


def test_eng_074_the_handler_of_one_stalled_join_may_free_the_other() -> None:
    body = """w:
  tasks:
    s: {on-success: [j, k]}
    j: {join: all, on-success: k, on-error: k}
    k: {join: all, on-success: [{j: <% false %>}]}"""
    sim, run_id = started(body)
    assert join(sim, run_id).state_info == "Failed by tasks: ['k']"
    assert join(sim, run_id, "k").state == SUCCESS
    assert state(sim, run_id) == SUCCESS


def test_eng_074_a_join_that_only_itself_leads_to_ends() -> None:
    body = """w:
  tasks:
    s: {on-success: j}
    j: {join: all, on-success: b}
    b: {on-success: j}"""
    sim, run_id = started(body)
    assert join(sim, run_id).state_info == "Failed by tasks: ['b']"
    assert state(sim, run_id) == ERROR


@pytest.mark.parametrize("after", ["j", "noop"])
def test_eng_050_074_a_turn_at_its_limit_does_not_end_what_is_left(
    after: str,
) -> None:
    """Another event comes before the turn that goes on."""
    body = """w:
  tasks:
    s: {on-success: [a, b, c, slow]}
    slow: {action: std.async_noop, on-success: AFTER}
    a: {on-success: a2}
    a2: {on-success: j}
    b: {on-success: b2}
    b2: {on-success: j}
    c: {on-success: c2}
    c2: {description: x}
    j: {join: all}"""
    sim = simulator(body.replace("AFTER", after), rules=Rules(steps=1))
    run_id = sim.start("w")
    while not sim.offers:
        sim.request(sim.queue.pop(0)[0])
    assert sim.queue, "the turn stopped at its limit"
    [action_id] = sim.offers
    more = {"request_id": "q", "context": CONTEXT, "state": SUCCESS}
    sim.request(UpdateAction(run_id=run_id, action_id=action_id, **more))
    sim.settle()
    assert join(sim, run_id).state == SUCCESS
    assert sim.states(run_id)["c2"] == SUCCESS
    assert state(sim, run_id) == SUCCESS


# -- Commands beside joins ----------------------------------------------------


@pytest.mark.parametrize("command", ["fail", "succeed"])
def test_eng_038_068_a_join_before_the_end_does_not_start(command: str) -> None:
    body = """w:
  tasks:
    a: {on-success: [j, %s]}
    b: {action: std.async_noop, on-success: j}
    j: {join: all}"""
    sim, run_id = started(body % command)
    assert state(sim, run_id) == (ERROR if command == "fail" else SUCCESS)
    sim.answer(run_id, "b")
    assert times(sim, run_id, "j") == 0
    assert join(sim, run_id).state == "CANCELLED"


def test_eng_035_a_join_in_two_clauses_of_one_task_runs_once() -> None:
    body = """w:
  tasks:
    a: {on-success: j, on-complete: j}
    b: {on-success: j}
    j: {join: all}"""
    sim, run_id = started(body)
    assert times(sim, run_id, "j") == 1
    assert state(sim, run_id) == SUCCESS
