"""What the controllers work with; put together in ``cmd/compose.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mistral.api.gate import Gate
from mistral.clock import Clock


@dataclass(frozen=True, slots=True)
class Services:
    """The world of the API, all of it passed in.

    :param database: ``db.database.Database``; read freely, written only for
        what the API owns (definitions, environments, members).
    :param bus: ``bus.Bus``; every change of an execution goes through it.
    :param registry: ``actions.registry.Registry``; descriptors, never classes.
    :param settings: ``config.Settings``.
    :param events: gives the ``triggers.intake.EventIntake``, which is made when the
        first event comes; None: this process takes no events.
    :param endings: ``waiting.Endings``; None: the application makes its own.
    :param gate: how many requests are worked on at the same time.
    :param new_id: makes ids of rows and requests (UUID text).
    :param keyring: ``keyring.Keyring``; None: callers have no secrets.
    :param callbacks: ``callbacks.Callbacks``; None: there is no key, so nobody has a
        signed address.
    :param delegation: ``trusts.Delegation``, for the runs of triggers; None: they
        have no token.
    """

    database: Any
    bus: Any
    registry: Any
    settings: Any
    clock: Clock
    new_id: Callable[[], str]
    keyring: Any = None
    callbacks: Any = None
    delegation: Any = None
    endings: Any = None
    events: Callable[[], Any] | None = None
    gate: Gate = field(default_factory=Gate)
