"""Direct workflows: what follows what, and how a run ends (ENG-029 to ENG-074)."""

from __future__ import annotations

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


def standard(call: Any) -> tuple[str, Any] | None:
    if call["name"] in ("std.async_noop", "std.sleep"):
        # It goes on until a test answers it.
        return None
    return (ERROR, "no") if call["name"] == "std.fail" else (SUCCESS, None)


def started(body: str, **more: Any) -> tuple[Simulator, str]:
    sim = Simulator("version: '2.0'\n\n" + body, script=standard, **more)
    run_id = sim.start("w")
    sim.settle()
    return sim, run_id


def run(body: str, **more: Any) -> tuple[Simulator, Any]:
    sim, run_id = started(body, **more)
    return sim, sim.store.runs[run_id]


def order(sim: Simulator, run_id: str) -> list[str]:
    """Names of the tasks in the order in which they were created."""
    return [task.name for task in sim.tasks(run_id)]


def state(sim: Simulator, run_id: str) -> str:
    found: str = sim.store.runs[run_id]["state"]
    return found


def task_id(sim: Simulator, run_id: str, name: str) -> str:
    found: str = sim.tasks(run_id, name)[-1].id
    return found


INLINE = pytest.mark.parametrize("inline", [True, False], ids=["inline", "offers"])


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


HELD = {
    "WAITING": """a: {on-success: j}
    b: {action: std.async_noop, on-success: j}
    j: {join: all}""",
    "RUNNING": "b: {action: std.async_noop}",
    "DELAYED": "b: {wait-before: 9}",
}


@pytest.mark.parametrize("held", HELD)
def test_eng_050_an_open_task_keeps_the_run_open(held: str) -> None:
    sim = Simulator(
        f"version: '2.0'\n\nw:\n  tasks:\n    o: {{description: x}}\n    {HELD[held]}",
        script=standard,
    )
    run_id = sim.start("w")
    while sim.queue:
        sim.request(sim.queue.pop(0)[0])
    assert held in sim.states(run_id).values()
    assert state(sim, run_id) == "RUNNING"


def test_eng_050_an_idle_task_keeps_the_run_open() -> None:
    sim, run_id = started("w: {tasks: {a: {pause-before: true}, b: {description: x}}}")
    assert sim.states(run_id)["a"] == "IDLE"
    assert state(sim, run_id) == "PAUSED"
    sim.ask(ResumeWorkflow, run_id)
    assert state(sim, run_id) == SUCCESS


def test_eng_051_054_059_cancelled_wins_over_failed() -> None:
    body = """w:
  output: {v: 1}
  tasks:
    z: {action: std.async_noop}
    b: {action: std.async_noop}
    a: {action: std.fail}"""
    sim, run_id = started(body)
    sim.answer(run_id, "z", "CANCELLED")
    assert state(sim, run_id) == "RUNNING"
    sim.answer(run_id, "b", "CANCELLED")
    row = sim.store.runs[run_id]
    assert (row["state"], row["state_info"]) == ("CANCELLED", "Cancelled tasks: b, z")
    assert row["output"] == {"result": "Cancelled tasks: b, z"}


@pytest.mark.parametrize("message", ["enough", None])
def test_eng_059_the_output_of_a_cancelled_run_is_the_message(
    message: str | None,
) -> None:
    sim, run_id = started("w: {tasks: {a: {action: std.async_noop}}, output: {v: 1}}")
    sim.ask(StopWorkflow, run_id, state="CANCELLED", message=message)
    row = sim.store.runs[run_id]
    assert (row["state_info"], row["output"]) == (message, {"result": message})


def test_eng_052_the_failure_names_the_unhandled_tasks_sorted() -> None:
    body = """w:
  tasks:
    z: {action: std.fail}
    m: {action: std.fail, on-error: noop}
    b: {action: std.fail}"""
    sim, row = run(body)
    lines = row["state_info"].splitlines()
    assert lines[0] == "Failure caused by error in tasks: b, z"
    assert f"  b [task_ex_id={task_id(sim, row['id'], 'b')}] -> " in lines[2]
    assert row["output"]["result"] == row["state_info"]


def test_the_failure_names_failed_actions_in_the_order_of_the_items() -> None:
    """§ 1.7, whatever the order in which they failed."""
    body = """w:
  tasks:
    t: {with-items: "i in [0, 1, 2]", action: std.async_noop}"""
    sim, run_id = started(body)
    by_item = {row["item_index"]: id for id, row in sim.store.action_rows.items()}
    for index in (2, 0, 1):
        word = UpdateAction(
            run_id=run_id,
            request_id=f"q{index}",
            context=CONTEXT,
            action_id=by_item[index],
            state=ERROR,
            result=f"E{index}",
        )
        sim.request(word)
    sim.settle()
    lines = sim.store.runs[run_id]["state_info"].splitlines()
    assert [line.split("idx=")[1] for line in lines if "idx=" in line] == [
        "0]: E0", "1]: E1", "2]: E2",
    ]  # fmt: skip


