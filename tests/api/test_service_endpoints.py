"""What concerns the service as a whole: /info, /healthcheck (§ 6.2, § 7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rest import Client

from mistral.api.app import Services, make_app
from mistral.errors import Unauthorized

DOCUMENT = '{ "contact":  "ops@example.org",\n "größe": [1, 2.50] }\n'


@pytest.fixture
def with_api(services: Services) -> Callable[..., Client]:
    def make(**options: Any) -> Client:
        settings = services.settings
        settings = replace(settings, api=replace(settings.api, **options))
        changed = replace(services, settings=settings)
        return Client(make_app(changed, identify=_nobody), changed)

    return make


def _nobody(headers: Any, request_id: str) -> Any:
    raise Unauthorized("No token.")


def test_7_3_info_is_the_document_as_it_is(
    with_api: Callable[..., Client], tmp_path: Path
) -> None:
    file = tmp_path / "about.json"
    file.write_text(DOCUMENT, encoding="utf-8")
    api = with_api(enable_info_endpoint=True, info_json_file_path=str(file))
    answer = api.get("/info")
    assert answer.status == 200
    assert answer.body == DOCUMENT.encode()
    assert answer.headers["Content-Type"].startswith("application/json")
    file.write_text("[]")
    assert api.get("/info/").json == []
    for method in ("PUT", "POST", "DELETE"):
        refused = api.request(method, "/info", {})
        assert (refused.status, refused.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("text", [None, "", "{not JSON", "\xff"])
def test_m100_7_3_info_without_a_document_is_400(
    with_api: Callable[..., Client], tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "about.json"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    api = with_api(enable_info_endpoint=True, info_json_file_path=str(file))
    answer = api.get("/info")
    assert answer.status == 400
    assert "info_json_file_path" in answer.fault
    assert str(tmp_path) not in answer.fault


def test_m100_info_is_off_by_default(api: Client) -> None:
    answer = api.get("/info")
    assert answer.status == 400
    assert "enable_info_endpoint" in answer.fault


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/v2/", 200), ("/v2", 302), ("/healthcheck", 200), ("/info", 400)],
)
def test_4_1_these_need_no_credentials(
    with_api: Callable[..., Client], path: str, status: int
) -> None:
    assert with_api(healthcheck=True).get(path).status == status


@pytest.mark.parametrize("path", ["/maintenance", "/v2/workflows"])
def test_m10_all_others_do(with_api: Callable[..., Client], path: str) -> None:
    assert with_api().get(path).status == 401


@pytest.mark.parametrize(
    ("accept", "content_type", "body"),
    [
        (None, "text/plain", "OK"),
        ("*/*", "text/plain", "OK"),
        ("image/png", "text/plain", "OK"),
        ("application/json", "application/json", {"detailed": False, "reasons": []}),
        ("text/html", "text/html", None),
    ],
)
def test_6_2_health_is_said_as_it_is_asked_for(
    api: Client, accept: str | None, content_type: str, body: Any
) -> None:
    headers = {"Accept": accept} if accept else {}
    answer = api.get("/healthcheck", headers=headers)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(content_type)
    if body is None:
        assert b"<html>" in answer.body
    elif isinstance(body, dict):
        assert answer.json == body
    else:
        assert answer.body.decode() == body


def test_6_2_a_failing_check_is_503(services: Services, api: Client) -> None:
    with services.database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE maintenance")
    answer = api.get("/healthcheck", headers={"Accept": "application/json"})
    assert answer.status == 503
    reasons = ["The database cannot be read."]
    assert json.loads(answer.body) == {"detailed": False, "reasons": reasons}
    assert api.get("/healthcheck").body == b"The database cannot be read."


def test_6_2_it_is_not_there_when_disabled(with_api: Callable[..., Client]) -> None:
    assert with_api(healthcheck=False).get("/healthcheck").status == 404


def test_6_2_a_broker_that_refuses_the_service_is_told_without_its_words(
    api: Any, bus: Any
) -> None:
    """Who asks need not be anybody: names of users and hosts are in the log alone."""
    bus.refusal = "NOT_ALLOWED - access to vhost 'v' refused for user 'u'"
    answer = api.get("/healthcheck")
    assert answer.status == 503
    assert answer.body == b"The broker refuses this service; its log says why."
