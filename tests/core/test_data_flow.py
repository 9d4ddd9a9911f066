"""Data flow on the core alone: publishing, contexts, merging, environments
(spec/engine.md § 2.9 - 2.11, statements of A.4)."""

from __future__ import annotations

from typing import Any

import pytest
from played import HEAD, output, standard
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.errors import BadRequest, MistralError
from mistral.messages import PauseWorkflow, ResumeWorkflow, UpdateAction


def ask(kind: Any, run_id: str, **values: Any) -> Any:
    return kind(run_id=run_id, request_id="q", context=CONTEXT, **values)


def test_eng_099_published_variables_stay_in_their_branch_until_a_join() -> None:
    found = output(
        """w:
  output: {below: <% $.below %>, beside: <% $.beside %>, joined: <% $.joined %>}
  tasks:
    l: {publish: {x: 1}, on-success: [l2]}
    l2: {publish: {below: <% $.get(x) %>}, on-success: j}
    r: {on-success: r2}
    r2: {publish: {beside: <% $.get(x) %>}, on-success: j}
    j: {join: all, publish: {joined: <% $.x %>}}"""
    )
    assert found == {"below": 1, "beside": None, "joined": 1}


REPUBLISHED = """w:
  output: {m: <% $.m %>}
  tasks:
    a: {publish: {m: {a: 1, deep: {x: 1, y: 2}}}, on-success: b}
    b: {publish: {m: {b: 2, deep: {y: 3}}}, on-success: c}
    c: {description: x}"""


def test_eng_100_replace_drops_the_earlier_mapping() -> None:
    assert output(REPUBLISHED) == {"m": {"b": 2, "deep": {"y": 3}}}


@pytest.mark.parametrize("large_value", [1, 4096], ids=["stored", "inline"])
def test_eng_101_merge_keeps_what_is_not_replaced(large_value: int) -> None:
    rules = Rules(merge_strategy="merge", large_value=large_value)
    row = Simulator(HEAD + REPUBLISHED, rules=rules).run("w")
    assert row["output"] == {"m": {"a": 1, "b": 2, "deep": {"x": 1, "y": 3}}}


def test_eng_101_a_large_value_that_came_of_merging_is_stored_once() -> None:
    body = """w:
  tasks:
    s: {publish: {m: {a: 1}}, on-success: t}
    t:
      publish: {m: {b: 2}}
      retry: {count: 1, delay: 0, continue-on: <% $.m.b = 0 %>}
      on-success: [{u: <% $.m.a = 1 %>}, {v: <% $.m.b = 2 %>}]
    u: {description: x}
    v: {description: x}"""
    sim = Simulator(HEAD + body, rules=Rules(merge_strategy="merge", large_value=1))
    assert sim.run("w")["output"] == {"m": {"a": 1, "b": 2}}
    bodies = sim.store.document_rows.values()
    values = [body for body in bodies if "m" not in body]
    assert sorted(map(str, values)) == ["{'a': 1, 'b': 2}", "{'a': 1}", "{'b': 2}"]


def test_eng_101_merge_looks_through_all_layers() -> None:
    """LANG § 22.3: with ``merge`` a look-up merges the layers, too."""
    body = """w:
  input: [m]
  vars: {m: {b: 2, c: 2}}
  output: {m: <% $.m %>}
  tasks: {t: {publish: {m: {c: 3}}}}"""
    sim = Simulator(HEAD + body, rules=Rules(merge_strategy="merge"))
    row = sim.run("w", {"m": {"a": 1, "b": 1}})
    assert row["output"] == {"m": {"a": 1, "b": 2, "c": 3}}


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_eng_102_the_value_published_more_often_wins_at_a_join(
    seed: int | None,
) -> None:
    """The example of § 2.10."""
    body = """w:
  output: {x: <% $.x %>, y: <% $.y %>, l: <% $.l %>}
  tasks:
    i: {publish: {x: 0, y: {a: 1, b: 1}, l: [1]}, on-success: [one, two]}
    one: {publish: {x: 1, y: {a: 2}}, on-success: more}
    more: {publish: {x: 2}, on-success: j}
    two: {publish: {x: 9, y: {b: 5, c: 1}, l: [2]}, on-success: j}
    j: {join: all}"""
    rules = Rules(inline_actions=False)
    sim = Simulator(HEAD + body, rules=rules, script=standard, seed=seed)
    assert sim.run("w")["output"] == {
        "x": 2, "y": {"a": 2, "b": 5, "c": 1}, "l": [2],
    }  # fmt: skip


