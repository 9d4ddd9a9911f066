"""What must hold of rows that belong to others: their owner is there."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Table

from mistral.db.models import (
    action_executions,
    documents,
    history,
    join_arrivals,
    message_waits,
    posted_messages,
    task_executions,
    workflow_executions,
)
from mistral.engine.doctor.look import Look, Violation

_OWNED: tuple[tuple[str, Table, str, Table, str], ...] = (
    ("task-without-run", task_executions, "workflow_execution_id",
     workflow_executions, "tasks"),
    ("action-without-task", action_executions, "task_execution_id",
     task_executions, "actions"),
    ("action-without-run", action_executions, "workflow_execution_id",
     workflow_executions, "actions"),
    ("arrival-without-join", join_arrivals, "join_id",
     task_executions, "arrivals at a join"),
    ("document-without-run", documents, "workflow_execution_id",
     workflow_executions, "stored values"),
    ("message-without-run", posted_messages, "workflow_execution_id",
     workflow_executions, "messages"),
    ("wait-without-action", message_waits, "id",
     action_executions, "waits"),
)  # fmt: skip


def owners(look: Look) -> Iterator[Violation]:
    for check, table, key, owner, what in _OWNED:
        for page in look.pages(table, key):
            known = page.known(owner.c.id, page.ids)
            for id in page.ids:
                if id not in known:
                    yield Violation(
                        check,
                        {key: id},
                        f"There are {what} of the {owner.name.removesuffix('s')} {id},"
                        " which is gone.",
                    )


def histories(look: Look) -> Iterator[Violation]:
    """Headers are executions and actions that were run by themselves."""
    for page in look.pages(history, "run_id"):
        known = page.known(workflow_executions.c.id, page.ids)
        known |= page.known(action_executions.c.id, set(page.ids) - known)
        for id in page.ids:
            if id not in known:
                yield Violation(
                    "history-without-owner",
                    {"run_id": id},
                    f"There is a history of {id}, which is gone.",
                )
