"""The workflows that are measured, and what each must come to.

Each shape is a definition whose workflow is named ``NAME`` (replaced by a fresh
one), how many units it has, and what an execution must look like in the end.
Definitions use only what every server that speaks the language knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ACTION = "std.echo output=1"
LARGE = 200_000
"""Characters that each task of ``data`` publishes."""

ENTRIES = 1_000
"""Of the dictionaries that these are."""


@dataclass(frozen=True)
class Shape:
    """:param units: tasks, items or branches of one execution.
    :param unit: what they are called.
    :param tasks: rows of tasks that there must be; None: not looked at.
    :param output: what an execution with this input must answer.
    :param subs: executions below one execution.
    """

    text: str
    units: int
    unit: str = "task"
    tasks: int | None = None
    output: Callable[[dict[str, Any]], dict[str, Any]] = lambda given: {}
    input: Callable[[int], dict[str, Any]] = lambda number: {}
    subs: int = 0
    more: dict[str, Any] = field(default_factory=dict)


def _flow(lines: list[str], head: str = "", kind: str = "") -> str:
    top = [f"  type: {kind}"] if kind else []
    return "\n".join(["version: '2.0'", "NAME:", *top, *head.splitlines(),
                      "  tasks:", *lines, ""])  # fmt: skip


DAG = """version: '2.0'
NAME:
  input: [n]
  output: {total: <% $.total %>, way: <% $.way %>}
  tasks:
    begin:
      action: std.noop
      publish: {a: <% $.n + 1 %>}
      on-success: [left, middle, right]
    left:
      action: std.echo output=<% $.a * 2 %>
      publish: {l: <% task().result %>}
      on-success: left_2
    left_2: {action: std.noop, publish: {l: <% $.l + 1 %>}, on-success: meet}
    middle: {action: std.noop, on-success: middle_2}
    middle_2:
      action: std.echo output=<% [$.a, $.n].sum() %>
      publish: {m: <% task().result %>}
      on-success: meet
    right: {action: std.noop, on-success: right_2}
    right_2: {action: std.noop, publish: {r: <% $.n * 3 %>}, on-success: meet}
    meet:
      join: all
      action: std.noop
      publish: {total: <% $.l + $.m + $.r %>}
      on-success:
        - big: <% $.total > 50 %>
        - small: <% $.total <= 50 %>
    big: {action: std.noop, publish: {way: big}, on-success: end}
    small: {action: std.noop, publish: {way: small}, on-success: end}
    end: {action: std.noop}
