"""``/v2/workbooks`` (spec/rest-api.md § 8.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import wsme.types as wtypes

from mistral.api import etags, listing, uploads
from mistral.api.policy import OPEN
from mistral.api.rest import ANY, Call, Resource, Route, upload
from mistral.api.types import Date, ResourceType, Scope, Tags, Text
from mistral.api.v2.actions import refuse_builtin
from mistral.db import definitions, scope
from mistral.db import workbooks as stored
from mistral.db.listing import Kind, Listing
from mistral.db.models import workbooks
from mistral.lang.parse import check_workbook, parse_workbook

LISTING: Final = Listing(
    workbooks,
    filters={
        "name": Kind.TEXT,
        "namespace": Kind.TEXT,
        "definition": Kind.TEXT,
        "tags": Kind.TAGS,
        "scope": Kind.TEXT,
        "project_id": Kind.ID,
        "created_at": Kind.DATE,
        "updated_at": Kind.DATE,
    },
)


class Workbook(ResourceType):
    id = Text
    name = Text
    namespace = Text
    definition = Text
    tags = Tags
    scope = Scope
    project_id = Text
    created_at = Date
    updated_at = Date


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "tags": row.get("tags") or []}


class Workbooks(Resource):
    routes = (
        upload("POST", "validate", "validate", OPEN),
        Route("GET", "", "get_all", "workbooks:list", query=ANY),
        upload("POST", "", "post", "workbooks:create", 201),
        upload("PUT", "", "put", "workbooks:update"),
        *(
            Route("GET", path, "get_one", "workbooks:get", query=known)
            for path, known in (
                ("{name}", frozenset({"namespace", "fields"})),
                ("{name}/{namespace}", frozenset({"fields"})),
            )
        ),
        *(
            Route("DELETE", path, "delete", "workbooks:delete", 204, query=known)
            for path, known in (
                ("{name}", frozenset({"namespace"})),
                ("{name}/{namespace}", frozenset[str]()),
            )
        ),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        query = listing.ask(call, LISTING, Workbook.attributes())
        with call.services.database.read() as connection:
            rows = LISTING.page(
                connection,
                query,
                scope.visible(workbooks, call.context),
                names=query.fields or Workbook.attributes(),
            )
        shaped = [Workbook.shape(_values(row), query.fields) for row in rows]
        return listing.envelope(call, "workbooks", query, shaped)

    def get_one(self, call: Call, name: str, namespace: str | None = None) -> Any:
        fields = listing.fields_of(call, Workbook.attributes())
        if namespace is None:
            namespace = uploads.namespace_of(call)
        with call.services.database.read() as connection:
            row = definitions.named(
                connection,
                workbooks,
                "workbook",
                name,
                namespace,
                call.context.project_id,
            )
        return etags.shown(call, row, Workbook.shape(_values(row), fields))

    def post(self, call: Call) -> Workbook:
        workbook = self._put(call, stored.create)
        workbook.updated_at = wtypes.Unset
        return workbook

    def put(self, call: Call) -> Workbook:
        return self._put(call, stored.update)

    def _put(self, call: Call, write: Any) -> Workbook:
        place = uploads.place_of(call, "workbooks")
        parsed = uploads.parse(call, parse_workbook)
        for action in parsed.actions:
            refuse_builtin(call, action.spec.name)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = write(connection, author, parsed, place)
        return Workbook.shape(_values(row))

    def delete(self, call: Call, name: str, namespace: str | None = None) -> None:
        if namespace is None:
            namespace = uploads.namespace_of(call)
        context = call.context
        with call.services.database.begin() as connection:
            row = definitions.named(
                connection, workbooks, "workbook", name, namespace, context.project_id
            )
            definitions.remove(
                connection, workbooks, row, context, "workbook", etags.unchanged(call)
            )

    def validate(self, call: Call) -> dict[str, Any]:
        return uploads.judge(call, check_workbook)
