"""The law at work: workflows on the core alone, inline and through offers."""

from __future__ import annotations

from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.errors import BadRequest, CallerError, Forbidden
from mistral.messages import (
    ActionFinished,
    DeleteWorkflow,
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    SkipTask,
    StopWorkflow,
    UpdateAction,
)


def workflow(body: str) -> str:
    return "version: '2.0'\n\n" + body


def ask(kind: Any, run_id: str, **values: Any) -> Any:
    return kind(run_id=run_id, request_id="q", context=CONTEXT, **values)


# name, workflow, input, state, output, states of tasks
TABLE: list[tuple[str, str, dict[str, Any], str, Any, dict[str, str]]] = [
    (
        "LANG-061 no action is std.noop",
        "w: {tasks: {t: {description: marker, publish: {r: <% task().result %>}}}}",
        {}, SUCCESS, {"r": None}, {"t": SUCCESS},
    ),
    (
        "LANG-103 an empty collection succeeds with []",
        """w:
  tasks:
    t:
      with-items: i in <% [] %>
      action: nobody.knows
      publish: {r: <% task().result %>}""",
        {}, SUCCESS, {"r": []}, {"t": SUCCESS},
    ),
    (
        "LANG-107 a failed item fails the task, its error at its index",
        """w:
  tasks:
    t:
      with-items: a in <% ["std.echo", "std.fail"] %>
      action: std.fail
      input: {error_data: <% $.a %>}
      publish-on-error: {r: <% task().result %>}
      on-error: noop""",
        {}, SUCCESS, {"r": ["std.echo", "std.fail"]}, {"t": ERROR},
    ),
    (
        "LANG-148 all entries with truthy conditions fire",
        """w:
  tasks:
    a: {on-success: [{b: <% true %>}, {c: <% 1 %>}, {d: <% 0 %>}]}
    b: {description: x}
    c: {description: x}
    d: {description: x}""",
        {}, SUCCESS, {}, {"a": SUCCESS, "b": SUCCESS, "c": SUCCESS},
    ),
    (
        "LANG-157 nothing starts behind fail",
        """w:
  tasks:
    a: {on-success: [fail, b]}
    b: {description: x}""",
        {}, ERROR, {"result": None}, {"a": SUCCESS},
    ),
    (
        "ENG-048 the task that says succeed contributes its variables",
        """w:
  output: {v: <% $.v %>}
  tasks:
    a: {publish: {v: 1}, on-success: [b, succeed]}
    b: {description: x}""",
        {}, SUCCESS, {"v": 1}, {"a": SUCCESS, "b": SUCCESS},
    ),
    (
        "LANG-069 an unknown action forces failure",
        """w:
  tasks:
    a: {action: no.such, on-error: b}
    b: {description: x}""",
        {}, ERROR, ..., {"a": ERROR},
    ),
    (
        "LANG-070 an unknown sub-workflow is an ordinary error",
        """w:
  tasks:
    a: {workflow: nowhere, on-error: b}
    b: {description: x}""",
        {}, SUCCESS, {}, {"a": ERROR, "b": SUCCESS},
    ),
    (
        "LANG-124 a failing publish forces failure though the action succeeded",
        "w: {tasks: {a: {publish: {v: <% $.nope %>}, on-error: noop}}}",
        {}, ERROR, ..., {"a": ERROR},
    ),
    (
        "LANG-175 join all runs once",
        """w:
  tasks:
    a: {publish: {x: 1}, on-success: j}
    b: {publish: {y: 2}, on-success: j}
    j:
      join: all
      action: std.echo output=<% $.x + $.y %>
      publish: {z: <% task().result %>}""",
        {}, SUCCESS, {"x": 1, "y": 2, "z": 3},
        {"a": SUCCESS, "b": SUCCESS, "j": SUCCESS},
    ),
    (
        "LANG-182 ENG-080 a late branch does not run a partial join again",
        """w:
  tasks:
    a: {on-success: j}
    b: {on-success: j}
    c: {on-success: j}
    j: {join: one, on-success: after}
    after: {description: x}""",
        {}, SUCCESS, {},
        {"a": SUCCESS, "b": SUCCESS, "c": SUCCESS, "j": SUCCESS, "after": SUCCESS},
    ),
    (
        "LANG-186 ENG-086 a branch that ended upstream makes the join fail",
        """w:
  tasks:
    a: {on-success: [{b: <% false %>}]}
    b: {on-success: j}
    c: {on-success: j}
    j: {join: all}""",
        {}, ERROR, ..., {"a": SUCCESS, "c": SUCCESS, "j": ERROR},
    ),
    (
        "ENG-089 a cycle upstream does not block a join",
        """w:
  tasks:
    s: {on-success: [{x: <% false %>}, j]}
    x: {on-success: y}
    y: {on-success: [x, j]}
    j: {join: one}""",
        {}, SUCCESS, {}, {"s": SUCCESS, "j": SUCCESS},
    ),
    (
        "ENG-112 a retried task publishes its last attempt",
        """w:
  tasks:
    a:
      action: std.fail
      retry: count=2 delay=1
      publish-on-error: {n: <% task().state %>}
      on-error: noop""",
        {}, SUCCESS, {"n": "ERROR"}, {"a": ERROR},
    ),
    (
        "ENG-166 the output of a sub-workflow is the result",
        """w:
  tasks:
    a: {workflow: child x=2, publish: {r: <% task().result.y %>}}
child:
  input: [x]
  output: {y: <% $.x * 2 %>}
  tasks: {t: {description: x}}""",
        {}, SUCCESS, {"r": 4}, {"a": SUCCESS},
    ),
    (
        "LANG-115 items may be sub-workflows",
        """w:
  tasks:
    a:
      with-items: i in <% [1, 2, 3] %>
      workflow: child x=<% $.i %>
      publish: {r: <% task().result.select($.y) %>}
child:
  input: [x]
  output: {y: <% $.x * 2 %>}
  tasks: {t: {description: x}}""",
        {}, SUCCESS, {"r": [2, 4, 6]}, {"a": SUCCESS},
    ),
    (
        "LANG-167 a loop runs as often as its condition says",
        """w:
  input: [{n: 0}]
  tasks:
    s: {publish: {n: 0}, on-success: again}
    again:
      publish: {n: <% $.n + 1 %>}
      on-success: [{again: <% $.n < 5 %>}]
  output: {n: <% $.n %>, count: <% tasks().len() %>}""",
        {}, SUCCESS, {"n": 5, "count": 6}, {"s": SUCCESS, "again": SUCCESS},
    ),
    (
        "LANG-183 ENG-096 a join in a loop runs once a round",
        """w:
  output: {n: <% $.n %>}
  tasks:
    s: {publish: {n: 0}, on-success: [a, b]}
    a: {on-success: j}
    b: {on-success: j}
    j:
      join: all
      publish: {n: <% $.n + 1 %>}
      on-success: [{a: <% $.n < 3 %>}, {b: <% $.n < 3 %>}]""",
        {}, SUCCESS, {"n": 3}, {"s": SUCCESS, "a": SUCCESS, "b": SUCCESS, "j": SUCCESS},
    ),
]  # fmt: skip


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("inline", [True, False], ids=["inline", "offers"])
@pytest.mark.parametrize("case", TABLE, ids=[case[0] for case in TABLE])
def test_outcome(case: Any, inline: bool, seed: int | None) -> None:
    """The same end whether actions are inline or run by executors, in any
    order and with every event heard twice (ENG-236)."""
    _, body, input, state, output, states = case
    sim = Simulator(
        workflow(body),
        rules=Rules(inline_actions=inline),
        script=standard,
        seed=seed,
        duplicates=seed is not None,
    )
    row = sim.run("w", input)
    assert (row["state"], sim.states(row["id"])) == (state, states), row["state_info"]
    if output is not ...:
        assert row["output"] == output
    assert not sim.offers


