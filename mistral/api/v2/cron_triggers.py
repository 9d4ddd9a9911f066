"""``/v2/cron_triggers`` (spec/rest-api.md § 9.4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import wsme.types as wtypes
from sqlalchemy import Connection

from mistral.api import triggers, uploads
from mistral.api.listing import ListOf, list_route
from mistral.api.owned import Owned, delete_route, show_route
from mistral.api.rest import Answer, Call, Route
from mistral.api.shapes import Sent, Shown
from mistral.api.types import (
    Attribute,
    Boolean,
    Date,
    EnumType,
    JsonSchema,
    JsonText,
    ResourceType,
    Scope,
    Shaped,
    StrictTextType,
    Text,
    Uuid,
    WordType,
    nullable,
)
from mistral.api.v2.cron_firings import Firings, MinuteType, firing_routes
from mistral.db import triggers as rows
from mistral.db.listing import MOST, Kind, Listing
from mistral.db.models import cron_triggers
from mistral.db.owned import Author
from mistral.errors import BadRequest, Conflict, NotFound
from mistral.lang import cron, schedules, zones

Row = Mapping[str, Any]

LONGEST_NAME: Final = 200
AHEAD: Final = timedelta(seconds=60)
"""How far in the future a first time lies at least."""

_DIGITS: Final = re.compile("[0-9]{1,10}")

POLICIES: Final = (
    "timezone", "enabled", "overlap", "catch_up", "catch_up_window", "jitter",
)  # fmt: skip
"""What older clients neither send nor look at (decision 0039)."""

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
        "timezone": Kind.TEXT,
        "overlap": Kind.TEXT,
        "catch_up": Kind.TEXT,
        "definition_type": Kind.TEXT,
        "definition_id": Kind.UUID,
        "scope": Kind.TEXT,
        "project_id": Kind.PROJECT,
        "created_at": Kind.DATE,
        "updated_at": Kind.DATE,
    },
)


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
        return {"type": "integer", "minimum": 0, "maximum": MOST}

    def request_schema(self) -> JsonSchema:
        number = {"type": "integer", "minimum": 1, "maximum": MOST}
        digits = {"type": "string", "pattern": "^0*[1-9][0-9]{0,9}$"}
        return {"anyOf": [number, digits]}


class SecondsType(wtypes.UserType):  # type: ignore[misc]
    """Whole seconds within bounds."""

    basetype = wtypes.text
    name = "seconds"

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def validate(self, value: Any) -> int:
        """
        :raises ValueError: no whole number, or beyond the bounds.
        """
        if isinstance(value, int) and not isinstance(value, bool):
            if self._least <= value <= self._most:
                return value
        raise ValueError(
            f"Expected a whole number of seconds from {self._least} to {self._most}."
        )

    def frombasetype(self, value: Any) -> int | None:
        return None if value is None else self.validate(value)

    def request_schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": self._least, "maximum": self._most}

    answer_schema = request_schema


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
        MinuteType(),
        "In requests `YYYY-MM-DD HH:MM` (UTC), at least a minute ahead.",
    )
    next_execution_time = nullable(
        Date, "Planned time; null: it has no further one, and a definition keeps it."
    )
    created_at = Date
    updated_at = nullable(Date)
    timezone = Attribute(
        StrictTextType(zones.LONGEST),
        "Whose wall clocks the pattern is about: a name of the IANA database.",
    )
    enabled = Attribute(Boolean, "False: it is paused.")
    overlap = Attribute(
        EnumType(*schedules.OVERLAP),
        "What becomes of a firing while an execution of the trigger has not ended.",
    )
    catch_up = Attribute(
        EnumType(*schedules.CATCH_UP),
        "What becomes of times at which no engine was there: one firing for all of "
        "them, none, or each.",
    )
    catch_up_window = Attribute(
        SecondsType(1, schedules.LONGEST_WINDOW),
        "Seconds that `all` looks back.",
    )
    jitter = Attribute(
        SecondsType(0, schedules.LONGEST_JITTER),
        "Seconds by which each firing may be put off, never beyond the next one.",
    )
    definition_type = nullable(
        WordType("workflow", "workbook"),
        "What defines the trigger, if a text does: it changes with that alone.",
    )
    definition_id = nullable(Uuid, "UUID of that.")


SHOWN: Final = Shown(CronTrigger, selectable=True)
SHOWN_ONE: Final = Shown(CronTrigger)

TRIGGERS: Final = ListOf(
    "cron_triggers",
    LISTING,
    SHOWN,
    CronTrigger.attributes(),
    everywhere="cron_triggers:list:all_projects",
)


def _values(row: Row) -> Row:
    shown = dict(triggers.shown_values(row))
    if shown.pop("finished", False):
        shown["next_execution_time"] = None
    return shown


def _columns(names: Collection[str]) -> Collection[str]:
    return {*names, "finished"} if "next_execution_time" in names else names


OWNED: Final = Owned(
    cron_triggers, TRIGGERS, values=_values, columns=_columns, remove=rows.remove_apart
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
        *POLICIES,
    ),
    required=("name",),
    needs=(
        ("workflow_id", "workflow_name"),
        ("pattern", "first_execution_time"),
    ),
    passed_over=True,
    example={"name": "nightly", "workflow_name": "hello", "pattern": "0 3 * * *"},
)


class CronTriggers(Firings):
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
        delete_route("cron_triggers:delete", "{identifier}", refuses=(Conflict,)),
        *firing_routes(SHOWN_ONE),
    )
    owned = OWNED

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
            "workflow_params": triggers.params_to_keep(
                call, sent.get("workflow_params") or {}, call.context
            ),
        }
        uploads.may_publish(call, "cron_triggers", values["scope"])
        policies = policies_of(sent)

        def check(connection: Connection) -> tuple[Author, Row, dict[str, Any]]:
            author = uploads.author_of(call, connection)
            times = times_of(sent, author.now, policies["timezone"])
            identifier = sent.get("workflow_id") or sent.get("workflow_name")
            if not identifier:
                raise BadRequest("Expected 'workflow_id' or 'workflow_name'.")
            workflow = triggers.workflow_of(call, connection, identifier)
            triggers.check_input(workflow, values["workflow_input"])
            return author, workflow, times

        database = call.services.database

        def create(own: Mapping[str, Any]) -> Row:
            with database.begin() as connection:
                author, workflow, times = check(connection)
                columns = {**values, **policies, **times, **own}
                return rows.create(connection, author, workflow, columns)

        with triggers.owned(call, check) as own:
            row = database.again(lambda: create(own))
        return OWNED.created(row)

    def delete(self, call: Call, identifier: str) -> None:
        """Delete a cron trigger."""
        OWNED.delete(call, identifier)


def policies_of(sent: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of ``POLICIES``; null is as good as nothing.

    :raises BadRequest: there is no such time zone.
    """
    given = {name: sent[name] for name in POLICIES if sent.get(name) is not None}
    found = {name: rows.DEFAULTS[name] for name in POLICIES} | given
    zones.find_zone(found["timezone"])
    return found


def times_of(sent: Mapping[str, Any], now: datetime, timezone: str) -> dict[str, Any]:
    """When and how often: pattern, first and next time, count.

    :param timezone: that there is.
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
        pattern, count = schedules.ONCE, 1
    else:
        cron.check_pattern(pattern)
        following = first or cron.next_match(pattern, now, zones.find_zone(timezone))
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
