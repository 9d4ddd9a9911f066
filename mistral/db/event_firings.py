"""What came of the events that event triggers heard (decision 0047).

Rows belong to a trigger, but do not lock it and are not bound to it by a foreign key:
events fire while triggers are changed, and no event waits for that. What is left of a
trigger that went at that moment goes with the next pass of ``forget``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, exists, func, select

from mistral.db import bulk
from mistral.db.models import event_firings, event_triggers, workflow_executions

Row = Mapping[str, Any]

KEPT: Final = 100
"""Firings of one trigger that are remembered."""

PAGE: Final = 1_000
"""Rows that one transaction forgets."""

OUTCOMES: Final = ("started", "sent", "unheard", "refused", "failed")
"""A start was stored; a message was, for each that it is for; there was nobody that it
is for; the engine refused what was stored; the message could not be made."""

LONGEST_EVENT: Final = 255

_BY_TRIGGER: Final = "ix_event_firings_event_trigger_id_created_at"

_firing, _run = event_firings.c, workflow_executions.c


def made(
    id: str,
    trigger_id: str,
    event_id: str,
    outcome: str,
    now: datetime,
    *,
    reason: str | None = None,
    execution_id: str | None = None,
    reached: int = 0,
) -> dict[str, Any]:
    """A row to insert.

    :param event_id: of its sender; what cannot be shown is left out.
    :param execution_id: that was started, or the only one that a message was for.
    :param reached: how many executions it was for.
    """
    shown = "".join(filter(str.isprintable, event_id))[:LONGEST_EVENT]
    return {
        "id": id,
        "event_trigger_id": trigger_id,
        "event_id": shown,
        "outcome": outcome,
        "reason": reason,
        "execution_id": execution_id,
        "reached": reached,
        "created_at": now,
    }


def keep(connection: Connection, rows: Sequence[Row]) -> None:
    """Insert what is not there yet."""
    bulk.insert_missing(connection, event_firings, rows)


def refused(id: str, reason: str, now: datetime) -> dict[str, Any]:
    """What an engine writes of a firing that was refused to it."""
    return {"id": id, "outcome": "refused", "reason": reason, "updated_at": now}


def latest(connection: Connection, trigger_id: str, limit: int) -> Sequence[Row]:
    """The last ones, the latest first; with ``state`` and ``state_info`` of the
    execution, or None."""
    joined = event_firings.outerjoin(
        workflow_executions, _run.id == _firing.execution_id
    )
    query = (
        select(event_firings, _run.state, _run.state_info)
        .select_from(joined)
        .where(_firing.event_trigger_id == trigger_id)
        .order_by(_firing.created_at.desc(), _firing.id.desc())
        .limit(limit)
    )
    return connection.execute(query).mappings().all()


def remove_of(connection: Connection, trigger_id: str) -> None:
    """Those of a trigger that goes; no more than ``forget`` leaves, and what came
    since."""
    key = "event_trigger_id"
    bulk.delete_by(connection, event_firings, key, [trigger_id], index=_BY_TRIGGER)


def forget(connection: Connection) -> int:
    """Remove one page of those that are older than the last ones of their trigger, or
    whose trigger is gone; answers how many rows that was."""
    counted = (
        select(_firing.event_trigger_id)
        .group_by(_firing.event_trigger_id)
        .having(func.count() > KEPT)
        .order_by(func.count().desc())
        .limit(1)
    )
    trigger_id = connection.scalar(counted)
    if trigger_id is not None:
        old = (
            select(_firing.id)
            .where(_firing.event_trigger_id == trigger_id)
            .order_by(_firing.created_at.desc(), _firing.id.desc())
            .offset(KEPT)
            .limit(PAGE)
        )
    else:
        there = exists().where(event_triggers.c.id == _firing.event_trigger_id)
        old = select(_firing.id).where(~there).limit(PAGE)
    return bulk.delete_ids(connection, event_firings, list(connection.scalars(old)))
