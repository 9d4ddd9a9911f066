"""Maintenance of a real service: engines follow by themselves (§ 10.7)."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from system.embedded import COMMAND_SECONDS, PROGRAMS, Embedded
from system.processes import until

pytestmark = pytest.mark.system

WORKFLOW = """\
version: '2.0'
kept:
  tasks:
    hold: {action: std.async_noop, on-success: after}
    after: {action: std.echo output=1}
"""


def _control(service: Embedded, *words: str) -> str:
    done = subprocess.run(
        [str(PROGRAMS / "mistralctl"), "maintenance", *words, "-o", "json"],
        env=os.environ | {"MISTRAL_URL": f"{service.root}/v2"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["status"])


def _start(service: Embedded) -> str:
    status, body = service.request("POST", "/v2/executions", {"workflow_name": "kept"})
    assert status == 201, body
    return str(body["id"])


def _action(service: Embedded, execution: str) -> str:
    """Id of the action that waits for an answer, when it has been taken."""
    found: list[Any] = []

    def there() -> bool:
        _, page = service.request("GET", f"/v2/executions/{execution}/tasks")
        for task in page["tasks"]:
            path = f"/v2/tasks/{task['id']}/action_executions"
            found[:] = service.request("GET", path)[1]["action_executions"]
        return bool(found)

    until(there, 30, "the action of the first task")
    return str(found[0]["id"])


def test_eng_229_eng_230_a_service_in_maintenance(embedded: Embedded) -> None:
    assert embedded.request("POST", "/v2/workflows", WORKFLOW, "text/plain")[0] == 201
    mine, his, other = (_start(embedded) for _ in range(3))
    actions = {id: _action(embedded, id) for id in (mine, his, other)}
    path = f"/v2/executions/{his}"
    assert embedded.request("PUT", path, {"state": "PAUSED"})[0] == 200
    assert _control(embedded) == "RUNNING"
    assert _control(embedded, "on") in ("PAUSING", "PAUSED")
    until(lambda: _control(embedded, "status") == "PAUSED", 30, "PAUSED")
    for id in (mine, his, other):
        assert embedded.request("GET", f"/v2/executions/{id}")[1]["state"] == "PAUSED"
    status, body = embedded.request("POST", "/v2/executions", {"workflow_name": "kept"})
    assert status == 423
    assert body["faultstring"].startswith("Current Mistral state is PAUSED")
    cancelled = {"state": "CANCELLED"}
    assert embedded.request("PUT", f"/v2/executions/{other}", cancelled)[0] == 200
    assert _control(embedded, "off") == "RUNNING"
    embedded.reaches(mine, "RUNNING")
    answer = {"state": "SUCCESS", "output": {}}
    done = embedded.request("PUT", f"/v2/action_executions/{actions[mine]}", answer)
    assert done[0] == 200
    embedded.reaches(mine, "SUCCESS")
    assert embedded.request("GET", path)[1]["state"] == "PAUSED"
    assert embedded.request("GET", f"/v2/executions/{other}")[1]["state"] == "CANCELLED"