# What the branch publishes over 5, or over {a: 1}; what the join must show.
NEWER = [
    ("another", "5", "6", 6),
    ("null", "5", "null", None),
    ("true over 1", "1", "true", True),
    ("1.0 over 1", "1", "1.0", 1.0),
    ("nested true over 1", "{a: [1]}", "{a: [true]}", {"a": [True]}),
    ("a mapping over a number", "5", "{a: 1}", {"a": 1}),
    ("an empty mapping over a number", "5", "{}", {}),
    ("a number over a mapping", "{a: 1}", "5", 5),
    ("an empty list over a list", "[1]", "[]", []),
    ("a leaf of a mapping", "{a: 1, b: 1}", "{a: 2}", {"a": 2, "b": 1}),
]


@pytest.mark.parametrize("first", ["touches", "carries"])
@pytest.mark.parametrize("case", NEWER, ids=[case[0] for case in NEWER])
def test_eng_103_an_untouched_value_never_beats_a_newer_one(
    case: Any, first: str
) -> None:
    _, old, new, expected = case
    wait = {"touches": "", "carries": ""}
    wait["carries" if first == "touches" else "touches"] = "wait-before: 5, "
    found = output(
        f"""w:
  output: {{x: <% $.x %>}}
  tasks:
    s: {{publish: {{x: {old}}}, on-success: [touches, carries]}}
    touches: {{{wait["touches"]}publish: {{x: {new}}}, on-success: j}}
    carries: {{{wait["carries"]}on-success: j}}
    j: {{join: all}}"""
    )
    assert (found, type(found["x"])) == ({"x": expected}, type(expected))


def test_eng_103_without_versions_the_later_branch_wins() -> None:
    """§ 2.10: merged recursively in the order of completion."""
    body = """w:
  output: {x: <% $.x %>, m: <% $.m %>}
  tasks:
    s: {publish: {x: 1, m: {a: 1}}, on-success: [l, r]}
    l: {publish: {x: 2, m: {b: 2}}, on-success: j}
    r: {wait-before: 5, on-success: j}
    j: {join: all}"""
    row = Simulator(HEAD + body, rules=Rules(versioning=False)).run("w")
    assert row["output"] == {"x": 1, "m": {"a": 1, "b": 2}}


def test_eng_104_globals_reach_tasks_of_every_branch() -> None:
    body = """w:
  output: {seen: <% $.seen %>, f: <% global(g) %>, hidden: <% $.hidden %>}
  tasks:
    a:
      on-success: {publish: {global: {g: {k: 1}}}}
    b:
      wait-before: 5
      publish: {seen: <% $.g.k %>, hidden: <% global('nothing') %>}"""
    sim = Simulator(HEAD + body)
    row = sim.run("w")
    assert row["output"] == {"seen": 1, "f": {"k": 1}, "hidden": None}
    assert row["context"]["g"] == {"k": 1}
    assert sim.tasks(row["id"], "a")[0].published_global == {"g": {"k": 1}}


