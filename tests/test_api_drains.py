"""A server that stops answers those who wait for executions, at once."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from rows import Rows, uid
from servers import make_tables

from mistral.bus import Bus
from mistral.clock import SystemClock
from mistral.cmd.api_role import ApiServer, make_api
from mistral.config import load
from mistral.db.database import Database

CONFIG = """
[DEFAULT]
transport_url = memory://drains
[api]
host = 127.0.0.1
port = {port}
api_workers = 1
[database]
connection = sqlite:///{home}/mistral.sqlite
[pecan]
auth_enable = false
"""

SECONDS = 10
"""Less than anybody would wait otherwise."""

Stop = Callable[[], object]
Serve = Callable[[list[str], Database], AbstractContextManager[Stop]]


@contextmanager
def _threads(argv: list[str], database: Database) -> Iterator[Stop]:
    settings = load(argv)
    bus = Bus(settings.messaging.transport_url)
    bus.start()
    api = make_api(settings, database, bus, SystemClock())
    port = settings.api.port
    server = ApiServer(api.app, "127.0.0.1", port, drain=api.drain)
    server.start()
    yield server.stop
    server.stop()
    bus.stop()


@contextmanager
def _workers(argv: list[str], database: Database) -> Iterator[Stop]:
    command = [sys.executable, "-m", "mistral.cmd.api_workers", *argv]
    line, theirs = socket.socketpair()
    with line, theirs, subprocess.Popen(command, stdin=theirs) as master:
        assert line.recv(1), "it is up"
        yield master.terminate
        # the end of the line ends it, too


@pytest.mark.parametrize("serve", [_threads, _workers], ids=["waitress", "gunicorn"])
def test_who_waits_is_answered_when_the_server_stops(
    tmp_path: Path, serve: Serve
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = tmp_path / "mistral.conf"
    config.write_text(CONFIG.format(port=port, home=tmp_path))
    database = Database(f"sqlite:///{tmp_path}/mistral.sqlite")
    make_tables(database)
    Rows(database).run(uid(1))
    with serve(["--config-file", str(config)], database) as stop:
        path = f"/v2/executions/{uid(1)}"
        with closing(_ask(port, f"{path}?wait=30")) as waiting:
            # one that came later is answered: the other one was taken in, at least
            with closing(_ask(port, path)) as other:
                assert other.getresponse().status == 200
            began = time.monotonic()
            with ThreadPoolExecutor(1) as pool:
                stopped = pool.submit(stop)
                answer = waiting.getresponse()
                found = json.load(answer)
                stopped.result(SECONDS)
            assert (answer.status, found["state"]) == (200, "RUNNING")
            assert time.monotonic() - began < SECONDS
    database.dispose()


def _ask(port: int, path: str) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request("GET", path)
    return connection
