"""``/v2/event_triggers`` (spec/rest-api.md § 9.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from mistral.api import listing, triggers, uploads
from mistral.api.rest import ANY, Call, Resource, Route, parse_uuid
from mistral.api.types import (
    Date,
    JsonText,
    Name,
    ResourceType,
    Scope,
    StrictTextType,
    Text,
)
from mistral.bus import check_source
from mistral.db import event_triggers as rows
from mistral.db import scope
from mistral.db.listing import Kind, Listing
from mistral.db.models import event_triggers
from mistral.errors import BadRequest

LONGEST_SOURCE: Final = 80
SOURCE: Final = ("exchange", "topic", "event")
"""What a trigger listens to; it never changes."""

WRITABLE: Final = (
    "name", "workflow_id", "workflow_input", "workflow_params", "scope", *SOURCE,
)  # fmt: skip
DEFAULTS: Final[Mapping[str, Any]] = {
    "name": "",
    "workflow_input": {},
    "workflow_params": {},
    "scope": "private",
}

LISTING: Final = Listing(
    event_triggers,
    filters={
        "name": Kind.TEXT,
        "workflow_id": Kind.UUID,
        "workflow_input": Kind.JSON,
        "workflow_params": Kind.JSON,
        "exchange": Kind.TEXT,
        "topic": Kind.TEXT,
        "event": Kind.TEXT,
        "scope": Kind.TEXT,
        "project_id": Kind.ID,
        "created_at": Kind.DATE,
        "updated_at": Kind.DATE,
    },
)


class EventTrigger(ResourceType):
    id = Text
    created_at = Date
    updated_at = Date
    project_id = Text
    name = Name
    workflow_id = Text
    workflow_input = JsonText
    workflow_params = JsonText
    exchange = StrictTextType(LONGEST_SOURCE)
    topic = StrictTextType(LONGEST_SOURCE)
    event = StrictTextType(LONGEST_SOURCE)
    scope = Scope


class EventTriggers(Resource):
    routes = (
        Route("GET", "", "get_all", "event_triggers:list", query=ANY),
        Route("POST", "", "post", "event_triggers:create", 201),
        Route(
            "GET",
            "{identifier}",
            "get_one",
            "event_triggers:get",
            query=frozenset({"fields"}),
        ),
        Route("PUT", "{identifier}", "put", "event_triggers:update"),
        Route("DELETE", "{identifier}", "delete", "event_triggers:delete", 204),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        query = listing.ask(
            call, LISTING, EventTrigger.attributes(), extra=("all_projects",)
        )
        listing.all_projects(call, "event_triggers:list:all_projects")
        with call.services.database.read() as connection:
            found = LISTING.page(
                connection,
                query,
                scope.visible(event_triggers, call.context),
                names=query.fields or EventTrigger.attributes(),
            )
        shaped = [EventTrigger.shape(row, query.fields) for row in found]
        return listing.envelope(call, "event_triggers", query, shaped)

    def get_one(self, call: Call, identifier: str) -> EventTrigger:
        fields = listing.fields_of(call, EventTrigger.attributes())
        with call.services.database.read() as connection:
            row = _find(call, connection, identifier)
        return EventTrigger.shape(row, fields)

    def post(self, call: Call) -> EventTrigger:
        values = {**DEFAULTS, **_given(call)}
        for name in ("workflow_id", *SOURCE):
            if not values.get(name):
                raise BadRequest(f"Expected '{name}', which is mandatory.")
        check_source(values["exchange"], values["topic"])
        uploads.may_publish(call, "event_triggers", values["scope"])
        most = call.services.settings.event_engine.max_sources
        with call.services.database.begin() as connection:
            _check_workflow(call, connection, values, call.context.project_id)
            author = uploads.author_of(call, connection)
            row = rows.create(connection, author, values, most)
        return EventTrigger.shape(row)

    def put(self, call: Call, identifier: str) -> EventTrigger:
        values = _given(call)
        fixed = [name for name in SOURCE if name in values]
        if fixed:
            raise BadRequest(f"An event trigger keeps its {', '.join(fixed)}.")
        with call.services.database.begin() as connection:
            row = _find(call, connection, identifier)
            what = f"The event trigger {row['id']}"
            scope.require_owner(row, call.context, what)
            if values.get("scope", row["scope"]) != row["scope"]:
                uploads.may_publish(call, "event_triggers", values["scope"])
            if {"workflow_id", "workflow_input"} & set(values):
                wanted = {**row, **values}
                _check_workflow(call, connection, wanted, row["project_id"])
            now = uploads.author_of(call, connection).now
            row = rows.change(connection, row, values, now)
        return EventTrigger.shape(row)

    def delete(self, call: Call, identifier: str) -> None:
        with call.services.database.begin() as connection:
            row = _find(call, connection, identifier)
            rows.remove(connection, row, call.context)


def _given(call: Call) -> dict[str, Any]:
    """What was sent; null means that it was not.

    :raises BadRequest: the workflow's id is no UUID.
    """
    sent = call.read(EventTrigger, allowed=WRITABLE).sent()
    values = {name: value for name, value in sent.items() if value is not None}
    if "workflow_id" in values:
        values["workflow_id"] = parse_uuid(values["workflow_id"], "workflow_id")
    return values


def _find(call: Call, connection: Connection, identifier: str) -> Mapping[str, Any]:
    """By UUID alone: names need not be unique."""
    trigger_id = parse_uuid(identifier, "the event trigger")
    return rows.identified(connection, trigger_id, call.context)


def _check_workflow(
    call: Call, connection: Connection, values: Mapping[str, Any], project_id: str
) -> None:
    """The workflow is one that the trigger's project sees, and takes the input.

    :raises NotFound: it is none.
    :raises InvalidInput: missing or unexpected names.
    """
    workflow = rows.workflow_of(connection, values["workflow_id"], project_id)
    triggers.check_input(workflow, values["workflow_input"])
