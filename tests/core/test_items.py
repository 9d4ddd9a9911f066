"""with-items on the core alone (spec/engine.md § 4, statements of A.6)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.messages import (
    ActionFinished,
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    UpdateAction,
)

HEAD = "version: '2.0'\n\n"


def ask(kind: Any, run_id: str, **values: Any) -> Any:
    return kind(run_id=run_id, request_id="q", context=CONTEXT, **values)


def task_of(
    items: str, more: str = "", action: str = "std.echo output=<% $.i %>"
) -> str:
    return (
        HEAD
        + f"""w:
  tasks:
    t:
      with-items: {items}
      action: {action}
      publish: {{r: <% task().result %>}}
      publish-on-error: {{r: <% task().result %>}}
      {more}"""
    )


class Hands:
    """An executor by hand: offers are answered when the test says so."""

    def __init__(self, sim: Simulator, run_id: str) -> None:
        self.sim = sim
        self.run_id = run_id

    @property
    def rows(self) -> dict[int, dict[str, Any]]:
        """The newest action execution by index of its item."""
        return {row["item_index"]: row for row in self.sim.store.action_rows.values()}

    def open(self) -> list[int]:
        every = self.sim.store.action_rows.values()
        return sorted(r["item_index"] for r in every if r["state"] == "RUNNING")

    def say(self, index: int, state: str = SUCCESS, result: Any = None) -> None:
        id = self.rows[index]["id"]
        update = ask(
            UpdateAction, self.run_id, action_id=id, state=state, result=result
        )
        self.sim.request(update)
        while self.sim.queue:
            self.sim._turn(self.sim.queue.pop(0)[0])

    @property
    def state(self) -> str:
        return str(self.sim.store.runs[self.run_id]["state"])

    @property
    def task(self) -> Any:
        return self.sim.tasks(self.run_id, "t")[-1]


def by_hand(items: str, more: str = "") -> Hands:
    sim = Simulator(task_of(items, more, action="std.async_noop"))
    return Hands(sim, sim.start("w"))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_eng_126_results_are_in_the_order_of_the_items(order: tuple[int, ...]) -> None:
    hands = by_hand("i in <% [a, b, c] %>")
    for index in order:
        hands.say(index, result=f"r{index}")
    assert hands.state == SUCCESS
    assert hands.task.published == {"r": ["r0", "r1", "r2"]}


@pytest.mark.parametrize("more", ["", "concurrency: 2", "wait-after: 1"])
@pytest.mark.parametrize("empty", ["[]", "dict()", "''", "range(0)"])
def test_eng_127_an_empty_collection_ends_at_once(empty: str, more: str) -> None:
    sim = Simulator(task_of(f"i in <% {empty} %>", more, action="no.such"))
    row = sim.run("w")
    assert (row["state"], row["output"]) == (SUCCESS, {"r": []})
    assert not sim.store.action_rows
    shown = sim.tasks(row["id"])[0].runtime_context["with_items"]
    assert shown["count"] == 0


def test_eng_127_policies_and_clauses_apply_to_an_empty_collection() -> None:
    """§ 4.1: all after policies and clauses as usual."""
    body = (
        HEAD
        + """w:
  output: {r: <% $.r %>}
  tasks:
    t:
      with-items: i in <% [] %>
      fail-on: <% task().result.len() = 0 %>
      retry: count=2 delay=1
      on-error: after
    after: {publish: {r: <% task(t).result %>}}"""
    )
    sim = Simulator(body)
    row = sim.run("w")
    assert (row["state"], row["output"]) == (SUCCESS, {"r": []})
    assert sim.tasks(row["id"], "t")[0].runtime_context["retry_task_policy"] == {
        "retry_no": 2
    }


def test_eng_128_null_items_are_items() -> None:
    row = Simulator(task_of("i in <% [null, 1, null] %>")).run("w")
    assert row["output"] == {"r": [None, 1, None]}


@pytest.mark.parametrize("value", ["null", "5", "true", "1.5", "$.nope"])
def test_eng_128_what_is_no_collection_ends_the_run(value: str) -> None:
    sim = Simulator(task_of(f"i in <% {value} %>", "on-error: noop"))
    row = sim.run("w")
    assert (row["state"], sim.states(row["id"])) == (ERROR, {"t": ERROR})
    if value != "$.nope":
        assert "Iterable type is expected for each value" in row["state_info"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("abc", ["a", "b", "c"]),
        ("'é€'", ["é", "€"]),
        ("dict(k => 1)", ["k"]),
        ("set(7)", [7]),
        ("range(2)", [0, 1]),
        ("[[1], [2, 3], []]", [[1], [2, 3], []]),
        ("[dict(a => 1)]", [{"a": 1}]),
    ],
)
def test_eng_129_140_any_collection_gives_a_list(value: str, expected: Any) -> None:
    assert Simulator(task_of(f"i in <% {value} %>")).run("w")["output"] == {
        "r": expected
    }


@pytest.mark.parametrize("form", ["i in [1, 2]", "'i in {{ [1, 2] }}'"])
def test_eng_129_literals_and_jinja(form: str) -> None:
    assert Simulator(task_of(form)).run("w")["output"] == {"r": [1, 2]}


@pytest.mark.parametrize(
    ("a", "b", "fits"),
    [("[1, 2]", "[3, 4]", True), ("[1, 2]", "[3]", False), ("[1]", "[]", False),
     ("[]", "[]", True), ("ab", "[1, 2]", True)],
)  # fmt: skip
def test_eng_130_collections_have_one_length(a: str, b: str, fits: bool) -> None:
    items = f"['i in <% {a} %>', 'k in <% {b} %>']"
    sim = Simulator(
        task_of(items, "on-error: noop", "std.echo output=<% [$.i, $.k] %>")
    )
    row = sim.run("w")
    assert row["state"] == (SUCCESS if fits else ERROR)
    if fits:
        pairs = {"[1, 2]": [[1, 3], [2, 4]], "[]": [], "ab": [["a", 1], ["b", 2]]}
        assert row["output"]["r"] == pairs[a]
    else:
        assert "All arrays must have the same length" in row["state_info"]


@pytest.mark.parametrize("limit", ["2", "<% $.n %>", "'{{ _.n }}'"])
def test_eng_131_132_concurrency_bounds_what_runs_and_errors_stop_nothing(
    limit: str,
) -> None:
    more = f"concurrency: {limit}"
    text = task_of("i in <% range(6) %>", more, "std.async_noop")
    sim = Simulator(text.replace("w:", "w:\n  input: [{n: 2}]"))
    hands = Hands(sim, sim.start("w"))
    assert hands.task.runtime_context["concurrency"] == 2
    for index in range(6):
        assert hands.open() == list(range(index, min(index + 2, 6)))
        capacity = hands.task.runtime_context["with_items"]
        assert capacity == {"capacity": 2 - len(hands.open()), "count": 6}
        hands.say(index, ERROR if index < 2 else SUCCESS, {"n": index})
    assert (hands.state, hands.task.state) == (ERROR, ERROR)
    assert hands.task.state_info == "One or more actions had failed."
    assert hands.task.published == {"r": [{"n": n} for n in range(6)]}
    assert hands.task.runtime_context["with_items"] == {"capacity": 2, "count": 6}


@pytest.mark.parametrize("limit", ["-1", "<% '2' %>", "<% 1.5 %>", "<% true %>"])
def test_eng_131_a_wrong_concurrency_ends_the_run(limit: str) -> None:
    text = task_of("i in <% [1] %>", f"concurrency: <% {limit.strip('<% >')} %>")
    row = Simulator(text).run("w")
    assert row["state"] == ERROR
    assert "Invalid data type in ConcurrencyPolicy" in row["state_info"]


def test_eng_131_no_concurrency_starts_all() -> None:
    for more in ("", "concurrency: 0"):
        hands = by_hand("i in <% range(4) %>", more)
        assert hands.open() == [0, 1, 2, 3]
        assert "concurrency" not in hands.task.runtime_context
        assert hands.task.runtime_context["with_items"]["capacity"] is None


@pytest.mark.parametrize("more", ["", "concurrency: 2"])
def test_eng_133_a_cancelled_item_cancels_the_task_at_once(more: str) -> None:
    hands = by_hand("i in <% range(4) %>", more)
    before = hands.open()
    hands.say(0, SUCCESS, 1)
    started = set(before) | set(hands.open())
    hands.say(1, "CANCELLED")
    assert hands.task.state == "CANCELLED"
    assert hands.task.state_info == "One or more actions was cancelled."
    assert hands.state == "CANCELLED"
    # The others go on by themselves; those not started never are.
    assert set(hands.rows) == started
    assert hands.open() == sorted(started - {0, 1})
    hands.say(hands.open()[0], SUCCESS, 2)
    assert hands.task.state == "CANCELLED"


@pytest.mark.parametrize("more", ["", "concurrency: 1"])
def test_eng_134_a_retry_runs_all_items_again(more: str) -> None:
    tries: Iterator[int] = itertools.count()

    def script(call: Any) -> tuple[str, Any]:
        number = next(tries)
        return (ERROR if number == 1 else SUCCESS), number

    text = task_of(
        "i in <% range(3) %>",
        f"retry: count=2 delay=1\n      {more}",
        "std.sleep seconds=1",
    )  # fmt: skip
    sim = Simulator(text, script=script)
    row = sim.run("w")
    assert (row["state"], row["output"]) == (SUCCESS, {"r": [3, 4, 5]})
    assert sum(r["accepted"] for r in sim.store.action_rows.values()) == 3
    task = sim.tasks(row["id"])[0]
    assert task.runtime_context["with_items"]["count"] == 3


def failing(bad: set[int], count: int = 5, more: str = "") -> tuple[Simulator, str]:
    def script(call: Any) -> tuple[str, Any]:
        seconds = call["seconds"]
        return (ERROR, "no") if seconds in bad else (SUCCESS, seconds)

    items = f"i in <% range({count}) %>"
    sim = Simulator(task_of(items, more, "std.sleep seconds=<% $.i %>"), script=script)
    run_id = sim.start("w")
    sim.settle()
    assert sim.store.runs[run_id]["state"] == ERROR
    sim.calls.clear()
    return sim, run_id


def rerun(sim: Simulator, run_id: str, reset: bool) -> list[int]:
    """The items that a rerun ran."""
    task = sim.tasks(run_id, "t")[0]
    sim.calls.clear()
    sim.request(ask(RerunTask, run_id, task_id=task.id, reset=reset))
    sim.settle()
    return sorted(call["seconds"] for call in sim.calls)


@pytest.mark.parametrize("more", ["", "concurrency: 2"])
def test_eng_135_rerun_with_reset_runs_all_items(more: str) -> None:
    bad = {1}
    sim, run_id = failing(bad, more=more)
    bad.clear()
    assert rerun(sim, run_id, True) == [0, 1, 2, 3, 4]
    assert sim.store.runs[run_id]["output"] == {"r": [0, 1, 2, 3, 4]}


@pytest.mark.parametrize("bad", [{0}, {4}, {1, 3}, {0, 1, 2, 3, 4}], ids=str)
@pytest.mark.parametrize("more", ["", "concurrency: 2", "wait-before: 3"])
def test_eng_136_rerun_without_reset_runs_exactly_the_bad_items(
    more: str, bad: set[int]
) -> None:
    wrong = set(bad)
    sim, run_id = failing(wrong, more=more)
    assert rerun(sim, run_id, False) == sorted(bad)
    assert sim.store.runs[run_id]["state"] == ERROR
    wrong.clear()
    assert rerun(sim, run_id, False) == sorted(bad)
    row = sim.store.runs[run_id]
    assert (row["state"], row["output"]) == (SUCCESS, {"r": [0, 1, 2, 3, 4]})


def test_eng_136_cancelled_and_never_started_items_run_too() -> None:
    """A time-out leaves items that never ran: § 4.6."""
    hands = by_hand("i in <% range(4) %>", "concurrency: 2\n      timeout: 10")
    hands.say(0, SUCCESS, "kept")
    hands.sim.settle()
    assert hands.task.state_info == "Task timed out [timeout(s)=10]."
    old = set(hands.rows)
    assert old == {0, 1, 2}
    task = hands.task
    hands.sim.request(ask(RerunTask, hands.run_id, task_id=task.id, reset=False))
    assert hands.open() == [1, 2]
    for index in (1, 2, 3):
        hands.say(index, SUCCESS, index)
    assert hands.state == SUCCESS
    assert hands.task.published == {"r": ["kept", 1, 2, 3]}


def test_eng_136_reset_after_a_rerun_that_never_ran_is_still_a_reset() -> None:
    """§ 5.5: what the operator said last holds, through waits and time-outs."""
    sim, run_id = failing(
        {1}, more="wait-before: 5\n      timeout: <% env().get(t, 0) %>"
    )
    sim.store.runs[run_id]["params"]["env"]["t"] = 2
    assert rerun(sim, run_id, False) == []
    assert sim.tasks(run_id)[0].state_info.startswith("Task timed out")
    sim.store.runs[run_id]["params"]["env"]["t"] = 0
    assert rerun(sim, run_id, True) == [0, 1, 2, 3, 4]


def test_eng_136_retry_after_a_rerun_without_reset_runs_all() -> None:
    """A retry repeats the whole task (§ 4.5)."""
    bad = {1}
    sim, run_id = failing(bad, more="retry: count=1 delay=1")
    assert rerun(sim, run_id, False) == sorted([1, 0, 1, 2, 3, 4])


SUBS = (
    HEAD
    + """w:
  tasks:
    t:
      with-items: i in <% [1, 2, 3] %>
      workflow: s x=<% $.i %>
      publish: {r: <% task().result %>}
      MORE
