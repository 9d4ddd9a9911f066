"""The workflows of the load, and what the language says must come of each.

Actions are lost with their executors. One that is not safe to rerun then ends in ERROR:
most flows try such a task again, so that one outcome is left; ``fragile`` takes the
other branch, and ``bare`` fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TEXTS = """
version: '2.0'

single:
  input: [url]
  tasks:
    a: {action: note url=<% $.url %> place='a/0'}

chain:
  input: [url]
  output: {first: <% $.first %>, items: <% $.items %>, last: <% $.last %>}
  task-defaults:
    retry: {count: 9, delay: 0}
  tasks:
    first:
      action: note url=<% $.url %> place='first/0'
      publish: {first: <% task().result.number > 0 %>}
      on-success: items
    items:
      with-items: i in <% range(6) %>
      concurrency: 3
      action: note url=<% $.url %> place='items/<% $.i %>'
      publish: {items: <% task().result.len() %>}
      on-success: last
    last:
      action: std.http url='<% $.url %>/ok/<% execution().id %>/last/0?hold=0.05'
      publish: {last: <% task().result.status %>}

diamond:
  input: [url]
  output: {sum: <% $.sum %>, met: <% $.met %>}
  task-defaults:
    safe-rerun: true
  tasks:
    begin: {action: std.echo output=1, on-success: [a, b, c]}
    a:
      action: note url=<% $.url %> place='a/0'
      publish: {a: 1}
      on-success: meet
    b:
      with-items: i in <% range(4) %>
      action: note url=<% $.url %> place='b/<% $.i %>'
      publish: {b: <% task().result.len() %>}
      on-success: meet
    c: {action: std.noop, on-success: d}
    d:
      action: note url=<% $.url %> place='d/0' hold=0.6
      publish: {d: 2}
      on-success: meet
    meet:
      join: all
      action: note url=<% $.url %> place='meet/0'
      publish: {sum: <% $.a + $.b + $.d %>, met: <% task().result.number > 0 %>}

tree:
  input: [url]
  output: {doubles: <% $.doubles %>, one: <% $.one %>}
  tasks:
    children:
      with-items: n in [1, 2, 3]
      workflow: leaf url=<% $.url %> n=<% $.n %>
      publish: {doubles: <% task().result.double %>}
      on-success: one
    one:
      workflow: leaf url=<% $.url %> n=21
      publish: {one: <% task().result.double %>}

leaf:
  input: [url, n]
  output: {double: <% $.double %>}
  tasks:
    twice:
      action: note url=<% $.url %> place='twice/0'
      safe-rerun: true
      publish: {double: <% $.n * 2 %>}
      on-success: rest
    rest: {action: std.noop}

flaky:
  input: [url]
  output: {got: <% $.got %>}
  tasks:
    ask:
      action: std.http url='<% $.url %>/flaky/<% execution().id %>/ask/0?hold=0.1'
      retry: {count: 9, delay: 1}
      publish: {got: <% task().result.status %>}

timers:
  input: [url]
  output: {late: <% $.late %>, never: <% $.never %>}
  tasks:
    begin: {action: std.noop, on-success: [late, never]}
    late:
      wait-before: 1
      wait-after: 1
      action: note url=<% $.url %> place='late/0'
      retry: {count: 9, delay: 0}
      publish: {late: true}
      on-success: meet
    never:
      action: std.async_noop
      timeout: 3
      publish-on-error: {never: true}
      on-error: meet
    meet: {join: all, action: std.noop}

asked:
  input: [url]
  output: {answer: <% $.answer %>}
  tasks:
    ask:
      action: std.mistral_http
      input: {url: '<% $.url %>/ask/<% execution().id %>/ask/0?hold=0.05'}
      retry: {count: 9, delay: 0}
      publish: {answer: <% task().result.answer %>}

held:
  input: [url]
  output: {a: <% $.a %>, b: <% $.b %>}
  tasks:
    a:
      action: note url=<% $.url %> place='a/0'
      retry: {count: 9, delay: 0}
      publish: {a: 1}
      on-success: b
    b:
      pause-before: true
      action: note url=<% $.url %> place='b/0'
      retry: {count: 9, delay: 0}
      publish: {b: 2}

