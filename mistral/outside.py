"""Notifications of other services: what they are, and how they are taken in.

They come from anybody who may write to the broker, so nothing of one is
believed before it was looked at: one that is malformed is dropped with a line
in the log, and the next one is heard.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mistral import no_eventlet  # noqa: F401  (first of all)
from mistral.errors import Unavailable

# isort: split
from oslo_messaging import NotificationResult

LOG = logging.getLogger(__name__)

PRIORITIES: Final = ("audit", "critical", "debug", "error", "info")
"""Those that event triggers hear (spec/engine.md § 10.4)."""

_NEVER_KEPT: Final = frozenset({"auth_token", "service_token", "service_catalog"})
"""Of the context of a notification: credentials of who caused it (SEC-07)."""


@dataclass(frozen=True, slots=True)
class Notification:
    """What another service told.

    :param id: the same when it is delivered again.
    :param context: identity of who caused it, without credentials.
    """

    id: str
    exchange: str
    topic: str
    event_type: str
    publisher: str
    payload: Any
    timestamp: str
    context: Mapping[str, Any]

    @property
    def project_id(self) -> str:
        """The project that it is about; empty where that is not told."""
        for name in ("project_id", "tenant"):
            found = self.context.get(name)
            if isinstance(found, str) and found:
                return found
        return ""


OnNotification = Callable[[Notification], bool | None]
"""Takes a notification in, as ``bus.OnMessage``."""


class Malformed(Exception):
    """No notification; the text says what is wrong, without values."""


def read(
    exchange: str, topic: str, context: Any, message: Mapping[str, Any]
) -> Notification:
    """A notification in the library's form 2.0.

    :raises Malformed: it has no event type, or is not made of what it should.
    """
    event_type = message.get("event_type")
    if not isinstance(event_type, str) or not event_type:
        raise Malformed(f"event_type is {type(event_type).__name__}, expected text")
    if not isinstance(context, Mapping):
        raise Malformed(f"the context is {type(context).__name__}, expected an object")
    told = message.get("message_id")
    usable = isinstance(told, str) and told and told.isprintable()
    return Notification(
        id=str(told) if usable else _fingerprint(message),
        exchange=exchange,
        topic=topic,
        event_type=event_type,
        publisher=_text(message.get("publisher_id")),
        payload=message.get("payload"),
        timestamp=_text(message.get("timestamp")),
        context={k: v for k, v in context.items() if k not in _NEVER_KEPT},
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _fingerprint(message: Mapping[str, Any]) -> str:
    """Stands for the id that a publisher did not give."""
    told = {name: message.get(name) for name in _IDENTIFYING}
    text = json.dumps(told, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_IDENTIFYING: Final = ("publisher_id", "event_type", "timestamp", "payload")


class Dispatcher:
    """The library's dispatcher of one listener. It never raises: what it raised
    would come again without end.

    :param topic_of: the topic that a message was sent to, where the transport
        knows it: listeners of one pool share a queue.
    """

    supported_priorities = PRIORITIES

    def __init__(
        self,
        exchange: str,
        topic_of: Callable[[Any], str],
        hear: OnNotification,
        release: threading.Event,
    ) -> None:
        self._exchange = exchange
        self._topic_of = topic_of
        self._hear = hear
        self._release = release

    def dispatch(self, incoming: Any) -> str:
        """Take a message in; answers whether it is done or has to come again."""
        back: str = NotificationResult.REQUEUE
        done: str = NotificationResult.HANDLED
        try:
            topic = self._topic_of(incoming)
            found = read(self._exchange, topic, incoming.ctxt, incoming.message)
            return back if self._hear(found) is False else done
        except Malformed as error:
            LOG.warning(
                "A notification of exchange %s was dropped: %s", self._exchange, error
            )
            return done
        except Unavailable as error:
            self._release.wait(error.retry_after)
            return back
        except Exception:
            LOG.exception("A notification of exchange %s was dropped", self._exchange)
            return done
