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
``bus_*.py`` and in ``outside.py`` only.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import amqp.exceptions
import kombu.exceptions

from mistral import (
    no_eventlet,  # noqa: F401  (first of all)
    outside,
)
from mistral.bus_answers import Answers, Refused
from mistral.bus_endpoints import Handler, Messages, OnMessage, Requests
from mistral.bus_returns import Returns
from mistral.bus_servers import MessageServer, RequestServer
from mistral.bus_subscriptions import OutsideSubscription, Subscription
from mistral.bus_transports import Transports
from mistral.clock import SystemClock
from mistral.errors import BadRequest, Bug, MistralError, Unavailable, from_wire
from mistral.exchanges import EXCHANGE, check_source
from mistral.messages import (
    ActionFinished,
    ActionTurnedAsync,
    CallAction,
    CarryNotices,
    Message,
    Request,
    StartTogether,
    encode,
)
from mistral.service import Service, together

# isort: split
import oslo_messaging
from oslo_messaging.notify.dispatcher import NotificationDispatcher

LOG = logging.getLogger(__name__)

ANNOUNCED: Final = "mistral_notifications"
"""The exchange of what other services are told; ours carries nothing else."""

OUTSIDE_AT_ONCE: Final = 16
"""Notifications of one source that are taken in at the same time."""

ASK_AGAIN_SECONDS: Final = 8.0
"""How long an answer is waited for before a request that may come twice is made again,
and twice as long each further time: it was lost, or whoever has it is stopped."""

