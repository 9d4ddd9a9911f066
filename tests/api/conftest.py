"""The API over a real SQLite file; nothing listens on a port."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeClock
from matrix import World
from rest import Client
from servers import fresh_database, make_tables
from webob import Request

from mistral.actions.registry import Registry
from mistral.api.app import Services, make_app
from mistral.config import Settings
from mistral.context import Context
from mistral.db.database import Database


class RecordingBus:
    """Remembers what was called; answers with what a test gave it."""

    def __init__(self) -> None:
        self.called: list[Any] = []
        self.targets: list[str | None] = []
        self.answer: Callable[[Any], Any] = lambda message: {}
        self.refusal: str | None = None

    def call(
        self,
        message: Any,
        *,
        timeout: float | None = None,
        target: str | None = None,
    ) -> Any:
        self.called.append(message)
        self.targets.append(target)
        return self.answer(message)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def settings() -> Settings:
    settings = Settings()
    return replace(
        settings, api=replace(settings.api, auth_enable=False, healthcheck=True)
    )


@pytest.fixture
def database(tmp_path: Path, clock: FakeClock) -> Iterator[Database]:
    """``TEST_API_DATABASE=postgresql`` or ``mariadb`` runs all of it there."""
    kind = os.environ.get("TEST_API_DATABASE", "sqlite")
    with fresh_database(kind, tmp_path) as url:
        database = Database(url, clock=clock)
        make_tables(database)
        yield database
        database.dispose()


@pytest.fixture
def bus() -> RecordingBus:
    return RecordingBus()


@pytest.fixture
def services(
    database: Database, bus: RecordingBus, settings: Settings, clock: FakeClock
) -> Services:
    return Services(
        database=database,
        bus=bus,
        registry=Registry(settings, entry_points=lambda group: ()),
        settings=settings,
        clock=clock,
        new_id=lambda: str(uuid.uuid4()),
    )


@pytest.fixture
def api(services: Services) -> Client:
    """Authentication is off."""
    return Client(make_app(services), services)


def _who(request: Request, request_id: str) -> Context:
    project = request.headers["X-Test-Project"]
    is_admin = project.startswith("admin:")
    return Context(
        project_id=project.removeprefix("admin:"),
        is_admin=is_admin,
        request_id=request_id,
    )


@pytest.fixture
def projects(services: Services) -> Client:
    """Projects are told apart: ``projects.be("red").get(…)``."""
    return Client(make_app(services, identify=_who), services)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two projects and an administrator, an engine behind the API."""
    world = World(tmp_path)
    yield world
    world.close()
