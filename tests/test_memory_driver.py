"""What the in-memory driver owes oslo.messaging beyond what the bus uses."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import oslo_messaging
import pytest
from oslo_config import cfg
from oslo_messaging._metrics import client as metrics
from oslo_messaging._tracing import client as tracing

from mistral.memory_driver import KEPT_UNHEARD, Broker, MemoryDriver

SECONDS = 10


@pytest.fixture
def conf() -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf.register_opts(tracing.oslo_messaging_tracing, group="oslo_messaging_tracing")
    conf.register_opts(metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
    conf([], project="mistral", default_config_files=[], default_config_dirs=[])
    return conf


@pytest.fixture
def url() -> str:
    return f"memory:///{uuid.uuid4()}"


class Servers:
    """Starts servers and stops them when the test ends."""

    def __init__(self, conf: cfg.ConfigOpts, url: str) -> None:
        self._conf = conf
        self._running: list[Any] = []
        self.rpc = oslo_messaging.get_rpc_transport(conf, url=url)
        self.notifications = oslo_messaging.get_notification_transport(conf, url=url)

    def serve(self, name: str, endpoint: object) -> None:
        target = oslo_messaging.Target(topic="t", server=name)
        self._begin(oslo_messaging.get_rpc_server(self.rpc, target, [endpoint]))

    def listen(self, pool: str | None, heard: SimpleQueue[Any]) -> Any:
        class Endpoint:
            def info(
                self, ctxt: Any, who: Any, what: Any, load: Any, meta: Any
            ) -> None:
                heard.put(load)

        listener = oslo_messaging.get_notification_listener(
            self.notifications,
            [oslo_messaging.Target(topic="n")],
            [Endpoint()],
            pool=pool,
        )
        return self._begin(listener)

    def notify(self, payload: object) -> None:
        notifier = oslo_messaging.Notifier(
            self.notifications, "me", driver="messagingv2", topics=["n"]
        )
        notifier.info({}, "e", payload)

    def client(self, **target: Any) -> Any:
        return oslo_messaging.get_rpc_client(
            self.rpc, oslo_messaging.Target(topic="t", **target), timeout=SECONDS
        )

    def stop(self) -> None:
        for server in self._running:
            server.stop()
            server.wait()

    def _begin(self, server: Any) -> Any:
        server.start(override_pool_size=4)
        self._running.append(server)
        return server


@pytest.fixture
def servers(conf: cfg.ConfigOpts, url: str) -> Iterator[Servers]:
    servers = Servers(conf, url)
    yield servers
    servers.stop()


class Broken(Exception):
    """A class that the caller does not accept from others."""


class Named:
    def __init__(self, name: str, told: SimpleQueue[str]) -> None:
        self._name = name
        self._told = told

    def who(self, ctxt: Any) -> str:
        return self._name

    def tell(self, ctxt: Any) -> None:
        self._told.put(self._name)

    def fail(self, ctxt: Any) -> None:
        raise Broken("broken")


def test_named_servers_fanout_and_casts(servers: Servers) -> None:
    told: SimpleQueue[str] = SimpleQueue()
    for name in ("a", "b"):
        servers.serve(name, Named(name, told))
    assert servers.client(server="b").call({}, "who") == "b"
    servers.client(fanout=True).cast({}, "tell")
    assert {told.get(timeout=SECONDS), told.get(timeout=SECONDS)} == {"a", "b"}
    servers.client().cast({}, "tell")
    assert told.get(timeout=SECONDS) in {"a", "b"}
    assert told.empty()


def test_errors_of_another_process_arrive_as_remote_errors(servers: Servers) -> None:
    servers.serve("a", Named("a", SimpleQueue()))
    with pytest.raises(oslo_messaging.RemoteError, match="broken"):
        servers.client().call({}, "fail")


def test_requests_nobody_waits_for_are_not_delivered(servers: Servers) -> None:
    servers.serve("a", Named("a", SimpleQueue()))
    servers.stop()
    with pytest.raises(oslo_messaging.MessagingTimeout):
        servers.client().prepare(timeout=0.05).call({}, "tell")
    told: SimpleQueue[str] = SimpleQueue()
    servers.serve("b", Named("b", told))
    assert servers.client().call({}, "who") == "b"
    assert told.empty()


def test_each_pool_gets_a_copy_and_its_members_share_it(servers: Servers) -> None:
    first: SimpleQueue[Any] = SimpleQueue()
    second: SimpleQueue[Any] = SimpleQueue()
    servers.listen("p1", first)
    servers.listen("p2", second)
    servers.listen("p2", second)
    for number in range(10):
        servers.notify({"n": number})
    for queue in (first, second):
        numbers = [queue.get(timeout=SECONDS)["n"] for _ in range(10)]
        assert sorted(numbers) == list(range(10))
        assert queue.empty()


def test_brokers_are_known_by_name_and_go_with_their_last_transport(
    conf: cfg.ConfigOpts,
) -> None:
    def driver(url: str) -> MemoryDriver:
        parsed = oslo_messaging.TransportURL.parse(conf, url)
        return MemoryDriver(conf, parsed, default_exchange="x")

    name = f"memory:///{uuid.uuid4()}"
    one, same = driver(name), driver(name)
    assert one.broker is same.broker
    assert driver(f"memory:///{uuid.uuid4()}").broker is not one.broker
    assert isinstance(one.broker, Broker)


def test_messages_that_nobody_hears_are_bounded(servers: Servers) -> None:
    for number in range(KEPT_UNHEARD + 5):
        servers.notify(number)
    heard: SimpleQueue[int] = SimpleQueue()
    servers.listen(None, heard)
    numbers = {heard.get(timeout=SECONDS) for _ in range(KEPT_UNHEARD)}
    assert numbers == set(range(5, KEPT_UNHEARD + 5))


def test_what_cannot_travel_does_not_travel_here(servers: Servers) -> None:
    """Values are copied: the sender's object is not the receiver's."""
    heard: SimpleQueue[Any] = SimpleQueue()
    servers.listen(None, heard)
    payload = {"list": (1, 2)}
    servers.notify(payload)
    assert heard.get(timeout=SECONDS) == {"list": [1, 2]}


def test_poll_collects_a_batch_and_stop_wakes_it(
    conf: cfg.ConfigOpts, url: str, servers: Servers
) -> None:
    driver = MemoryDriver(conf, oslo_messaging.TransportURL.parse(conf, url))
    target = oslo_messaging.Target(topic="n", exchange="openstack")
    listener = driver.listen_for_notifications([(target, "info")], None, 3, 0.01)
    poller = listener._poll_style_listener
    for number in range(5):
        servers.notify(number)
    sizes = [len(poller.poll(batch_size=3, batch_timeout=0.01)) for _ in range(2)]
    assert sizes == [3, 2]
    assert poller.poll(timeout=0.01) == []
    stopper = threading.Timer(0.05, poller.stop)
    stopper.start()
    assert poller.poll() == []
    poller.cleanup()
    again = driver.listen_for_notifications([(target, "info")], None, 9, 0.01)
    assert len(again._poll_style_listener.poll(batch_size=9, batch_timeout=0.01)) == 5
