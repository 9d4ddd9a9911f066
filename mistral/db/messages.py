"""Messages that executions keep: what the API shows, and whom a trigger reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from mistral.db.models import message_waits, posted_messages, workflow_executions

Row = Mapping[str, Any]


def kept(connection: Connection, execution_id: str) -> Sequence[Row]:
    """Messages that no task has taken, the oldest first."""
    table = posted_messages.c
    query = (
        select(posted_messages)
        .where(table.workflow_execution_id == execution_id, table.taken_by.is_(None))
        .order_by(table.seq)
    )
    return connection.execute(query).mappings().all()


def waiting(
    connection: Connection,
    project_id: str,
    workflow_id: str,
    subject: str,
    most: int,
) -> list[str]:
    """Executions of a project and workflow in which a task waits for this, by id.

    :param most: of them.
    """
    run, wait = workflow_executions.c, message_waits.c
    query = (
        select(run.id)
        .join(message_waits, wait.workflow_execution_id == run.id)
        .where(
            wait.subject == subject,
            run.project_id == project_id,
            run.workflow_id == workflow_id,
        )
        .distinct()
        .order_by(run.id)
        .limit(most)
    )
    return list(connection.scalars(query))


def addressed(
    connection: Connection, project_id: str, workflow_id: str, execution_id: str
) -> list[str]:
    """The execution, if it is one of this project and workflow."""
    run = workflow_executions.c
    query = select(run.id).where(
        run.id == execution_id,
        run.project_id == project_id,
        run.workflow_id == workflow_id,
    )
    return list(connection.scalars(query))
