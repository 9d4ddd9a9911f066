"""Large executions that were deleted go page by page (decision 0044).

Any engine may do it, several at once: each page is a transaction of its own, which
locks the row of what it removes, and who finds it locked takes another.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from mistral.db import removals
from mistral.db.database import Database
from mistral.service import Counts, Loop

INTERVAL: Final = 1.0

PAGES: Final = 200
"""In one pass; what is left is for the next, which follows at once."""


class RemovalSweep(Loop):
    """Removes what is left of executions that were deleted."""

    def __init__(self, database: Database) -> None:
        super().__init__("engine-removal", INTERVAL)
        self._database = database

    def run_once(self) -> Counts:
        """:returns: ``removed``: rows."""
        removed = 0
        for _ in range(PAGES):
            if self.stopping:
                break
            found = self._database.replay(self._page)
            if found is None:
                return {"removed": removed}
            removed += found
        self.wake()
        return {"removed": removed}

    def _page(self, connection: Connection) -> int | None:
        return removals.page(connection, self._database.now(connection))
