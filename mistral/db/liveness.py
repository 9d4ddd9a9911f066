"""Connections whose other end is gone without a word: a host that lost its power, a
primary that was replaced, a network that forgot.

Left alone, who waits for an answer there waits for a quarter of an hour, as long as the
system repeats what nobody acknowledges, or for ever if there is nothing to repeat. Here
the system asks whether anybody is there, and gives up after ``SILENT_SECONDS``. A
server that is only slow acknowledges by its system and is waited for.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from sqlalchemy import URL

SILENT_SECONDS: Final = 10
IDLE_SECONDS: Final = 4
APART_SECONDS: Final = 2
PROBES: Final = 3
"""First asked after ``IDLE_SECONDS``, then so often, so far apart."""

_LIBPQ: Final = {
    "connect_timeout": SILENT_SECONDS,
    "keepalives_idle": IDLE_SECONDS,
    "keepalives_interval": APART_SECONDS,
    "keepalives_count": PROBES,
    "tcp_user_timeout": 1000 * SILENT_SECONDS,
}


def arguments(url: URL) -> dict[str, Any]:
    """What the driver is told beside the URL; what an operator has written there
    counts."""
    if url.get_backend_name() != "postgresql":
        return {}
    return {name: value for name, value in _LIBPQ.items() if name not in url.query}


def watch(connection: Any) -> None:
    """The same for a connection of PyMySQL, which has no words for it."""
    wire = getattr(connection, "_sock", None)
    if not isinstance(wire, socket.socket) or wire.family == socket.AF_UNIX:
        return
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", IDLE_SECONDS),
        ("TCP_KEEPINTVL", APART_SECONDS),
        ("TCP_KEEPCNT", PROBES),
        ("TCP_USER_TIMEOUT", 1000 * SILENT_SECONDS),
    ):
        if hasattr(socket, name):
            wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