def standard(call: Any) -> tuple[str, Any]:
    """What an executor would say."""
    if call["name"] == "std.fail":
        return ERROR, call.get("error_data") or "failed"
    return SUCCESS, call.get("output")


APPROVAL = workflow(
    """w:
  tasks:
    ask: {action: std.async_noop, publish: {r: <% task().result %>}, on-success: done}
    done: {description: x}"""
)


def test_eng_195_196_197_asynchronous_action_is_answered_once() -> None:
    sim = Simulator(APPROVAL)
    run_id = sim.start("w")
    sim.settle()
    action_id = next(iter(sim.store.action_rows))
    sim.request(ask(UpdateAction, run_id, action_id=action_id, state=SUCCESS, result=7))
    # like every transition that is not possible, a 400.
    with pytest.raises(BadRequest, match="already completed"):
        sim.request(ask(UpdateAction, run_id, action_id=action_id, state=ERROR))
    sim.settle()
    assert sim.store.runs[run_id]["state"] == SUCCESS
    assert sim.store.runs[run_id]["output"] == {"r": 7}


def test_an_action_execution_has_the_tags_of_its_task() -> None:
    """REST § 11.3; ENG § 1.6.1."""
    sim = Simulator(
        workflow(
            """w:
  tasks:
    inline: {action: std.noop, tags: [a, b]}
    offered: {action: std.sleep, tags: [c]}
    none: {action: std.noop}"""
        )
    )
    sim.start("w")
    names = {id: row["name"] for id, row in sim.store.task_rows.items()}
    tags = {
        names[row["task_execution_id"]]: row["tags"]
        for row in sim.store.action_rows.values()
    }
    assert tags == {"inline": ["a", "b"], "offered": ["c"], "none": None}


