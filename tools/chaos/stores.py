"""What can be done to the connections of a database from beside them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, create_engine, select, text
from sqlalchemy.pool import NullPool

from mistral.db.models import workflow_executions as runs

_OTHERS = {
    "postgresql": (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()",
        "SELECT pg_terminate_backend({id})",
    ),
    "mariadb": (
        "SELECT id FROM information_schema.processlist WHERE db = database()"
        " AND id <> connection_id()",
        "KILL {id}",
    ),
}


class Store:
    """One database, seen past all wires."""

    def __init__(self, url: URL, kind: str) -> None:
        self.engine = create_engine(url, poolclass=NullPool)
        self._others, self._end = _OTHERS[kind]

    def end_connections(self) -> int:
        """Those of everybody else. Answers how many."""
        with self.engine.connect() as connection:
            ids = list(connection.execute(text(self._others)).scalars())
            ended = 0
            for id in ids:
                try:
                    connection.execute(text(self._end.format(id=id)))
                    ended += 1
                except Exception:  # it ended by itself meanwhile
                    connection.rollback()
        return ended

    @contextmanager
    def locks(self, dice: int) -> Iterator[int]:
        """Have the locks of some open runs; answers of how many."""
        query = select(runs.c.id).where(runs.c.state.in_(["RUNNING", "PAUSED"]))
        with self.engine.connect() as connection:
            ids = sorted(connection.execute(query).scalars())
            connection.rollback()
            some = sorted(random.Random(dice).sample(ids, len(ids) // 2))
            connection.execute(
                select(runs.c.id)
                .where(runs.c.id.in_(some))
                .order_by(runs.c.id)
                .with_for_update(skip_locked=True)
            )
            yield len(some)
            connection.rollback()

    def close(self) -> None:
        self.engine.dispose()
