"""Connections to a real broker that break and come back."""

from __future__ import annotations

import logging
import socket
import threading
import uuid
from collections.abc import Iterator
from queue import Empty, SimpleQueue

import amqp
import pytest
from proxy import Proxy

from mistral.bus import Bus
from mistral.messages import ActionFinished, Message

pytestmark = pytest.mark.services

SECONDS = 30


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    try:
        socket.create_connection(("127.0.0.1", 5672), timeout=2).close()
    except OSError:
        pytest.skip("no RabbitMQ on 127.0.0.1:5672")
    proxy = Proxy(5672)
    yield proxy
    proxy.close()


@pytest.fixture
def prefix() -> Iterator[str]:
    prefix = f"t{uuid.uuid4().hex[:12]}"
    yield prefix
    with amqp.Connection("127.0.0.1:5672") as connection:
        channel = connection.channel()
        for end in ("", ".results.info"):
            channel.queue_delete(f"{prefix}_engine{end}")


@pytest.fixture
def near(proxy: Proxy, prefix: str) -> Iterator[Bus]:
    """A bus whose connections can be cut."""
    yield from _bus(proxy.port, prefix)


@pytest.fixture
def far(proxy: Proxy, prefix: str) -> Iterator[Bus]:
    """A bus on the other side of the cut."""
    yield from _bus(5672, prefix)


def _bus(port: int, prefix: str) -> Iterator[Bus]:
    bus = Bus(
        f"rabbit://guest:guest@127.0.0.1:{port}/",
        engine_topic=f"{prefix}_engine",
        executor_topic=f"{prefix}_executor",
        call_timeout=SECONDS,
        retry=0,
    )
    bus.start()
    yield bus
    bus.stop()


def test_a_lost_acknowledgement_costs_no_place(
    near: Bus, far: Bus, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Design page, § 4: what could not be acknowledged comes again and is
    acknowledged then; it does not fill the prefetch for good."""
    heard: SimpleQueue[str] = SimpleQueue()
    release = threading.Event()

    def hold(message: Message) -> None:
        assert isinstance(message, ActionFinished)
        heard.put(message.action_id)
        assert release.wait(SECONDS)

    near.listen(near.results_topic, hold, prefetch=2)
    for name in ("a", "b"):
        far.send(ActionFinished(action_id=name))
    assert {heard.get(timeout=SECONDS) for _ in "ab"} == {"a", "b"}
    proxy.cut()
    assert proxy.refused(1, SECONDS)
    release.set()
    assert proxy.refused(4, SECONDS), "acknowledged in vain meanwhile"
    proxy.mend()
    for name in ("c", "d", "e"):
        far.send(ActionFinished(action_id=name))
    later = []
    while not {"c", "d", "e"} <= set(later):
        try:
            later.append(heard.get(timeout=SECONDS))
        except Empty:
            pytest.fail(f"only {later} were heard")
    assert set(later) == {"a", "b", "c", "d", "e"}, "delivered at least once"
    errors = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert [r.getMessage() for r in errors if r.exc_info] == []
