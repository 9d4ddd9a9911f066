"""A database that is away is no failure of ours: whoever is told can try again, and the
log has a line of it and no traceback (ENG-237, DESIGN § 6)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import oslo_messaging
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from mistral.api.hooks import REQUEST_ID, ErrorHook
from mistral.bus_endpoints import Messages, Requests
from mistral.db.database import Database
from mistral.errors import Unavailable, from_wire
from mistral.messages import StartWorkflow, encode
from mistral.service import Loop


@pytest.fixture(params=["postgresql", "mysql"])
def away(request: pytest.FixtureRequest) -> Database:
    return Database(f"{request.param}://u@127.0.0.1:1/d")


@pytest.mark.services
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_pool_whose_connections_are_all_in_use_is_an_outage(
    kind: str,
    open_database: Callable[..., Database],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What comes meanwhile comes again: a notification is not acknowledged."""
    full = open_database(kind, pool_size=1, max_overflow=0, pool_timeout=0.1)
    ended = threading.Event()
    ended.set()
    with full.read():
        messages = Messages(lambda message: _ask(full), ended)
        back = messages.info({}, "", "", _message(), {})
        assert back == oslo_messaging.NotificationResult.REQUEUE
        answer = Requests(lambda message: _ask(full)).handle({}, _message())
        assert isinstance(from_wire(answer["error"]), Unavailable), "not a bug"
    assert "Traceback" not in caplog.text
    assert "All database connections of this process are in use" in caplog.text
    _ask(full)


def _ask(database: Database, *_: Any) -> None:
    with database.read() as connection:
        connection.execute(text("SELECT 1"))


def _line(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = (each for each in caplog.records if each.name.startswith("mistral"))
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    line = record.getMessage()
    assert "efused" in line and "\n" not in line, "it says what is the matter"
    return line


def _message() -> dict[str, Any]:
    return encode(StartWorkflow(run_id="r", workflow_name="w"))


def test_a_pass_of_a_loop(away: Database, caplog: pytest.LogCaptureFixture) -> None:
    class Sweep(Loop):
        def _pause(self, failures: int) -> None:
            self._stopping = True

        def run_once(self) -> dict[str, int]:
            _ask(away)
            return {}

    sweep = Sweep("sweep", 1.0)
    sweep.start()
    sweep.stop()
    assert _line(caplog).startswith("sweep: ")


def test_a_request_over_the_broker(
    away: Database, caplog: pytest.LogCaptureFixture
) -> None:
    answer = Requests(lambda message: _ask(away)).handle({}, _message())
    assert isinstance(from_wire(answer["error"]), Unavailable), "not a bug"
    assert "StartWorkflow" in _line(caplog)


def test_a_message_comes_again(
    away: Database, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    ended.set()
    messages = Messages(lambda message: _ask(away), ended)
    back = messages.info({}, "", "", _message(), {})
    assert back == oslo_messaging.NotificationResult.REQUEUE
    assert "StartWorkflow" in _line(caplog)


def test_a_request_to_the_api(away: Database, caplog: pytest.LogCaptureFixture) -> None:
    state = SimpleNamespace(request=SimpleNamespace(environ={REQUEST_ID: "r-1"}))
    with pytest.raises(DBAPIError) as caught:
        _ask(away)
    answer = ErrorHook(away.is_retryable).on_error(state, caught.value)
    assert answer is not None
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "5")
    assert "r-1" in _line(caplog)
