"""The version of the tables, asked without the library that changes them.

Each start compares two numbers. Alembic and what it brings along (10 MB) is
loaded when they differ, or to manage the tables.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, column, inspect, select, table

_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"
_TABLE: Final = table("alembic_version", column("version_num"))


@cache
def head() -> str:
    """The version that this release needs: its files are named by number."""
    return max(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*_*.py"))


def current(connection: Connection) -> str | None:
    """The version of the database, None if it has no tables of ours."""
    if not inspect(connection).has_table(_TABLE.name):
        return None
    found: str | None = connection.execute(select(_TABLE.c.version_num)).scalar()
    return found
