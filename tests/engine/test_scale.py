"""Large executions: what one step costs does not depend on how many there are.

Cost is counted, never timed: statements, and the instructions of SQLite's virtual
machine, which grow with every row that a statement reads, finds or writes. What
runs take in seconds and memory, ``tools/bench/scale.py`` measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from house import House
from sqlalchemy import event

from mistral.db import models
from mistral.db.database import Database
from mistral.engine.core.ports import Rules
from mistral.expressions.evaluate import Evaluator, ExpressionSettings

INSTRUCTIONS = 10
"""SQLite tells its progress after so many."""


@dataclass(slots=True)
class Work:
    """What a database was asked to do."""

    statements: int = 0
    instructions: int = 0
    characters: int = 0

    def database(self, *args: Any, **kwargs: Any) -> Database:
        made = Database(*args, **kwargs)
        event.listen(made.engine, "connect", self._connected)
        event.listen(made.engine, "before_cursor_execute", self._executed)
        return made

    def _connected(self, connection: Any, _record: Any) -> None:
        connection.set_progress_handler(self._progress, INSTRUCTIONS)

    def _progress(self) -> int:
        self.instructions += INSTRUCTIONS
        return 0

    def _executed(
        self, _connection: Any, _cursor: Any, _text: str, given: Any, *_more: Any
    ) -> None:
        self.statements += 1
        for row in given if isinstance(given, list) else [given]:
            values = row.values() if isinstance(row, dict) else row
            self.characters += sum(len(v) for v in values if isinstance(v, str))

    def per(self, steps: int) -> dict[str, float]:
        return {
            "statements": self.statements / steps,
            "instructions": self.instructions / steps,
            "characters": self.characters / steps,
        }


def _evaluator(_clock: Any) -> Evaluator:
    return Evaluator(ExpressionSettings(max_output_bytes=64 << 20, memory_quota=-1))


@pytest.fixture
def measure(tmp_path: Path) -> Iterator[Callable[..., tuple[House, Work]]]:
    """``measure(text)``: run the workflow ``w``, count what it costs."""
    houses: list[House] = []

    def run(text: str, inline: bool = False) -> tuple[House, Work]:
        work = Work()
        place = tmp_path / str(len(houses))
        place.mkdir()
        rules = Rules(field_limit=-1, inline_actions=inline)
        house = House(place, rules=rules, database=work.database, evaluator=_evaluator)
        houses.append(house)
        house.upload(text)
        work.statements = work.instructions = work.characters = 0
        header = house.run("w")
        counted = Work(work.statements, work.instructions, work.characters)
        assert header["state"] == "SUCCESS", header["state_info"]
        return house, counted

    yield run
    for house in houses:
        house.close()


def tasks(lines: list[str], head: str = "") -> str:
    return "\n".join(["version: '2.0'", "w:", *head.splitlines(), "  tasks:", *lines])


def items(n: int) -> tuple[str, int]:
    body = f"with-items: i in <% range({n}) %>"
    return tasks([f"    t:\n      {body}\n      action: std.echo output=<% $.i %>"]), n


def limited_items(n: int) -> tuple[str, int]:
    text, steps = items(n)
    return f"{text}\n      concurrency: 4\n", steps


def join(n: int) -> tuple[str, int]:
    lines = [
        f"    b{k}: {{action: std.noop, publish: {{v{k}: {k}}}, on-success: j}}"
        for k in range(n)
    ]
    return tasks([*lines, "    j: {join: all, action: std.noop}"]), n


def chain(n: int) -> tuple[str, int]:
    lines = [
        f"    t{k}: {{action: std.noop, publish: {{v: {k}}}, on-success: t{k + 1}}}"
        for k in range(n)
    ]
    return tasks([*lines, f"    t{n}: {{action: std.noop}}"]), n


def loop(n: int) -> tuple[str, int]:
    """Each pass reads the latest of many executions of one name."""
    again = f"{{s: <% $.i < {n} %>}}"
    lines = [
        "    start: {action: std.noop, on-success: s}",
        "    s: {action: std.echo output=<% $.i + 1 %>, on-success: e}",
        "    e: {action: std.noop, publish: {i: <% task(s).result %>},"
        f" on-success: [{again}]}}",
    ]
    return tasks(lines, "  vars: {i: 0}"), 2 * n


def loop_with_join(n: int) -> tuple[str, int]:
    again = f"{{s: <% $.i < {n} %>}}"
    lines = [
        "    start: {action: std.noop, on-success: s}",
        "    s: {action: std.noop, publish: {i: <% $.i + 1 %>}, on-success: [a, b]}",
        "    a: {action: std.noop, on-success: j}",
        "    b: {action: std.noop, on-success: j}",
        f"    j: {{join: all, action: std.noop, on-success: [{again}]}}",
    ]
    return tasks(lines, "  vars: {i: 0}"), 4 * n


def joins_in_a_row(n: int) -> tuple[str, int]:
    lines = ["    s0: {action: std.noop, on-success: [l0, r0]}"]
    for k in range(n):
        then = f"on-success: [l{k + 1}, r{k + 1}]" if k + 1 < n else "tags: [last]"
        lines += [
            f"    l{k}: {{action: std.noop, on-success: s{k + 1}}}",
            f"    r{k}: {{action: std.noop, on-success: s{k + 1}}}",
            f"    s{k + 1}: {{join: all, action: std.noop, {then}}}",
        ]
    return tasks(lines), 3 * n


def nested(n: int) -> tuple[str, int]:
    text = ["version: '2.0'"]
    for k in range(n):
        text.append(f"w{k or ''}:\n  tasks:\n    t: {{workflow: w{k + 1}}}")
    text.append(f"w{n}:\n  tasks:\n    t: {{action: std.noop}}")
    return "\n".join(text), n


def sub_workflows(n: int) -> tuple[str, int]:
    text = tasks([f"    t: {{with-items: i in <% range({n}) %>, workflow: x}}"])
    return f"{text}\nx:\n  tasks:\n    t: {{action: std.noop}}\n", n


SHAPES: dict[str, tuple[Callable[[int], tuple[str, int]], int, int]] = {
    "items": (items, 25, 100),
    "limited items": (limited_items, 25, 100),
    "join": (join, 25, 100),
    "chain": (chain, 25, 100),
    "loop": (loop, 15, 90),
    "loop with join": (loop_with_join, 8, 32),
    "joins in a row": (joins_in_a_row, 10, 40),
    "nested": (nested, 8, 32),
    "sub-workflows": (sub_workflows, 15, 60),
}


@pytest.mark.parametrize("inline", [False, True], ids=["offered", "inline"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_costs_the_same_in_a_large_run(
    shape: str, inline: bool, measure: Callable[..., tuple[House, Work]]
) -> None:
    """DESIGN § 3, cost rules: work per completed task is O(its out-degree)."""
    make, few, many = SHAPES[shape]
    costs = []
    for n in (few, many):
        text, steps = make(n)
        _house, work = measure(text, inline)
        costs.append(work.per(steps))
    small, large = costs
    for what, most in (("statements", 1.1), ("instructions", 1.3), ("characters", 1.3)):
        assert large[what] <= most * small[what], (what, small, large)


def test_ten_megabytes_are_stored_once(
    measure: Callable[..., tuple[House, Work]],
) -> None:
    """DESIGN § 3: contexts hold a reference to a large value."""
    lines = [
        "    t0: {action: std.noop, publish: {big: '<% \"x\" * 10000000 %>'},"
        " on-success: t1}"
    ]
    lines += [
        f"    t{k}: {{action: std.noop, publish: {{n: <% $.big.len() %>}},"
        f" on-success: t{k + 1}}}"
        for k in range(1, 20)
    ]
    house, work = measure(tasks([*lines, "    t20: {action: std.noop}"]))
    assert 10_000_000 < work.characters < 21_000_000  # the document and the output
    last = house.rows(models.task_executions, name="t19")[0]
    assert last["published"] == {"n": 10_000_000}


def test_pages_keep_a_turn_small(measure: Callable[..., tuple[House, Work]]) -> None:
    """DESIGN § 3: items open in pages; the collection is not stored with each."""
    text, n = items(1_200)
    house, work = measure(text, inline=True)
    assert len(house.rows(models.action_executions)) == n
    turns = {row["turn_id"] for row in house.rows(models.history)}
    assert 3 <= len(turns) <= 6
    assert work.per(n)["characters"] < 1_000
