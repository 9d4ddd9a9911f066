"""An action that cannot be made of its input: an ordinary error of its task, of
which no action execution is left (ENG-064; spec/engine.md § 2.8, § 4.4)."""

from __future__ import annotations

from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.messages import (
    ActionFinished,
    CallAction,
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    RunAction,
    StopWorkflow,
)

HEAD = "version: '2.0'\n"
WHY = "Failed to instantiate an action [action_desc=std.sleep, error=no]"


class Executor(Simulator):
    """Cannot make an action whose ``seconds`` are 13; leaves others running."""

    def _execute(self, call: CallAction) -> None:
        del self.offers[call.action_id]
        if self.claimed(call, "t") and call.input["seconds"] == 13:
            self.queue.append((unmade(call), None))


def unmade(call: CallAction) -> ActionFinished:
    return ActionFinished(
        run_id=call.run_id, action_id=call.action_id, state=ERROR, result=WHY,
        unmade=True,
    )  # fmt: skip


def done(sim: Simulator, index: int) -> None:
    rows = list(sim.store.action_rows.values())
    [row] = [r for r in rows if r["item_index"] == index and r["state"] == "RUNNING"]
    sim.queue.append((
        ActionFinished(
            run_id=row["workflow_execution_id"], action_id=row["id"],
            state=SUCCESS, result=index,
        ), None,
    ))  # fmt: skip
    sim.settle()


def indexes(sim: Simulator) -> list[int]:
    return sorted(row["item_index"] for row in sim.store.action_rows.values())


@pytest.mark.parametrize("duplicates", [False, True])
def test_eng_064_is_an_ordinary_error_without_an_action(duplicates: bool) -> None:
    text = (
        HEAD + "w:\n  output-on-error: {why: <% $.why %>}\n  tasks:\n"
        "    t:\n      action: std.sleep seconds=13\n"
        "      publish-on-error: {why: <% task().result %>}\n"
        "      on-error: [after]\n    after: {action: std.noop, on-success: fail}\n"
    )
    sim = Executor(text, duplicates=duplicates)
    row = sim.run("w")
    assert sim.states(row["id"]) == {"t": ERROR, "after": SUCCESS}
    assert sim.tasks(row["id"], "t")[0].state_info == WHY
    assert row["output"] == {"result": None, "why": []}
    assert [a["name"] for a in sim.store.action_rows.values()] == ["std.noop"]


def test_eng_064_what_is_retried_is_made_again() -> None:
    text = (
        HEAD + "w: {tasks: {t: {action: std.sleep seconds=13, retry: count=2 delay=1}}}"
    )
    sim = Executor(text)
    row = sim.run("w")
    [task] = sim.tasks(row["id"])
    assert (task.state, task.state_info, task.tries) == (ERROR, WHY, 3)
    assert task.runtime_context["retry_task_policy"] == {"retry_no": 2}
    assert not sim.store.action_rows
    assert f"t [task_ex_id={task.id}] -> {WHY}\n    attempts: 3" in row["state_info"]


ITEMS = (
    HEAD + "w:\n  tasks:\n    t:\n      with-items: i in <% [1, 13, 2, 13] %>\n"
    "      action: std.sleep seconds=<% $.i %>\n      on-error: [after]\n"
    "    after: {action: std.noop}\n"
)


def test_eng_064_an_item_fails_its_task_at_once_and_the_others_go_on() -> None:
    sim = Executor(ITEMS)
    run_id = sim.start("w")
    sim.settle()
    [task] = sim.tasks(run_id, "t")
    assert (task.state, task.state_info) == (ERROR, f"{WHY} [item=1]")
    assert sim.store.runs[run_id]["state"] == SUCCESS
    assert indexes(sim) == [0, 0, 2]
    done(sim, 0)
    done(sim, 2)
    assert sim.tasks(run_id, "t")[0].state == ERROR


def test_eng_136_rerun_without_reset_runs_what_was_not_made() -> None:
    sim = Executor(ITEMS.replace("on-error: [after]", "on-complete: [after]"))
    run_id = sim.start("w")
    sim.settle()
    done(sim, 0)
    [task] = sim.tasks(run_id, "t")
    sim.ask(RerunTask, run_id, task_id=task.id, reset=False)
    epochs = {
        row["item_index"]: row["internals"]["epoch"]
        for row in sim.store.action_rows.values()
        if row["task_execution_id"] == task.id
    }
    assert epochs == {0: 1, 2: 2}


def test_eng_064_waits_for_the_resume() -> None:
    """§ 7.3: it completes, what follows waits."""
    text = HEAD + "w: {tasks: {t: {action: std.sleep seconds=13, on-error: noop}}}"
    sim = Executor(text)
    run_id = sim.start("w")
    sim.request(request(PauseWorkflow, run_id))
    sim.settle()
    [task] = sim.tasks(run_id)
    assert (task.state, task.processed) == (ERROR, False)
    sim.ask(ResumeWorkflow, run_id)
    assert sim.store.runs[run_id]["state"] == SUCCESS


def test_eng_064_what_comes_late_is_only_withdrawn() -> None:
    """ENG-069: of a run that is over, of a task that timed out, of an attempt that
    has been replaced."""
    text = HEAD + "w: {tasks: {t: {action: std.sleep seconds=13}}}"
    sim = Executor(text)
    run_id = sim.start("w")
    [call] = sim.offers.values()
    sim.offers.clear()
    assert sim.claimed(call, "t")
    sim.ask(StopWorkflow, run_id, state="CANCELLED")
    assert sim.states(run_id) == {"t": "RUNNING"}
    sim.request(unmade(call))
    assert sim.states(run_id) == {"t": ERROR}
    assert not sim.store.action_rows
    assert sim.store.runs[run_id]["state"] == "CANCELLED"
    sim.request(unmade(call))
    assert sim.states(run_id) == {"t": ERROR}


def test_a_stand_alone_action_that_cannot_be_made_stays() -> None:
    """§ 7.9: its id has been answered."""
    sim = Executor()
    asked = {"action_id": "a", "name": "std.sleep", "save": True}
    sim.request(
        RunAction(input={"seconds": 13}, request_id="r", context=CONTEXT, **asked)
    )
    sim.settle()
    row = sim.store.action_rows["a"]
    assert (row["state"], row["output"]) == (ERROR, {"result": WHY})


def request(kind: Any, run_id: str, **values: Any) -> Any:
    return kind(run_id=run_id, request_id="q", context=CONTEXT, **values)