def test_eng_105_a_sub_workflow_sees_neither_variables_nor_globals() -> None:
    found = output(
        """w:
  tasks:
    a:
      publish: {x: 1}
      on-success: {publish: {global: {g: 1}}, next: b}
    b: {workflow: child, publish: {r: <% task().result %>}}
child:
  output: {x: <% $.get(x) %>, g: <% $.get(g) %>, f: <% global(g) %>}
  tasks: {t: {on-success: {publish: {global: {mine: 1}}}}}"""
    )
    assert found["r"] == {"x": None, "g": None, "f": None}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_eng_106_globals_of_tasks_that_end_together_all_take_effect(seed: int) -> None:
    body = """w:
  output: {m: <% global(m) %>}
  tasks:
    a: {on-success: {publish: {global: {m: {a: 1}}}}}
    b: {on-success: {publish: {atomic: {m: {b: 2}}}}}
    c: {on-complete: {publish: {global: {m: {c: 3}}}}}"""
    rules = Rules(inline_actions=False)
    sim = Simulator(HEAD + body, rules=rules, script=standard, seed=seed)
    assert sim.run("w")["output"] == {"m": {"a": 1, "b": 2, "c": 3}}


@pytest.mark.parametrize("action", ["std.noop", "std.fail"])
def test_eng_107_scopes_of_task_and_clause_both_take_effect(action: str) -> None:
    end = "error" if action == "std.fail" else "success"
    own = "publish-on-error" if end == "error" else "publish"
    body = f"""w:
  output: {{b: <% $.b %>, g: <% global(g) %>, h: <% global(h) %>, c: <% $.c %>}}
  tasks:
    t:
      action: {action}
      {own}: {{b: 1}}
      on-{end}: {{publish: {{global: {{g: 2}}, branch: {{b: 0, c: 3}}}}, next: noop}}
      on-complete: {{publish: {{global: {{h: 4}}}}}}"""
    assert output(body) == {"b": 1, "g": 2, "h": 4, "c": 3}


def test_eng_108_published_over_vars_over_input() -> None:
    found = output(
        """w:
  input: [a, b, c]
  vars: {b: vars, c: vars}
  output: {first: <% $.first %>, c: <% $.c %>}
  tasks:
    t: {publish: {c: branch}, on-success: u}
    u: {publish: {first: '<% $.a %> <% $.b %> <% $.c %>'}}""",
        {"a": "input", "b": "input", "c": "input"},
    )
    assert found == {"first": "input vars branch", "c": "branch"}


def test_eng_109_vars_do_not_see_each_other() -> None:
    body = """w:
  input: [i]
  vars: {a: 1, b: <% $.get(a) %>, c: <% $.i %>}
  output: {b: <% $.b %>, c: <% $.c %>}
  tasks: {t: {description: x}}"""
    assert output(body, {"i": 7}) == {"b": None, "c": 7}
    failing = body.replace("$.get(a)", "$.a")
    sim = Simulator(HEAD + failing)
    with pytest.raises(MistralError):
        sim.start("w", {"i": 7})
    assert not sim.store.runs


@pytest.mark.parametrize("where", ["input", "vars", "branch", "global"])
def test_eng_110_an_item_variable_hides_every_inherited_one(where: str) -> None:
    found = output(
        f"""w:
  input: [{{i: input}}]
  {"vars: {i: vars}" if where == "vars" else "description: x"}
  output: {{r: <% $.r %>, after: <% $.after %>}}
  tasks:
    s:
      publish: {{{"i" if where == "branch" else "j"}: branch}}
      on-success:
        publish: {{global: {{{"i" if where == "global" else "k"}: global}}}}
        next: t
    t:
      with-items: i in <% [1, 2] %>
      action: std.echo output=<% $.i %>
      publish: {{r: <% task().result %>, after: <% $.i %>}}"""
    )
    assert found == {"r": [1, 2], "after": where}


def test_eng_111_publish_is_not_applied_on_error() -> None:
    body = """w:
  tasks:
    t:
      action: std.fail
      publish: {ok: 1}
      publish-on-error: {bad: <% task().result %>}
      on-success: {publish: {branch: {okk: 1}}}
      on-error: {publish: {branch: {badd: 2}}, next: noop}"""
    assert set(output(body)) == {"bad", "badd"}
    assert set(output(body.replace("std.fail", "std.noop"))) == {"ok", "okk"}


