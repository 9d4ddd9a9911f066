"""Direct workflows: what follows what (ENG-029 to ENG-048, ENG-070 to ENG-073)."""

from __future__ import annotations

import pytest
from simulator import ERROR, SUCCESS, Simulator
from unanswered import INLINE, order, run, started, state

from mistral.engine.core.ports import Rules
from mistral.messages import PauseWorkflow, ResumeWorkflow


@INLINE
def test_eng_029_a_line_of_three_tasks(inline: bool) -> None:
    body = """w:
  tasks:
    c: {description: last}
    a: {on-success: b}
    b: {on-success: c}"""
    sim, row = run(body, rules=Rules(inline_actions=inline))
    assert row["state"] == SUCCESS
    assert order(sim, row["id"]) == ["a", "b", "c"]
    a, b, c = sim.tasks(row["id"])
    assert a.finished_at <= b.started_at
    assert b.runtime_context["triggered_by"] == [
        {"task_id": a.id, "event": "on-success"}
    ]
    assert c.runtime_context["triggered_by"] == [
        {"task_id": b.id, "event": "on-success"}
    ]


def test_eng_030_start_tasks_are_offered_together() -> None:
    sim = Simulator(
        "version: '2.0'\n\nw: {tasks: {a: {action: std.sleep}, b: {action: std.sleep}}}"
    )
    sim.start("w")
    assert len(sim.offers) == 2


@INLINE
@pytest.mark.parametrize(
    ("action", "clause"), [("noop", "on-success"), ("fail", "on-error")]
)
def test_eng_031_032_the_specific_clause_precedes_on_complete(
    action: str, clause: str, inline: bool
) -> None:
    body = f"""w:
  tasks:
    a: {{action: std.{action}, on-complete: [x, y], {clause}: [z, b]}}
    b: {{description: x}}
    x: {{description: x}}
    y: {{description: x}}
    z: {{description: x}}"""
    sim, row = run(body, rules=Rules(inline_actions=inline))
    assert order(sim, row["id"]) == ["a", "z", "b", "x", "y"]
    assert sim.tasks(row["id"], "a")[0].next_tasks == [
        ["z", clause], ["b", clause], ["x", "on-complete"], ["y", "on-complete"],
    ]  # fmt: skip


def test_eng_033_a_cancelled_task_leads_nowhere() -> None:
    body = """w:
  tasks:
    a:
      action: std.async_noop
      publish-on-error: {v: 1}
      on-success: b
      on-error: b
      on-complete: b
      on-skip: b
    b: {description: x}"""
    sim, run_id = started(body)
    sim.answer(run_id, "a", "CANCELLED")
    assert sim.states(run_id) == {"a": "CANCELLED"}
    assert sim.tasks(run_id)[0].published is None
    assert state(sim, run_id) == "CANCELLED"


@pytest.mark.parametrize("falsy", ["false", "0", "''", "[]", "{}", "null"])
def test_eng_034_053_falsy_conditions_do_not_handle_an_error(falsy: str) -> None:
    body = """w:
  tasks:
    a: {action: std.fail, publish-on-error: {c: FALSY}, on-error: [{b: <% $.c %>}]}
    b: {description: x}"""
    sim, row = run(body.replace("FALSY", falsy))
    assert sim.states(row["id"]) == {"a": ERROR}
    assert row["state"] == ERROR
    first = row["state_info"].splitlines()[0]
    assert first == "Failure caused by error in tasks: a"


def test_eng_035_a_target_of_two_clauses_runs_twice() -> None:
    body = """w:
  tasks:
    a: {on-success: b, on-complete: b}
    b: {description: x}"""
    sim, row = run(body)
    assert order(sim, row["id"]) == ["a", "b", "b"]
    events = [
        task.runtime_context["triggered_by"][0]["event"]
        for task in sim.tasks(row["id"], "b")
    ]
    assert events == ["on-success", "on-complete"]


def test_eng_036_noop_handles_an_error() -> None:
    _, row = run("w: {tasks: {a: {action: std.fail, on-error: noop}}}")
    assert (row["state"], row["state_info"]) == (SUCCESS, None)


@pytest.mark.parametrize("command", ["fail", "succeed", "pause", "noop"])
def test_eng_036_any_command_of_on_error_handles_it(command: str) -> None:
    sim, row = run(f"w: {{tasks: {{a: {{action: std.fail, on-error: {command}}}}}}}")
    assert sim.tasks(row["id"])[0].error_handled is True


