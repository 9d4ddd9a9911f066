"""Notifications of other services, on memory and on RabbitMQ (ENG § 10.4)."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

import amqp
import oslo_messaging
import pytest

from mistral.bus import Bus, Notification
from mistral.errors import BadRequest, Unavailable

SECONDS = 20


@pytest.fixture
def bus(transport_url: str) -> Iterator[Bus]:
    bus = Bus(transport_url)
    bus.start()
    yield bus
    bus.stop()


class Publisher:
    """Another service, with the library's own means."""

    def __init__(
        self, bus: Bus, transport_url: str, exchange: str, topic: str = "notes"
    ) -> None:
        self.bus, self.exchange, self.topic = bus, exchange, topic
        parsed = oslo_messaging.TransportURL.parse(bus._transports.conf, transport_url)
        transport = oslo_messaging.get_notification_transport(
            bus._transports.conf, url=parsed
        )
        transport._require_driver_features(requeue=True)
        self.transport = transport

    def tell(self, event: str, route: str = "info", **fields: Any) -> None:
        message = {
            "message_id": str(uuid.uuid4()),
            "publisher_id": "compute.host",
            "timestamp": "2026-01-02 03:04:05.000006",
            "event_type": event,
            "priority": route.upper(),
            "payload": {"a": 1},
            **fields,
        }
        context = {"project_id": "red", "auth_token": "secret"}
        self.send(message, route, context)

    def send(self, message: Any, priority: str, context: dict[str, Any]) -> None:
        place = oslo_messaging.Target(
            exchange=self.exchange, topic=f"{self.topic}.{priority}"
        )
        self.transport._send_notification(place, context, message, version=2.0, retry=1)


@pytest.fixture
def publisher(bus: Bus, transport_url: str) -> Iterator[Publisher]:
    publisher = Publisher(bus, transport_url, "nova")
    yield publisher
    publisher.transport.cleanup()


Heard = SimpleQueue[Notification]


def test_a_notification_arrives_with_all_it_tells(
    bus: Bus, publisher: Publisher
) -> None:
    heard: Heard = SimpleQueue()
    bus.hear("nova", "notes", "mistral-nova-events", heard.put)
    publisher.tell("instance.end", message_id="m1")
    found = heard.get(timeout=SECONDS)
    assert found == Notification(
        id="m1",
        exchange="nova",
        topic="notes",
        event_type="instance.end",
        publisher="compute.host",
        payload={"a": 1},
        timestamp="2026-01-02 03:04:05.000006",
        context=found.context,
    )
    assert found.project_id == "red"
    assert "secret" not in repr(found), "credentials stay outside"


def test_five_priorities_are_heard_and_not_warn(bus: Bus, publisher: Publisher) -> None:
    heard: Heard = SimpleQueue()
    bus.hear("nova", "notes", "p", heard.put)
    every = ["warn", "sample", "audit", "critical", "debug", "error", "info"]
    for priority in every:
        publisher.tell(priority, priority)
    found = {heard.get(timeout=SECONDS).event_type for _ in range(5)}
    assert found == {"audit", "critical", "debug", "error", "info"}
    with pytest.raises(Empty):
        heard.get(timeout=0.2)


def test_a_pool_shares_and_pools_get_copies(bus: Bus, publisher: Publisher) -> None:
    one: Heard = SimpleQueue()
    two: Heard = SimpleQueue()
    other: Heard = SimpleQueue()
    bus.hear("nova", "notes", "p", one.put)
    bus.hear("nova", "notes", "p", two.put)
    bus.hear("nova", "notes", "q", other.put)
    for number in range(10):
        publisher.tell("e", message_id=str(number))
    copies = {other.get(timeout=SECONDS).id for _ in range(10)}
    assert len(copies) == 10
    publisher.tell("last", message_id="last")
    assert other.get(timeout=SECONDS).id == "last"
    seen = []
    while len(seen) < 11:
        for queue in (one, two):
            try:
                seen.append(queue.get(timeout=0.05).id)
            except Empty:
                continue
    assert sorted(seen) == sorted([*map(str, range(10)), "last"]), "each one once"


def test_topics_of_one_exchange_are_told_apart(bus: Bus, transport_url: str) -> None:
    heard: Heard = SimpleQueue()
    for topic in ("a", "b.c"):
        bus.hear("nova", topic, "mistral-nova-events", heard.put)
    for topic in ("a", "b.c"):
        publisher = Publisher(bus, transport_url, "nova", topic)
        for _ in range(4):
            publisher.tell(f"of {topic}")
        publisher.transport.cleanup()
    for _ in range(8):
        found = heard.get(timeout=SECONDS)
        assert found.event_type == f"of {found.topic}"


def test_it_comes_again_until_it_was_taken_in(bus: Bus, publisher: Publisher) -> None:
    heard: Heard = SimpleQueue()
    verdicts = iter([Unavailable("away", retry_after=0), False, None])

    def take(event: Notification) -> bool | None:
        heard.put(event)
        verdict = next(verdicts)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    bus.hear("nova", "notes", "p", take)
    publisher.tell("e", message_id="m")
    assert [heard.get(timeout=SECONDS).id for _ in range(3)] == ["m"] * 3
    with pytest.raises(Empty):
        heard.get(timeout=0.2)


