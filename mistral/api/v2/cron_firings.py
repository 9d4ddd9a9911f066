"""``/v2/cron_triggers/{identifier}/…``: when a cron trigger fires and why, what came
of it, and what one may do with it (decision 0039)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, Final

from mistral.api import uploads
from mistral.api.owned import Owned
from mistral.api.parameters import Number
from mistral.api.rest import Call, Resource, Route
from mistral.api.shapes import Sent, Shown, Together
from mistral.api.types import (
    Attribute,
    Date,
    DateType,
    JsonSchema,
    ResourceType,
    Shaped,
    Text,
    TextsType,
    Uuid,
    WordType,
    nullable,
)
from mistral.db import firings as stored
from mistral.db import owned
from mistral.db import triggers as rows
from mistral.db.models import cron_triggers
from mistral.db.owned import Author
from mistral.errors import BadRequest, Conflict
from mistral.lang import zones
from mistral.lang.schedules import Schedule

Row = Mapping[str, Any]

MINUTE_FORMAT: Final = "%Y-%m-%d %H:%M"

MOST_SHOWN: Final = 1_000
"""Firings of one answer."""

AHEAD: Final = Number("limit", "How many firings.", least=1, most=MOST_SHOWN)


class MinuteType(DateType):
    """A moment that is sent to the minute."""

    name = "minute"

    @staticmethod
    def frombasetype(value: Any) -> datetime | None:
        """
        :raises ValueError: not ``YYYY-MM-DD HH:MM``.
        """
        if value is None:
            return None
        try:
            moment = datetime.strptime(value, MINUTE_FORMAT)
        except (TypeError, ValueError):
            moment = None
        if moment is None or moment.strftime(MINUTE_FORMAT) != value:
            raise ValueError("Expected a time in UTC as YYYY-MM-DD HH:MM.")
        return moment

    def request_schema(self) -> JsonSchema:
        return {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}$"}


class NextFiring(ResourceType):
    """A firing to come."""

    planned_at = Attribute(Date, "By pattern and time zone, in UTC.")
    due_at = Attribute(Date, "The same with jitter.")
    local_time = Attribute(Text, "What wall clocks of the time zone show then.")
    utc_offset = Attribute(Text, "What they are ahead of UTC by.")
    why = Attribute(TextsType(), "Pattern, zone, changes of clocks, jitter, policies.")


class CronFiring(ResourceType):
    """What came of a time at which a trigger was to fire."""

    id = Uuid
    planned_at = Date
    fired_by = WordType("schedule", "request", "backfill")
    outcome = WordType("started", "queued", "skipped", "cancelled", "refused")
    reason = nullable(Text, "Why nothing was started, if nothing was.")
    execution_id = nullable(Uuid, "The execution that was started.")
    state = nullable(Text, "Of the execution; null: it is not there, or not yet.")
    state_info = nullable(Text)
    created_at = Date
    updated_at = nullable(Date)


class Range(ResourceType):
    """Of planned times."""

    start = Attribute(MinuteType(), "The first time in it, in UTC.")
    end = nullable(MinuteType(), "The first time behind it; default: now.")


RANGE: Final = Sent(
    Range,
    "CronTriggerBackfill",
    ("start", "end"),
    required=("start",),
    example={"start": "2026-01-01 00:00", "end": "2026-01-08 00:00"},
)

FIRINGS: Final = Together("firings", Shown(CronFiring))


def firing_routes(trigger: Shown) -> tuple[Route, ...]:
    """Of one trigger, which is shown so."""
    path, rule = "{identifier}", "cron_triggers:operate"
    return (
        Route(
            "GET",
            f"{path}/next",
            "get_next",
            "cron_triggers:get",
            query=(AHEAD,),
            answer=Together("firings", Shown(NextFiring)),
        ),
        Route(
            "GET",
            f"{path}/firings",
            "get_firings",
            "cron_triggers:get",
            query=(AHEAD,),
            answer=FIRINGS,
        ),
        *(
            Route(
                "POST",
                f"{path}/{verb}",
                verb,
                rule,
                answer=trigger,
                refuses=(Conflict,),
            )
            for verb in ("pause", "resume")
        ),
        Route("POST", f"{path}/run", "run_now", rule, 201, answer=Shown(CronFiring)),
        Route(
            "POST", f"{path}/backfill", "fill_back", rule, 201, takes=RANGE,
            answer=FIRINGS,
        ),
    )  # fmt: skip


class Firings(Resource):
    """A part of ``CronTriggers``."""

    starts_actions = True
    owned: ClassVar[Owned]

    def get_next(self, call: Call, identifier: str) -> Shaped:
        """Show the next firings of a cron trigger, and why they are when they are."""
        limit = AHEAD.of(call.query) or 10
        with call.services.database.read() as connection:
            row = self.owned.find(call, connection, identifier)
            now = call.services.database.now(connection)
            still = list(stored.still_open(connection, row["id"]))
        found = islice(_coming(row, now, still), limit)
        return {"firings": [NextFiring.shape(each) for each in found]}

    def get_firings(self, call: Call, identifier: str) -> Shaped:
        """Show what came of the last firings of a cron trigger, the latest first."""
        limit = AHEAD.of(call.query) or stored.KEPT
        with call.services.database.read() as connection:
            row = self.owned.find(call, connection, identifier)
            found = stored.latest(connection, row["id"], limit)
        return {"firings": [_shaped(each) for each in found]}

    def pause(self, call: Call, identifier: str) -> Shaped:
        """Let a cron trigger fire no more until it is resumed."""
        call.refuse_content()
        return self.owned.shape(self._change(call, identifier, rows.pause))

    def resume(self, call: Call, identifier: str) -> Shaped:
        """Let a cron trigger fire again, from now on."""
        call.refuse_content()
        return self.owned.shape(self._change(call, identifier, rows.resume))

    def run_now(self, call: Call, identifier: str) -> Shaped:
        """Start the workflow of a cron trigger now, besides its schedule; nothing can
        be sent along."""
        call.refuse_content()
        return _shaped(self._change(call, identifier, rows.run_now))

    def fill_back(self, call: Call, identifier: str) -> Shaped:
        """Fire for the planned times of a range in the past, but for those before the
        trigger's first time and those that it has fired for."""
        sent = call.sent()
        start, end = sent.get("start"), sent.get("end")
        if start is None:
            raise BadRequest("Expected 'start', the first time of the range.")

        def fill(connection: Any, author: Author, row: Row) -> Any:
            until = end or author.now
            if not start < until <= author.now:
                raise BadRequest(
                    "Expected a range in the past that begins before it ends, found"
                    f" {start} to {until}."
                )
            return rows.fill_back(connection, author, row, start, until)

        return {
            "firings": [_shaped(row) for row in self._change(call, identifier, fill)]
        }

    def _change(self, call: Call, identifier: str, change: Callable[..., Any]) -> Any:
        database = call.services.database

        def work(connection: Any) -> Any:
            author = uploads.author_of(call, connection)
            row = self.owned.find(call, connection, identifier)
            row = owned.to_change(
                connection, cron_triggers, row, call.context, author.unchanged
            )
            return change(connection, author, row)

        # An engine may be changing it just now.
        return database.replay(work)


