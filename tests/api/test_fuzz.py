"""The API in one process against schemathesis (``tests/fuzzing.py``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import fuzzing
import pytest
from rest import Client, Service
from webob import Request

from mistral.api.app import make_app
from mistral.config import Settings
from mistral.context import Context

pytestmark = pytest.mark.thorough


def _admin(request: Request, request_id: str) -> Context:
    """Somebody who may do all that there is, for a project."""
    return Context(project_id="red", is_admin=True, request_id=request_id)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    settings = Settings()
    settings = replace(
        settings,
        api=replace(
            settings.api, healthcheck=True, allow_action_execution_deletion=True
        ),
        dynamic_actions=replace(settings.dynamic_actions, enabled=True),
    )
    service = Service(tmp_path, settings=settings)
    services = service.api.services
    return Client(make_app(services, identify=_admin), services)


def test_no_request_is_answered_otherwise_than_described(client: Client) -> None:
    """No failure of ours, no status, header or shape that nobody described; what
    the document forbids is refused."""

    def ask(method: str, path: str, body: Any) -> tuple[int, Any]:
        answer = client.request(method, path, body)
        return answer.status, answer.json

    known = fuzzing.furnish(ask, shares=True)
    document = client.get("/v2/openapi.json").json
    schema = fuzzing.load(fuzzing.furnished(document, known), app=client.app)
    run = fuzzing.Run(schema)
    assert run.successes
    assert not run.findings, str(run)
