"""``/v2/workflows/{id}/members`` (spec/rest-api.md § 8.4)."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import wsme.types as wtypes

from mistral.api import uploads
from mistral.api.rest import Call, Resource, Route, parse_uuid
from mistral.api.types import Date, ResourceType, Text
from mistral.db import sharing
from mistral.errors import BadRequest

LONGEST_PROJECT: Final = 80


class Member(ResourceType):
    id = Text
    resource_id = Text
    resource_type = Text
    project_id = Text
    member_id = Text
    status = Text
    created_at = Date
    updated_at = Date


class Members(Resource):
    """Who else may use a workflow; a part of ``Workflows``."""

    routes: ClassVar[tuple[Route, ...]] = (
        Route("GET", "{id}/members", "get_members", "members:list"),
        Route("POST", "{id}/members", "post_member", "members:create", 201),
        Route("GET", "{id}/members/{project}", "get_member", "members:get"),
        Route("PUT", "{id}/members/{project}", "put_member", "members:update"),
        Route(
            "DELETE", "{id}/members/{project}", "delete_member", "members:delete", 204
        ),
    )

    def get_members(self, call: Call, workflow_id: str) -> dict[str, Any]:
        workflow_id = _asked(call, workflow_id)
        with call.services.database.read() as connection:
            rows = sharing.all_members(connection, workflow_id, call.context)
        return {"members": [Member.shape(row) for row in rows]}

    def get_member(self, call: Call, workflow_id: str, project: str) -> Member:
        workflow_id = _asked(call, workflow_id)
        with call.services.database.read() as connection:
            row = sharing.one_member(connection, workflow_id, project, call.context)
        return Member.shape(row)

    def post_member(self, call: Call, workflow_id: str) -> Member:
        workflow_id = _asked(call, workflow_id)
        member_id = call.document().get("member_id")
        if not isinstance(member_id, str) or not member_id:
            raise BadRequest("Expected 'member_id', the id of a project.")
        if len(member_id) > LONGEST_PROJECT:
            raise BadRequest(f"'member_id' has at most {LONGEST_PROJECT} characters.")
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = sharing.add_member(connection, author, workflow_id, member_id)
        member = Member.shape(row)
        member.updated_at = wtypes.Unset
        return member

    def put_member(self, call: Call, workflow_id: str, project: str) -> Member:
        workflow_id = _asked(call, workflow_id)
        status = call.document().get("status")
        if status not in sharing.STATUSES:
            known = ", ".join(sharing.STATUSES)
            raise BadRequest(f"Expected 'status', one of {known}.")
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = sharing.answer(connection, author, workflow_id, project, status)
        return Member.shape(row)

    def delete_member(self, call: Call, workflow_id: str, project: str) -> None:
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
