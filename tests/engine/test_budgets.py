"""What a task may cost, counted: statements, commits, messages, outbox rows.

A slow machine blurs none of it, so a change that makes tasks dearer fails here
without a clock. Many executions at once, as under load: all that is ready is decided,
offered, claimed and answered together, in messages of the sizes that engines and
executors use. What is counted is at most what stands in the table; who makes it less
writes the lower number.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from house import CALLER, House, Post
from servers import NoServer, fresh_database
from sqlalchemy import event

from mistral.db.database import Database
from mistral.engine.core.ports import Rules
from mistral.executors.claims import MOST_ASKED
from mistral.executors.held import CHUNK
from mistral.messages import (
    ActionFinished,
    Batch,
    CallAction,
    ClaimAction,
    HandIn,
    Message,
    StartWorkflow,
    decode,
    encode,
)

SHAPES = Path(__file__).parents[2] / "tools" / "bench" / "shapes.py"
EXECUTIONS = 20


def _shapes() -> ModuleType:
    """The shapes of the benchmark: what is budgeted is what is measured."""
    spec = importlib.util.spec_from_file_location("bench_shapes", SHAPES)
    assert spec is not None and spec.loader is not None
    module = sys.modules["bench_shapes"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shapes = _shapes()


@dataclass(slots=True)
class Spent:
    """Of all executions together. ``outbox`` counts rows that were written."""

    statements: int = 0
    commits: int = 0
    messages: int = 0
    outbox: int = 0

    def per(self, tasks: int) -> Spent:
        return Spent(*(getattr(self, each.name) / tasks for each in fields(self)))


class Counting(Post):
    """Counts messages between engine and executors."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = 0

    def send(
        self, message: Message, *, topic: str | None = None, target: str | None = None
    ) -> None:
        self.messages += 1
        super().send(message, topic=topic, target=target)