def test_eng_037_on_complete_alone_handles_nothing() -> None:
    body = """w:
  tasks:
    a: {action: std.fail, on-complete: b}
    b: {action: std.async_noop}"""
    sim, run_id = started(body)
    assert state(sim, run_id) == "RUNNING"
    sim.answer(run_id, "b")
    assert state(sim, run_id) == ERROR
    assert sim.states(run_id) == {"a": ERROR, "b": SUCCESS}


@INLINE
def test_eng_038_069_what_stands_before_fail_runs_to_its_end(inline: bool) -> None:
    body = """w:
  tasks:
    a: {on-success: [b, fail, d]}
    b: {action: std.sleep, on-success: e}
    d: {description: x}
    e: {description: x}"""
    sim, run_id = started(body, rules=Rules(inline_actions=inline))
    assert state(sim, run_id) == ERROR
    assert sim.states(run_id) == {"a": SUCCESS, "b": "RUNNING"}
    sim.answer(run_id, "b", result=5)
    assert sim.states(run_id) == {"a": SUCCESS, "b": SUCCESS}
    [action] = [r for r in sim.store.action_rows.values() if r["name"] == "std.sleep"]
    assert (action["state"], action["output"]) == (SUCCESS, {"result": 5})
    assert state(sim, run_id) == ERROR


@pytest.mark.parametrize("command", ["fail", "succeed"])
def test_eng_039_nothing_starts_behind_the_end(command: str) -> None:
    body = f"""w:
  tasks:
    a: {{on-success: [{command}, b], on-complete: c}}
    b: {{description: x}}
    c: {{description: x}}"""
    sim, row = run(body)
    assert order(sim, row["id"]) == ["a"]
    assert row["state"] == (ERROR if command == "fail" else SUCCESS)


def test_eng_040_fail_says_its_evaluated_message() -> None:
    body = """w:
  output-on-error: {v: <% $.v %>}
  tasks:
    a: {publish: {v: 4}, on-success: 'fail msg="found <% $.v %>"'}"""
    _, row = run(body)
    assert (row["state"], row["state_info"]) == (ERROR, "found 4")
    assert row["output"] == {"result": "found 4", "v": 4}


def test_eng_041_fail_without_message() -> None:
    _, row = run("w: {tasks: {a: {on-success: fail}}}")
    assert (row["state"], row["state_info"]) == (ERROR, None)
    assert row["output"]["result"] is None


def test_eng_042_048_succeed_says_its_message_and_evaluates_the_output() -> None:
    body = """w:
  output: {v: <% $.v %>}
  tasks:
    a: {publish: {v: 4}, on-success: [b, 'succeed msg="enough"']}
    b: {action: std.async_noop}"""
    _, row = run(body)
    assert (row["state"], row["state_info"]) == (SUCCESS, "enough")
    assert row["output"] == {"v": 4}


def test_eng_042_succeed_ends_well_after_unhandled_errors() -> None:
    body = """w:
  tasks:
    a: {action: std.fail}
    b: {on-success: succeed}"""
    _, row = run(body)
    assert row["state"] == SUCCESS


def test_eng_043_fail_suppresses_on_complete() -> None:
    body = """w:
  tasks:
    a: {on-success: fail, on-complete: b}
    b: {description: x}"""
    sim, row = run(body)
    assert order(sim, row["id"]) == ["a"]


@INLINE
def test_eng_044_pause_holds_what_stands_behind_it(inline: bool) -> None:
    body = """w:
  tasks:
    a: {publish: {v: 3}, on-success: [b, 'pause msg="wait <% $.v %>"', c]}
    b: {description: x}
    c: {publish: {seen: <% $.v %>}}"""
    sim, row = run(body, rules=Rules(inline_actions=inline))
    assert (row["state"], row["state_info"]) == ("PAUSED", "wait 3")
    assert sim.states(row["id"]) == {"a": SUCCESS, "b": SUCCESS}
    sim.ask(ResumeWorkflow, row["id"])
    assert state(sim, row["id"]) == SUCCESS
    assert sim.store.runs[row["id"]]["state_info"] is None
    assert sim.tasks(row["id"], "c")[0].published == {"seen": 3}


def test_eng_044_follow_ups_of_a_task_that_ended_meanwhile_come_after_resume() -> None:
    body = """w:
  tasks:
    a: {on-success: pause}
    b: {action: std.async_noop, on-success: c}
    c: {description: x}"""
    sim, run_id = started(body)
    sim.answer(run_id, "b")
    assert sim.states(run_id) == {"a": SUCCESS, "b": SUCCESS}
    assert [t.processed for t in sim.tasks(run_id, "b")] == [False]
    sim.ask(ResumeWorkflow, run_id)
    assert order(sim, run_id) == ["a", "b", "c"]
    assert state(sim, run_id) == SUCCESS


