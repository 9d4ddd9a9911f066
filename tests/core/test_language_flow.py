"""Who runs after whom: transitions, commands, joins, reverse workflows.

Each row is a statement of the language (spec/language.md, Appendix B) and a
workflow that shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from played import standard
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.errors import AuthorError, BadRequest
from mistral.messages import State, UpdateAction

HEAD = "version: '2.0'\n\n"

# id, workflow, state, how often each task ran in which state
TABLE: list[tuple[str, str, str, dict[str, list[str]]]] = [
    (
        "LANG-059 an unreachable island never runs",
        """w:
  tasks:
    a: {join: 0}
    b: {on-success: c}
    c: {on-success: b}""",
        SUCCESS, {"a": [SUCCESS]},
    ),
    (
        "LANG-150 the string false is truthy; 0, empty and null are falsy",
        """w:
  tasks:
    t:
      on-success:
        - text: <% "false" %>
        - zero: <% 0 %>
        - empty: <% "" %>
        - list: <% [] %>
        - map: <% {} %>
        - nothing: <% null %>
    text: {join: 0}
    zero: {join: 0}
    empty: {join: 0}
    list: {join: 0}
    map: {join: 0}
    nothing: {join: 0}""",
        SUCCESS, {"t": [SUCCESS], "text": [SUCCESS]},
    ),
    (
        "LANG-151 a failing condition is a forced failure",
        """w:
  tasks:
    t: {on-success: [a, {b: <% $.nope %>}], on-error: c, on-complete: c}
    a: {join: 0}
    b: {join: 0}
    c: {join: 0}""",
        ERROR, {"t": [ERROR]},
    ),
    (
        "LANG-152 on SUCCESS the specific clause precedes on-complete",
        """w:
  tasks:
    t: {on-success: [a, fail], on-complete: [b, succeed]}
    a: {join: 0}
    b: {join: 0}""",
        ERROR, {"t": [SUCCESS], "a": [SUCCESS]},
    ),
    (
        "LANG-152 on ERROR, too",
        """w:
  tasks:
    t: {action: std.fail, on-error: [a, succeed], on-complete: [b, fail]}
    a: {join: 0}
    b: {join: 0}""",
        SUCCESS, {"t": [ERROR], "a": [SUCCESS]},
    ),
    (
        "LANG-153 on-complete alone does not handle an error",
        """w:
  tasks:
    t: {action: std.fail, on-complete: a}
    a: {join: 0}""",
        ERROR, {"t": [ERROR], "a": [SUCCESS]},
    ),
    (
        "LANG-154 on-error: noop handles it",
        "w: {tasks: {t: {action: std.fail, on-error: noop}}}",
        SUCCESS, {"t": [ERROR]},
    ),
    (
        "LANG-156 nothing starts behind fail, what is before it runs",
        """w:
  tasks:
    t: {on-success: [b, fail, c]}
    b: {join: 0}
    c: {join: 0}""",
        ERROR, {"t": [SUCCESS], "b": [SUCCESS]},
    ),
    (
        "LANG-162 succeed after an unhandled error ends in SUCCESS",
        """w:
  tasks:
    bad: {action: std.fail}
    t: {wait-before: 5, on-success: succeed}""",
        SUCCESS, {"bad": [ERROR], "t": [SUCCESS]},
    ),
    (
        "LANG-164 a target in two clauses that fire runs twice",
        """w:
  tasks:
    t: {on-success: b, on-complete: b}
    b: {join: 0}""",
        SUCCESS, {"t": [SUCCESS], "b": [SUCCESS, SUCCESS]},
    ),
    (
        "LANG-166 parameters of an ordinary target are ignored",
        """w:
  tasks:
    t: {on-success: 'b output="lost"'}
    b: {action: std.noop}""",
        SUCCESS, {"t": [SUCCESS], "b": [SUCCESS]},
    ),
    (
        "LANG-036 a transition to fail runs the command, the start task runs",
        """w:
  tasks:
    fail: {on-success: next}
    next: {on-success: fail}""",
        ERROR, {"fail": [SUCCESS], "next": [SUCCESS]},
    ),
    (
        "LANG-176 the join is ERROR and its on-error applies",
        """w:
  tasks:
    a: {on-success: [{j: <% false %>}]}
    b: {on-success: j}
    j: {join: all, on-success: good, on-error: saved}
    good: {join: 0}
    saved: {join: 0}""",
        SUCCESS, {"a": [SUCCESS], "b": [SUCCESS], "j": [ERROR], "saved": [SUCCESS]},
    ),
    (
        "LANG-177 a join nobody fires is never created and blocks nothing",
        """w:
  tasks:
    a: {on-success: [{j: <% false %>}]}
    b: {on-success: [{j: <% false %>}]}
    j: {join: all}""",
        SUCCESS, {"a": [SUCCESS], "b": [SUCCESS]},
    ),
    (
        "LANG-178 a join of two of three runs when two fired",
        """w:
  tasks:
    a: {on-success: j}
    b: {on-success: [{j: <% false %>}]}
    c: {on-success: j}
    j: {join: 2}""",
        SUCCESS, {n: [SUCCESS] for n in "abcj"},
    ),
    (
        "LANG-178 with two failed inbound tasks it becomes ERROR",
        """w:
  tasks:
    a: {on-success: [{j: <% false %>}]}
    b: {on-success: [{j: <% false %>}]}
    c: {wait-before: 5, on-success: j}
    j: {join: 2}""",
        ERROR, {**{n: [SUCCESS] for n in "abc"}, "j": [ERROR]},
    ),
    (
        "LANG-179 join: one equals join: 1, join: 0 means none",
        """w:
  tasks:
    a: {on-success: [one, first, none]}
    b: {on-success: [one, first, none]}
    one: {join: one}
    first: {join: 1}
    none: {join: 0}""",
        SUCCESS,
        {
            "a": [SUCCESS], "b": [SUCCESS], "one": [SUCCESS], "first": [SUCCESS],
            "none": [SUCCESS, SUCCESS],
        },
    ),
]  # fmt: skip


def ran(sim: Simulator, run_id: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task in sim.tasks(run_id):
        found.setdefault(task.name, []).append(task.state)
    return found


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(
    ("text", "state", "tasks"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_statement(text: str, state: str, tasks: dict[str, Any], seed: Any) -> None:
    sim = Simulator(HEAD + text, seed=seed, script=standard)
    row = sim.run("w")
    assert row["state"] == state, row["state_info"]
    assert ran(sim, row["id"]) == tasks


def test_lang_155_false_conditions_do_not_handle_and_the_task_is_named() -> None:
    body = """w:
  tasks:
    broken: {action: std.fail, on-error: [{b: <% false %>}]}
    b: {join: 0}"""
    row = Simulator(HEAD + body).run("w")
    assert row["state"] == ERROR
    first = row["state_info"].splitlines()[0]
    assert first == "Failure caused by error in tasks: broken"


@pytest.mark.parametrize(
    ("target", "info", "result"),
    [
        ("'fail msg=\"x\"'", "x", "x"),
        ("fail", None, None),
        ("'fail(msg=\"a b\")'", "a b", "a b"),
        ("'fail(msg=\"ab\")'", "ab", "ab"),
    ],
    ids=["LANG-159", "LANG-159 no message", "LANG-161", "LANG-161 without a blank"],
)
def test_messages_of_fail(target: str, info: Any, result: Any) -> None:
    row = Simulator(HEAD + f"w: {{tasks: {{t: {{on-success: {target}}}}}}}").run("w")
    assert (row["state"], row["state_info"]) == (ERROR, info)
    assert row["output"] == {"result": result}


def test_lang_163_what_is_in_progress_when_fail_fires_leads_nowhere() -> None:
    body = """w:
  tasks:
    slow: {action: std.async_noop, on-success: after, on-complete: after}
    quick: {on-success: fail}
    after: {join: 0}"""
    sim = Simulator(HEAD + body)
    row = sim.run("w")
    # Nobody may ever answer, so it is not waited for (decision 0011).
    assert (row["state"], sim.states(row["id"])["slow"]) == (ERROR, "CANCELLED")
    slow = sim.tasks(row["id"], "slow")[0]
    [action] = [
        a for a in sim.store.action_rows.values() if a["task_execution_id"] == slow.id
    ]
    assert action["state"] == "RUNNING"
    sim.request(
        UpdateAction(
            run_id=row["id"], request_id="q", context=CONTEXT,
            action_id=action["id"], state=SUCCESS,
        )
    )  # fmt: skip
    sim.settle()
    assert sim.states(row["id"]) == {"slow": SUCCESS, "quick": SUCCESS}
    assert sim.store.runs[row["id"]]["state"] == ERROR


def test_lang_165_each_run_of_a_task_has_its_own_context() -> None:
    body = """w:
  tasks:
    a: {publish: {v: from a}, on-success: c}
    b: {publish: {v: from b}, on-success: c}
    c: {action: std.echo output=<% $.v %>, publish: {seen: <% task().result %>}}"""
    sim = Simulator(HEAD + body)
    row = sim.run("w")
    found = Counter(task.published["seen"] for task in sim.tasks(row["id"], "c"))
    assert found == {"from a": 1, "from b": 1}


def test_lang_168_a_cancelled_task_fires_nothing() -> None:
    body = """w:
  tasks:
    t: {action: std.async_noop, on-success: n, on-error: n, on-complete: n}
    n: {join: 0}"""
    sim = Simulator(HEAD + body)
    run_id = sim.start("w")
    sim.settle()
    [action] = sim.store.action_rows.values()
    sim.request(
        UpdateAction(
            run_id=run_id, request_id="q", context=CONTEXT,
            action_id=action["id"], state=State.CANCELLED.value,
        )
    )  # fmt: skip
    sim.settle()
    row = sim.store.runs[run_id]
    assert row["state"] == "CANCELLED"
    assert row["state_info"] == "Cancelled tasks: t"
    assert row["output"] == {"result": "Cancelled tasks: t"}
    assert sim.states(run_id) == {"t": "CANCELLED"}


def test_lang_176_the_failed_join_names_who_did_not_come() -> None:
    body = """w:
  tasks:
    a: {on-success: [{j: <% false %>}]}
    b: {on-success: j}
    j: {join: all}"""
    sim = Simulator(HEAD + body)
    row = sim.run("w")
    assert row["state"] == ERROR
    assert sim.tasks(row["id"], "j")[0].state_info == "Failed by tasks: ['a']"


HOUSE = """w:
  type: reverse
  output: {done: <% $.roof %>}
  tasks:
    base: {action: std.echo output="b", publish: {base: <% task().result %>}}
    walls: {requires: base, publish: {walls: <% $.base %>}}
    roof: {requires: [base, walls], publish: {roof: <% $.walls %>}}
    pool: {action: std.fail}"""


def test_lang_190_only_what_the_target_requires_runs_each_once() -> None:
    sim = Simulator(HEAD + HOUSE)
    row = sim.run("w", task_name="roof")
    assert (row["state"], row["output"]) == (SUCCESS, {"done": "b"})
    assert ran(sim, row["id"]) == {n: [SUCCESS] for n in ("base", "walls", "roof")}


@pytest.mark.parametrize("params", [{}, {"task_name": "garden"}], ids=str)
def test_lang_191_the_target_has_to_exist(params: Mapping[str, Any]) -> None:
    sim = Simulator(HEAD + HOUSE)
    with pytest.raises((BadRequest, AuthorError)):
        sim.start("w", None, **params)
    assert not sim.store.runs


def test_lang_194_dependants_of_an_error_never_run() -> None:
    body = """w:
  type: reverse
  tasks:
    base: {action: std.fail}
    roof: {requires: base}"""
    sim = Simulator(HEAD + body)
    row = sim.run("w", task_name="roof")
    assert row["state"] == ERROR
    assert ran(sim, row["id"]) == {"base": [ERROR]}
