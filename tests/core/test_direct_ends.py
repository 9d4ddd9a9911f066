"""Direct workflows: how a run ends, and what that closes (ENG-050 to ENG-074)."""

from __future__ import annotations

from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator
from unanswered import INLINE, run, standard, started, state, task_id

from mistral.engine.core.ports import Rules
from mistral.messages import (
    RerunTask,
    ResumeWorkflow,
    SkipTask,
    StopWorkflow,
    UpdateAction,
)

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
