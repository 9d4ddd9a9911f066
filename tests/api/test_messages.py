"""Messages over REST, on every database: ``/v2/executions/{id}/messages``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cells import CELLS, Cell
from matrix import World
from rest import Service

from mistral.db import models

FLOW = """
w:
  input: [key: null]
  tasks:
    first: {action: std.async_noop, on-success: t}
    t:
      action: std.wait_for name="paid" key=<% $.key %>
      publish: {got: <% task().result %>}
  output: {got: <% $.got %>}
"""


@pytest.fixture(params=CELLS)
def service(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    cell: Cell = request.param
    with cell.world(Service, tmp_path) as service:
        yield service


def post(service: Service, run: str, **body: Any) -> Any:
    return service.api.post(f"/v2/executions/{run}/messages", body)


def test_a_message_that_comes_first_is_kept_and_then_taken(service: Service) -> None:
    service.upload(FLOW)
    run = service.start("w", {"key": 17})
    sent = post(service, run, id="a", name="paid", key="17", payload={"sum": [1, None]})
    assert (sent.status, sent.json) == (
        201, {"id": "a", "name": "paid", "key": "17", "taken_by": None},
    )  # fmt: skip
    same = {"id": "a", "name": "paid", "key": 17, "payload": {"sum": [1, None]}}
    assert post(service, run, **same).json["taken_by"] is None
    for other in ({"name": "sent"}, {"key": None}, {"payload": {"sum": [2, None]}}):
        refused = post(service, run, **{**same, **other})
        [name] = other
        assert (refused.status, f"another {name}" in refused.fault) == (409, True)
    [kept] = service.get(f"executions/{run}/messages")["messages"]
    assert kept["payload"] == {"sum": [1, None]}
    service.finish(service.action(run, "first")["id"])
    assert service.execution(run)["output"] == {"got": {"sum": [1, None]}}
    assert service.get(f"executions/{run}/messages") == {"messages": []}
    again = post(service, run, **same)
    assert again.json["taken_by"] == service.action(run, "t")["id"]
    refused = post(service, run, **{**same, "payload": {"sum": [2, None]}})
    assert (refused.status, "another payload" in refused.fault) == (409, True)
    assert service.house.examined() == []


def test_a_task_that_waits_takes_it_and_deletion_leaves_nothing(
    service: Service,
) -> None:
    service.upload(FLOW)
    run = service.start("w")
    service.finish(service.action(run, "first")["id"])
    assert service.house.rows(models.message_waits)
    post(service, run, name="other", payload="left")
    assert post(service, run, name="paid", payload=None).json["taken_by"]
    found = service.execution(run)
    assert (found["state"], found["output"]) == ("SUCCESS", {"got": None})
    assert not service.house.rows(models.message_waits)
    over = post(service, run, name="paid")
    assert (over.status, "is in SUCCESS" in over.fault) == (409, True)
    assert service.api.delete(f"/v2/executions/{run}").status == 204
    assert not service.house.rows(models.posted_messages)
    assert service.house.examined() == []


@pytest.mark.parametrize("wrong", [
    {}, {"name": ""}, {"name": 7}, {"name": "x" * 256}, {"name": "a", "key": 1.5},
    {"name": "a", "key": ["b"]}, {"name": "a", "taken_by": "x"},
    {"name": "a", "more": 1}, {"name": "a", "id": "x" * 256},
])  # fmt: skip
def test_what_is_no_message_is_refused(world: World, wrong: dict[str, Any]) -> None:
    run = world.start("waits")
    answer = world.red.post(f"/v2/executions/{run}/messages", wrong)
    assert answer.status == 400, answer.body


def test_sec25_nobody_else_can_send_or_see(world: World) -> None:
    run = world.start("waits")
    path = f"/v2/executions/{run}/messages"
    assert world.blue.post(path, {"name": "a"}).status == 404
    assert world.blue.get(path).status == 404
    assert world.red.post(path, {"name": "a", "payload": "p"}).status == 201
    assert json.dumps(world.red.get(path).json).count("payload") == 1


def test_an_execution_keeps_so_many(world: World) -> None:
    run = world.start("waits")
    path = f"/v2/executions/{run}/messages"
    big = "x" * 600_000
    assert world.red.post(path, {"name": "a", "payload": big}).status == 201
    full = world.red.post(path, {"name": "a", "payload": big})
    assert (full.status, full.headers["Retry-After"]) == (429, "5")
    assert "keeps 1 messages of 600002 bytes" in full.fault


def test_it_waits_inside_of_an_execution_alone(world: World) -> None:
    body = {"name": "std.wait_for", "input": {"name": "a"}}
    answer = world.red.post("/v2/action_executions", body)
    assert (answer.status, "cannot be run outside" in answer.fault) == (400, True)
