"""What a failed expression tells: its text, its place in the definition, why;
never a value (spec/language.md § 28.3, LANG-262, LINT-37)."""

from __future__ import annotations

from typing import Any

import pytest
from simulator import ERROR, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.errors import ExpressionFault
from mistral.lang.parse import parse_actions, parse_workbook

HEAD = "version: '2.0'\nw:\n  input: [{s: secret-value}]\n"
REASON = "Cannot evaluate the YAQL expression '$.s.nope': a value of type 'string'"

PLACES = [
    ("    t: {publish: {v: <% $.s.nope %>}}", "tasks.t.publish.v, line 5, column 22"),
    (
        "    t:\n      publish:\n        deep: [1, {k: 'x <% $.s.nope %>'}]",
        "tasks.t.publish.deep[1].k, line 7, column 26",
    ),
    (
        "    t: {action: std.echo output=<% $.s.nope %>}",
        "tasks.t.action, line 5, column 33",
    ),
    (
        "    t: {action: std.echo, input: {output: '<% $.s.nope %>'}}",
        "tasks.t.input.output, line 5, column 44",
    ),
    (
        "    t: {with-items: 'i in <% $.s.nope %>'}",
        "tasks.t.with-items, line 5, column 27",
    ),
    ("    t: {timeout: <% $.s.nope %>}", "tasks.t.timeout, line 5, column 18"),
    (
        "    t: {retry: count=1 delay=<% $.s.nope %>}",
        "tasks.t.retry, line 5, column 30",
    ),
    (
        "    t: {on-success: [{u: <% $.s.nope %>}]}\n    u: {join: 0}",
        "tasks.t.on-success[0].u, line 5, column 26",
    ),
    (
        "    t:\n      publish:\n        v: |\n          one\n          <% $.s.nope %>",
        "tasks.t.publish.v, line 9, column 11",
    ),
    (
        "    t: {publish: {v: '<% $.s.nope %>', w: '<% $.s.nope %>'}}",
        "tasks.t.publish.v, line 5, column 23",
    ),
]


@pytest.mark.parametrize(("tasks", "place"), PLACES, ids=[p[1] for p in PLACES])
def test_lang_262_a_task_tells_where_its_expression_is(tasks: str, place: str) -> None:
    sim = Simulator(HEAD + "  tasks:\n" + tasks + "\n")
    row = sim.run("w")
    assert row["state"] == ERROR
    for info in (row["state_info"], sim.tasks(row["id"])[0].state_info):
        assert REASON in info
        assert f"(at {place})" in info
        assert "secret-value" not in info
        assert "Traceback" not in info


def test_of_one_text_in_two_attributes_the_evaluated_one_is_told() -> None:
    tasks = "  tasks:\n    t: {target: <% $.s.nope %>, timeout: <% $.s.nope %>}\n"
    row = Simulator(HEAD + tasks).run("w")
    assert "(at tasks.t.timeout, line 5, column 42)" in row["state_info"]


def test_one_text_twice_in_one_line_tells_both() -> None:
    body = "  tasks:\n    t: {on-success: [{u: <% $.s.nope %>}, {v: <% $.s.nope %>}]}\n"
    row = Simulator(HEAD + body + "    u: {join: 0}\n    v: {join: 0}\n").run("w")
    assert (
        "(at tasks.t.on-success[0].u, line 5, column 26, or tasks.t.on-success[1].v,"
        " line 5, column 47)"
    ) in row["state_info"]


def test_defaults_are_told_where_they_stand() -> None:
    body = "  task-defaults: {timeout: <% $.s.nope %>}\n  tasks: {t: {join: 0}}\n"
    row = Simulator(HEAD + body).run("w")
    assert "(at task-defaults.timeout, line 4, column 28)" in row["state_info"]


def test_output_and_vars_of_the_workflow() -> None:
    body = "  output: {v: <% $.s.nope %>}\n  tasks: {t: {join: 0}}\n"
    row = Simulator(HEAD + body).run("w")
    assert row["state_info"].startswith("Failed to check and complete [")
    assert "(at output.v, line 4, column 15)" in row["state_info"]
    sim = Simulator(HEAD + body.replace("output", "vars"))
    with pytest.raises(ExpressionFault, match=r"at vars\.v, line 4, column 13"):
        sim.start("w")


def test_an_item_that_cannot_be_scheduled_tells_where() -> None:
    body = "  tasks:\n    t: {with-items: 'i in [1]', action: <% $.s.nope %>}\n"
    sim = Simulator(HEAD + body)
    row = sim.run("w")
    info = sim.tasks(row["id"])[0].state_info
    assert info.startswith(REASON)
    assert info.endswith("(at tasks.t.action, line 5, column 41) [item=0]")


