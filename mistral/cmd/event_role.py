"""An event engine, and what its triggers are told of an event."""

from __future__ import annotations

from mistral.bus import Bus
from mistral.clock import Clock
from mistral.cmd.engine_role import make_evaluator
from mistral.config import Settings
from mistral.db.database import Database
from mistral.triggers.converter import Converter, read_file
from mistral.triggers.intake import EventIntake
from mistral.triggers.server import EventEngine, EventEngineOptions


def make_converter(settings: Settings, clock: Clock) -> Converter:
    """
    :raises ServiceError: the file of event definitions is wrong.
    """
    definitions = read_file(
        settings.event_engine.event_definitions_cfg_file,
        settings.expressions.allowed_languages,
    )
    return Converter(make_evaluator(settings, clock), definitions)


def make_event_intake(
    settings: Settings, database: Database, clock: Clock
) -> EventIntake:
    """Where the API hands on what comes over HTTP.

    :raises ServiceError: as ``make_converter``.
    """
    converter = make_converter(settings, clock)
    return EventIntake(database, converter, authenticated=settings.api.auth_enable)


def make_event_engine(
    settings: Settings, database: Database, bus: Bus, clock: Clock
) -> EventEngine:
    """The role ``event-engine``.

    :raises ServiceError: the file of event definitions is wrong.
    """
    ours = settings.event_engine
    return EventEngine(
        database,
        bus,
        make_converter(settings, clock),
        EventEngineOptions(
            pool=ours.listener_pool_name,
            authenticated=settings.api.auth_enable,
            most_sources=ours.max_sources,
        ),
    )
