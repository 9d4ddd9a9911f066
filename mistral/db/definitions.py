"""What users define: workflows, ad-hoc actions, environments.

Reads by name go the nearest way — own, shared, public — and never fall back to
another namespace: callers ask again for the default one (§ 3 of the language).
Writes touch exactly one object of a name, and only its owner or an
administrator may (Q-34). Everything happens in the caller's transaction.

A workflow is stored with the spec that runs use; its body stands once in
``frozen_specs`` under the SHA-256 of its text, whatever becomes of the
definition later (ENG-017).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from mistral.context import Context
from mistral.db import bulk, references, scope
from mistral.db.models import (
    actions,
    environments,
    frozen_specs,
    members,
    workflows,
)
from mistral.db.preconditions import Judge, held
from mistral.errors import BadRequest, Bug, Conflict, NotFound
from mistral.lang.parse import ParsedAction, ParsedWorkflow
from mistral.lang.specs import REQUIRED, InputDeclaration

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes, when, and how ids are made.

    :param now: the database's clock (``Database.now``).
    :param unchanged: judges a row before it is changed.
    """

    context: Context
    now: datetime
    new_id: Callable[[], str]
    unchanged: Judge | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a definition is put: its namespace, and who shall see it."""

    namespace: str = ""
    scope: str = "private"


# -- Reads for the engine -----------------------------------------------------


def find_workflow(
    connection: Connection,
    *,
    id: str | None = None,
    name: str | None = None,
    namespace: str = "",
    project_id: str,
    is_admin: bool = False,
) -> Row | None:
    """The workflow that a project means; ``id`` wins over ``name``.

    :param is_admin: by id, administrators reach every project's (§ 5.3).
    """
    if id is not None:
        statement = select(workflows).where(workflows.c.id == id)
        if not is_admin:
            statement = statement.where(scope.of_project(workflows, project_id))
        return connection.execute(statement).mappings().first()
    if name is None:
        return None
    return find_named(connection, workflows, name, namespace, project_id)


def find_adhoc_action(
    connection: Connection, name: str, namespace: str, project_id: str
) -> Row | None:
    """The ad-hoc action of that name in exactly that namespace."""
    return find_named(connection, actions, name, namespace, project_id)


def find_environment(connection: Connection, name: str, project_id: str) -> Row | None:
    """The environment of that name; ``variables`` is a mapping."""
    return find_named(connection, environments, name, None, project_id)


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


def spec_body(connection: Connection, spec_id: str) -> dict[str, Any]:
    """The normalised body of a frozen spec.

    :raises Bug: there is none of that id.
    """
    statement = select(frozen_specs.c.body).where(frozen_specs.c.id == spec_id)
    body = connection.execute(statement).scalar_one_or_none()
    if body is None:
        raise Bug(f"There is no frozen spec {spec_id}")
    return dict(body)


def freeze(connection: Connection, body: Mapping[str, Any], now: datetime) -> str:
    """Keep a body; answers its id. The same text is kept once."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    spec_id = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    row = {"id": spec_id, "body": dict(body), "created_at": now}
    bulk.insert_missing(connection, frozen_specs, [row])
    return spec_id


# -- Look-ups for the API -----------------------------------------------------


def named(
    connection: Connection,
    table: Table,
    what: str,
    name: str,
    namespace: str | None,
    project_id: str,
) -> Row:
    """As ``find_named``.

    :param what: for the message: ``workflow``, ``action`` …
    :raises NotFound: naming it and its namespace.
    """
    row = find_named(connection, table, name, namespace, project_id)
    if row is None:
        where = "" if namespace is None else f" in namespace '{namespace}'"
        raise NotFound(f"No {what} '{name}'{where}.")
    return row


