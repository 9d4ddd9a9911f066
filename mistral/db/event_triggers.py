"""Event triggers: rows, and the outbox rows by which they start workflows or send
messages to executions.

A firing is an outbox row whose id, and the id of the execution that it starts,
follow from the trigger and from the notification: heard twice, it is the same
row and the same execution.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from mistral.db import (
    bulk,
    event_firings,
    heard_events,
    maintenance,
    messages,
    owned,
    scope,
    trusts,
)
from mistral.db.models import event_triggers, outbox, workflows
from mistral.db.owned import Author, Place
from mistral.errors import BadRequest, Conflict, NotFound
from mistral.messages import PostMessage, StartWorkflow, encode, subject_of

Row = Mapping[str, Any]

UNSAID: Final[Row] = {
    "input_mapping": None,
    "definition_type": None,
    "definition_id": None,
    "declared": None,
}
"""Columns of a trigger of which nothing is said."""

Source = tuple[str, str]
"""Exchange and topic."""

HTTP: Final = "http"
"""The exchange of events that come over HTTP; the topic is the name of their source.
No event engine listens there."""

MOST_TOLD: Final = 10_000
"""Executions that one event can reach."""


# -- What users do ------------------------------------------------------------


def workflow_of(connection: Connection, workflow_id: str, project_id: str) -> Row:
    """The workflow that a trigger of this project would start; it cannot be
    deleted before the transaction ends.

    :raises NotFound: there is none that the project sees.
    """
    bulk.lock(connection, workflows, [workflow_id], ("id",))
    visible = scope.of_project(workflows, project_id)
    query = select(workflows).where(workflows.c.id == workflow_id, visible)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"No workflow {workflow_id}.")
    return row


def create(
    connection: Connection, author: Author, values: Mapping[str, Any], most: int
) -> Row:
    """A trigger of the author's project.

    :param values: the columns ``name``, ``scope``, ``workflow_id``,
        ``workflow_input``, ``workflow_params``, ``exchange``, ``topic``, ``event``;
        ``id``, ``context`` and ``message`` where they are known already.
    :param most: sources that all triggers together may listen to.
    :raises Conflict: the project has one for this event and workflow.
    :raises BadRequest: it would be one source too many.
    """
    context = author.context.for_later().to_dict()
    row = {**owned.fresh(author, Place()), **UNSAID, "context": context, **values}
    del row["namespace"]
    owned.check_scope(author, event_triggers, row["scope"])
    _check_room(connection, row, most)
    _write(connection, insert(event_triggers).values(row))
    trusts.keep(connection, row["id"])
    return row


def _check_room(connection: Connection, row: Row, most: int) -> None:
    table = event_triggers.c
    known = select(table.id).where(
        table.exchange == row["exchange"], table.topic == row["topic"]
    )
    if row["exchange"] == HTTP or connection.execute(known.limit(1)).first():
        return
    sources = (
        select(table.exchange, table.topic)
        .where(table.exchange != HTTP)
        .distinct()
        .limit(most)
    )
    if len(connection.execute(sources).all()) < most:
        return
    raise BadRequest(
        f"Event triggers listen to {most} exchanges and topics already, as many as"
        " [event_engine] max_sources allows; use one of these."
    )


def change(connection: Connection, author: Author, row: Row, values: Row) -> Row:
    """Write what differs; nothing differs: nothing is touched.

    :raises Forbidden: it is public, and the author may not make it so.
    :raises Conflict: the project has one for this event and the new workflow.
    :raises NotFound: it was deleted meanwhile.
    """
    scope = values.get("scope", row["scope"])
    owned.check_scope(author, event_triggers, scope)
    new = {name: value for name, value in values.items() if row[name] != value}
    if not new:
        return row
    statement = update(event_triggers).where(event_triggers.c.id == row["id"])
    if not _write(connection, statement.values(**new, updated_at=author.now)):
        raise owned.deleted(event_triggers, row)
    return owned.read(connection, event_triggers, row["id"])


def change_declared(
    connection: Connection, author: Author, row: Row, values: Row, most: int
) -> Row:
    """As ``change``, by the definition that has it; what it listens to, too.

    :param most: as for ``create``.
    :raises BadRequest: it would be one source too many.
    """
    wanted = {**row, **values}
    if any(wanted[name] != row[name] for name in ("exchange", "topic")):
        _check_room(connection, wanted, most)
    return change(connection, author, row, values)


def _write(connection: Connection, statement: Any) -> int:
    """How many rows it was."""
    try:
        return connection.execute(statement).rowcount
    except IntegrityError:
        raise Conflict(
            "This project has an event trigger for this exchange, topic, event and"
            " workflow already."
        ) from None


def remove_apart(connection: Connection, row: Row) -> None:
    """As ``remove``.

    :raises Conflict: a definition has it.
    """
    owned.refuse_declared(event_triggers, row)
    remove(connection, row)


def remove(connection: Connection, row: Row) -> None:
    """With the trust that its runs had, and what came of its events."""
    trusts.release(connection, row["id"])
    event_firings.remove_of(connection, row["id"])
    owned.remove(connection, event_triggers, row)


# -- What event engines ask ---------------------------------------------------


def watched(connection: Connection) -> dict[Source, set[str]]:
    """Event types by source, the oldest source first."""
    table = event_triggers.c
    query = (
        select(table.exchange, table.topic, table.event)
        .where(table.exchange != HTTP)
        .group_by(table.exchange, table.topic, table.event)
        .order_by(func.min(table.created_at), table.exchange, table.topic, table.event)
    )
    found: dict[Source, set[str]] = {}
    for exchange, topic, event in connection.execute(query):
        found.setdefault((exchange, topic), set()).add(event)
    return found


def of_event(
    connection: Connection, exchange: str, topic: str, event: str
) -> Sequence[Row]:
    """The triggers of all projects for an event, oldest first."""
    table = event_triggers.c
    query = (
        select(event_triggers)
        .where(table.exchange == exchange, table.topic == topic, table.event == event)
        .order_by(table.created_at, table.id)
    )
    return connection.execute(query).mappings().all()


@dataclass(frozen=True, slots=True)
class Told:
    """What a trigger tells executions, made of an event.

    :param execution_id: whom; None: all of its workflow in which a task waits for it.
    """

    name: str
    key: str | None
    payload: Any
    execution_id: str | None


def fire(
    connection: Connection,
    triggers: Iterable[Row],
    source: tuple[str, ...],
    notification_id: str,
    event_params: Mapping[str, Any],
    told: Mapping[str, Told],
    now: datetime,
    faults: Mapping[str, str] | None = None,
) -> int:
    """Let these triggers start their workflows, or send their messages; whoever of
    the engines finds the rows first does it.

    The only place through which an event trigger does anything.

    :param source: who gave the notification its id.
    :param event_params: for ``params.event_params`` (ENG-226).
    :param told: messages, by trigger.
    :param faults: by trigger: why its message could not be made, or parts of its
        input.
    :returns: how many fired: none during maintenance (ENG-225), when the event
        is dropped, and none when it has come before.
    """
    if maintenance.share(connection) is not maintenance.Status.RUNNING:
        return 0
    if not heard_events.is_new(connection, source, notification_id, now):
        return 0
    rows: list[dict[str, Any]] = []
    firings = []
    for row in triggers:
        new, firing = _fired(
            connection, row, notification_id, event_params, told, faults or {}, now
        )
        rows += new
        firings.append(firing)
    bulk.insert_missing(connection, outbox, rows)
    event_firings.keep(connection, firings)
    return len(firings)


def _fired(
    connection: Connection,
    row: Row,
    notification_id: str,
    event_params: Mapping[str, Any],
    told: Mapping[str, Told],
    faults: Mapping[str, str],
    now: datetime,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows for the outbox, and the row that says so of one trigger."""
    rows: list[dict[str, Any]] = []
    more: dict[str, Any] = {"reason": faults.get(row["id"])}
    id = execution_id(row["id"], notification_id)
    if row["message"] is None:
        outcome = "started"
        rows = [_firing(row, notification_id, event_params, now)]
        more |= {"execution_id": id, "reached": 1}
    elif row["id"] in told:
        message = told[row["id"]]
        rows = _messages(connection, row, notification_id, message, now)
        outcome = "sent" if rows else "unheard"
        more["reached"] = len(rows)
        if len(rows) == 1:
            more["execution_id"] = rows[0]["run_id"]
        if not rows:
            more["reason"] = _unheard(message)
    else:
        outcome = "failed"
    return rows, event_firings.made(
        id, row["id"], notification_id, outcome, now, **more
    )


