"""May an attempt begin? Decided on the row of the action alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from mistral.engine.core.run import Action
from mistral.messages import COMPLETED, CallAction, ClaimAction

READ: Final = ("id", "state", "attempt", "started_by")
"""Columns of the action that the answer depends on."""


def may_begin(action: Mapping[str, Any] | None, claim: ClaimAction) -> bool:
    """Whether who asks runs the attempt: one token may, as often as it asks.

    :param action: with the columns ``READ``; None: there is none (any more).
    """
    if action is None or action["state"] in COMPLETED:
        return False
    if action["attempt"] != claim.attempt:
        return False
    return action["started_by"] in (None, claim.token)


def may_be_given(action: Action, call: CallAction) -> bool:
    """Whether an offer that the same turn has made can be granted at once: nobody else
    can have heard of the action, and it still is what the offer says.

    :param action: as the turn leaves it.
    """
    return (
        action.is_new
        and not action.completed
        and action.attempt == call.attempt
        and action.started_by is None
    )


def begun(token: str, executor_id: str, now: datetime) -> dict[str, Any]:
    """Columns of an action that was granted for the first time."""
    return {
        "started_by": token,
        "executor_id": executor_id,
        "started_at": now,
        "last_heartbeat": now,
        "updated_at": now,
    }