def identified(
    connection: Connection,
    table: Table,
    what: str,
    identifier: str,
    namespace: str | None,
    context: Context,
) -> Row:
    """By UUID, whatever its namespace; otherwise by name.

    :param namespace: None for what has none.

    :raises NotFound: naming it and the namespace.
    """
    try:
        canonical = str(UUID(identifier))
    except ValueError:
        canonical = ""
    if canonical:
        statement = select(table).where(
            table.c.id == canonical, scope.visible(table, context)
        )
        row = connection.execute(statement).mappings().first()
        if row is not None:
            return row
    return named(connection, table, what, identifier, namespace, context.project_id)


# -- One row ------------------------------------------------------------------


def add(connection: Connection, table: Table, values: Row, what: str) -> Row:
    """Insert a row.

    :raises Conflict: its name is taken in this project and namespace.
    """
    try:
        connection.execute(insert(table).values(dict(values)))
    except IntegrityError:
        where = ""
        if "namespace" in table.c:
            where = f" in namespace '{values['namespace']}'"
        raise Conflict(
            f"{what} '{values['name']}' already exists{where} of this project."
        ) from None
    return read(connection, table, values["id"])


def change(
    connection: Connection, table: Table, row: Row, values: Row, now: datetime
) -> Row:
    """Write what differs; nothing differs: nothing is touched.

    :raises Conflict: the new name is taken.
    """
    new = {name: value for name, value in values.items() if row[name] != value}
    if not new:
        return row
    statement = update(table).where(table.c.id == row["id"])
    try:
        connection.execute(statement.values(**new, updated_at=now))
    except IntegrityError:
        name = new.get("name", row["name"])
        raise Conflict(f"The name '{name}' is taken in this project.") from None
    return read(connection, table, row["id"])


def remove(
    connection: Connection,
    table: Table,
    row: Row,
    context: Context,
    what: str,
    unchanged: Judge | None = None,
) -> None:
    """Delete exactly this row.

    :param unchanged: judges it first.
    :raises Forbidden: it belongs to another project.
    :raises BadRequest: it is a workflow that triggers refer to.
    """
    scope.require_owner(row, context, f"The {what} '{row['name']}'")
    held(connection, table, row, unchanged)
    if table is workflows:
        references.require_unused(connection, row)
        connection.execute(delete(members).where(members.c.resource_id == row["id"]))
    connection.execute(delete(table).where(table.c.id == row["id"]))


def read(connection: Connection, table: Table, row_id: str) -> Row:
    """The row of this id, which is there."""
    statement = select(table).where(table.c.id == row_id)
    return connection.execute(statement).mappings().one()


def fresh(author: Author, place: Place) -> dict[str, Any]:
    """Columns of a new row that its text does not say."""
    return {
        "id": author.new_id(),
        "project_id": author.context.project_id,
        "namespace": place.namespace,
        "scope": place.scope,
        "created_at": author.now,
        "updated_at": None,
    }


# -- Workflows ----------------------------------------------------------------


def workflow_values(
    connection: Connection, parsed: ParsedWorkflow, now: datetime
) -> dict[str, Any]:
    """Columns that the text says; its body is frozen."""
    spec = parsed.spec
    return {
        "name": spec.name,
        "tags": list(spec.tags),
        "definition": parsed.text,
        "spec": dict(spec.body),
        "spec_id": freeze(connection, spec.body, now),
        "checksum": parsed.checksum or "",
    }


def create_workflows(
    connection: Connection,
    author: Author,
    parsed: Sequence[ParsedWorkflow],
    place: Place,
) -> list[Row]:
    """All of a document (LANG-028).

    :raises Conflict: one of the names is taken.
    """
    return [
        add(
            connection,
            workflows,
            fresh(author, place) | workflow_values(connection, workflow, author.now),
            "A workflow",
        )
        for workflow in parsed
    ]


