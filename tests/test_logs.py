"""What a log of the service never holds: values of workflows and secrets.

Every test writes the log of a real server process, at DEBUG, plain and as JSON, with
a word where the values are, and looks for that word.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from answering import answering
from house import CALLER
from rest import Client, Engine, Service
from sqlalchemy import insert, text, update
from sqlalchemy.exc import DBAPIError

from mistral.actions.registry import Registry
from mistral.api.app import make_app
from mistral.api.hooks import REQUEST_ID, ErrorHook
from mistral.bus import Bus
from mistral.cmd.logs import start_logging
from mistral.config import HttpSettings, Settings, load
from mistral.db import models
from mistral.db.database import Database
from mistral.engine.core.ports import Rules
from mistral.errors import Unavailable
from mistral.messages import CarryNotices, Message, Notify, PauseWorkflow, encode
from mistral.notifier.publishers import Publishers
from mistral.notifier.server import Courier

CANARY = "canary7f3a"
LOG = logging.getLogger("mistral.test")


@pytest.fixture(params=["plain", "json"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Reads the log of this process, which logs as a server does."""
    file = tmp_path / "mistral.log"
    config = tmp_path / "mistral.conf"
    config.write_text(
        "[DEFAULT]\ntransport_url = memory://\ndebug = true\n"
        f"log_file = {file}\nuse_json = {request.param == 'json'}\n"
        f"[database]\nconnection = sqlite:///{tmp_path}/unused.db\n"
        "[pecan]\nauth_enable = false\n[api]\nhost = 127.0.0.1\n"
    )
    root, umask = logging.getLogger(), os.umask(0o022)
    os.umask(umask)
    handlers, factory = list(root.handlers), logging.getLogRecordFactory()
    known = {n: v for n, v in root.manager.loggerDict.items() if hasattr(v, "level")}
    levels = {name: each.level for name, each in known.items()}
    level, hooks = root.level, (sys.excepthook, threading.excepthook)
    start_logging(load(["--config-file", str(config)]))
    yield lambda: file.read_text()
    logging.captureWarnings(False)
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    for name, each in root.manager.loggerDict.items():
        if isinstance(each, logging.Logger):
            each.setLevel(levels.get(name, logging.NOTSET))
    logging.setLogRecordFactory(factory)
    sys.excepthook, threading.excepthook = hooks
    os.umask(umask)


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error", [ValueError(CANARY), RuntimeError(CANARY), KeyError(CANARY)]
)
def test_sec_08_the_text_of_a_foreign_exception_is_not_written(
    log: Callable[[], str], error: Exception
) -> None:
    try:
        try:
            _raise(OSError(f"{CANARY} is away"))
        except OSError as cause:
            error.add_note(CANARY)
            raise error from cause
    except Exception as caught:
        LOG.exception("with a trace")
        LOG.warning("while %r is handled: %s", caught, caught)
        LOG.error(caught)
        LOG.error("%(why)s", {"why": caught})
        LOG.error("again", exc_info=caught)
    said = log()
    assert CANARY not in said
    assert type(error).__name__ in said
    assert said.count("in _raise") >= 2, "where it was raised is known"
    assert "direct cause" in said and "OSError" in said


def test_sec_08_a_handled_exception_is_no_part_of_a_clean_message(
    log: Callable[[], str],
) -> None:
    try:
        _raise(RuntimeError(CANARY))
    except RuntimeError:
        LOG.warning("clean")
    said = log()
    assert "clean" in said
    assert CANARY not in said and "RuntimeError" not in said


def test_what_the_service_says_itself_and_why_a_neighbour_is_away_is_written(
    log: Callable[[], str],
) -> None:
    try:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        socket.create_connection(("127.0.0.1", port))
    except OSError as error:
        LOG.warning("Away: %s", error)
    try:
        _raise(Unavailable("The broker has gone to lunch."))
    except Unavailable:
        LOG.exception("No answer")
    LOG.exception("nothing is handled here")
    said = log()
    assert "Connection refused" in said
    assert "errors.Unavailable: The broker has gone to lunch." in said
    assert "nothing is handled here" in said


