"""One row per handled event, append-only: what was heard and what was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from mistral.db import bulk
from mistral.db.models import history


def append(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows with the columns of ``models.history``.

    ``seq`` counts per run; the header's lock keeps two turns from using the
    same number.
    """
    bulk.insert_many(connection, history, rows)


def page(
    connection: Connection, run_id: str, after_seq: int, limit: int
) -> list[bulk.Row]:
    """At most ``limit`` rows of a run behind ``after_seq``, in order.

    :param after_seq: ``seq`` of the last row seen; -1 for the first page.
    """
    bound = {"run": run_id, "after": after_seq, "most": limit}
    return list(connection.execute(_PAGE, bound).mappings())


def turn_is_there(connection: Connection, turn_id: str) -> bool:
    """Whether a turn whose commit was never answered did commit (DESIGN § 3)."""
    return connection.scalar(_TURN, {"turn": turn_id}) is not None


_PAGE: Final = (
    select(history)
    .where(history.c.run_id == bindparam("run"), history.c.seq > bindparam("after"))
    .order_by(history.c.seq)
    .limit(bindparam("most"))
)
_TURN: Final = (
    select(history.c.seq).where(history.c.turn_id == bindparam("turn")).limit(1)
)