def update_workflows(
    connection: Connection,
    author: Author,
    parsed: Sequence[ParsedWorkflow],
    place: Place,
    identifier: str | None = None,
) -> list[Row]:
    """All of a document, each found by its name, or the one of ``identifier``,
    which may get another name and keeps its namespace unless another is given
    (Q-40). Runs keep the spec they started with.

    :raises NotFound: one of them does not exist; nothing may be committed then.
    :raises Forbidden: one belongs to another project, or is to become private
        although triggers of other projects start it.
    """
    if identifier is not None and len(parsed) != 1:
        raise BadRequest(
            "Exactly one workflow is expected when one is updated by its identifier,"
            f" found {len(parsed)}."
        )
    changed = []
    for workflow in parsed:
        name = workflow.spec.name if identifier is None else identifier
        row = identified(
            connection, workflows, "workflow", name, place.namespace, author.context
        )
        scope.require_owner(row, author.context, f"The workflow '{row['name']}'")
        row = held(connection, workflows, row, author.unchanged)
        if row["scope"] == "public" and place.scope != "public":
            references.require_unused_elsewhere(connection, row)
        values = workflow_values(connection, workflow, author.now)
        values["scope"] = place.scope
        if place.namespace:
            values["namespace"] = place.namespace
        changed.append(change(connection, workflows, row, values, author.now))
    return changed


# -- Ad-hoc actions -----------------------------------------------------------


def input_summary(declared: InputDeclaration) -> str:
    """``a, b=1``: defaults as JSON (spec/rest-api.md § 8.5)."""
    return ", ".join(
        name if default is REQUIRED else f"{name}={json.dumps(default)}"
        for name, default in declared.items()
    )


def action_values(parsed: ParsedAction) -> dict[str, Any]:
    """Columns that the text says."""
    spec = parsed.spec
    return {
        "name": spec.name,
        "description": spec.description,
        "tags": list(spec.tags),
        "input": input_summary(spec.input),
        "definition": parsed.text,
        "spec": dict(spec.body),
    }


def create_actions(
    connection: Connection,
    author: Author,
    parsed: Sequence[ParsedAction],
    place: Place,
) -> list[Row]:
    """All of a document.

    :raises Conflict: one of the names is taken.
    """
    return [
        add(
            connection,
            actions,
            fresh(author, place) | action_values(action),
            "An action",
        )
        for action in parsed
    ]


def update_actions(
    connection: Connection,
    author: Author,
    parsed: Sequence[ParsedAction],
    place: Place,
    identifier: str | None = None,
) -> list[Row]:
    """As ``update_workflows``; only the given namespace is looked at (Q-46)."""
    if identifier is not None and len(parsed) != 1:
        raise BadRequest(
            "Exactly one action is expected when one is updated by its identifier,"
            f" found {len(parsed)}."
        )
    changed = []
    for action in parsed:
        name = action.spec.name if identifier is None else identifier
        row = identified(
            connection, actions, "action", name, place.namespace, author.context
        )
        scope.require_owner(row, author.context, f"The action '{row['name']}'")
        row = held(connection, actions, row, author.unchanged)
        values = action_values(action) | {"scope": place.scope}
        changed.append(change(connection, actions, row, values, author.now))
    return changed


# -- Environments -------------------------------------------------------------


def create_environment(
    connection: Connection, author: Author, values: Mapping[str, Any]
) -> Row:
    """:param values: ``name``, and what was sent of ``description``,
    ``variables``, ``scope``.
    :raises Conflict: the name is taken."""
    row = {**fresh(author, Place()), "variables": {}, **values}
    del row["namespace"]
    return add(connection, environments, row, "An environment")


def update_environment(
    connection: Connection, author: Author, values: Mapping[str, Any]
) -> Row:
    """Only the given keys change; ``variables`` is replaced as a whole.

    :raises NotFound: no environment of that name.
    :raises Forbidden: it belongs to another project.
    """
    context = author.context
    name = values["name"]
    row = named(connection, environments, "environment", name, None, context.project_id)
    scope.require_owner(row, context, f"The environment '{name}'")
    row = held(connection, environments, row, author.unchanged)
    return change(connection, environments, row, values, author.now)
