"""A short fault campaign, as ``tools/chaos/run`` does longer ones (ENG-235 to ENG-239,
design page, § 6)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers import NoServer, fresh_database
from system.processes import virtual_host

pytestmark = [pytest.mark.system, pytest.mark.services]

PROJECT = Path(__file__).parents[2]
SECONDS = 70
"""Of faults; all that was begun may take some minutes more to end."""


@pytest.mark.parametrize(("topology", "seed"), [("postgresql", 21), ("mariadb", 22)])
def test_eng_235_239_a_campaign_of_faults_loses_and_doubles_nothing(
    topology: str, seed: int, tmp_path: Path
) -> None:
    try:
        with fresh_database(topology, tmp_path), virtual_host():
            pass
    except NoServer as missing:
        pytest.skip(str(missing))
    found = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--topology", topology, "--seed", str(seed),
         "--seconds", str(SECONDS), "--json", found, "--logs", tmp_path / "logs"],
        env={**os.environ, "PYTHONPATH": _path("tools", "tests", "")},
        capture_output=True,
        text=True,
        timeout=900,
    )  # fmt: skip
    assert found.exists(), done.stderr
    report = json.loads(found.read_text())
    assert report["wrong"] == [], done.stdout
    assert done.returncode == 0, done.stderr
    totals = report["totals"]
    assert totals["faults"] > 10
    assert totals["executions"] > 40
    assert totals["calls in the ledger"] > 100


def test_eng_237_executions_are_right_when_all_messages_of_a_hop_are_lost(
    tmp_path: Path,
) -> None:
    """Within 30 s per hop, beside what they take by themselves: one after the other,
    those whose loss delays an execution longest."""
    found = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--hop", "requests,offers,grants,results",
         "--executions", "40", "--lost-for", "4", "--json", found,
         "--logs", tmp_path / "logs"],
        env={**os.environ, "PYTHONPATH": _path("tools", "tests", "")},
        capture_output=True,
        text=True,
        timeout=600,
    )  # fmt: skip
    assert found.exists(), done.stderr
    report = json.loads(found.read_text())
    assert report["wrong"] == [], done.stdout
    assert done.returncode == 0, done.stderr
    assert [hop["executions"] for hop in report["hops"]] == [40] * 4


def _path(*folders: str) -> str:
    return os.pathsep.join(str(PROJECT / folder) for folder in folders)
