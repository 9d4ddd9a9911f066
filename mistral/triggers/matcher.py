"""Which triggers an event concerns (spec/engine.md § 10.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mistral.bus import Notification
from mistral.context import DEFAULT_PROJECT

Row = Mapping[str, Any]


def called(
    triggers: Sequence[Row], event: Notification, *, authenticated: bool
) -> list[Row]:
    """Of the triggers for this event: those of the event's project, and public
    ones.

    :param authenticated: there are projects to tell apart; otherwise all events
        are of the one project.
    """
    project = event.project_id if authenticated else DEFAULT_PROJECT
    return [
        row
        for row in triggers
        if row["scope"] == "public" or row["project_id"] == project
    ]
