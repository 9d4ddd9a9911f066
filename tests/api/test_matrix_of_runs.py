"""The matrix of requests and statuses for what runs, with an engine behind the API
(rest-api § 13, ``M-46`` to ``M-79``).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from matrix import World

UNKNOWN = "6b1a1d3a-5a0f-4f62-9d4e-0d6d4c1f9a11"


def test_m_46_47_48_49_starts(world: World) -> None:
    id = world.workflow("quick")
    assert world.begin("quick").status == 201
    assert world.red.post("/v2/executions", {"workflow_id": id}).status == 201
    assert world.red.post("/v2/executions", {"input": {}}).status == 400
    for unknown in ({"workflow_name": "absent"}, {"workflow_id": UNKNOWN}):
        assert world.red.post("/v2/executions", unknown).status == 404
    assert world.begin("needs").status == 400
    assert world.begin("needs", input={"a": 1, "b": 2}).status == 400
    assert world.begin("needs", input={"a": 1}).status == 201


def test_m_50_51_params(world: World) -> None:
    for env in ("absent", [1], 7):
        assert world.begin("quick", params={"env": env}).status == 400, env
    for params in ({}, {"task_name": "wrong"}, {"task_name": ""}):
        assert world.begin("back", params=params).status == 400, params
    assert world.begin("back", params={"task_name": "t"}).status == 201


def test_m_52_53_ids_that_exist(world: World) -> None:
    """C-02: 201 for the repetition, too."""
    first = world.begin("quick", id=UNKNOWN)
    again = world.red.post("/v2/executions", {"id": UNKNOWN})
    assert (first.status, again.status) == (201, 201)
    assert again.json["id"] == UNKNOWN
    assert again.json["created_at"] == first.json["created_at"]
    assert world.begin("quick", world.blue, id=UNKNOWN).status == 404


def test_m_54_55_bodies(world: World) -> None:
    for body in ({"project_id": "blue"}, {"bogus": 1}, {"input": [1]}, {"params": "x"}):
        assert world.begin("quick", **body).status == 400, body
    given = {"Content-Type": "application/json"}
    for text in ("{", "[]", "null", '"x"', "7", ""):
        answer = world.red.request("POST", "/v2/executions", text, headers=given)
        assert answer.status == 400, text
    big = "x" * (1024 * 1024 + 1)
    assert world.begin("needs", input={"a": big}).status == 400


def test_m_56_57_58_changes_that_are_refused(world: World) -> None:
    run = f"/v2/executions/{world.start('waits')}"
    for body in (
        {},
        {"state": "PAUSED", "description": "x"},
        {"state": "SUCCESS", "params": {"env": {"k": 1}}},
        {"state": "NONSENSE"},
        {"state": "IDLE"},
    ):
        assert world.red.put(run, body).status == 400, body
        assert world.red.put(f"/v2/executions/{UNKNOWN}", body).status == 404, body
    assert world.red.put(run, {"params": {"env": {"k": 1}}}).status == 403


def test_m_59_60_a_finished_execution(world: World) -> None:
    run = f"/v2/executions/{world.start('quick')}"
    before = world.red.get(run).json
    assert world.red.put(run, {"state": "PAUSED"}).status == 400
    cancel = world.red.put(run, {"state": "CANCELLED"})
    assert (cancel.status, cancel.json["state"]) == (200, "SUCCESS")
    assert world.red.get(run).json == before


def test_m_61_62_c_13_deletion(world: World) -> None:
    run = f"/v2/executions/{world.start('waits')}"
    assert world.red.delete(run).status == 403
    assert world.red.delete(f"{run}?force=false").status == 403
    assert world.red.delete(f"{run}?force=").status == 403
    assert world.red.delete(f"{run}?force=maybe").status == 400
    assert world.red.delete(f"{run}?force=true").status == 204
    assert world.red.delete(run).status == 404


def test_m_63_64_65_66_reads(world: World) -> None:
    assert world.red.get("/v2/executions/1a2b3c").status == 404
    for below in ("tasks", "report", "executions"):
        assert world.red.get(f"/v2/executions/1a2b3c/{below}").status == 400, below
        assert world.red.get(f"/v2/executions/{UNKNOWN}/{below}").status == 404, below
    assert world.red.get("/v2/executions?nulls=bogus").status == 400


def test_m_67_68_69_70_71_72_tasks(world: World) -> None:
    done = world.task(world.start("quick"))
    again = {"state": "RUNNING", "reset": True}
    assert world.red.put(f"/v2/tasks/{done}", again).status == 400
    failed = f"/v2/tasks/{world.task(world.start('fails'))}"
    for body in (
        {"state": "RUNNING"},
        {"state": "RUNNING", "reset": False},
        {"state": "ERROR"},
        again | {"name": "wrong"},
        again | {"workflow_name": "wrong"},
    ):
        assert world.red.put(failed, body).status == 400, body
    assert world.red.put(failed, again).status == 200
    assert world.red.put(failed, {"state": "SKIPPED"}).status == 200
    parts = f"/v2/tasks/{world.task(world.start('parts'))}"
    assert world.red.put(parts, {"state": "RUNNING", "reset": False}).status == 200
    assert world.red.put(f"/v2/tasks/{UNKNOWN}", again).status == 404
    assert world.red.delete(failed).status == 405
    assert world.red.post("/v2/tasks", {}).status == 405
    below = world.red.get(f"/v2/tasks/{UNKNOWN}/action_executions")
    assert (below.status, below.json) == (200, {"action_executions": []})


def test_m_73_74_75_actions_alone(world: World) -> None:
    path = "/v2/action_executions"
    for body in ({}, {"name": "absent"}, {"name": "std.echo", "input": {"x": 1}}):
        assert world.red.post(path, body).status == 400, body
    failed = world.red.post(path, {"name": "std.fail"})
    assert (failed.status, failed.json["state"]) == (201, "ERROR")
    waited = {"name": "std.async_noop", "params": {"run_sync": True}}
    assert world.red.post(path, waited).status == 400


def test_m_76_77_78_results(world: World) -> None:
    """C-17: what was sent is wrapped in ``result``; Q-13."""
    path = f"/v2/action_executions/{world.action(world.start('waits'))}"
    for body in ({}, {"state": "IDLE"}, {"state": "SUCCESS", "output": "no json"}):
        assert world.red.put(path, body).status == 400, body
    good = {"state": "SUCCESS", "output": {"answer": 42}}
    assert world.red.put(f"/v2/action_executions/{UNKNOWN}", good).status == 404
    done = world.red.put(path, good)
    assert done.status == 200
    assert json.loads(done.json["output"]) == {"result": {"answer": 42}}
    for state in ("SUCCESS", "ERROR", "PAUSED", "RUNNING", "CANCELLED"):
        assert world.red.put(path, {"state": state}).status == 400, state


def test_m_79_deletion_of_action_executions(world: World) -> None:
    of_task = f"/v2/action_executions/{world.action(world.start('quick'))}"
    made = world.red.post(
        "/v2/action_executions",
        {"name": "std.async_noop", "params": {"save_result": True}},
    )
    alone = f"/v2/action_executions/{made.json['id']}"
    settings = world.services.settings
    api = replace(settings.api, allow_action_execution_deletion=False)
    off = replace(world.services, settings=replace(settings, api=api))
    assert world.served(off).be("red").delete(alone).status == 403
    assert world.red.delete(of_task).status == 403
    assert world.red.delete(alone).status == 403
    assert world.red.put(alone, {"state": "SUCCESS"}).status == 200
    assert world.red.delete(alone).status == 204
    assert world.red.delete(alone).status == 404, "Q-63"


# -- The rest of the register of quirks (§ 11) --------------------------------


def test_q_57_globals_that_use_task_are_stored_with_it(world: World) -> None:
    text = """
version: '2.0'
w:
  tasks:
    t:
      action: std.echo output=7
      publish-on-success: {}
      on-success:
        publish: {global: {g: <% task().result %>}}
"""
    text = text.replace("      publish-on-success: {}\n", "")
    assert world.red.post("/v2/workflows", text).status == 201
    task = world.red.get(f"/v2/tasks/{world.task(world.start('w'))}")
    assert task.status == 200
    assert json.loads(task.json["published_global"]) == {"g": 7}
    assert task.json["published"] == "{}", "Q-56"


@pytest.mark.parametrize("sync", [True, False])
def test_q_61_c_04_the_one_format_of_dates(world: World, sync: bool) -> None:
    made = world.red.post(
        "/v2/action_executions",
        {"name": "std.noop", "params": {"run_sync": sync, "save_result": True}},
    )
    assert made.status == 201, made.body
    shown: Any = world.red.get(f"/v2/action_executions/{made.json['id']}").json
    for answer in (made.json, shown):
        date, _, time = answer["created_at"].partition(" ")
        assert (len(date), len(time)) == (10, 8)
