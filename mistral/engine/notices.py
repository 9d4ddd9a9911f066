"""Notifications leave the engine: one after the other, and those of a run in order.

A row is removed when its notification was taken: by the broker, for a notifier
process, or by the publishers of this process. What is not taken is tried again
and holds back only what its own run says later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from mistral.clock import Clock
from mistral.db import outbox
from mistral.db.database import Database
from mistral.errors import MistralError
from mistral.messages import Notify, decode

LOG = logging.getLogger(__name__)

Row = Mapping[str, Any]

AGAIN_SECONDS: Final = 5.0
"""After this what was not taken is offered again."""


class Notices:
    """Rows of kind ``Notify`` of which this process holds the lease.

    :param send: takes a notification, or raises.
    """

    def __init__(
        self, database: Database, send: Callable[[Notify], None], clock: Clock
    ) -> None:
        self._database = database
        self._send = send
        self._clock = clock
        self._change = threading.Condition()
        self._rows: dict[str, Row] = {}
        self._retry_at: float | None = None
        self._ending = False

    def add(self, row: Row) -> None:
        """Let a row go out; one that waits already is not added again."""
        with self._change:
            self._rows.setdefault(row["id"], row)
            self._change.notify_all()

    def send_waiting(self) -> int:
        """Offer all that waits; answers how many were taken."""
        with self._change:
            rows = sorted(
                self._rows.values(),
                key=lambda row: (row["run_id"], row["payload"]["number"]),
            )
        taken: list[str] = []
        refused: set[str] = set()
        for row in rows:
            if row["run_id"] in refused:
                continue
            if self._taken(row):
                taken.append(row["id"])
            else:
                refused.add(row["run_id"])
        if taken:
            self._database.replay(lambda connection: outbox.remove(connection, taken))
        with self._change:
            for id in taken:
                self._rows.pop(id, None)
            self._retry_at = None
            if refused:
                self._retry_at = self._clock.monotonic() + AGAIN_SECONDS
        return len(taken)

    def _taken(self, row: Row) -> bool:
        message = decode(row["payload"])
        assert isinstance(message, Notify)
        try:
            self._send(message)
        except MistralError as error:
            LOG.warning("A notification of %s waits: %s", row["run_id"], error)
            return False
        except Exception:
            LOG.exception("A notification of %s could not be sent", row["run_id"])
            return False
        return True

    def run(self) -> None:
        """What the thread does until ``end``."""
        while True:
            with self._change:
                self._change.wait_for(self._is_time, self._pause())
                if self._ending:
                    return
                if not self._is_time():
                    continue
            self.send_waiting()

    def _is_time(self) -> bool:
        if self._ending:
            return True
        if not self._rows:
            return False
        return self._retry_at is None or self._clock.monotonic() >= self._retry_at

    def _pause(self) -> float | None:
        if not self._rows or self._retry_at is None:
            return None
        return max(0.0, self._retry_at - self._clock.monotonic())

    def retry(self) -> None:
        """Offer now what was not taken."""
        with self._change:
            self._retry_at = None
            self._change.notify_all()

    def end(self) -> None:
        """Let ``run`` return; what waits is left to other engines."""
        with self._change:
            self._ending = True
            self._change.notify_all()
