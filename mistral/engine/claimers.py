"""Which executors have a row: who claims and dies before its first heartbeat has to
be missed all the same.

An executor is given up when its last sign of life is ``lost_after`` seconds old. A
claim is a sign of life, too: it is written, so that whoever is just giving up the
executor meets it in the database. One that was seen is taken to be known for half
that time, and is not written again before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from mistral.db import bulk, rows
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
        """See to it that these have rows, and are alive now.

        :param now: the database's time.
        :returns: for ``remember``, once it is committed.
        """
        unsure = sorted(id for id in ids if self._sure_until.get(id, now) <= now)
        if not unsure:
            return {}
        bulk.lock(connection, executors, unsure, ("id",))
        rows.update_many(
            connection, executors, [{"id": id, "last_seen": now} for id in unsure]
        )
        rows.insert_missing(
            connection,
            executors,
            [
                {"id": id, "host": "", "started_at": now, "last_seen": now}
                for id in unsure
            ],
        )
        return dict.fromkeys(unsure, now + self._sure_for)

    def know(self, id: str, now: datetime) -> bool:
        """Whether this one need not be written to be granted something. Any thread may
        ask."""
        return self._sure_until.get(id, now) > now

    def remember(self, found: Mapping[str, datetime], now: datetime) -> None:
        """After the commit of the turn that wrote them."""
        if found:
            kept = {id: at for id, at in self._sure_until.items() if at > now}
            self._sure_until = {**kept, **found}
