"""What a failed expression tells: its text, its place in the definition, why;
never a value (spec/language.md § 28.3, LANG-262, LINT-37)."""

from __future__ import annotations

from typing import Any

import pytest
from simulator import ERROR, Simulator

from mistral.errors import ExpressionFault

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


def test_one_text_in_two_attributes_tells_both() -> None:
    tasks = "  tasks:\n    t: {target: <% $.s.nope %>, timeout: <% $.s.nope %>}\n"
    row = Simulator(HEAD + tasks).run("w")
    where = (
        "(at tasks.t.target, line 5, column 17, or tasks.t.timeout, line 5, column 42)"
    )
    assert where in row["state_info"]


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
    assert info.endswith("(at tasks.t.action, line 5, column 41)")


def test_without_the_text_the_path_is_told() -> None:
    """The definition may have changed since, or is gone."""
    sim = Simulator(HEAD + "  tasks: {t: {publish: {v: <% $.s.nope %>}}}\n")
    sim.store.texts.clear()
    row: Any = sim.run("w")
    assert "(at v)" in row["state_info"]
