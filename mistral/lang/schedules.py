"""When a cron trigger fires, and what it starts then.

Times are *planned* by the pattern and the zone; jitter puts a firing off by some
seconds, always the same for the same trigger and time. What follows from a planned
time that has passed meanwhile, the policies say: ``CATCH_UP`` and ``OVERLAP``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Self
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from mistral.errors import BadRequest, ServiceError
from mistral.lang import cron, zones
from mistral.messages import StartWorkflow

ONCE: Final = "0 0 30 2 0"
"""Pattern that a trigger with a first time only is shown with; it fires once."""

CATCH_UP: Final = ("once", "skip", "all")
"""What becomes of times at which no engine was there: one firing for all of them,
none, or one for each within a window."""

OVERLAP: Final = ("allow", "skip", "queue", "cancel-previous")
"""What becomes of a firing while an execution of the trigger has not ended."""

WINDOW: Final = 86_400
LONGEST_WINDOW: Final = 31 * 86_400
"""Seconds that ``all`` looks back: unless said otherwise, and at most."""

LONGEST_JITTER: Final = 3600
"""Seconds."""

MISSED_AFTER: Final = timedelta(seconds=60)
"""A firing that is later than this was missed."""

_SECOND: Final = timedelta(seconds=1)

_FIELDS_WITHOUT_YEAR: Final = 6
_SOME_TIME: Final = datetime(2000, 1, 1)
"""A pattern without years that names any time names one in fifty years from then."""

_LONGEST_SHIFT: Final = timedelta(hours=3)
"""No clocks are put back by more."""

Shift = Literal["", "gap", "first"]
"""Why a firing is not simply when clocks show its time: they never show it on this
day, or they show it twice and the first time counts."""


def is_never(pattern: str) -> bool:
    """Whether a pattern names no time, whatever the clock shows now. One with years
    may name times that have passed: of these nothing is said here.

    :param pattern: checked.
    """
    if pattern == ONCE:
        return True
    if len(pattern.split()) > _FIELDS_WITHOUT_YEAR:
        return False
    return cron.next_match(pattern, _SOME_TIME) is None


@dataclass(frozen=True, slots=True)
class Schedule:
    """:param trigger_id: by which jitter differs from that of others.
    :param jitter: seconds at most.
    """

    pattern: str
    zone: ZoneInfo
    jitter: int = 0
    trigger_id: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Of the columns of a trigger.

        :raises ServiceError: this host does not know its time zone.
        """
        try:
            zone = zones.find_zone(row["timezone"])
        except BadRequest as error:
            # it was there when the trigger was made: another host's database has it
            raise ServiceError(error.message) from error
        return cls(row["pattern"], zone, row["jitter"], row["id"])

    def following(self, after: datetime) -> datetime | None:
        """The next planned time after a moment, or None."""
        if self.pattern == ONCE:
            return None
        return cron.next_match(self.pattern, after, self.zone)

    def due(self, planned: datetime) -> datetime:
        """When a planned firing is due: within the jitter, and before the next one."""
        if not self.jitter:
            return planned
        most = self.jitter
        following = self.following(planned)
        if following is not None:
            most = min(most, int((following - planned).total_seconds()) - 1)
        if most <= 0:
            return planned
        seed = f"{self.trigger_id}:{planned.isoformat()}".encode()
        number = int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest())
        return planned + timedelta(seconds=number % (most + 1))

    def planned(self, start: datetime, end: datetime | None) -> Iterator[datetime]:
        """The planned times from one moment on, before another one."""
        moment = self.following(start - timedelta(microseconds=1))
        while moment is not None and (end is None or moment < end):
            yield moment
            moment = self.following(moment)

    def shift(self, planned: datetime) -> Shift:
        """What a change of clocks has to do with a planned time."""
        if zones.is_plain(self.zone) or cron.is_repeated(self.pattern):
            return ""
        shown = zones.wall_clock(self.zone, planned)
        if zones.next_change(self.zone, planned - _SECOND, planned) is not None:
            # Clocks may be meant to show the time at which they are put forward to.
            before = cron.next_match(self.pattern, shown - _SECOND)
            return "" if before == shown else "gap"
        change = zones.next_change(self.zone, planned, planned + _LONGEST_SHIFT)
        if change is None:
            return ""
        ahead = zones.offset_at(self.zone, planned)
        behind = ahead - zones.offset_at(self.zone, change)
        is_twice = behind > timedelta(0) and planned + behind >= change
        return "first" if is_twice else ""


def is_missed(due: datetime, now: datetime) -> bool:
    return now - due > MISSED_AFTER


def execution_id(trigger_id: str, planned: datetime) -> str:
    """The run of one firing: the same however often it is started."""
    return str(uuid5(UUID(trigger_id), planned.isoformat()))


def start(
    trigger: Mapping[str, Any],
    planned: datetime,
    fired_by: str,
    run_id: str | None = None,
) -> StartWorkflow:
    """What a firing tells an engine.

    :param trigger: its columns.
    :param fired_by: ``schedule``, ``request`` or ``backfill``.
    :param run_id: default: what follows from the planned time.
    """
    link: dict[str, Any] = {"type": "cron_trigger", "id": trigger["id"]}
    text = f"Workflow execution created by cron trigger '({trigger['id']})'."
    described = {"description": text, "triggered_by": dict(link)}
    if trigger["overlap"] != "allow":
        # its end is told to the trigger
        link["awaited"] = True
    cron_params = {
        "planned_at": planned.isoformat(sep=" ", timespec="seconds"),
        "fired_by": fired_by,
    }
    return StartWorkflow(
        run_id=run_id or execution_id(trigger["id"], planned),
        workflow_name=trigger["workflow_name"],
        namespace=trigger["workflow_namespace"],
        input=trigger["workflow_input"],
        params={**trigger["workflow_params"], "cron_params": cron_params},
        description=json.dumps(described),
        trigger=link,
        context=trigger["context"],
    )
