"""Who calls publishers: a process of its own, or each engine."""

from __future__ import annotations

from mistral.bus import Bus
from mistral.config import Settings
from mistral.notifier.publishers import Publishers
from mistral.notifier.server import Courier, NotifierServer


def make_courier(settings: Settings) -> Courier:
    """Calls publishers in this process."""
    return Courier(Publishers(settings.http).publish)


def make_notifier(settings: Settings, bus: Bus) -> NotifierServer:
    """The role ``notifier``."""
    return NotifierServer(bus, make_courier(settings))
