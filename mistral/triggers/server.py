"""The event engine: hears notifications of other services and lets event
triggers start workflows (spec/engine.md § 10.4).

A notification is acknowledged when what it causes is in the database: an outbox
row for each trigger, which an engine takes from there. Heard again it makes the
same rows. Nothing waits in memory, so a process that dies loses nothing.

Which sources are listened to follows the table of triggers, looked at every
other second; which triggers fire is read with each event that concerns one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mistral.bus import Notification
from mistral.db import event_triggers
from mistral.db.database import Database
from mistral.db.event_triggers import Source
from mistral.errors import BadRequest
from mistral.service import Counts, Loop, together
from mistral.triggers.converter import Converter
from mistral.triggers.intake import EventIntake

LOG = logging.getLogger(__name__)

LOOK_SECONDS: Final = 2.0
"""From a change of the triggers to its effect, at most."""


class HearsOutside(Protocol):
    """The part of ``bus.Bus`` that is needed here."""

    def hear(
        self, exchange: str, topic: str, pool: str, on_notification: Any
    ) -> Any: ...


@dataclass(frozen=True, slots=True)
class EventEngineOptions:
    """
    :param pool: last part of the pool's name; event engines of one name share
        the notifications.
    :param authenticated: there are projects to tell apart.
    :param most_sources: that are listened to.
    """

    pool: str = "events"
    authenticated: bool = False
    most_sources: int = 100


class EventEngine(Loop):
    """Listens for event triggers. ``run_once`` looks at the table; ``hear`` takes
    a notification in; tests call both themselves."""

    def __init__(
        self,
        database: Database,
        bus: HearsOutside,
        converter: Converter,
        options: EventEngineOptions = EventEngineOptions(),
    ) -> None:
        super().__init__("event-engine", LOOK_SECONDS)
        self._database = database
        self._bus = bus
        self._events = EventIntake(
            database, converter, authenticated=options.authenticated
        )
        self._options = options
        self._watched: Mapping[Source, set[str]] = {}
        self._listening: dict[Source, Any] = {}
        self._refused: set[Source] = set()
        self._life_of_listeners = threading.Lock()

    # -- Sources --------------------------------------------------------------

    def run_once(self) -> Counts:
        """Listen to what triggers name, and to nothing else."""
        with self._database.read() as connection:
            watched = event_triggers.watched(connection)
        most = self._options.most_sources
        wanted = list(watched)[:most]
        # events of the new are known before they are heard
        self._watched = watched
        with self._life_of_listeners:
            if self.stopping:
                return {}
            left = [source for source in self._listening if source not in wanted]
            self._leave(left)
            self._refused &= set(watched)
            opened = sum(self._listen(source) for source in wanted)
        if len(watched) > most:
            LOG.warning(
                "Event triggers name %d sources, and %d are listened to, the oldest:"
                " see [event_engine] max_sources",
                len(watched),
                most,
            )
        return {"opened": opened, "closed": len(left)}

    def _listen(self, source: Source) -> bool:
        if source in self._listening:
            return False
        exchange, topic = source
        try:
            self._listening[source] = self._bus.hear(
                exchange, topic, self._pool(exchange), self.hear
            )
        except BadRequest as error:
            if source not in self._refused:
                LOG.warning("Topic %s of %s: %s", topic, exchange, error.message)
                self._refused.add(source)
            return False
        LOG.info("Listening to topic %s of exchange %s", topic, exchange)
        return True

    def _leave(self, sources: list[Source]) -> None:
        together(self._listening[source].leave for source in sources)
        for source in sources:
            del self._listening[source]
            LOG.info("Topic %s of exchange %s is left", *reversed(source))

    def _pool(self, exchange: str) -> str:
        return f"mistral-{exchange}-{self._options.pool}"

    # -- Events ---------------------------------------------------------------

    def hear(self, event: Notification) -> None:
        """Let the triggers of an event fire; the end of it is in the database.

        :raises Unavailable: it is not: the notification has to come again.
        """
        types = self._watched.get((event.exchange, event.topic), ())
        if event.event_type not in types:
            return
        fired = self._events.take(event)
        LOG.debug("Event %s fired %d triggers", event.event_type, fired)

    # -- Life -----------------------------------------------------------------

    def _stop(self) -> None:
        """Hear nothing more; what was heard is in the database or comes again."""
        super()._stop()
        with self._life_of_listeners:
            together(each.stop for each in self._listening.values())
            self._listening.clear()
