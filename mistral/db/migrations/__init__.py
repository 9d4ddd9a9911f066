"""Versions of the schema, run by alembic over a connection of ours.

A version imports nothing of the project: it stays what it was when the tables
have long moved on.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

HERE: Final = Path(__file__).parent


def config(connection: Connection | None = None) -> Config:
    """What alembic's commands want; with the connection that they shall use."""
    made = Config()
    made.set_main_option("script_location", str(HERE).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(config())


@cache
def head() -> str:
    """The version that this release needs."""
    found = _scripts().get_current_head()
    assert found is not None
    return found


def knows(version: str) -> bool:
    """Whether this release has the version among its own."""
    return any(script.revision == version for script in _scripts().walk_revisions())


def current(connection: Connection) -> str | None:
    """The version of the database, None if it has no tables of ours."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection, version: str = "head") -> None:
    """Run the versions that are missing; does nothing when there are none."""
    command.upgrade(config(connection), version)


def downgrade(connection: Connection, version: str) -> None:
    """Take versions back down to (not including) this one; ``base``: all."""
    command.downgrade(config(connection), version)
