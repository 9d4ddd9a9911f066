"""What one task does: its call, its items, its policies.

Each row is a statement of the language (spec/language.md, Appendix B) and a
workflow that shows it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.messages import UpdateAction

HEAD = "version: '2.0'\n\n"

# id, workflow, input, state, output (... is any), states of tasks
TABLE: list[tuple[str, str, dict[str, Any], str, Any, dict[str, str]]] = [
    (
        "LANG-065 keep-result: false drops the result once it was published",
        """w:
  tasks:
    t:
      action: std.echo output="x"
      keep-result: false
      publish: {r: <% task().result %>}
      on-success: after
    after: {publish: {later: <% task(t).result %>}}""",
        {}, SUCCESS, {"r": "x", "later": None}, {"t": SUCCESS, "after": SUCCESS},
    ),
    (
        "LANG-066 an expression of keep-result is evaluated",
        """w:
  tasks:
    t: {action: std.echo output="x", keep-result: <% false %>, on-success: after}
    after: {publish: {later: <% task(t).result %>}}""",
        {}, SUCCESS, {"later": None}, {"t": SUCCESS, "after": SUCCESS},
    ),
    (
        "LANG-071 a missing action parameter is a forced failure",
        "w: {tasks: {t: {action: std.echo, on-error: b}, b: {join: 0}}}",
        {}, ERROR, ..., {"t": ERROR},
    ),
    (
        "LANG-071 an unexpected one, too",
        "w: {tasks: {t: {action: std.noop x=1, on-error: b}, b: {join: 0}}}",
        {}, ERROR, ..., {"t": ERROR},
    ),
    (
        "LANG-072 a failing input expression is a forced failure",
        """w:
  tasks:
    t: {action: std.echo output=<% $.n %>, on-error: b}
    b: {join: 0}""",
        {}, ERROR, ..., {"t": ERROR},
    ),
    (
        "LANG-094 the action is chosen dynamically, null chooses std.noop",
        """w:
  input: [k]
  tasks:
    a: {action: std.<%$.k%>, input: {output: 7}, publish: {a: <% task().result %>}}
    b: {action: <% null %>, publish: {b: <% task().result %>}}""",
        {"k": "echo"}, SUCCESS, {"a": 7, "b": None}, {"a": SUCCESS, "b": SUCCESS},
    ),
    (
        "LANG-095 a mapping from an expression supplies all parameters",
        """w:
  input: [m]
  tasks:
    t: {action: std.echo, input: <% $.m %>, publish: {r: <% task().result %>}}""",
        {"m": {"output": 5}}, SUCCESS, {"r": 5}, {"t": SUCCESS},
    ),
    (
        "LANG-095 anything else is a forced failure",
        """w:
  input: [m]
  tasks:
    t: {action: std.echo, input: <% $.m %>, on-error: b}
    b: {join: 0}""",
        {"m": [1]}, ERROR, ..., {"t": ERROR},
    ),
    (
        "LANG-102 one item gives a list of one",
        """w:
  tasks:
    t:
      with-items: i in <% [7] %>
      action: std.echo output=<% $.i %>
      publish: {r: <% task().result %>}""",
        {}, SUCCESS, {"r": [7]}, {"t": SUCCESS},
    ),
    (
        "LANG-104 unequal lengths are a forced failure",
        """w:
  tasks:
    t: {with-items: ['a in <% [1] %>', 'b in <% [] %>'], on-error: b}
    b: {join: 0}""",
        {}, ERROR, ..., {"t": ERROR},
    ),
    (
        "LANG-105 a mapping iterates keys, a string its characters",
        """w:
  tasks:
    m:
      with-items: i in <% dict(k => 1) %>
      action: std.echo output=<% $.i %>
      publish: {m: <% task().result %>}
    s:
      with-items: i in <% "ab" %>
      action: std.echo output=<% $.i %>
      publish: {s: <% task().result %>}""",
        {}, SUCCESS, {"m": ["k"], "s": ["a", "b"]}, {"m": SUCCESS, "s": SUCCESS},
    ),
    (
        "LANG-105 null is a forced failure",
        "w: {tasks: {t: {with-items: 'i in <% null %>', on-error: b}, b: {join: 0}}}",
        {}, ERROR, ..., {"t": ERROR},
    ),
    (
        "LANG-105 a number, too",
        "w: {tasks: {t: {with-items: 'i in <% 5 %>', on-error: b}, b: {join: 0}}}",
        {}, ERROR, ..., {"t": ERROR},
    ),
    (
        "LANG-108 LANG-109 a loop variable wins over input and branch variable",
        """w:
  input: [i]
  tasks:
    first: {publish: {j: branch}, on-success: t}
    t:
      with-items: ['i in <% [1] %>', 'j in <% [2] %>']
      action: std.echo output=<% [$.i, $.j] %>
      publish: {r: <% task().result %>}""",
        {"i": "input"}, SUCCESS, {"j": "branch", "r": [[1, 2]]},
        {"first": SUCCESS, "t": SUCCESS},
    ),
    (
        "LANG-110 publish cannot see loop variables",
        """w:
  tasks:
    t:
      with-items: i in <% [1] %>
      action: std.echo output=<% $.i %>
      publish: {r: '<% $.get(i, unseen) %>'}""",
        {}, SUCCESS, {"r": "unseen"}, {"t": SUCCESS},
    ),
    (
        "LANG-112 a concurrency that is no number is a forced failure at once",
        """w:
  tasks:
    t: {with-items: 'i in <% [1] %>', concurrency: <% abc %>, on-error: b}
    b: {join: 0}""",
        {}, ERROR, ..., {"t": ERROR},
    ),
    (
        "LANG-115 with sub-workflows the result lists their outputs",
        """w:
  tasks:
    t:
      with-items: i in <% [1, 2] %>
      workflow: child n=<% $.i %>
      publish: {r: <% task().result %>}
