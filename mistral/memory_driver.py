"""An oslo.messaging driver whose broker is this process.

For the embedded size and for tests. The contract is the rabbit driver's:

* an RPC request goes to one server of its topic, or to the named one, or, as a
  fan-out, to each; requests whose caller has given up are not delivered;
* a notification waits in its queue until a listener has acknowledged it, goes
  back to the head when it is handed back, or when the listener goes away;
* each pool has a queue of its own and gets a copy of each notification;
* a listener holds at most ``prefetch`` messages (query part of the URL);
* nobody listens: notifications wait, the newest ``KEPT_UNHEARD`` of a queue.

Nothing polls: who waits is notified. Messages are JSON text while they wait, so
what cannot travel over a wire does not travel here either.

``memory://`` is one broker per process; ``memory:///name`` another per name,
gone with its last transport.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import oslo_messaging
from oslo_messaging._drivers import base
from oslo_messaging._drivers import common as driver_common
from oslo_serialization import jsonutils

from mistral.clock import SystemClock

KEPT_UNHEARD: Final = 1000
"""Messages of a queue without a consumer that are kept. Whoever sent an offer
that is dropped here sends it again, so memory needs no more."""

_CLOCK: Final = SystemClock()
_NUMBERS: Final = itertools.count()


@dataclass(slots=True, eq=False)
class _Message:
    """One copy in one queue.

    :param text: ``[context, message]`` as JSON.
    :param answer: where the caller of an RPC waits, or None.
    :param expires: monotonic time after which nobody waits for the answer.
    """

    text: str
    answer: concurrent.futures.Future[str] | None = None
    expires: float | None = None


@dataclass(slots=True, eq=False)
class _Queue:
    name: str
    messages: deque[_Message] = field(default_factory=deque)
    consumers: list[_Consumer] = field(default_factory=list)


class Broker:
    """Queues, bindings, and one lock over them all."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._queues: dict[str, _Queue] = {}
        self._bindings: dict[str, set[str]] = {}

    def bind(self, address: str, queue: str) -> _Queue:
        """The queue, which from now on gets a copy of what is sent to
        ``address``. The caller holds the lock."""
        self._bindings.setdefault(address, set()).add(queue)
        return self._queues.setdefault(queue, _Queue(queue))

    def publish(self, address: str, message: _Message) -> int:
        """Put a copy into each bound queue; answers how many these are."""
        with self.lock:
            names = self._bindings.get(address, ())
            for name in names:
                queue = self._queues[name]
                queue.messages.append(message)
                if not queue.consumers and len(queue.messages) > KEPT_UNHEARD:
                    queue.messages.popleft()
                self._tell(queue)
            return len(names)

    def attach(self, consumer: _Consumer, queues: Iterable[_Queue]) -> None:
        """The caller holds the lock."""
        for queue in queues:
            queue.consumers.append(consumer)

    def detach(self, consumer: _Consumer, private: str | None) -> None:
        """The consumer is gone: what it had not acknowledged goes back."""
        with self.lock:
            for queue in self._queues.values():
                if consumer in queue.consumers:
                    queue.consumers.remove(consumer)
            for held in reversed(consumer.unacknowledged):
                self._put_back(held)
            consumer.unacknowledged.clear()
            if private is not None:
                self._queues.pop(private, None)
                for names in self._bindings.values():
                    names.discard(private)

    def settle(self, consumer: _Consumer, held: _Held, again: bool) -> None:
        """Acknowledge, or hand back to the head of the queue."""
        with self.lock:
            if held not in consumer.unacknowledged:
                return
            consumer.unacknowledged.remove(held)
            if again:
                self._put_back(held)
            consumer.ready.notify_all()

    def _put_back(self, held: _Held) -> None:
        queue, message = held
        queue.messages.appendleft(message)
        self._tell(queue)

    @staticmethod
    def _tell(queue: _Queue) -> None:
        for consumer in queue.consumers:
            consumer.ready.notify_all()


_Held = tuple[_Queue, _Message]


