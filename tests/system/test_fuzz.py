"""Real processes on PostgreSQL against schemathesis (``tests/fuzzing.py``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fuzzing
import pytest
from servers import NoServer
from system.processes import ROLES, Cluster, running_cluster

pytestmark = pytest.mark.system


def test_no_request_is_answered_otherwise_than_described(tmp_path: Path) -> None:
    """As in one process; and no process has met what it did not expect."""
    try:
        with running_cluster("postgresql", tmp_path) as cluster:
            _fuzz(cluster)
    except NoServer as missing:
        pytest.skip(str(missing))
    for name in ROLES:
        log = (tmp_path / f"{name}.log").read_text()
        assert "Traceback" not in log, log


def _fuzz(cluster: Cluster) -> None:
    def ask(method: str, path: str, body: Any) -> tuple[int, Any]:
        if isinstance(body, str | None):
            return cluster.ask(method, path, (body or "").encode(), "text/plain")
        return cluster.ask(method, path, json.dumps(body).encode(), "application/json")

    known = fuzzing.furnish(ask)
    _, document = ask("GET", "/v2/openapi.json", None)
    document = fuzzing.furnished(document, known)
    run = fuzzing.Run(fuzzing.load(document, url=cluster.root))
    assert run.successes
    assert not run.findings, str(run)
