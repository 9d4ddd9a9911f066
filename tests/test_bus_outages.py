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
def patient(proxy: Proxy, prefix: str) -> Iterator[Bus]:
    """As ``near``; its sends try again, on a new connection, as those of servers."""
    yield from _bus(proxy.port, prefix, retry=2)


@pytest.fixture
def far(proxy: Proxy, prefix: str) -> Iterator[Bus]:
    """A bus on the other side of the cut."""
    yield from _bus(5672, prefix)


def _bus(port: int, prefix: str, retry: int = 0) -> Iterator[Bus]:
    bus = Bus(
        f"rabbit://guest:guest@127.0.0.1:{port}/",
        engine_topic=f"{prefix}_engine",
        executor_topic=f"{prefix}_executor",
        call_timeout=SECONDS,
        retry=retry,
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


def test_who_waits_for_the_broker_is_told_when_it_is_back(
    patient: Bus, proxy: Proxy
) -> None:
    """Each kind of listener tells it, and what could not be sent can be then."""
    back: SimpleQueue[bool] = SimpleQueue()
    heard: SimpleQueue[Message] = SimpleQueue()

    def send() -> None:
        patient.send(ActionFinished(action_id="a"))
        back.put(True)

    patient.when_back(send)
    patient.listen(patient.results_topic, heard.put)
    patient.serve(patient.engine_topic, lambda message: None)
    assert patient.hears_itself(patient.engine_topic)
    assert back.empty(), "it was never away"
    for _ in range(2):
        proxy.cut()
        assert proxy.refused(2, SECONDS)
        proxy.mend()
        assert back.get(timeout=SECONDS)
        assert heard.get(timeout=SECONDS) == ActionFinished(action_id="a")


def test_an_end_is_quiet(near: Bus, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is subscribed to a queue when it is deleted."""
    subscriptions = [
        near.serve(near.engine_topic, lambda message: None),
        near.listen(near.results_topic, lambda message: None),
    ]
    assert near.hears_itself(near.engine_topic)
    caplog.clear()
    for subscription in subscriptions:
        subscription.stop()
    near.stop()
    loud = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert [record.getMessage() for record in loud] == []


def test_a_broker_that_is_away_is_one_line_in_the_log(
    near: Bus, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Although each of its connections tries again and again."""
    near.serve(near.engine_topic, lambda message: None)
    near.listen(near.results_topic, lambda message: None)
    proxy.cut()
    assert proxy.refused(4, SECONDS)
    tries = [r for r in caplog.records if r.name.endswith("impl_rabbit")]
    assert len([r for r in tries if r.levelno >= logging.ERROR]) <= 1
    proxy.mend()
