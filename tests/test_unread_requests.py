"""Requests that no server reads: the answer has the shape of all errors (§ 2.1)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mistral.cmd.api_role import ApiServer
from mistral.cmd.unread_requests import LONGEST_REQUEST_LINE

Ask = Callable[[bytes], tuple[int, dict[str, str], bytes]]


def app(environ, start_response):  # type: ignore[no-untyped-def]
    start_response("200 OK", [("Content-Length", "0")])
    return []


@pytest.fixture(scope="module", params=["waitress", "gunicorn"])
def server(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server in front of an application that likes everything."""
    if request.param == "waitress":
        one = ApiServer(app, "127.0.0.1", 0)
        one.start()
        yield one.port
        one.stop()
        return
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [
            *(sys.executable, "-m", "gunicorn", "--log-level", "critical"),
            *("--bind", f"fd://{listening.fileno()}"),
            *("--worker-class", "mistral.cmd.unread_requests.Worker"),
            *("--limit-request-line", str(LONGEST_REQUEST_LINE)),
            "test_unread_requests:app",
        ]
        folder = Path(__file__).parent
        with subprocess.Popen(
            command, pass_fds=[listening.fileno()], cwd=folder
        ) as master:
            yield listening.getsockname()[1]
            master.terminate()


@pytest.fixture
def ask(server: int) -> Ask:
    def asked(request: bytes) -> tuple[int, dict[str, str], bytes]:
        with socket.create_connection(("127.0.0.1", server), timeout=30) as client:
            client.sendall(request)
            with client.makefile("rb") as answer:
                status = int(answer.readline().split()[1])
                headers = {}
                while line := answer.readline().decode().strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                return status, headers, answer.read(int(headers["content-length"]))

    return asked


END = b" HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
FILLED = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 9000) for number in range(40))


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (b"GET /" + b"x" * 300_000 + END, {414, 431}),
        (b"GET / HTTP/1.1\r\nHost: here\r\n" + FILLED + b"\r\n", {431}),
        (b"GET / HTTP/1.1\r\nHost : here\r\n\r\n", {400}),
        (b"G<T\x01 nothing\r\n\r\n", {400}),
    ],
    ids=["long path", "long headers", "bad header", "no request"],
)
def test_2_1_a_request_that_cannot_be_read(
    ask: Ask, request_: bytes, statuses: set[int]
) -> None:
    status, headers, body = ask(request_)
    assert status in statuses
    assert headers["content-type"].startswith("application/json")
    answer = json.loads(body)
    assert set(answer) == {"faultcode", "faultstring", "debuginfo"}
    assert answer["faultcode"] == "Client"
    assert answer["faultstring"]


def test_a_filter_of_some_hundred_ids_is_read(ask: Ask) -> None:
    line = b"GET /" + b"x" * 8000 + END
    status, _, _ = ask(line)
    assert status == 200
