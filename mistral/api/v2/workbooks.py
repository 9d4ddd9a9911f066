"""``/v2/workbooks`` (spec/rest-api.md § 8.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection

from mistral.api import triggers, uploads
from mistral.api.listing import ListOf, list_route
from mistral.api.owned import KnownBy, Owned, show_route
from mistral.api.parameters import Flag
from mistral.api.rest import Answer, Call, Resource, Route, upload
from mistral.api.shapes import Shown, Upload
from mistral.api.types import (
    Date,
    ResourceType,
    Scope,
    Shaped,
    Tags,
    Text,
    Uuid,
    nullable,
)
from mistral.api.v2.actions import refuse_builtin
from mistral.db import workbooks as stored
from mistral.db.listing import Kind, Listing
from mistral.db.models import workbooks
from mistral.db.owned import Author, Row
from mistral.errors import Conflict, NotFound
from mistral.lang.parse import check_workbook, parse_workbook
from mistral.lang.unchecked import unchecked_workbook

LISTING: Final = Listing(
    workbooks,
    filters={
        "name": Kind.TEXT,
        "namespace": Kind.TEXT,
        "definition": Kind.TEXT,
        "tags": Kind.TAGS,
        "scope": Kind.TEXT,
        "project_id": Kind.PROJECT,
        "created_at": Kind.DATE,
        "updated_at": Kind.DATE,
    },
)


class Workbook(ResourceType):
    id = Uuid
    name = Text
    namespace = Text
    definition = Text
    tags = Tags
    scope = Scope
    project_id = Text
    created_at = Date
    updated_at = nullable(Date)


SHOWN: Final = Shown(Workbook, selectable=True)

WORKBOOKS: Final = ListOf(
    "workbooks",
    LISTING,
    SHOWN,
    Workbook.attributes(),
    everywhere="workflows:list:all_projects",
)

TEXT: Final = Upload(
    "A workbook in the workflow language, as YAML: workflows and ad-hoc actions.",
    "version: '2.0'\nname: tools\nworkflows:\n  hello:\n    tasks:\n"
    "      t: {action: std.noop}\n",
)


class LeftMember(ResourceType):
    """A workflow or action that an earlier text of a workbook had (LINT-34)."""

    kind = Text
    name = Text
    id = Uuid


class UploadedWorkbook(Workbook):
    """As POST and PUT answer: ``left_behind`` and ``pruned`` are there only if they
    have entries."""

    left_behind = [LeftMember]  # noqa: RUF012
    pruned = [LeftMember]  # noqa: RUF012


PRUNE: Final = Flag("prune", "Delete members that are not in the text any more.")
CASCADE: Final = Flag("cascade", "Delete the workflows and actions of it, too.")
DELETES_MEMBERS: Final = ("workflows:delete", "actions:delete")

LEFT: Final = ("left_behind", "pruned")

Members = list[stored.Member]


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "tags": row.get("tags") or []}


def _left(members: Iterable[stored.Member]) -> list[Shaped]:
    return [
        LeftMember.shape({**row, "kind": table.name.removesuffix("s")})
        for table, row in members
    ]


OWNED: Final = Owned(workbooks, WORKBOOKS, KnownBy.NAME, _values)


class Workbooks(Resource):
    routes = (
        uploads.validation(TEXT),
        list_route(WORKBOOKS, "workbooks:list"),
        upload(
            "POST",
            "",
            "post",
            "workbooks:create",
            201,
            query=(*uploads.PLACED, PRUNE),
            takes=TEXT,
            answer=Shown(
                UploadedWorkbook, "CreatedWorkbook", but=("updated_at",), maybe=LEFT
            ),
            also=("workbooks:publicize", *DELETES_MEMBERS),
            refuses=(Conflict,),
        ),
        upload(
            "PUT",
            "",
            "put",
            "workbooks:update",
            query=(*uploads.PLACED, PRUNE),
            takes=TEXT,
            answer=Shown(UploadedWorkbook, maybe=LEFT),
            also=("workbooks:publicize", *DELETES_MEMBERS),
            refuses=(NotFound, Conflict),
            tagged=True,
        ),
        *(
            show_route(WORKBOOKS, "workbooks:get", path, known)
            for path, known in uploads.NAMED
        ),
        *(
            Route(
                "DELETE",
                path,
                "delete",
                "workbooks:delete",
                204,
                (*known, CASCADE),
                also=DELETES_MEMBERS,
                refuses=(Conflict,),
                tagged=True,
            )
            for path, known in uploads.NAMED
        ),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        """List workbooks."""
        return OWNED.page(call)

    def get_one(self, call: Call, name: str, namespace: str | None = None) -> Answer:
        """Show a workbook of a namespace."""
        return OWNED.show(call, name, namespace)

    def post(self, call: Call) -> Shaped:
        """Create a workbook, and the workflows and actions in it."""
        workbook = self._put(call, stored.create)
        del workbook["updated_at"]
        return workbook

    def put(self, call: Call) -> Shaped:
        """Update the workbook of the name in the text, and what is in it."""
        return self._put(call, stored.update)

    def _put(self, call: Call, write: Any) -> Shaped:
        prune = self._deletes_members(call, PRUNE)
        place = uploads.place_of(call, "workbooks")
        parsed = uploads.parse(call, parse_workbook, unchecked_workbook)
        for action in parsed.actions:
            refuse_builtin(call, action.spec.name)
        kept = {each.spec.name for each in (*parsed.workflows, *parsed.actions)}

        def put(connection: Connection, author: Author) -> tuple[Row, Members]:
            row = write(connection, author, parsed, place)
            left = stored.members_besides(connection, row, kept)
            if prune:
                stored.remove_members(connection, left)
            return row, left

        row, left = triggers.with_declared(call, put)
        shown = {"pruned" if prune else "left_behind": _left(left)} if left else {}
        return UploadedWorkbook.shape(_values(row) | shown)

    def _deletes_members(self, call: Call, flag: Flag) -> bool:
        """
        :raises Forbidden: asked for by somebody who may not delete them.
        """
        asked = flag.of(call.query)
        if asked:
            for rule in DELETES_MEMBERS:
                call.require(rule)
        return asked

    def delete(self, call: Call, name: str, namespace: str | None = None) -> None:
        """Delete a workbook; the workflows and actions of it stay.

        With ``cascade`` they go, too, unless an execution of them is under way.
        """
        cascade = self._deletes_members(call, CASCADE)
        remove = stored.remove_with_members if cascade else stored.remove
        OWNED.delete(call, name, namespace, remove)

    def validate(self, call: Call) -> Shaped:
        """Say what is wrong with the text of a workbook; nothing is stored."""
        return uploads.judge(call, check_workbook)