def test_without_the_text_the_path_is_told() -> None:
    """The definition may have changed since, or is gone."""
    sim = Simulator(HEAD + "  tasks: {t: {publish: {v: <% $.s.nope %>}}}\n")
    sim.store.texts.clear()
    row: Any = sim.run("w")
    assert "(at v)" in row["state_info"]


def told(sim: Simulator) -> str:
    """What the failed run says, which its task says, too; never a value."""
    row = sim.run("w")
    assert row["state"] == ERROR
    [info] = {task.state_info for task in sim.tasks(row["id"], "t")}
    assert info in row["state_info"]
    assert "secret-value" not in row["state_info"]
    return str(info)


ACTIONS = """\
version: '2.0'
outer:
  input: [x]
  base: inner
  base-input:
    x: {}
  output: {}
inner:
  input: [x]
  base: std.echo output={}
  output:
    deep: [{}]
"""
GOOD = "<% $ %>"
BAD = "<% $.nope %>"
ADHOC = [
    ((BAD, GOOD, "1", GOOD), "action 'outer', base-input.x, line 6, column 8"),
    (("<% $.x %>", GOOD, BAD, GOOD), "action 'inner', base, line 10, column 25"),
    (("1", GOOD, "1", BAD), "action 'inner', output.deep[0], line 12, column 12"),
    (("1", f"a {BAD}", "1", GOOD), "action 'outer', output, line 7, column 13"),
]


@pytest.mark.parametrize(("texts", "place"), ADHOC, ids=[a[1] for a in ADHOC])
def test_lint_37_fires_inside_ad_hoc_actions(
    texts: tuple[str, ...], place: str
) -> None:
    """Lines and columns are those of the action's own text."""
    body = "  tasks: {t: {action: outer x=<% $.s %>}}\n"
    sim = Simulator(HEAD + body, actions=ACTIONS.format(*texts), script=echo)
    info = told(sim)
    assert "the YAQL expression '$.nope': " in info
    assert f"(at {place})" in info


def echo(call: Any) -> tuple[str, Any]:
    return SUCCESS, call.get("output")


def test_an_ad_hoc_action_that_changed_since_is_not_quoted() -> None:
    body = "  tasks: {t: {action: outer x=<% $.s %>}}\n"
    texts = ("1", f"a {BAD}", "1", GOOD)
    rules = Rules(inline_actions=False)
    sim = Simulator(
        HEAD + body, actions=ACTIONS.format(*texts), script=echo, rules=rules
    )
    run_id = sim.start("w")
    [changed] = parse_actions("version: '2.0'\nouter: {base: std.noop}\n")
    sim.store.adhoc_specs["outer"] = changed.spec
    sim.store.adhoc_texts["outer"] = changed.text
    sim.settle()
    assert "(at output)" in sim.store.runs[run_id]["state_info"]


def test_a_member_of_a_workbook_is_told_by_its_own_text() -> None:
    book = (
        "version: '2.0'\nname: b\nactions:\n"
        "  a:\n    base: std.echo\n    base-input: {output: <% $.nope %>}\n"
        "workflows:\n  w: {tasks: {t: {action: a}}}\n"
    )
    parsed = parse_workbook(book)
    sim = Simulator()
    sim.upload(HEAD + "  tasks: {t: {action: a}}\n")
    sim.store.definitions["w"]["workbook_name"] = "b"
    [action] = parsed.actions
    sim.store.adhoc_specs["b.a"] = action.spec
    sim.store.adhoc_texts["b.a"] = action.text
    assert "(at action 'b.a', base-input.output, line 3, column 24)" in told(sim)


TEXT = "<% $.s %>"
NUMBER = "an integer of 0 or more, found a string"
WRONG = [
    ("wait-before: {}", "wait-before", NUMBER, "line 6, column 20"),
    ("wait-after: {}", "wait-after", NUMBER, "line 6, column 19"),
    ("timeout: {}", "timeout", NUMBER, "line 6, column 16"),
    ("concurrency: {}", "concurrency", NUMBER, "line 6, column 20"),
    ("pause-before: {}", "pause-before", "a boolean, found a string",
     "line 6, column 21"),
    ("retry: {{count: {}, delay: 1}}", "retry.count", NUMBER, "line 6, column 22"),
    ("retry: {{count: 1, delay: {}}}", "retry.delay", NUMBER, "line 6, column 32"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "path", "kinds", "place"), WRONG, ids=[w[1] for w in WRONG]
)
@pytest.mark.parametrize("where", ["task", "task-defaults"])
def test_lint_37_fires_on_a_policy_of_a_wrong_type(
    where: str, policy: str, path: str, kinds: str, place: str
) -> None:
    """ENG-145, LANG-210: the expression and its place, and only the kind of its
    value."""
    own = f"      {policy.format(TEXT)}\n"
    body = "  tasks:\n    t:\n" + own
    if where == "task-defaults":
        body = "  task-defaults:\n\n" + own + "  tasks: {t: {action: std.noop}}\n"
    info = told(Simulator(HEAD + body))
    whole = "task-defaults" if where == "task-defaults" else "tasks.t"
    said = f"'{path}' must be {kinds} from '{TEXT}' (at {whole}.{path}, {place})"
    assert f"[error=Invalid data type in {POLICIES[path]}: {said}" in info


