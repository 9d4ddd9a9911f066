"""Maintenance as the API has it: who may switch it, what it refuses (§ 6.1, § 7.4).

``M97`` and the like are rows of the matrix in spec/rest-api.md § 13.
"""

from __future__ import annotations

from typing import Any

import pytest
from rest import Client

from mistral.api.app import Services, make_app
from mistral.db import maintenance
from mistral.db.database import Database
from mistral.db.maintenance import Status
from mistral.errors import Unauthorized

ID = "00000000-0000-4000-8000-000000000000"
WORKFLOW = "version: '2.0'\nw: {tasks: {t: {action: std.noop}}}"


@pytest.fixture
def maintain(database: Database) -> Any:
    def to(status: str) -> None:
        with database.begin() as connection:
            maintenance.change(connection, Status.RUNNING)
            if status != "RUNNING":
                maintenance.change(connection, Status.PAUSED)
            if status == "PAUSED":
                assert maintenance.finish(connection)

    return to


def test_7_4_the_status_and_its_changes(api: Client, maintain: Any) -> None:
    assert api.get("/maintenance").json == {"status": "RUNNING"}
    assert _put(api, "RUNNING") == (200, {"status": "RUNNING"})
    assert _put(api, "PAUSED") == (200, {"status": "PAUSING"})
    assert _put(api, "PAUSED") == (200, {"status": "PAUSING"})
    assert api.get("/maintenance").json == {"status": "PAUSING"}
    maintain("PAUSED")
    assert _put(api, "PAUSED") == (200, {"status": "PAUSED"})
    assert _put(api, "RUNNING") == (200, {"status": "RUNNING"})
    assert _put(api, "PAUSED") == (200, {"status": "PAUSING"})
    assert _put(api, "RUNNING") == (200, {"status": "RUNNING"})
    assert api.get("/maintenance/").json == {"status": "RUNNING"}


def _put(api: Client, status: str) -> tuple[int, Any]:
    answer = api.put("/maintenance", {"status": status})
    return answer.status, answer.json


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"status": "PAUSING"}, "PAUSING is an intermediate state"),
        ({"status": "SLEEPING"}, "Not found SLEEPING maintenance state"),
        ({"status": "paused"}, "Not found paused maintenance state"),
        ({"status": None}, "Not found None maintenance state"),
        ({"status": 1}, "Expected text"),
        ({}, "Not found None maintenance state"),
        ({"state": "PAUSED"}, "state"),
        ("[]", "Expected a JSON object"),
        ("", "empty"),
    ],
)
@pytest.mark.parametrize("status", ["RUNNING", "PAUSED"])
def test_m99_q_15_a_bad_value_is_the_callers_fault(
    api: Client, maintain: Any, status: str, body: Any, said: str
) -> None:
    maintain(status)
    json = {"Content-Type": "application/json"}
    answer = api.put("/maintenance", body, headers=json)
    assert answer.status == 400
    assert said in answer.fault
    assert api.get("/maintenance").json == {"status": status}


def test_q_27_only_administrators_switch_it(projects: Client) -> None:
    red, admin = projects.be("red"), projects.be("admin:blue")
    answer = red.put("/maintenance", {"status": "PAUSED"})
    assert answer.status == 403
    assert "maintenance:update" in answer.fault
    assert red.get("/maintenance").json == {"status": "RUNNING"}
    assert _put(admin, "PAUSED") == (200, {"status": "PAUSING"})
    assert red.get("/maintenance").json == {"status": "PAUSING"}


CHANGES = [
    ("POST", "/v2/workflows", WORKFLOW),
    ("POST", "/v2/workflows?strict=perhaps", "not even YAML: ["),
    ("PUT", "/v2/workflows", WORKFLOW),
    ("DELETE", f"/v2/workflows/{ID}", None),
    ("POST", "/v2/workflows/validate", WORKFLOW),
    ("POST", "/v2/workbooks", "x"),
    ("POST", "/v2/actions", "x"),
    ("POST", "/v2/environments", {"name": "e", "variables": {}}),
    ("DELETE", "/v2/environments/e", None),
    ("POST", "/v2/executions", {"workflow_name": "w"}),
    ("PUT", f"/v2/executions/{ID}", {"state": "PAUSED"}),
    ("PUT", f"/v2/executions/{ID}", {"state": "ERROR"}),
    ("PUT", f"/v2/executions/{ID}", {"description": "CANCELLED"}),
    ("PUT", f"/v2/executions/{ID}", "not JSON"),
    ("PUT", f"/v2/executions/{ID}", ["CANCELLED"]),
    ("DELETE", f"/v2/executions/{ID}", None),
    ("PUT", f"/v2/tasks/{ID}", {"state": "RUNNING", "reset": True}),
    ("POST", "/v2/action_executions", {"name": "std.noop"}),
    ("DELETE", f"/v2/action_executions/{ID}", None),
]


@pytest.mark.parametrize("status", ["PAUSING", "PAUSED"])
@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_m97_eng_229_changes_are_refused(
    api: Client, bus: Any, maintain: Any, status: str, method: str, path: str, body: Any
) -> None:
    maintain(status)
    answer = api.request(method, path, body)
    text = f"Current Mistral state is {status}. Method is not allowed"
    assert answer.status == 423
    assert answer.fault == text
    assert answer.headers["Server-Error-Message"] == text
    assert bus.called == []
    maintain("RUNNING")
    assert api.request(method, path, body).status != 423


@pytest.mark.parametrize("status", ["PAUSING", "PAUSED"])
def test_m98_cancelling_an_execution_is_handled(
    api: Client, maintain: Any, status: str
) -> None:
    maintain(status)
    body = {"state": "CANCELLED", "state_info": "enough"}
    # There is none: it came as far as looking for it.
    assert api.put(f"/v2/executions/{ID}", body).status == 404


def test_eng_229_actions_are_completed_while_pausing(
    api: Client, maintain: Any
) -> None:
    body = {"state": "SUCCESS", "output": {}}
    maintain("PAUSING")
    assert api.put(f"/v2/action_executions/{ID}", body).status == 404
    maintain("PAUSED")
    assert api.put(f"/v2/action_executions/{ID}", body).status == 423


@pytest.mark.parametrize(
    "path",
    ["/", "/v2/", "/maintenance", "/v2/workflows", "/v2/executions", "/v2/tasks"],
)
def test_eng_229_reads_work(api: Client, maintain: Any, path: str) -> None:
    maintain("PAUSED")
    assert api.get(path).status == 200
    assert api.request("HEAD", path).status == 200


def test_2_3_who_is_unknown_hears_nothing_of_maintenance(
    services: Services, maintain: Any
) -> None:
    def nobody(headers: Any, request_id: str) -> Any:
        raise Unauthorized("No token.")

    maintain("PAUSED")
    api = Client(make_app(services, identify=nobody), services)
    assert api.post("/v2/workflows", WORKFLOW).status == 401
    assert api.put("/maintenance", {"status": "RUNNING"}).status == 401


def test_2_3_what_comes_before_the_gate(projects: Client, maintain: Any) -> None:
    maintain("PAUSED")
    red = projects.be("red")
    assert red.post("/v2/nowhere", {}).status == 404
    assert red.request("PATCH", "/v2/workflows", {}).status == 405
    assert red.post("/", {}).status == 405
    xml = {"Content-Type": "application/xml"}
    assert red.post("/v2/workflows", "<a/>", headers=xml).status == 415
    # And what comes after it: the policy.
    assert red.post("/v2/workflows?scope=public", WORKFLOW).status == 423
