"""``/v2/dynamic_actions`` (spec/rest-api.md § 8.7): names for classes of code
sources. Whether a class can be loaded is found out by the executor that runs it."""

from __future__ import annotations

from typing import Any, Final

from mistral.api import uploads
from mistral.api.listing import ListOf, list_route
from mistral.api.owned import Owned, delete_route, show_route
from mistral.api.rest import Answer, Call, Resource, Route, replayed
from mistral.api.shapes import Sent, Shown
from mistral.api.types import (
    Attribute,
    Date,
    Name,
    ResourceType,
    Scope,
    Shaped,
    Text,
    Uuid,
    nullable,
)
from mistral.api.v2.actions import refuse_builtin
from mistral.api.v2.code_sources import FILTERS, NO_TAGS
from mistral.db import code_sources
from mistral.db.listing import Listing
from mistral.db.models import dynamic_actions
from mistral.db.owned import Place
from mistral.errors import BadRequest, Conflict, NotFound

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
    id = Uuid
    name = Name
    namespace = Name
    code_source_id = Uuid
    code_source_name = Text
    class_name = Attribute(Name, "Class in the code source.")
    scope = Scope
    project_id = Attribute(Text, "Project that it belongs to.")
    created_at = Date
    updated_at = nullable(Date)


SHOWN: Final = Shown(DynamicAction, selectable=True)

ACTIONS: Final = ListOf(
    "dynamic_actions",
    LISTING,
    SHOWN,
    DynamicAction.attributes(),
    sortable=tuple(dynamic_actions.c.keys()),
    everywhere="workflows:list:all_projects",
)

OWNED: Final = Owned(dynamic_actions, ACTIONS)

CREATE: Final = Sent(
    DynamicAction,
    "DynamicActionCreate",
    CREATED,
    required=("name", "class_name"),
    needs=(("code_source_id", "code_source_name"),),
)
UPDATE: Final = Sent(
    DynamicAction, "DynamicActionUpdate", UPDATED, needs=(("id", "name"),)
)


class DynamicActions(Resource):
    """The path may end in the namespace."""

    routes = (
        list_route(ACTIONS, "dynamic_actions:list"),
        Route(
            "POST",
            "",
            "post",
            "dynamic_actions:create",
            201,
            takes=CREATE,
            answer=Shown(DynamicAction, "CreatedDynamicAction", but=("updated_at",)),
            also=("dynamic_actions:publicize",),
            refuses=(NotFound, Conflict),
        ),
        Route(
            "PUT",
            "",
            "put",
            "dynamic_actions:update",
            takes=UPDATE,
            answer=Shown(DynamicAction),
            also=("dynamic_actions:publicize",),
            refuses=(NotFound,),
            tagged=True,
        ),
        *(
            route
            for path, known in uploads.IDENTIFIED
            for route in (
                show_route(ACTIONS, "dynamic_actions:get", path, known),
                delete_route("dynamic_actions:delete", path, known),
            )
        ),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        """List dynamic actions."""
        return OWNED.page(call)

    def get_one(
        self, call: Call, identifier: str, namespace: str | None = None
    ) -> Answer:
        """Show a dynamic action."""
        return OWNED.show(call, identifier, namespace)

    @replayed
    def post(self, call: Call) -> Shaped:
        """Create a dynamic action: a name for a class of a code source."""
        sent = self._sent(call)
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
        return OWNED.created(row)

    @replayed
    def put(self, call: Call) -> Shaped:
        """Update a dynamic action, named by ``id`` or ``name`` in the body."""
        sent = self._sent(call)
        identifier = sent.get("id") or sent.get("name")
        if not identifier:
            raise BadRequest("Expected 'id' or 'name' of the dynamic action.")
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = code_sources.update_action(
                connection, author, identifier, sent.get("namespace") or "", sent
            )
        return OWNED.shape(row)

    def delete(self, call: Call, identifier: str, namespace: str | None = None) -> None:
        """Delete a dynamic action."""
        OWNED.delete(call, identifier, namespace)

    def _sent(self, call: Call) -> dict[str, Any]:
        sent = call.sent()
        uploads.may_publish(call, "dynamic_actions", sent.get("scope") or "private")
        uploads.refuse_code_when_off(call)
        return sent