POLICIES = {
    "wait-before": "WaitBeforePolicy",
    "wait-after": "WaitAfterPolicy",
    "timeout": "TimeoutPolicy",
    "concurrency": "ConcurrencyPolicy",
    "pause-before": "PauseBeforePolicy",
    "retry.count": "RetryPolicy",
    "retry.delay": "RetryPolicy",
}


@pytest.mark.parametrize(
    ("value", "kind"),
    [("-1", "a negative number"), ("1.5", "a number with a fraction"),
     ("null", "null"), ("true", "a boolean"), ("[1]", "a list")],
)  # fmt: skip
def test_eng_145_a_wrong_number_is_told_by_its_kind(value: str, kind: str) -> None:
    body = f"  tasks: {{t: {{retry: 'count=<% {value} %> delay=1'}}}}\n"
    info = told(Simulator(HEAD + body))
    assert f"found {kind} from '<% {value} %>' (at tasks.t.retry, line 4, column " in (
        info
    )


OTHERS = [
    ("input: <% $.s %>, action: std.echo", "a mapping is expected, found a string",
     "tasks.t.input, line 5, column 16"),
    ("with-items: i in <% 5 %>", "'i' is a number",
     "tasks.t.with-items, line 5, column 26"),
    ("with-items: ['i in [1, 2]', 'j in <% [1] %>']", "found {'i': 2, 'j': 1}",
     "tasks.t.with-items[1], line 5, column 43"),
    ("action: '<% [$.s] %>'", "The name of the action must be a string, found a list",
     "tasks.t.action, line 5, column 18"),
    ("workflow: <% 5 %>", "The name of the workflow must be a string, found a number",
     "tasks.t.workflow, line 5, column 19"),
    ("target: '<% [$.s] %>'", "found a list", "tasks.t.target, line 5, column 18"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("attribute", "said", "place"), OTHERS, ids=[o[0] for o in OTHERS]
)
def test_other_values_of_a_wrong_kind_are_told_with_their_place(
    attribute: str, said: str, place: str
) -> None:
    info = told(Simulator(HEAD + f"  tasks:\n    t: {{{attribute}}}\n"))
    assert f"{said} from '<% " in info
    assert f"(at {place})" in info


def test_a_fault_names_the_item() -> None:
    body = (
        "  tasks:\n    t:\n      with-items: i in <% [1, 0] %>\n"
        "      action: std.echo output=<% 1 / $.i %>\n"
    )
    assert told(Simulator(HEAD + body)).endswith(", wf=w, task=t, item=1]")


def test_a_fault_of_the_second_attempt_says_so() -> None:
    calls = []

    def script(call: Any) -> tuple[str, Any]:
        calls.append(call)
        return (ERROR, "no") if len(calls) == 1 else (SUCCESS, "secret-value")

    body = (
        "  tasks:\n    t:\n      action: std.echo output=1\n"
        "      retry: count=3 delay=1\n      publish: {v: <% task().result.nope %>}\n"
    )
    sim = Simulator(HEAD + body, script=script, rules=Rules(inline_actions=False))
    info = told(sim)
    assert info.endswith("wf=w, task=t, action=std.echo, attempt=2]")
    assert "(at tasks.t.publish.v, line 8, column 20)" in info


def test_lint_22_fires_a_time_out_says_what_it_covers() -> None:
    body = "  tasks: {t: {action: std.async_noop, timeout: 3}}\n"
    row = Simulator(HEAD + body).run("w")
    assert "the timeout covers waits, all attempts and the delays" in row["state_info"]


def test_lint_37_is_silent_on_what_an_action_says_itself() -> None:
    """It is no expression, and has no place."""
    body = "  tasks: {t: {action: std.fail, input: {error_data: 'no room'}}}\n"
    sim = Simulator(HEAD + body, script=lambda call: (ERROR, "no room"))
    assert told(sim) == "no room"
