"""Where oslo.messaging's rabbit driver has to behave differently for this service.

* A message that could not be acknowledged, because the connection was lost
  meanwhile, comes again. The driver recognises it and drops it without an
  acknowledgement, so it fills a place of the prefetch until the next reconnect,
  and a listener whose places are all filled hears nothing more. Listeners here
  take it in again: whoever hears is prepared for repeats (claims, attempts).
* An idle consumer looks up every five seconds only; each end waited for that.
* A request that was repeated by its sender's retry is dropped rightly, but was
  logged as a failure, with a traceback.
* After an outage a listener tried again every thirty seconds in the end, told it to
  nobody when it heard again, and each try was a line in the log.
* The queue of a listener alone was deleted at its end while it was subscribed, which
  the broker told it, and it said so in the log.
* Which topic a notification was sent to is not handed on, although the listeners
  of one pool share a queue.
* The queue of a pool stays, and fills, when nobody will ever listen again.

All of it needs names that the library calls private: this file is where a new
version of it has to be looked at. ``tests/test_bus_outages.py`` would tell.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from amqp.abstract_channel import AMQP_LOGGER
from amqp.exceptions import AccessRefused, NotAllowed
from oslo_config import cfg
from oslo_messaging._drivers import amqp, amqpdriver, impl_rabbit

from mistral.bus_servers import MessageServer, RequestServer
from mistral.clock import Clock, SystemClock
from mistral.config import wrong_line

LOG = logging.getLogger(__name__)

LOOK_UP_SECONDS: Final = 1.0
"""The longest pause of an idle consumer between looks at its acknowledgements
and its end."""

RECONNECT_SECONDS: Final = 3
"""The longest pause between two tries of a connection to come back, where the
operator has not set another."""

SAY_AGAIN_SECONDS: Final = 30.0
"""Between two lines in the log about a broker that is away."""

REFUSALS: Final = (AccessRefused, NotAllowed)
"""The broker is there and says no: to the password, or to the virtual host."""

_GROUP: Final = "oslo_messaging_rabbit"
_CONFIRMED: Final = (60, 80)
"""Basic.Ack, as the protocol numbers it."""


class _NoRepeats:
    """Takes the place of a listener's cache of message ids; holds nothing."""

    def check_duplicate_message(self, wire: MutableMapping[str, Any]) -> Any:
        """Take the id out of the message, as the driver expects."""
        return wire.pop(amqp.UNIQUE_ID, None)

    def add(self, message_id: Any) -> None:
        """Forget it."""


class _Server:
    """What servers of both kinds do here.

    :ivar when_back: called when it hears again after its connection was lost.
    """

    when_back: Callable[[], object] = staticmethod(lambda: None)
    _inner: Any = None
    _connection: Any = None
    _broker: Any = None

    def _create_listener(self) -> Any:
        adapter = super()._create_listener()  # type: ignore[misc]
        self._inner = adapter._poll_style_listener
        self._connection = self._inner.conn.connection
        self._broker = self._connection.connection
        # all consumers of a connection come back together
        self._tell_returns(next(iter(self._connection._consumers)))
        end = adapter.cleanup
        adapter.cleanup = lambda: (self._leave(), end())
        return adapter

    def _tell_returns(self, consumer: Any) -> None:
        subscribe, times = consumer.consume, 0

        def again(connection: Any, tag: Any) -> None:
            nonlocal times
            subscribe(connection, tag=tag)
            times += 1
            if times > 1:
                self.when_back()

        consumer.consume = again

    def _leave(self) -> None:
        """All that was taken is done: acknowledge the last of it and unsubscribe, as
        the queue of this server alone is deleted with its connection."""
        waiting = self._inner._message_operations_handler
        waiting.stop()
        waiting._shutdown_thread.join()
        try:
            waiting.process()
            for consumer, tag in self._connection._consumers.items():
                consumer.cancel(tag)
        except (*_failures(self._broker), OSError) as error:
            LOG.debug("The connection is gone already: %s", type(error).__name__)


class Responder(_Server, RequestServer):
    """Under ``Bus.serve``."""


class Listener(_Server, MessageServer):
    """Under ``Bus.listen``: messages that come again are heard again."""

    def _create_listener(self) -> Any:
        adapter = super()._create_listener()
        adapter._poll_style_listener.msg_id_cache = _NoRepeats()
        return adapter

    def remove_queue(self, name: str) -> None:
        """Remove a queue unless somebody listens to it; after the end of this
        listener. Failures are logged: the queue is at worst one too many."""
        if self._broker is None:
            return
        try:
            with self._broker.clone() as connection:
                connection.channel().queue_delete(name, if_unused=True)
        except (*_failures(self._broker), OSError) as error:
            LOG.info("Queue %s stays: %s", name, str(error).partition("\n")[0])


def topic_of(incoming: Any) -> str:
    """The topic that a notification was sent to: its routing key without the
    priority."""
    key: str = incoming.message._raw_message.delivery_info["routing_key"]
    return key.rpartition(".")[0]


def refusal(error: BaseException) -> str | None:
    """What a broker that says no has said; None: it is something else."""
    if not isinstance(error, REFUSALS):
        return None
    return str(error.reply_text or type(error).__name__).rstrip(".")


def prepare(conf: Any) -> None:
    """Once per process, before anything listens; a second call changes nothing.

    :param conf: the options of the transports.
    :raises ConfigurationFault: one of the library's is wrong.
    """
    # after impl_rabbit was loaded: its options have bounds made from the old value
    amqpdriver.ACK_REQUEUE_EVERY_SECONDS_MAX = LOOK_UP_SECONDS
    conf.register_opts(impl_rabbit.rabbit_opts, _GROUP)
    conf.set_default("rabbit_interval_max", RECONNECT_SECONDS, _GROUP)
    for opt in impl_rabbit.rabbit_opts:
        try:
            conf[_GROUP][opt.dest]
        except cfg.ConfigFileValueError as error:
            raise wrong_line(conf, _GROUP, opt) from error
    # a second filter that is the same object is not added
    for log, keep in (
        (amqpdriver.LOG, _calm),
        (impl_rabbit.LOG, _seldom),
        (AMQP_LOGGER, _not_late),
    ):
        getattr(log, "logger", log).addFilter(keep)


def _failures(broker: Any) -> tuple[type[Exception], ...]:
    return (*broker.connection_errors, *broker.channel_errors)


def _calm(record: logging.LogRecord) -> bool:
    if str(record.msg).startswith("ignoring duplicate message"):
        record.exc_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


def _not_late(record: logging.LogRecord) -> bool:
    """Nobody waits for the confirmation of a message that came back already."""
    return not (record.args and record.args[0] == _CONFIRMED)  # type: ignore[index]


class _Seldom:
    """Lets one line in some seconds tell that the broker is away: a process has a
    dozen connections, and each of them would tell of every try."""

    _TRIES: Final = ("Connection failed: ", "[%(connection_id)s] AMQP server")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._last: float | None = None

    def __call__(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(self._TRIES):
            return True
        now = self._clock.monotonic()
        if self._last is not None and now - self._last < self._seconds:
            return False
        self._last = now
        return True


_seldom: Final = _Seldom(SystemClock(), SAY_AGAIN_SECONDS)
