"""Where oslo.messaging's rabbit driver has to behave differently for this service.

* A message that could not be acknowledged, because the connection was lost
  meanwhile, comes again. The driver recognises it and drops it without an
  acknowledgement, so it fills a place of the prefetch until the next reconnect,
  and a listener whose places are all filled hears nothing more. Listeners here
  take it in again: whoever hears is prepared for repeats (claims, attempts).
* An idle consumer looks up every five seconds only; each end waited for that.
* A request that was repeated by its sender's retry is dropped rightly, but was
  logged as a failure, with a traceback.
* Which topic a notification was sent to is not handed on, although the listeners
  of one pool share a queue.
* The queue of a pool stays, and fills, when nobody will ever listen again.

All of it needs names that the library calls private: this file is where a new
version of it has to be looked at. ``tests/test_bus_outages.py`` would tell.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, Final

from oslo_messaging._drivers import amqp, amqpdriver, impl_rabbit  # noqa: F401
from oslo_messaging.notify.listener import NotificationServer

LOG = logging.getLogger(__name__)

LOOK_UP_SECONDS: Final = 1.0
"""The longest pause of an idle consumer between looks at its acknowledgements
and its end."""


class _NoRepeats:
    """Takes the place of a listener's cache of message ids; holds nothing."""

    def check_duplicate_message(self, wire: MutableMapping[str, Any]) -> Any:
        """Take the id out of the message, as the driver expects."""
        return wire.pop(amqp.UNIQUE_ID, None)

    def add(self, message_id: Any) -> None:
        """Forget it."""


class Listener(NotificationServer):  # type: ignore[misc]
    """The library's listener, but for messages that come again."""

    def _create_listener(self) -> Any:
        adapter = super()._create_listener()
        inner = adapter._poll_style_listener
        inner.msg_id_cache = _NoRepeats()
        self._broker = inner.conn.connection.connection
        return adapter

    def remove_queue(self, name: str) -> None:
        """Remove a queue unless somebody listens to it; after the end of this
        listener. Failures are logged: the queue is at worst one too many."""
        broker = getattr(self, "_broker", None)
        if broker is None:
            return
        try:
            with broker.clone() as connection:
                connection.channel().queue_delete(name, if_unused=True)
        except (*broker.connection_errors, *broker.channel_errors, OSError) as error:
            LOG.info("Queue %s stays: %s", name, str(error).partition("\n")[0])


def topic_of(incoming: Any) -> str:
    """The topic that a notification was sent to: its routing key without the
    priority."""
    key: str = incoming.message._raw_message.delivery_info["routing_key"]
    return key.rpartition(".")[0]


def prepare() -> None:
    """Once per process, before anything listens; a second call changes nothing."""
    # after impl_rabbit was loaded: its options have bounds made from the old value
    amqpdriver.ACK_REQUEUE_EVERY_SECONDS_MAX = LOOK_UP_SECONDS
    # a second filter that is the same object is not added
    amqpdriver.LOG.addFilter(_calm)


def _calm(record: logging.LogRecord) -> bool:
    if str(record.msg).startswith("ignoring duplicate message"):
        record.exc_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True