def test_eng_044_a_pause_of_a_task_that_ended_while_paused_is_ignored() -> None:
    body = """w:
  tasks:
    a: {action: std.async_noop, on-success: [pause, b]}
    b: {description: x}"""
    sim, run_id = started(body)
    sim.ask(PauseWorkflow, run_id, message=None)
    sim.answer(run_id, "a")
    sim.ask(ResumeWorkflow, run_id)
    assert state(sim, run_id) == SUCCESS
    assert order(sim, run_id) == ["a", "b"]


def test_eng_045_046_two_pauses_two_resumes_and_then_fail() -> None:
    body = """w:
  tasks:
    a: {on-success: [pause, b, 'pause msg="2"', c, 'fail msg="end"', d]}
    b: {description: x}
    c: {description: x}
    d: {description: x}"""
    sim, run_id = started(body)
    sim.ask(ResumeWorkflow, run_id)
    assert (state(sim, run_id), order(sim, run_id)) == ("PAUSED", ["a", "b"])
    sim.ask(ResumeWorkflow, run_id)
    assert (state(sim, run_id), order(sim, run_id)) == (ERROR, ["a", "b", "c"])
    assert sim.store.runs[run_id]["state_info"] == "end"


@pytest.mark.parametrize(
    ("command", "ends"),
    [("fail", ERROR), ("succeed", SUCCESS), ("pause", "PAUSED"), ("noop", SUCCESS)],
)
def test_eng_047_commands_win_over_tasks_of_their_name(command: str, ends: str) -> None:
    body = f"""w:
  tasks:
    a: {{on-success: {command}}}
    {command}: {{publish: {{ran: 1}}}}"""
    sim, row = run(body)
    assert row["state"] == ends
    # The task itself is a start task and nothing else.
    assert len(sim.tasks(row["id"], command)) == 1
    assert "triggered_by" not in sim.tasks(row["id"], command)[0].runtime_context


@INLINE
def test_eng_070_073_a_loop_makes_an_execution_per_pass(inline: bool) -> None:
    body = """w:
  output: {last: <% $.last %>}
  tasks:
    s: {publish: {n: 0}, on-success: x}
    x:
      publish: {n: <% $.n + 1 %>}
      on-success: [{x: <% $.n < 4 %>}, {end: <% $.n >= 4 %>}]
    end: {publish: {last: <% task(x).published.n %>}}"""
    sim, row = run(body, rules=Rules(inline_actions=inline))
    assert order(sim, row["id"]) == ["s", "x", "x", "x", "x", "end"]
    assert (row["state"], row["output"]) == (SUCCESS, {"last": 4})
    first, second = sim.tasks(row["id"], "x")[:2]
    assert second.runtime_context["triggered_by"][0]["task_id"] == first.id


def test_eng_071_the_error_of_an_early_pass_fails_the_run_at_its_end() -> None:
    body = """w:
  tasks:
    s: {publish: {n: 0}, on-success: x}
    x:
      action: std.sleep
      publish: {n: <% $.n + 1 %>}
      publish-on-error: {n: <% $.n + 1 %>}
      on-complete: [{x: <% $.n < 3 %>}]"""
    answers = [ERROR, SUCCESS, SUCCESS]
    sim = Simulator(
        "version: '2.0'\n\n" + body, script=lambda call: (answers.pop(0), None)
    )
    row = sim.run("w")
    assert answers == []
    assert [task.state for task in sim.tasks(row["id"], "x")] == [
        ERROR, SUCCESS, SUCCESS,
    ]  # fmt: skip
    assert row["state"] == ERROR


def test_eng_072_task_defaults_fill_clauses_that_a_task_does_not_have() -> None:
    body = """w:
  task-defaults: {on-error: [mend], on-complete: [log]}
  tasks:
    a: {action: std.fail}
    b: {action: std.fail, on-error: other, on-complete: noop}
    mend: {description: x}
    log: {description: x}
    other: {on-complete: noop}"""
    sim, row = run(body)
    fired = {task.name: task.next_tasks for task in sim.tasks(row["id"])}
    assert fired["a"] == [["mend", "on-error"], ["log", "on-complete"]]
    assert fired["b"] == [["other", "on-error"]]
    assert fired["mend"] == [["log", "on-complete"]]
    # A default never leads from a task to itself.
    assert fired["log"] == []
    assert row["state"] == SUCCESS
