"""The event engine with a real bus: memory and RabbitMQ (ENG § 10.4)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import oslo_messaging
import pytest
from system.processes import control_broker, until
from triggers.test_event_engine import World

from mistral.bus import Bus
from mistral.db import models
from mistral.errors import Unavailable

SECONDS = 30


class Stage:
    """A world whose event engines hear a broker, and another service."""

    def __init__(self, directory: Path, transport_url: str) -> None:
        self.world = World(directory)
        self.url = transport_url
        self.buses: list[Bus] = []
        self.engines: list[Any] = []
        bus = self.new_bus()
        transport = oslo_messaging.get_notification_transport(
            bus._transports.conf, url=transport_url
        )
        self._transport = transport

    def new_bus(self) -> Bus:
        bus = Bus(self.url)
        bus.start()
        self.buses.append(bus)
        return bus

    def new_engine(self) -> Any:
        """Listening already; its own look at the table is the test's."""
        engine = self.world.new_engine(self.new_bus())  # type: ignore[arg-type]
        engine.run_once()
        self.engines.append(engine)
        return engine

    def tell(self, number: int, event: str = "made") -> None:
        message = {
            "message_id": f"m{number}",
            "publisher_id": "nova",
            "timestamp": "t",
            "event_type": event,
            "priority": "INFO",
            "payload": {"id": number},
        }
        place = oslo_messaging.Target(exchange="nova", topic="notes.info")
        self._transport._send_notification(place, {}, message, version=2.0, retry=3)

    def asked(self) -> list[int]:
        """What outbox rows and executions there are for which events."""
        house = self.world.house
        rows = [row["payload"]["params"] for row in house.rows(models.outbox)]
        rows += [row["params"] for row in house.rows(models.workflow_executions)]
        return sorted(params["event_params"]["id"] for params in rows)

    def reaches(self, numbers: list[int]) -> None:
        until(lambda: self.asked() == numbers, SECONDS, f"events {numbers}")

    def close(self) -> None:
        for engine in self.engines:
            engine.stop()
        for bus in self.buses:
            bus.stop()
        self._transport.cleanup()
        self.world.house.close()


@pytest.fixture
def stage(tmp_path: Path, transport_url: str) -> Iterator[Stage]:
    stage = Stage(tmp_path, transport_url)
    yield stage
    stage.close()


def test_a_notification_starts_a_workflow(stage: Stage) -> None:
    stage.world.trigger()
    stage.new_engine()
    stage.tell(1)
    stage.tell(2, "else")
    stage.reaches([1])
    [run] = stage.world.runs()
    assert stage.world.output(run) == {"of": {"id": 1}, "who": "nobody"}


def test_two_engines_share_what_comes(stage: Stage) -> None:
    stage.world.trigger()
    for _ in range(2):
        stage.new_engine()
    for number in range(20):
        stage.tell(number)
    stage.reaches(list(range(20)))
    assert len(stage.world.runs()) == 20


def test_triggers_come_and_go_while_it_runs(stage: Stage) -> None:
    engine = stage.new_engine()
    first = stage.world.trigger()
    engine.run_once()
    stage.tell(1)
    stage.reaches([1])
    stage.world.remove(first)
    engine.run_once()
    stage.tell(2)
    stage.world.trigger()
    engine.run_once()
    stage.tell(3)
    until(lambda: 3 in stage.asked(), SECONDS, "event 3")


def test_what_comes_while_no_engine_runs_waits(stage: Stage) -> None:
    stage.world.trigger()
    stage.new_engine().stop()
    stage.tell(1)
    stage.new_engine()
    stage.reaches([1])


def test_events_are_kept_while_the_database_is_away(stage: Stage) -> None:
    """ENG-235 for events: not in the database, so it comes again."""
    stage.world.trigger()
    engine = stage.new_engine()
    database, asked = stage.world.house.database, threading.Event()

    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(database, name)

        def replay(self, work: Any) -> Any:
            asked.set()
            raise Unavailable("away", retry_after=0.01)

    engine._events._database = Away()
    stage.tell(1)
    assert asked.wait(SECONDS)
    assert stage.asked() == []
    engine._events._database = database
    stage.reaches([1])


@pytest.mark.services
@pytest.mark.parametrize("transport_url", ["rabbit"], indirect=True)
def test_a_cut_connection_before_the_acknowledgement(
    stage: Stage, transport_url: str
) -> None:
    """ENG-236 for events: committed, not acknowledged: it comes again and starts
    nothing twice."""
    stage.world.trigger()
    engine = stage.new_engine()
    heard: list[str] = []
    take = engine.hear
    name = transport_url.rsplit("/", 1)[1]

    def cut(event: Any) -> None:
        take(event)
        heard.append(event.id)
        if len(heard) == 1:
            control_broker("close_all_connections", "--vhost", name, "a test")

    for listening in engine._listening.values():
        listening._server.dispatcher._hear = cut
    stage.tell(1)
    until(lambda: heard == ["m1", "m1"], 60, "it comes again")
    assert stage.asked() == [1]
    assert len(stage.world.runs()) == 1
