"""Names that a process gives: to itself, and to what it makes."""

from __future__ import annotations

import socket
from uuid import uuid4

from mistral.config import Settings


def new_id() -> str:
    return str(uuid4())


def server_name(settings: Settings, worker: int = 0) -> str:
    """The same after a restart, so that no queues are left behind."""
    host = settings.engine.host
    if host in ("", "0.0.0.0", "::"):
        host = socket.gethostname()
    return f"{host}.{worker}"
