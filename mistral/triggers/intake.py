"""What an event leads to, wherever it came from: a notification on the message broker
or a request over HTTP.

When ``take`` has returned, what the event causes is in the database: an outbox row for
each trigger, which an engine takes from there. Taken in again it makes no others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from mistral.bus import Notification
from mistral.db import event_triggers
from mistral.db.database import Database
from mistral.db.event_triggers import Told
from mistral.errors import ExpressionFault, Unavailable
from mistral.messages import message_key
from mistral.triggers.converter import Converter
from mistral.triggers.matcher import Row, called

LOG = logging.getLogger(__name__)

LONGEST: Final = 255
"""Characters of the name of a message and of the id of an execution."""


class EventIntake:
    """Safe to use from any thread.

    :param authenticated: there are projects to tell apart.
    """

    def __init__(
        self, database: Database, converter: Converter, *, authenticated: bool
    ) -> None:
        self._database = database
        self._converter = converter
        self._authenticated = authenticated

    def take(self, event: Notification) -> int:
        """Let the triggers of an event fire; answers how many did.

        :raises Unavailable: the database is away: the event has to come again.
        """
        try:
            with self._database.read() as connection:
                mine = self._called(connection, event)
            if not mine:
                return 0
            params = self._converter.convert(event)
            faults: dict[str, str] = {}
            mine = [self._with_input(row, event, params, faults) for row in mine]
            told = self._told(mine, event, params, faults)
            return self._database.replay(
                lambda connection: event_triggers.fire(
                    connection,
                    mine,
                    self._source(event),
                    event.id,
                    params,
                    told,
                    self._database.now(connection),
                    faults,
                )
            )
        except Unavailable:
            raise
        except Exception as error:
            if self._database.is_retryable(error):
                raise Unavailable("The database is away.", retry_after=2.0) from error
            raise

    def _called(self, connection: Connection, event: Notification) -> Sequence[Row]:
        triggers = event_triggers.of_event(
            connection, event.exchange, event.topic, event.event_type
        )
        return called(triggers, event, authenticated=self._authenticated)

    @staticmethod
    def _source(event: Notification) -> tuple[str, ...]:
        """Ids of events over HTTP are told apart by project: their sources' names
        are the projects' own."""
        if event.exchange == event_triggers.HTTP:
            return (event.exchange, event.project_id, event.topic)
        return (event.exchange, event.topic)

    def _with_input(
        self, row: Row, event: Notification, params: Row, faults: dict[str, str]
    ) -> Row:
        """With the input that the event gives the trigger."""
        if row["input_mapping"] is None or row["message"] is not None:
            return row
        found, wrong = self._converter.input_of(row["input_mapping"], event, params)
        if wrong:
            faults[row["id"]] = "\n".join(wrong)
        return {**row, "workflow_input": {**row["workflow_input"], **found}}

    def _told(
        self,
        triggers: Sequence[Row],
        event: Notification,
        params: Mapping[str, Any],
        faults: dict[str, str],
    ) -> dict[str, Told]:
        """The messages of the triggers that send one; of a trigger whose message cannot
        be made, ``faults`` and the log say why, and the others go on."""
        found = {}
        for row in triggers:
            if row["message"] is None:
                continue
            try:
                made = self._converter.evaluated(row["message"], event, params)
                found[row["id"]] = _checked(made)
            except (ExpressionFault, ValueError) as error:
                reason = getattr(error, "message", None) or str(error)
                LOG.warning("Event trigger %s sends no message: %s", row["id"], reason)
                faults[row["id"]] = reason
        return found


def _checked(made: Mapping[str, Any]) -> Told:
    """:raises ValueError: this is no message."""
    name, whom = made.get("name"), made.get("execution_id")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST:
        raise ValueError(
            f"'name' is expected to be a text of 1 to {LONGEST} characters"
        )
    if whom is not None and (not isinstance(whom, str) or len(whom) > LONGEST):
        raise ValueError("'execution_id' is expected to be a text or null")
    return Told(name, message_key(made.get("key")), made.get("payload"), whom or None)