def test_claim_is_answered_the_same_for_the_same_token_only() -> None:
    sim = Simulator(workflow("w: {tasks: {t: {action: std.sleep}}}"))
    run_id = sim.start("w")
    offer = next(iter(sim.offers.values()))

    assert sim.claimed(offer, "a")
    assert not sim.claimed(offer, "b")
    assert sim.claimed(offer, "a")
    old = ActionFinished(run_id=run_id, action_id=offer.action_id, attempt=9)
    sim.request(old)
    assert sim.states(run_id) == {"t": "RUNNING"}


def test_eng_131_concurrency_bounds_open_items() -> None:
    body = """w:
  tasks:
    t:
      with-items: i in <% range(7) %>
      concurrency: 2
      action: std.sleep seconds=<% $.i %>
      publish: {r: <% task().result %>}"""
    seen: list[int] = []

    def script(call: Any) -> tuple[str, Any]:
        rows = sim.store.action_rows.values()
        seen.append(sum(row["state"] == "RUNNING" for row in rows))
        return SUCCESS, call["seconds"]

    sim = Simulator(workflow(body), script=script, seed=3)
    assert sim.run("w")["output"] == {"r": list(range(7))}
    assert max(seen) == 2


def test_eng_141_items_open_in_pages() -> None:
    body = """w:
  tasks:
    t:
      with-items: i in <% range(25) %>
      action: std.echo output=<% $.i %>
      publish: {r: <% task().result %>}"""
    sim = Simulator(workflow(body), rules=Rules(page=10))
    assert sim.run("w")["output"] == {"r": list(range(25))}


def test_eng_142_146_timers_wait_and_retry() -> None:
    body = """w:
  tasks:
    t:
      action: std.fail
      wait-before: 5
      wait-after: 3
      retry: count=2 delay=10
      on-error: noop"""
    sim = Simulator(workflow(body))
    begun = sim.clock.now()
    row = sim.run("w")
    assert row["state"] == SUCCESS
    assert (sim.clock.now() - begun).total_seconds() == 5 + 3 + 2 * 10
    task = sim.tasks(row["id"])[0]
    assert task.runtime_context["retry_task_policy"] == {"retry_no": 2}
    assert len(sim.store.action_rows) == 3


