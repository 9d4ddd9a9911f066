"""The benchmark driver on sizes that show nothing but whether results are right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine

DRIVER = Path(__file__).parents[2] / "tools" / "bench" / "driver.py"

pytestmark = [pytest.mark.system, pytest.mark.services]


@pytest.mark.parametrize("topology", ["embedded", "postgresql-executors"])
def test_every_scenario_comes_to_the_right_end(topology: str, tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, DRIVER, topology, "--size", "tiny", "--runs", "1",
         "--messages", "--json", found, "--markdown", tmp_path / "found.md"],
        capture_output=True,
        text=True,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["scenario"]: row for row in json.loads(found.read_text())["rows"]}
    assert {
        "dag",
        "chain",
        "items-5",
        "data",
        "timers",
        "schedules",
        "idle",
    } < rows.keys()
    assert all(row["target"] == topology and row["rate"] > 0 for row in rows.values())
    if topology != "embedded":
        assert rows["dag"]["statements"] > 0
        assert rows["dag"]["commits"] > 0
        assert rows["dag"]["messages"] > 0


def test_a_driver_that_is_told_to_end_leaves_nothing() -> None:
    """No process, database or virtual host of its own, whatever it was doing."""
    driver = subprocess.Popen(
        [sys.executable, DRIVER, "mariadb", "--size", "full"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    name = f"bench_{driver.pid}_1"
    with driver:
        assert driver.stderr is not None
        try:
            assert "mariadb: up at" in driver.stderr.readline()
            assert (name in _virtual_hosts(), name in _databases()) == (True, True)
            driver.terminate()
            _, said = driver.communicate(timeout=60)
            assert driver.returncode == 128 + signal.SIGTERM, said
            assert "Traceback" not in said
            assert (name in _virtual_hosts(), name in _databases()) == (False, False)
            with pytest.raises(ProcessLookupError):
                os.killpg(driver.pid, 0)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)


def _virtual_hosts() -> set[str]:
    done = subprocess.run(
        ["rabbitmqctl", "-q", "list_vhosts", "name"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def _databases() -> set[str]:
    engine = create_engine("mariadb+pymysql://root@127.0.0.1:3306/mysql")
    with engine.connect() as connection:
        found = set(connection.exec_driver_sql("SHOW DATABASES").scalars())
    engine.dispose()
    return found
