"""``/v2/actions`` (spec/rest-api.md § 8.5): ad-hoc actions, which are rows; dynamic
ones, and those of the registry, which are read only. A name means them in this
order. No code is run to show any of them (Q-45)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select

from mistral.actions.signatures import describe_dynamic
from mistral.api import etags, listing, uploads
from mistral.api.listing import ListOf, list_route
from mistral.api.owned import Owned
from mistral.api.parameters import NAMESPACE, SCOPE, STRICT
from mistral.api.rest import Call, Resource, Route, replayed, upload
from mistral.api.shapes import Shown, Together, Upload
from mistral.api.types import (
    Attribute,
    Boolean,
    DateType,
    JsonSchema,
    ResourceType,
    Scope,
    Shaped,
    Tags,
    Text,
    nullable,
)
from mistral.api.v2 import action_list
from mistral.db import code_sources, definitions, owned
from mistral.db.listing import Kind, Listing, Query
from mistral.db.models import actions, dynamic_actions
from mistral.errors import BadRequest, Conflict, NotFound
from mistral.lang.parse import check_actions, parse_actions
from mistral.lang.unchecked import unchecked_actions

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
        ),
        Kind.TEXT,
    )
    | {
        "is_system": Kind.BOOL,
        "tags": Kind.TAGS,
        "created_at": Kind.DATE,
        "updated_at": Kind.DATE,
    },
)


class StoredDateType(DateType):
    """A moment; empty where the action is not stored."""

    name = "stored-date"

    def answer_schema(self) -> JsonSchema:
        return {"anyOf": [super().answer_schema(), {"const": ""}]}


class Action(ResourceType):
    id = Attribute(Text, "Of built-in and dynamic actions their name.")
    name = Text
    is_system = Attribute(Boolean, "Whether it is built in.")
    input = Attribute(Text, "Parameters as people read them.")
    description = nullable(Text)
    tags = nullable(Tags)
    definition = Attribute(
        Text, "The text that it was uploaded in; empty if there is none."
    )
    scope = nullable(Scope, "Null of built-in actions.")
    project_id = nullable(Text, "Null of built-in actions.")
    created_at = Attribute(StoredDateType(), "Empty of what is not stored.")
    updated_at = nullable(StoredDateType(), "Empty of what is not stored.")
    namespace = Text


ACTIONS: Final = ListOf(
    "actions",
    LISTING,
    Shown(Action, selectable=True),
    Action.attributes(),
    sortable=Action.attributes(),
    default_sort="name",
    unlimited=True,
    any_marker=True,
    everywhere="workflows:list:all_projects",
)

TEXT: Final = Upload(
    "Ad-hoc actions in the workflow language, one or many, as YAML.",
    "version: '2.0'\ngreet:\n  base: std.echo\n  base-input: {output: hello}\n",
)
UPDATED: Final = Together("actions", Shown(Action, "UpdatedAction", null=("input",)))


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


OWNED: Final = Owned(actions, ACTIONS, values=_of_row)
"""The ad-hoc ones."""


class Actions(Resource):
    """The path may end in the namespace, ``/v2/actions/{name}/{namespace}``."""

    routes = (
        uploads.validation(TEXT),
        list_route(ACTIONS, "actions:list"),
        upload(
            "POST",
            "",
            "post",
            "actions:create",
            201,
            query=(NAMESPACE, SCOPE, STRICT),
            takes=TEXT,
            answer=Together(
                "actions",
                Shown(Action, "CreatedAction", but=("updated_at",), null=("input",)),
            ),
            also=("actions:publicize",),
            refuses=(Conflict,),
        ),
        upload(
            "PUT",
            "",
            "put",
            "actions:update",
            query=(NAMESPACE, SCOPE, STRICT),
            takes=TEXT,
            answer=UPDATED,
            also=("actions:publicize",),
            refuses=(NotFound, Conflict),
            tagged=True,
        ),
        *(
            route
            for path, known in uploads.NAMED
            for route in (
                Route(
                    "GET",
                    path,
                    "get_one",
                    "actions:get",
                    query=known,
                    answer=Shown(Action),
                    tagged=True,
                ),
                upload(
                    "PUT",
                    path,
                    "put",
                    "actions:update",
                    query=(*known, SCOPE, STRICT),
                    takes=TEXT,
                    answer=UPDATED,
                    also=("actions:publicize",),
                    refuses=(Conflict,),
                    tagged=True,
                ),
                Route(
                    "DELETE", path, "delete", "actions:delete", 204, known, tagged=True
                ),
            )
        ),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        """List actions: ad-hoc, dynamic and built-in ones.

        Those of the default namespace, unless ``namespace`` asks for another.
        """
        query = listing.ask(call, ACTIONS)
        columns = [actions.c[name] for name in _needed(query)]
        statement = select(*columns).where(listing.seen(call, actions, ACTIONS))
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
        return listing.envelope(call, ACTIONS, query, shaped)

    def _dynamic(self, call: Call) -> Sequence[Mapping[str, Any]]:
        if not call.services.registry.serves_dynamic():
            return ()
        namespace = None if "namespace" in call.query else ""
        with call.services.database.read() as connection:
            seen = listing.seen(call, dynamic_actions, ACTIONS)
            return code_sources.all_runnable(connection, seen, namespace)

    def get_one(self, call: Call, name: str, namespace: str | None = None) -> Any:
        """Show the action of a name, as the project means it.

        Ad-hoc actions are found by UUID, too: the dashboard's links have it.
        """
        if namespace is None:
            namespace = NAMESPACE.of(call.query)
        project, registry = call.context.project_id, call.services.registry
        row = code = None
        with call.services.database.read() as connection:
            if registry.serves("adhoc"):
                row = owned.find_by_id(connection, actions, name, call.context)
                for space in dict.fromkeys((namespace, "")):
                    row = row or definitions.find_adhoc_action(
                        connection, name, space, project
                    )
            if registry.serves_dynamic():
                code = code_sources.runnable(connection, name, namespace, project)
        if row is not None:
            return etags.shown(call, row, OWNED.shape(row))
        if code is not None:
            return Action.shape(_of_code(code))
        descriptor = registry.find(name, namespace, project_id=project)
        if descriptor is None:
            raise NotFound(f"No action '{name}' in namespace '{namespace}'.")
        return Action.shape(_of_registry(descriptor))

    @replayed
    def post(self, call: Call) -> dict[str, Any]:
        """Create ad-hoc actions, all or none."""
        place = uploads.place_of(call, "actions")
        parsed = uploads.parse(call, parse_actions, unchecked_actions, skippable=False)
        for action in parsed:
            refuse_builtin(call, action.spec.name)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            rows = definitions.create_actions(connection, author, parsed, place)
        return _uploaded(rows, created=True)

    @replayed
    def put(
        self, call: Call, identifier: str | None = None, namespace: str | None = None
    ) -> dict[str, Any]:
        """Update ad-hoc actions, all or none; where the path names one, only that."""
        place = uploads.place_of(call, "actions", namespace)
        parsed = uploads.parse(call, parse_actions, unchecked_actions, skippable=False)
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
        """Delete an ad-hoc action, by UUID or name."""
        OWNED.delete(call, identifier, namespace)

    def validate(self, call: Call) -> Shaped:
        """Say what is wrong with a text of actions; nothing is stored."""
        return uploads.judge(call, check_actions)
