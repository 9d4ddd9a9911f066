"""``/v2/dynamic_actions`` (spec/rest-api.md § 8.7): names for classes of code
sources. Whether a class can be loaded is found out by the executor that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import wsme.types as wtypes

from mistral.api import listing, uploads
from mistral.api.rest import ANY, Call, Resource, Route
from mistral.api.types import Date, Name, ResourceType, Scope, Text
from mistral.api.v2.actions import refuse_builtin
from mistral.api.v2.code_sources import FILTERS, NO_TAGS
from mistral.db import code_sources, definitions, scope
from mistral.db.definitions import Place
from mistral.db.listing import Listing
from mistral.db.models import dynamic_actions
from mistral.errors import BadRequest

CREATED: Final = (
    "name",
    "class_name",
    "code_source_id",
    "code_source_name",
    "scope",
    "namespace",
)
UPDATED: Final = ("id", *CREATED)

LISTING: Final = Listing(dynamic_actions, FILTERS, {**dynamic_actions.c, **NO_TAGS})


class DynamicAction(ResourceType):
    id = Text
    name = Name
    namespace = Name
    code_source_id = Text
    code_source_name = Text
    class_name = Name
    scope = Scope
    project_id = Text
    created_at = Date
    updated_at = Date


class DynamicActions(Resource):
    """The path may end in the namespace."""

    routes = (
        Route("GET", "", "get_all", "dynamic_actions:list", query=ANY),
        Route("POST", "", "post", "dynamic_actions:create", 201),
        Route("PUT", "", "put", "dynamic_actions:update"),
        *(
            route
            for path, known in (
                ("{identifier}", frozenset({"namespace"})),
                ("{identifier}/{namespace}", frozenset[str]()),
            )
            for route in (
                Route(
                    "GET",
                    path,
                    "get_one",
                    "dynamic_actions:get",
                    query=known | {"fields"},
                ),
                Route(
                    "DELETE", path, "delete", "dynamic_actions:delete", 204, query=known
                ),
            )
        ),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        query = listing.ask(
            call,
            LISTING,
            DynamicAction.attributes(),
            extra=("all_projects",),
            sortable=dynamic_actions.c.keys(),
        )
        # administrators see all of them anyway; others never do
        call.flag("all_projects")
        with call.services.database.read() as connection:
            rows = LISTING.page(
                connection,
                query,
                scope.visible(dynamic_actions, call.context),
                names=query.fields or DynamicAction.attributes(),
            )
        shaped = [DynamicAction.shape(row, query.fields) for row in rows]
        return listing.envelope(call, "dynamic_actions", query, shaped)

    def get_one(
        self, call: Call, identifier: str, namespace: str | None = None
    ) -> DynamicAction:
        fields = listing.fields_of(call, DynamicAction.attributes())
        with call.services.database.read() as connection:
            row = self._row(connection, call, identifier, namespace)
        return DynamicAction.shape(row, fields)

    def post(self, call: Call) -> DynamicAction:
        sent = self._sent(call, CREATED)
        for name in ("name", "class_name"):
            if not sent.get(name):
                raise BadRequest(f"Expected '{name}' of the dynamic action.")
        if not (sent.get("code_source_id") or sent.get("code_source_name")):
            raise BadRequest("Expected 'code_source_id' or 'code_source_name'.")
        refuse_builtin(call, sent["name"])
        place = Place(sent.get("namespace") or "", sent.get("scope") or "private")
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = code_sources.create_action(connection, author, sent, place)
        answer = DynamicAction.shape(row)
        answer.updated_at = wtypes.Unset
        return answer

    def put(self, call: Call) -> DynamicAction:
        sent = self._sent(call, UPDATED)
        identifier = sent.get("id") or sent.get("name")
        if not identifier:
            raise BadRequest("Expected 'id' or 'name' of the dynamic action.")
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = code_sources.update_action(
                connection, author, identifier, sent.get("namespace") or "", sent
            )
        return DynamicAction.shape(row)

    def delete(self, call: Call, identifier: str, namespace: str | None = None) -> None:
        with call.services.database.begin() as connection:
            row = self._row(connection, call, identifier, namespace)
            what = code_sources.DYNAMIC_ACTION
            definitions.remove(connection, dynamic_actions, row, call.context, what)

    def _sent(self, call: Call, allowed: tuple[str, ...]) -> dict[str, Any]:
        sent = call.read(DynamicAction, allowed=allowed).sent()
        uploads.may_publish(call, "dynamic_actions", sent.get("scope") or "private")
        uploads.refuse_code_when_off(call)
        return sent

    def _row(
        self, connection: Any, call: Call, identifier: str, namespace: str | None
    ) -> Mapping[str, Any]:
        if namespace is None:
            namespace = uploads.namespace_of(call)
        return definitions.identified(
            connection,
            dynamic_actions,
            code_sources.DYNAMIC_ACTION,
            identifier,
            namespace,
            call.context,
        )
