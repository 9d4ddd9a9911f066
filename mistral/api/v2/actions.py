"""``/v2/actions`` (spec/rest-api.md § 8.5): ad-hoc actions, which are rows; dynamic
ones, and those of the registry, which are read only. A name means them in this
order. No code is run to show any of them (Q-45)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select

from mistral.actions.signatures import describe_dynamic
from mistral.api import etags, listing, uploads
from mistral.api.policy import OPEN
from mistral.api.rest import ANY, Call, Resource, Route, upload
from mistral.api.types import Date, ResourceType, Tags, Text
from mistral.api.v2 import action_list
from mistral.db import code_sources, definitions, scope
from mistral.db.listing import Kind, Listing, Query
from mistral.db.models import actions
from mistral.errors import BadRequest, NotFound
from mistral.lang.parse import check_actions, parse_actions

LISTING: Final = Listing(
    actions,
    filters=dict.fromkeys(
        (
            "name",
            "namespace",
            "scope",
            "description",
            "definition",
            "input",
            "is_system",
        ),
        Kind.TEXT,
    )
    | {"tags": Kind.TAGS, "created_at": Kind.DATE, "updated_at": Kind.DATE},
)


class Action(ResourceType):
    id = Text
    name = Text
    is_system = bool
    input = Text
    description = Text
    tags = Tags
    definition = Text
    scope = Text
    project_id = Text
    created_at = Date
    updated_at = Date
    namespace = Text


def refuse_builtin(call: Call, name: str) -> None:
    """Nobody takes the name of an action that everybody uses (Q-47).

    :raises BadRequest: the registry has it.
    """
    if call.services.registry.find(name) is not None:
        raise BadRequest(f"'{name}' is the name of a built-in action.")


def _of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "tags": row.get("tags") or [], "input": row.get("input") or ""}


def _needed(query: Query) -> set[str]:
    """Columns that a list shows, filters by or sorts by: texts of definitions
    are long."""
    if query.fields is None:
        return set(Action.attributes())
    compared = {condition.name for condition in query.conditions}
    return {"name", *query.fields, *compared, *(name for name, _ in query.sort)}


def _of_registry(descriptor: Any) -> dict[str, Any]:
    """Built-in actions have their name as id, and no dates."""
    return {
        "id": descriptor.name,
        "name": descriptor.name,
        "is_system": True,
        "input": descriptor.input_text,
        "description": descriptor.description,
        "tags": list(descriptor.tags) or None,
        "definition": "",
        "scope": None,
        "project_id": None,
        "created_at": "",
        "updated_at": "",
        "namespace": "",
    }


def _uploaded(rows: Sequence[Mapping[str, Any]], *, created: bool) -> dict[str, Any]:
    shaped = []
    for row in rows:
        values = {**_of_row(row), "input": row["input"] or None}
        if created:
            del values["updated_at"]
        shaped.append(Action.shape(values))
    return {"actions": shaped}


def _of_code(row: Mapping[str, Any]) -> dict[str, Any]:
    """Dynamic actions have their name as id, and no dates."""
    entry = _of_registry(describe_dynamic(row))
    shown = {name: row[name] for name in ("scope", "project_id", "namespace")}
    return {**entry, "is_system": False, **shown}


class Actions(Resource):
    """The path may end in the namespace, ``/v2/actions/{name}/{namespace}``."""

    routes = (
        upload("POST", "validate", "validate", OPEN),
        Route("GET", "", "get_all", "actions:list", query=ANY),
        upload("POST", "", "post", "actions:create", 201),
        upload("PUT", "", "put", "actions:update"),
        *(
            route
            for path, known in (
                ("{name}", frozenset({"namespace"})),
                ("{name}/{namespace}", frozenset[str]()),
            )
            for route in (
                Route("GET", path, "get_one", "actions:get", query=known),
                upload("PUT", path, "put", "actions:update"),
                Route("DELETE", path, "delete", "actions:delete", 204, query=known),
            )
        ),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        query = listing.ask(
            call,
            LISTING,
            Action.attributes(),
            sortable=Action.attributes(),
            default_sort="name",
            unlimited=True,
            any_marker=True,
        )
        columns = [actions.c[name] for name in _needed(query)]
        statement = select(*columns).where(scope.visible(actions, call.context))
        if "namespace" not in call.query:
            statement = statement.where(actions.c.namespace == "")
        rows: Sequence[Mapping[str, Any]] = ()
        if call.services.registry.serves("adhoc"):
            with call.services.database.read() as connection:
                rows = [dict(r) for r in connection.execute(statement).mappings()]
        descriptors = call.services.registry.all(project_id=call.context.project_id)
        entries = [_of_row(row) for row in rows]
        entries += [_of_code(row) for row in self._dynamic(call)]
        entries += [_of_registry(descriptor) for descriptor in descriptors]
        shaped = [
            Action.shape(entry, query.fields)
            for entry in action_list.page(entries, query)
        ]
        return listing.envelope(call, "actions", query, shaped)

    def _dynamic(self, call: Call) -> Sequence[Mapping[str, Any]]:
        if not call.services.registry.serves_dynamic():
            return ()
        namespace = None if "namespace" in call.query else ""
        with call.services.database.read() as connection:
            return code_sources.all_runnable(connection, call.context, namespace)

    def get_one(self, call: Call, name: str, namespace: str | None = None) -> Any:
        if namespace is None:
            namespace = uploads.namespace_of(call)
        project, registry = call.context.project_id, call.services.registry
        row = code = None
        with call.services.database.read() as connection:
            if registry.serves("adhoc"):
                for space in dict.fromkeys((namespace, "")):
                    row = row or definitions.find_adhoc_action(
                        connection, name, space, project
                    )
            if registry.serves_dynamic():
                code = code_sources.runnable(connection, name, namespace, project)
        if row is not None:
            return etags.shown(call, row, Action.shape(_of_row(row)))
        if code is not None:
            return Action.shape(_of_code(code))
        descriptor = registry.find(name, namespace, project_id=project)
        if descriptor is None:
            raise NotFound(f"No action '{name}' in namespace '{namespace}'.")
        return Action.shape(_of_registry(descriptor))

    def post(self, call: Call) -> dict[str, Any]:
        place = uploads.place_of(call, "actions")
        parsed = uploads.parse(call, parse_actions)
        for action in parsed:
            refuse_builtin(call, action.spec.name)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            rows = definitions.create_actions(connection, author, parsed, place)
        return _uploaded(rows, created=True)

    def put(
        self, call: Call, identifier: str | None = None, namespace: str | None = None
    ) -> dict[str, Any]:
        place = uploads.place_of(call, "actions", namespace)
        parsed = uploads.parse(call, parse_actions)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            rows = definitions.update_actions(
                connection, author, parsed, place, identifier
            )
            # After the search: a built-in action is none that can be updated,
            # which is a 404.
            for row in rows:
                refuse_builtin(call, row["name"])
        return _uploaded(rows, created=False)

    def delete(self, call: Call, identifier: str, namespace: str | None = None) -> None:
        if namespace is None:
            namespace = uploads.namespace_of(call)
        context = call.context
        with call.services.database.begin() as connection:
            row = definitions.identified(
                connection, actions, "action", identifier, namespace, context
            )
            definitions.remove(
                connection, actions, row, context, "action", etags.unchanged(call)
            )

    def validate(self, call: Call) -> dict[str, Any]:
        return uploads.judge(call, check_actions)