def test_groups_circles_and_deep_chains_of_exceptions_are_written(
    log: Callable[[], str],
) -> None:
    circle = RuntimeError(CANARY)
    circle.__context__ = other = ValueError(CANARY)
    other.__context__ = circle
    LOG.error("circle", exc_info=circle)
    LOG.error("group", exc_info=ExceptionGroup(CANARY, [KeyError(CANARY)]))
    deep: Exception = KeyError(CANARY)
    for _ in range(3000):
        outer = ValueError(CANARY)
        outer.__context__, deep = deep, outer
    LOG.error("deep", exc_info=deep)
    LOG.error("syntax", exc_info=SyntaxError(CANARY, ("f", 1, 1, CANARY)))

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError(CANARY)

    LOG.error("mute", exc_info=Mute())
    said = log()
    assert CANARY not in said
    for word in ("circle", "group", "deep", "syntax", "mute"):
        assert word in said


def test_a_thread_that_dies_says_so_in_the_log(
    log: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    thread = threading.Thread(
        target=_raise, args=(RuntimeError(CANARY),), name="the-worker"
    )
    thread.start()
    thread.join()
    assert "the-worker" in log() and "RuntimeError" in log()
    assert CANARY not in log()
    assert CANARY not in capfd.readouterr().err


def test_sec_08_errors_of_databases_hold_no_values(
    database: Database, log: Callable[[], str]
) -> None:
    """A duplicate, a value that is too long, of another type, and no text at all,
    as each database tells it."""
    mine = models.workflow_executions
    broken = {
        "sqlite": ["SELECT json(:v)", "SELECT abs(-9223372036854775808) WHERE :v > ''"],
        "postgresql": [
            "SELECT CAST(:v AS integer)", "SELECT CAST(:v AS json)",
            "SELECT CAST(:v AS timestamp)",
        ],
        "mariadb": [
            "INSERT INTO handled (request_id, at) VALUES ('r', :v)",
            "DO GET_LOCK(:v, -1) + CAST(:v AS DATETIME) + JSON_EXTRACT(:v, :v)",
            "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'canary7f3a'",
            f"SELECT 1 {CANARY}(",
        ],
    }[database.engine.dialect.name]  # fmt: skip
    row = {
        "id": CANARY, "project_id": "p", "workflow_name": CANARY, "spec_id": "s",
        "state": "RUNNING", "internals": {}, "input": {"x": CANARY},
        "created_at": datetime(2020, 1, 2),
    }  # fmt: skip

    def twice(connection: Any) -> None:
        connection.execute(insert(mine), [row])
        connection.execute(insert(mine), [row])

    def unsuitable(connection: Any) -> None:
        connection.execute(insert(mine), [row | {"created_at": CANARY}])

    def endless(connection: Any) -> None:
        connection.execute(insert(mine), [row | {"id": CANARY * 1000, "state": None}])

    works: list[Callable[[Any], Any]] = [twice, unsuitable, endless]
    works += [lambda c, s=s: c.execute(text(s), {"v": CANARY}) for s in broken]
    for work in works:
        try:
            with database.begin() as connection:
                work(connection)
        except Exception as error:
            LOG.exception("It failed: %s", error)
            if isinstance(error, DBAPIError):
                assert CANARY not in str(error.orig)
    said = log()
    assert said.count("It failed") >= 4
    assert "IntegrityError" in said
    assert CANARY not in said


WORKFLOWS = """
ways:
  input: [secret, url]
  task-defaults:
    on-error: noop
  vars:
    kept: <% $.secret %>
  tasks:
    echoed:
      action: std.echo output=<% $.secret %>
      publish: {heard: <% task().result %>}
    failed:
      action: std.fail error_data=<% $.secret %>
    asked:
      action: std.http
      input:
        url: <% $.url + '/' + $.secret + '?page=' + $.secret %>
        method: POST
        headers: {X-Auth-Token: <% $.secret %>, X-Plain: <% env().secret %>}
        cookies: {<% $.secret %>: <% $.secret %>}
        body: {plain: <% $.secret %>, <% $.secret %>: 1}
    asked_nobody:
      action: std.http url=<% 'http://127.0.0.1:1/' + $.secret + '?a=' + $.secret %>
    asked_nonsense:
      action: std.http url=<% 'http://user:' + $.secret + '@host' %>
    slept:
      action: std.async_noop
unknown:
  input: [secret]
  tasks:
    t: {action: <% $.secret %>}
evaluated:
  input: [secret]
  tasks:
    t:
      action: std.echo output=<% int($.secret) + env().secret.nothing.there %>
named:
  input: [secret]
  tasks:
    t:
      action: std.echo
      input: {<% $.secret %>: 1}
late:
  input: [secret]
  tasks:
    t: {action: std.noop, wait-before: <% $.secret %>}
"""


class Web(ThreadingHTTPServer):
    """Answers everything with the word."""

    daemon_threads = True

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                body = f'{{"plain": "{CANARY}", "{CANARY}": 1}}'.encode()
                self.send_response(500)
                self.send_header("X-Answer", CANARY)
                self.send_header("Set-Cookie", f"{CANARY}={CANARY}")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                return

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def web() -> Iterator[Web]:
    with answering(Web()) as web:
        yield web


class Breaking(Registry):
    """A plug-in of it fails for one name."""

    def find(self, name: str, namespace: str = "", **more: Any) -> Any:
        if name == f"plug.{CANARY}":
            raise LookupError(CANARY)
        return super().find(name, namespace, **more)


@pytest.fixture
def service(tmp_path: Path, log: Callable[[], str]) -> Iterator[Service]:
    settings = Settings(http=HttpSettings(denied_cidrs=()))
    service = Service(
        tmp_path, settings=settings, registry=Breaking(settings), rules=Rules()
    )
    yield service
    service.close()


def test_sec_09_what_workflows_do_and_fail_at(
    service: Service, web: Web, log: Callable[[], str]
) -> None:
    """Input, variables, environment, action inputs, results, headers, and every way
    to fail."""
    service.upload(WORKFLOWS)
    body = {"name": CANARY, "variables": {"secret": CANARY}}
    assert service.api.post("/v2/environments", body).status == 201
    given = {"secret": CANARY, "url": web.url}
    for name in ("unknown", "evaluated", "named", "late"):
        assert service.run(name, {"secret": CANARY})["state"] == "ERROR", name
    run = service.run("ways", given, params={"env": CANARY})
    assert run["state"] in ("ERROR", "RUNNING")
    states = service.states(run["id"])
    assert states["echoed"] == "SUCCESS"
    assert states["failed"] == states["asked"] == "ERROR"
    [asked] = service.actions(service.task(run["id"], "asked")["id"])
    assert CANARY in str(asked["output"]), "the word has been around"
    service.change(run["id"], state=CANARY)
    service.begin("ways", {CANARY: CANARY})
    service.begin(CANARY)
    for path in (f"/v2/executions/{CANARY}", f"/v2/workflows?{CANARY}={CANARY}"):
        service.api.get(path, headers={"X-Auth-Token": CANARY})
    service.api.post("/v2/workflows", f"version: '2.0'\nw: {{{CANARY}: {CANARY}}}")
    service.api.post("/v2/action_executions", {"name": f"plug.{CANARY}", "input": {}})
    said = log()
    assert "std.http: POST http://127.0.0.1" in said
    assert CANARY not in said


def test_sec_09_events_that_cannot_be_decided_or_stored(
    service: Service, log: Callable[[], str]
) -> None:
    service.upload("w: {input: [x], tasks: {t: {action: std.async_noop}}}")
    house, id = service.house, service.start("w", {"x": CANARY})
    with house.database.begin() as connection:
        connection.execute(update(models.workflow_executions).values(state=CANARY))
    context = CALLER.to_dict()
    house.put(PauseWorkflow(run_id=id, request_id="p", context=context))
    house.turn()
    assert len(house.rows(models.poison)) == 1
    with house.database.begin() as connection:
        connection.execute(update(models.workflow_executions).values(state="RUNNING"))
        connection.execute(text("DROP TABLE task_executions"))
    # two in one turn, which is cut
    for number in range(2):
        answer = service.begin("w", {"x": CANARY}, id=house.new_id())
        assert answer.status == 500, number
    for path in ("tasks", "executions", f"executions/{id}"):
        service.api.get(f"/v2/{path}")
    said = log()
    assert "is poison" in said and "cannot be stored" in said
    assert CANARY not in said


class _Broken(Engine):
    """A bus that fails as no bus should."""

    def call(self, message: Message, **more: Any) -> Any:
        raise RuntimeError(f"{message!r} {CANARY}")


def test_sec_09_a_request_that_fails_with_500(
    service: Service, log: Callable[[], str]
) -> None:
    services = replace(service.api.services, bus=_Broken(service.house))
    api = Client(make_app(services), services)
    answer = api.post("/v2/executions", {"workflow_name": CANARY, "input": {}})
    assert answer.status == 500
    said = log()
    assert "failed" in said and "RuntimeError" in said
    assert CANARY not in said


def test_sec_09_values_that_a_database_refuses(
    database: Database, log: Callable[[], str]
) -> None:
    """SEC-27."""
    try:
        with database.read() as connection:
            many = {"postgresql": "SELECT CAST(:v AS integer)"}
            statement = many.get(database.engine.dialect.name, "SELECT nothing, :v")
            connection.execute(text(statement), {"v": CANARY})
    except DBAPIError as error:
        request = SimpleNamespace(environ={REQUEST_ID: "r"})
        state = SimpleNamespace(request=request)
        answer = ErrorHook(database.is_retryable).on_error(state, error)
    assert answer is not None and CANARY not in answer.text
    assert CANARY not in log()


def test_sec_09_headers_of_notifications(web: Web, log: Callable[[], str]) -> None:
    entries = (
        {"type": "webhook", "url": f"{web.url}/{CANARY}", "headers": {"X-T": CANARY}},
        {"type": "webhook", "url": f"http://127.0.0.1:1/{CANARY}"},
        {"type": "webhook", "url": f"ftp://{CANARY}:{CANARY}@{CANARY}/"},
        {"type": "webhook", "url": web.url, CANARY: 1, "headers": [CANARY]},
        {"type": "noop", "what": CANARY},
    )
    notice = Notify(
        run_id="r",
        object_id="o",
        event="TASK_FAILED",
        timestamp="2026-11-21 01:02:03",
        number=1,
        data={"id": "o", "result": CANARY},
        publishers=entries,
    )
    publishers = Publishers(HttpSettings(denied_cidrs=()))
    for entry in entries:
        one = encode(replace(notice, publishers=(entry,)))
        answer = Courier(publishers.publish).carry(
            CarryNotices(ids=("n",), notices=(one,))
        )
        assert CANARY not in answer.reason
    said = log()
    assert "answered 500" in said
    assert CANARY not in said


@pytest.mark.services
def test_sec_09_the_password_of_the_broker(log: Callable[[], str]) -> None:
    user = f"t{uuid.uuid4().hex[:8]}"
    for place in ("127.0.0.1:5672", "127.0.0.1:1"):
        bus = Bus(f"rabbit://{user}:{CANARY}@{place}/", call_timeout=1.0, retry=0)
        bus.start()
        with pytest.raises(Unavailable):
            bus.call(PauseWorkflow(run_id=CANARY, request_id=CANARY, context={}))
        with pytest.raises(Unavailable):
            bus.send(CarryNotices(notices=({"x": CANARY},)))
        bus.stop()
    said = log()
    assert said
    assert CANARY not in said
