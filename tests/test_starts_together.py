"""Starts that come at the same time, from the API's side of a bus to the rows."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from house import CALLER, House
from sqlalchemy import func, select

from mistral.api.starts import FLIGHTS, Starts
from mistral.bus import Bus
from mistral.clock import SystemClock
from mistral.db import models
from mistral.db.database import Database
from mistral.engine.steps import Step
from mistral.errors import NotFound
from mistral.messages import Message, StartTogether, StartWorkflow

SECONDS = 60
RABBIT = "rabbit://guest:guest@127.0.0.1:5672/"
MORE = 10
"""Starts that come while others are under way."""

FLOW = """
version: '2.0'
one:
  tasks:
    t: {action: std.noop}
"""


class Counting:
    """The bus of an API; how many messages it sends."""

    refusal = None

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.called: list[Message] = []

    def call(self, message: Message, **how: Any) -> Any:
        self.called.append(message)
        return self.bus.call(message, **how)


class World:
    """An engine with threads whose first turn waits, and who asks it.

    :ivar begun: the deciding thread has taken its first events.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.house = House(directory)
        self.house.upload(FLOW)
        self.house.clock = SystemClock()  # type: ignore[assignment]
        self.house.database = Database(self.house.database.url)
        self.buses = [Bus(url, call_timeout=SECONDS) for _ in range(2)]
        self.house.post = self.buses[0]  # type: ignore[assignment]
        self.house.engine = self.house.new_engine("threads")
        self.house.reached = self._reached
        for part in (*self.buses, self.house.engine):
            part.start()
        self.bus = Counting(self.buses[1])
        self.starts = Starts(
            self.bus, SystemClock(), wait=lambda told, seconds: told.wait(SECONDS)
        )
        self.pool = ThreadPoolExecutor(MORE + FLIGHTS)

    def _reached(self, step: Step) -> None:
        if step is Step.TAKEN:
            self.begun.set()
            assert self.go_on.wait(SECONDS)

    def ask(self, name: str) -> Future[Any]:
        message = StartWorkflow(
            run_id=str(uuid.uuid4()),
            workflow_name=name,
            request_id=str(uuid.uuid4()),
            context=CALLER.to_dict(),
        )
        return self.pool.submit(self.starts.call, message)

    def count(self, column: Any) -> int:
        with self.house.database.read() as connection:
            query = select(func.count(column.distinct()))
            found: int = connection.execute(query).scalar_one()
            return found

    def close(self) -> None:
        self.go_on.set()
        self.pool.shutdown()
        for part in (self.house.engine, *self.buses[::-1]):
            part.stop()
        self.house.close()


@pytest.fixture
def world(transport_url: str, tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, transport_url)
    yield world
    world.close()


def test_many_starts_take_few_messages_and_few_turns(world: World) -> None:
    first = [world.ask("one")]
    assert world.begun.wait(SECONDS)
    first += [world.ask("one") for _ in range(FLIGHTS - 1)]
    while len(world.bus.called) < FLIGHTS:
        threading.Event().wait(0.001)
    more = [world.ask("one" if number else "none") for number in range(MORE)]
    while world.starts.waiting(CALLER.project_id) < MORE:
        threading.Event().wait(0.001)
    world.go_on.set()
    ids = [each.result(SECONDS)["id"] for each in (*first, *more[1:])]
    with pytest.raises(NotFound, match="none"):
        more[0].result(SECONDS)
    assert {world.house.header(id)["state"] for id in ids} == {"SUCCESS"}
    assert len(set(ids)) == FLIGHTS + MORE - 1
    assert world.count(models.workflow_executions.c.id) == len(ids)
    together = [m for m in world.bus.called if isinstance(m, StartTogether)]
    # Messages that are back at the same moment are each followed by one.
    assert sum(len(message.requests) for message in together) > MORE - FLIGHTS
    assert len(world.bus.called) <= 2 * FLIGHTS
    assert world.count(models.history.c.turn_id) <= 2 * FLIGHTS
