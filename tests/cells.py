"""The five cells that what happens at the same time is tested in: PostgreSQL and
MariaDB, each with READ COMMITTED and REPEATABLE READ, and SQLite, which has one
writer at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from servers import NoServer, fresh_database

from mistral.db.database import READ_COMMITTED, REPEATABLE_READ, Database


class Cell(NamedTuple):
    kind: str
    isolation: str

    def __str__(self) -> str:
        short = {READ_COMMITTED: "committed", REPEATABLE_READ: "repeatable"}
        return self.kind if self.kind == "sqlite" else "-".join(
            (self.kind, short[self.isolation])
        )  # fmt: skip

    @contextmanager
    def world(self, make: Callable[..., Any], directory: Path) -> Iterator[Any]:
        """``make(directory, url=…, database=…)`` on a fresh database; closed
        afterwards. The test is skipped where the server is missing."""
        try:
            with fresh_database(self.kind, directory) as url:
                made = make(
                    directory,
                    url=url.render_as_string(hide_password=False),
                    database=partial(Database, isolation=self.isolation),
                )
                yield made
                made.close()
        except NoServer as missing:
            pytest.skip(str(missing))


SQLITE = Cell("sqlite", READ_COMMITTED)
ON_SERVERS = [
    Cell(kind, isolation)
    for kind in ("postgresql", "mariadb")
    for isolation in (READ_COMMITTED, REPEATABLE_READ)
]
SERVERS = [
    pytest.param(cell, marks=pytest.mark.services, id=str(cell)) for cell in ON_SERVERS
]
CELLS = [pytest.param(SQLITE, marks=pytest.mark.thorough, id="sqlite"), *SERVERS]
