"""CORS, and links behind a proxy (spec/rest-api.md § 6.3, § 6.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from webob import Request

from mistral.clock import SystemClock
from mistral.cmd.api_role import make_api
from mistral.config import load
from mistral.db.database import Database

ORIGIN = "https://page.example.org"
COMMON = """
[pecan]
auth_enable = false
[api]
host = 127.0.0.1
"""
METHODS = "GET, PUT, POST, DELETE, PATCH"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    database = Database(f"sqlite:///{tmp_path / 'front.db'}")
    database.create_or_upgrade()

    def make(text: str) -> Any:
        file = tmp_path / "mistral.conf"
        file.write_text(COMMON + text)
        settings = load(["--config-file", str(file)], environ={})
        bus: Any = None
        return make_api(settings, database, bus, SystemClock()).app

    yield make
    database.dispose()


def _ask(app: Any, method: str, path: str, **headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request.blank(path, method=method, headers=given)
    return request.get_response(app)


def _preflight(app: Any, origin: str, method: str = "PUT") -> Any:
    return _ask(
        app,
        "OPTIONS",
        "/v2/workflows",
        Origin=origin,
        Access_Control_Request_Method=method,
        Access_Control_Request_Headers="X-Auth-Token",
    )


def _cors(answer: Any) -> list[str]:
    return [name for name in answer.headers if name.startswith("Access-Control")]


def test_6_3_a_page_of_an_allowed_origin(served: Callable[[str], Any]) -> None:
    app = served(f"[cors]\nallowed_origin = {ORIGIN},https://other.example.org\n")
    answer = _preflight(app, ORIGIN)
    assert answer.status_int == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Max-Age"] == "3600"
    assert answer.headers["Access-Control-Allow-Methods"] == "PUT"
    assert answer.headers["Access-Control-Allow-Headers"] == "X-Auth-Token"
    assert answer.headers["Vary"] == "Origin"
    simple = _ask(app, "GET", "/v2/workflows", Origin=ORIGIN)
    assert simple.status_int == 200
    assert simple.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert simple.headers["Access-Control-Allow-Credentials"] == "true"
    assert simple.headers["Vary"] == "Origin"
    exposed = set(simple.headers["Access-Control-Expose-Headers"].split(","))
    assert exposed == {
        "X-Auth-Token", "X-Subject-Token", "X-Service-Token", "X-Project-Id",
        "X-User-Name", "X-Project-Name",
    }  # fmt: skip
    refused = _ask(app, "GET", "/v2/nowhere", Origin=ORIGIN)
    assert refused.status_int == 404
    long = _ask(app, "GET", "/v2/actions", Origin=ORIGIN, Accept_Encoding="gzip")
    assert {each.strip() for each in long.headers["Vary"].split(",")} == {
        "Accept-Encoding",
        "Origin",
    }
    for each in (answer, simple, refused, long):
        assert each.headers["X-OpenStack-Request-Id"].startswith("req-")
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("method", METHODS.split(", "))
def test_6_3_methods_of_pages(served: Callable[[str], Any], method: str) -> None:
    app = served(f"[cors]\nallowed_origin = {ORIGIN}\n")
    answer = _preflight(app, ORIGIN, method)
    assert answer.headers["Access-Control-Allow-Methods"] == method
    assert not _cors(_preflight(app, ORIGIN, "TRACE"))


@pytest.mark.parametrize("text", ["", f"[cors]\nallowed_origin = {ORIGIN}\n"])
def test_6_3_nobody_else(served: Callable[[str], Any], text: str) -> None:
    app = served(text)
    answer = _preflight(app, "https://evil.example.org")
    assert answer.status_int == 200
    assert not _cors(answer)
    assert not _cors(_ask(app, "GET", "/", Origin="https://evil.example.org"))


def test_6_3_bodies_reach_the_api_behind_it(served: Callable[[str], Any]) -> None:
    app = served(f"[cors]\nallowed_origin = {ORIGIN}\n")
    text = b"version: '2.0'\nw: {tasks: {t: {action: std.noop}}}"
    request = Request.blank("/v2/workflows/validate", method="POST", body=text)
    request.headers["Content-Type"] = "text/plain"
    assert request.get_response(app).json == {"valid": True}


FORWARDED = {
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "api.example.org",
    "X_Forwarded_Prefix": "/wf",
}


def test_6_4_links_are_those_that_the_proxy_says(served: Callable[[str], Any]) -> None:
    app = served("[oslo_middleware]\nenable_proxy_headers_parsing = true\n")
    answer = _ask(app, "GET", "/v2/", **FORWARDED)
    assert answer.json == {"uri": "https://api.example.org/wf/v2"}
    listed = _ask(app, "GET", "/", Forwarded="for=1.2.3.4;proto=https;host=b.example")
    [version] = listed.json["versions"]
    assert version["links"][0]["href"] == "https://b.example/v2"


def test_6_4_off_by_default(served: Callable[[str], Any]) -> None:
    answer = _ask(served(""), "GET", "/v2/", **FORWARDED)
    assert answer.json == {"uri": "http://localhost/v2"}


def test_6_6_options_of_the_service_as_a_whole(tmp_path: Path) -> None:
    settings = load(["--config-file", "/dev/null"], environ={}, serving=False)
    api = settings.api
    assert (api.enable_info_endpoint, api.info_json_file_path) == (False, "info.json")
    assert settings.cors.allowed_origin == ()
    assert not api.enable_proxy_headers_parsing
