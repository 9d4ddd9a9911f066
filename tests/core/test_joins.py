"""Joins: when they start, fail, wait and run again (ENG-075 to ENG-098)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.messages import (
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    SkipTask,
    StopWorkflow,
    UpdateAction,
)


def simulator(body: str, **more: Any) -> Simulator:
    """``std.async_noop`` waits for ``answer``; others end by themselves."""
    return Simulator("version: '2.0'\n\n" + body, script=standard, **more)


def standard(call: Any) -> tuple[str, Any] | None:
    if call["name"] == "std.async_noop":
        return None
    if call["name"] == "std.fail":
        return ERROR, "failed"
    return SUCCESS, call.get("output")


def started(body: str, **more: Any) -> tuple[Simulator, str]:
    sim = simulator(body, **more)
    run_id = sim.start("w")
    sim.settle()
    return sim, run_id


def state(sim: Simulator, run_id: str) -> str:
    found: str = sim.store.runs[run_id]["state"]
    return found


def join(sim: Simulator, run_id: str, name: str = "j") -> Any:
    [task] = sim.tasks(run_id, name)
    return task


def times(sim: Simulator, run_id: str, name: str) -> int:
    """How often the action of a task was started."""
    ids = {task.id for task in sim.tasks(run_id, name)}
    rows = sim.store.action_rows.values()
    return sum(row["task_execution_id"] in ids for row in rows)


def count(sim: Simulator, run_id: str) -> Counter[str]:
    return Counter(task.name for task in sim.tasks(run_id))


def task_id(sim: Simulator, run_id: str, name: str) -> str:
    found: str = sim.tasks(run_id, name)[-1].id
    return found


THREE = """w:
  tasks:
    a: {action: std.async_noop, on-success: j}
    b: {action: std.async_noop, on-success: j}
    c: {action: std.async_noop, on-complete: j, on-error: noop}
    j: {join: %s, on-success: after, on-error: sorry}
    after: {description: x}
    sorry: {description: x}"""


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


def test_eng_090_wait_before_and_timeout_of_a_join() -> None:
    body = """w:
  tasks:
    a: {on-success: j}
    j: {join: all, wait-before: 5, timeout: 8, action: std.async_noop}"""
    sim = simulator(body)
    run_id = sim.start("w")
    found = join(sim, run_id)
    assert found.state == "DELAYED"
    assert found.state_info == "Delayed by 'wait-before' policy [delay=5]"
    begun = sim.clock.now()
    sim.settle()
    assert join(sim, run_id).state_info == "Task timed out [timeout(s)=8]."
    assert (sim.clock.now() - begun).total_seconds() == 8


def test_eng_090_pause_before_and_concurrency_of_a_join() -> None:
    body = """w:
  tasks:
    a: {on-success: j}
    j:
      join: all
      pause-before: true
      with-items: i in <% range(3) %>
      concurrency: 2
      action: std.async_noop"""
    sim, run_id = started(body)
    assert (state(sim, run_id), join(sim, run_id).state) == ("PAUSED", "IDLE")
    sim.ask(ResumeWorkflow, run_id)
    assert join(sim, run_id).state == "RUNNING"
    assert times(sim, run_id, "j") == 2


@pytest.mark.parametrize("first", [0, 1, 2])
def test_eng_091_092_a_join_starts_nothing_in_a_paused_run(first: int) -> None:
    """Whether the join exists before the pause or not."""
    body = """w:
  tasks:
    a: {action: std.async_noop, on-success: j}
    b: {action: std.async_noop, on-success: j}
    j: {join: all, action: std.async_noop}"""
    sim, run_id = started(body)
    names = ["a", "b"]
    for name in names[:first]:
        if first == 1:
            sim.answer(run_id, name)
    sim.ask(PauseWorkflow, run_id, message=None)
    for name in names[1:] if first == 1 else names:
        sim.answer(run_id, name)
    assert times(sim, run_id, "j") == 0
    assert state(sim, run_id) == "PAUSED"
    sim.ask(ResumeWorkflow, run_id)
    assert times(sim, run_id, "j") == 1
    sim.answer(run_id, "j")
    assert state(sim, run_id) == SUCCESS


def test_eng_091_a_join_fails_after_resume_when_an_inbound_task_failed() -> None:
    sim, run_id = started(THREE % "all")
    sim.answer(run_id, "a")
    sim.ask(PauseWorkflow, run_id, message=None)
    sim.answer(run_id, "b", ERROR)
    sim.answer(run_id, "c")
    assert join(sim, run_id).state == "WAITING"
    sim.ask(ResumeWorkflow, run_id)
    assert join(sim, run_id).state_info == "Failed by tasks: ['b']"
    assert state(sim, run_id) == ERROR


def test_eng_092_the_retry_of_a_join_waits_for_resume() -> None:
    body = """w:
  tasks:
    a: {on-success: j}
    j: {join: all, action: std.async_noop, retry: {count: 1, delay: 5}}"""
    sim, run_id = started(body)
    sim.ask(PauseWorkflow, run_id, message=None)
    sim.answer(run_id, "j", ERROR)
    assert (join(sim, run_id).state, times(sim, run_id, "j")) == ("WAITING", 1)
    sim.ask(ResumeWorkflow, run_id)
    assert times(sim, run_id, "j") == 2
    sim.answer(run_id, "j")
    assert state(sim, run_id) == SUCCESS


def test_eng_093_variables_of_a_skipped_inbound_task_reach_the_join() -> None:
    body = """w:
  tasks:
    a: {action: std.fail, publish-on-skip: {v: 7}, on-success: j}
    b: {on-success: j}
    j: {join: all, publish: {seen: <% $.v %>}}
  output: {seen: <% $.seen %>}"""
    sim, run_id = started(body)
    assert state(sim, run_id) == ERROR
    sim.ask(SkipTask, run_id, task_id=task_id(sim, run_id, "a"))
    assert join(sim, run_id).state == SUCCESS
    assert sim.store.runs[run_id]["output"] == {"seen": 7}


FAILED = """w:
  tasks:
    a: {action: std.async_noop, on-success: j}
    b: {on-success: j}
    j: {join: all, action: std.async_noop}"""


def test_eng_094_rerun_of_the_failed_inbound_task_runs_the_join() -> None:
    sim, run_id = started(FAILED)
    sim.answer(run_id, "a", ERROR)
    assert state(sim, run_id) == ERROR
    sim.ask(RerunTask, run_id, task_id=task_id(sim, run_id, "a"), reset=True)
    assert join(sim, run_id).state == ERROR
    sim.answer(run_id, "a")
    assert join(sim, run_id).state == "RUNNING"
    sim.answer(run_id, "j")
    assert state(sim, run_id) == SUCCESS


def test_eng_094_two_failed_inbound_tasks_are_rerun_at_the_same_time() -> None:
    """The join is not failed again by the one that still runs."""
    sim, run_id = started(THREE % 2)
    sim.answer(run_id, "c")
    sim.answer(run_id, "b", ERROR)
    sim.answer(run_id, "a", ERROR)
    assert join(sim, run_id).state == ERROR
    for name in "ab":
        sim.ask(RerunTask, run_id, task_id=task_id(sim, run_id, name), reset=True)
    sim.answer(run_id, "b")
    assert join(sim, run_id).state == SUCCESS
    assert count(sim, run_id)["sorry"] == 1


def test_eng_094_all_of_several_reruns_are_awaited() -> None:
    sim, run_id = started(THREE.replace("%s", "all"))
    sim.answer(run_id, "c")
    sim.answer(run_id, "b", ERROR)
    sim.answer(run_id, "a", ERROR)
    sim.ask(RerunTask, run_id, task_id=task_id(sim, run_id, "b"), reset=True)
    sim.ask(RerunTask, run_id, task_id=task_id(sim, run_id, "a"), reset=True)
    sim.answer(run_id, "b")
    assert join(sim, run_id).state == "WAITING"
    sim.answer(run_id, "a")
    assert join(sim, run_id).state == SUCCESS
    assert state(sim, run_id) == SUCCESS


def test_eng_095_a_failed_join_is_rerun_whatever_its_inbound_tasks() -> None:
    sim, run_id = started(FAILED)
    sim.answer(run_id, "a", ERROR)
    sim.ask(RerunTask, run_id, task_id=task_id(sim, run_id, "j"), reset=True)
    assert join(sim, run_id).state == "RUNNING"
    assert sim.states(run_id)["a"] == ERROR


# -- Loops --------------------------------------------------------------------

LOOPS = {
    "ENG-096 all": """w:
  output: {n: <% $.n %>, r: <% task(j).result %>}
  tasks:
    s: {publish: {n: 0}, on-success: [a, b]}
    a: {on-success: j}
    b: {on-success: j}
    j:
      join: all
      action: std.echo output=<% $.n %>
      publish: {n: <% $.n + 1 %>}
      on-success: [{a: <% $.n < 3 %>}, {b: <% $.n < 3 %>}]""",
    "ENG-096 one, both branches in the loop": """w:
  output: {n: <% $.n %>, r: <% task(j).result %>}
  tasks:
    s: {publish: {n: 0}, on-success: [a, b]}
    a: {on-success: j}
    b: {on-success: j}
    j:
      join: one
      action: std.echo output=<% $.n %>
      publish: {n: <% $.n + 1 %>}
      on-success: [{a: <% $.n < 3 %>}, {b: <% $.n < 3 %>}]""",
    "ENG-096 one, entry and back edge": """w:
  output: {n: <% $.n %>, r: <% task(j).result %>}
  tasks:
    s: {publish: {n: 0}, on-success: j}
    j:
      join: one
      action: std.echo output=<% $.n %>
      publish: {n: <% $.n + 1 %>}
      on-success: [{b: <% $.n < 3 %>}]
    b: {on-success: j}""",
    "ENG-096 one, the back edge has another way in": """w:
  output: {n: <% $.n %>, r: <% task(j).result %>}
  tasks:
    s: {publish: {n: 0}, on-success: [j, late]}
    late: {action: std.sleep, on-success: [{b: <% false %>}]}
    j:
      join: one
      action: std.echo output=<% $.n %>
      publish: {n: <% $.n + 1 %>}
      on-success: [{b: <% $.n < 3 %>}]
    b: {on-success: j}""",
    "ENG-096 two of three": """w:
  output: {n: <% $.n %>, r: <% task(j).result %>}
  tasks:
    s: {publish: {n: 0}, on-success: [a, b]}
    a: {on-success: j}
    b: {on-success: j}
    c: {on-success: j}
    j:
      join: 2
      action: std.echo output=<% $.n %>
      publish: {n: <% $.n + 1 %>}
      on-success: [{c: <% $.n < 3 %>}]""",
    "ENG-096 only one branch goes round again": """w:
  output: {n: <% $.n %>, r: <% task(j).result %>}
  tasks:
    s: {publish: {n: 0}, on-success: [a, b]}
    a: {on-success: j}
    b: {on-success: j}
    j:
      join: all
      action: std.echo output=<% $.n %>
      publish: {n: <% $.n + 1 %>}
      on-success: [{a: <% $.n < 3 %>}]""",
    "ENG-096 the join is its own inbound task": """w:
  output: {n: <% $.n %>, r: <% task(j).result %>}
  tasks:
    s: {publish: {n: 0}, on-success: j}
    j:
      join: one
      action: std.echo output=<% $.n %>
      publish: {n: <% $.n + 1 %>}
      on-success: [{j: <% $.n < 3 %>}]""",
    "ENG-096 a join leads to a join": """w:
  output: {n: <% $.n %>, r: <% task(j).result %>}
  tasks:
    s: {publish: {n: 0}, on-success: [a, k]}
    k: {join: one, on-success: j}
    a: {on-success: j}
    j:
      join: all
      action: std.echo output=<% $.n %>
      publish: {n: <% $.n + 1 %>}
      on-success: [{k: <% $.n < 3 %>}, {a: <% $.n < 3 %>}]""",
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


def test_eng_074_stalled_joins_of_a_paused_run_are_decided_at_resume() -> None:
    body = """w:
  tasks:
    s: {action: std.async_noop, on-success: [j, k]}
    j: {join: all, on-success: k}
    k: {join: all, on-success: j}"""
    sim, run_id = started(body)
    sim.ask(PauseWorkflow, run_id, message=None)
    sim.answer(run_id, "s")
    assert sim.states(run_id) == {"s": SUCCESS}
    sim.ask(ResumeWorkflow, run_id)
    assert state(sim, run_id) == ERROR


def test_eng_074_a_branch_that_fail_dropped_does_not_hold_a_reopened_run() -> None:
    body = """w:
  tasks:
    a: {on-success: [fail, x]}
    x: {on-success: j}
    b: {action: std.async_noop, on-success: j}
    j: {join: all}"""
    sim, run_id = started(body)
    assert state(sim, run_id) == ERROR
    sim.answer(run_id, "b", ERROR)
    sim.ask(RerunTask, run_id, task_id=task_id(sim, run_id, "b"), reset=True)
    sim.answer(run_id, "b")
    assert join(sim, run_id).state_info == "Failed by tasks: ['x']"
    assert state(sim, run_id) == ERROR


def test_eng_068_074_a_waiting_join_ends_with_its_run() -> None:
    sim, run_id = started(THREE % "all")
    sim.answer(run_id, "a")
    sim.ask(StopWorkflow, run_id, state="ERROR", message="enough")
    assert join(sim, run_id).state == "CANCELLED"
    sim.answer(run_id, "b")
    sim.answer(run_id, "c")
    assert times(sim, run_id, "j") == 0


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


def test_eng_049_a_join_behind_pause_waits_for_its_other_inbound_tasks() -> None:
    body = """w:
  tasks:
    a: {on-success: [pause, j]}
    b: {action: std.async_noop, on-success: j}
    j: {join: all}"""
    sim, run_id = started(body)
    assert state(sim, run_id) == "PAUSED"
    sim.ask(ResumeWorkflow, run_id)
    assert join(sim, run_id).state == "WAITING"
    sim.answer(run_id, "b")
    assert join(sim, run_id).state == SUCCESS
    assert state(sim, run_id) == SUCCESS


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
