"""Workbooks: one text that brings workflows and actions along (§ 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Table, select

from mistral.db import declared, definitions, owned
from mistral.db.executions import FINISHED
from mistral.db.models import actions, workbooks, workflow_executions, workflows
from mistral.db.owned import Author, Place, Row
from mistral.errors import Conflict
from mistral.lang.parse import ParsedWorkbook

Member = tuple[Table, Row]
"""Its table and its row; of the row at least ``id``, ``name`` and ``project_id``."""


def _values(parsed: ParsedWorkbook) -> dict[str, Any]:
    text = parsed.text.encode()
    return {
        "name": parsed.spec.name,
        "tags": list(parsed.spec.tags),
        "definition": parsed.text,
        "spec": dict(parsed.spec.body),
        "checksum": hashlib.md5(text, usedforsecurity=False).hexdigest(),
    }


def create(
    connection: Connection, author: Author, parsed: ParsedWorkbook, place: Place
) -> Row:
    """The workbook, and its members created or updated.

    :raises Conflict: its name is taken.
    """
    values = owned.fresh(author, place) | _values(parsed)
    row = owned.add(connection, workbooks, author, values)
    _put_contents(connection, author, parsed, row)
    return row


def update(
    connection: Connection, author: Author, parsed: ParsedWorkbook, place: Place
) -> Row:
    """The workbook of that name; members that vanished from the text stay
    (LANG-027, Q-39).

    :raises NotFound: there is none in this namespace.
    :raises Forbidden: it belongs to another project.
    """
    context, table = author.context, workbooks
    row = owned.named(
        connection, table, parsed.spec.name, place.namespace, context.project_id
    )
    row = owned.to_change(connection, table, row, context, author.unchanged)
    values = _values(parsed) | {"scope": place.scope or row["scope"]}
    changed = owned.change(connection, table, author, row, values)
    _put_contents(connection, author, parsed, changed)
    return changed


def members_besides(
    connection: Connection, workbook: Row, names: Collection[str] = ()
) -> list[Member]:
    """What the workbook has brought at some time, without the members of these
    full names (LINT-34); workflows first, by name."""
    found: list[Member] = []
    for table in (workflows, actions):
        statement = (
            select(table)
            .where(
                table.c.workbook_name == workbook["name"],
                table.c.namespace == workbook["namespace"],
                table.c.project_id == workbook["project_id"],
            )
            .order_by(table.c.name)
        )
        rows = connection.execute(statement).mappings()
        found += [(table, row) for row in rows if row["name"] not in names]
    return found


def remove_members(connection: Connection, members: Iterable[Member]) -> None:
    """
    :raises BadRequest: triggers refer to one of them.
    """
    for table, row in members:
        if table is workflows:
            definitions.remove_workflow(connection, row)
        else:
            owned.remove(connection, table, row)


def remove_with_members(connection: Connection, workbook: Row) -> None:
    """The workbook, and all that it has brought (Q-39).

    :raises Conflict: an execution of one of the workflows has not ended.
    :raises BadRequest: a trigger starts one of them.
    """
    declared.remove_all(connection, "workbook", workbook)
    members = members_besides(connection, workbook)
    ids = [row["id"] for table, row in members if table is workflows]
    _refuse_running(connection, ids)
    remove_members(connection, members)
    owned.remove(connection, workbooks, workbook)


def remove(connection: Connection, workbook: Row) -> None:
    """The workbook and its triggers; the members stay."""
    declared.remove_all(connection, "workbook", workbook)
    owned.remove(connection, workbooks, workbook)


def _refuse_running(connection: Connection, workflow_ids: Sequence[str]) -> None:
    runs = workflow_executions
    query = select(runs.c.id, runs.c.workflow_name).where(
        runs.c.workflow_id.in_(workflow_ids), runs.c.state.not_in(FINISHED)
    )
    run = connection.execute(query.limit(1)).first()
    if run is not None:
        raise Conflict(
            f"The workbook cannot be deleted with its workflows: execution {run.id} of"
            f" '{run.workflow_name}' has not ended."
        )


def _put_contents(
    connection: Connection, author: Author, parsed: ParsedWorkbook, workbook: Row
) -> None:
    """Members, and then the triggers that start them."""
    rows = _put_members(connection, author, parsed, workbook)
    for workflow in parsed.workflows:
        row = rows[workflow.spec.name]
        definitions.keep_triggers(connection, author, workflow, row)
    prefix = f"{workbook['name']}."
    started = {name.removeprefix(prefix): row for name, row in rows.items()}
    declared.sync(
        connection, author, "workbook", workbook, parsed.spec.triggers, started
    )


def _put_members(
    connection: Connection, author: Author, parsed: ParsedWorkbook, workbook: Row
) -> dict[str, Row]:
    """The rows of the workflows, by their full names.

    Members have the project, namespace and scope of the workbook; those of other
    projects stay as they are (Q-33).
    """
    rows: dict[str, Row] = {}
    place = Place(workbook["namespace"], workbook["scope"])
    # the policy of workbooks has let it become public
    author = replace(author, may_publish=lambda table: None)
    written = [
        (workflows, definitions.workflow_values(connection, workflow, author.now))
        for workflow in parsed.workflows
    ]
    written += [
        (actions, definitions.action_values(action)) for action in parsed.actions
    ]
    for table, values in written:
        values |= {"workbook_name": workbook["name"], "scope": workbook["scope"]}
        statement = select(table).where(
            table.c.name == values["name"],
            table.c.namespace == workbook["namespace"],
            table.c.project_id == workbook["project_id"],
        )
        row = connection.execute(statement).mappings().first()
        if row is not None:
            row = owned.change(connection, table, author, row, values)
        else:
            mine = {"project_id": workbook["project_id"]}
            new = owned.fresh(author, place) | mine | values
            row = owned.add(connection, table, author, new)
        if table is workflows:
            rows[row["name"]] = row
    return rows
