"""Who calls publishers: a process of its own, or each engine."""

from __future__ import annotations

from functools import partial

from mistral.bus import Bus
from mistral.cmd.secrets import make_keyring
from mistral.config import Settings
from mistral.notifier.publishers import Publishers
from mistral.notifier.server import Courier, NotifierServer


def make_courier(settings: Settings, bus: Bus) -> Courier:
    """Calls publishers in this process."""
    keyring = make_keyring(settings)
    unseal = keyring.open if keyring else None

    announce = None
    if settings.notifier.messaging_topic:
        announce = partial(bus.announce, settings.notifier.messaging_topic)
    publish = Publishers(settings.http, unseal=unseal, announce=announce).publish
    return Courier(publish)


def make_notifier(settings: Settings, bus: Bus) -> NotifierServer:
    """The role ``notifier``."""
    return NotifierServer(bus, make_courier(settings, bus))
