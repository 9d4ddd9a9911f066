"""The API over a real SQLite file; nothing listens on a port."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fakes import FakeClock
from servers import fresh_database
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
        self.answer: Callable[[Any], Any] = lambda message: {}

    def call(self, message: Any, *, timeout: float | None = None) -> Any:
        self.called.append(message)
        return self.answer(message)


@dataclass
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def fault(self) -> str:
        """The text of an error; the shape of § 2.1 is checked on the way."""
        body = self.json
        assert set(body) == {"faultcode", "faultstring", "debuginfo"}
        assert body["faultcode"] == ("Client" if self.status < 500 else "Server")
        assert "Traceback" not in body["faultstring"]
        return str(body["faultstring"])


class Client:
    """Requests to a WSGI application.

    :param project: who asks, where the application tells projects apart;
        ``admin`` in front of it makes an administrator (``admin:blue``).
    """

    def __init__(self, app: Any, services: Services, project: str = "") -> None:
        self.app = app
        self.services = services
        self.project = project

    def be(self, project: str) -> Client:
        return Client(self.app, self.services, project)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        given = dict(headers or {})
        if self.project:
            given["X-Test-Project"] = self.project
        if isinstance(body, dict | list):
            body = json.dumps(body)
            given.setdefault("Content-Type", "application/json")
        elif body is not None:
            given.setdefault("Content-Type", "text/plain")
        path = quote(path, safe="/?&=%:,+")
        request = Request.blank(path, method=method, headers=given)
        if body is not None:
            request.body = body if isinstance(body, bytes) else body.encode()
            request.headers["Content-Type"] = given["Content-Type"]
        answer = request.get_response(self.app)
        return Response(answer.status_int, answer.headers, answer.body)

    def get(self, path: str, **given: Any) -> Response:
        return self.request("GET", path, **given)

    def post(self, path: str, body: Any = None, **given: Any) -> Response:
        return self.request("POST", path, body, **given)

    def put(self, path: str, body: Any = None, **given: Any) -> Response:
        return self.request("PUT", path, body, **given)

    def delete(self, path: str, **given: Any) -> Response:
        return self.request("DELETE", path, **given)


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
        database.create_or_upgrade()
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


def _who(headers: Mapping[str, str], request_id: str) -> Context:
    project = headers["X-Test-Project"]
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
