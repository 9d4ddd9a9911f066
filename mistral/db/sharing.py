"""Memberships: workflows that one project shows to another (§ 5.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from mistral.context import Context
from mistral.db import scope
from mistral.db.models import members, workflows
from mistral.db.owned import Author
from mistral.errors import BadRequest, Conflict, Forbidden, NotFound

Row = Mapping[str, Any]

STATUSES: Final = ("pending", "accepted", "rejected")


def _of(workflow_id: str) -> tuple[ColumnElement[bool], ...]:
    return members.c.resource_id == workflow_id, members.c.resource_type == "workflow"


def _seen(project_id: str) -> ColumnElement[bool]:
    """Memberships that a project gave or got; administrators see no more."""
    return or_(members.c.project_id == project_id, members.c.member_id == project_id)


def all_members(
    connection: Connection, workflow_id: str, context: Context
) -> list[Row]:
    """What the caller's project gave or got, oldest first."""
    statement = (
        select(members)
        .where(*_of(workflow_id), _seen(context.project_id))
        .order_by(members.c.created_at, members.c.id)
    )
    return list(connection.execute(statement).mappings())


def one_member(
    connection: Connection, workflow_id: str, member_id: str, context: Context
) -> Row:
    """:raises NotFound: there is none, or it concerns other projects."""
    statement = select(members).where(
        *_of(workflow_id),
        members.c.member_id == member_id,
        _seen(context.project_id),
    )
    row = connection.execute(statement).mappings().first()
    if row is None:
        raise NotFound(f"Workflow {workflow_id} has no member '{member_id}'.")
    return row


def add_member(
    connection: Connection, author: Author, workflow_id: str, member_id: str
) -> Row:
    """Offer a workflow; only its owner may (Q-38).

    :raises NotFound: the workflow is not visible.
    :raises BadRequest: it is public.
    :raises Forbidden: it belongs to another project.
    :raises Conflict: it is offered to that project already.
    """
    statement = select(workflows).where(
        workflows.c.id == workflow_id, scope.visible(workflows, author.context)
    )
    workflow = connection.execute(statement).mappings().first()
    if workflow is None:
        raise NotFound(f"No workflow {workflow_id}.")
    if workflow["scope"] != "private":
        raise BadRequest("Only a private workflow can be shared.")
    if workflow["project_id"] != author.context.project_id:
        # nor do administrators: what they offer they could not take back (§ 8.4)
        raise Forbidden("The workflow belongs to another project, which may share it.")
    values = {
        "id": author.new_id(),
        "project_id": workflow["project_id"],
        "resource_id": workflow_id,
        "resource_type": "workflow",
        "member_id": member_id,
        "status": "pending",
        "created_at": author.now,
        "updated_at": None,
    }
    try:
        connection.execute(insert(members).values(values))
    except IntegrityError:
        raise Conflict(
            f"Workflow {workflow_id} is shared with '{member_id}' already."
        ) from None
    return values


def answer(
    connection: Connection,
    author: Author,
    workflow_id: str,
    member_id: str,
    status: str,
) -> Row:
    """The receiving project accepts or rejects, for itself only.

    :raises NotFound: it is not the caller's, or there is none.
    """
    row = one_member(connection, workflow_id, member_id, author.context)
    if member_id != author.context.project_id:
        raise NotFound(f"Workflow {workflow_id} is not shared with this project.")
    changes = {"status": status, "updated_at": author.now}
    statement = update(members).where(members.c.id == row["id"])
    connection.execute(statement.values(changes))
    return {**row, **changes}


def remove_member(
    connection: Connection, workflow_id: str, member_id: str, context: Context
) -> None:
    """:raises NotFound: there is none that the caller's project gave."""
    row = one_member(connection, workflow_id, member_id, context)
    if row["project_id"] != context.project_id:
        raise NotFound(f"Workflow {workflow_id} is not shared by this project.")
    connection.execute(delete(members).where(members.c.id == row["id"]))