def _shaped(row: Row) -> Shaped:
    started = row["outcome"] == "started"
    more = {"state": None, "state_info": None}
    return CronFiring.shape(
        {**more, **row, "execution_id": row["id"] if started else None}
    )


def _coming(row: Row, now: datetime, still: list[Row]) -> Iterator[Row]:
    """The firings to come, as far as can be known."""
    if row["finished"]:
        return
    schedule, left = Schedule.of(row), row["remaining_executions"]
    planned: datetime | None = row["next_execution_time"]
    if not row["enabled"] and planned is not None and planned <= now:
        planned = schedule.following(now)
    number = 0
    while planned is not None and (left is None or number < left):
        due = schedule.due(planned)
        shown = zones.wall_clock(schedule.zone, planned)
        number += 1
        yield {
            "planned_at": planned,
            "due_at": due,
            "local_time": shown.strftime("%Y-%m-%d %H:%M:%S"),
            "utc_offset": _offset(schedule, planned),
            "why": [
                *_times(row, schedule, planned, due, now),
                *_policies(row, number, still),
            ],
        }
        planned = schedule.following(planned if due > now else max(planned, now))


def _offset(schedule: Schedule, planned: datetime) -> str:
    seconds = int(zones.offset_at(schedule.zone, planned).total_seconds())
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}:{minutes:02}"


def _times(
    row: Row, schedule: Schedule, planned: datetime, due: datetime, now: datetime
) -> Iterator[str]:
    if planned == row["first_execution_time"]:
        yield "the first time that was asked for"
    else:
        yield f"pattern {schedule.pattern} in {schedule.zone.key}"
    shift = schedule.shift(planned)
    if shift == "gap":
        yield (
            "clocks are put forward over the time of the pattern: it fires as soon as"
            " they are"
        )
    elif shift == "first":
        yield "clocks show this time twice: the first time counts"
    if due != planned:
        late = int((due - planned).total_seconds())
        yield f"{late} s later by jitter, of at most {schedule.jitter} s"
    if due < now:
        yield "it is late: no engine has fired it yet"


def _policies(row: Row, number: int, still: list[Row]) -> Iterator[str]:
    if not row["enabled"]:
        yield "the trigger is paused: only if it is resumed"
    what = {
        "skip": "it is skipped",
        "queue": "it waits",
        "cancel-previous": "that is cancelled",
    }.get(row["overlap"])
    if what is not None and number == 1 and still:
        yield f"overlap: the execution {still[0]['id']} runs; if it still does, {what}"
    elif what is not None:
        yield f"overlap: if the execution before has not ended, {what}"
    left = row["remaining_executions"]
    if left is not None:
        yield f"{number} of {left} that are left"
