"""Events that triggers have fired for: one that comes again changes nothing."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from mistral.db.failures import is_duplicate
from mistral.db.models import heard_events
from mistral.errors import Unavailable

REMEMBERED: Final = timedelta(days=3)
"""Who sends an event again does it within that time; forges offer it for so long."""


def is_new(
    connection: Connection, source: tuple[str, ...], event_id: str, now: datetime
) -> bool:
    """Remember the event in this transaction; false: it is remembered already.

    :param source: who gave it the id.
    :raises Unavailable: it is being remembered at the same moment. The transaction
        must be rolled back; run again, it finds that.
    """
    text = json.dumps([*source, event_id])
    id = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    known = select(heard_events.c.id).where(heard_events.c.id == id)
    if connection.execute(known).first() is not None:
        return False
    try:
        connection.execute(insert(heard_events).values(id=id, at=now))
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
        raise Unavailable("This event is heard somewhere else, too.") from error
    return True


def expire(connection: Connection, now: datetime) -> int:
    """Forget what is older than ``REMEMBERED``; answers how many."""
    old = delete(heard_events).where(heard_events.c.at < now - REMEMBERED)
    return connection.execute(old).rowcount
