"""An engine and an executor while a real broker is away, and when it is back.

The database's clock stands still: no lease ends, nothing becomes due. What goes on
goes on because the broker is back.
"""

from __future__ import annotations

import logging
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest
from house import CALLER, House
from proxy import Proxy
from system.processes import until

from mistral.bus import Bus
from mistral.clock import SystemClock
from mistral.executors.server import ExecutorServer, ExecutorSettings
from mistral.messages import Message, StartWorkflow

pytestmark = pytest.mark.services

SECONDS = 30
WORKFLOW = """
version: '2.0'
w:
  tasks:
    t: {action: std.test_dict size=1 key_prefix=k val=v}
"""


class Parts:
    """An engine whose connections can be cut, and buses that cannot."""

    def __init__(self, directory: Path) -> None:
        self.proxy = Proxy(5672)
        self.prefix = f"t{uuid.uuid4().hex[:12]}"
        self.house = House(directory)
        self.buses: list[Bus] = []
        self.services: list[Any] = []
        near = self.bus(self.proxy.port)
        self.house.post = near  # type: ignore[assignment]
        self.engine = self.house.new_engine("one")
        self.begin(self.engine)

    def bus(self, port: int) -> Bus:
        made = Bus(
            f"rabbit://guest:guest@127.0.0.1:{port}/",
            engine_topic=f"{self.prefix}_engine",
            executor_topic=f"{self.prefix}_executor",
            server_name=uuid.uuid4().hex,
            call_timeout=SECONDS,
        )
        made.start()
        self.buses.append(made)
        return made

    def begin(self, service: Any) -> None:
        service.start()
        self.services.append(service)

    def executor(self) -> None:
        self.begin(
            ExecutorServer(
                self.bus(5672),
                self.house.registry,
                ExecutorSettings(threads=4),
                SystemClock(),
                lambda: uuid.uuid4().hex,
            )
        )

    def start(self) -> str:
        run_id = self.house.new_id()
        start = StartWorkflow(
            run_id=run_id,
            workflow_name="w",
            request_id=self.house.new_id(),
            context=CALLER.to_dict(),
        )
        self.engine.intake.put(start).result(SECONDS)
        return run_id

    def succeeds(self, run_id: str) -> None:
        def over() -> bool:
            return bool(self.house.header(run_id)["state"] == "SUCCESS")

        until(over, SECONDS, "the run succeeds")

    def close(self) -> None:
        self.proxy.mend()
        for each in (*reversed(self.services), *self.buses):
            each.stop()
        self.proxy.close()
        self.house.close()
        with amqp.Connection("127.0.0.1:5672") as connection:
            channel = connection.channel()
            for topic in ("engine", "engine.results", "engine.results.one", "executor"):
                for end in ("", ".info"):
                    channel.queue_delete(f"{self.prefix}_{topic}{end}")


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    try:
        socket.create_connection(("127.0.0.1", 5672), timeout=2).close()
    except OSError:
        pytest.skip("no RabbitMQ on 127.0.0.1:5672")
    parts = Parts(tmp_path)
    parts.house.upload(WORKFLOW)
    yield parts
    parts.close()


def test_offers_that_were_not_sent_go_out_when_the_broker_is_back(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """Design page, § 6: not when their lease has ended."""
    caplog.set_level(logging.WARNING, "mistral")
    parts.executor()
    parts.proxy.cut()
    run_id = parts.start()
    until(lambda: "offers were not sent" in caplog.text, SECONDS, "it was tried")
    parts.proxy.mend()
    parts.succeeds(run_id)


def test_offers_that_the_broker_has_lost_go_out_again_when_it_is_back(
    parts: Parts,
) -> None:
    """Design page, § 6: not thirty seconds after they were sent."""
    heard = threading.Event()

    def see(message: Message) -> bool:
        heard.set()
        return True

    other = parts.bus(5672)
    # who takes it in and forgets it stands for a broker that comes back empty
    subscription = other.listen(other.executor_topic, see)
    run_id = parts.start()
    assert heard.wait(SECONDS)
    subscription.stop()
    parts.proxy.cut()
    assert parts.proxy.refused(1, SECONDS)
    parts.proxy.mend()
    parts.executor()
    parts.succeeds(run_id)
