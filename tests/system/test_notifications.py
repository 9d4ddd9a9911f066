"""A notification on its whole way in a real process (§ 10.8)."""

from __future__ import annotations

import json

import pytest
from system.embedded import Embedded
from system.processes import until

pytestmark = pytest.mark.system

WORKFLOW = "version: '2.0'\ntold: {tasks: {t: {description: x}}}"


def test_eng_231_publishers_are_called(embedded: Embedded) -> None:
    status, answer = embedded.request("POST", "/v2/workflows", WORKFLOW, "text/plain")
    assert status == 201, answer
    params = {"notify": [{"type": "noop", "event_types": ["WORKFLOW_SUCCEEDED"]}]}
    body = {"workflow_name": "told", "params": json.dumps(params)}
    status, answer = embedded.request("POST", "/v2/executions", body)
    assert status == 201, answer
    line = f"Notification WORKFLOW_SUCCEEDED of {answer['id']}"
    log = embedded.home / "server.log"
    until(lambda: line in log.read_text(), 20, line)
    assert "Notification TASK_" not in log.read_text()
