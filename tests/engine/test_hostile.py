"""Hostile expressions in a whole engine: they fail their task, nothing else.

What a single evaluation refuses is in ``tests/expressions/test_hostile.py``; here
the same texts stand in workflows, and others' runs go on beside them.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeClock
from hostile import DATA, DEEP, HOSTILE
from house import CALLER, House

from mistral.db import models
from mistral.engine.facts import EXPRESSION_SECONDS
from mistral.engine.pace import LONGEST_DECIDING
from mistral.errors import MistralError
from mistral.expressions.evaluate import Evaluator, ExpressionSettings
from mistral.messages import ResumeWorkflow, StartWorkflow

WALKS = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ _.l.__class__.__base__ }}",
    "{{ ('{0.__class__}'|attr('format'))(1) }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ env.__globals__ }}",
    "{{ task.__code__.co_consts }}",
    "{{ namespace.__init__ }}",
    "<% ''.__class__ %>",
    "<% $.__class__ %>",
    "<% call('__class__', [$], {}) %>",
]
"""Ways out of an expression into Python."""

NEIGHBOUR = """
version: '2.0'
neighbour:
  input: [n]
  tasks:
    each:
      with-items: i in <% range($.n) %>
      action: std.test_dict size=1 key_prefix="k" val=<% $.i %>
      on-success: last
    last:
      action: std.noop
"""


def workflow(name: str, text: str) -> str:
    """The expression where a task publishes, after a task that calls an action."""
    quoted = json.dumps(text)
    return (
        f"version: '2.0'\n{name}:\n  input: [x, big, l, d]\n  tasks:\n"
        f"    t:\n      action: std.test_dict size=1 key_prefix='k' val='v'\n"
        f"      publish: {{found: {quoted}}}\n"
    )


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., House]]:
    made: list[House] = []

    def house(evaluator: Callable[[FakeClock], Evaluator]) -> House:
        made.append(House(tmp_path, evaluator=evaluator))
        return made[-1]

    yield house
    for one in made:
        one.close()


def _short(_clock: FakeClock) -> Evaluator:
    settings = ExpressionSettings(max_steps=10_000, max_output_bytes=4 << 20)
    return Evaluator(settings, monotonic=time.monotonic)


@pytest.mark.thorough
def test_hostile_expressions_fail_their_task_and_nothing_else_SEC_13(
    make: Callable[..., House],
) -> None:
    """Also SEC-08, SEC-11, SEC-12: the sandbox, and no values in the state info."""
    house = make(_short)
    house.upload(NEIGHBOUR)
    data = {**DATA, "x": "secretvalue"}
    runs: dict[str, str] = {}
    for n, text in enumerate([*HOSTILE, *WALKS, *DEEP]):
        try:
            house.upload(workflow(f"h{n}", text))
        except MistralError:
            continue  # refused where it is uploaded
        runs[house.start(f"h{n}", data)] = text
    assert len(runs) > len(HOSTILE)
    neighbour = house.start("neighbour", {"n": 20})
    before = _peak()
    house.settle()
    assert _peak() - before < 256 * 1024  # kilobytes

    assert house.header(neighbour)["state"] == "SUCCESS"
    assert house.rows(models.poison) == []
    for id, text in runs.items():
        header = house.header(id)
        if text not in DEEP:
            assert header["state"] == "ERROR", text
        if header["state"] == "ERROR":
            assert house.tasks(id) == {"t": "ERROR"}
            assert len(header["state_info"]) < 2_000, text
            assert "secretvalue" not in header["state_info"]
    # and the engine goes on
    assert house.run("neighbour", {"n": 2})["state"] == "SUCCESS"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


PLACES = {
    "input": "action: std.echo output={}",
    "publish": "action: std.noop\n      publish: {{x: {}}}",
    "with-items": "with-items: i in {}\n      action: std.noop",
    "on-success": "action: std.noop\n      on-success:\n        - u: {}",
    "retry": "action: std.noop\n      retry: {{count: 3, delay: 1, break-on: {}}}",
    "wait-before": "action: std.noop\n      wait-before: {}",
    "timeout": "action: std.noop\n      timeout: {}",
    "concurrency": "action: std.noop\n      with-items: i in [1]\n"
    "      concurrency: {}",
    "fail-on": "action: std.noop\n      fail-on: {}",
    "name": "action: {}",
    "workflow": "workflow: {}",
    "target": "action: std.test_dict size=1\n      target: {}",
}


@pytest.mark.parametrize("place", PLACES)
def test_in_every_place_of_a_task_SEC_13(
    place: str, make: Callable[..., House]
) -> None:
    """The run ends; nothing is set aside as poison."""
    house = make(_short)
    text = "<% range(100000).select(range(100000).select($ + 1).sum()).sum() %>"
    body = PLACES[place].format(json.dumps(text) if place != "with-items" else text)
    house.upload(
        f"version: '2.0'\nw:\n  tasks:\n    t:\n      {body}\n"
        "    u: {action: std.noop}\n"
    )
    id = house.start("w")
    house.settle()
    header = house.header(id)
    assert header["state"] == "ERROR"
    assert "steps" in header["state_info"]
    assert house.rows(models.poison) == []


@pytest.mark.parametrize("place", ["vars", "output", "output-on-error"])
def test_in_every_place_of_a_workflow_SEC_13(
    place: str, make: Callable[..., House]
) -> None:
    house = make(_short)
    house.upload(
        "version: '2.0'\nw:\n  input: [big]\n"
        f"  {place}: {{x: '{{{{ _.big * 100000 }}}}'}}\n"
        f"  tasks:\n    t: {{action: std.{'fail' if 'on' in place else 'noop'}}}\n"
    )
    try:
        id = house.start("w", {"big": "a" * 1000})
    except MistralError as error:
        assert place == "vars"
        assert "larger than" in str(error)
        return
    house.settle()
    header = house.header(id)
    assert header["state"] == "ERROR"
    assert "larger than" in header["state_info"]


# -- time ------------------------------------------------------------------------------


def _slow(clock: FakeClock) -> Evaluator:
    """An evaluator whose function ``slow`` takes the seconds that it is given."""

    def slow(_context: Any, seconds: float) -> float:
        clock.advance(seconds)
        return seconds

    return Evaluator(functions={"slow": slow}, monotonic=clock.monotonic)


SLOW = """
version: '2.0'
slow:
  tasks:
    t:
      action: std.noop
      publish: {x: <% slow(0.9) %>}
