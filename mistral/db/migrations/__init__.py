"""Versions of the schema, run by alembic over a connection of ours.

A version imports nothing of the project: it stays what it was when the tables
have long moved on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection

from mistral.errors import Bug

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
    """The version that this release needs.

    :raises CommandError: the versions do not form one line.
    """
    found: str | None = _scripts().get_current_head()
    if found is None:
        raise Bug("There are no versions of the schema.")
    return found


def knows(version: str) -> bool:
    """Whether this release has the version among its own."""
    return any(script.revision == version for script in _scripts().walk_revisions())


def current(connection: Connection) -> str | None:
    """The version of the database, None if it has no tables of ours."""
    found: str | None = MigrationContext.configure(connection).get_current_revision()
    return found


def versions() -> list[tuple[str, str]]:
    """Each version with its title, the newest first."""
    return [(script.revision, script.doc) for script in _scripts().walk_revisions()]


def upgrade(connection: Connection, version: str = "head") -> None:
    """Run the versions that are missing; does nothing when there are none."""
    command.upgrade(config(connection), version)


def downgrade(connection: Connection, version: str) -> None:
    """Take versions back down to (not including) this one; ``base``: all."""
    command.downgrade(config(connection), version)


def stamp(connection: Connection, version: str) -> None:
    """Set the version of the database and change no table."""
    command.stamp(config(connection), version)


def belongs_here(connection: Connection) -> Callable[..., bool]:
    """For alembic's comparison: whether this kind of database has such a thing.

    What only one kind has says so in its ``info``.
    """
    kind = connection.dialect.name

    def belongs(thing: Any, *_: Any) -> bool:
        return thing.info.get("only", kind) == kind

    return belongs


def write(
    connection: Connection,
    title: str,
    autogenerate: bool,
    directory: Path | None = None,
) -> Path:
    """A new version behind the head, for a developer to fill or to check.

    :param autogenerate: compare the models with the database, which must be at
        the head.
    :param directory: default: among the others.
    """
    made = config(connection)
    if directory is not None:
        places = f"{HERE / 'versions'}{os.pathsep}{directory}".replace("%", "%%")
        made.set_main_option("version_locations", places)
        made.set_main_option("path_separator", "os")
    script = command.revision(
        made,
        title,
        autogenerate=autogenerate,
        rev_id=f"{int(head()) + 1:04}",
        version_path=None if directory is None else str(directory),
    )
    if not isinstance(script, Script):
        raise Bug("One version was asked for, another number came.")
    return Path(script.path)
