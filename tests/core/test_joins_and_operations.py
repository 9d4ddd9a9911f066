"""Joins that policies, users and ends of runs hold up, repeat or end (ENG-090 to
ENG-095)."""

from __future__ import annotations

import pytest
from answered import THREE, count, join, simulator, started, state, task_id, times
from simulator import ERROR, SUCCESS, Simulator

from mistral.messages import (
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    SkipTask,
    StopWorkflow,
)


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


def rerun(sim: Simulator, run_id: str, name: str) -> None:
    sim.ask(RerunTask, run_id, task_id=task_id(sim, run_id, name), reset=True)


@pytest.mark.parametrize("seed", range(6))
def test_eng_094_branches_of_a_rerun_fork_meet_once(seed: int) -> None:
    """The join waits for the longer one again, and takes what it brings now."""
    body = """w:
  output: {b: <% $.b %>}
  tasks:
    s: {action: std.fail, on-complete: [a, b]}
    a: {on-success: j}
    b: {on-success: c}
    c: {action: std.async_noop, publish: {b: <% task().result %>}, on-success: j}
    j: {join: all, on-success: after}
    after: {description: x}"""
    sim, run_id = started(body, seed=seed)
    sim.answer(run_id, "c", result=1)
    assert (times(sim, run_id, "j"), count(sim, run_id)["after"]) == (1, 1)
    rerun(sim, run_id, "s")
    assert (join(sim, run_id).state, times(sim, run_id, "j")) == ("WAITING", 1)
    sim.answer(run_id, "c", result=2)
    assert (times(sim, run_id, "j"), count(sim, run_id)["after"]) == (2, 2)
    assert sim.tasks(run_id, "after")[-1].in_context == {"b": 2}


@pytest.mark.parametrize("kind", ["all", "one"])
def test_eng_096_a_loop_behind_a_rerun_task_runs_its_join_in_each_pass(
    kind: str,
) -> None:
    """They are no late branches of the passes before."""
    body = """w:
  tasks:
    s: {action: std.fail, publish-on-error: {n: 0}, on-complete: [a, b]}
    a: {on-success: j}
    b: {on-success: j}
    j:
      join: %s
      publish: {n: <% $.n + 1 %>}
      on-success: [{a: <% $.n < 2 %>}, {b: <% $.n < 2 %>}, {end: <% $.n = 2 %>}]
    end: {description: x}"""
    sim, run_id = started(body.replace("%s", kind))
    assert (times(sim, run_id, "j"), count(sim, run_id)["end"]) == (2, 1)
    rerun(sim, run_id, "s")
    assert (times(sim, run_id, "j"), count(sim, run_id)["end"]) == (4, 2)


@pytest.mark.parametrize("first", ["a", "x"])
def test_eng_080_a_partial_join_that_ran_absorbs_who_is_rerun(first: str) -> None:
    """It has not fired in this round, whenever it had failed (Q35)."""
    body = """w:
  tasks:
    a: {action: std.async_noop, on-success: j}
    x: {action: std.async_noop, on-success: j}
    j: {join: one, on-success: after}
    after: {description: x}"""
    sim, run_id = started(body)
    for name in (first, "x" if first == "a" else "a"):
        sim.answer(run_id, name, ERROR if name == "x" else SUCCESS)
    rerun(sim, run_id, "x")
    sim.answer(run_id, "x")
    assert (times(sim, run_id, "j"), count(sim, run_id)["after"]) == (1, 1)
    assert state(sim, run_id) == SUCCESS


@pytest.mark.parametrize("order", ["bc", "cb"])
@pytest.mark.parametrize("again", ["bc", "cb"])
def test_eng_083_094_each_rerun_looks_at_a_failed_join_once(
    order: str, again: str
) -> None:
    """It fails again for the other one, whichever of them it had failed for."""
    body = """w:
  tasks:
    a: {on-success: j}
    b: {action: std.async_noop, on-success: j}
    c: {action: std.async_noop, on-success: j}
    j: {join: all, on-success: after, on-error: sorry}
    after: {description: x}
    sorry: {description: x}"""
    sim, run_id = started(body)
    for name in order:
        sim.answer(run_id, name, ERROR)
    assert count(sim, run_id)["sorry"] == 1
    for name, sorry in zip(again, (2, 2), strict=True):
        rerun(sim, run_id, name)
        sim.answer(run_id, name)
        assert count(sim, run_id)["sorry"] == sorry
    assert (join(sim, run_id).state, state(sim, run_id)) == (SUCCESS, SUCCESS)
    assert count(sim, run_id)["after"] == 1
