"""``/v2/environments`` (spec/rest-api.md § 8.9)."""

from __future__ import annotations

from typing import Any, Final

from mistral.api import uploads
from mistral.api.listing import ListOf, list_route
from mistral.api.owned import KnownBy, Owned, delete_route, show_route
from mistral.api.rest import Answer, Call, Resource, Route, replayed
from mistral.api.shapes import Sent, Shown
from mistral.api.types import (
    Attribute,
    Date,
    JsonText,
    ResourceType,
    Scope,
    Shaped,
    StrictTextType,
    Text,
    Uuid,
    nullable,
)
from mistral.db import definitions
from mistral.db.listing import Kind, Listing
from mistral.db.models import environments
from mistral.errors import BadRequest, Conflict, NotFound

LONGEST_NAME: Final = 200

LISTING: Final = Listing(
    environments,
    filters={
        "name": Kind.TEXT,
        "description": Kind.TEXT,
        "variables": Kind.JSON,
        "scope": Kind.TEXT,
        "project_id": Kind.PROJECT,
        "created_at": Kind.DATE,
        "updated_at": Kind.DATE,
    },
)


class Environment(ResourceType):
    id = Uuid
    name = StrictTextType(LONGEST_NAME)
    description = nullable(Text)
    variables = nullable(JsonText, "Replaced as a whole by an update.")
    scope = Scope
    project_id = Attribute(Text, "Project that it belongs to.")
    created_at = Date
    updated_at = nullable(Date)


SHOWN: Final = Shown(Environment, selectable=True)

ENVIRONMENTS: Final = ListOf(
    "environments",
    LISTING,
    SHOWN,
    Environment.attributes(),
    everywhere="workflows:list:all_projects",
)

OWNED: Final = Owned(environments, ENVIRONMENTS, KnownBy.NAME)

SENT: Final = Sent(
    Environment,
    "EnvironmentSent",
    ("name", "description", "variables", "scope"),
    required=("name",),
    example={"name": "production", "variables": {"region": "north"}},
)


class Environments(Resource):
    routes = (
        list_route(ENVIRONMENTS, "environments:list"),
        Route(
            "POST",
            "",
            "post",
            "environments:create",
            201,
            takes=SENT,
            answer=Shown(
                Environment,
                "CreatedEnvironment",
                but=("updated_at",),
                maybe=("description", "variables"),
            ),
            also=("environments:publicize",),
            refuses=(Conflict,),
        ),
        Route(
            "PUT",
            "",
            "put",
            "environments:update",
            takes=SENT,
            answer=Shown(Environment),
            also=("environments:publicize",),
            refuses=(NotFound,),
            tagged=True,
        ),
        show_route(ENVIRONMENTS, "environments:get", "{name}"),
        Route("PUT", "{name}", "put_one", "environments:update", raw=True),
        delete_route("environments:delete", "{name}"),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        """List environments."""
        return OWNED.page(call)

    def get_one(self, call: Call, name: str) -> Answer:
        """Show an environment."""
        return OWNED.show(call, name)

    @replayed
    def post(self, call: Call) -> Shaped:
        """Create an environment."""
        sent = self._sent(call)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = definitions.create_environment(connection, author, sent)
        answer = OWNED.created(row)
        for name in ("description", "variables"):
            if name not in sent:
                del answer[name]
        return answer

    @replayed
    def put(self, call: Call) -> Shaped:
        """Update the environment of the name in the body: what is given is replaced."""
        sent = self._sent(call)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = definitions.update_environment(connection, author, sent)
        return OWNED.shape(row)

    def put_one(self, call: Call, name: str) -> None:
        """Refused: the name of an environment that is updated belongs into the body.

        :raises BadRequest: always.
        """
        raise BadRequest(
            "Update an environment at /v2/environments, named in the body."
        )

    def delete(self, call: Call, name: str) -> None:
        """Delete an environment; executions that use it keep its values."""
        OWNED.delete(call, name)

    def _sent(self, call: Call) -> dict[str, Any]:
        sent = call.sent()
        if not sent.get("name"):
            raise BadRequest("Expected 'name', the name of the environment.")
        if "scope" in sent:
            sent["scope"] = sent["scope"] or "private"
            uploads.may_publish(call, "environments", sent["scope"])
        return sent