"""


def test_slow_expressions_of_others_do_not_hold_a_turn_SEC_13(
    make: Callable[..., House],
) -> None:
    """Forty runs take 0.9 s each to decide: the turn ends after the second, and who
    came meanwhile is heard in the order of coming."""
    house = make(_slow)
    house.upload(SLOW)
    house.upload("version: '2.0'\nquick:\n  tasks:\n    t: {action: std.noop}\n")
    answers = [house.put(_start(house, "slow")) for _ in range(40)]
    turns = 0
    while not all(answer.done() for answer in answers):
        began = house.clock.monotonic()
        done = sum(answer.done() for answer in answers)
        house.engine.loop.run_once(timeout=0)
        turns += 1
        assert sum(answer.done() for answer in answers) - done <= 2
        assert house.clock.monotonic() - began < LONGEST_DECIDING + 2
        if turns == 1:
            quick = house.put(_start(house, "quick"))
    assert turns == 20
    house.settle()
    assert quick.done()
    states = {row["state"] for row in house.rows(models.workflow_executions)}
    assert states == {"SUCCESS"}
    assert len(house.rows(models.workflow_executions)) == 41


def _start(house: House, name: str) -> Any:
    return StartWorkflow(
        run_id=house.new_id(),
        workflow_name=name,
        input={},
        request_id=house.new_id(),
        context=CALLER.to_dict(),
    )


SECOND = "slow(1.5) + range(600).len()"
"""Within the time of one expression; the range makes it look at the clock."""

BIG = {
    "items": "    t:\n      with-items: i in <% range(40) %>\n"
    f"      action: std.echo output=<% {SECOND} + $.i %>\n",
    "sub-workflows": "    t:\n      with-items: i in <% range(40) %>\n"
    f"      workflow: x v=<% {SECOND} %>\n",
    "a wide fork": "    s: {action: std.noop, on-success: ["
    + ", ".join(f"t{k}" for k in range(40))
    + "]}\n"
    + "".join(
        f"    t{k}: {{action: std.echo output=<% {SECOND} %>}}\n" for k in range(40)
    ),
    "start tasks": "".join(
        f"    t{k}: {{publish: {{x{k}: <% {SECOND} %>}}}}\n" for k in range(40)
    ),
    "a chain": "".join(
        f"    t{k}: {{publish: {{x: <% {SECOND} %>}}, on-success: t{k + 1}}}\n"
        for k in range(40)
    )
    + "    t40: {action: std.noop}\n",
    "conditions": "    s: {action: std.noop, on-success: ["
    + ", ".join(f"{{t{k}: <% {SECOND} > 0 %>}}" for k in range(3))
    + "]}\n"
    + "".join(f"    t{k}: {{publish: {{x: <% {SECOND} %>}}}}\n" for k in range(3)),
}


@pytest.mark.parametrize("shape", BIG)
def test_a_workflow_does_not_fail_for_being_big_SEC_13(
    shape: str, make: Callable[..., House]
) -> None:
    """Forty expressions of 1.5 s each: decided a few at a time, in turns that are
    not much longer than one of them."""
    house = make(_slow)
    house.upload(
        f"version: '2.0'\nw:\n  tasks:\n{BIG[shape]}"
        "x: {input: [v], tasks: {t: {action: std.noop}}}\n"
    )
    id = house.start("w")
    house.settle()
    header = house.header(id)
    assert header["state"] == "SUCCESS", header["state_info"]
    assert house.longest_turn < LONGEST_DECIDING + EXPRESSION_SECONDS


def test_a_paused_workflow_that_is_big_goes_on_SEC_13(
    make: Callable[..., House],
) -> None:
    """Everything that a pause has held back goes on, a few at a time."""
    house = make(_slow)
    house.upload(
        "version: '2.0'\nw:\n  tasks:\n"
        + "".join(
            f"    t{k}: {{wait-before: 5, publish: {{x{k}: <% {SECOND} %>}}}}\n"
            for k in range(20)
        )
        + "".join(
            f"    p{k}: {{pause-before: true, publish: {{y{k}: <% {SECOND} %>}}}}\n"
            for k in range(20)
        )
    )
    id = house.start("w")
    house.advance(10)
    assert house.header(id)["state"] == "PAUSED"
    house.ask(ResumeWorkflow(run_id=id, request_id="r", context=CALLER.to_dict()))
    house.settle()
    header = house.header(id)
    assert header["state"] == "SUCCESS", header["state_info"]
    assert len(header["output"]) == 40
    assert house.longest_turn < LONGEST_DECIDING + EXPRESSION_SECONDS


def test_what_cannot_be_divided_shares_its_time_SEC_13(
    make: Callable[..., House],
) -> None:
    """Each of the ten expressions of one task is within its two seconds; together
    they are not."""
    house = make(_slow)
    house.upload(
        "version: '2.0'\nw:\n  tasks:\n    t:\n      publish:\n"
        + "".join(f"        x{k}: <% {SECOND} %>\n" for k in range(10))
    )
    id = house.start("w")
    house.settle()
    header = house.header(id)
    assert header["state"] == "ERROR"
    assert "the expressions of one step take longer than 5 s" in header["state_info"]
    assert house.longest_turn < LONGEST_DECIDING + EXPRESSION_SECONDS + 2