def test_eng_154_156_158_timeout_ends_the_task_and_its_child() -> None:
    body = """w:
  tasks:
    t: {workflow: child, timeout: 4, retry: count=3 delay=1, on-error: saved}
    saved: {description: x}
child: {tasks: {c: {action: std.async_noop}}}"""
    sim = Simulator(workflow(body))
    row = sim.run("w")
    assert row["state"] == SUCCESS
    assert sim.tasks(row["id"], "t")[0].state_info == "Task timed out [timeout(s)=4]."
    child = next(r for r in sim.store.runs.values() if r["task_execution_id"])
    assert child["state"] == "CANCELLED"


def test_lang_158_eng_045_046_pause_commands_keep_what_follows() -> None:
    body = """w:
  tasks:
    a: {on-success: [b, 'pause msg="first"', c, pause, d, fail]}
    b: {description: x}
    c: {description: x}
    d: {description: x}"""
    sim = Simulator(workflow(body), script=standard)
    row = sim.run("w")
    assert (row["state"], row["state_info"]) == ("PAUSED", "first")
    assert sim.states(row["id"]) == {"a": SUCCESS, "b": SUCCESS}
    sim.request(ask(ResumeWorkflow, row["id"]))
    sim.settle()
    assert sim.store.runs[row["id"]]["state"] == "PAUSED"
    assert "d" not in sim.states(row["id"])
    sim.request(ask(ResumeWorkflow, row["id"]))
    sim.settle()
    assert sim.store.runs[row["id"]]["state"] == ERROR
    assert sim.states(row["id"])["d"] == SUCCESS


def test_lang_214_eng_160_pause_before_waits_for_resume() -> None:
    body = "w: {tasks: {t: {pause-before: true, wait-before: 9, timeout: 20}}}"
    sim = Simulator(workflow(body), script=standard)
    row = sim.run("w")
    assert (row["state"], sim.states(row["id"])) == ("PAUSED", {"t": "IDLE"})
    sim.advance(100)
    sim.request(ask(ResumeWorkflow, row["id"]))
    sim.settle()
    assert sim.store.runs[row["id"]]["state"] == SUCCESS


def test_eng_091_167_pause_and_resume_reach_sub_workflows() -> None:
    body = """w:
  tasks:
    t: {workflow: child}
    u: {action: std.async_noop}
child: {tasks: {c: {action: std.async_noop}}}"""
    sim = Simulator(workflow(body))
    run_id = sim.start("w")
    sim.settle()
    sim.request(ask(PauseWorkflow, run_id))
    sim.settle()
    assert {r["state"] for r in sim.store.runs.values()} == {"PAUSED"}
    sim.request(ask(ResumeWorkflow, run_id))
    sim.settle()
    assert {r["state"] for r in sim.store.runs.values()} == {"RUNNING"}
    for action in list(sim.store.action_rows.values()):
        owner = action["workflow_execution_id"]
        sim.request(ask(UpdateAction, owner, action_id=action["id"], state=SUCCESS))
    sim.settle()
    assert {r["state"] for r in sim.store.runs.values()} == {SUCCESS}


def test_eng_170_cancel_reaches_sub_workflows_and_closes_tasks() -> None:
    body = """w:
  tasks:
    t: {workflow: child}
child: {tasks: {c: {wait-before: 100}}}"""
    sim = Simulator(workflow(body))
    run_id = sim.start("w")
    while sim.queue:
        sim._turn(sim.queue.pop(0)[0])
    sim.request(ask(StopWorkflow, run_id, state="CANCELLED", message="enough"))
    sim.settle()
    rows = list(sim.store.runs.values())
    assert [(r["state"], r["output"]) for r in rows] == [
        ("CANCELLED", {"result": "enough"})
    ] * 2
    assert sim.states(run_id) == {"t": "CANCELLED"}
    assert len(sim.calls) == 0


