"""Workbooks: one text that brings workflows and actions along (§ 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from mistral.db import definitions, scope
from mistral.db.definitions import Author, Place
from mistral.db.models import actions, workbooks, workflows
from mistral.db.preconditions import held
from mistral.lang.parse import ParsedWorkbook

Row = Mapping[str, Any]


def _values(parsed: ParsedWorkbook, place: Place) -> dict[str, Any]:
    text = parsed.text.encode()
    return {
        "name": parsed.spec.name,
        "tags": list(parsed.spec.tags),
        "definition": parsed.text,
        "spec": dict(parsed.spec.body),
        "checksum": hashlib.md5(text, usedforsecurity=False).hexdigest(),
        "scope": place.scope,
    }


def create(
    connection: Connection, author: Author, parsed: ParsedWorkbook, place: Place
) -> Row:
    """The workbook, and its members created or updated.

    :raises Conflict: its name is taken.
    """
    values = definitions.fresh(author, place) | _values(parsed, place)
    row = definitions.add(connection, workbooks, values, "A workbook")
    _put_members(connection, author, parsed, place, row["project_id"])
    return row


def update(
    connection: Connection, author: Author, parsed: ParsedWorkbook, place: Place
) -> Row:
    """The workbook of that name; members that vanished from the text stay
    (LANG-027, Q-39).

    :raises NotFound: there is none in this namespace.
    :raises Forbidden: it belongs to another project.
    """
    context = author.context
    name = parsed.spec.name
    row = definitions.named(
        connection, workbooks, "workbook", name, place.namespace, context.project_id
    )
    scope.require_owner(row, context, f"The workbook '{name}'")
    row = held(connection, workbooks, row, author.unchanged)
    values = _values(parsed, place)
    changed = definitions.change(connection, workbooks, row, values, author.now)
    _put_members(connection, author, parsed, place, row["project_id"])
    return changed


def _put_members(
    connection: Connection,
    author: Author,
    parsed: ParsedWorkbook,
    place: Place,
    project_id: str,
) -> None:
    """Members belong to the workbook's project; those of others stay as they
    are (Q-33)."""
    written = [
        (workflows, definitions.workflow_values(connection, workflow, author.now))
        for workflow in parsed.workflows
    ]
    written += [
        (actions, definitions.action_values(action)) for action in parsed.actions
    ]
    for table, values in written:
        values |= {"workbook_name": parsed.spec.name, "scope": place.scope}
        statement = select(table).where(
            table.c.name == values["name"],
            table.c.namespace == place.namespace,
            table.c.project_id == project_id,
        )
        row = connection.execute(statement).mappings().first()
        if row is not None:
            definitions.change(connection, table, row, values, author.now)
            continue
        new = definitions.fresh(author, place) | {"project_id": project_id}
        definitions.add(connection, table, new | values, "A member of the workbook")
