"""The connections of a bus: made when they are needed, closed together.

oslo.messaging takes the prefetch of a connection from its transport's URL, so each
kind of listener has a transport of its own.
"""

from __future__ import annotations

import threading
from typing import Any

from oslo_config import cfg

from mistral import no_eventlet  # noqa: F401  (first of all)
from mistral.errors import Unavailable
from mistral.service import together

# isort: split
import oslo_messaging
from oslo_messaging._metrics import client as metrics
from oslo_messaging._tracing import client as tracing


class Transports:
    """Transports to one broker.

    :param url: ``rabbit://…`` or ``memory://``.
    :param quorum_queues: RabbitMQ's replicated queues, for a cluster of brokers.
    :param conf: a loaded ``ConfigOpts`` whose ``[oslo_messaging_rabbit]`` counts;
        by default the library's defaults.
    """

    def __init__(self, url: str, *, quorum_queues: bool, conf: Any = None) -> None:
        self.in_memory = url.startswith("memory")
        self._url = url
        self._quorum_queues = quorum_queues
        self._conf = _with_options(conf if conf is not None else _defaults())
        self._guard = threading.Lock()
        self._closed = False
        self._requests: Any = None
        self._outgoing: Any = None
        self._outside: Any = None
        self._incoming: list[Any] = []

    @property
    def conf(self) -> Any:
        """The options that all of them use."""
        return self._conf

    def requests(self, prefetch: int = 0) -> Any:
        """For requests and their answers. All later calls give the first one's.

        :raises Unavailable: the bus was closed.
        """
        with self._guard:
            self._check_open()
            if self._requests is None:
                self._requests = oslo_messaging.get_rpc_transport(
                    self._conf, url=self._parsed(prefetch)
                )
            return self._requests

    def outgoing(self) -> Any:
        """For messages that this process sends.

        :raises Unavailable: the bus was closed.
        """
        with self._guard:
            if self._outgoing is None:
                self._check_open()
                self._outgoing = self._notifications(0)
            return self._outgoing

    def incoming(self, prefetch: int) -> Any:
        """For one listener."""
        made = self._notifications(prefetch)
        with self._guard:
            self._incoming.append(made)
        return made

    def outside(self, prefetch: int) -> Any:
        """For notifications of other services.

        :raises Unavailable: the bus was closed.
        """
        with self._guard:
            if self._outside is None:
                self._check_open()
                self._outside = self._notifications(prefetch)
                self._incoming.append(self._outside)
            return self._outside

    def close(self, *, requests: bool = True) -> None:
        """Close them all.

        :param requests: False: not that one, for which ``close_requests`` is called
            later.
        """
        with self._guard:
            self._closed = True
            found = [self._outgoing, *self._incoming]
            self._outgoing = self._outside = None
            self._incoming.clear()
        ends = [transport.cleanup for transport in found if transport]
        together([*ends, self.close_requests] if requests else ends)

    def close_requests(self) -> None:
        """Close the one for requests and their answers."""
        with self._guard:
            found, self._requests = self._requests, None
        if found is not None:
            found.cleanup()

    def _notifications(self, prefetch: int) -> Any:
        return oslo_messaging.get_notification_transport(
            self._conf, url=self._parsed(prefetch)
        )

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("This process is stopping")

    def _parsed(self, prefetch: int) -> Any:
        """The URL with what a connection needs in its query."""
        url = oslo_messaging.TransportURL.parse(self._conf, self._url)
        if self.in_memory:
            url.query["prefetch"] = str(prefetch)
            return url
        url.query["rabbit_qos_prefetch_count"] = str(prefetch)
        if self._quorum_queues:
            url.query["rabbit_quorum_queue"] = "true"
            url.query["amqp_durable_queues"] = "true"
        return url


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
