"""May an attempt begin? Decided on the row of the action alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from mistral.messages import COMPLETED, ClaimAction

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


def begun(claim: ClaimAction, now: datetime) -> dict[str, Any]:
    """Columns of an action that was granted for the first time."""
    return {
        "started_by": claim.token,
        "executor_id": claim.executor_id,
        "started_at": now,
        "last_heartbeat": now,
        "updated_at": now,
    }
