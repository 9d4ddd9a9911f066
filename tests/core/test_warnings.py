"""Warnings for who asks for them: slow tasks, repetitions, advice (decision 0046)."""

from __future__ import annotations

from typing import Any

import pytest
from simulator import CONTEXT, Simulator

from mistral.engine.core.ports import Rules
from mistral.messages import RerunTask, UpdateAction

SLOW = """
version: '2.0'
w:
  tasks:
    quick: {action: std.noop}
    slow: {action: std.async_noop, on-success: after}
    after: {action: std.async_noop}
"""

ASKS = {"type": "x", "event_types": ["TASK_WARNING"]}


def begun(notify: Any, *, text: str = SLOW, slow_task: float = 600) -> Any:
    """A simulator, and a run of ``w`` in it whose time stands still."""
    simulator = Simulator(text, rules=Rules(slow_task=slow_task))
    run_id = simulator.start("w", notify=notify)
    simulator.settle(simulator.later(0))
    return simulator, run_id


def warned(simulator: Simulator) -> list[tuple[str, str, float]]:
    """Who was warned of which task, after how many seconds."""
    return [
        (n.publishers[0]["type"], n.data["name"], n.data["warning"]["seconds"])
        for n in simulator.notices
        if n.event == "TASK_WARNING"
    ]


def wait(simulator: Simulator, seconds: float) -> None:
    simulator.settle(simulator.later(seconds))


def test_each_hears_of_a_slow_task_at_its_time_and_once() -> None:
    early = {**ASKS, "type": "early", "slow_after": 100}
    simulator, _ = begun([early, ASKS, {"type": "all"}])
    wait(simulator, 99)
    assert warned(simulator) == []
    wait(simulator, 1)
    assert warned(simulator) == [("early", "slow", 100)]
    wait(simulator, 500)
    assert warned(simulator) == [("early", "slow", 100), ("x", "slow", 600)]
    simulator.notices.clear()
    wait(simulator, 5000)
    assert simulator.notices == []


def test_a_warning_is_the_task_as_it_is_and_why() -> None:
    simulator, _ = begun([{**ASKS, "slow_after": 2.5}])
    wait(simulator, 3)
    [notice] = simulator.notices
    assert (notice.data["name"], notice.data["state"]) == ("slow", "RUNNING")
    assert notice.data["event"] == "TASK_WARNING"
    assert notice.data["warning"] == {
        "code": "slow-task",
        "text": "The task slow has not ended 2.5 seconds after its start.",
        "seconds": 2.5,
    }


def test_nobody_is_warned_of_a_task_that_ends_in_time() -> None:
    simulator, run_id = begun([{**ASKS, "slow_after": 100}])
    wait(simulator, 90)
    for name in ("slow", "after"):
        [task] = simulator.tasks(run_id, name)
        assert task.state == "RUNNING"
        answer_now(simulator, run_id, name)
        wait(simulator, 50)
    assert simulator.store.runs[run_id]["state"] == "SUCCESS"
    wait(simulator, 500)
    assert warned(simulator) == []


def answer_now(
    simulator: Simulator, run_id: str, name: str, state: str = "SUCCESS"
) -> None:
    """As ``Simulator.answer``, and time stands still."""
    [task] = simulator.tasks(run_id, name)
    [action] = [
        row
        for row in simulator.store.action_rows.values()
        if row["task_execution_id"] == task.id
    ]
    simulator.request(
        UpdateAction(
            run_id=run_id,
            action_id=action["id"],
            state=state,
            request_id=name,
            context=CONTEXT,
        )
    )
    simulator.settle(simulator.later(0))


def test_a_task_that_starts_again_is_slow_again() -> None:
    simulator, run_id = begun([{**ASKS, "slow_after": 50}])
    wait(simulator, 100)
    answer_now(simulator, run_id, "slow", "ERROR")
    [task] = simulator.tasks(run_id, "slow")
    simulator.request(
        RerunTask(run_id=run_id, task_id=task.id, request_id="r", context=CONTEXT)
    )
    simulator.settle(simulator.later(0))
    wait(simulator, 100)
    assert warned(simulator) == [("x", "slow", 50)] * 2


def test_repetitions_belong_to_the_same_start() -> None:
    text = """
version: '2.0'
w: {tasks: {t: {action: std.fail, retry: {count: 9, delay: 30}, on-error: noop}}}
"""
    asks = {"type": "x", "event_types": ["TASK_WARNING", "TASK_RETRIED"]}
    simulator, _ = begun([{**asks, "slow_after": 100}], text=text)
    wait(simulator, 1000)
    events = [notice.event for notice in simulator.notices]
    assert events.count("TASK_WARNING") == 1
    assert events.count("TASK_RETRIED") == 9
    first = simulator.notices[0]
    assert first.data["warning"]["code"] == "retried"
    assert first.data["warning"]["text"] == first.data["state_info"]


@pytest.mark.parametrize("after", [None, "soon", -1, 0, True, 10**12])
def test_what_is_no_time_is_the_operators_choice(after: Any) -> None:
    simulator, _ = begun([{**ASKS, "slow_after": after}], slow_task=100)
    wait(simulator, 150)
    assert warned(simulator) == [("x", "slow", 100)]


def test_where_the_operator_wants_none_only_who_says_when_is_warned() -> None:
    simulator, _ = begun([ASKS], slow_task=0)
    assert simulator.timers == []
    simulator, _ = begun([{**ASKS, "slow_after": 5}], slow_task=0)
    wait(simulator, 10)
    assert warned(simulator) == [("x", "slow", 5)]


def test_runs_that_nobody_asks_about_have_no_timers() -> None:
    simulator, _ = begun([{"type": "all"}, {"event_types": ["TASK_FAILED"]}])
    assert simulator.timers == []


def test_advice_is_told_when_a_root_run_begins() -> None:
    text = """
version: '2.0'
w:
  output: {y: <% $.nobody %>}
  tasks: {t: {action: std.noop}}
"""
    asks = {"type": "x", "event_types": ["WORKFLOW_WARNING"]}
    simulator, run_id = begun([asks, {"type": "all"}], text=text)
    [notice] = [n for n in simulator.notices if n.event == "WORKFLOW_WARNING"]
    assert (notice.object_id, notice.publishers) == (run_id, (asks,))
    assert notice.data["warning"]["code"] == "advice"
    [piece] = notice.data["warning"]["advice"]
    assert (piece["rule"], piece["path"]) == ("LINT-11", "w.output.y")
