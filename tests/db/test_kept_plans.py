"""A plan that was made while a table was small is kept by PostgreSQL until it looks at
the table again; it must do for one that has grown meanwhile, or go soon (decision
0049)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeClock
from sqlalchemy import Connection, text

from mistral.db import bulk, outbox
from mistral.db.database import Database
from mistral.db.models import outbox as table
from mistral.db.pipeline import PLANNED, Pipeline

pytestmark = pytest.mark.services

USES = 12
"""The driver prepares after five, the server keeps a plan after five more."""

SMALL = 20
GROWN = 3_000

_SCANS = text(
    "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'outbox'"
)


def test_a_plan_of_a_small_table_does_for_a_large_one(
    open_database: Callable[[str], Database], outbox_row: Callable[..., dict[str, Any]]
) -> None:
    database = open_database("postgresql")
    rows = [
        outbox_row(f"row-{n}", kind=outbox.OFFER, action_id=f"action-{n}")
        for n in range(GROWN)
    ]
    with database.connect() as connection:
        with connection.begin():
            bulk.insert_many(connection, table, rows[:SMALL])
            connection.execute(text("ANALYZE outbox"))
        for _ in range(USES):
            with connection.begin():
                assert outbox.remove_offers(connection, ["absent"]) == 0
        with connection.begin():
            bulk.insert_many(connection, table, rows[SMALL:])
        with connection.begin():
            before = _read_one_by_one(connection)
            assert outbox.remove_offers(connection, ["action-7", "action-8"]) == 2
            assert _read_one_by_one(connection) - before < GROWN


def _read_one_by_one(connection: Connection) -> int:
    """Rows of the outbox that scans of the whole table have read, in this
    transaction."""
    return int(connection.scalar(_SCANS) or 0)


def test_plans_are_not_kept_for_long(
    open_database: Callable[[str], Database], outbox_row: Callable[..., dict[str, Any]]
) -> None:
    """What is no scan of a table may be one of a whole index."""
    clock = FakeClock()
    rows = [outbox_row(f"row-{n}", action_id=f"action-{n}") for n in range(GROWN)]
    asked = ("SELECT id FROM outbox WHERE id = ANY($1::varchar[])", ["{row-7,absent}"])
    database = open_database("postgresql")
    with database.connect() as connection:
        raw = connection.connection.driver_connection
        raw.execute("SET plan_cache_mode = force_generic_plan")
        pipeline = Pipeline(raw, clock.monotonic)
        with database.begin() as other:
            bulk.insert_many(other, table, rows[:SMALL])
        for _ in range(USES):
            assert pipeline.run([asked]) == [([("row-7",)], 1)]
        small = _plan(raw)
        with database.begin() as other:
            bulk.insert_many(other, table, rows[SMALL:])
        clock.advance(PLANNED)
        assert pipeline.run([asked]) == [([("row-7",)], 1)]
        assert _plan(raw) != small, "it expects as many rows as there were"
        raw.rollback()


def _plan(raw: Any) -> str:
    found = raw.execute("EXPLAIN EXECUTE mistral_0('{a}')").fetchall()
    return "\n".join(line for (line,) in found)
