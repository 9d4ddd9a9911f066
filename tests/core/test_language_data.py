"""What workflows read and write: input, vars, output, publishing, contexts.

Each row is a statement of the language (spec/language.md, Appendix B) and a
workflow that shows it.
"""

from __future__ import annotations

from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.errors import AuthorError, BadRequest
from mistral.messages import SkipTask

HEAD = "version: '2.0'\n\n"

# id, workflow, input, state, output
TABLE: list[tuple[str, str, dict[str, Any], str, Any]] = [
    (
        "LANG-046 null that is passed stays null",
        "w: {input: [{a: 5}], output: {a: <% $.a %>}, tasks: {t: {join: 0}}}",
        {"a": None}, SUCCESS, {"a": None},
    ),
    (
        "LANG-047 defaults and passed values are never evaluated",
        """w:
  input: [{a: <% 1 + 1 %>}, b]
  output: {a: <% $.a %>, b: '{{ _.b }}'}
  tasks: {t: {join: 0}}""",
        {"b": "<% 2 + 2 %>"}, SUCCESS, {"a": "<% 1 + 1 %>", "b": "<% 2 + 2 %>"},
    ),
    (
        "LANG-048 a passed mapping replaces the default's",
        "w: {input: [{m: {a: 1}}], output: {m: <% $.m %>}, tasks: {t: {join: 0}}}",
        {"m": {"b": 2}}, SUCCESS, {"m": {"b": 2}},
    ),
    (
        "LANG-050 a var hides an input of the same name",
        """w:
  input: [a]
  vars: {a: <% $.a + 1 %>}
  output: {a: <% $.a %>}
  tasks: {t: {join: 0}}""",
        {"a": 1}, SUCCESS, {"a": 2},
    ),
    (
        "LANG-052 LANG-128 the default output is what the branches published",
        """w:
  input: [i]
  vars: {v: 1}
  tasks:
    a: {publish: {x: {one: 1}}, on-success: b}
    b:
      publish: {y: 2}
      on-success: {publish: {global: {g: 3}}}
    c: {publish: {x: {two: 2}}}""",
        {"i": 0}, SUCCESS, {"x": {"one": 1, "two": 2}, "y": 2},
    ),
    (
        "LANG-053 output is evaluated recursively, literals and null included",
        """w:
  input: [a]
  output:
    deep: {list: [<% $.a %>, [x, '{{ _.a }}']]}
    literal: {n: 5, t: true}
    nothing: null
  tasks: {t: {join: 0}}""",
        {"a": 1}, SUCCESS,
        {
            "deep": {"list": [1, ["x", 1]]},
            "literal": {"n": 5, "t": True},
            "nothing": None,
        },
    ),
    (
        "LANG-055 a result of output-on-error wins",
        """w:
  output-on-error: {result: mine, more: <% $.v %>}
  tasks: {t: {publish: {v: 1}, on-success: fail msg="theirs"}}""",
        {}, ERROR, {"result": "mine", "more": 1},
    ),
    (
        "LANG-055 on ERROR the output is result plus output-on-error",
        """w:
  output-on-error: {more: <% $.v %>}
  tasks: {t: {publish: {v: 1, w: 2}, on-success: fail msg="why"}}""",
        {}, ERROR, {"result": "why", "more": 1},
    ),
    (
        "LANG-056 without output-on-error the final context is shown",
        "w: {vars: {n: 0}, tasks: {t: {publish: {v: 1}, on-success: fail msg='why'}}}",
        {}, ERROR, {"result": "why", "v": 1},
    ),
    (
        "LANG-120 variables of one publish do not see each other",
        "w: {vars: {a: old}, tasks: {t: {publish: {a: new, b: <% $.a %>}}}}",
        {}, SUCCESS, {"a": "new", "b": "old"},
    ),
    (
        "LANG-121 publish keys are literal, values recursive",
        "w: {tasks: {t: {publish: {'<% 1 %>': {k: [<% 1 + 1 %>]}}}}}",
        {}, SUCCESS, {"<% 1 %>": {"k": [2]}},
    ),
    (
        "LANG-122 publish is ignored on ERROR, publish-on-error on SUCCESS",
        """w:
  tasks:
    good: {publish: {a: 1}, publish-on-error: {b: 1}}
    bad:
      action: std.fail
      publish: {c: 1}
      publish-on-error: {d: 1}
      on-error: noop""",
        {}, SUCCESS, {"a": 1, "d": 1},
    ),
    (
        "LANG-123 publish-on-error reads the error through task().result",
        """w:
  tasks:
    t:
      action: std.fail error_data="why"
      publish-on-error: {e: <% task().result %>}
      on-error: noop""",
        {}, SUCCESS, {"e": "why"},
    ),
    (
        "LANG-125 a branch variable is invisible in a sibling branch",
        """w:
  tasks:
    a: {publish: {x: 1}, on-success: a2}
    a2: {publish: {seen_by_a: <% $.get(x) %>}}
    b: {on-success: b2}
    b2: {wait-before: 5, publish: {seen_by_b: <% $.get(x) %>}}""",
        {}, SUCCESS, {"x": 1, "seen_by_a": 1, "seen_by_b": None},
    ),
    (
        "LANG-126 a global variable is visible in a sibling branch afterwards",
        """w:
  tasks:
    a: {on-success: {publish: {global: {x: 1}}}}
    b: {on-success: b2}
    b2: {wait-before: 5, publish: {seen: <% $.x %>}}""",
        {}, SUCCESS, {"seen": 1},
    ),
    (
        "LANG-127 global() returns what a branch variable hides",
        """w:
  tasks:
    a:
      on-success:
        publish: {branch: {x: mine}, global: {x: ours}}
        next: b
    b: {publish: {hidden: <% global(x) %>, own: <% $.x %>, none: <% global(nil) %>}}""",
        {}, SUCCESS, {"x": "mine", "hidden": "ours", "own": "mine", "none": None},
    ),
    (
        "LANG-129 global mappings merge recursively and are kept",
        """w:
  vars: {m: {a: 1, deep: {x: 1}}}
  output: {m: <% $.m %>}
  tasks:
    a: {on-success: {publish: {global: {m: {b: 2, deep: {y: 2}}}}, next: b}}
    b: {on-success: {publish: {global: {m: {deep: {x: 3}}}}}}""",
        {}, SUCCESS, {"m": {"a": 1, "b": 2, "deep": {"x": 3, "y": 2}}},
    ),
    (
        "LANG-131 on-complete wins over the task, the task over on-success",
        """w:
  tasks:
    t:
      publish: {x: task, y: task, z: task}
      on-success: {publish: {branch: {x: success, y: success, w: success}}}
      on-complete: {publish: {branch: {x: complete}}}""",
        {}, SUCCESS, {"x": "complete", "y": "task", "z": "task", "w": "success"},
    ),
    (
        "LANG-132 task variables survive a clause that publishes only global",
        """w:
  output: {own: <% $.own %>, shared: <% global(shared) %>}
  tasks:
    t:
      publish: {own: 1}
      on-success: {publish: {global: {shared: 2}}}""",
        {}, SUCCESS, {"own": 1, "shared": 2},
    ),
    (
        "LANG-133 a mapping published later replaces the earlier one",
        """w:
  tasks:
    a: {publish: {x: {a: 1}}, on-success: b}
    b: {publish: {x: {b: 2}}}""",
        {}, SUCCESS, {"x": {"b": 2}},
    ),
    (
        "LANG-135 a set is stored as a list, a datetime as ISO text",
        """w:
  tasks:
    t:
      publish:
        set: <% set(1) %>
        time: <% datetime(2020, 1, 2, 3, 4, 5) %>""",
        {}, SUCCESS, {"set": [1], "time": "2020-01-02T03:04:05.000000"},
    ),
    (
        "LANG-149 conditions see what the task just published",
        """w:
  tasks:
    t: {publish: {go: true}, on-success: [{b: <% $.go %>}]}
    b: {publish: {ran: true}}""",
        {}, SUCCESS, {"go": True, "ran": True},
    ),
    (
        "LANG-160 a message sees what the task just published",
        "w: {tasks: {t: {publish: {v: why}, on-success: 'fail msg=<% $.v %>'}}}",
        {}, ERROR, {"result": "why", "v": "why"},
    ),
    (
        "LANG-184 at a join the update beats what others only carry, even null",
        """w:
  tasks:
    s: {publish: {v: old, n: old}, on-success: [l, r, m]}
    l: {publish: {v: new}, on-success: j}
    r: {publish: {n: null}, on-success: j}
    m: {on-success: j}
    j: {join: all, publish: {seen: [<% $.v %>, <% $.n %>]}}""",
        {}, SUCCESS, {"v": "new", "n": None, "seen": ["new", None]},
    ),
    (
        "LANG-185 mappings from branches are united at a join",
        """w:
  tasks:
    l: {publish: {m: {a: {x: 1}}}, on-success: j}
    r: {publish: {m: {a: {y: 2}, b: 3}}, on-success: j}
    j: {join: all, publish: {seen: <% $.m %>}}""",
        {}, SUCCESS,
        {
            "m": {"a": {"x": 1, "y": 2}, "b": 3},
            "seen": {"a": {"x": 1, "y": 2}, "b": 3},
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "given", "state", "output"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_statement(text: str, given: dict[str, Any], state: str, output: Any) -> None:
    row = Simulator(HEAD + text).run("w", given)
    assert (row["state"], row["output"]) == (state, output), row["state_info"]


DECLARED = HEAD + "w: {input: [first, {second: 2}], tasks: {t: {join: 0}}}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({}, ["missing", "first"], id="LANG-044"),
        pytest.param({"first": 1, "other": 2}, ["unexpected", "other"], id="LANG-045"),
    ],
)
def test_input_is_compared_with_the_declaration(given: Any, said: list[str]) -> None:
    sim = Simulator(DECLARED)
    with pytest.raises(BadRequest) as refused:
        sim.start("w", given)
    assert all(word in refused.value.message for word in said)
    assert not sim.store.runs


def test_lang_049_vars_see_input_and_environment_but_not_each_other() -> None:
    body = """w:
  input: [a]
  vars: {x: <% $.a + env().b %>}
  output: {x: <% $.x %>}
  tasks: {t: {join: 0}}
wrong:
  vars: {x: 1, y: <% $.x %>}
  tasks: {t: {join: 0}}"""
    sim = Simulator(HEAD + body)
    assert sim.run("w", {"a": 1}, env={"b": 2})["output"] == {"x": 3}
    before = len(sim.store.runs)
    with pytest.raises(AuthorError, match="no key 'x'"):  # 400 over REST
        sim.start("wrong")
    assert len(sim.store.runs) == before


def test_lang_054_a_failing_output_ends_in_error() -> None:
    body = """w:
  output: {x: <% $.nope %>}
  output-on-error: {kept: <% $.v %>}
  tasks: {t: {publish: {v: 1}}}"""
    row = Simulator(HEAD + body).run("w")
    assert row["state"] == ERROR
    assert row["output"] == {"result": row["state_info"], "kept": 1}
    assert "$.nope" in row["state_info"]


def test_lang_057_a_failing_output_on_error_names_both_errors() -> None:
    body = """w:
  output-on-error: {x: <% $.nope %>}
  tasks: {t: {publish: {v: 1}, on-success: fail msg="first reason"}}"""
    row = Simulator(HEAD + body).run("w")
    assert row["state"] == ERROR
    assert list(row["output"]) == ["result"]
    assert "first reason" in row["output"]["result"]
    assert "$.nope" in row["output"]["result"]


def test_lang_134_with_the_strategy_merge_mappings_are_merged() -> None:
    body = """w:
  tasks:
    a: {publish: {x: {a: 1}}, on-success: b}
    b: {publish: {x: {b: 2}}}"""
    sim = Simulator(HEAD + body, rules=Rules(merge_strategy="merge"))
    assert sim.run("w")["output"] == {"x": {"a": 1, "b": 2}}


@pytest.mark.parametrize(
    "value",
    ["<% regex(a) %>", "{{ 1 if false }}"],
    ids=["LANG-136 a regular expression", "LANG-136 an undefined"],
)
def test_what_cannot_be_stored_is_a_forced_failure(value: str) -> None:
    tasks = f"{{t: {{publish: {{v: '{value}'}}, on-error: b}}, b: {{join: 0}}}}"
    body = f"w: {{tasks: {tasks}}}"
    sim = Simulator(HEAD + body)
    row = sim.run("w")
    assert row["state"] == ERROR
    assert sim.states(row["id"]) == {"t": ERROR}
    assert "publish" in row["state_info"] or "v" in row["state_info"]


def test_lang_169_skipping_runs_on_skip_else_on_success_never_on_complete() -> None:
    body = """w:
  tasks:
    given: {action: std.fail, on-skip: a, on-success: b, on-complete: c}
    absent: {action: std.fail, on-success: d, on-complete: e}
    a: {join: 0}
    b: {join: 0}
    c: {join: one}
    d: {join: 0}
    e: {join: one}"""
    sim = Simulator(HEAD + body)
    row = sim.run("w")
    before = set(sim.states(row["id"]))
    for name in ("given", "absent"):
        _skip(sim, row["id"], name)
    assert set(sim.states(row["id"])) - before == {"a", "d"}
    assert sim.store.runs[row["id"]]["state"] == SUCCESS


def _skip(sim: Simulator, run_id: str, name: str) -> None:
    task = sim.tasks(run_id, name)[0]
    sim.request(
        SkipTask(run_id=run_id, request_id=name, context=CONTEXT, task_id=task.id)
    )
    sim.settle()


def test_lang_170_publish_on_skip_reaches_the_next_task_and_joins() -> None:
    body = """w:
  tasks:
    t: {action: std.fail, publish-on-skip: {s: 1}, on-skip: [next, j]}
    other: {on-success: j}
    next: {publish: {next_saw: <% $.s %>}}
    j: {join: all, publish: {join_saw: <% $.s %>}}"""
    sim = Simulator(HEAD + body)
    row = sim.run("w")
    _skip(sim, row["id"], "t")
    row = sim.store.runs[row["id"]]
    assert (row["state"], row["output"]) == (
        SUCCESS,
        {"s": 1, "next_saw": 1, "join_saw": 1},
    )
