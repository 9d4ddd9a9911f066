"""Names that a process gives: to itself, and to what it makes."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from uuid import uuid4

from mistral.config import Settings


def new_id() -> str:
    return str(uuid4())


def server_name(
    settings: Settings, worker: int = 0, roles: Sequence[str] = ("engine",)
) -> str:
    """The same after a restart, so that no queues are left behind.

    :param roles: of this process; the event engine's host names it where it has no
        engine.
    """
    only_events = "engine" not in roles and "event-engine" in roles
    host = (settings.event_engine if only_events else settings.engine).host
    if host in ("", "0.0.0.0", "::"):
        host = socket.gethostname()
    return f"{host}.{worker}"