def test_the_failure_names_failed_sub_workflows_of_items() -> None:
    """§ 1.7: the task itself only says that there are some."""
    body = """w:
  tasks:
    t: {with-items: "i in [2, 0, 1]", workflow: kid i=<% $.i %>}
kid:
  input: [i]
  output-on-error: {result: <% "no " + str($.i) %>}
  tasks: {k: {on-success: [{fail: <% $.i > 0 %>}]}}"""
    sim, row = run(body)
    lines = row["state_info"].splitlines()
    kids = {
        row["internals"]["parent"]["index"]: id
        for id, row in sim.store.runs.items()
        if row["workflow_name"] == "kid"
    }
    assert lines[2].endswith("-> One or more actions had failed.")
    assert lines[3:] == [
        f"    [wf_ex_id={kids[0]}, idx=0]: no 2",
        f"    [wf_ex_id={kids[2]}, idx=2]: no 1",
    ]


def test_eng_055_a_failing_output_ends_the_run_in_error() -> None:
    body = """w:
  output: {v: <% $.nope %>}
  tasks: {a: {description: x}, b: {description: x}}"""
    sim, row = run(body)
    assert row["state"] == ERROR
    assert row["state_info"].startswith(
        f"Failed to check and complete [wf_ex_id={row['id']}, wf_name=w]: "
    )
    assert set(sim.states(row["id"]).values()) == {SUCCESS}


def test_eng_056_without_output_the_final_context_is_the_output() -> None:
    body = """w:
  input: [{i: 1}]
  vars: {v: 2}
  tasks:
    a: {publish: {x: 1, y: 1}, on-success: [b, c]}
    b: {publish: {y: 2, m: {b: 1}}}
    c: {publish: {m: {c: 1}}}"""
    _, row = run(body)
    assert row["output"] == {"x": 1, "y": 2, "m": {"b": 1, "c": 1}}


def test_eng_057_the_output_of_a_failed_run() -> None:
    body = """w:
  output: {never: 1}
  output-on-error: {x: <% $.x %>}
  tasks:
    a: {publish: {x: 1}, on-success: b}
    b: {action: std.fail}"""
    _, row = run(body)
    assert row["output"] == {"result": row["state_info"], "x": 1}


def test_eng_058_a_failing_output_on_error_names_both_causes() -> None:
    body = """w:
  output-on-error: {x: <% $.nope %>}
  tasks: {a: {action: std.fail}}"""
    _, row = run(body)
    assert row["state"] == ERROR
    text = row["state_info"]
    assert text.startswith("Failed to evaluate expression in output-on-error!")
    assert "nope" in text
    assert "Failure caused by error in tasks: a" in text
    assert row["output"] == {"result": text}


STRUCTURAL = {
    "ENG-060 unknown action": "action: nobody.knows",
    "ENG-061 publish": "action: std.noop, publish: {v: <% $.nope %>}",
    "ENG-065 unexpected parameter": "action: std.echo output=1 nope=2",
    "ENG-065 missing parameter": "action: std.echo",
    "ENG-066 dynamic input": "action: std.echo, input: '<% [1] %>'",
    "ENG-060 condition": "action: std.noop, on-success: [{b: <% $.nope %>}]",
    "ENG-060 parameter": "action: std.noop, on-success: 'fail msg=\"<% $.nope %>\"'",
    "ENG-060 input": "action: std.echo output=<% $.nope %>",
    "ENG-060 with-items": "action: std.noop, with-items: i in <% $.nope %>",
    "ENG-060 policy": "action: std.noop, wait-before: <% $.nope %>",
}


@INLINE
@pytest.mark.parametrize("name", STRUCTURAL)
def test_structural_errors_end_the_run_at_once(name: str, inline: bool) -> None:
    end = "" if "on-success" in STRUCTURAL[name] else "on-success: b, "
    body = f"""w:
  tasks:
    a: {{{STRUCTURAL[name]}, {end}on-error: c, on-complete: c}}
    b: {{description: x}}
    c: {{description: x}}
    slow: {{action: std.sleep, on-success: [b, c]}}"""
    sim, run_id = started(body, rules=Rules(inline_actions=inline))
    [a] = sim.tasks(run_id, "a")
    assert (state(sim, run_id), a.state, a.processed) == (ERROR, ERROR, False)
    assert sim.store.runs[run_id]["state_info"] == a.state_info
    assert not {"b", "c"} & set(sim.states(run_id))
    if "ENG-061" in name:
        [action] = [
            row
            for row in sim.store.action_rows.values()
            if row["task_execution_id"] == a.id
        ]
        assert action["state"] == SUCCESS


