"""Answers that wait for the end of an execution; gzip; request ids in the log."""

from __future__ import annotations

import gzip
import io
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from oslo_config import cfg
from oslo_log import formatters
from oslo_log import log as oslo_log
from rows import Rows, uid
from sqlalchemy import event, update

from mistral.api.app import Services, make_app
from mistral.api.waiting import LONGEST, WAIT, Endings
from mistral.cmd.logs import discreet_record
from mistral.db import models
from mistral.db.database import Database
from mistral.errors import TooMany

TABLE = models.workflow_executions


def _end(database: Database, id: str, state: str = "SUCCESS") -> None:
    with database.begin() as connection:
        connection.execute(update(TABLE).where(TABLE.c.id == id).values(state=state))


def _first_look(database: Database) -> threading.Event:
    """Set when somebody has asked for executions that are not over."""
    looked = threading.Event()

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "NOT IN" in statement:
            looked.set()

    event.listen(database.engine, "after_cursor_execute", note)
    return looked


def test_get_wait_answers_when_the_execution_ends(api: Any, database: Database) -> None:
    """While nobody waits, nobody asks the database."""
    Rows(database).run(uid(1))
    looked = _first_look(database)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(api.get, f"/v2/executions/{uid(1)}?wait=30") for _ in "ab"]
        assert looked.wait(20)
        assert not any(each.done() for each in both)
        _end(database, uid(1), "ERROR")
        answers = [each.result(20) for each in both]
    assert [answer.json["state"] for answer in answers] == ["ERROR", "ERROR"]


def test_get_wait_answers_when_the_time_is_over(api: Any, database: Database) -> None:
    Rows(database).run(uid(1))
    answer = api.get(f"/v2/executions/{uid(1)}?wait=0.05&fields=state")
    assert (answer.status, answer.json["state"]) == (200, "RUNNING")


def test_get_wait_ends_when_the_execution_is_deleted(
    api: Any, database: Database
) -> None:
    Rows(database).run(uid(1))
    looked = _first_look(database)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.get, f"/v2/executions/{uid(1)}?wait=30")
        assert looked.wait(20)
        with database.begin() as connection:
            connection.execute(TABLE.delete())
        assert waiting.result(20).status == 404


def test_wait_shows_nobody_what_is_not_theirs(
    projects: Any, database: Database
) -> None:
    Rows(database, project="blue").run(uid(1))
    assert projects.be("red").get(f"/v2/executions/{uid(1)}?wait=30").status == 404


def test_post_wait_answers_with_the_end(api: Any, bus: Any, database: Database) -> None:
    def start(message: Any) -> Any:
        Rows(database).run(message.run_id, output={"a": 1})
        _end(database, message.run_id)
        return {"id": message.run_id}

    bus.answer = start
    answer = api.post("/v2/executions?wait=30", {"workflow_name": "w"})
    assert (answer.status, answer.json["state"]) == (201, "SUCCESS")
    again = api.post("/v2/executions?wait=30", {"id": answer.json["id"]})
    assert (again.status, again.json["output"]) == (201, '{"a": 1}')


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_wait_is_a_number_of_seconds(api: Any, bus: Any, text: str) -> None:
    assert "wait" in api.get(f"/v2/executions/{uid(1)}?wait={text}").fault
    path = f"/v2/executions?wait={text}"
    assert api.post(path, {"workflow_name": "w"}).status == 400
    assert not bus.called


def test_wait_is_silently_limited() -> None:
    assert WAIT.of({"wait": "1e9"}) == LONGEST
    assert WAIT.of({"wait": ""}) == 0


def test_too_many_that_wait_are_refused_before_anything_starts(
    services: Services, api: Any, bus: Any, database: Database
) -> None:
    endings = Endings(database, places=1)
    services = replace(services, endings=endings)
    api = type(api)(make_app(services), services)
    Rows(database).run(uid(1))
    with endings.place(1):
        answer = api.post("/v2/executions?wait=1", {"workflow_name": "w"})
        assert answer.status == 429
        assert answer.headers["Retry-After"]
        assert api.get(f"/v2/executions/{uid(1)}").status == 200
        with pytest.raises(TooMany), endings.place(1):
            pass
    assert not bus.called
    assert api.get(f"/v2/executions/{uid(1)}?wait=0.01").status == 200


def test_many_that_wait_share_a_statement(api: Any, database: Database) -> None:
    rows = Rows(database)
    for number in range(8):
        rows.run(uid(number))
    asked: list[Any] = []

    def note(connection: Any, cursor: Any, sql: str, values: Any, *_: Any) -> None:
        if "NOT IN" in sql:
            asked.append(values)
            if len(asked) == 4:
                threading.Thread(target=_end_all, args=(database,)).start()

    event.listen(database.engine, "before_cursor_execute", note)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(
            lambda n: api.get(f"/v2/executions/{uid(n)}?wait=30").json["state"],
            range(8),
        )
        assert set(found) == {"SUCCESS"}
    together = max(sum(uid(n) in str(values) for n in range(8)) for values in asked)
    assert together > 1, "ids of one statement"


def _end_all(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(update(TABLE).values(state="SUCCESS"))


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        (None, False),
        ("identity", False),
        ("gzip;q=0", False),
        ("br, gzip;q=0.5", False),
        ("gzip", True),
        ("gzip, deflate, br", True),
    ],
)
def test_gzip_is_used_where_it_is_preferred(
    api: Any, database: Database, accepted: str | None, packed: bool
) -> None:
    rows = Rows(database)
    for number in range(9):
        rows.run(uid(number))
    headers = {"Accept-Encoding": accepted} if accepted else {}
    plain = api.get("/v2/executions").body
    answer = api.get("/v2/executions", headers=headers)
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert ("Content-Encoding" in answer.headers) is packed
    body = gzip.decompress(answer.body) if packed else answer.body
    assert body == plain
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert "Content-Encoding" not in api.get("/v2/", headers=headers).headers


def test_the_id_of_the_request_stands_in_its_log_lines(api: Any, bus: Any) -> None:
    conf = cfg.ConfigOpts()
    oslo_log.register_options(conf)
    conf([], project="mistral", default_config_files=[])
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatters.ContextFormatter(config=conf))
    logger = logging.getLogger("mistral.api")
    logger.addHandler(handler)
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(discreet_record)

    def fail(message: Any) -> Any:
        raise RuntimeError("engine")

    bus.answer = fail
    try:
        answer = api.post("/v2/executions", {"workflow_name": "w"})
        logger.error("outside")
    finally:
        logging.setLogRecordFactory(before)
        logger.removeHandler(handler)
    assert answer.status == 500
    request_id = answer.headers["X-Openstack-Request-Id"]
    first, *_, last = [line for line in stream.getvalue().splitlines() if line]
    assert f" {request_id} " in first.partition("]")[0]
    assert "outside" in last
    assert request_id not in last
