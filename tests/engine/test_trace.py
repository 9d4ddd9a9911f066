"""The trace log: a line per change of a state (spec/engine.md § 10.10)."""

from __future__ import annotations

import logging

import pytest
from house import House

from mistral.db import models
from mistral.messages import RunAction

TEXT = """
version: '2.0'
w:
  tasks:
    a: {action: std.echo output="canary-1", wait-before: 5, on-success: b}
    b: {action: std.fail, input: {error_data: canary-2}}
"""


def test_each_change_of_a_state_has_a_line(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="workflow_trace")
    house.upload(TEXT)
    id = house.start("w")
    house.advance(5)
    lines = [r.getMessage() for r in caplog.records if r.name == "workflow_trace"]
    about = f"workflow=w execution={id}: "

    def changes(kind: str, name: str) -> list[str]:
        mine = [line for line in lines if line.startswith(f"{kind} {name} [")]
        return [line.partition("]")[2].removeprefix(f" {about}") for line in mine]

    assert changes("task", "a") == [
        "->IDLE",
        "IDLE->RUNNING",
        "RUNNING->DELAYED (Delayed by 'wait-before' policy [delay=5])",
        "DELAYED->RUNNING",
        "RUNNING->SUCCESS",
    ]
    assert changes("action", "std.fail") == ["->RUNNING", "RUNNING->ERROR"]
    assert changes("task", "b")[-1] == "RUNNING->ERROR"
    assert [line for line in lines if line.startswith("workflow")] == [
        f"workflow w [{id}]: IDLE->RUNNING",
        f"workflow w [{id}]: RUNNING->ERROR (Failure caused by error in tasks: b)",
    ]
    assert "canary" not in caplog.text, "no values in logs (SEC-08)"


def test_a_stand_alone_action_has_lines(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="workflow_trace")
    action = house.new_id()
    context = {"project_id": "p"}
    house.ask(RunAction(action_id=action, name="std.noop", save=True, context=context))
    house.settle()
    lines = [r.getMessage() for r in caplog.records if r.name == "workflow_trace"]
    assert lines == [
        f"action std.noop [{action}]: ->RUNNING",
        f"action std.noop [{action}]: RUNNING->SUCCESS",
    ]


def test_nothing_is_traced_where_the_logger_is_silent(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="workflow_trace")
    house.upload(TEXT)
    house.run("w")
    assert [r for r in caplog.records if r.name == "workflow_trace"] == []


LATE = """
version: '2.0'
w:
  tasks:
    a: {on-success: j}
    b: {wait-before: %s, on-success: j}
    j: {join: %s}
"""


def about_joins(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [r.getMessage() for r in caplog.records if r.name == "workflow_trace"]
    return [line for line in lines if line.startswith("join ")]


def test_lint_16_fires_for_a_late_branch_of_a_partial_join(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """ENG-080: it starts nothing, and the log and the history say so."""
    caplog.set_level(logging.INFO, logger="workflow_trace")
    house.upload(LATE % (5, "one"))
    id = house.start("w")
    house.advance(5)
    [join] = house.rows(models.task_executions, name="j")
    assert about_joins(caplog) == [
        f"join j [{join['id']}] workflow=w execution={id}:"
        " the late branch b starts nothing"
    ]
    notes = [
        change
        for row in house.rows(models.history, run_id=id)
        for change in row["body"]["transitions"]
        if change[0] == "join"
    ]
    assert notes == [["join", join["id"], "j", "b", "absorbed"]]


@pytest.mark.parametrize(("wait", "join"), [(5, "all"), (0, 2)])
def test_lint_16_is_silent_where_every_branch_counts(
    house: House, caplog: pytest.LogCaptureFixture, wait: int, join: object
) -> None:
    caplog.set_level(logging.INFO, logger="workflow_trace")
    house.upload(LATE % (wait, join))
    house.start("w")
    house.advance(5)
    assert about_joins(caplog) == []