mended:
  input: [url]
  output: {got: <% $.got %>}
  tasks:
    before: {action: std.noop, on-success: ask}
    ask:
      action: std.http url='<% $.url %>/flaky/<% execution().id %>/ask/0?hold=0.05'
      publish: {got: <% task().result.status %>}
      on-success: after
    after:
      action: note url=<% $.url %> place='after/0'
      safe-rerun: true

fragile:
  input: [url]
  output: {came: <% $.came %>}
  tasks:
    ask:
      action: note url=<% $.url %> place='ask/0' hold=0.5
      publish: {came: true}
      publish-on-error: {came: false}
      on-success: went
      on-error: failed
    went: {action: std.noop}
    failed: {action: std.noop}

bare:
  input: [url]
  tasks:
    fan: {on-success: [a, b]}
    a: {action: note url=<% $.url %> place='a/0' hold=0.3}
    b: {action: note url=<% $.url %> place='b/0' hold=0.3}

circle:
  input: [url, {n: 0}]
  output: {n: <% $.n %>}
  tasks:
    begin: {action: std.noop, on-success: step}
    step:
      action: note url=<% $.url %> place='step/0'
      safe-rerun: true
      publish: {n: <% $.n + 1 %>}
      on-success:
        - step: <% $.n < 4 %>
"""

ACTIONS = """
version: '2.0'

note:
  base: std.http
  base-input:
    url: "<% $.url %>/ok/<% execution().id %>/<% $.place %>?hold=<% $.hold %>"
  input: [url, place, {hold: 0.1}]
  output: <% $.content %>
"""


@dataclass(frozen=True)
class Flow:
    """What must come of one kind of run.

    :param output: of the run.
    :param tasks: how often each task is there when the run has ended.
    :param children: how many sub-workflows it has.
    :param weight: how often it is started, compared with the others.
    :param otherwise: output and tasks of a run that lost an action; ``None``: the same.
    :param may_fail: a lost action ends the run in ERROR.
    :param plain: it waits for nothing but its actions.
    """

    output: Mapping[str, Any]
    tasks: Mapping[str, int]
    children: int = 0
    weight: int = 2
    otherwise: tuple[Mapping[str, Any], Mapping[str, int]] | None = None
    may_fail: bool = False
    plain: bool = field(default=True, kw_only=True)


def _once(*names: str) -> Counter[str]:
    return Counter(names)


FLOWS: Mapping[str, Flow] = {
    "chain": Flow(
        {"first": True, "items": 6, "last": 200}, _once("first", "items", "last"),
        weight=4,
    ),
    "diamond": Flow(
        {"sum": 7, "met": True}, _once("begin", "a", "b", "c", "d", "meet"), weight=4
    ),
    "tree": Flow(
        {"doubles": [2, 4, 6], "one": 42}, _once("children", "one"), children=4
    ),
    "flaky": Flow({"got": 200}, _once("ask"), plain=False),
    "timers": Flow(
        {"late": True, "never": True}, _once("begin", "late", "never", "meet"),
        plain=False,
    ),
    "asked": Flow({"answer": 42}, _once("ask"), plain=False),
    "held": Flow({"a": 1, "b": 2}, _once("a", "b"), plain=False),
    "mended": Flow({"got": 200}, _once("before", "ask", "after"), plain=False),
    "fragile": Flow(
        {"came": True}, _once("ask", "went"),
        otherwise=({"came": False}, _once("ask", "failed")),
    ),
    "bare": Flow({}, _once("fan", "a", "b"), may_fail=True),
    "circle": Flow({"n": 4}, Counter(begin=1, step=4)),
    "leaf": Flow({"double": 0}, _once("twice", "rest"), weight=0),
    "single": Flow({}, _once("a"), weight=0),
}  # fmt: skip
"""By the name of the workflow; ``leaf`` is started by ``tree`` only, ``single`` in
bursts."""

SAFE_TASKS = frozenset(
    [("leaf", "twice"), ("circle", "step"), ("mended", "after")]
    + [("diamond", name) for name in "abd"]
    + [("diamond", "meet")]
)
"""Workflow and task whose action is safe to rerun."""