child: {input: [n], output: {twice: <% $.n * 2 %>}, tasks: {c: {join: 0}}}""",
        {}, SUCCESS, {"r": [{"twice": 2}, {"twice": 4}]}, {"t": SUCCESS},
    ),
    (
        "LANG-203 break-on stops retrying, the state stays ERROR",
        """w:
  tasks:
    t:
      action: std.fail
      publish-on-error: {n: 1}
      retry: {count: 3, delay: 1, break-on: <% $.n = 1 %>}
      on-error: noop""",
        {}, SUCCESS, {"n": 1}, {"t": ERROR},
    ),
    (
        "LANG-207 LANG-208 fail-on keeps what was published, runs on-error",
        """w:
  tasks:
    t:
      action: std.echo output=3
      publish: {seen: <% task().result %>}
      fail-on: <% task().result > 2 and $.get(seen) = null %>
      on-error: b
    b: {join: 0}""",
        {}, SUCCESS, {"seen": 3}, {"t": ERROR, "b": SUCCESS},
    ),
    (
        "LANG-210 a string as wait-before is a forced failure",
        "w: {tasks: {t: {wait-before: '<% \"1\" %>', on-error: b}, b: {join: 0}}}",
        {}, ERROR, ..., {"t": ERROR},
    ),
    (
        "LANG-211 a hanging task times out and on-error runs",
        """w:
  tasks:
    t: {action: std.async_noop, timeout: 5, on-error: b}
    b: {join: 0}""",
        {}, SUCCESS, {}, {"t": ERROR, "b": SUCCESS},
    ),
    (
        "LANG-212 a delayed task is not resurrected after its timeout",
        """w:
  tasks:
    t: {wait-before: 9, timeout: 5, on-success: good, on-error: bad}
    good: {join: 0}
    bad: {join: 0}""",
        {}, SUCCESS, {}, {"t": ERROR, "bad": SUCCESS},
    ),
    (
        "LANG-216 a literal that is false overrides a default",
        """w:
  task-defaults: {fail-on: true, on-error: noop}
  tasks:
    a: {fail-on: false}
    b: {join: 0}""",
        {}, SUCCESS, {}, {"a": SUCCESS, "b": ERROR},
    ),
    (
        "LANG-227 sub-workflows see the environment of the root",
        """w: {tasks: {t: {workflow: child, publish: {r: <% task().result.e %>}}}}
