"""The service as real processes: a database, a virtual host, five programs.

``Cluster`` starts one API, two engines and two executors, kills and restarts
any of them, and speaks REST. What it made is gone when it is left.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from servers import NoServer, fresh_database
from sqlalchemy import URL

T = TypeVar("T")

ROLES = ("api", "engine-1", "engine-2", "executor-1", "executor-2")
EVENTS = "event-engine-1"
"""Not started unless a test does it."""

ENDS = ("SUCCESS", "ERROR", "CANCELLED")

CONFIG = """
[DEFAULT]
transport_url = {transport}
rpc_response_timeout = 5
executor_thread_pool_size = 8
[database]
connection = {database}
[api]
host = 127.0.0.1
port = {port}
api_workers = 1
allow_action_execution_deletion = true
[pecan]
auth_enable = false
[engine]
host = {name}
workers = 1
[executor]
host = {name}
[action_heartbeat]
check_interval = 1
max_missed_heartbeats = 4
[action_std_http]
denied_cidrs =
[dynamic_actions]
enabled = true
"""


def until(probe: Callable[[], T], seconds: float, what: str) -> T:
    """Ask again and again until the answer is true; give that answer.

    :param seconds: how long at most; the machine may be busy with other tests.
    :raises AssertionError: names ``what`` and the last answer.
    """
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds} s: {what}; last: {found!r}")
        pause.wait(0.1)


class Ledger:
    """Counts the calls of each URL, outside of the service."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.hold = 0.0
        self._lock = threading.Lock()
        ledger = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with ledger._lock:
                    times = ledger.calls.get(self.path, 0) + 1
                    ledger.calls[self.path] = times
                threading.Event().wait(ledger.hold)
                fails = self.path.startswith("/flaky/") and times == 1
                body = json.dumps({"times": times}).encode()
                try:
                    self.send_response(503 if fails else 200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    # who asked was killed meanwhile
                    self.close_connection = True

            def log_message(self, format: str, *arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def control_broker(*arguments: str) -> None:
    """``rabbitmqctl …``. :raises NoServer: no broker here, or not ours to manage."""
    program = shutil.which("rabbitmqctl")
    if program is None:
        raise NoServer("rabbitmqctl is not installed")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise NoServer(f"rabbitmqctl {arguments[0]}: {done.stderr.strip()[:200]}")


def broker_port() -> int:
    """Of the broker that tests use: ``TEST_RABBITMQ_PORT``, or the usual one."""
    return int(os.environ.get("TEST_RABBITMQ_PORT", "5672"))


@contextmanager
def virtual_host() -> Iterator[str]:
    """The transport URL of a RabbitMQ virtual host of its own.

    :raises NoServer: no broker here, or not ours to manage.
    """
    name = f"mistral_test_{uuid.uuid4().hex[:12]}"
    control_broker("add_vhost", name)
    try:
        control_broker("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        yield f"rabbit://guest:guest@127.0.0.1:{broker_port()}/{name}"
    finally:
        control_broker("delete_vhost", name)


class Cluster:
    """One API, two engines, two executors, or what else is named.

    :param names: of the processes: a role, and what tells it from its like.
    :param through: where one of them finds database and transport; without it each
        goes to them directly.
    :param releases: where a release is installed that some of them run in place of
        the code under test.
    """

    def __init__(
        self,
        directory: Path,
        database: URL,
        transport: str,
        names: Sequence[str] = (*ROLES, EVENTS),
        through: Callable[[str], tuple[URL, str]] | None = None,
        releases: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        self._directory = directory
        self._releases = releases
        self.database = database
        self.names = tuple(names)
        self._virtual_host = transport.rsplit("/", 1)[1]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.roots = {
            name: f"http://127.0.0.1:{_free_port()}"
            for name in names
            if role_of(name) == "api"
        }
        self.root = next(iter(self.roots.values()))
        for name in names:
            near, broker = through(name) if through else (database, transport)
            (directory / f"{name}.conf").write_text(
                CONFIG.format(
                    transport=broker,
                    database=near.render_as_string(hide_password=False),
                    port=self.roots.get(name, self.root).rpartition(":")[2],
                    name=name,
                )
            )

    # -- Processes ------------------------------------------------------------

    def upgrade(self, name: str | None = None) -> None:
        """To the version of the database that this one of the processes is for."""
        name = name or self.names[0]
        subprocess.run(
            [*_program("db_manage", self._config(name)), "upgrade", "head"],
            check=True,
            capture_output=True,
            timeout=120,
            **self._release(name),
        )

    def _release(self, name: str) -> dict[str, Any]:
        """How the code of the process is found."""
        if name not in self._releases:
            return {}
        path = str(self._releases[name])
        # Not from the checkout, which Python would look into first.
        return {"cwd": path, "env": {**os.environ, "PYTHONPATH": path}}

    def start(self, *names: str) -> None:
        """Start them at the same time and wait until all of them are up."""
        seen = {name: self._ups(name) for name in names}
        for name in names:
            with self._log(name).open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [
                        *_program("server", self._config(name)),
                        "--server",
                        role_of(name),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    **self._release(name),
                )
        for name in names:
            up = partial(self._is_up, name, seen[name])
            until(up, 60, f"{name} is up")

    def pid(self, name: str) -> int:
        """The process that was started for this name."""
        return self._processes[name].pid

    def kill(self, *names: str) -> None:
        """``kill -9``, and gone when this returns."""
        for name in names:
            self._processes[name].kill()
        for name in names:
            self._processes.pop(name).wait(30)

    def end(self, *names: str) -> dict[str, int]:
        """SIGTERM to these; their exit codes."""
        for name in names:
            self._processes[name].send_signal(signal.SIGTERM)
        return {name: self._processes.pop(name).wait(60) for name in names}

    def cut_connections(self) -> None:
        """The broker closes every connection of every process."""
        why = "cut by a test"
        control_broker("close_all_connections", "--vhost", self._virtual_host, why)

    def stop(self) -> dict[str, int]:
        """SIGTERM to all that run; their exit codes."""
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        codes = {}
        for name, process in self._processes.items():
            try:
                codes[name] = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait(30)
        self._processes.clear()
        return codes

    def tracebacks(self) -> list[str]:
        """Lines of the logs that begin a traceback."""
        return [
            f"{name}: {line}"
            for name in self.names
            for line in self._text(name).splitlines()
            if "Traceback (most recent call last)" in line
        ]

    def _config(self, name: str) -> Path:
        return self._directory / f"{name}.conf"

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _text(self, name: str) -> str:
        log = self._log(name)
        return log.read_text(errors="replace") if log.exists() else ""

    def _ups(self, name: str) -> int:
        return self._text(name).count("mistral-server is up")

    def _is_up(self, name: str, before: int) -> bool:
        process = self._processes[name]
        assert process.poll() is None, f"{name} ended: {self._text(name)[-2000:]}"
        if self._ups(name) <= before:
            return False
        assert name not in self.roots or self._answers(name), "it says that it is up"
        return True

    def _answers(self, name: str) -> bool:
        try:
            return self.ask("GET", "/v2/", root=self.roots[name])[0] == 200
        except OSError:
            return False

    # -- REST -----------------------------------------------------------------

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "",
        root: str = "",
    ) -> tuple[int, Any]:
        """Status and body.

        :param root: of which API; the first one's if none is said.
        :raises OSError: the API does not answer.
        """
        url = f"{root or self.root}{path}"
        request = urllib.request.Request(url, data=body, method=method)
        if kind:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        try:
            return status, json.loads(content or b"null")
        except ValueError:
            return status, content.decode(errors="replace")

    def get(self, path: str) -> tuple[int, Any]:
        return self.ask("GET", path)

    def upload(self, text: str) -> None:
        status, answer = self.ask("POST", "/v2/workflows", text.encode(), "text/plain")
        assert status == 201, answer

    def run(self, workflow: str, **fields: Any) -> str:
        """Start an execution; asks again, with the same id, while something
        that is needed for an answer is down."""
        fields = {"id": str(uuid.uuid4()), "workflow_name": workflow, **fields}
        body = json.dumps(fields).encode()

        def accepted() -> bool:
            try:
                status, answer = self.ask(
                    "POST", "/v2/executions", body, "application/json"
                )
            except OSError:
                return False
            assert status in (201, 429, 502, 503, 504), answer
            return status == 201

        until(accepted, 60, f"{workflow} is started")
        return str(fields["id"])

    def ended(self, ids: list[str], seconds: float) -> dict[str, dict[str, Any]]:
        """Executions by id when all of them have ended."""
        wanted = set(ids)

        def all_ended() -> dict[str, dict[str, Any]] | None:
            try:
                status, answer = self.get("/v2/executions?limit=1000")
            except OSError:
                return None
            if status != 200:
                return None
            found = {
                row["id"]: row for row in answer["executions"] if row["id"] in wanted
            }
            open_ = [row for row in found.values() if row["state"] not in ENDS]
            last[:] = open_
            return found if not open_ and len(found) == len(wanted) else None

        last: list[dict[str, Any]] = []
        try:
            return until(all_ended, seconds, "all executions end")
        except AssertionError:
            shown = [(row["id"], row["state"]) for row in last[:5]]
            raise AssertionError(f"{len(last)} still run: {shown}") from None


def role_of(name: str) -> str:
    """``engine-2`` is an ``engine``."""
    return name.rstrip("-0123456789")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _program(module: str, config: Path) -> list[str]:
    return [sys.executable, "-m", f"mistral.cmd.{module}", "--config-file", str(config)]


@contextmanager
def running_cluster(kind: str, directory: Path) -> Iterator[Cluster]:
    """A cluster on a database of this kind; removed afterwards.

    :raises NoServer: the database or the broker is missing.
    """
    with ExitStack() as stack:
        database = stack.enter_context(fresh_database(kind, directory))
        transport = stack.enter_context(virtual_host())
        cluster = Cluster(directory, database, transport)
        stack.callback(cluster.stop)
        cluster.upgrade()
        cluster.start(*ROLES)
        yield cluster
