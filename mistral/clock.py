"""Time comes in from outside: code asks a ``Clock``, tests move one."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What a part that waits or stamps may ask."""

    def now(self) -> datetime:
        """UTC, without tzinfo, microseconds (as rows hold it)."""

    def monotonic(self) -> float:
        """Seconds that never run back; only differences mean anything."""


class SystemClock:
    """The machine's clock. Leases and due dates use the database's instead
    (``db.database.Database.now``)."""

    def now(self) -> datetime:
        return datetime.now(UTC).replace(tzinfo=None)

    def monotonic(self) -> float:
        return time.monotonic()
