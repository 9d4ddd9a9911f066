"""``/v2/cron_triggers`` (spec/rest-api.md § 9.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import wsme.types as wtypes

from mistral.api import listing, triggers, uploads
from mistral.api.rest import ANY, Call, Resource, Route
from mistral.api.types import (
    Date,
    DateType,
    JsonText,
    ResourceType,
    Scope,
    StrictTextType,
    Text,
)
from mistral.db import definitions, scope
from mistral.db import triggers as rows
from mistral.db.listing import MOST, Kind, Listing
from mistral.db.models import cron_triggers
from mistral.errors import BadRequest
from mistral.lang import cron

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
        "project_id": Kind.ID,
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


class CronTrigger(ResourceType):
    id = Text
    name = StrictTextType(LONGEST_NAME)
    workflow_name = Text
    workflow_id = Text
    workflow_input = JsonText
    workflow_params = JsonText
    project_id = Text
    scope = Scope
    pattern = StrictTextType(cron.LONGEST)
    remaining_executions = CountType()
    first_execution_time = FirstTimeType()
    next_execution_time = Date
    created_at = Date
    updated_at = Date


WRITABLE: Final = tuple(n for n in CronTrigger.attributes() if n != "project_id")
"""What a request may hold; the service's own attributes are passed over."""


class CronTriggers(Resource):
    routes = (
        Route("GET", "", "get_all", "cron_triggers:list", query=ANY),
        Route("POST", "", "post", "cron_triggers:create", 201),
        Route(
            "GET",
            "{identifier}",
            "get_one",
            "cron_triggers:get",
            query=frozenset({"fields"}),
        ),
        Route("DELETE", "{identifier}", "delete", "cron_triggers:delete", 204),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        query = listing.ask(
            call, LISTING, CronTrigger.attributes(), extra=("all_projects",)
        )
        listing.all_projects(call, "cron_triggers:list:all_projects")
        with call.services.database.read() as connection:
            found = LISTING.page(
                connection,
                query,
                scope.visible(cron_triggers, call.context),
                names=query.fields or CronTrigger.attributes(),
            )
        shaped = [CronTrigger.shape(row, query.fields) for row in found]
        return listing.envelope(call, "cron_triggers", query, shaped)

    def get_one(self, call: Call, identifier: str) -> CronTrigger:
        fields = listing.fields_of(call, CronTrigger.attributes())
        with call.services.database.read() as connection:
            row = _find(call, connection, identifier)
        return CronTrigger.shape(row, fields)

    def post(self, call: Call) -> CronTrigger:
        sent = call.read(CronTrigger, allowed=WRITABLE).sent()
        if not sent.get("name"):
            raise BadRequest("Expected 'name', the name of the trigger.")
        values = {
            "name": sent["name"],
            "scope": sent.get("scope") or "private",
            "workflow_input": sent.get("workflow_input") or {},
            "workflow_params": sent.get("workflow_params") or {},
        }
        uploads.may_publish(call, "cron_triggers", values["scope"])
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            values |= _times(sent, author.now)
            identifier = sent.get("workflow_id") or sent.get("workflow_name")
            if not identifier:
                raise BadRequest("Expected 'workflow_id' or 'workflow_name'.")
            workflow = triggers.workflow_of(call, connection, identifier)
            triggers.check_input(workflow, values["workflow_input"])
            row = rows.create(connection, author, workflow, values)
        answer = CronTrigger.shape(row)
        answer.updated_at = wtypes.Unset
        return answer

    def delete(self, call: Call, identifier: str) -> None:
        with call.services.database.begin() as connection:
            row = _find(call, connection, identifier)
            rows.remove(connection, call.context, row)


def _find(call: Call, connection: Any, identifier: str) -> Mapping[str, Any]:
    return definitions.identified(
        connection, cron_triggers, "cron trigger", identifier, None, call.context
    )


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
