"""System workflows: what packages bring along, registered for everybody.

A package names a function under the entry point ``mistral.preinstalled_workflows``
that gives paths of files with workflows (spec/engine.md § 12.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select, update

from mistral.context import Context
from mistral.db import definitions, owned
from mistral.db.database import Database
from mistral.db.models import workflows
from mistral.errors import Conflict
from mistral.lang.parse import ParsedWorkflow, parse_workflows

GROUP: Final = "mistral.preinstalled_workflows"

_PUBLIC: Final = owned.Place(scope="public")


def preinstalled_files() -> list[Path]:
    """The files that installed packages name, in a stable order."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return [Path(path) for entry in found for path in entry.load()() or ()]


def populate(
    database: Database, files: Iterable[Path], new_id: Callable[[], str]
) -> list[str]:
    """Create or update the workflows of these files, all or none.

    :returns: their names.
    :raises DefinitionFault: a file holds no valid workflows.
    :raises Conflict: a user has a workflow of the same name.
    """
    parsed = [
        workflow
        for path in files
        for workflow in parse_workflows(path.read_text(encoding="utf-8"))
    ]
    with database.begin() as connection:
        context = Context(is_admin=True)
        author = owned.Author(context, database.now(connection), new_id)
        for workflow in parsed:
            _register(connection, author, workflow)
    return [workflow.spec.name for workflow in parsed]


def _register(
    connection: Connection, author: owned.Author, workflow: ParsedWorkflow
) -> None:
    name = workflow.spec.name
    there = connection.execute(
        select(workflows.c.is_system).where(
            workflows.c.name == name,
            workflows.c.namespace == _PUBLIC.namespace,
            workflows.c.project_id == author.context.project_id,
        )
    ).one_or_none()
    if there is None:
        (row,) = definitions.create_workflows(connection, author, [workflow], _PUBLIC)
        system = update(workflows).where(workflows.c.id == row["id"])
        connection.execute(system.values(is_system=True))
        return
    if not there.is_system:
        raise Conflict(f"A user's workflow has the name of the system's '{name}'.")
    definitions.update_workflows(connection, author, [workflow], _PUBLIC)
