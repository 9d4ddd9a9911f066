"""Rows that projects own: definitions, environments, triggers.

There is one way for all of them to be looked up, to be checked before a change, and
to be written (SEC-25). Look-ups by name go the nearest way — own, shared, public —
and never fall back to another namespace: callers ask again for the default one
(§ 3 of the language). A write touches exactly one row, after ``to_change`` has seen
that its caller may (Q-34). Everything happens in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from mistral.context import Context
from mistral.db import scope
from mistral.db.models import (
    actions,
    code_sources,
    cron_triggers,
    dynamic_actions,
    environments,
    event_sources,
    event_triggers,
    workbooks,
    workflows,
)
from mistral.errors import Conflict, NotFound

Row = Mapping[str, Any]

Judge = Callable[[Row], None]
"""Raises unless the row is as its caller expects it (``If-Match``)."""

NOUNS: Final[Mapping[Table, str]] = {
    workbooks: "workbook",
    workflows: "workflow",
    actions: "action",
    environments: "environment",
    code_sources: "code source",
    dynamic_actions: "dynamic action",
    cron_triggers: "cron trigger",
    event_triggers: "event trigger",
    event_sources: "event source",
}
"""What messages call a row."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes, when, and how ids are made.

    :param now: the database's clock (``Database.now``).
    :param unchanged: judges a row before it is changed.
    :param may_publish: raises if rows of this table may not be public by them.
    :param triggers: ``declared.Making``, of triggers that definitions have; default:
        as other rows.
    """

    context: Context
    now: datetime
    new_id: Callable[[], str]
    unchanged: Judge | None = None
    may_publish: Callable[[Table], None] = lambda table: None
    triggers: Any = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is put: its namespace, and who shall see it.

    :param scope: None: private, or what it has been.
    """

    namespace: str = ""
    scope: str | None = None


# -- Looking up ---------------------------------------------------------------


def find_named(
    connection: Connection,
    table: Table,
    name: str,
    namespace: str | None,
    project_id: str,
) -> Row | None:
    """Own first, then shared, then public (SEC-24).

    :param namespace: None for what has none.
    """
    statement = select(table).where(
        table.c.name == name, scope.of_project(table, project_id)
    )
    if namespace is not None:
        statement = statement.where(table.c.namespace == namespace)
    statement = statement.order_by(*scope.nearest_first(table, project_id)).limit(1)
    return connection.execute(statement).mappings().first()


def named(
    connection: Connection,
    table: Table,
    name: str,
    namespace: str | None,
    project_id: str,
) -> Row:
    """As ``find_named``.

    :raises NotFound: naming it and its namespace.
    """
    row = find_named(connection, table, name, namespace, project_id)
    if row is None:
        where = "" if namespace is None else f" in namespace '{namespace}'"
        raise NotFound(f"No {NOUNS[table]} '{name}'{where}.")
    return row


def find_by_id(
    connection: Connection, table: Table, identifier: str, context: Context
) -> Row | None:
    """The row of a UUID in any notation; administrators reach every project's
    (§ 5.3). None: the caller sees none, or it is no UUID."""
    try:
        canonical = str(UUID(identifier))
    except ValueError:
        return None
    statement = select(table).where(
        table.c.id == canonical, scope.visible(table, context)
    )
    return connection.execute(statement).mappings().first()


def by_id(
    connection: Connection, table: Table, identifier: str, context: Context
) -> Row:
    """As ``find_by_id``.

    :raises NotFound: naming the id.
    """
    row = find_by_id(connection, table, identifier, context)
    if row is None:
        raise NotFound(f"No {NOUNS[table]} with the id '{identifier}'.")
    return row


def identified(
    connection: Connection,
    table: Table,
    identifier: str,
    namespace: str | None,
    context: Context,
) -> Row:
    """By UUID, whatever its namespace; otherwise by name.

    :param namespace: None for what has none.
    :raises NotFound: naming it and the namespace.
    """
    row = find_by_id(connection, table, identifier, context)
    if row is not None:
        return row
    return named(connection, table, identifier, namespace, context.project_id)


