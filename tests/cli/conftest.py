"""A service that answers as told, and a terminal that is read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from click.testing import CliRunner, Result

from mistral.cli.main import main

Answer = tuple[int, Any]


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class FakeService:
    """Answers by method and path; a list of answers is used up but for its last.

    What is not set answers 404, as the service does.
    """

    url: str = ""
    answers: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[method, path] = list(answers)

    def asked(self, method: str, path: str) -> list[Request]:
        return [r for r in self.requests if (r.method, r.path) == (method, path)]

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        waiting = self.answers.get((request.method, request.path))
        if waiting is None:
            return 404, {"faultstring": f"There is no {request.path}."}
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            request = Request(
                self.command,
                parts.path.removeprefix("/v2"),
                dict(parse_qsl(parts.query)),
                self.rfile.read(length).decode(),
                dict(self.headers.items()),
            )
            status, value = fake.answer(request)
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v2"
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def control(service: FakeService) -> Callable[..., Result]:
    """Runs ``mistralctl`` against the service."""

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(
            main, arguments, env={"MISTRAL_URL": service.url, "COLUMNS": "200"}
        )
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run
