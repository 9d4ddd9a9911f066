"""``/v2/code_sources`` (spec/rest-api.md § 8.6): texts that dynamic actions are
built from. They are stored and parsed here, never run (SEC-01)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import wsme.types as wtypes
from sqlalchemy import Text as SqlText
from sqlalchemy import cast, null
from webob import exc

from mistral.actions.signatures import read_classes
from mistral.api import listing, uploads
from mistral.api.rest import ANY, Call, Resource, Route, upload
from mistral.api.types import Date, Native, ResourceType, Scope, Text
from mistral.db import code_sources as sources
from mistral.db import definitions, scope
from mistral.db.listing import Kind, Listing
from mistral.db.models import code_sources
from mistral.errors import BadRequest

FILTERS: Final[Mapping[str, Kind]] = {
    "name": Kind.TEXT,
    "namespace": Kind.TEXT,
    "tags": Kind.TAGS,
    "scope": Kind.TEXT,
    "project_id": Kind.ID,
    "created_at": Kind.DATE,
    "updated_at": Kind.DATE,
}

NO_TAGS: Final = {"tags": cast(null(), SqlText)}
"""Neither sources nor dynamic actions have tags; filters know the word."""

LISTING: Final = Listing(code_sources, FILTERS, {**code_sources.c, **NO_TAGS})


class CodeSource(ResourceType):
    id = Text
    name = Text
    namespace = Text
    content = Text
    version = int
    scope = Scope
    project_id = Text
    created_at = Date
    updated_at = Date
    # Declared by the protocol, and never shown.
    actions = Native


class CodeSources(Resource):
    """The path may end in the namespace."""

    routes = (
        Route("GET", "", "get_all", "code_sources:list", query=ANY),
        upload("POST", "", "post", "code_sources:create", 201),
        upload("PUT", "", "put", "code_sources:update"),
        *(
            route
            for path, known in (
                ("{identifier}", frozenset({"namespace"})),
                ("{identifier}/{namespace}", frozenset[str]()),
            )
            for route in (
                Route(
                    "GET", path, "get_one", "code_sources:get", query=known | {"fields"}
                ),
                upload("PUT", path, "put", "code_sources:update"),
                Route(
                    "DELETE", path, "delete", "code_sources:delete", 204, query=known
                ),
            )
        ),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        query = listing.ask(
            call,
            LISTING,
            CodeSource.attributes(),
            extra=("all_projects",),
            sortable=code_sources.c.keys(),
        )
        # administrators see all of them anyway; others never do
        call.flag("all_projects")
        with call.services.database.read() as connection:
            rows = LISTING.page(
                connection,
                query,
                scope.visible(code_sources, call.context),
                names=query.fields or CodeSource.attributes(),
            )
        shaped = [CodeSource.shape(row, query.fields) for row in rows]
        return listing.envelope(call, "code_sources", query, shaped)

    def get_one(
        self, call: Call, identifier: str, namespace: str | None = None
    ) -> CodeSource:
        fields = listing.fields_of(call, CodeSource.attributes())
        with call.services.database.read() as connection:
            row = self._row(connection, call, identifier, namespace)
        return CodeSource.shape(row, fields)

    def post(self, call: Call) -> CodeSource:
        place = uploads.place_of(call, "code_sources")
        uploads.refuse_code_when_off(call)
        name = call.query.get("name")
        if name is None:
            raise BadRequest("Expected 'name', the name of the code source.")
        if len(name) > uploads.LONGEST_NAME:
            raise BadRequest(f"A name has at most {uploads.LONGEST_NAME} characters.")
        content = _content(call)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = sources.create_source(
                connection, author, name, content, read_classes(content), place
            )
        answer = CodeSource.shape(row)
        answer.updated_at = wtypes.Unset
        return answer

    def put(
        self, call: Call, identifier: str | None = None, namespace: str | None = None
    ) -> CodeSource:
        place = uploads.place_of(call, "code_sources", namespace)
        uploads.refuse_code_when_off(call)
        identifier = identifier or call.query.get("identifier")
        if identifier is None:
            raise BadRequest("Expected 'identifier', id or name of the code source.")
        content = _content(call)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = sources.update_source(
                connection, author, identifier, content, read_classes(content), place
            )
        return CodeSource.shape(row)

    def delete(self, call: Call, identifier: str, namespace: str | None = None) -> None:
        with call.services.database.begin() as connection:
            row = self._row(connection, call, identifier, namespace)
            sources.remove_source(connection, row, call.context)

    def _row(
        self, connection: Any, call: Call, identifier: str, namespace: str | None
    ) -> Mapping[str, Any]:
        if namespace is None:
            namespace = uploads.namespace_of(call)
        return definitions.identified(
            connection,
            code_sources,
            sources.CODE_SOURCE,
            identifier,
            namespace,
            call.context,
        )


def _content(call: Call) -> str:
    """:raises BadRequest: it holds what no source and no database can."""
    most = call.services.settings.dynamic_actions.max_source_bytes
    if len(call.body) > most:
        raise exc.HTTPRequestEntityTooLarge(
            f"The code source is longer than {most} bytes"
            " ([dynamic_actions] max_source_bytes)."
        )
    content = call.text()
    if "\0" in content:
        raise BadRequest("A code source has no NUL characters.")
    return content