s:
  input: [x]
  output: {y: <% $.y %>}
  tasks:
    u: {action: std.sleep seconds=<% $.x %>, publish: {y: <% task().result %>}}"""
)


@pytest.mark.parametrize("more", ["description: x", "concurrency: 1"])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_eng_137_items_may_be_sub_workflows(more: str, seed: int | None) -> None:
    sim = Simulator(
        SUBS.replace("MORE", more), seed=seed,
        script=lambda call: (SUCCESS, call["seconds"] * 10),
    )  # fmt: skip
    row = sim.run("w")
    assert row["output"] == {"r": [{"y": 10}, {"y": 20}, {"y": 30}]}
    children = [r for r in sim.store.runs.values() if r["task_execution_id"]]
    assert sorted(
        (r["params"]["index"], r["input"]["x"], r["description"]) for r in children
    ) == [(n, n + 1, "sub-workflow execution") for n in range(3)]


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_eng_135_136_137_rerun_of_sub_workflow_items(
    seed: int | None, reset: bool
) -> None:
    bad = {2}

    def script(call: Any) -> tuple[str, Any]:
        seconds = call["seconds"]
        return (ERROR, "no") if seconds in bad else (SUCCESS, seconds)

    sim = Simulator(SUBS.replace("MORE", "concurrency: 2"), script=script, seed=seed)
    run_id = sim.start("w")
    sim.settle()
    assert sim.store.runs[run_id]["state"] == ERROR
    bad.clear()
    assert rerun(sim, run_id, reset) == ([1, 2, 3] if reset else [2])
    row = sim.store.runs[run_id]
    assert row["output"] == {"r": [{"y": 1}, {"y": 2}, {"y": 3}]}


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_eng_134_137_a_retry_starts_all_sub_workflows_again(seed: int | None) -> None:
    tries: Iterator[int] = itertools.count()

    def script(call: Any) -> tuple[str, Any]:
        return (ERROR if next(tries) < 1 else SUCCESS), call["seconds"]

    more = "retry: count=1 delay=1"
    sim = Simulator(SUBS.replace("MORE", more), script=script, seed=seed)
    row = sim.run("w")
    assert row["output"] == {"r": [{"y": 1}, {"y": 2}, {"y": 3}]}
    assert len(sim.store.runs) == 1 + 2 * 3


def test_eng_137_an_item_that_cannot_start_fails_the_task_at_once() -> None:
    """§ 4.4: the text says why; children that have started go on."""
    body = (
        HEAD
        + """w:
  tasks:
    t:
      with-items: i in <% [1, 2] %>
      workflow: <% env().name %>
      on-error: after
    after: {description: x}"""
    )
    sim = Simulator(body)
    row = sim.run("w", env={"name": "nowhere"})
    assert (row["state"], sim.states(row["id"])) == (
        SUCCESS, {"t": ERROR, "after": SUCCESS},
    )  # fmt: skip
    text = sim.tasks(row["id"], "t")[0].state_info
    assert text == "Failed to find workflow [name=nowhere] [namespace=] [item=0]"


def test_eng_138_a_paused_item_pauses_task_and_workflow() -> None:
    hands = by_hand("i in <% range(3) %>")
    hands.say(0, "PAUSED")
    assert (hands.state, hands.task.state) == ("PAUSED", "PAUSED")
    hands.say(1, SUCCESS, 1)
    assert (hands.state, hands.task.state) == ("PAUSED", "PAUSED")
    hands.say(2, "PAUSED")
    hands.say(0, "RUNNING")
    assert (hands.state, hands.task.state) == ("PAUSED", "PAUSED")
    hands.say(2, "RUNNING")
    assert (hands.state, hands.task.state) == ("RUNNING", "RUNNING")
    hands.say(0, SUCCESS, 0)
    hands.say(2, SUCCESS, 2)
    assert hands.state == SUCCESS
    assert hands.task.published == {"r": [0, 1, 2]}


@pytest.mark.parametrize("held", ["workflow", "item"])
def test_eng_139_no_item_starts_while_paused(held: str) -> None:
    hands = by_hand("i in <% range(5) %>", "concurrency: 2")
    if held == "workflow":
        hands.sim.request(ask(PauseWorkflow, hands.run_id, message=None))
    else:
        hands.say(0, "PAUSED")
    hands.say(1, SUCCESS, 1)
    assert set(hands.rows) == {0, 1}
    if held == "workflow":
        hands.say(0, SUCCESS, 0)
        assert set(hands.rows) == {0, 1}
        hands.sim.request(ask(ResumeWorkflow, hands.run_id, env=None))
        assert hands.open() == [2, 3]
    else:
        hands.say(0, "RUNNING")
        assert hands.open() == [0, 2]


def test_eng_139_the_last_items_end_while_paused() -> None:
    hands = by_hand("i in <% range(2) %>", "concurrency: 2")
    hands.sim.request(ask(PauseWorkflow, hands.run_id, message=None))
    hands.say(0, SUCCESS, 0)
    hands.say(1, SUCCESS, 1)
    assert (hands.state, hands.task.state) == ("PAUSED", SUCCESS)
    hands.sim.request(ask(ResumeWorkflow, hands.run_id, env=None))
    assert hands.state == SUCCESS


def test_eng_140_one_item_gives_a_list() -> None:
    assert Simulator(task_of("i in <% [7] %>")).run("w")["output"] == {"r": [7]}


@pytest.mark.thorough
def test_eng_141_no_turn_opens_all_of_ten_thousand_items() -> None:
    text = task_of("i in <% range(10000) %>", action="std.async_noop")
    sim = Simulator(text)
    run_id = sim.start("w")
    opened = [len(sim.store.action_rows)]
    while sim.queue:
        sim._turn(sim.queue.pop(0)[0])
        opened.append(len(sim.store.action_rows))
    assert opened[-1] == 10_000
    assert max(b - a for a, b in itertools.pairwise([0, *opened])) == 500
    assert sim.tasks(run_id)[0].state == "RUNNING"


@pytest.mark.parametrize(
    "fault", ["action: <% env().nope %>", "action: no.such",
              "action: std.noop\n      target: <% env().nope %>"],
)  # fmt: skip
def test_an_item_that_cannot_be_scheduled_is_an_ordinary_error(fault: str) -> None:
    """LANG § 28.1: with-items, unlike plain tasks."""
    body = (
        HEAD
        + f"""w:
  tasks:
    t:
      with-items: i in <% [1, 2] %>
      {fault}
      on-error: after
    after: {{description: x}}"""
    )
    sim = Simulator(body)
    row = sim.run("w")
    assert (row["state"], sim.states(row["id"])) == (
        SUCCESS, {"t": ERROR, "after": SUCCESS},
    ), row["state_info"]  # fmt: skip
    plain = Simulator(body.replace("      with-items: i in <% [1, 2] %>\n", ""))
    row = plain.run("w")
    assert (row["state"], plain.states(row["id"])) == (ERROR, {"t": ERROR})


def test_an_input_that_fails_for_one_item_ends_the_run() -> None:
    """LANG § 28.1: any task."""
    sim = Simulator(task_of("i in <% [1, 0] %>", "on-error: noop",
                            "std.echo output=<% 1 / $.i %>"))  # fmt: skip
    row = sim.run("w")
    assert (row["state"], sim.states(row["id"])) == (ERROR, {"t": ERROR})


def test_eng_134_a_late_result_of_an_earlier_attempt_does_not_count() -> None:
    """A batch that broke off in the middle is retried while its first items
    still run."""
    actions = (
        HEAD
        + """ad:
  base: std.sleep
  base-input: {seconds: <% $.fits.get($.i) + 0 %>}
  input: [i, fits]"""
    )
    body = (
        HEAD
        + """w:
  tasks:
    t:
      with-items: i in <% [a, b] %>
      action: ad i=<% $.i %> fits=<% env().fits %>
      retry: count=1 delay=10
      publish: {r: <% task().result %>}"""
    )
    sim = Simulator(body, actions=actions)
    run_id = sim.start("w", env={"fits": {"a": 1}})
    (first,) = sim.store.action_rows.values()
    assert sim.states(run_id) == {"t": "DELAYED"}
    sim.request(
        ActionFinished(run_id=run_id, action_id=first["id"], attempt=1, result="late")
    )
    sim.store.runs[run_id]["params"]["env"]["fits"]["b"] = 2
    sim.script = lambda call: (SUCCESS, call["seconds"])
    sim.offers.clear()
    sim.settle()
    assert sim.store.runs[run_id]["output"] == {"r": [1, 2]}