def test_eng_112_published_shows_the_last_iteration() -> None:
    answers = iter([(ERROR, "e1"), (ERROR, "e2"), (SUCCESS, "done")])
    body = """w:
  tasks:
    t:
      action: std.sleep
      retry: count=5 delay=1
      publish: {r: <% task().result %>}
      publish-on-error: {r: <% task().result %>}"""
    sim = Simulator(HEAD + body, script=lambda call: next(answers))
    row = sim.run("w")
    assert sim.tasks(row["id"])[0].published == {"r": "done"}
    assert row["output"] == {"r": "done"}


def test_only_globals_published_leaves_an_empty_branch() -> None:
    """REST Q-56: ``published`` is not null, something was published."""
    body = """w:
  tasks:
    t: {on-success: {publish: {global: {g: 1}}}}"""
    sim = Simulator(HEAD + body)
    row = sim.run("w")
    assert sim.tasks(row["id"])[0].published == {}


def test_eng_112_what_an_earlier_iteration_published_does_not_stay() -> None:
    """LANG § 13.1: the last one counts; break-on sees it meanwhile."""
    answers = iter([(ERROR, "e1"), (SUCCESS, "done")])
    body = """w:
  tasks:
    t:
      action: std.sleep
      retry: count=5 delay=1 break-on=<% $.r != e1 %>
      publish-on-error: {r: <% task().result %>}"""
    sim = Simulator(
        HEAD + body.replace("$.r", "$.get(r, e1)"), script=lambda call: next(answers)
    )
    row = sim.run("w")
    assert (row["state"], row["output"]) == (SUCCESS, {})


@pytest.mark.parametrize(
    ("old", "new"), [("1", "true"), ("0", "false"), ("1", "1.0"), ("[0]", "[false]")]
)
def test_eng_112_a_value_of_another_type_is_another_value(old: str, new: str) -> None:
    """What compares as equal is stored all the same: branch and global."""
    answers = iter([ERROR, SUCCESS])
    sim = Simulator(
        HEAD
        + f"""w:
  vars: {{g: {old}}}
  tasks:
    t:
      action: std.sleep
      retry: count=5 delay=1
      publish: {{x: {new}}}
      publish-on-error: {{x: {old}}}
      on-success: {{publish: {{global: {{g: {new}}}}}}}""",
        script=lambda call: (next(answers), 1),
    )
    row = sim.run("w")
    expected = {"true": "True", "false": "False", "1.0": "1.0", "[false]": "[False]"}
    assert repr(row["output"]["x"]) == expected[new]
    assert repr(row["context"]["g"]) == expected[new]


@pytest.mark.parametrize("result", [None, 0, "", [], {}, False], ids=repr)
def test_eng_113_an_ad_hoc_output_is_evaluated_for_empty_results(result: Any) -> None:
    actions = HEAD + 'ad: {base: std.sleep, output: {got: "<% $ %>", fixed: "<% 7 %>"}}'
    body = "w: {tasks: {t: {action: ad, publish: {r: <% task().result %>}}}}"
    sim = Simulator(HEAD + body, actions=actions, script=lambda call: (SUCCESS, result))
    assert sim.run("w")["output"] == {"r": {"got": result, "fixed": 7}}


def test_eng_114_env_is_that_of_the_root_with_later_updates() -> None:
    body = """w: {tasks: {t: {workflow: mid}}}
mid: {tasks: {t: {workflow: leaf env=<% dict(k => other) %>}}}
leaf:
  tasks:
    first:
      action: std.async_noop
      publish: {before: <% env().k %>}
      on-success: last
    last:
      publish: {after: <% env().k %>, var: "<% $.get('__env').new %>"}"""
    sim = Simulator(HEAD + body)
    run_id = sim.start("w", env={"k": "old"})
    sim.settle()
    leaf = next(r for r in sim.store.runs.values() if r["workflow_name"] == "leaf")
    (action,) = sim.store.action_rows
    sim.request(ask(PauseWorkflow, run_id))
    sim.settle()
    update = ask(UpdateAction, leaf["id"], action_id=action, state=SUCCESS)
    sim.request(update)
    sim.settle()
    sim.request(ask(ResumeWorkflow, run_id, env={"k": "newer", "new": 1}))
    sim.settle()
    assert sim.store.runs[leaf["id"]]["output"] == {
        "before": "old", "after": "newer", "var": 1,
    }  # fmt: skip