def _unheard(told: Told) -> str:
    if told.execution_id is not None:
        return "The workflow of the trigger has no execution with the id that is named."
    return "No execution of the workflow waited for a message of this name and key."


def execution_id(trigger_id: str, notification_id: str) -> str:
    """The run of one firing: the same however often the event is heard."""
    return str(uuid5(UUID(trigger_id), notification_id))


def _messages(
    connection: Connection,
    row: Row,
    notification_id: str,
    told: Told,
    now: datetime,
) -> list[dict[str, Any]]:
    """Rows that carry the message of one firing to the executions that it is for."""
    if told.execution_id is None:
        subject = subject_of(told.name, told.key)
        ids = messages.waiting(
            connection, row["project_id"], row["workflow_id"], subject, MOST_TOLD
        )
    else:
        ids = messages.addressed(
            connection, row["project_id"], row["workflow_id"], told.execution_id
        )
    return [_message(row, run_id, notification_id, told, now) for run_id in ids]


def _message(
    row: Row, run_id: str, notification_id: str, told: Told, now: datetime
) -> dict[str, Any]:
    row_id = execution_id(row["id"], f"{run_id} {notification_id}")
    message = PostMessage(
        run_id=run_id,
        request_id=row_id,
        message_id=row_id,
        name=told.name,
        key=told.key,
        payload=told.payload,
        trigger={**_link(row), "firing": execution_id(row["id"], notification_id)},
        context=row["context"],
    )
    return {
        "id": row_id,
        "due_at": now,
        "kind": PostMessage.__name__,
        "payload": encode(message),
        "run_id": run_id,
        "created_at": now,
    }


def _link(row: Row) -> dict[str, Any]:
    return {"type": "event_trigger", "id": row["id"], "name": row["name"]}


def _firing(
    row: Row, notification_id: str, event_params: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    run_id = execution_id(row["id"], notification_id)
    link = _link(row)
    text = f"Workflow execution created by event trigger '({row['id']})'."
    start = StartWorkflow(
        run_id=run_id,
        # heard again when the execution was deleted meanwhile: answered already
        request_id=run_id,
        workflow_id=row["workflow_id"],
        input=row["workflow_input"],
        params={**row["workflow_params"], "event_params": event_params},
        description=json.dumps({"description": text, "triggered_by": link}),
        trigger=link,
        context=row["context"],
    )
    return {
        "id": run_id,
        "due_at": now,
        "kind": StartWorkflow.__name__,
        "payload": encode(start),
        "run_id": run_id,
        "created_at": now,
    }
