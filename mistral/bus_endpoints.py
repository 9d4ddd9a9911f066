"""What oslo.messaging calls when a message has arrived.

``bus.py`` puts them under its ``serve`` and ``listen``; what the handlers may do
is said there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from mistral import no_eventlet  # noqa: F401  (first of all)
from mistral.errors import (
    Bug,
    MistralError,
    Unavailable,
    as_told,
    is_outage,
    to_wire,
)
from mistral.messages import Message, decode
from mistral.redaction import redacted

# isort: split
import oslo_messaging

LOG = logging.getLogger(__name__)

Handler = Callable[[Message], Any]
"""Answers a request with JSON, or raises a ``MistralError``."""

OnMessage = Callable[[Message], bool | None]
"""Takes a message in. ``False`` hands it back to the broker (it comes again,
here or elsewhere); whatever else is returned acknowledges it."""


PAUSE_SECONDS: Final = 2.0
"""Before a message that met an outage is handed back."""


class Requests:
    """Endpoint of ``serve``; its one method is the RPC method."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def echo(self, ctxt: object) -> bool:
        return True

    def handle(self, ctxt: object, message: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {"answer": self._handler(_read(message))}
        except MistralError as error:
            return {"error": to_wire(error)}
        except Exception as error:
            if is_outage(error):
                LOG.warning("A %s waits: %s", message.get("kind"), redacted(error))
            else:
                LOG.exception("A %s could not be handled", message.get("kind"))
            return {"error": to_wire(as_told(error))}


class Messages:
    """Endpoint of ``listen``; the method's name is the priority."""

    def __init__(self, on_message: OnMessage, release: threading.Event) -> None:
        self._on_message = on_message
        self._release = release

    def info(
        self,
        ctxt: object,
        publisher_id: str,
        event_type: str,
        payload: Mapping[str, Any],
        metadata: object,
    ) -> str:
        back: str = oslo_messaging.NotificationResult.REQUEUE
        done: str = oslo_messaging.NotificationResult.HANDLED
        try:
            return back if self._on_message(_read(payload)) is False else done
        except Unavailable as error:
            self._release.wait(error.retry_after)
            return back
        except Exception as error:
            if is_outage(error):
                LOG.warning("A %s waits: %s", payload.get("kind"), redacted(error))
                self._release.wait(PAUSE_SECONDS)
                return back
            LOG.exception("A %s was dropped", payload.get("kind"))
            return done


def _read(wire: Mapping[str, Any]) -> Message:
    try:
        return decode(wire)
    except KeyError:
        raise Bug(f"Messages of kind {wire.get('kind')} are unknown here") from None
