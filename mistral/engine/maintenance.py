"""Maintenance: runs follow its status, and PAUSING becomes PAUSED (§ 10.7).

The status alone decides: a turn that finds it not RUNNING starts nothing and
pauses the runs that it meets. This duty meets the others, page by page, each run
in an event of its own. Whoever dies in the midst of it leaves nothing behind: what
has not followed yet is found again, by any engine.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from mistral.db import maintenance
from mistral.db.database import Database
from mistral.db.maintenance import Status
from mistral.engine.intake import Intake
from mistral.engine.sweeps import BUSY, settle
from mistral.messages import MaintenanceChanged
from mistral.service import Counts, Loop

AT_ONCE: Final = 200
"""Runs that are told at the same time: the intake has room for them beside
everything else, and the lease is renewed long before it ends."""


class MaintenanceSweep(Loop):
    """Pauses what runs in maintenance; resumes afterwards what that had paused.

    :param owner: id of this engine process, for the lease.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        owner: str,
        interval: float = 1.0,
    ) -> None:
        super().__init__("engine-maintenance", interval)
        self._database = database
        self._intake = intake
        self._owner = owner

    def run_once(self) -> Counts:
        """Tell every run that has not followed yet, once.

        :returns: ``told``: how many; ``paused``: 1 when the last one has stopped.
        """
        told, after = 0, None
        while not self.stopping and len(self._intake) <= BUSY:
            status, rows = self._page(after)
            if not rows:
                if status is Status.PAUSING and self._finish():
                    return {"told": told, "paused": 1}
                break
            if not self._mine():
                break
            settle(self._intake, [MaintenanceChanged(run_id=row.id) for row in rows])
            told += len(rows)
            after = (rows[-1].created_at, rows[-1].id)
        return {"told": told, "paused": 0}

    def _page(self, after: Any) -> tuple[Status, Any]:
        with self._database.read() as connection:
            status = maintenance.status(connection)
            query = maintenance.to_tell(status, AT_ONCE, after)
            return status, connection.execute(query).all()

    def _mine(self) -> bool:
        def take(connection: Connection) -> bool:
            now = self._database.now(connection)
            return maintenance.lease(connection, self._owner, now)

        return self._database.replay(take)

    def _finish(self) -> bool:
        with self._database.read() as connection:
            if not maintenance.is_quiet(connection):
                return False
        return self._database.replay(maintenance.finish)