ENV = "w: {output: {v: <% env().b %>}, tasks: {t: {description: x}}}"


@pytest.mark.parametrize(
    ("params", "expected"), [({}, 1), ({"evaluate_env": False}, "<% env().a %>")]
)
def test_eng_115_evaluate_env(params: Any, expected: Any) -> None:
    found = output(ENV, env={"a": 1, "b": "<% env().a %>"}, **params)
    assert found == {"v": expected}


def test_eng_115_values_of_env_see_nothing_but_the_raw_env() -> None:
    """§ 2.11, the last row; LANG § 20."""
    sim = Simulator(HEAD + ENV.replace("w: {", "w: {input: [i], "))
    with pytest.raises(MistralError):
        sim.start("w", {"i": 1}, env={"b": "<% $.i %>"})
    found = output(ENV, env={"a": "<% 1 %>", "b": "{{ _.__env.a }}"})
    assert found == {"v": "<% 1 %>"}


def test_eng_116_env_by_name() -> None:
    sim = Simulator(HEAD + ENV)
    sim.store.environments["e"] = {"variables": {"b": "stored"}}
    assert sim.run("w", env="e")["output"] == {"v": "stored"}
    for wrong in ("unknown", 7, ["e"]):
        before = len(sim.store.runs)
        with pytest.raises(BadRequest, match=r"nvironment"):
            sim.start("w", env=wrong)
        assert len(sim.store.runs) == before


def test_eng_117_118_action_defaults_fill_gaps_here_and_below() -> None:
    body = """w:
  tasks:
    a: {action: std.echo, publish: {a: <% task().result %>}}
    b: {action: std.echo output="own", publish: {b: <% task().result %>}}
    c:
      action: std.echo
      input: {output: {x: 1}}
      publish: {c: <% task().result %>}
    d:
      action: std.<%echo%>
      input: {output: 0}
      publish: {d: <% task().result %>}
    e: {workflow: child, publish: {e: <% task().result.r %>}}
    n: {action: std.echo output=<% null %>, publish: {n: <% task().result %>}}
child:
  tasks: {t: {action: std.echo, publish: {r: <% task().result %>}}}"""
    env = {"__actions": {"std.echo": {"output": {"x": 0, "y": 2}}}}
    assert output(body, env=env) == {
        "a": {"x": 0, "y": 2}, "b": "own", "c": {"x": 1, "y": 2}, "d": 0,
        "e": {"x": 0, "y": 2}, "n": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "where"),
    [("x", "__actions"), ([1], "__actions"), ({"std.echo": "x"}, "__actions.std.echo")],
    ids=str,
)
def test_eng_117_action_defaults_that_are_no_mapping_are_refused(
    given: Any, where: str
) -> None:
    sim = Simulator(HEAD + "w: {tasks: {t: {action: std.echo output=1}}}")
    row = sim.run("w", env={"__actions": given})
    assert row["state"] == ERROR
    assert f"'{where}' of the environment must be a mapping" in row["state_info"]


# -- What must hold for any data ----------------------------------------------

FORGED = {"$ref": "nobody"}


