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


_MAKE_USER = {
    "postgresql": (
        "CREATE ROLE {name} LOGIN",
        "ALTER DATABASE {database} OWNER TO {name}",
    ),
    "mariadb": ("CREATE USER {name}", "GRANT ALL ON {database}.* TO {name}"),
}
_DROP_USER = {
    "postgresql": (
        "ALTER DATABASE {database} OWNER TO CURRENT_USER",
        "REASSIGN OWNED BY {name} TO CURRENT_USER",
        "DROP ROLE {name}",
    ),
    "mariadb": ("DROP USER {name}",),
}
_LIMIT = {
    "postgresql": "ALTER ROLE {name} CONNECTION LIMIT {most}",
    "mariadb": "ALTER USER {name} WITH MAX_USER_CONNECTIONS {most}",
}
_NO_LIMIT = {"postgresql": -1, "mariadb": 0}


@contextmanager
def a_user(database: URL, kind: str) -> Iterator[URL]:
    """A user of the database who is no administrator; gone afterwards. Answers how
    processes find the database in this name."""
    names = {"name": f"{database.database}_user", "database": database.database}
    engine = create_engine(database, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def say(statements: tuple[str, ...]) -> None:
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.format(**names))

    say(_MAKE_USER[kind])
    try:
        yield database.set(username=names["name"])
    finally:
        say(_DROP_USER[kind])


class Store:
    """One database, seen past all wires.

    :param url: as processes find it.
    """

    def __init__(self, url: URL, kind: str) -> None:
        self._kind = kind
        self._user = url.username
        administrator = {"postgresql": "postgres", "mariadb": "root"}[kind]
        url = url.set(username=administrator)
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

    def limit(self, most: int | None) -> None:
        """How many connections all processes together may have; None: any."""
        number = _NO_LIMIT[self._kind] if most is None else most
        statement = _LIMIT[self._kind].format(name=self._user, most=number)
        with self.engine.begin() as connection:
            connection.exec_driver_sql(statement)

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
