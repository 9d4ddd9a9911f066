"""Which executors have a row: who claims and dies before its first heartbeat has to
be missed all the same.

A row is deleted when its last sign of life is ``lost_after`` seconds old. So one that
was read is there for half that time, whoever else may be at work, and is not looked
for again before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from mistral.db import rows
from mistral.db.models import executors


class Claimers:
    """What one deciding thread knows of executors.

    :param lost_after: seconds; 0: executors are never lost.
    """

    def __init__(self, lost_after: float) -> None:
        self._sure_for = timedelta(seconds=lost_after / 2)
        self._sure_until: dict[str, datetime] = {}

    def write(
        self, connection: Connection, ids: Collection[str], now: datetime
    ) -> Mapping[str, datetime]:
        """See to it that these have rows.

        :param now: the database's time.
        :returns: for ``remember``, once it is committed.
        """
        unsure = sorted(id for id in ids if self._sure_until.get(id, now) <= now)
        if not unsure:
            return {}
        rows.insert_missing(
            connection,
            executors,
            [
                {"id": id, "host": "", "started_at": now, "last_seen": now}
                for id in unsure
            ],
        )
        found = rows.fetch(connection, executors, "id", unsure)
        return {row["id"]: row["last_seen"] + self._sure_for for row in found}

    def remember(self, found: Mapping[str, datetime], now: datetime) -> None:
        """After the commit of the turn that wrote them."""
        if found:
            kept = {id: at for id, at in self._sure_until.items() if at > now}
            self._sure_until = {**kept, **found}
