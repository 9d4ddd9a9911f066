"""One engine server with ``[engine] workers = 2``: two processes decide, a killed
one comes back, and SIGTERM ends them both after their work."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import NoServer, fresh_database
from sqlalchemy import select
from system.processes import Cluster, Ledger, until, virtual_host

from mistral.db.database import Database
from mistral.db.models import outbox

pytestmark = [pytest.mark.services, pytest.mark.system]

WORKFLOWS = """
version: '2.0'

later:
  tasks:
    wait:
      action: std.noop
      wait-before: 1800

called:
  input: [url]
  tasks:
    first:
      action: std.http url='<% $.url %>/first'
      on-success: last
    last:
      action: std.http url='<% $.url %>/last'
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    try:
        with (
            fresh_database("postgresql", tmp_path) as database,
            virtual_host() as transport,
        ):
            cluster = Cluster(tmp_path, database, transport)
            config = tmp_path / "engine-1.conf"
            one = config.read_text()
            config.write_text(one.replace("\nworkers = 1\n", "\nworkers = 2\n"))
            cluster.upgrade()
            try:
                cluster.start("api", "engine-1", "executor-1")
                cluster.upload(WORKFLOWS)
                yield cluster
            finally:
                cluster.stop()
    except NoServer as missing:
        pytest.skip(str(missing))


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger()
    yield ledger
    ledger.close()


def test_eng_235_two_processes_decide_and_a_killed_one_comes_back(
    cluster: Cluster, ledger: Ledger, tmp_path: Path
) -> None:
    """ENG-235, ENG-238: nothing is lost or repeated, and the server is whole."""
    database = Database(cluster.database)

    def deciders() -> int:
        """Start one more task that waits; how many processes wrote such timers."""
        cluster.run("later")
        with database.read() as connection:
            return len(set(connection.execute(select(outbox.c.lease_owner)).scalars()))

    def said_up() -> list[str]:
        lines = (tmp_path / "engine-1.log").read_text().splitlines()
        return [line for line in lines if "mistral-server is up: engine" in line]

    try:
        server = cluster.pid("engine-1")
        first = children(server)
        assert len(first) == 2
        until(lambda: len(said_up()) == 3, 30, "all are up")
        assert f" {server} INFO " in said_up()[-1], "the server comes last"
        until(lambda: deciders() == 2, 60, "both decide")
        ledger.hold = 0.3
        ids = [
            cluster.run("called", input={"url": f"{ledger.url}/{number}"})
            for number in range(10)
        ]
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(children(server) - {victim}) == 2, 30, "it comes back")
        for row in cluster.ended(ids, 60).values():
            assert row["state"] == "SUCCESS", row["state_info"]
        assert set(ledger.calls.values()) == {1}
        assert len(ledger.calls) == 20
        until(lambda: deciders() == 3, 60, "the new one decides")
        ledger.hold = 0.0
        last = children(server)
        assert set(cluster.stop().values()) == {0}, "SIGTERM drains and ends"
        assert [pid for pid in last if Path(f"/proc/{pid}").exists()] == []
        assert cluster.tracebacks() == []
    finally:
        database.dispose()


def children(server: int) -> set[int]:
    """Ids of a server's engine processes."""
    return {
        pid
        for listed in Path(f"/proc/{server}/task").glob("*/children")
        for pid in map(int, listed.read_text().split())
        if "engine_worker" in _command(pid)
    }


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
