"""A virtual host of RabbitMQ of its own, and how many messages go through it.

Messages are counted by the broker itself: its tracer copies every one that is
published in the virtual host into a queue of ours. Tracing costs, so what is
counted is not timed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import ending
from kombu import Connection

ADMIN = "rabbitmqctl"
HOST = "guest:guest@127.0.0.1:5672"


def ctl(*arguments: str) -> str:
    done = subprocess.run(
        [ADMIN, "-q", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{ADMIN} {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def version() -> str:
    return f"RabbitMQ {ctl('version').strip()}"


class Broker:
    """One virtual host."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.url = f"rabbit://{HOST}/{name}"
        self.amqp_url = f"amqp://{HOST}/{name}"

    @contextmanager
    def tracing(self) -> Iterator[list[int]]:
        """Count what is published meanwhile; the number is there at the end."""
        found: list[int] = []
        with Connection(self.amqp_url) as connection:
            channel = connection.default_channel
            channel.queue_declare("bench-trace", exclusive=True)
            channel.queue_bind("bench-trace", "amq.rabbitmq.trace", "publish.#")
            ctl("trace_on", "-p", self.name)
            try:
                yield found
            finally:
                ctl("trace_off", "-p", self.name)
                answer = channel.queue_declare("bench-trace", passive=True)
                found.append(answer.message_count)


@contextmanager
def virtual_host(name: str) -> Iterator[Broker]:
    with ExitStack() as stack:
        with ending.whole():
            ctl("add_vhost", name)
            stack.callback(ctl, "delete_vhost", name)
        ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        yield Broker(name)
