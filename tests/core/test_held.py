"""What a pause, the end of a run or a newer word holds back or makes void."""

from __future__ import annotations

from simulator import CONTEXT, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.messages import (
    COMPLETED,
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    SkipTask,
    StopWorkflow,
)

HEAD = "version: '2.0'\n\n"


def ask(kind, run_id, **values):  # type: ignore[no-untyped-def]
    return kind(run_id=run_id, request_id="q", context=CONTEXT, **values)


def test_eng_170_a_cancelled_parent_gets_no_late_sub_workflow() -> None:
    sim = Simulator(
        HEAD + "w: {tasks: {t: {workflow: s}}}\ns: {tasks: {u: {description: x}}}"
    )
    run_id = sim.start("w")
    sim.request(ask(StopWorkflow, run_id, state="CANCELLED", message="no"))
    sim.settle()
    assert list(sim.store.runs) == [run_id]
    assert sim.states(run_id) == {"t": "CANCELLED"}


def test_eng_167_a_sub_workflow_of_a_paused_parent_waits() -> None:
    sim = Simulator(
        HEAD + "w: {tasks: {t: {workflow: s}}}\ns: {tasks: {u: {description: x}}}"
    )
    run_id = sim.start("w")
    sim.request(ask(PauseWorkflow, run_id, message=None))
    # Only a stand-still is looked at: inline tasks of the child are over.
    sim.settle()
    assert sim.store.runs[run_id]["state"] == "PAUSED"
    sim.request(ask(ResumeWorkflow, run_id, env=None))
    sim.settle()
    assert sim.store.runs[run_id]["state"] == SUCCESS


def test_eng_068_nothing_starts_after_a_first_task_ended_the_run() -> None:
    sim = Simulator(
        HEAD + "w: {tasks: {a: {action: no.such}, b: {action: std.async_noop}}}"
    )
    run_id = sim.start("w")
    assert sim.states(run_id) == {"a": "ERROR", "b": "CANCELLED"}
    assert not sim.offers


def test_eng_074_no_retry_in_a_run_that_ended() -> None:
    text = """w:
  tasks:
    t: {action: std.echo output=1, retry: {count: 3, delay: 1}}"""

    rules = Rules(inline_actions=False)
    sim = Simulator(HEAD + text, rules=rules, script=lambda call: ("ERROR", "x"))
    run_id = sim.start("w")
    sim.request(ask(StopWorkflow, run_id, state="ERROR", message="stop"))
    sim.settle()
    assert all(task.state in COMPLETED for task in sim.tasks(run_id))


def test_eng_192_a_skip_that_cannot_be_evaluated_fails_the_run() -> None:
    text = """w:
  tasks:
    a: {action: std.fail, on-skip: [{b: <% $.nope %>}]}
    b: {action: std.noop}"""
    sim = Simulator(HEAD + text)
    run_id = sim.start("w")
    sim.settle()
    (task,) = sim.tasks(run_id)
    sim.request(ask(SkipTask, run_id, task_id=task.id))
    sim.settle()
    assert sim.store.runs[run_id]["state"] == "ERROR"
    assert sim.states(run_id) == {"a": "ERROR"}


def test_eng_095_a_failed_join_that_is_rerun_keeps_running_in_its_retries() -> None:
    text = """w:
  tasks:
    a: {on-success: j}
    b: {action: std.fail, on-success: j, on-error: noop}
    j: {join: all, action: std.echo output=1, retry: {count: 1, delay: 1}}"""

    answers = {"std.noop": [(SUCCESS, 1)], "std.fail": [("ERROR", 1)],
               "std.echo": [("ERROR", 1), (SUCCESS, 1)]}  # fmt: skip
    rules = Rules(inline_actions=False)
    sim = Simulator(
        HEAD + text, rules=rules, script=lambda call: answers[call["name"]].pop(0)
    )
    run_id = sim.start("w")
    sim.settle()
    assert sim.states(run_id)["j"] == "ERROR"
    (join,) = sim.tasks(run_id, "j")
    sim.request(ask(RerunTask, run_id, task_id=join.id, reset=True))
    sim.settle()
    assert sim.states(run_id)["j"] == SUCCESS
    assert sim.store.runs[run_id]["state"] == SUCCESS
