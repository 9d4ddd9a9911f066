"""Real processes against schemathesis (``tests/fuzzing.py``). ``FUZZ_DATABASE`` is
the database of the cluster: ``postgresql`` unless it says ``mariadb``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import fuzzing
import pytest
from servers import NoServer
from system.embedded import Embedded, running_embedded
from system.processes import ROLES, Cluster, running_cluster

pytestmark = pytest.mark.system

DATABASE = os.environ.get("FUZZ_DATABASE", "postgresql")


def test_no_request_is_answered_otherwise_than_described(tmp_path: Path) -> None:
    """As in one process; and no process has met what it did not expect."""
    try:
        with running_cluster(DATABASE, tmp_path) as cluster:
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


def test_maintenance_comes_and_goes_as_described(tmp_path: Path) -> None:
    """Rest-api § 7.4: of what is asked of ``/maintenance`` nothing breaks the service,
    which works when it has ended."""
    with running_embedded(tmp_path) as service:
        _, document = service.request("GET", "/v2/openapi.json")
        schema = fuzzing.load(document, url=service.root, maintenance=True)
        run = fuzzing.Run(schema)
        assert run.successes == {"GET /maintenance", "PUT /maintenance"}
        assert not run.findings, str(run)
        _works(service)
    assert "Traceback" not in service.log(), service.log()


def _works(service: Embedded) -> None:
    body = {"status": "RUNNING"}
    assert service.request("PUT", "/maintenance", body) == (200, body)
    status, _ = service.request("POST", "/v2/workflows", fuzzing.WORKFLOWS)
    assert status == 201
    started = {"workflow_name": "hello"}
    status, run = service.request("POST", "/v2/executions?wait=30", started)
    assert (status, run["state"]) == (201, "SUCCESS")