def test_what_waits_is_heard_by_the_next_listener(
    bus: Bus, publisher: Publisher
) -> None:
    """Not acknowledged at the end of a listener: not lost."""
    held = threading.Event()
    first = bus.hear("nova", "notes", "p", lambda event: bool(held.set()))
    publisher.tell("e", message_id="1")
    assert held.wait(SECONDS)
    first.stop()
    publisher.tell("e", message_id="2")
    heard: Heard = SimpleQueue()
    bus.hear("nova", "notes", "p", heard.put)
    assert {heard.get(timeout=SECONDS).id for _ in range(2)} == {"1", "2"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_type": None},
        {"event_type": 7},
        {"event_type": ["a"]},
        {"event_type": ""},
        {"priority": None},
        {"message_id": {"a": 1}, "event_type": None},
    ],
    ids=str,
)
def test_a_malformed_one_harms_nobody(
    bus: Bus, publisher: Publisher, wrong: dict[str, Any]
) -> None:
    heard: Heard = SimpleQueue()
    bus.hear("nova", "notes", "p", heard.put)
    publisher.tell("before", **wrong)
    publisher.tell("after")
    found = heard.get(timeout=SECONDS)
    if found.event_type == "before":
        found = heard.get(timeout=SECONDS)
    assert found.event_type == "after"


def test_a_handler_that_fails_harms_nobody(bus: Bus, publisher: Publisher) -> None:
    heard: Heard = SimpleQueue()

    def take(event: Notification) -> None:
        if event.event_type == "bad":
            raise ValueError("no")
        heard.put(event)

    bus.hear("nova", "notes", "p", take)
    publisher.tell("bad")
    publisher.tell("good")
    assert heard.get(timeout=SECONDS).event_type == "good"


@pytest.mark.parametrize("ids", [None, "", 5, "\ud800"], ids=repr)
def test_without_an_id_the_content_is_one(
    bus: Bus, publisher: Publisher, ids: Any
) -> None:
    heard: Heard = SimpleQueue()
    bus.hear("nova", "notes", "p", heard.put)
    for payload in ({"n": 1}, {"n": 1}, {"n": 2}):
        publisher.tell("e", message_id=ids, payload=payload)
    events = [heard.get(timeout=SECONDS) for _ in range(3)]
    by_payload: dict[str, set[str]] = {}
    for event in events:
        by_payload.setdefault(json.dumps(event.payload), set()).add(event.id)
    first, second = (by_payload[f'{{"n": {n}}}'] for n in (1, 2))
    assert len(first) == len(second) == 1
    assert first != second


@pytest.mark.parametrize(
    ("exchange", "topic"),
    [("mistral", "mistral_engine.results"), ("amq.direct", "t"), ("", "t"), ("e", "")],
)
def test_own_messages_cannot_be_listened_to(
    bus: Bus, exchange: str, topic: str
) -> None:
    with pytest.raises(BadRequest):
        bus.hear(exchange, topic, "p", lambda event: None)


@pytest.mark.services
@pytest.mark.parametrize("transport_url", ["rabbit"], indirect=True)
class TestRabbit:
    """What only a broker has."""

    @pytest.fixture
    def channel(self, transport_url: str) -> Iterator[Any]:
        name = transport_url.rsplit("/", 1)[1]
        with amqp.Connection("127.0.0.1:5672", virtual_host=name) as connection:
            yield connection.channel()

    def test_bytes_that_are_nothing_harm_nobody(
        self, bus: Bus, publisher: Publisher, channel: Any
    ) -> None:
        heard: Heard = SimpleQueue()
        bus.hear("nova", "notes", "p", heard.put)
        for body in (b"garbage", b"[1]", b"{}", b"\xff\xfe", b'{"oslo.message": "1"}'):
            channel.basic_publish(
                amqp.Message(body, content_type="application/json"),
                exchange="nova",
                routing_key="notes.info",
            )
        publisher.tell("after")
        assert heard.get(timeout=SECONDS).event_type == "after"

    def test_an_exchange_of_another_kind_is_told_at_once(
        self, bus: Bus, channel: Any
    ) -> None:
        channel.exchange_declare("odd", "direct", auto_delete=False)
        with pytest.raises(BadRequest, match="odd"):
            bus.hear("odd", "notes", "p", lambda event: None)

    def test_the_queue_goes_when_nobody_will_listen_again(
        self, bus: Bus, publisher: Publisher, channel: Any
    ) -> None:
        """It would fill the broker; an ordinary end keeps it."""
        name = "mistral-nova-events"
        one, two, three = (
            bus.hear("nova", "notes", name, lambda event: None) for _ in range(3)
        )
        one.stop()
        two.leave()
        channel.queue_declare(name, passive=True)
        three.leave()
        with pytest.raises(amqp.NotFound):
            channel.queue_declare(name, passive=True)
