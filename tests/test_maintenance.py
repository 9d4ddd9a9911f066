"""Maintenance of the whole service in one thread: what clients see (§ 10.7)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rest import Service

TEXT = """
version: '2.0'
w:
  tasks:
    a: {action: std.async_noop, on-success: b}
    b: {action: std.noop, wait-before: 30}
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    service.upload(TEXT)
    yield service
    service.close()


def _ask(service: Service, status: str) -> str:
    answer = service.api.put("/maintenance", {"status": status})
    assert answer.status == 200
    return str(answer.json["status"])


def _status(service: Service) -> str:
    return str(service.api.get("/maintenance").json["status"])


def test_eng_229_eng_230_a_maintenance_from_end_to_end(service: Service) -> None:
    mine, his = service.start("w"), service.start("w")
    assert service.change(his, state="PAUSED").status == 200
    assert _ask(service, "PAUSED") == "PAUSING"
    # The engine has not looked yet: the run is PAUSED when anything is decided.
    [action] = service.actions(service.task(mine, "a")["id"])
    assert service.answer(action["id"], "SUCCESS").status == 200
    shown = service.execution(mine)
    assert (shown["state"], shown["state_info"]) == ("PAUSED", "Paused by maintenance.")
    assert "paused_by" not in shown
    assert service.states(mine) == {"a": "SUCCESS"}
    service.house.follow_maintenance()
    assert _status(service) == "PAUSED"
    start = service.api.post("/v2/executions", {"workflow_name": "w"})
    assert start.status == 423
    assert service.change(mine, state="RUNNING").status == 423
    service.house.advance(3600)
    assert service.states(mine) == {"a": "SUCCESS"}
    assert _ask(service, "RUNNING") == "RUNNING"
    service.house.follow_maintenance()
    assert service.states(mine) == {"a": "SUCCESS", "b": "DELAYED"}
    assert service.execution(his)["state"] == "PAUSED"
    service.house.advance(30)
    assert service.execution(mine)["state"] == "SUCCESS"


def test_m98_an_execution_is_cancelled_in_maintenance(service: Service) -> None:
    id = service.start("w")
    for status in ("PAUSING", "PAUSED"):
        other = service.start("w") if status == "PAUSING" else id
        _ask(service, "PAUSED")
        if status == "PAUSED":
            service.house.follow_maintenance()
        assert _status(service) == status
        assert service.change(other, state="CANCELLED").status == 200
        assert service.execution(other)["state"] == "CANCELLED"
        _ask(service, "RUNNING")
        service.house.follow_maintenance()
    assert service.execution(id)["state"] == "CANCELLED"
