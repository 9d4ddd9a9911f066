"""Messages between processes: call, send, serve, listen.

Two ways to deliver, because a broker offers two:

* ``call`` / ``serve``: a request with an answer. The message is acknowledged
  when it arrives, so a server that dies answers nothing and the caller asks
  again (requests may be repeated: each carries an id).
* ``send`` / ``listen``: delivered at least once. ``send`` returns when the
  broker has accepted the message; it is acknowledged after the listener has
  returned, and waits when nobody listens.

``hear`` is ``listen`` for the notifications of other services, which have
exchanges and a form of their own (``outside``).

Topics come from the class of the message unless they are given. Both
transports (RabbitMQ, and ``memory://`` within one process) keep one contract;
``tests/test_bus.py`` runs on each. oslo.messaging is known here, in the drivers, in
``bus_endpoints.py`` and in ``outside.py`` only.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any, Final

import amqp.exceptions
import kombu.exceptions
from oslo_config import cfg

from mistral import (
    no_eventlet,  # noqa: F401  (first of all)
    outside,
)
from mistral.bus_endpoints import Handler, Messages, OnMessage, Requests
from mistral.bus_subscriptions import OutsideSubscription, Subscription
from mistral.errors import BadRequest, Bug, Unavailable, from_wire
from mistral.messages import (
    ActionFinished,
    ActionTurnedAsync,
    CallAction,
    Message,
    Notify,
    encode,
)
from mistral.service import Service, together

# isort: split
import oslo_messaging
from oslo_messaging._metrics import client as metrics
from oslo_messaging._tracing import client as tracing
from oslo_messaging.notify.dispatcher import NotificationDispatcher
from oslo_messaging.notify.listener import NotificationServer

LOG = logging.getLogger(__name__)

EXCHANGE: Final = "mistral"
OUTSIDE_AT_ONCE: Final = 16
"""Notifications of one source that are taken in at the same time."""

_EVENT_TYPE: Final = "mistral.message"

_FAILURES: Final = (
    oslo_messaging.MessagingException,
    oslo_messaging.MessageUndeliverable,
    # the first connection of a process fails with the lower library's error
    kombu.exceptions.KombuError,
    # a broker that is there and says no: the password, a virtual host
    amqp.exceptions.AMQPError,
    OSError,
)

OnNotification = outside.OnNotification
Notification = outside.Notification


def check_source(exchange: str, topic: str) -> None:
    """Whether notifications of others may come from there.

    :raises BadRequest: the service's own messages go there, or it belongs to the
        broker itself.
    """
    if exchange == EXCHANGE:
        raise BadRequest(
            f"The exchange '{EXCHANGE}' carries the service's own messages; expected"
            " the exchange of another service."
        )
    if exchange.startswith("amq."):
        raise BadRequest(
            "Exchanges that begin with 'amq.' belong to the broker; expected the"
            " exchange of a service."
        )
    if not exchange or not topic:
        raise BadRequest("Expected the names of an exchange and of a topic.")


class Bus(Service):
    """All that one process says and hears.

    :param transport_url: ``rabbit://…`` or ``memory://``.
    :param engine_topic: where requests go; results to ``<engine_topic>.results``.
    :param executor_topic: where offers go.
    :param notifier_topic: where notifications for publishers go.
    :param server_name: name of this process among those that serve a topic.
    :param call_timeout: seconds that ``call`` waits for an answer.
    :param rpc_threads: requests that one ``serve`` handles at the same time.
    :param retry: further attempts to reach the broker before a ``call`` or
        ``send`` gives up; their pauses grow (1, 3, 5… seconds).
    :param quorum_queues: RabbitMQ's replicated queues, for a cluster of brokers.
    :param conf: a loaded ``ConfigOpts`` whose ``[oslo_messaging_rabbit]`` counts;
        by default the library's defaults.
    """

    def __init__(
        self,
        transport_url: str,
        *,
        engine_topic: str = "mistral_engine",
        executor_topic: str = "mistral_executor",
        notifier_topic: str = "mistral_notifier",
        server_name: str = "mistral",
        call_timeout: float = 60.0,
        rpc_threads: int = 64,
        retry: int = 2,
        quorum_queues: bool = False,
        conf: Any = None,
    ) -> None:
        super().__init__("bus")
        self.engine_topic = engine_topic
        self.results_topic = f"{engine_topic}.results"
        self.executor_topic = executor_topic
        self.run_now_topic = f"{executor_topic}.now"
        self.notifier_topic = notifier_topic
        self._url = transport_url
        self._in_memory = transport_url.startswith("memory")
        self._server_name = server_name
        self._call_timeout = call_timeout
        self._rpc_threads = rpc_threads
        self._retry = retry
        self._quorum_queues = quorum_queues
        self._conf = _with_options(conf if conf is not None else _defaults())
        self._send_topics: Mapping[type[Message], str] = {
            CallAction: executor_topic,
            Notify: notifier_topic,
            ActionFinished: self.results_topic,
            ActionTurnedAsync: self.results_topic,
        }
        self._call_topics: Mapping[type[Message], str] = {
            CallAction: self.run_now_topic,
        }
        self._guard = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._rpc: Any = None
        self._prober: threading.Thread | None = None
        self._probed = threading.Event()
        self._outgoing: Any = None
        self._incoming: list[Any] = []
        self._outside: Any = None
        self._subscriptions: list[Subscription] = []

    # -- Speaking -------------------------------------------------------------

    def call(
        self,
        message: Message,
        *,
        timeout: float | None = None,
        topic: str | None = None,
        target: str | None = None,
    ) -> Any:
        """Ask and wait for the answer.

        :param timeout: seconds; by default ``call_timeout``.
        :param topic: by default ``<executor_topic>.now`` for a ``CallAction``,
            the engine's topic for everything else.
        :param target: a group of servers of that topic.
        :returns: the handler's answer, JSON values.
        :raises MistralError: the one that the handler raised.
        :raises Unavailable: no server, no broker, or no answer in time. Whether
            the request was heard is unknown: repeat it with the same id.
        """
        topic = topic or self._call_topics.get(type(message), self.engine_topic)
        client = self._client(_grouped(topic, target))
        wait = self._call_timeout if timeout is None else timeout
        if not self._answers_come(wait):
            raise Unavailable(f"No answer from {topic}: the broker is not reachable")
        try:
            answer = client.prepare(timeout=wait).call(
                {}, "handle", message=encode(message)
            )
        except _FAILURES as error:
            raise Unavailable(f"No answer from {topic}: {_reason(error)}") from error
        if "error" in answer:
            raise from_wire(answer["error"])
        return answer["answer"]

    def send(
        self,
        message: Message,
        *,
        topic: str | None = None,
        target: str | None = None,
    ) -> None:
        """Hand a message to the broker; it is delivered at least once.

        :param topic: by default by the class (offers to executors, results to
            engines, notifications to notifiers). A ``Batch`` has no default.
        :param target: a group of listeners of that topic.
        :raises Unavailable: the broker has not confirmed it. It may have it.
        """
        topic = topic or self._send_topics.get(type(message))
        if topic is None:
            raise Bug(f"A {type(message).__name__} needs a topic")
        wire = {
            "publisher_id": self._server_name,
            "event_type": _EVENT_TYPE,
            "priority": "INFO",
            "payload": encode(message),
        }
        place = oslo_messaging.Target(
            exchange=EXCHANGE, topic=f"{_grouped(topic, target)}.info"
        )
        try:
            # The library's Notifier logs a failed send and returns as if it had
            # succeeded; who sends here must know, so its transport is used.
            self._sender()._send_notification(
                place, {}, wire, version=2.0, retry=self._retry
            )
        except _FAILURES as error:
            raise Unavailable(f"Not sent to {topic}: {_reason(error)}") from error

    def hears_itself(self, topic: str, *, timeout: float = 5.0) -> bool:
        """Whether a request travels to what this process serves at ``topic``,
        over the broker, and its answer comes back within ``timeout`` seconds."""
        try:
            if not self._answers_come(timeout):
                return False
            client = self._client(topic).prepare(
                server=self._server_name, timeout=timeout
            )
            return bool(client.call({}, "echo"))
        except (Unavailable, *_FAILURES):
            return False

    # -- Hearing --------------------------------------------------------------

    def serve(self, topic: str, handler: Handler) -> Subscription:
        """Answer the requests to ``topic``, up to ``rpc_threads`` at once.

        A ``MistralError`` of the handler is raised at the caller; any other
        error is logged here and a ``Bug`` there.
        """
        server = oslo_messaging.get_rpc_server(
            self._rpc_transport(),
            oslo_messaging.Target(
                exchange=EXCHANGE, topic=topic, server=self._server_name
            ),
            [Requests(handler)],
        )
        return self._begin(server, self._rpc_threads, threading.Event())

    def listen(
        self, topic: str, on_message: OnMessage, *, prefetch: int = 64
    ) -> Subscription:
        """Take the messages that were sent to ``topic``.

        Each is acknowledged when ``on_message`` returned something else than
        ``False``. Raising ``Unavailable`` hands it back after the error's
        ``retry_after``; any other error is logged and the message acknowledged,
        as it would come back without end.

        :param prefetch: messages taken and not yet acknowledged; as many
            threads may wait in ``on_message``.
        """
        transport = oslo_messaging.get_notification_transport(
            self._conf, url=self._parsed(prefetch)
        )
        with self._guard:
            self._incoming.append(transport)
        release = threading.Event()
        server = self._listener_class()(
            transport,
            [oslo_messaging.Target(exchange=EXCHANGE, topic=topic)],
            NotificationDispatcher([Messages(on_message, release)], None),
        )
        return self._begin(server, prefetch, release)

    def hear(
        self, exchange: str, topic: str, pool: str, on_notification: OnNotification
    ) -> OutsideSubscription:
        """Take the notifications that other services send to a topic.

        Acknowledged as by ``listen``. Each pool gets a copy of each; within a
        pool one listener gets it. With RabbitMQ the pool is one queue for all
        topics of its exchange, so ``Notification.topic`` may be another one of
        those that the pool listens to.

        :raises BadRequest: ``check_source`` says no, or the broker has something
            of another kind under that name.
        """
        check_source(exchange, topic)
        release = threading.Event()
        topic_of = (lambda incoming: topic) if self._in_memory else _rabbit().topic_of
        server = self._listener_class()(
            self._outside_transport(),
            [oslo_messaging.Target(exchange=exchange, topic=topic)],
            outside.Dispatcher(exchange, topic_of, on_notification, release),
            pool=pool,
        )
        subscription = OutsideSubscription(server, release, self._forget)
        subscription.queue = pool
        try:
            server.start(override_pool_size=OUTSIDE_AT_ONCE)
        except _FAILURES as error:
            raise BadRequest(
                f"Exchange '{exchange}' cannot be listened to: {_reason(error)}"
            ) from error
        with self._guard:
            self._subscriptions.append(subscription)
        return subscription

    def _forget(self, subscription: Subscription) -> None:
        with self._guard:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    def _outside_transport(self) -> Any:
        with self._guard:
            if self._outside is None:
                self._check_open()
                self._outside = oslo_messaging.get_notification_transport(
                    self._conf, url=self._parsed(OUTSIDE_AT_ONCE)
                )
                self._incoming.append(self._outside)
            return self._outside

    def _listener_class(self) -> Any:
        if self._in_memory:
            return NotificationServer
        return _rabbit().Listener

    def _begin(
        self, server: Any, threads: int, release: threading.Event
    ) -> Subscription:
        subscription = Subscription(server, release)
        with self._guard:
            self._subscriptions.append(subscription)
        try:
            server.start(override_pool_size=threads)
        except _FAILURES as error:
            raise Unavailable(
                f"The broker cannot be listened to: {_reason(error)}"
            ) from error
        return subscription

    # -- Life -----------------------------------------------------------------

    def _start(self) -> None:
        if not self._in_memory:
            _rabbit().prepare()
        self._rpc_transport()
        self._sender()

    def _answers_come(self, seconds: float) -> bool:
        """Wait until answers can reach this process.

        The library makes its queue for answers with the first call, and tries
        that without end and without a time-out. So a thread of its own makes
        the first call, to nobody, and all others wait for it here.
        """
        if self._probed.is_set():
            return True
        nobody = self._client(f"{self.engine_topic}.nobody")
        with self._guard:
            if self._prober is None:
                self._prober = threading.Thread(
                    target=self._probe, args=(nobody,), name="bus-probe", daemon=True
                )
                self._prober.start()
        return self._probed.wait(seconds)

    def _probe(self, nobody: Any) -> None:
        try:
            nobody.prepare(timeout=1.0).call({}, "handle", message={})
        except _FAILURES:
            LOG.debug("Answers can come")
        self._probed.set()

    def _stop(self) -> None:
        with self._guard:
            subscriptions = self._subscriptions
            self._subscriptions = []
        # each may wait five seconds for its consumer to look up
        together(subscription.stop for subscription in subscriptions)
        with self._guard:
            transports = [self._outgoing, *self._incoming]
            if self._prober is None or self._probed.is_set():
                # otherwise its clean-up would wait for the broker too
                transports.append(self._rpc)
            self._outgoing = self._rpc = self._outside = None
            self._incoming.clear()
            self._clients.clear()
        together(transport.cleanup for transport in transports if transport)

    def _rpc_transport(self) -> Any:
        with self._guard:
            if self._rpc is None:
                self._check_open()
                self._rpc = oslo_messaging.get_rpc_transport(
                    self._conf, url=self._parsed(self._rpc_threads)
                )
            return self._rpc

    def _sender(self) -> Any:
        with self._guard:
            if self._outgoing is None:
                self._check_open()
                self._outgoing = oslo_messaging.get_notification_transport(
                    self._conf, url=self._parsed(0)
                )
            return self._outgoing

    def _check_open(self) -> None:
        if self.ended.is_set():
            raise Unavailable("This process is stopping")

    def _client(self, topic: str) -> Any:
        transport = self._rpc_transport()
        with self._guard:
            client = self._clients.get(topic)
            if client is None:
                client = self._clients[topic] = oslo_messaging.get_rpc_client(
                    transport,
                    oslo_messaging.Target(exchange=EXCHANGE, topic=topic),
                    retry=self._retry,
                    # a topic that nobody ever served is told at once
                    transport_options=oslo_messaging.TransportOptions(
                        at_least_once=True
                    ),
                )
            return client

    def _parsed(self, prefetch: int) -> Any:
        """The transport's URL with what this connection needs in its query."""
        url = oslo_messaging.TransportURL.parse(self._conf, self._url)
        if self._in_memory:
            url.query["prefetch"] = str(prefetch)
            return url
        url.query["rabbit_qos_prefetch_count"] = str(prefetch)
        if self._quorum_queues:
            url.query["rabbit_quorum_queue"] = "true"
            url.query["amqp_durable_queues"] = "true"
        return url


def _rabbit() -> Any:
    """A process without a broker does not load the libraries for one."""
    from mistral import rabbit_driver

    return rabbit_driver


def _grouped(topic: str, target: str | None) -> str:
    return f"{topic}.{target}" if target else topic


def _reason(error: BaseException) -> str:
    """The first line; the rest may repeat the message."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _defaults() -> Any:
    conf = cfg.ConfigOpts()
    conf([], project="mistral", default_config_files=[], default_config_dirs=[])
    return conf


def _with_options(conf: Any) -> Any:
    """The library reads two groups that it registers on its global
    configuration only; ours is not global."""
    conf.register_opts(tracing.oslo_messaging_tracing, group="oslo_messaging_tracing")
    conf.register_opts(metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
    return conf