child: {output: {e: <% env().k %>}, tasks: {c: {join: 0}}}""",
        {}, SUCCESS, {"r": "v"}, {"t": SUCCESS},
    ),
    (
        "LANG-213 a timeout from the environment works on a task",
        "w: {tasks: {t: {action: std.async_noop, timeout: <% env().t %>, "
        "publish-on-error: {r: <% task().state_info %>}, on-error: noop}}}",
        {}, SUCCESS, {"r": "Task timed out [timeout(s)=4]."}, {"t": ERROR},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "given", "state", "output", "tasks"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_statement(
    text: str, given: dict[str, Any], state: str, output: Any, tasks: dict[str, str]
) -> None:
    sim = Simulator(HEAD + text)
    row = sim.run("w", given, env={"k": "v", "t": 4})
    assert row["state"] == state, row["state_info"]
    assert sim.states(row["id"]) == tasks
    if output is not ...:
        assert row["output"] == output


def test_lang_112_no_item_starts_with_a_wrong_concurrency() -> None:
    body = "w: {tasks: {t: {with-items: 'i in <% [1] %>', concurrency: <% a %>}}}"
    sim = Simulator(HEAD + body)
    sim.run("w")
    assert not sim.store.action_rows


def test_lang_106_results_are_in_the_order_of_the_items() -> None:
    """The items end in a random order."""
    body = """w:
  tasks:
    t:
      with-items: i in <% range(8) %>
      action: std.sleep seconds=<% $.i %>
      publish: {r: <% task().result %>}"""
    ends: list[int] = []

    def script(call: Mapping[str, Any]) -> None:
        ends.append(call["seconds"])

    sim = Simulator(HEAD + body, script=script)
    run_id = sim.start("w")
    sim.settle()
    actions = list(sim.store.action_rows.values())
    random.Random(4).shuffle(actions)
    for action in actions:
        sim.request(
            UpdateAction(
                run_id=run_id, request_id="q", context=CONTEXT, action_id=action["id"],
                state=SUCCESS, result=action["input"]["seconds"],
            )
        )  # fmt: skip
        sim.settle()
    assert [a["input"]["seconds"] for a in actions] != list(range(8))
    assert sim.store.runs[run_id]["output"] == {"r": list(range(8))}


def test_lang_111_never_more_than_two_in_progress_and_all_are_done() -> None:
    body = """w:
  tasks:
    t:
      with-items: i in <% range(5) %>
      concurrency: 2
      action: std.sleep seconds=1"""
    counts: list[int] = []

    def script(call: Any) -> tuple[str, Any]:
        rows = sim.store.action_rows.values()
        counts.append(sum(row["state"] == "RUNNING" for row in rows))
        return SUCCESS, None

    sim = Simulator(HEAD + body, script=script)
    assert sim.run("w")["state"] == SUCCESS
    assert (max(counts), len(counts)) == (2, 5)


def failing(times: int) -> Any:
    """An executor whose first calls of every input fail."""
    seen: dict[str, int] = {}

    def script(call: Mapping[str, Any]) -> tuple[str, Any]:
        key = str(sorted(call.items()))
        seen[key] = seen.get(key, 0) + 1
        return (ERROR, "no") if seen[key] <= times else (SUCCESS, call["seconds"])

    return script


def test_lang_113_retry_repeats_all_items_with_one_entry_each() -> None:
    body = """w:
  tasks:
    t:
      with-items: i in <% [1, 2] %>
      action: std.sleep seconds=<% $.i %>
      retry: {count: 1, delay: 0}
      publish: {r: <% task().result %>}"""
    first = [(ERROR, "no"), (SUCCESS, 2), (SUCCESS, 1), (SUCCESS, 2)]
    answers = iter(first)
    sim = Simulator(HEAD + body, script=lambda call: next(answers))
    assert sim.run("w")["output"] == {"r": [1, 2]}
    assert len(sim.calls) == 4


def accepted(sim: Simulator) -> list[Any]:
    return [row for row in sim.store.action_rows.values() if row["accepted"]]


@pytest.mark.parametrize(
    ("retry", "times", "calls", "state"),
    [
        pytest.param("{count: 2, delay: 0}", 9, 3, ERROR, id="LANG-200"),
        pytest.param("{count: 2, delay: 0}", 1, 2, SUCCESS, id="LANG-200 in time"),
        pytest.param("count=2 delay=0", 9, 3, ERROR, id="LANG-201"),
        pytest.param(
            "{count: 2, delay: 0, continue-on: <% true %>}", 0, 3, SUCCESS,
            id="LANG-204",
        ),
        pytest.param(
            "{count: 2, delay: 0, continue-on: <% false %>}", 9, 1, ERROR,
            id="LANG-205",
        ),
        pytest.param(
            "{count: 2, delay: 0, break-on: <% true %>}", 9, 1, ERROR, id="LANG-203"
        ),
    ],
)  # fmt: skip
def test_retry(retry: str, times: int, calls: int, state: str) -> None:
    body = f"w: {{tasks: {{t: {{action: std.sleep seconds=1, retry: {retry}}}}}}}"
    sim = Simulator(HEAD + body, script=failing(times))
    row = sim.run("w")
    assert (len(sim.calls), sim.states(row["id"])) == (calls, {"t": state})
    assert len(accepted(sim)) == 1


def test_lang_206_break_on_sees_what_the_attempt_published_the_next_does_not() -> None:
    body = """w:
  input: [{n: 10}]
  tasks:
    t:
      action: std.fail error_data=<% $.n %>
      publish-on-error: {n: <% $.n + 1 %>, last: <% task().result %>}
      retry: {count: 3, delay: 0, break-on: <% $.last = 11 %>}
      on-error: noop"""
    sim = Simulator(HEAD + body)
    row = sim.run("w")
    # The input is 10 each time, so break-on never holds.
    assert len(sim.store.action_rows) == 4
    assert row["output"] == {"n": 11, "last": 10}
    sim = Simulator(HEAD + body.replace("$.last = 11", "$.n = 11"))
    sim.run("w")
    assert len(sim.store.action_rows) == 1


def test_lang_209_fail_on_with_retry_repeats_the_task() -> None:
    body = """w:
  tasks:
    t:
      action: std.sleep seconds=1
      fail-on: <% task().result < 3 %>
      retry: {count: 5, delay: 0}
      publish: {r: <% task().result %>}"""
    answers = iter([(SUCCESS, 1), (SUCCESS, 2), (SUCCESS, 3)])
    sim = Simulator(HEAD + body, script=lambda call: next(answers))
    row = sim.run("w")
    assert (row["state"], row["output"]) == (SUCCESS, {"r": 3})
    assert len(sim.calls) == 3


def test_lang_264_input_over_the_limit_is_handled_published_is_forced() -> None:
    body = """w:
  input: [big]
  tasks:
    called: {action: std.echo output=<% $.big + $.big %>, on-error: b}
    b: {join: 0}
