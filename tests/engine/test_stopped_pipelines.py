"""An engine that is stopped in the midst of a pipeline, while it writes, holds nobody
up for long (DESIGN § 6): the server takes its transaction for busy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cells import SERVERS, Cell
from house import House

from mistral.db.database import Database
from mistral.engine.sweeps import StoppedSweep
from mistral.messages import PauseWorkflow

HELD = 1.0
SECONDS = 60.0

WORKFLOW = "version: '2.0'\nw: {tasks: {a: {action: std.sleep seconds=1}}}\n"
STOPS = """
import os, signal, sys
from mistral.db import rows
from mistral.db.database import Database, OwnConnection

url, isolation, run_id = sys.argv[1:]
own = OwnConnection(Database(url, isolation=isolation, held_seconds=1.0), 1.0)
with own.begin() as connection:
    rows.lock_headers(connection, [run_id], skip_locked=False)
    raw = connection.connection.driver_connection.pgconn
    raw.enter_pipeline_mode()
    change = "UPDATE workflow_executions SET version = 99 WHERE id = $1"
    raw.send_query_params(change.encode(), [run_id.encode()])
    raw.send_flush_request()
    raw.flush()
    os.kill(os.getpid(), signal.SIGSTOP)
"""
ON_POSTGRESQL = [each for each in SERVERS if each.values[0].kind == "postgresql"]


@pytest.fixture(params=ON_POSTGRESQL)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    cell: Cell = request.param

    def make(directory: Path, *, url: str, database: Any) -> House:
        house = House(directory, url=url, database=partial(database, held_seconds=HELD))
        house.upload(WORKFLOW)
        house.hold.add("std.sleep")
        return house

    with cell.world(make, tmp_path) as house:
        yield house


def stopped(database: Database, run_id: str) -> subprocess.Popen[bytes]:
    """A process that has the header's lock, has sent a part of its changes, as one that
    has many does, and is stopped."""
    url = database.url.render_as_string(hide_password=False)
    given = [sys.executable, "-c", STOPS, url, database.isolation, run_id]
    process = subprocess.Popen(given, stderr=subprocess.PIPE)
    _pid, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), process.stderr and process.stderr.read()
    return process


def test_eng_235_a_pipeline_that_stops_is_ended(house: House) -> None:
    run_id = house.start("w")
    house.settle()
    process = stopped(house.database, run_id)
    sweep = StoppedSweep(house.database)
    try:
        asked = house.put(PauseWorkflow(run_id=run_id))
        begun, ended = time.monotonic(), 0
        while not ended:
            ended = sweep.run_once()["ended"]
            assert time.monotonic() - begun < SECONDS, "it holds its locks for ever"
        assert time.monotonic() - begun >= HELD / 2, "whoever writes is given time"
        while not asked.done():
            house.turn()
            house.advance(2)
        assert asked.exception(0) is None
        assert house.header(run_id)["state"] == "PAUSED"
        assert house.header(run_id)["version"] != 99
        process.send_signal(signal.SIGCONT)
        _out, said = process.communicate(timeout=SECONDS)
        assert b"OperationalError" in said
    finally:
        process.kill()
        process.wait()
    assert house.examined() == []


def test_whoever_is_not_stopped_goes_on(house: House) -> None:
    run_id = house.start("w")
    with house.database.begin() as connection:
        connection.exec_driver_sql("SELECT 1")
        assert StoppedSweep(house.database).run_once() == {"ended": 0}
        connection.exec_driver_sql("SELECT 1")
    assert house.header(run_id)["state"] == "RUNNING"