# -- Writing ------------------------------------------------------------------


def to_change(
    connection: Connection,
    table: Table,
    row: Row,
    context: Context,
    unchanged: Judge | None = None,
) -> Row:
    """A row that the caller may change or delete; with ``unchanged``, locked and
    judged, so that nobody changes it in between.

    Everything that changes or deletes a row comes through here.

    :raises Forbidden: it belongs to another project.
    :raises NotFound: it was deleted meanwhile.
    :raises PreconditionFailed: the judge says so.
    """
    scope.require_owner(row, context, f"The {NOUNS[table]} '{_title(row)}'")
    if unchanged is None:
        return row
    statement = select(table).where(table.c.id == row["id"]).with_for_update()
    found = connection.execute(statement).mappings().first()
    if found is None:
        raise deleted(table, row)
    unchanged(found)
    return found


def deleted(table: Table, row: Row) -> NotFound:
    """Of a row that was read, and then somebody else deleted it."""
    return NotFound(f"The {NOUNS[table]} '{_title(row)}' was deleted.")


def refuse_declared(table: Table, row: Row) -> None:
    """A trigger that a definition has changes and goes with it alone.

    :raises Conflict: one has it.
    """
    if row["definition_id"] is not None:
        kind = row["definition_type"]
        raise Conflict(
            f"The {NOUNS[table]} '{_title(row)}' is defined by the {kind}"
            f" {row['definition_id']}: change the text of the {kind}."
        )


def _title(row: Row) -> str:
    return str(row["name"] or row["id"])


def fresh(author: Author, place: Place) -> dict[str, Any]:
    """Columns of a new row that its contents do not say."""
    return {
        "id": author.new_id(),
        "project_id": author.context.project_id,
        "namespace": place.namespace,
        "scope": place.scope or "private",
        "created_at": author.now,
        "updated_at": None,
    }


def check_scope(author: Author, table: Table, scope_: str) -> None:
    """What is written and public afterwards takes a policy of its own, whether it
    becomes public or was (SEC-02).

    :raises Forbidden: the author may not.
    """
    if scope_ == "public":
        author.may_publish(table)


def add(connection: Connection, table: Table, author: Author, values: Row) -> Row:
    """Insert a row.

    :raises Conflict: its name is taken in this project and namespace.
    :raises Forbidden: it is public, and the author may not make it so.
    """
    check_scope(author, table, values["scope"])
    try:
        connection.execute(insert(table).values(dict(values)))
    except IntegrityError:
        where = "in"
        if "namespace" in table.c:
            where = f"in namespace '{values['namespace']}' of"
        raise Conflict(
            f"A {NOUNS[table]} named '{values['name']}' already exists {where} this"
            " project."
        ) from None
    return read(connection, table, values["id"])


def change(
    connection: Connection, table: Table, author: Author, row: Row, values: Row
) -> Row:
    """Write what differs; nothing differs: nothing is touched.

    :raises Conflict: the new name is taken.
    :raises Forbidden: it is public, and the author may not make it so.
    :raises NotFound: it was deleted meanwhile.
    """
    check_scope(author, table, values.get("scope", row["scope"]))
    new = {name: value for name, value in values.items() if row[name] != value}
    if not new:
        return row
    statement = update(table).where(table.c.id == row["id"])
    try:
        changed = connection.execute(statement.values(**new, updated_at=author.now))
    except IntegrityError:
        name = new.get("name", row["name"])
        raise Conflict(f"The name '{name}' is taken in this project.") from None
    if not changed.rowcount:
        raise deleted(table, row)
    return read(connection, table, row["id"])


def remove(connection: Connection, table: Table, row: Row) -> None:
    """Delete exactly this row."""
    connection.execute(delete(table).where(table.c.id == row["id"]))


def read(connection: Connection, table: Table, row_id: str) -> Row:
    """The row of this id, which is there."""
    statement = select(table).where(table.c.id == row_id)
    return connection.execute(statement).mappings().one()
