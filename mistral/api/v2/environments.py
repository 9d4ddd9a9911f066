"""``/v2/environments`` (spec/rest-api.md § 8.9)."""

from __future__ import annotations

from typing import Any, Final

import wsme.types as wtypes

from mistral.api import etags, listing, uploads
from mistral.api.rest import ANY, Call, Resource, Route
from mistral.api.types import (
    Date,
    JsonText,
    ResourceType,
    Scope,
    StrictTextType,
    Text,
)
from mistral.db import definitions, scope
from mistral.db.listing import Kind, Listing
from mistral.db.models import environments
from mistral.errors import BadRequest

LONGEST_NAME: Final = 200
WRITABLE: Final = ("name", "description", "variables", "scope")

LISTING: Final = Listing(
    environments,
    filters={
        "name": Kind.TEXT,
        "description": Kind.TEXT,
        "variables": Kind.JSON,
        "scope": Kind.TEXT,
        "project_id": Kind.ID,
        "created_at": Kind.DATE,
        "updated_at": Kind.DATE,
    },
)


class Environment(ResourceType):
    id = Text
    name = StrictTextType(LONGEST_NAME)
    description = Text
    variables = JsonText
    scope = Scope
    project_id = Text
    created_at = Date
    updated_at = Date


class Environments(Resource):
    routes = (
        Route("GET", "", "get_all", "environments:list", query=ANY),
        Route("POST", "", "post", "environments:create", 201),
        Route("PUT", "", "put", "environments:update"),
        Route(
            "GET",
            "{name}",
            "get_one",
            "environments:get",
            query=frozenset({"fields"}),
        ),
        Route("PUT", "{name}", "put_one", "environments:update", query=ANY),
        Route("DELETE", "{name}", "delete", "environments:delete", 204),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        query = listing.ask(call, LISTING, Environment.attributes())
        with call.services.database.read() as connection:
            rows = LISTING.page(
                connection,
                query,
                scope.visible(environments, call.context),
                names=query.fields or Environment.attributes(),
            )
        shaped = [Environment.shape(row, query.fields) for row in rows]
        return listing.envelope(call, "environments", query, shaped)

    def get_one(self, call: Call, name: str) -> Any:
        fields = listing.fields_of(call, Environment.attributes())
        with call.services.database.read() as connection:
            row = definitions.named(
                connection,
                environments,
                "environment",
                name,
                None,
                call.context.project_id,
            )
        return etags.shown(call, row, Environment.shape(row, fields))

    def post(self, call: Call) -> Environment:
        sent = self._sent(call)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = definitions.create_environment(connection, author, sent)
        answer = Environment.shape(row)
        answer.updated_at = wtypes.Unset
        for name in ("description", "variables"):
            if name not in sent:
                setattr(answer, name, wtypes.Unset)
        return answer

    def put(self, call: Call) -> Environment:
        sent = self._sent(call)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = definitions.update_environment(connection, author, sent)
        return Environment.shape(row)

    def put_one(self, call: Call, name: str) -> None:
        """:raises BadRequest: always: the name belongs into the body."""
        raise BadRequest(
            "Update an environment at /v2/environments, named in the body."
        )

    def delete(self, call: Call, name: str) -> None:
        context = call.context
        with call.services.database.begin() as connection:
            row = definitions.named(
                connection, environments, "environment", name, None, context.project_id
            )
            definitions.remove(
                connection,
                environments,
                row,
                context,
                "environment",
                etags.unchanged(call),
            )

    def _sent(self, call: Call) -> dict[str, Any]:
        sent = call.read(Environment, allowed=WRITABLE).sent()
        if not sent.get("name"):
            raise BadRequest("Expected 'name', the name of the environment.")
        if "scope" in sent:
            sent["scope"] = sent["scope"] or "private"
            uploads.may_publish(call, "environments", sent["scope"])
        if "variables" in sent:
            sent["variables"] = sent["variables"] or {}
        return sent
