"""What can be done to a virtual host of RabbitMQ from beside its users."""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import amqp
from servers import NoServer
from system.processes import broker_port, control_broker

_TRACE = "amq.rabbitmq.trace"
_LAST = 3000
_KEPT = ("content_type", "content_encoding", "headers", "delivery_mode", "priority",
         "correlation_id", "reply_to", "expiration", "message_id", "type")  # fmt: skip
_USER = "guest"


class Broker:
    """One virtual host, seen past all wires; notes what is published in it.

    :ivar published: the last messages: exchange, routing key, properties, body.
    """

    def __init__(self, virtual_host: str) -> None:
        self.virtual_host = virtual_host
        self.published: deque[tuple[str, str, Mapping[str, Any], Any]] = deque(
            maxlen=_LAST
        )
        self._ending = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def close(self) -> None:
        self._ending.set()
        self._listener.join(30)

    # -- Faults -------------------------------------------------------------------

    def cut(self) -> None:
        control_broker(
            "close_all_connections", "--vhost", self.virtual_host, "cut by the campaign"
        )

    def empty(self, seconds: float) -> None:
        """Away for so long, and back without queues, bindings or messages."""
        control_broker("delete_vhost", self.virtual_host)
        threading.Event().wait(seconds)
        control_broker("add_vhost", self.virtual_host)
        control_broker(
            "set_permissions", "-p", self.virtual_host, _USER, ".*", ".*", ".*"
        )

    def purge(self, part: str = "") -> int:
        """Drop all messages that wait in queues whose names hold ``part``.

        Answers how many.
        """
        dropped = 0
        with self._connection() as connection:
            for name in self._queues():
                if part not in name:
                    continue
                with suppress(amqp.AMQPError):
                    # a queue that went meanwhile closes the channel
                    dropped += connection.channel().queue_purge(name)
        return dropped

    def repeat(self, dice: int, most: int = 40) -> int:
        """Send the last messages and some older ones once more, in any order. Answers
        how many: at most ``most``."""
        rng = random.Random(dice)
        known = list(self.published)
        newest = (most + 1) // 2
        some, older = known[-newest:], known[:-newest]
        some += rng.sample(older, min(most - len(some), len(older)))
        rng.shuffle(some)
        with self._connection() as connection:
            channel = connection.channel()
            for exchange, key, properties, body in some:
                channel.basic_publish(amqp.Message(body, **properties), exchange, key)
        return len(some)

    def hoard(self, seconds: float) -> int:
        """Take turns with the listeners of all queues, and give everything back when
        the time is over. Answers how many messages these were."""
        end = time.monotonic() + seconds
        taken: list[Any] = []
        with self._connection() as connection:
            for name in self._queues():
                with suppress(amqp.AMQPError):
                    connection.channel().basic_consume(name, callback=taken.append)
            while time.monotonic() < end:
                # a queue that goes meanwhile takes its consumers with it
                with suppress(TimeoutError, amqp.ConsumerCancelled):
                    connection.drain_events(timeout=0.2)
        return len(taken)

    # -- Listening ----------------------------------------------------------------

    def _listen(self) -> None:
        """Have the broker copy what is published, again after it was emptied."""
        while not self._ending.is_set():
            with suppress(amqp.AMQPError, OSError, NoServer):
                control_broker("trace_on", "-p", self.virtual_host)
                with self._connection() as connection:
                    channel = connection.channel()
                    queue = channel.queue_declare(exclusive=True).queue
                    channel.queue_bind(queue, _TRACE, "publish.#")
                    channel.basic_consume(queue, no_ack=True, callback=self._note)
                    while not self._ending.is_set():
                        with suppress(TimeoutError):
                            connection.drain_events(timeout=0.5)
            self._ending.wait(1)

    def _note(self, message: Any) -> None:
        about = message.headers
        properties = {
            name: value for name, value in about["properties"].items() if name in _KEPT
        }
        properties["application_headers"] = properties.pop("headers", {})
        for key in about["routing_keys"]:
            body = message.body
            self.published.append((about["exchange_name"], key, properties, body))

    def _connection(self) -> Any:
        return amqp.Connection(
            f"127.0.0.1:{broker_port()}", _USER, _USER, virtual_host=self.virtual_host
        )

    def _queues(self) -> list[str]:
        done = subprocess.run(
            [str(shutil.which("rabbitmqctl")), "-q", "list_queues", "-p",
             self.virtual_host, "--no-table-headers", "name"],
            capture_output=True,
            text=True,
            timeout=60,
        )  # fmt: skip
        return done.stdout.split()