class _Consumer(base.PollStyleListener):
    """Takes from several queues in turn, at most ``prefetch`` at a time.

    :param private: name of a queue that lives as long as this consumer.
    """

    def __init__(
        self,
        driver: MemoryDriver,
        bindings: Sequence[tuple[str, str]],
        private: str | None = None,
    ) -> None:
        super().__init__(driver.prefetch_size or -1)
        self._driver = driver
        self._broker = driver.broker
        self._private = private
        self._stopped = False
        self.ready = threading.Condition(self._broker.lock)
        self.unacknowledged: list[_Held] = []
        with self._broker.lock:
            self._queues = deque(self._broker.bind(*pair) for pair in bindings)
            self._broker.attach(self, self._queues)

    def poll(
        self,
        timeout: float | None = None,
        batch_size: int = 1,
        batch_timeout: float | None = None,
    ) -> list[base.RpcIncomingMessage]:
        """Up to ``batch_size`` messages; waits for the first without end, for
        the others ``batch_timeout`` seconds. Empty: time-out, or stopped."""
        batch: list[base.RpcIncomingMessage] = []
        ends = None if timeout is None else _CLOCK.monotonic() + timeout
        with self.ready:
            while not self._stopped and len(batch) < batch_size:
                held = self._take()
                if held is not None:
                    batch.append(_Incoming(self._driver, self, held))
                    if batch_timeout is not None and len(batch) == 1:
                        ends = _CLOCK.monotonic() + batch_timeout
                    continue
                left = None if ends is None else ends - _CLOCK.monotonic()
                if left is not None and left <= 0:
                    break
                self.ready.wait(left)
        return batch

    def _take(self) -> _Held | None:
        if 0 < self.prefetch_size <= len(self.unacknowledged):
            return None
        for _ in range(len(self._queues)):
            queue = self._queues[0]
            # the next time another queue comes first: none can starve
            self._queues.rotate(-1)
            while queue.messages:
                message = queue.messages.popleft()
                if message.expires is None or message.expires > _CLOCK.monotonic():
                    self.unacknowledged.append((queue, message))
                    return queue, message
        return None

    def stop(self) -> None:
        """Let ``poll`` return; what waits stays in its queue."""
        with self.ready:
            self._stopped = True
            self.ready.notify_all()

    def cleanup(self) -> None:
        """Leave the queues."""
        self._broker.detach(self, self._private)


class _Incoming(base.RpcIncomingMessage):
    def __init__(self, driver: MemoryDriver, consumer: _Consumer, held: _Held) -> None:
        context, message = jsonutils.loads(held[1].text)
        super().__init__(context, message)
        self._driver = driver
        self._consumer = consumer
        self._held = held

    def acknowledge(self) -> None:
        self._driver.broker.settle(self._consumer, self._held, again=False)

    def requeue(self) -> None:
        self._driver.broker.settle(self._consumer, self._held, again=True)

    def reply(self, reply: Any = None, failure: Any = None) -> None:
        waiting = self._held[1].answer
        if waiting is None or waiting.done():
            return
        if failure:
            failure = driver_common.serialize_remote_exception(failure)
        waiting.set_result(jsonutils.dumps({"result": reply, "failure": failure}))

    def heartbeat(self) -> None:
        """A caller in the same process sees that the server lives."""


