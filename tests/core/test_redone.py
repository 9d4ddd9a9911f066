"""What follows from a task that ran once more while its run goes on."""

from __future__ import annotations

from simulator import CONTEXT, SUCCESS, Simulator

from mistral.messages import RerunTask, ResumeWorkflow

TEXT = """
version: '2.0'

w:
  tasks:
    a: {action: std.fail, on-error: b}
    b: {on-success: j}
    c: {action: std.async_noop, on-success: j}
    j: {join: all}
"""


def test_eng_187_a_second_trigger_of_a_rerun_is_one_arrival() -> None:
    """``a`` runs once more, and so does ``b``, which had reached the join."""
    sim = Simulator(TEXT)
    run_id = sim.start("w")
    sim.settle()
    assert sim.states(run_id)["j"] == "WAITING"
    (failed,) = sim.tasks(run_id, "a")
    values = {"task_id": failed.id, "reset": True, "context": CONTEXT}
    sim.request(RerunTask(run_id=run_id, request_id="q", **values))
    sim.settle()
    assert len(sim.tasks(run_id, "b")) == 2
    sim.answer(run_id, "c")
    assert sim.states(run_id)["j"] == SUCCESS
    assert sim.store.runs[run_id]["state"] == "SUCCESS"


def test_eng_046_a_trigger_behind_a_pause_is_no_second_arrival() -> None:
    """``b`` leads to the join before the pause, and once more behind it."""
    text = """
version: '2.0'

w:
  tasks:
    a: {on-complete: j}
    b: {on-success: j, on-complete: [pause, j]}
    c: {action: std.async_noop, on-success: j}
    j: {join: all}
"""
    sim = Simulator(text)
    run_id = sim.start("w")
    sim.settle()
    assert sim.store.runs[run_id]["state"] == "PAUSED"
    sim.ask(ResumeWorkflow, run_id, env=None)
    sim.answer(run_id, "c")
    assert sim.states(run_id)["j"] == SUCCESS
    assert sim.store.runs[run_id]["state"] == "SUCCESS"
    assert len(sim.tasks(run_id, "j")) == 1
