"""``/v2/workflows`` (spec/rest-api.md § 8.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from mistral.api import etags, listing, uploads
from mistral.api.policy import OPEN
from mistral.api.rest import ANY, Call, Route, upload
from mistral.api.types import Date, JsonText, Native, ResourceType, Scope, Tags, Text
from mistral.api.v2.members import Members
from mistral.db import definitions, scope
from mistral.db.listing import Kind, Listing
from mistral.db.models import workflows
from mistral.lang.parse import check_workflows, parse_workflows

LISTING: Final = Listing(
    workflows,
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


class Workflow(ResourceType):
    """As GET shows it: ``interface`` is text (Q-05)."""

    id = Text
    name = Text
    namespace = Text
    input = Text
    interface = JsonText
    definition = Text
    checksum = Text
    tags = Tags
    scope = Scope
    project_id = Text
    created_at = Date
    updated_at = Date


class UploadedWorkflow(Workflow):
    """As POST and PUT answer: ``interface`` is an object (Q-05, keep)."""

    interface = Native


def input_summary(declared: Sequence[Any]) -> str:
    """``x, y="5"``: what dashboards make a form of; the notation of defaults is
    that of the first implementation (§ 8.2)."""
    parts = []
    for parameter in declared:
        if isinstance(parameter, Mapping):
            parts += [f'{name}="{value}"' for name, value in parameter.items()]
        else:
            parts.append(str(parameter))
    return ", ".join(parts)


def values_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a row, those that come from the spec included."""
    values = dict(row)
    if "checksum" in values:
        values["checksum"] = values["checksum"] or None
    if "tags" in values:
        values["tags"] = values["tags"] or []
    spec = values.pop("spec", None)
    if spec is not None:
        declared = spec.get("input") or []
        output = spec.get("output")
        names = list(output) if isinstance(output, Mapping) else []
        values["input"] = input_summary(declared)
        values["interface"] = {"input": declared, "output": names}
    return values


def columns_for(fields: Collection[str]) -> set[str]:
    """Columns that the fields need; ``input`` and ``interface`` come from the
    spec (Q-18)."""
    return {"spec" if name in ("input", "interface") else name for name in fields}


def uploaded(row: Mapping[str, Any], *, created: bool) -> UploadedWorkflow:
    """The answer to a creation has no ``updated_at`` (§ 1.4)."""
    values = values_of(row)
    if created:
        del values["updated_at"]
    return UploadedWorkflow.shape(values)


class Workflows(Members):
    """Workflow definitions and their members."""

    routes = (
        upload("POST", "validate", "validate", OPEN),
        Route("GET", "", "get_all", "workflows:list", query=ANY),
        upload("POST", "", "post", "workflows:create", 201),
        upload("PUT", "", "put", "workflows:update"),
        Route(
            "GET",
            "{identifier}",
            "get_one",
            "workflows:get",
            query=frozenset({"namespace", "fields"}),
        ),
        upload("PUT", "{identifier}", "put_one", "workflows:update"),
        Route(
            "DELETE",
            "{identifier}",
            "delete",
            "workflows:delete",
            204,
            query=frozenset({"namespace"}),
        ),
        *Members.routes,
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        query = listing.ask(
            call, LISTING, Workflow.attributes(), extra=("all_projects",)
        )
        listing.all_projects(call, "workflows:list:all_projects")
        with call.services.database.read() as connection:
            rows = LISTING.page(
                connection,
                query,
                scope.visible(workflows, call.context),
                names=columns_for(query.fields or Workflow.attributes()),
            )
        shaped = [Workflow.shape(values_of(row), query.fields) for row in rows]
        return listing.envelope(call, "workflows", query, shaped)

    def get_one(self, call: Call, identifier: str) -> Any:
        fields = listing.fields_of(call, Workflow.attributes())
        with call.services.database.read() as connection:
            row = definitions.identified(
                connection,
                workflows,
                "workflow",
                identifier,
                uploads.namespace_of(call),
                call.context,
            )
        return etags.shown(call, row, Workflow.shape(values_of(row), fields))

    def post(self, call: Call) -> dict[str, Any]:
        place = uploads.place_of(call, "workflows")
        parsed = uploads.parse(call, parse_workflows)
        database = call.services.database
        with database.begin() as connection:
            author = uploads.author_of(call, connection)
            rows = definitions.create_workflows(connection, author, parsed, place)
        return {"workflows": [uploaded(row, created=True) for row in rows]}

    def put(self, call: Call) -> Any:
        identifier = call.query.get("identifier")
        if identifier:
            return self.put_one(call, identifier)
        return {"workflows": self._update(call, None)}

    def put_one(self, call: Call, identifier: str) -> UploadedWorkflow:
        return self._update(call, identifier)[0]

    def _update(self, call: Call, identifier: str | None) -> list[UploadedWorkflow]:
        place = uploads.place_of(call, "workflows")
        parsed = uploads.parse(call, parse_workflows)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            rows = definitions.update_workflows(
                connection, author, parsed, place, identifier
            )
        return [uploaded(row, created=False) for row in rows]

    def delete(self, call: Call, identifier: str) -> None:
        with call.services.database.begin() as connection:
            row = definitions.identified(
                connection,
                workflows,
                "workflow",
                identifier,
                uploads.namespace_of(call),
                call.context,
            )
            definitions.remove(
                connection,
                workflows,
                row,
                call.context,
                "workflow",
                etags.unchanged(call),
            )

    def validate(self, call: Call) -> dict[str, Any]:
        return uploads.judge(call, check_workflows)
