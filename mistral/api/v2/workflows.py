"""``/v2/workflows`` (spec/rest-api.md § 8.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import Connection

from mistral.api import triggers, uploads
from mistral.api.listing import ListOf, list_route
from mistral.api.owned import Owned, delete_route, show_route
from mistral.api.parameters import NAMESPACE, Parameter
from mistral.api.rest import Answer, Call, upload
from mistral.api.shapes import Either, Shown, Together, Upload
from mistral.api.types import (
    Attribute,
    Date,
    JsonSchema,
    JsonTextType,
    NativeType,
    ResourceType,
    Scope,
    Shaped,
    Tags,
    Text,
    Uuid,
    nullable,
)
from mistral.api.v2.members import Members
from mistral.db import definitions
from mistral.db.listing import Kind, Listing
from mistral.db.models import workflows
from mistral.db.owned import Author, Row
from mistral.errors import Conflict, NotFound
from mistral.lang.parse import check_workflows, parse_workflows
from mistral.lang.unchecked import unchecked_workflows

LISTING: Final = Listing(
    workflows,
    filters={
        "name": Kind.TEXT,
        "namespace": Kind.TEXT,
        "definition": Kind.TEXT,
        "input": Kind.TEXT,
        "tags": Kind.TAGS,
        "scope": Kind.TEXT,
        "project_id": Kind.PROJECT,
        "created_at": Kind.DATE,
        "updated_at": Kind.DATE,
    },
)


INTERFACE: Final[JsonSchema] = {
    "type": "object",
    "properties": {
        "input": {
            "type": "array",
            "items": {"type": ["string", "object"]},
            "description": "Parameters: a name, or {name: default}.",
        },
        "output": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["input", "output"],
    "additionalProperties": False,
}


class Workflow(ResourceType):
    """As GET shows it: ``interface`` is text (Q-05)."""

    id = Uuid
    name = Attribute(Text, "Of a workbook's: `workbook.workflow`.")
    namespace = Text
    input = Attribute(Text, "Parameters as people read them.")
    interface = Attribute(
        JsonTextType(INTERFACE), "Parameters, and names of the output."
    )
    definition = Attribute(Text, "The text; of a workbook's the part of it.")
    checksum = nullable(Text, "MD5 of the text; null of a workbook's.")
    tags = Tags
    scope = Scope
    project_id = Attribute(Text, "Project that it belongs to.")
    created_at = Date
    updated_at = nullable(Date)


class UploadedWorkflow(Workflow):
    """As POST and PUT answer: ``interface`` is an object (Q-05, keep)."""

    interface = NativeType(INTERFACE)


SHOWN: Final = Shown(Workflow, selectable=True)

WORKFLOWS: Final = ListOf(
    "workflows",
    LISTING,
    SHOWN,
    Workflow.attributes(),
    everywhere="workflows:list:all_projects",
)

TEXT: Final = Upload(
    "Workflows in the workflow language, one or many, as YAML.",
    "version: '2.0'\nhello:\n  tasks:\n    t: {action: std.noop}\n",
)
CREATED: Final = Shown(UploadedWorkflow, "CreatedWorkflow", but=("updated_at",))
UPDATED: Final = Shown(UploadedWorkflow)
IDENTIFIER: Final = Parameter(
    "identifier", "UUID or name of the one workflow that is updated."
)


def values_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a row, the one that comes from the spec included."""
    values = dict(row)
    if "checksum" in values:
        values["checksum"] = values["checksum"] or None
    if "tags" in values:
        values["tags"] = values["tags"] or []
    if "input" in values:
        values["input"] = values["input"] or ""
    spec = values.pop("spec", None)
    if spec is not None:
        declared = spec.get("input") or []
        output = spec.get("output")
        names = list(output) if isinstance(output, Mapping) else []
        values["interface"] = {"input": declared, "output": names}
    return values


def columns_for(fields: Collection[str]) -> set[str]:
    """Columns that the fields need; ``interface`` comes from the spec (Q-18)."""
    return {"spec" if name == "interface" else name for name in fields}


def uploaded(row: Mapping[str, Any], *, created: bool) -> Shaped:
    """The answer to a creation has no ``updated_at`` (§ 1.4)."""
    values = values_of(row)
    if created:
        del values["updated_at"]
    return UploadedWorkflow.shape(values)


OWNED: Final = Owned(
    workflows,
    WORKFLOWS,
    values=values_of,
    columns=columns_for,
    remove=definitions.remove_workflow,
)


class Workflows(Members):
    """Workflow definitions and their members."""

    routes = (
        uploads.validation(TEXT),
        list_route(WORKFLOWS, "workflows:list"),
        upload(
            "POST",
            "",
            "post",
            "workflows:create",
            201,
            query=uploads.PLACED,
            takes=TEXT,
            answer=Together("workflows", CREATED),
            also=("workflows:publicize",),
            refuses=(Conflict,),
        ),
        upload(
            "PUT",
            "",
            "put",
            "workflows:update",
            query=(*uploads.PLACED, IDENTIFIER),
            takes=TEXT,
            answer=Either((Together("workflows", UPDATED), UPDATED)),
            also=("workflows:publicize",),
            refuses=(NotFound, Conflict),
            tagged=True,
        ),
        show_route(WORKFLOWS, "workflows:get", "{identifier}", (NAMESPACE,)),
        upload(
            "PUT",
            "{identifier}",
            "put_one",
            "workflows:update",
            query=uploads.PLACED,
            takes=TEXT,
            answer=UPDATED,
            also=("workflows:publicize",),
            refuses=(Conflict,),
            tagged=True,
        ),
        delete_route("workflows:delete", "{identifier}", (NAMESPACE,)),
        *Members.routes,
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        """List workflows."""
        return OWNED.page(call)

    def get_one(self, call: Call, identifier: str) -> Answer:
        """Show a workflow, by UUID, or by name in a namespace."""
        return OWNED.show(call, identifier)

    def post(self, call: Call) -> dict[str, Any]:
        """Create workflows, all or none."""
        place = uploads.place_of(call, "workflows")
        parsed = uploads.parse(call, parse_workflows, unchecked_workflows)

        def create(connection: Connection, author: Author) -> list[Row]:
            return definitions.create_workflows(connection, author, parsed, place)

        rows = triggers.with_declared(call, create)
        return {"workflows": [uploaded(row, created=True) for row in rows]}

    def put(self, call: Call) -> Any:
        """Update workflows by the names in the text, all or none.

        With ``identifier`` exactly one, which the answer shows by itself.
        """
        identifier = IDENTIFIER.of(call.query)
        if identifier:
            return self.put_one(call, identifier)
        return {"workflows": self._update(call, None)}

    def put_one(self, call: Call, identifier: str) -> Shaped:
        """Update one workflow; the text may rename it."""
        return self._update(call, identifier)[0]

    def _update(self, call: Call, identifier: str | None) -> list[Shaped]:
        place = uploads.place_of(call, "workflows")
        parsed = uploads.parse(call, parse_workflows, unchecked_workflows)

        def update(connection: Connection, author: Author) -> list[Row]:
            return definitions.update_workflows(
                connection, author, parsed, place, identifier
            )

        rows = triggers.with_declared(call, update)
        return [uploaded(row, created=False) for row in rows]

    def delete(self, call: Call, identifier: str) -> None:
        """Delete a workflow that no trigger starts; what it started stays."""
        OWNED.delete(call, identifier)

    def validate(self, call: Call) -> Shaped:
        """Say what is wrong with a text of workflows; nothing is stored."""
        return uploads.judge(call, check_workflows)
