"""``/v2/event_triggers`` (spec/rest-api.md § 9.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from mistral.api import triggers, uploads
from mistral.api.listing import ListOf, list_route
from mistral.api.owned import KnownBy, Owned, delete_route, show_route
from mistral.api.parameters import Number
from mistral.api.rest import Answer, Call, Resource, Route, parse_uuid, replayed
from mistral.api.shapes import Sent, Shown, Together
from mistral.api.types import (
    Attribute,
    Date,
    ExpressionsText,
    JsonText,
    Name,
    NativeType,
    ResourceType,
    Scope,
    Shaped,
    StrictTextType,
    Text,
    Uuid,
    WordType,
    nullable,
)
from mistral.db import event_firings as stored
from mistral.db import event_triggers as rows
from mistral.db import owned, scope
from mistral.db.listing import Kind, Listing
from mistral.db.models import event_triggers
from mistral.errors import BadRequest, Conflict, ExpressionFault, NotFound
from mistral.exchanges import check_source
from mistral.expressions.evaluate import check

LONGEST_SOURCE: Final = 80
SOURCE: Final = ("exchange", "topic", "event")
"""What a trigger listens to; it never changes."""

CHANGED: Final = (
    "name",
    "workflow_id",
    "workflow_input",
    "input_mapping",
    "workflow_params",
    "message",
    "scope",
)
MESSAGE: Final = frozenset({"name", "key", "payload", "execution_id"})
"""What a message of a trigger is made of."""

HEARD: Final = frozenset({"input_mapping", "message"})
"""What expressions about the event are in: one of these at most."""

DEFAULTS: Final[Mapping[str, Any]] = {
    "name": "",
    "workflow_input": {},
    "input_mapping": None,
    "workflow_params": {},
    "message": None,
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
        "definition_type": Kind.TEXT,
        "definition_id": Kind.UUID,
        "project_id": Kind.PROJECT,
        "created_at": Kind.DATE,
        "updated_at": Kind.DATE,
    },
)


class EventTrigger(ResourceType):
    id = Uuid
    created_at = Date
    updated_at = nullable(Date)
    project_id = Attribute(Text, "Project that it belongs to.", readonly=True)
    name = Attribute(Name, "Need not be unique.")
    workflow_id = Uuid
    workflow_input = JsonText
    workflow_params = JsonText
    exchange = Attribute(
        StrictTextType(LONGEST_SOURCE), "Where notifications are heard; never changes."
    )
    topic = Attribute(
        StrictTextType(LONGEST_SOURCE), "Where notifications are heard; never changes."
    )
    event = Attribute(
        StrictTextType(LONGEST_SOURCE), "Type of the notification; never changes."
    )
    message = nullable(
        JsonText,
        "Instead of starting the workflow: a message to its executions, with `name`, "
        "`key`, `payload` and `execution_id`, in which expressions see the event. "
        "Without `execution_id`: to those in which a task waits for it.",
    )
    scope = Attribute(Scope, "`public`: events of every project count.")
    input_mapping = nullable(
        ExpressionsText,
        "Input with expressions about the event (`$.payload`, `$.event_type`, "
        "`$.publisher`, `$.timestamp`, `$.context`), or one expression that is the "
        "input; it goes before `workflow_input`, whose texts stay as they are. `{}`: "
        "none.",
    )
    definition_type = nullable(
        WordType("workflow", "workbook"),
        "What defines the trigger, if a text does: it changes with that alone.",
    )
    definition_id = nullable(Uuid, "UUID of that.")


class EventFiring(ResourceType):
    """What came of an event that a trigger heard."""

    id = Uuid
    event_id = Attribute(Text, "Id that its sender gave the event.")
    outcome = Attribute(
        WordType(*stored.OUTCOMES),
        "`started`: a start was stored; `sent`: a message was, for each execution that"
        " it is for; `unheard`: there was none; `refused`: the engine has refused what"
        " was stored, of a message for several executions one of them; `failed`: the"
        " message could not be made of the event.",
    )
    reason = nullable(Text, "Why not, or which parts of the input could not be made.")
    execution_id = nullable(
        Uuid, "The execution that was started, or the only one that a message was for."
    )
    reached = Attribute(
        NativeType({"type": "integer", "minimum": 0}), "How many executions it was for."
    )
    state = nullable(Text, "Of that execution; null: it is not there, or not yet.")
    state_info = nullable(Text)
    created_at = Date
    updated_at = nullable(Date)


LATEST: Final = Number("limit", "How many of them.", least=1, most=stored.KEPT)

SHOWN: Final = Shown(EventTrigger, selectable=True)

TRIGGERS: Final = ListOf(
    "event_triggers",
    LISTING,
    SHOWN,
    EventTrigger.attributes(),
    everywhere="event_triggers:list:all_projects",
)

OWNED: Final = Owned(
    event_triggers,
    TRIGGERS,
    KnownBy.ID,
    values=triggers.shown_values,
    remove=rows.remove_apart,
)
"""By UUID alone: names need not be unique."""

CREATE: Final = Sent(
    EventTrigger,
    "EventTriggerCreate",
    (*CHANGED, *SOURCE),
    required=("workflow_id", *SOURCE),
)
UPDATE: Final = Sent(EventTrigger, "EventTriggerUpdate", CHANGED)


class EventTriggers(Resource):
    starts_actions = True
    routes = (
        list_route(TRIGGERS, "event_triggers:list"),
        Route(
            "POST",
            "",
            "post",
            "event_triggers:create",
            201,
            takes=CREATE,
            answer=Shown(EventTrigger),
            also=("event_triggers:publicize",),
            refuses=(NotFound, Conflict),
        ),
        show_route(TRIGGERS, "event_triggers:get", "{identifier}"),
        Route(
            "PUT",
            "{identifier}",
            "put",
            "event_triggers:update",
            takes=UPDATE,
            answer=Shown(EventTrigger),
            also=("event_triggers:publicize",),
            refuses=(Conflict,),
            tagged=True,
        ),
        delete_route("event_triggers:delete", "{identifier}", refuses=(Conflict,)),
        Route(
            "GET",
            "{identifier}/firings",
            "get_firings",
            "event_triggers:get",
            query=(LATEST,),
            answer=Together("firings", Shown(EventFiring)),
        ),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        """List event triggers."""
        return OWNED.page(call)

    def get_one(self, call: Call, identifier: str) -> Answer:
        """Show an event trigger, by UUID."""
        return OWNED.show(call, identifier)

    def get_firings(self, call: Call, identifier: str) -> Shaped:
        """Show what came of the last events that an event trigger heard, the latest
        first (new)."""
        limit = LATEST.of(call.query) or stored.KEPT
        with call.services.database.read() as connection:
            row = OWNED.find(call, connection, identifier)
            scope.require_owner(row, call.context, f"Event trigger {row['id']}")
            found = stored.latest(connection, row["id"], limit)
        return {"firings": [EventFiring.shape(each) for each in found]}

    def post(self, call: Call) -> Shaped:
        """Create an event trigger."""
        values = {**DEFAULTS, **_given(call)}
        _check_message(call, values.get("message"))
        _check_mapping(call, values)
        for name in ("workflow_id", *SOURCE):
            if not values.get(name):
                raise BadRequest(f"Expected '{name}', which is mandatory.")
        check_source(values["exchange"], values["topic"])
        values["workflow_params"] = triggers.params_to_keep(
            call, values["workflow_params"], call.context
        )
        uploads.may_publish(call, "event_triggers", values["scope"])
        most = call.services.settings.event_engine.max_sources

        def check(connection: Connection) -> None:
            _check_workflow(call, connection, values, call.context.project_id)

        database = call.services.database

        def create(own: Mapping[str, Any]) -> Mapping[str, Any]:
            with database.begin() as connection:
                check(connection)
                author = uploads.author_of(call, connection)
                return rows.create(connection, author, {**values, **own}, most)

        with triggers.owned(call, check) as own:
            row = database.again(lambda: create(own))
        return OWNED.shape(row)

    @replayed
    def put(self, call: Call, identifier: str) -> Shaped:
        """Update an event trigger; what it listens to stays."""
        values = _given(call)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = OWNED.find(call, connection, identifier)
            row = owned.to_change(
                connection, event_triggers, row, call.context, author.unchanged
            )
            owned.refuse_declared(event_triggers, row)
            _check_message(call, values.get("message"))
            if {"workflow_id", "workflow_input", *HEARD} & set(values):
                wanted = {**row, **values}
                _check_mapping(call, wanted)
                _check_workflow(call, connection, wanted, row["project_id"])
            if "workflow_params" in values:
                whose = replace(call.context, project_id=row["project_id"])
                values["workflow_params"] = triggers.params_to_keep(
                    call, values["workflow_params"], whose, row["workflow_params"]
                )
            row = rows.change(connection, author, row, values)
        return OWNED.shape(row)

    def delete(self, call: Call, identifier: str) -> None:
        """Delete an event trigger."""
        OWNED.delete(call, identifier)


def _given(call: Call) -> dict[str, Any]:
    """What was sent; null means that it was not.

    :raises BadRequest: the workflow's id is no UUID.
    """
    sent = call.sent()
    values = {name: value for name, value in sent.items() if value is not None}
    if "workflow_id" in values:
        values["workflow_id"] = parse_uuid(values["workflow_id"], "workflow_id")
    if "input_mapping" in values:
        values["input_mapping"] = values["input_mapping"] or None
    return values


def _check_message(call: Call, message: Any) -> None:
    """
    :raises BadRequest: it has other parts than a message, or none that it needs, or
        an expression in it cannot work.
    """
    if message is None:
        return
    unknown = ", ".join(sorted(set(message) - MESSAGE))
    if unknown or not message.get("name"):
        found = f", found {unknown}" if unknown else ""
        raise BadRequest(
            "Expected 'message' with 'name', and 'key', 'payload' and 'execution_id'"
            f" where they are wanted{found}."
        )
    for part, value in message.items():
        _check_expressions(call, f"message.{part}", value)


def _check_mapping(call: Call, values: Mapping[str, Any]) -> None:
    """As in definitions (decision 0040).

    :raises BadRequest: an expression in it cannot work, or nothing is started.
    """
    mapping = values["input_mapping"]
    if mapping is None:
        return
    if values["message"] is not None:
        raise BadRequest(
            "With 'message' nothing is started: 'input_mapping' has no use."
        )
    if isinstance(mapping, str):
        _check_expressions(call, "input_mapping", mapping)
        return
    for name, value in mapping.items():
        _check_expressions(call, f"input_mapping.{name}", value)


def _check_expressions(call: Call, where: str, tree: Any) -> None:
    """
    :raises BadRequest: one of the tree cannot work.
    """
    languages = call.services.settings.expressions.allowed_languages
    for text in _texts(tree):
        try:
            check(text, languages)
        except ExpressionFault as error:
            raise BadRequest(f"'{where}': {error.message}") from None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _check_workflow(
    call: Call, connection: Connection, values: Mapping[str, Any], project_id: str
) -> None:
    """The workflow is one that the trigger's project sees, and takes the input.

    :raises NotFound: it is none.
    :raises InvalidInput: missing or unexpected names.
    """
    workflow = rows.workflow_of(connection, values["workflow_id"], project_id)
    if values.get("message") is not None:
        return
    given, mapping = values["workflow_input"], values["input_mapping"]
    if isinstance(mapping, str):
        # which names it gives shows the event
        triggers.check_input(workflow, given, whole=False)
    else:
        triggers.check_input(workflow, {**given, **(mapping or {})})
