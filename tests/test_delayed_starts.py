"""Delayed starts, time limits and repetitions of whole runs, over REST
(decision 0043)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cells import CELLS, Cell
from house import House
from rest import Service

from mistral.db import models
from mistral.messages import ActionFinished

FLOWS = """version: '2.0'
plain: {tasks: {t: {action: std.noop}}}
stubborn:
  timeout: 20
  retry: {count: 1, delay: 5}
  tasks:
    a: {action: std.noop, on-success: meet}
    b: {action: std.fail, on-complete: meet}
    kid: {workflow: slow}
    meet: {join: all, action: std.noop}
slow: {tasks: {u: {action: std.async_noop}}}
late: {timeout: 5, tasks: {t: {action: std.async_noop}, kid: {workflow: slow}}}
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    service.upload(FLOWS)
    yield service
    service.close()


def test_an_execution_that_waits_is_there_and_obeys(service: Service) -> None:
    """spec/rest-api.md § 9.1.4, the row IDLE."""
    api, house = service.api, service.house
    after = {"params": {"start-after": "PT1M"}}
    first, second, third, fourth, fifth = (
        service.start("plain", **after) for _ in range(5)
    )
    one = service.execution(first)
    assert (one["state"], one["output"]) == ("IDLE", {})
    assert one["state_info"].startswith("Starts at ")
    listed = api.get("/v2/executions?state=IDLE").json["executions"]
    assert {row["id"] for row in listed} == {first, second, third, fourth, fifth}
    assert api.get(f"/v2/executions/{first}/report").status == 200
    for state, status in (("PAUSED", 400), ("SUCCESS", 400), ("CANCELLED", 200)):
        assert service.change(second, state=state).status == status, state
    assert service.change(third, state="RUNNING").status == 200
    assert service.execution(third)["state"] == "SUCCESS"
    assert api.delete(f"/v2/executions/{fourth}").status == 403
    assert api.delete(f"/v2/executions/{fourth}?force=true").status == 204
    changed = service.change(fifth, params={"env": {"a": 1}}, description="x")
    assert changed.status == 200
    assert {row["run_id"] for row in house.rows(models.outbox)} == {first, fifth}
    house.advance(60)
    assert service.execution(first)["state"] == "SUCCESS"
    assert service.execution(second)["state"] == "CANCELLED"
    assert service.execution(fifth)["params"]["env"] == {"a": 1}
    assert house.rows(models.outbox) == []
    assert house.examined() == []


def test_an_estimate_begins_with_the_execution(service: Service) -> None:
    """Not with the time that it has waited for (spec/engine.md § 10.9)."""
    house = service.house
    service.upload("version: '2.0'\nw: {tasks: {t: {wait-before: 100}}}")
    ids = [service.start("w", params={"start-after": after}) for after in (0, 500)]
    house.advance(100)
    assert service.execution(ids[0])["state"] == "SUCCESS"
    house.advance(400)
    house.advance(10)
    report = service.api.get(f"/v2/executions/{ids[1]}/report").json
    assert report["statistics"]["estimated_time"] == 90


def test_what_is_no_time_is_answered_with_400_and_starts_nothing(
    service: Service,
) -> None:
    for params in ({"start-at": "noon"}, {"start_after": -5}):
        answer = service.begin("plain", params=params)
        assert answer.status == 400
        assert "params.start" in answer.fault
    assert service.api.get("/v2/executions").json["executions"] == []


def test_a_copy_of_an_execution_starts_at_once(service: Service) -> None:
    source = service.start("plain", params={"start-after": 60})
    answer = service.api.post("/v2/executions", {"source_execution_id": source})
    assert service.execution(answer.json["id"])["state"] == "SUCCESS"


def test_a_report_says_how_often_an_execution_was_repeated(service: Service) -> None:
    id = service.start("stubborn")
    [action] = service.house.rows(models.action_executions, name="std.async_noop")
    service.finish(action["id"])
    service.house.advance(5)
    report = service.api.get(f"/v2/executions/{id}/report").json
    root = report["root_workflow_execution"]
    assert root["retry_count"] == 1
    names = [task["name"] for task in root["task_executions"]]
    assert sorted(names) == sorted(["a", "b", "kid", "meet"] * 2)


@pytest.mark.parametrize("cell", CELLS)
def test_attempts_and_time_limits_on_rows(cell: Cell, tmp_path: Path) -> None:
    """A join has a row of its own in each attempt; nothing is left open."""
    with cell.world(House, tmp_path) as house:
        house.upload(FLOWS)
        id = house.start("stubborn", **{"start-after": 7200})
        assert house.header(id)["state"] == "IDLE"
        house.clock.advance(7200)
        house.sweep()
        header = house.header(id)
        assert header["state"] == "RUNNING"
        [kid] = house.rows(models.workflow_executions, workflow_name="slow")
        [wait] = house.rows(models.action_executions, workflow_execution_id=kid["id"])
        for row in house.rows(models.action_executions, workflow_execution_id=id):
            assert row["state"] != "RUNNING"
        house.ask(ActionFinished(run_id=kid["id"], action_id=wait["id"], result=1))
        house.settle()
        header = house.header(id)
        assert header["state_info"].startswith("Delayed by 'retry' policy [delay=5]:")
        assert header["internals"].get("open", 0) == 0
        assert house.examined() == []
        house.advance(5)
        assert house.header(id)["internals"]["begun"] == 2
        rows = house.rows(models.task_executions, workflow_execution_id=id)
        assert len([row for row in rows if row["name"] == "meet"]) == 2
        assert house.examined() == []
        house.advance(15)
        assert house.header(id)["state_info"] == "Workflow timed out [timeout(s)=20]."
        runs = house.rows(models.workflow_executions)
        assert {row["state"] for row in runs if row["id"] != id} == {
            "SUCCESS",
            "CANCELLED",
        }
        assert house.rows(models.outbox) == []
        assert house.examined() == []
