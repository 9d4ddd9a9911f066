"""Trusts whose triggers are gone: the service gives them back (§ 10.2, § 10.3).

Any engine may do it, several at once: to end what is over already is no error.
What the identity service does not answer is asked again later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from mistral.db import trusts
from mistral.db.database import Database
from mistral.engine.core.states import COMPLETED
from mistral.errors import MistralError
from mistral.service import Counts, Loop

LOG = logging.getLogger(__name__)

INTERVAL: Final = 5.0
AT_ONCE: Final = 50

RUNS_ON: Final = timedelta(seconds=30)
"""Until the last run of a used-up trigger is looked at again."""

AGAIN: Final = timedelta(minutes=1)
"""After a trust could not be ended."""

End = Callable[[str, str], None]
"""(sealed trust, project) → it has ended.

:raises MistralError: it may still stand.
"""


class TrustSweep(Loop):
    """Ends trusts that nothing needs any more."""

    def __init__(self, database: Database, end: End) -> None:
        super().__init__("engine-trusts", INTERVAL)
        self._database = database
        self._end = end

    def run_once(self) -> Counts:
        with self._database.read() as connection:
            now = self._database.now(connection)
            found = trusts.due(connection, now, AT_ONCE)
            used = {
                row["id"]
                for row in found
                if trusts.is_in_use(connection, row, COMPLETED)
            }
        counts = {"ended": 0, "failed": 0}
        for row in found:
            if row["id"] in used:
                self._look_later(row, RUNS_ON)
            elif self._ended(row):
                counts["ended"] += 1
            else:
                counts["failed"] += 1
                self._look_later(row, AGAIN)
        return counts

    def _ended(self, row: trusts.Row) -> bool:
        """Keystone is asked outside of any transaction."""
        try:
            self._end(row["sealed"], row["project_id"])
        except MistralError as error:
            LOG.warning(
                "The trust of trigger %s is not ended yet: %s", row["id"], error
            )
            return False
        self._write(lambda connection: trusts.forget(connection, row["id"]))
        return True

    def _look_later(self, row: trusts.Row, delay: timedelta) -> None:
        self._write(
            lambda connection: trusts.look_later(
                connection, row["id"], self._database.now(connection) + delay
            )
        )

    def _write(self, write: Callable[[Any], None]) -> None:
        self._database.replay(write)
