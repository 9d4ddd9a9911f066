"""What users define: workflows, ad-hoc actions, environments.

How their rows are looked up and written stands in ``owned.py``. A workflow is stored
with the spec that runs use; its body stands once in ``frozen_specs`` under the
SHA-256 of its text, whatever becomes of the definition later (ENG-017).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, select

from mistral.db import bulk, declared, owned, references, scope
from mistral.db.models import (
    actions,
    environments,
    frozen_specs,
    members,
    workflows,
)
from mistral.db.owned import Author, Place, Row
from mistral.errors import BadRequest, Bug
from mistral.lang.parse import ParsedAction, ParsedWorkflow
from mistral.lang.specs import REQUIRED, InputDeclaration

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
    return owned.find_named(connection, workflows, name, namespace, project_id)


def find_adhoc_action(
    connection: Connection, name: str, namespace: str, project_id: str
) -> Row | None:
    """The ad-hoc action of that name in exactly that namespace."""
    return owned.find_named(connection, actions, name, namespace, project_id)


def find_environment(connection: Connection, name: str, project_id: str) -> Row | None:
    """The environment of that name; ``variables`` is a mapping or None."""
    return owned.find_named(connection, environments, name, None, project_id)


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


# -- Workflows ----------------------------------------------------------------


def workflow_summary(declared: Sequence[Any]) -> str:
    """``x, y="5"``: what dashboards make a form of; the notation of defaults is
    that of the first implementation (spec/rest-api.md § 8.2)."""
    parts: list[str] = []
    for parameter in declared:
        if isinstance(parameter, Mapping):
            parts += [f'{name}="{value}"' for name, value in parameter.items()]
        else:
            parts.append(str(parameter))
    return ", ".join(parts)


def workflow_values(
    connection: Connection, parsed: ParsedWorkflow, now: datetime
) -> dict[str, Any]:
    """Columns that the text says; its body is frozen."""
    spec = parsed.spec
    return {
        "name": spec.name,
        "tags": list(spec.tags),
        "input": workflow_summary(spec.body.get("input") or ()),
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
    made = []
    for workflow in parsed:
        values = workflow_values(connection, workflow, author.now)
        new = owned.fresh(author, place) | values
        row = owned.add(connection, workflows, author, new)
        keep_triggers(connection, author, workflow, row)
        made.append(row)
    return made


def keep_triggers(
    connection: Connection, author: Author, parsed: ParsedWorkflow, row: Row
) -> None:
    """A workflow has the triggers of its text."""
    started = {parsed.spec.name: row}
    declared.sync(connection, author, "workflow", row, parsed.spec.triggers, started)


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
    _refuse_several(workflows, parsed, identifier)
    changed = []
    for workflow in parsed:
        name = workflow.spec.name if identifier is None else identifier
        row = _to_update(connection, author, workflows, name, place)
        if row["scope"] == "public" and place.scope == "private":
            references.require_unused_elsewhere(connection, row)
        values = workflow_values(connection, workflow, author.now)
        values["scope"] = place.scope or row["scope"]
        if place.namespace:
            values["namespace"] = place.namespace
        row = owned.change(connection, workflows, author, row, values)
        keep_triggers(connection, author, workflow, row)
        changed.append(row)
    return changed


def _refuse_several(
    table: Table, parsed: Sequence[Any], identifier: str | None
) -> None:
    if identifier is not None and len(parsed) != 1:
        raise BadRequest(
            f"Exactly one {owned.NOUNS[table]} is expected when one is updated by its"
            f" identifier, found {len(parsed)}."
        )


def _to_update(
    connection: Connection, author: Author, table: Table, name: str, place: Place
) -> Row:
    context = author.context
    row = owned.identified(connection, table, name, place.namespace, context)
    return owned.to_change(connection, table, row, context, author.unchanged)


def remove_workflow(connection: Connection, workflow: Row) -> None:
    """With its memberships, and the triggers of its text.

    :raises BadRequest: other triggers refer to it.
    """
    declared.remove_all(connection, "workflow", workflow)
    references.require_unused(connection, workflow)
    connection.execute(delete(members).where(members.c.resource_id == workflow["id"]))
    owned.remove(connection, workflows, workflow)


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
        owned.add(
            connection,
            actions,
            author,
            owned.fresh(author, place) | action_values(action),
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
    _refuse_several(actions, parsed, identifier)
    changed = []
    for action in parsed:
        name = action.spec.name if identifier is None else identifier
        row = _to_update(connection, author, actions, name, place)
        values = action_values(action) | {"scope": place.scope or row["scope"]}
        changed.append(owned.change(connection, actions, author, row, values))
    return changed


# -- Environments -------------------------------------------------------------


def create_environment(
    connection: Connection, author: Author, values: Mapping[str, Any]
) -> Row:
    """:param values: ``name``, and what was sent of ``description``,
    ``variables``, ``scope``.
    :raises Conflict: the name is taken."""
    row = {**owned.fresh(author, Place()), **values}
    del row["namespace"]
    return owned.add(connection, environments, author, row)


def update_environment(
    connection: Connection, author: Author, values: Mapping[str, Any]
) -> Row:
    """Only the given keys change; ``variables`` is replaced as a whole.

    :raises NotFound: no environment of that name.
    :raises Forbidden: it belongs to another project.
    """
    context, table = author.context, environments
    row = owned.named(connection, table, values["name"], None, context.project_id)
    row = owned.to_change(connection, table, row, context, author.unchanged)
    return owned.change(connection, table, author, row, values)
