"""Large executions that were deleted go page by page (decision 0044).

Any engine may do it, several at once: each page is a transaction of its own, which
locks the row of what it removes, and who finds it locked takes another. Nobody waits
for it to be done, so it takes no more than half of the time, and less at once where
the database is busy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

from mistral.clock import Clock
from mistral.db import removals
from mistral.db.database import Database
from mistral.service import Counts, Loop

INTERVAL: Final = 1.0

PAGES: Final = 200
"""In one pass; what is left is for the next, which follows at once."""

LEAST: Final = 20
"""Rows of a page where the database is slow."""

LONG: Final = 0.1
SHORT: Final = 0.03
"""Seconds: a page that takes longer is followed by one of half as many rows, one that
takes less by one of twice as many."""


class RemovalSweep(Loop):
    """Removes what is left of executions that were deleted.

    :param clock: only its monotonic side counts here.
    :param rest: waits; None: its own, which ends with it.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        rest: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__("engine-removal", INTERVAL)
        self._database = database
        self._clock = clock
        self._rest = rest or self.rest
        self._rows = removals.PAGE

    def run_once(self) -> Counts:
        """:returns: ``removed``: rows."""
        removed = 0
        for _ in range(PAGES):
            if self.stopping:
                break
            begun = self._clock.monotonic()
            found = self._database.replay(self._page)
            if found is None:
                return {"removed": removed}
            removed += found
            self._after(self._clock.monotonic() - begun)
        self.wake()
        return {"removed": removed}

    def _page(self, connection: Connection) -> int | None:
        now = self._database.now(connection)
        return removals.remove(connection, removals.Page(now, self._rows))

    def _after(self, took: float) -> None:
        if took > LONG:
            self._rows = max(LEAST, self._rows // 2)
        elif took < SHORT:
            self._rows = min(removals.PAGE, self._rows * 2)
        self._rest(took)