p:
  input: [big]
  tasks:
    t: {publish: {v: <% $.big + $.big %>}, on-error: b}
    b: {join: 0}"""
    sim = Simulator(HEAD + body, rules=Rules(field_limit=1500))
    row = sim.run("w", {"big": "x" * 1000})
    assert row["state"] == SUCCESS
    assert sim.states(row["id"]) == {"called": ERROR, "b": SUCCESS}
    row = sim.run("p", {"big": "x" * 1000})
    assert row["state"] == ERROR
    assert sim.states(row["id"]) == {"t": ERROR}


@pytest.mark.parametrize(
    "target", ['"a\\0b"', '"x" * 201', "[1]", "{a => 1}", '"ü" * 101']
)
def test_a_target_that_names_no_queue_is_a_forced_failure(target: str) -> None:
    """ENG § 8.5: neither the outbox nor a broker could hold it."""
    target = target.replace('"x" * 201', f'"{"x" * 201}"')
    target = target.replace('"ü" * 101', f'"{"ü" * 101}"')
    sim = Simulator(
        HEAD
        + f"""w:
  tasks:
    t: {{action: std.sleep, target: '<% {target} %>', on-error: noop}}"""
    )
    row = sim.run("w")
    assert row["state"] == ERROR
    assert (
        "Invalid 'target': expected the name of an executor group" in row["state_info"]
    )
    assert not sim.offers
