"""``std.http`` and ``std.mistral_http`` in workflows (spec/engine.md §§ 9.2, 9.3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from answering import answering
from rest import Service

from mistral.actions.registry import Registry
from mistral.config import HttpSettings, Settings

OPEN = Settings(http=HttpSettings(denied_cidrs=()))


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """``/<status>`` answers with that status; ``/302`` leads to ``/200``."""

    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.headers.append(dict(self.headers))
        self.send_response(int(self.path[1:]))
        self.send_header("Location", "http://0.0.0.0:1/")
        self.end_headers()
        self.wfile.write(b'{"a": 1}')


@pytest.fixture
def server() -> Iterator[Server]:
    with answering(Server()) as server:
        yield server


def _service(directory: Path, settings: Settings) -> Service:
    return Service(
        directory, registry=Registry(settings, entry_points=lambda group: ())
    )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = _service(tmp_path, OPEN)
    yield service
    service.close()


def _task(action: str, **input: Any) -> str:
    given = json.dumps(input)
    return (
        f"w: {{tasks: {{t: {{action: {action}, input: {given}, on-error: saved}},"
        " saved: {action: std.noop}}}"
    )


@pytest.mark.parametrize(
    ("status", "state"), [(200, "SUCCESS"), (404, "ERROR"), (503, "ERROR")]
)
def test_eng_213_the_answer_is_the_result(
    service: Service, server: Server, status: int, state: str
) -> None:
    service.upload(_task("std.http", url=f"{server.url}/{status}"))
    action = service.action(service.run("w")["id"], "t")
    result = action["output"]["result"]
    assert (action["state"], result["status"]) == (state, status)
    assert result["content"] == {"a": 1}
    assert set(result) == {
        "content", "status", "headers", "cookies", "url", "history", "encoding",
        "reason", "elapsed",
    }  # fmt: skip


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]"])
def test_eng_214_loopback_is_refused_by_default(tmp_path: Path, host: str) -> None:
    service = _service(tmp_path, Settings())
    service.upload(_task("std.http", url=f"http://{host}:1/"))
    action = service.action(service.run("w")["id"], "t")
    assert action["state"] == "ERROR"
    assert "is not allowed" in action["output"]["result"]
    service.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "[::ffff:127.0.0.1]", "[::]"])
def test_eng_215_other_forms_are_refused_too(tmp_path: Path, host: str) -> None:
    service = _service(tmp_path, Settings())
    service.upload(_task("std.http", url=f"http://{host}:1/"))
    action = service.action(service.run("w")["id"], "t")
    assert action["state"] == "ERROR"
    assert "is not allowed" in action["output"]["result"]
    service.close()


def test_eng_215_a_redirect_target_is_refused(tmp_path: Path, server: Server) -> None:
    denied = Settings(http=HttpSettings(denied_cidrs=("0.0.0.0/8",)))
    service = _service(tmp_path, denied)
    url = f"{server.url}/302"
    service.upload(_task("std.http", url=url, allow_redirects=True))
    action = service.action(service.run("w")["id"], "t")
    assert action["state"] == "ERROR"
    assert "is not allowed" in action["output"]["result"]
    assert len(server.headers) == 1
    service.close()


def test_eng_064_216_body_and_json_together_are_an_ordinary_error(
    service: Service,
) -> None:
    service.upload(_task("std.http", url="http://nowhere.example", body="a", json={}))
    found = service.run("w")
    assert found["state"] == "SUCCESS", found["state_info"]
    task = service.task(found["id"], "t")
    assert task["state"] == "ERROR"
    assert task["state_info"].startswith(
        "Failed to instantiate an action [action_desc=std.http, error="
    )
    assert service.actions(task["id"]) == []
    assert service.task(found["id"], "saved")["state"] == "SUCCESS"


def test_eng_217_mistral_http_names_itself_and_waits(
    service: Service, server: Server
) -> None:
    service.upload(_task("std.mistral_http", url=f"{server.url}/200"))
    found = service.run("w")
    task, action = service.task(found["id"], "t"), service.action(found["id"], "t")
    assert [o["state"] for o in (found, task, action)] == ["RUNNING"] * 3
    [headers] = server.headers
    assert {k: v for k, v in headers.items() if k.startswith("Mistral-")} == {
        "Mistral-Workflow-Name": "w",
        "Mistral-Workflow-Execution-Id": found["id"],
        "Mistral-Task-Id": task["id"],
        "Mistral-Action-Execution-Id": action["id"],
        "Mistral-Callback-URL": f"/v2/action_executions/{action['id']}",
    }
    service.finish(action["id"], {"done": True})
    assert service.execution(found["id"])["state"] == "SUCCESS"


@pytest.mark.parametrize("path", ["/404", None])
def test_a_refused_mistral_http_ends_at_once(
    service: Service, server: Server, path: str | None
) -> None:
    """§ 9.3: another status, or a send failure."""
    url = f"{server.url}{path}" if path else "http://nowhere.invalid/"
    service.upload(_task("std.mistral_http", url=url))
    found = service.run("w")
    assert found["state"] == "SUCCESS"
    assert service.task(found["id"], "t")["state"] == "ERROR"
