"""The library's servers with threads of ours.

Its own pool makes a thread for each message until it is full, and each of them wakes
up every second from then on.
"""

from __future__ import annotations

from typing import Any

from mistral import no_eventlet  # noqa: F401  (first of all)
from mistral.threads import ThreadPool

# isort: split
from oslo_messaging.notify.listener import NotificationServer
from oslo_messaging.rpc.server import RPCServer


class RequestServer(RPCServer):  # type: ignore[misc]
    """Under ``Bus.serve``."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._executor_cls = ThreadPool


class MessageServer(NotificationServer):  # type: ignore[misc]
    """Under ``Bus.listen`` and ``Bus.hear``."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._executor_cls = ThreadPool