ORDINARY = {
    "ENG-062 unknown sub-workflow": "workflow: nowhere",
    "ENG-063 missing input": "workflow: child",
    "ENG-063 failing vars": "workflow: broken",
    "ENG-064 an ad-hoc action that is based on itself": "action: ring",
}
CHILDREN = """
child: {input: [x], tasks: {t: {description: x}}}
broken: {vars: {v: <% $.nope %>}, tasks: {t: {description: x}}}"""


@INLINE
@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_start_errors_are_handled(name: str, inline: bool) -> None:
    body = f"""w:
  tasks:
    a: {{{ORDINARY[name]}, on-error: c}}
    c: {{description: x}}
    other: {{action: std.async_noop, on-success: d}}
    d: {{description: x}}{CHILDREN}"""
    ring = "version: '2.0'\nring: {base: ring}"
    sim, run_id = started(body, actions=ring, rules=Rules(inline_actions=inline))
    assert sim.states(run_id)["a"] == ERROR
    assert sim.states(run_id)["c"] == SUCCESS
    assert state(sim, run_id) == "RUNNING"
    a = task_id(sim, run_id, "a")
    rows = sim.store.action_rows.values()
    assert not [row for row in rows if row["task_execution_id"] == a]
    assert list(sim.store.runs) == [run_id]
    sim.answer(run_id, "other")
    assert sim.states(run_id)["d"] == SUCCESS
    assert state(sim, run_id) == SUCCESS


@pytest.mark.parametrize("redo", [RerunTask, SkipTask])
def test_eng_067_a_reopened_run_takes_the_follow_ups_it_had_missed(redo: Any) -> None:
    body = """w:
  tasks:
    bad: {action: std.fail, on-error: fail}
    slow: {action: std.async_noop, publish: {v: 1}, on-success: [after, j]}
    after: {publish: {seen: <% $.v %>}}
    j: {join: all}"""
    answers = [ERROR, SUCCESS]

    def script(call: Any) -> Any:
        return (answers.pop(0), None) if call["name"] == "std.fail" else standard(call)

    sim = Simulator(
        "version: '2.0'\n\n" + body, script=script, rules=Rules(inline_actions=False)
    )
    run_id = sim.start("w")
    sim.settle()
    assert state(sim, run_id) == ERROR
    sim.answer(run_id, "slow")
    assert set(sim.states(run_id)) == {"bad", "slow"}
    more = {"reset": True} if redo is RerunTask else {}
    sim.ask(redo, run_id, task_id=task_id(sim, run_id, "bad"), **more)
    assert sim.tasks(run_id, "after")[0].published == {"seen": 1}
    assert sim.states(run_id)["j"] == SUCCESS
    assert state(sim, run_id) == SUCCESS


OPEN = {
    "wait-before": "t: {action: std.async_noop, wait-before: 9}",
    "retry": "t: {action: std.fail, retry: {count: 5, delay: 9}}",
    "wait-after": "t: {wait-after: 9, on-success: after}\n    after: {description: x}",
    "items": (
        "t: {with-items: i in <% range(5) %>, concurrency: 1, action: std.async_noop}"
    ),
    "idle": "t: {action: std.async_noop, pause-before: true}",
}


@pytest.mark.parametrize("how", ["ERROR", "CANCELLED"])
@pytest.mark.parametrize("name", OPEN)
def test_eng_068_074_nothing_starts_and_nothing_stays_in_an_ended_run(
    name: str, how: str
) -> None:
    sim = Simulator(
        f"version: '2.0'\n\nw:\n  tasks:\n    {OPEN[name]}", script=standard
    )
    run_id = sim.start("w")
    while sim.queue or sim.offers:
        if sim.queue:
            sim.request(sim.queue.pop(0)[0])
        else:
            sim._execute(next(iter(sim.offers.values())))
    before = len(sim.store.action_rows)
    sim.request(
        StopWorkflow(
            run_id=run_id, request_id="q", context=CONTEXT, state=how, message="no"
        )
    )
    sim.settle()
    sim.advance(100)
    sim.settle()
    if name == "items":
        sim.answer(run_id, "t")
    assert len(sim.store.action_rows) == before
    assert set(sim.states(run_id)) == {"t"}
    [task] = sim.tasks(run_id)
    assert task.state in ("CANCELLED", ERROR, SUCCESS)
    assert state(sim, run_id) == how


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