class Counter:
    """A house in which everything happens together."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.spent = Spent()
        self.post = house.post = Counting()
        house.engine = house.new_engine("counted")
        engine = house.database.engine
        event.listen(engine, "before_cursor_execute", self._executed)
        event.listen(engine, "commit", self._committed)

    def _executed(
        self, _connection: Any, _cursor: Any, text: str, given: Any, *_: Any
    ) -> None:
        self.spent.statements += text != "BEGIN" and text != "BEGIN IMMEDIATE"
        if text.startswith("INSERT INTO outbox"):
            self.spent.outbox += _rows_of(given)

    def _committed(self, _connection: Any) -> None:
        self.spent.commits += 1

    def run(self, shape: Any) -> Spent:
        """Executions of a shape, from their requests to their ends.

        Definitions are read by a first one, which does not count.
        """
        house = self.house
        house.upload(shape.text.replace("NAME", "w"))
        self._start(shape, 1)
        self.spent = Spent()
        self.post.messages = 0
        ids = self._start(shape, EXECUTIONS)
        self.spent.messages += self.post.messages
        for number, id in enumerate(ids):
            row = house.header(id)
            assert row["state"] == "SUCCESS", row["state_info"]
            assert row["output"].items() >= shape.output(shape.input(number)).items()
        return self.spent

    def _start(self, shape: Any, count: int) -> list[str]:
        house = self.house
        ids = [house.new_id() for _ in range(count)]
        for number, id in enumerate(ids):
            house.put(
                StartWorkflow(
                    run_id=id,
                    workflow_name="w",
                    input=shape.input(number),
                    params=shape.more.get("params", {}),
                    request_id=house.new_id(),
                    context=CALLER.to_dict(),
                )
            )
        house.turn()
        while self._work():
            house.turn()
        return ids

    def run_alone(self, shape: Any, *, hands_in: bool) -> Spent:
        """One execution of a shape whose actions follow each other, as its executor
        does it when there is nothing else to do.

        :param hands_in: results bring the next call back; otherwise it is offered.
        """
        house = self.house
        house.upload(shape.text.replace("NAME", "w"))
        self._start(shape, 1)
        self.spent = Spent()
        self.post.messages = 0
        id = house.start("w", shape.input(0))
        result: ActionFinished | None = None
        while True:
            call = None
            if result is not None and hands_in:
                call = self._handed_in(result)
            elif result is not None:
                self.spent.messages += 1
                house.put(result)
                house.turn()
            if call is None:
                call = self._claimed()
            if call is None:
                break
            outcome = house.runner.run(call)
            assert isinstance(outcome, ActionFinished)
            result = outcome
        self.spent.messages += self.post.messages
        assert house.header(id)["state"] == "SUCCESS"
        return self.spent

    def _claimed(self) -> CallAction | None:
        self.house.engine.deliver.offers.send_waiting()
        if not self.post.offers:
            return None
        call = self.post.offers.popleft()
        self.spent.messages += 2
        assert self.house.call(Batch(events=(encode(self._claim(call)),))) == [True]
        return call

    def _handed_in(self, result: ActionFinished) -> CallAction | None:
        asks = HandIn(
            event=encode(result),
            token=self.house.new_id(),
            executor_id="executor-1",
            targets=(None,),
            free=64,
        )
        self.spent.messages += 2
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.house.call, asks)
            while not answer.done():
                self.house.engine.loop.run_once(timeout=0.01)
        given = answer.result()["call"]
        return None if given is None else decode(given)  # type: ignore[return-value]

    def _work(self) -> bool:
        """All offers are claimed together, all results come together."""
        house = self.house
        house.engine.deliver.offers.send_waiting()
        calls = list(self.post.offers)
        self.post.offers.clear()
        if calls:
            claims = tuple(encode(self._claim(call)) for call in calls)
            assert all(house.call(Batch(events=claims)))
        for call in calls:
            house.put(house.runner.run(call))
        # A question and its answer; results go one way.
        self.spent.messages += 2 * math.ceil(len(calls) / MOST_ASKED)
        self.spent.messages += math.ceil(len(calls) / CHUNK)
        return bool(calls) or len(house.engine.intake) > 0

    def _claim(self, call: CallAction) -> ClaimAction:
        return ClaimAction(
            action_id=call.action_id,
            attempt=call.attempt,
            token=self.house.new_id(),
            executor_id="executor-1",
        )


def _rows_of(given: Any) -> int:
    """Rows of an insert: sets of values, or a list per column."""
    if isinstance(given, list):
        return len(given)
    if isinstance(given, dict):
        first = next(iter(given.values()))
        return len(first) if isinstance(first, list) else 1
    return 1


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)]
)
def counter(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[bool], Counter]]:
    houses: list[House] = []
    try:
        with fresh_database(request.param, tmp_path) as url:

            def make(inline: bool) -> Counter:
                house = House(
                    tmp_path,
                    url=url.render_as_string(hide_password=False),
                    rules=Rules(inline_actions=inline),
                    database=Database,
                )
                houses.append(house)
                return Counter(house)

            yield make
            for house in houses:
                house.close()
    except NoServer as missing:
        pytest.skip(str(missing))


TABLE = {
    "dag": (shapes.dag(), Spent(36, 1, 0, 0), Spent(273, 13, 90, 200)),
    "chain": (shapes.sequential(10), Spent(34, 1, 0, 0), Spent(268, 21, 130, 200)),
    "items": (shapes.items(20), Spent(36, 1, 0, 0), Spent(121, 3, 43, 400)),
    "fan": (shapes.fan(10), Spent(38, 1, 0, 0), Spent(156, 5, 44, 220)),
    "rows that meet": (
        shapes.rows(5, 4, join=True),
        Spent(41, 1, 0, 0),
        Spent(210, 11, 105, 420),
    ),
    "reverse": (shapes.reverse(10), Spent(34, 1, 0, 0), Spent(468, 21, 130, 200)),
    "sub-workflows": (shapes.nested(5), Spent(152, 3, 0, 200), Spent(496, 6, 23, 400)),
}
"""Scenario → shape, and what all executions together may cost: inline, and through
executors."""


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("inline", [True, False], ids=["inline", "executors"])
def test_no_scenario_costs_more_than_its_budget(
    counter: Callable[[bool], Counter], name: str, inline: bool
) -> None:
    shape, inlined, executed = TABLE[name]
    spent, budget = counter(inline).run(shape), inlined if inline else executed
    over = {
        each.name: (getattr(spent, each.name), getattr(budget, each.name))
        for each in fields(Spent)
        if getattr(spent, each.name) > getattr(budget, each.name)
    }
    assert not over, f"found and allowed: {over}"


@pytest.mark.parametrize(
    ("inline", "most"),
    [
        pytest.param(True, Spent(2, 0.2, 0.1, 0.2), id="inline"),
        pytest.param(False, Spent(4, 0.4, 2, 1.2), id="executors"),
    ],
)
def test_a_task_of_the_graph_of_ten_keeps_what_was_promised(
    counter: Callable[[bool], Counter], inline: bool, most: Spent
) -> None:
    shape = shapes.dag()
    spent = counter(inline).run(shape).per(EXECUTIONS * shape.units)
    for each in fields(Spent):
        assert getattr(spent, each.name) <= getattr(most, each.name), each.name


@pytest.mark.parametrize(
    ("hands_in", "most"),
    [
        pytest.param(False, Spent(161, 21, 40, 10), id="offers"),
        pytest.param(True, Spent(125, 12, 23, 1), id="handed in"),
    ],
)
def test_what_one_chain_costs_whose_executor_has_nothing_else_to_do(
    counter: Callable[[bool], Counter], hands_in: bool, most: Spent
) -> None:
    """Decision 0048: per task one transaction and two messages, not two and four."""
    shape = shapes.sequential(10)
    spent = counter(False).run_alone(shape, hands_in=hands_in)
    for each in fields(Spent):
        assert getattr(spent, each.name) <= getattr(most, each.name), each.name