class MemoryDriver(base.BaseDriver):
    """Entry point ``memory`` of ``oslo.messaging.drivers``."""

    _brokers: ClassVar[weakref.WeakValueDictionary[str, Broker]] = (
        weakref.WeakValueDictionary()
    )
    _guard = threading.Lock()

    def __init__(
        self,
        conf: Any,
        url: oslo_messaging.TransportURL,
        default_exchange: str | None = None,
        allowed_remote_exmods: Sequence[str] | None = None,
    ) -> None:
        super().__init__(conf, url, default_exchange, allowed_remote_exmods)
        self.prefetch_size = int(url.query.get("prefetch", 0))
        name = url.virtual_host or ""
        with self._guard:
            broker = self._brokers.get(name)
            if broker is None:
                broker = self._brokers[name] = Broker()
        self.broker = broker

    def require_features(self, requeue: bool = False) -> None:
        """All features exist here."""

    def send(
        self,
        target: oslo_messaging.Target,
        ctxt: Mapping[str, Any],
        message: Mapping[str, Any],
        wait_for_reply: bool | None = None,
        timeout: float | None = None,
        call_monitor_timeout: float | None = None,
        retry: int | None = None,
        transport_options: Any = None,
    ) -> Any:
        """An RPC request.

        :raises oslo_messaging.MessagingTimeout: no answer in time.
        :raises oslo_messaging.MessageUndeliverable: no such queue, and
            ``at_least_once`` was asked for.
        """
        sent = _Message(_text(ctxt, message))
        if wait_for_reply:
            sent.answer = concurrent.futures.Future()
            if timeout is not None:
                sent.expires = _CLOCK.monotonic() + timeout
        reached = self.broker.publish(self._address(target), sent)
        if not reached and getattr(transport_options, "at_least_once", False):
            raise oslo_messaging.MessageUndeliverable(
                None, target.exchange, target.topic, message
            )
        if sent.answer is None:
            return None
        try:
            answer = jsonutils.loads(sent.answer.result(timeout))
        except concurrent.futures.TimeoutError:
            raise oslo_messaging.MessagingTimeout(
                f"No reply on topic {target.topic} in {timeout} seconds"
            ) from None
        if answer["failure"]:
            raise driver_common.deserialize_remote_exception(
                answer["failure"], self._allowed_remote_exmods
            )
        return answer["result"]

    def send_notification(
        self,
        target: oslo_messaging.Target,
        ctxt: Mapping[str, Any],
        message: Mapping[str, Any],
        version: float,
        retry: int | None = None,
    ) -> None:
        """Put a notification into the queues of its topic, which is made when
        nobody has listened yet."""
        address = self._notifications(target.exchange, target.topic)
        with self.broker.lock:
            self.broker.bind(address, address)
        self.broker.publish(address, _Message(_text(ctxt, message)))

    def listen(
        self,
        target: oslo_messaging.Target,
        batch_size: int,
        batch_timeout: float | None,
    ) -> base.PollStyleListenerAdapter:
        """Consume what is sent to the topic, to this server, and to all."""
        exchange = target.exchange or self._default_exchange
        shared = oslo_messaging.Target(exchange=exchange, topic=target.topic)
        named = shared(server=target.server)
        every = self._address(shared(fanout=True))
        private = f"{every}/{target.server}/{next(_NUMBERS)}"
        consumer = _Consumer(
            self,
            [
                (self._address(shared), self._address(shared)),
                (self._address(named), self._address(named)),
                (every, private),
            ],
            private,
        )
        return base.PollStyleListenerAdapter(consumer, batch_size, batch_timeout)

    def listen_for_notifications(
        self,
        targets_and_priorities: Iterable[tuple[oslo_messaging.Target, str]],
        pool: str | None,
        batch_size: int,
        batch_timeout: float | None,
    ) -> base.PollStyleListenerAdapter:
        """Consume notifications; a pool shares a queue of its own."""
        bindings = []
        for target, priority in targets_and_priorities:
            address = self._notifications(target.exchange, f"{target.topic}.{priority}")
            bindings.append((address, f"{address}#{pool}" if pool else address))
        consumer = _Consumer(self, bindings)
        return base.PollStyleListenerAdapter(consumer, batch_size, batch_timeout)

    def cleanup(self) -> None:
        """The broker goes with the last driver that uses it."""

    def _address(self, target: oslo_messaging.Target) -> str:
        exchange = target.exchange or self._default_exchange
        if target.fanout:
            return f"rpc/{exchange}/{target.topic}/*"
        if target.server:
            return f"rpc/{exchange}/{target.topic}/{target.server}"
        return f"rpc/{exchange}/{target.topic}"

    def _notifications(self, exchange: str | None, topic: str) -> str:
        return f"notify/{exchange or self._default_exchange}/{topic}"


def _text(context: Mapping[str, Any], message: Mapping[str, Any]) -> str:
    return jsonutils.dumps([context, message])