@pytest.mark.parametrize("large_value", [1, 4096], ids=["stored", "inline"])
def test_data_of_the_form_of_a_reference_is_data(large_value: int) -> None:
    """Wherever it comes from: input, vars, env, items, results, globals."""
    body = """w:
  input: [given]
  vars: {v: <% $.given %>}
  output:
    all: >-
      <% [$.given, $.v, $.x, $.y, global(g), env().e, $.get('__env').e, $.r] %>
  tasks:
    a:
      publish: {x: <% $.given %>}
      on-success:
        publish: {global: {g: <% $.given %>}}
        next: b
    b:
      with-items: i in <% [$.given, $.x] %>
      action: std.echo output=<% $.i %>
      publish:
        y: <% $.x %>
        r: <% task().result[1] %>"""
    sim = Simulator(HEAD + body, rules=Rules(large_value=large_value))
    row = sim.run("w", {"given": FORGED}, env={"e": FORGED})
    assert row["state"] == SUCCESS, row["state_info"]
    assert row["output"] == {"all": [FORGED] * 8}


@pytest.mark.parametrize("strategy", ["replace", "merge"])
@pytest.mark.parametrize("name", ["__env", "__execution", "__task_execution"])
def test_reserved_names_cannot_be_published_over(name: str, strategy: str) -> None:
    """Q07, Q57: they always show what is so."""
    body = f"""w:
  output: {{before: <% $.before %>, after: <% $.after %>}}
  tasks:
    a:
      publish: {{before: <% $.get({name}).get(id) %>}}
      on-success:
        publish: {{branch: {{{name}: {{id: b}}}}, global: {{{name}: {{id: g}}}}}}
        next: b
    b: {{publish: {{after: <% $.get({name}).get(id) %>}}}}"""
    body = body.replace(f"$.get({name})", f"$.get('{name}')")
    sim = Simulator(HEAD + body, rules=Rules(merge_strategy=strategy))
    row = sim.run("w", env={"id": "e"})
    a, b = sim.tasks(row["id"])
    mine = {"__env": "e", "__execution": row["id"]}
    assert row["output"] == {
        "before": mine.get(name, a.id), "after": mine.get(name, b.id),
    }  # fmt: skip


def test_an_output_that_fails_ends_in_error_with_output_on_error() -> None:
    """LANG § 27.3."""
    body = """w:
  output: {r: <% $.nope %>}
  output-on-error: {seen: <% $.x %>}
  tasks: {t: {publish: {x: 1}}}"""
    row = Simulator(HEAD + body).run("w")
    assert row["state"] == ERROR
    assert row["output"] == {"result": row["state_info"], "seen": 1}
    assert row["state_info"].startswith("Failed to check and complete [wf_ex_id=")
    both = body.replace("$.x", "$.neither")
    row = Simulator(HEAD + both).run("w")
    assert row["state"] == ERROR
    assert set(row["output"]) == {"result"}
    start = "Failed to evaluate expression in output-on-error!"
    assert row["output"]["result"].startswith(start)


def test_inputs_and_their_defaults_are_never_evaluated() -> None:
    body = """w:
  input: [a, {b: <% 1 %>}, {c: '{{ 1 }}'}]
  tasks:
    t:
      publish:
        r: <% [$.a, $.b, $.c] %>"""
    assert output(body, {"a": "<% 2 %>"})["r"] == ["<% 2 %>", "<% 1 %>", "{{ 1 }}"]


def test_a_task_cannot_set_what_the_engine_sets_for_a_sub_workflow() -> None:
    """§ 1.8: position, parent and namespace; other keys become parameters."""
    body = """w:
  tasks:
    t:
      workflow: s
      input:
        {namespace: 5, index: 9, root_execution_id: x, task_execution_id: y, own: 1}
s: {tasks: {e: {action: std.echo output=1}}}"""
    sim = Simulator(HEAD + body)
    row = sim.run("w")
    child = next(r for r in sim.store.runs.values() if r["task_execution_id"])
    assert child["state"] == SUCCESS
    assert child["params"] == {
        "namespace": "", "index": 0, "root_execution_id": row["id"],
        "task_execution_id": child["task_execution_id"], "own": 1, "env": {},
    }  # fmt: skip
    with pytest.raises(BadRequest, match="namespace"):
        sim.start("s", namespace=5)