def test_eng_180_181_stop_and_pause_by_state() -> None:
    sim = Simulator(APPROVAL)
    run_id = sim.start("w")
    sim.request(ask(PauseWorkflow, run_id))
    with pytest.raises(CallerError, match="Can't change workflow execution state"):
        sim.request(ask(StopWorkflow, run_id, state=SUCCESS))
    sim.request(ask(StopWorkflow, run_id, state=ERROR, message="no"))
    assert sim.store.runs[run_id]["state"] == ERROR
    with pytest.raises(CallerError):
        sim.request(ask(PauseWorkflow, run_id))
    sim.request(ask(StopWorkflow, run_id, state="CANCELLED"))
    assert sim.store.runs[run_id]["state"] == ERROR


FLAKY = workflow(
    """w:
  tasks:
    t: {action: std.sleep, publish: {ok: 1}, on-success: after}
    after: {description: x}"""
)


def test_eng_185_190_rerun_of_a_failed_task() -> None:
    answers = iter([(ERROR, "no"), (SUCCESS, 1)])
    sim = Simulator(FLAKY, script=lambda call: next(answers))
    row = sim.run("w")
    assert row["state"] == ERROR
    task = sim.tasks(row["id"], "t")[0]
    sim.request(ask(RerunTask, row["id"], task_id=task.id, reset=True))
    with pytest.raises(BadRequest):
        sim.request(ask(RerunTask, row["id"], task_id=task.id, reset=True))
    sim.settle()
    assert sim.store.runs[row["id"]]["state"] == SUCCESS
    assert sim.states(row["id"]) == {"t": SUCCESS, "after": SUCCESS}


def test_eng_136_rerun_without_reset_runs_exactly_the_bad_items() -> None:
    body = """w:
  tasks:
    t:
      with-items: i in <% range(5) %>
      action: std.sleep seconds=<% $.i %>
      publish: {r: <% task().result %>}"""
    bad = {1, 3}

    def script(call: Any) -> tuple[str, Any]:
        return (ERROR, "no") if call["seconds"] in bad else (SUCCESS, call["seconds"])

    sim = Simulator(workflow(body), script=script)
    row = sim.run("w")
    assert row["state"] == ERROR
    bad.clear()
    sim.calls.clear()
    task = sim.tasks(row["id"])[0]
    sim.request(ask(RerunTask, row["id"], task_id=task.id, reset=False))
    sim.settle()
    assert sorted(call["seconds"] for call in sim.calls) == [1, 3]
    assert sim.store.runs[row["id"]]["output"] == {"r": [0, 1, 2, 3, 4]}


def test_eng_094_rerun_of_an_inbound_task_revives_the_join() -> None:
    body = """w:
  tasks:
    a: {action: std.sleep, on-success: j}
    b: {on-success: j}
    j: {join: all}"""
    answers = iter([(ERROR, "no"), (SUCCESS, 1)])
    sim = Simulator(workflow(body), script=lambda call: next(answers))
    row = sim.run("w")
    assert sim.states(row["id"]) == {"a": ERROR, "b": SUCCESS, "j": ERROR}
    task = sim.tasks(row["id"], "a")[0]
    sim.request(ask(RerunTask, row["id"], task_id=task.id, reset=True))
    sim.settle()
    assert sim.states(row["id"]) == {"a": SUCCESS, "b": SUCCESS, "j": SUCCESS}
    assert sim.store.runs[row["id"]]["state"] == SUCCESS


def test_eng_192_194_skip_goes_on() -> None:
    body = """w:
  tasks:
    t:
      action: std.fail
      publish-on-skip: {s: 1}
      on-success: after
      on-complete: other
    after: {description: x}
    other: {description: x}
  output: {s: <% $.s %>}"""
    sim = Simulator(workflow(body))
    row = sim.run("w")
    assert row["state"] == ERROR
    task = sim.tasks(row["id"], "t")[0]
    sim.request(ask(SkipTask, row["id"], task_id=task.id))
    sim.settle()
    states = sim.states(row["id"])
    assert (states["t"], states["after"]) == ("SKIPPED", SUCCESS)
    assert sim.store.runs[row["id"]]["output"] == {"s": 1}


