"""``/v2/cron_triggers`` (spec/rest-api.md § 9.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import wsme.types as wtypes
from sqlalchemy import Connection

from mistral.api import triggers, uploads
from mistral.api.auth import params_as_kept
from mistral.api.listing import ListOf, list_route
from mistral.api.owned import Owned, delete_route, show_route
from mistral.api.rest import Answer, Call, Resource, Route
from mistral.api.shapes import Sent, Shown
from mistral.api.types import (
    Attribute,
    Date,
    DateType,
    JsonSchema,
    JsonText,
    ResourceType,
    Scope,
    Shaped,
    StrictTextType,
    Text,
    Uuid,
    nullable,
)
from mistral.db import triggers as rows
from mistral.db.listing import MOST, Kind, Listing
from mistral.db.models import cron_triggers
from mistral.db.owned import Author
from mistral.errors import BadRequest, Conflict, NotFound
from mistral.lang import cron

Row = Mapping[str, Any]

LONGEST_NAME: Final = 200
FIRST_FORMAT: Final = "%Y-%m-%d %H:%M"
AHEAD: Final = timedelta(seconds=60)
"""How far in the future a first time lies at least."""

_DIGITS: Final = re.compile("[0-9]{1,10}")

ONCE: Final = "0 0 30 2 0"
"""Pattern that a trigger with a first time only is shown with; it fires once."""

LISTING: Final = Listing(
    cron_triggers,
    filters={
        "name": Kind.TEXT,
        "workflow_name": Kind.TEXT,
        "workflow_id": Kind.UUID,
        "workflow_input": Kind.JSON,
        "workflow_params": Kind.JSON,
        "pattern": Kind.TEXT,
        "first_execution_time": Kind.DATE,
        "next_execution_time": Kind.DATE,
        "remaining_executions": Kind.COUNT,
        "scope": Kind.TEXT,
        "project_id": Kind.PROJECT,
        "created_at": Kind.DATE,
        "updated_at": Kind.DATE,
    },
)


class FirstTimeType(DateType):
    """A moment that is sent to the minute."""

    name = "first-time"

    @staticmethod
    def frombasetype(value: Any) -> datetime | None:
        """
        :raises ValueError: not ``YYYY-MM-DD HH:MM``.
        """
        if value is None:
            return None
        try:
            moment = datetime.strptime(value, FIRST_FORMAT)
        except (TypeError, ValueError):
            moment = None
        if moment is None or moment.strftime(FIRST_FORMAT) != value:
            raise ValueError("Expected a time in UTC as YYYY-MM-DD HH:MM.")
        return moment

    def request_schema(self) -> JsonSchema:
        return {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}$"}


class CountType(wtypes.UserType):  # type: ignore[misc]
    """How often something happens: a whole number, or its digits."""

    # WSME's own whole numbers would take true and 1.5, too.
    basetype = wtypes.text
    name = "count"

    @staticmethod
    def validate(value: Any) -> int:
        """
        :raises ValueError: no whole number from 1 on.
        """
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            if 1 <= value <= MOST:
                return value
        raise ValueError(f"Expected a whole number from 1 to {MOST}.")

    @classmethod
    def frombasetype(cls, value: Any) -> int | None:
        return None if value is None else cls.validate(value)

    def answer_schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": 1, "maximum": MOST}

    def request_schema(self) -> JsonSchema:
        digits = {"type": "string", "pattern": "^0*[1-9][0-9]{0,9}$"}
        return {"anyOf": [self.answer_schema(), digits]}


class CronTrigger(ResourceType):
    id = Uuid
    name = StrictTextType(LONGEST_NAME)
    workflow_name = Attribute(Text, "In requests a UUID is taken, too.")
    workflow_id = Attribute(Uuid, "In requests a name is taken, too.")
    workflow_input = JsonText
    workflow_params = JsonText
    project_id = Attribute(Text, "Project that it belongs to.", readonly=True)
    scope = Scope
    pattern = Attribute(
        StrictTextType(cron.LONGEST),
        "Minute, hour, day, month, weekday; or six fields with the seconds last, or "
        "`@daily` and its like.",
    )
    remaining_executions = nullable(CountType(), "Null: without end.")
    first_execution_time = nullable(
        FirstTimeType(),
        "In requests `YYYY-MM-DD HH:MM` (UTC), at least a minute ahead.",
    )
    next_execution_time = Date
    created_at = Date
    updated_at = nullable(Date)


SHOWN: Final = Shown(CronTrigger, selectable=True)

TRIGGERS: Final = ListOf(
    "cron_triggers",
    LISTING,
    SHOWN,
    CronTrigger.attributes(),
    everywhere="cron_triggers:list:all_projects",
)

OWNED: Final = Owned(
    cron_triggers, TRIGGERS, values=triggers.shown_values, remove=rows.remove
)

CREATE: Final = Sent(
    CronTrigger,
    "CronTriggerCreate",
    (
        "name",
        "workflow_name",
        "workflow_id",
        "workflow_input",
        "workflow_params",
        "scope",
        "pattern",
        "remaining_executions",
        "first_execution_time",
    ),
    required=("name",),
    needs=(
        ("workflow_id", "workflow_name"),
        ("pattern", "first_execution_time"),
    ),
    passed_over=True,
    example={"name": "nightly", "workflow_name": "hello", "pattern": "0 3 * * *"},
)


class CronTriggers(Resource):
    starts_actions = True
    routes = (
        list_route(TRIGGERS, "cron_triggers:list"),
        Route(
            "POST",
            "",
            "post",
            "cron_triggers:create",
            201,
            takes=CREATE,
            answer=Shown(CronTrigger, "CreatedCronTrigger", but=("updated_at",)),
            also=("cron_triggers:publicize",),
            refuses=(NotFound, Conflict),
        ),
        show_route(TRIGGERS, "cron_triggers:get", "{identifier}"),
        delete_route("cron_triggers:delete", "{identifier}"),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        """List cron triggers."""
        return OWNED.page(call)

    def get_one(self, call: Call, identifier: str) -> Answer:
        """Show a cron trigger, by UUID or name."""
        return OWNED.show(call, identifier)

    def post(self, call: Call) -> Shaped:
        """Create a cron trigger, for a workflow of the default namespace."""
        sent = call.sent()
        if not sent.get("name"):
            raise BadRequest("Expected 'name', the name of the trigger.")
        values = {
            "name": sent["name"],
            "scope": sent.get("scope") or "private",
            "workflow_input": sent.get("workflow_input") or {},
            "workflow_params": params_as_kept(
                sent.get("workflow_params") or {}, call.context, call.services.keyring
            ),
        }
        uploads.may_publish(call, "cron_triggers", values["scope"])

        def check(connection: Connection) -> tuple[Author, Row, dict[str, Any]]:
            author = uploads.author_of(call, connection)
            times = _times(sent, author.now)
            identifier = sent.get("workflow_id") or sent.get("workflow_name")
            if not identifier:
                raise BadRequest("Expected 'workflow_id' or 'workflow_name'.")
            workflow = triggers.workflow_of(call, connection, identifier)
            triggers.check_input(workflow, values["workflow_input"])
            return author, workflow, times

        database = call.services.database
        with triggers.owned(call, check) as own, database.begin() as connection:
            author, workflow, times = check(connection)
            columns = {**values, **times, **own}
            row = rows.create(connection, author, workflow, columns)
        return OWNED.created(row)

    def delete(self, call: Call, identifier: str) -> None:
        """Delete a cron trigger."""
        OWNED.delete(call, identifier)


def _times(sent: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """When and how often: pattern, first and next time, count.

    :raises BadRequest: they name no time, or one that is too near.
    """
    pattern = sent.get("pattern") or None
    first = sent.get("first_execution_time")
    count = sent.get("remaining_executions")
    if pattern is None and first is None:
        raise BadRequest("Pattern or first_execution_time must be specified.")
    if first is not None and first < now + AHEAD:
        raise BadRequest("first_execution_time must be at least 1 minute ahead.")
    if pattern is None and count is not None and count > 1:
        raise BadRequest("Pattern must be provided if count is superior to 1.")
    following = first
    if pattern is None:
        pattern, count = ONCE, 1
    else:
        cron.check_pattern(pattern)
        following = first or cron.next_match(pattern, now)
        if following is None:
            raise BadRequest(
                f"The specified pattern is not valid: {pattern} (it matches no time)"
            )
    return {
        "pattern": pattern,
        "first_execution_time": first,
        "next_execution_time": following,
        "remaining_executions": count,
    }
