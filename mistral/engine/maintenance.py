"""Maintenance: runs follow its status, and PAUSING becomes PAUSED (§ 10.7).

The status alone decides: a turn that finds it not RUNNING starts nothing and
pauses the runs that it meets. This duty meets the others, page by page, each run
in an event of its own. Whoever dies in the midst of it leaves nothing behind: what
has not followed yet is found again, by any engine.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from sqlalchemy import Connection

from mistral.clock import Clock
from mistral.db import maintenance
from mistral.db.database import Database
from mistral.db.maintenance import Status
from mistral.engine.intake import Intake
from mistral.engine.sweeps import BUSY, settle
from mistral.messages import MaintenanceChanged
from mistral.service import Counts, Loop

LOG = logging.getLogger(__name__)

AT_ONCE: Final = 200
"""Runs that are told at the same time: the intake has room for them beside
everything else, and the lease is renewed long before it ends."""


TELLINGS: Final = 3
PATIENCE: Final = 60.0
"""A run that has not followed after so many tellings cannot be decided about: its
event is set aside each time. It is told again after so many seconds."""

MOST_ASIDE: Final = 100
"""More runs than these that do not follow are no accident of theirs: PAUSED is not
said."""


class MaintenanceSweep(Loop):
    """Pauses what runs in maintenance; resumes afterwards what that had paused.

    :param owner: id of this engine process, for the lease.
    :param clock: only its monotonic side counts here.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        owner: str,
        clock: Clock,
        interval: float = 1.0,
    ) -> None:
        super().__init__("engine-maintenance", interval)
        self._database = database
        self._intake = intake
        self._owner = owner
        self._clock = clock
        self._ended = True
        # Of runs that have been told to pause, or to go on: how often, and when last.
        self._told: dict[str, tuple[int, float]] = {}

    def run_once(self) -> Counts:
        """Tell every run that has not followed yet, once.

        :returns: ``told``: how many; ``paused``: 1 when the last one has stopped.
        """
        told, after = 0, None
        aside: set[str] = set()
        while not self.stopping and len(self._intake) <= BUSY:
            status, rows = self._page(after)
            if not rows:
                paused = status is Status.PAUSING and self._finish(aside)
                if after is None:
                    self._told.clear()
                return {"told": told, "paused": int(paused)}
            ids = [row.id for row in rows if not self._is_vain(row.id)]
            aside.update(row.id for row in rows if self._tellings(row.id) >= TELLINGS)
            if ids and not self._mine():
                break
            self._tell(ids)
            told += len(ids)
            after = (rows[-1].created_at, rows[-1].id)
        return {"told": told, "paused": 0}

    def _page(self, after: Any) -> tuple[Status, Any]:
        with self._database.read() as connection:
            status = maintenance.status(connection)
            query = maintenance.to_tell(status, AT_ONCE, after)
            rows = connection.execute(query).all()
        ended = status is Status.RUNNING
        if ended is not self._ended:
            self._ended = ended
            self._told.clear()
        return status, rows

    def _tell(self, ids: list[str]) -> None:
        settle(self._intake, [MaintenanceChanged(run_id=id) for id in ids])
        now = self._clock.monotonic()
        self._told.update({id: (self._tellings(id) + 1, now) for id in ids})

    def _tellings(self, id: str) -> int:
        return self._told.get(id, (0, 0.0))[0]

    def _is_vain(self, id: str) -> bool:
        count, last = self._told.get(id, (0, 0.0))
        return count >= TELLINGS and self._clock.monotonic() - last < PATIENCE

    def _mine(self) -> bool:
        def take(connection: Connection) -> bool:
            now = self._database.now(connection)
            return maintenance.lease(connection, self._owner, now)

        return self._database.replay(take)

    def _finish(self, aside: set[str]) -> bool:
        if len(aside) > MOST_ASIDE:
            return False
        with self._database.read() as connection:
            if not maintenance.is_quiet(connection, aside):
                return False
        if aside:
            LOG.error("Runs that cannot be paused: %s", ", ".join(sorted(aside)))
        return self._database.replay(lambda each: maintenance.finish(each, aside))