def test_eng_189_rerun_three_levels_down_reopens_all_ancestors() -> None:
    body = """w: {tasks: {t: {workflow: mid}}}
mid: {tasks: {m: {workflow: leaf}}}
leaf: {tasks: {l: {action: std.sleep}}}"""
    answers = iter([(ERROR, "no"), (SUCCESS, 1)])
    sim = Simulator(workflow(body), script=lambda call: next(answers))
    row = sim.run("w")
    assert {r["state"] for r in sim.store.runs.values()} == {ERROR}
    leaf = next(r for r in sim.store.runs.values() if r["workflow_name"] == "leaf")
    task = sim.tasks(leaf["id"])[0]
    sim.request(ask(RerunTask, leaf["id"], task_id=task.id, reset=True))
    sim.settle()
    assert {r["state"] for r in sim.store.runs.values()} == {SUCCESS}
    assert sim.states(row["id"]) == {"t": SUCCESS}


def test_eng_044_067_followups_of_a_task_that_ended_in_a_failed_run() -> None:
    body = """w:
  tasks:
    bad: {action: std.sleep, on-error: fail}
    slow: {action: std.async_noop, on-success: after}
    after: {description: x}"""
    answers = iter([(ERROR, "no"), (SUCCESS, 1)])
    sim = Simulator(workflow(body), script=_only_sleep(answers))
    row = sim.run("w")
    assert row["state"] == ERROR
    slow = sim.tasks(row["id"], "slow")[0]
    action = next(
        a for a in sim.store.action_rows.values() if a["task_execution_id"] == slow.id
    )
    sim.request(ask(UpdateAction, row["id"], action_id=action["id"], state=SUCCESS))
    sim.settle()
    assert "after" not in sim.states(row["id"])
    bad = sim.tasks(row["id"], "bad")[0]
    sim.request(ask(RerunTask, row["id"], task_id=bad.id, reset=True))
    sim.settle()
    assert sim.states(row["id"]) == {"bad": SUCCESS, "slow": SUCCESS, "after": SUCCESS}
    assert sim.store.runs[row["id"]]["state"] == SUCCESS


def _only_sleep(answers: Any) -> Any:
    return lambda call: next(answers) if call["name"] == "std.sleep" else None


def test_eng_177_same_id_starts_once_and_delete_wants_the_end() -> None:
    sim = Simulator(APPROVAL)
    run_id = sim.start("w")
    with pytest.raises(Forbidden):
        sim.request(ask(DeleteWorkflow, run_id))
    sim.request(ask(DeleteWorkflow, run_id, force=True))
    assert run_id not in sim.store.runs


@pytest.mark.parametrize(
    ("given", "text"),
    [({}, "missing"), ({"a": 1, "b": 2}, "unexpected")],
)
def test_eng_002_003_start_checks_the_input(given: Any, text: str) -> None:
    sim = Simulator(workflow("w: {input: [a], tasks: {t: {description: x}}}"))
    with pytest.raises(BadRequest, match=text):
        sim.start("w", given)
    assert not sim.store.runs


def test_large_values_are_stored_once() -> None:
    body = """w:
  input: [big]
  tasks:
    a: {publish: {big: <% $.big + 'x' %>}, on-success: b}
    b: {on-success: c}
    c: {on-success: d}
    d: {publish: {n: <% $.big.len() %>}}
  output: {n: <% $.n %>}"""
    sim = Simulator(workflow(body))
    row = sim.run("w", {"big": "y" * 50_000})
    assert row["output"] == {"n": 50_001}
    contexts = [len(str(task.in_context)) for task in sim.tasks(row["id"])]
    assert max(contexts) < 200
    assert len(sim.store.document_rows) == 1