ECHOES: Final = 3
"""Questions of a process whether it hears itself, before it takes itself for deaf: who
watches over executors begins anew after that."""

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
    :param again_seconds: without an answer after which a request is made again.
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
        again_seconds: float = ASK_AGAIN_SECONDS,
    ) -> None:
        super().__init__("bus")
        self._again_seconds = again_seconds
        self.engine_topic = engine_topic
        self.results_topic = f"{engine_topic}.results"
        self.executor_topic = executor_topic
        self.run_now_topic = f"{executor_topic}.now"
        self.notifier_topic = notifier_topic
        self._server_name = server_name
        self._call_timeout = call_timeout
        self._rpc_threads = rpc_threads
        self._retry = retry
        self._transports = Transports(
            transport_url, quorum_queues=quorum_queues, conf=conf
        )
        self._send_topics: Mapping[type[Message], str] = {
            CallAction: executor_topic,
            CarryNotices: notifier_topic,
            ActionFinished: self.results_topic,
            ActionTurnedAsync: self.results_topic,
        }
        self._call_topics: Mapping[type[Message], str] = {
            CallAction: self.run_now_topic,
        }
        self._guard = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._answers = Answers(self._ask_nobody)
        self._returns = Returns()
        self._subscriptions: list[Subscription] = []

    @property
    def refusal(self) -> str | None:
        """Why the broker refuses this process, in its words; None: as far as is
        known it does not."""
        return self._answers.refusal

    def when_back(self, call: Callable[[], object]) -> None:
        """Have ``call`` called whenever a listener of this process hears again after
        the broker was away: what was not sent can be sent, what was sent may be
        lost. In a thread of its own, at most once in some seconds."""
        self._returns.when_back(call)

    # -- Speaking -------------------------------------------------------------

    def call(
        self,
        message: Message,
        *,
        timeout: float | None = None,
        topic: str | None = None,
        target: str | None = None,
    ) -> Any:
        """Ask and wait for the answer. A request that may come twice is made again
        meanwhile.

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
        try:
            self._answers.wait(wait)
            answer = self._ask(client, message, wait)
        except (Unavailable, *_FAILURES) as error:
            raise Unavailable(f"No answer from {topic}: {_reason(error)}") from error
        if "error" in answer:
            raise from_wire(answer["error"])
        return answer["answer"]

    def _ask(self, client: Any, message: Message, wait: float) -> Any:
        clock = SystemClock()
        until = clock.monotonic() + wait
        patience = wait
        if _may_come_twice(message):
            patience = self._again_seconds
        while True:
            left = until - clock.monotonic()
            try:
                return client.prepare(timeout=min(patience, left)).call(
                    {}, "handle", message=encode(message)
                )
            except oslo_messaging.MessagingTimeout:
                if left <= patience:
                    raise
                LOG.info("A request is made again, as nobody answered it")
                patience *= 2

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
            self._transports.outgoing()._send_notification(
                place, {}, wire, version=2.0, retry=self._retry
            )
        except _FAILURES as error:
            raise Unavailable(f"Not sent to {topic}: {_reason(error)}") from error

    def announce(
        self, topic: str, notification: Mapping[str, Any], context: Mapping[str, Any]
    ) -> None:
        """Tell other services, as a notification of the library.

        :param topic: of the exchange ``ANNOUNCED``.
        :param notification: ``message_id``, the same when it is sent again,
            ``event_type``, ``timestamp`` and ``payload``.
        :param context: of who caused it, without credentials.
        :raises Unavailable: the broker has not confirmed it. It may have it.
        """
        wire = {
            **notification,
            "publisher_id": self._server_name,
            "priority": "INFO",
        }
        place = oslo_messaging.Target(exchange=ANNOUNCED, topic=f"{topic}.info")
        try:
            self._transports.outgoing()._send_notification(
                place, dict(context), wire, version=2.0, retry=self._retry
            )
        except _FAILURES as error:
            raise Unavailable(f"Not sent to {topic}: {_reason(error)}") from error

    def hears_itself(self, topic: str, *, timeout: float = 5.0) -> bool:
        """Whether a request travels to what this process serves at ``topic``,
        over the broker, and its answer comes back within ``timeout`` seconds; one of
        them may be lost."""
        try:
            self._answers.wait(timeout)
            client = self._client(topic).prepare(
                server=self._server_name, timeout=timeout / ECHOES
            )
            return any(_echoes(client) for _ in range(ECHOES))
        except (Unavailable, *_FAILURES):
            return False

    # -- Hearing --------------------------------------------------------------

    def serve(self, topic: str, handler: Handler) -> Subscription:
        """Answer the requests to ``topic``, up to ``rpc_threads`` at once.

        A ``MistralError`` of the handler is raised at the caller; any other
        error is logged here and a ``Bug`` there.
        """
        server = oslo_messaging.get_rpc_server(
            self._transports.requests(self._rpc_threads),
            oslo_messaging.Target(
                exchange=EXCHANGE, topic=topic, server=self._server_name
            ),
            [Requests(handler)],
            server_cls=self._responder_class(),
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
        release = threading.Event()
        server = self._listener_class()(
            self._transports.incoming(prefetch),
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
        in_memory = self._transports.in_memory
        topic_of = (lambda incoming: topic) if in_memory else _rabbit().topic_of
        server = self._listener_class()(
            self._transports.outside(OUTSIDE_AT_ONCE),
            [oslo_messaging.Target(exchange=exchange, topic=topic)],
            outside.Dispatcher(exchange, topic_of, on_notification, release),
            pool=pool,
        )
        server.when_back = self._returns.tell
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

    def _listener_class(self) -> Any:
        return MessageServer if self._transports.in_memory else _rabbit().Listener

    def _responder_class(self) -> Any:
        return RequestServer if self._transports.in_memory else _rabbit().Responder

    def _begin(
        self, server: Any, threads: int, release: threading.Event
    ) -> Subscription:
        server.when_back = self._returns.tell
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
        if not self._transports.in_memory:
            _rabbit().prepare(self._transports.conf)
            self._returns.start()
        self._transports.requests(self._rpc_threads)
        self._transports.outgoing()
        # whatever is wrong is told now, not by the first request
        self._answers.begin()

    def _ask_nobody(self) -> None:
        try:
            nobody = self._client(f"{self.engine_topic}.nobody")
        except Unavailable:
            # stopped before it began
            return
        try:
            nobody.prepare(timeout=1.0).call({}, "handle", message={})
        except _FAILURES as error:
            if refusal := _refusal(error):
                raise Refused(refusal) from error
            LOG.debug("Answers can come")

    def _stop(self) -> None:
        self._returns.stop()
        with self._guard:
            subscriptions = self._subscriptions
            self._subscriptions = []
        # each may wait five seconds for its consumer to look up
        together(subscription.stop for subscription in subscriptions)
        # while the first question waits for the broker, that transport's end would, too
        asked = self._answers.end(self._transports.close_requests)
        self._transports.close(requests=asked)
        with self._guard:
            self._clients.clear()

    def _client(self, topic: str) -> Any:
        transport = self._transports.requests(self._rpc_threads)
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


def _rabbit() -> Any:
    """A process without a broker does not load the libraries for one."""
    from mistral import rabbit_driver

    return rabbit_driver


def _echoes(client: Any) -> bool:
    try:
        return bool(client.call({}, "echo"))
    except oslo_messaging.MessagingTimeout:
        return False


def _may_come_twice(message: Message) -> bool:
    is_known = isinstance(message, Request) and bool(message.request_id)
    return is_known or isinstance(message, StartTogether)


def _grouped(topic: str, target: str | None) -> str:
    return f"{topic}.{target}" if target else topic


def _reason(error: BaseException) -> str:
    """The first line; the rest may repeat the message. What the broker says about
    names and hosts is for the log of this process, not for those who ask."""
    if isinstance(error, MistralError):
        return error.message
    if refusal := _refusal(error):
        return f"the broker refuses this service ({refusal.partition(' ')[0]})"
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _refusal(error: BaseException) -> str | None:
    """A broker that is there and says no: what it says."""
    if not isinstance(error, amqp.exceptions.AMQPError):
        return None
    said: str | None = _rabbit().refusal(error)
    return said
