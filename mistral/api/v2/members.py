"""``/v2/workflows/{id}/members`` (spec/rest-api.md § 8.4)."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from mistral.api import uploads
from mistral.api.rest import Call, Resource, Route, parse_uuid, replayed
from mistral.api.shapes import Sent, Shown, Together
from mistral.api.types import (
    Attribute,
    Date,
    ResourceType,
    Shaped,
    StrictTextType,
    Text,
    Uuid,
    WordType,
    nullable,
)
from mistral.db import sharing
from mistral.errors import BadRequest, Conflict

LONGEST_PROJECT: Final = 80


class Member(ResourceType):
    id = Uuid
    resource_id = Attribute(Uuid, "UUID of the workflow.")
    resource_type = WordType("workflow")
    project_id = Attribute(Text, "Project that shares.")
    member_id = Attribute(
        StrictTextType(LONGEST_PROJECT), "Project that the workflow is shared with."
    )
    status = WordType(*sharing.STATUSES)
    created_at = Date
    updated_at = nullable(Date)


OFFER: Final = Sent(
    Member, "MemberOffer", ("member_id",), required=("member_id",), open=True
)
REPLY: Final = Sent(
    Member,
    "MemberReply",
    ("status",),
    required=("status",),
    open=True,
    narrowed={"status": sharing.STATUSES},
)


class Members(Resource):
    """Who else may use a workflow; a part of ``Workflows``."""

    routes: ClassVar[tuple[Route, ...]] = (
        Route(
            "GET",
            "{id}/members",
            "get_members",
            "members:list",
            answer=Together("members", Shown(Member)),
        ),
        Route(
            "POST",
            "{id}/members",
            "post_member",
            "members:create",
            201,
            takes=OFFER,
            answer=Shown(Member, "CreatedMember", but=("updated_at",)),
            refuses=(Conflict,),
        ),
        Route(
            "GET",
            "{id}/members/{project}",
            "get_member",
            "members:get",
            answer=Shown(Member),
        ),
        Route(
            "PUT",
            "{id}/members/{project}",
            "put_member",
            "members:update",
            takes=REPLY,
            answer=Shown(Member),
        ),
        Route(
            "DELETE", "{id}/members/{project}", "delete_member", "members:delete", 204
        ),
    )

    def get_members(self, call: Call, workflow_id: str) -> dict[str, Any]:
        """List memberships that the caller's project gave or got."""
        workflow_id = _asked(call, workflow_id)
        with call.services.database.read() as connection:
            rows = sharing.all_members(connection, workflow_id, call.context)
        return {"members": [Member.shape(row) for row in rows]}

    def get_member(self, call: Call, workflow_id: str, project: str) -> Shaped:
        """Show a membership."""
        workflow_id = _asked(call, workflow_id)
        with call.services.database.read() as connection:
            row = sharing.one_member(connection, workflow_id, project, call.context)
        return Member.shape(row)

    @replayed
    def post_member(self, call: Call, workflow_id: str) -> Shaped:
        """Share a private workflow with another project, which may accept it."""
        workflow_id = _asked(call, workflow_id)
        member_id = call.sent().get("member_id")
        if not member_id:
            raise BadRequest("Expected 'member_id', the id of a project.")
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = sharing.add_member(connection, author, workflow_id, member_id)
        member = Member.shape(row)
        del member["updated_at"]
        return member

    @replayed
    def put_member(self, call: Call, workflow_id: str, project: str) -> Shaped:
        """Accept or reject a workflow that was shared with one's project."""
        workflow_id = _asked(call, workflow_id)
        status = call.sent().get("status")
        if status not in sharing.STATUSES:
            known = ", ".join(sharing.STATUSES)
            raise BadRequest(f"Expected 'status', one of {known}.")
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = sharing.answer(connection, author, workflow_id, project, status)
        return Member.shape(row)

    @replayed
    def delete_member(self, call: Call, workflow_id: str, project: str) -> None:
        """Share a workflow no longer."""
        workflow_id = _asked(call, workflow_id)
        with call.services.database.begin() as connection:
            sharing.remove_member(connection, workflow_id, project, call.context)


def _asked(call: Call, workflow_id: str) -> str:
    """The UUID of the path.

    :raises BadRequest: it is none, or there are no projects to share with.
    """
    if not call.authenticated:
        raise BadRequest("Sharing needs authentication, which is off.")
    return parse_uuid(workflow_id, "the workflow")