"""


def dag() -> Shape:
    """Ten tasks: branches, a join, publishing with YAQL, a condition."""

    def output(given: dict[str, Any]) -> dict[str, Any]:
        n = given["n"]
        total = 2 * (n + 1) + 1 + n + n + 1 + 3 * n
        return {"total": total, "way": "big" if total > 50 else "small"}

    return Shape(DAG, 10, tasks=10, output=output, input=lambda k: {"n": k % 17})


def sequential(n: int) -> Shape:
    lines = [
        f"    t{k}: {{action: {ACTION}, on-success: t{k + 1}}}" for k in range(n - 1)
    ]
    return Shape(_flow([*lines, f"    t{n - 1}: {{action: {ACTION}}}"]), n, tasks=n)


def parallel(n: int) -> Shape:
    return Shape(
        _flow([f"    t{k}: {{action: {ACTION}}}" for k in range(n)]), n, tasks=n
    )


def rows(x: int, n: int, join: bool = False) -> Shape:
    """x branches of n tasks each; with ``join`` they meet."""
    lines = []
    for branch in range(x):
        for k in range(n):
            then = f"t{branch}_{k + 1}" if k + 1 < n else "j" if join else ""
            follows = f", on-success: {then}" if then else ""
            lines.append(f"    t{branch}_{k}: {{action: {ACTION}{follows}}}")
    if join:
        lines.append(f"    j: {{join: all, action: {ACTION}}}")
    count = x * n + join
    return Shape(_flow(lines), count, tasks=count)


def fan(n: int) -> Shape:
    """n branches that publish meet in a join."""
    lines = [
        f"    b{k}: {{action: std.noop, publish: {{v{k}: {k}}}, on-success: j}}"
        for k in range(n)
    ]
    lines.append("    j: {join: all, action: std.noop}")
    head = f"  output: {{first: <% $.v0 %>, last: <% $.v{n - 1} %>}}"
    return Shape(
        _flow(lines, head),
        n,
        unit="branch",
        tasks=n + 1,
        output=lambda _: {"first": 0, "last": n - 1},
    )


def items(n: int) -> Shape:
    """with-items over n numbers."""
    text = _flow(
        [
            "    t:",
            "      with-items: i in <% range($.n) %>",
            "      action: std.echo output=<% $.i %>",
            "      publish: {all: <% task().result %>}",
        ],
        "  input: [n]\n  output: {all: <% $.all %>}",
    )
    return Shape(
        text,
        n,
        unit="item",
        tasks=1,
        output=lambda given: {"all": list(range(given["n"]))},
        input=lambda _: {"n": n},
    )


def combined(n: int) -> Shape:
    """A chain, branches that meet, and items, one after the other."""
    lines = [
        f"    s{k}: {{action: {ACTION}, on-success: s{k + 1}}}" for k in range(n - 1)
    ]
    starts = ", ".join(f"p{k}_0" for k in range(n))
    lines.append(f"    s{n - 1}: {{action: {ACTION}, on-success: [{starts}]}}")
    for k in range(n):
        lines.append(f"    p{k}_0: {{action: {ACTION}, on-success: p{k}_1}}")
        lines.append(f"    p{k}_1: {{action: {ACTION}, on-success: j}}")
    lines.append(f"    j: {{join: all, action: {ACTION}, on-success: w}}")
    lines += [
        "    w:",
        f"      with-items: i in <% range({n}) %>",
        "      action: std.echo output=<% $.i %>",
        "      publish: {all: <% task().result %>}",
    ]
    tasks = 3 * n + 2
    return Shape(
        _flow(lines, "  output: {all: <% $.all %>}"),
        4 * n + 1,
        tasks=tasks,
        output=lambda _: {"all": list(range(n))},
    )


def nested(n: int) -> Shape:
    """n sub-workflows at the same time."""
    lines = [
        "    t:",
        f"      with-items: i in <% range({n}) %>",
        "      workflow: NAME_sub n=<% $.i %>",
        "      publish: {all: <% task().result.select($.m) %>}",
        "NAME_sub:",
        "  input: [n]",
        "  output: {m: <% $.m %>}",
        "  tasks:",
        "    u:",
        "      action: std.echo output=<% $.n * 2 %>",
        "      publish: {m: <% task().result %>}",
    ]
    return Shape(
        _flow(lines, "  output: {all: <% $.all %>}"),
        n,
        unit="sub-workflow",
        tasks=1,
        output=lambda _: {"all": [2 * k for k in range(n)]},
        subs=n,
    )


def reverse(n: int) -> Shape:
    """A chain that is found from its end."""
    lines = [f"    t0: {{action: {ACTION}}}"]
    lines += [
        f"    t{k}: {{action: {ACTION}, requires: [t{k - 1}]}}" for k in range(1, n)
    ]
    return Shape(
        _flow(lines, kind="reverse"),
        n,
        tasks=n,
        more={"params": {"task_name": f"t{n - 1}"}},
    )


def data(n: int) -> Shape:
    """A chain whose tasks each publish 200 KB of their own."""
    lines = []
    value = "x" * (LARGE // ENTRIES - 16)
    for k in range(n):
        then = f"      on-success: t{k + 1}" if k + 1 < n else ""
        lines += [
            f"    t{k}:",
            f"      action: std.test_dict size={ENTRIES} key_prefix=k{k}_ val={value}",
            f"      publish: {{d{k}: <% task().result %>}}",
            *([then] if then else []),
        ]
    head = f"  output: {{first: <% $.d0.len() %>, last: <% $.d{n - 1}.len() %>}}"
    return Shape(
        _flow(lines, head),
        n,
        tasks=n,
        output=lambda _: {"first": ENTRIES, "last": ENTRIES},
    )


def timer(seconds: float) -> Shape:
    """One task that waits before it starts; ``late`` is the time that it took and
    was not asked for."""
    lines = [
        "    s: {action: std.noop, publish: {begun: <% now().timestamp %>},"
        " on-success: t}",
        f"    t: {{action: std.noop, wait-before: {seconds:g},"
        " publish: {ended: <% now().timestamp %>}}",
    ]
    late = f"<% $.ended - $.begun - {seconds:g} %>"
    return Shape(_flow(lines, f"  output: {{late: {late}}}"), 1, tasks=2)


def waiting() -> Shape:
    """One task whose result never comes."""
    return Shape(_flow(["    t: {action: std.async_noop}"]), 1, tasks=1)
