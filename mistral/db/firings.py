"""What came of the times at which cron triggers were to fire.

The rows of a trigger are guarded by its own. The last ones are kept; those that wait
are all there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, func, or_, select

from mistral.db import bulk
from mistral.db.executions import FINISHED
from mistral.db.models import cron_firings, outbox, workflow_executions
from mistral.db.outbox import START

Row = Mapping[str, Any]

KEPT: Final = 100
"""Firings of one trigger that are remembered."""

MADE: Final = ("started", "queued")
"""Outcomes by which there is a run, or will be."""

_TRIGGERS_A_PASS: Final = 100

_firing, _run = cron_firings.c, workflow_executions.c


def still_open(connection: Connection, trigger_id: str) -> Sequence[Row]:
    """Started ones whose run has not ended, oldest first: ``id``, and ``state`` of the
    run, None where it has still to begin."""
    begins = select(outbox.c.id).where(
        outbox.c.run_id == _firing.id, outbox.c.kind == START
    )
    query = _with_runs(_firing.id, _run.state).where(
        _firing.cron_trigger_id == trigger_id,
        _firing.outcome == "started",
        or_(
            and_(_run.id.is_(None), begins.exists()),
            _run.state.not_in(sorted(FINISHED)),
        ),
    )
    found = connection.execute(query.order_by(_firing.planned_at, _firing.id))
    return found.mappings().all()


def queued(connection: Connection, trigger_id: str, limit: int) -> Sequence[Row]:
    """Those that wait, oldest first."""
    query = select(cron_firings).where(
        _firing.cron_trigger_id == trigger_id, _firing.outcome == "queued"
    )
    query = query.order_by(_firing.planned_at, _firing.id).limit(limit)
    return connection.execute(query).mappings().all()


def latest(connection: Connection, trigger_id: str, limit: int) -> Sequence[Row]:
    """The last ones, the latest planned first; with ``state`` of the run, or None."""
    query = _with_runs(cron_firings, _run.state, _run.state_info)
    query = query.where(_firing.cron_trigger_id == trigger_id)
    query = query.order_by(_firing.planned_at.desc(), _firing.id.desc()).limit(limit)
    return connection.execute(query).mappings().all()


def known(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Of those of these that there are, the outcome."""
    found = bulk.fetch(connection, cron_firings, "id", ids, columns=("id", "outcome"))
    return {row["id"]: row["outcome"] for row in found}


def forget(connection: Connection) -> int:
    """Remove those of a trigger that are older than the last ones; answers how
    many."""
    counted = (
        select(_firing.cron_trigger_id)
        .where(_firing.outcome != "queued")
        .group_by(_firing.cron_trigger_id)
        .having(func.count() > KEPT)
        .limit(_TRIGGERS_A_PASS)
    )
    removed = 0
    for trigger_id in list(connection.scalars(counted)):
        old = (
            select(_firing.id)
            .where(_firing.cron_trigger_id == trigger_id, _firing.outcome != "queued")
            .order_by(_firing.planned_at.desc(), _firing.id.desc())
            .offset(KEPT)
            .limit(10 * KEPT)
        )
        ids = list(connection.scalars(old))
        removed += bulk.delete_ids(connection, cron_firings, ids)
    return removed


def _with_runs(*columns: Any) -> Select[Any]:
    joined = cron_firings.outerjoin(workflow_executions, _run.id == _firing.id)
    return select(*columns).select_from(joined)
