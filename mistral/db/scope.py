"""The one place that says what a project may see.

A row is visible if it belongs to the project, is public, or — a workflow — is
shared with the project and accepted (spec/rest-api.md § 5.3). What runs is never
public. Administrators see all rows (Q-23). A name means the project's own row first,
then a shared one, then a public one; administrators' names, too (SEC-24, Q-33).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, case, or_, select, true

from mistral.context import Context
from mistral.db import removals
from mistral.db.models import (
    action_executions,
    members,
    task_executions,
    workflow_executions,
    workflows,
)
from mistral.errors import Forbidden


def _shared(table: Table, project_id: str) -> ColumnElement[bool]:
    accepted = select(members.c.resource_id).where(
        members.c.resource_type == "workflow",
        members.c.member_id == project_id,
        members.c.status == "accepted",
    )
    return table.c.id.in_(accepted)


def of_project(table: Table, project_id: str) -> ColumnElement[bool]:
    """Rows that a project sees without being an administrator."""
    seen: list[ColumnElement[bool]] = [table.c.project_id == project_id]
    # Nobody can publish an execution: an OR would keep its lists from the index.
    if "scope" in table.c and table is not workflow_executions:
        seen.append(table.c.scope == "public")
    if table is workflows:
        seen.append(_shared(table, project_id))
    return and_(or_(*seen), removals.hidden(table)) if table in _RUN else or_(*seen)


def visible(table: Table, context: Context) -> ColumnElement[bool]:
    """Rows that this caller sees."""
    if context.is_admin:
        return of_all(table)
    return of_project(table, context.project_id)


def of_all(table: Table) -> ColumnElement[bool]:
    """Rows that an administrator sees."""
    return removals.hidden(table) if table in _RUN else true()


_RUN: Final = (workflow_executions, task_executions, action_executions)
"""Tables whose rows nobody sees any more as soon as they are deleted."""


def nearest_first(table: Table, project_id: str) -> tuple[ColumnElement[Any], ...]:
    """``ORDER BY`` of a look-up by name among ``of_project`` rows: own, shared,
    public; the oldest of these."""
    whens = [(table.c.project_id == project_id, 0)]
    if table is workflows:
        whens.append((_shared(table, project_id), 1))
    return case(*whens, else_=2), table.c.created_at, table.c.id


def require_owner(row: Mapping[str, Any], context: Context, what: str) -> None:
    """Only the owner or an administrator changes what others may see (Q-34).

    :raises Forbidden: naming ``what``.
    """
    if row["project_id"] != context.project_id and not context.is_admin:
        raise Forbidden(f"{what} belongs to another project.")
