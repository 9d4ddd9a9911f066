"""Reports and trees of sub-executions over the API (§ 9.1.8, § 9.1.9)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rows import START, Rows, uid

RUN = uid(1)


@pytest.fixture
def tree(database: Any) -> Rows:
    """parent: kid (a sub-workflow that fails), fine; child: bad, good."""
    rows = Rows(database)
    rows.run(RUN, workflow_name="parentfail", state="ERROR", output={"o": 1})
    rows.task(uid(10), RUN, name="kid", type="WORKFLOW", state="ERROR")
    rows.task(
        uid(11),
        RUN,
        name="fine",
        type="WORKFLOW",
        runtime_context={"retry_task_policy": {}},
    )
    rows.run(uid(2), workflow_name="failing", state="ERROR", task_execution_id=uid(10))
    rows.task(
        uid(20),
        uid(2),
        name="bad",
        state="ERROR",
        runtime_context={"retry_task_policy": {"retry_no": 2}},
    )
    rows.task(uid(21), uid(2), name="later", state="DELAYED")
    rows.action(uid(30), uid(20), state="ERROR", accepted=True, last_heartbeat=START)
    rows.run(uid(3), workflow_name="good", state="SUCCESS", task_execution_id=uid(11))
    return rows


def _report(api: Any, query: str = "") -> Any:
    answer = api.get(f"/v2/executions/{RUN}/report{query}")
    assert answer.status == 200
    return answer.json


def test_eng_234_a_report_has_the_shape_of_the_specification(
    api: Any, tree: Rows
) -> None:
    """§ 9.1.9; Q-54, Q-55."""
    report = _report(api)
    assert report["statistics"] == {
        "total_tasks_count": 4,
        "running_tasks_count": 1,
        "success_tasks_count": 1,
        "error_tasks_count": 2,
        "idle_tasks_count": 0,
        "paused_tasks_count": 0,
        "cancelled_tasks_count": 0,
        "skipped_tasks_count": 0,
        "delayed_tasks_count": 1,
        "waiting_tasks_count": 0,
        "estimated_time": 0,
    }
    root = report["root_workflow_execution"]
    assert (root["id"], root["name"], root["state"]) == (RUN, "parentfail", "ERROR")
    kid, fine = root["task_executions"]
    assert set(kid) == {
        "id",
        "name",
        "created_at",
        "updated_at",
        "state",
        "state_info",
        "action_executions",
        "workflow_executions",
    }
    assert fine["retry_count"] == 0
    assert fine["workflow_executions"][0]["task_executions"] == []
    (child,) = kid["workflow_executions"]
    assert (child["name"], child["created_at"]) == ("failing", "2026-11-21 01:35:04")
    bad, later = child["task_executions"]
    assert (bad["name"], bad["retry_count"], later["name"]) == ("bad", 2, "later")
    (action,) = bad["action_executions"]
    assert action == {
        "id": uid(30),
        "name": "std.echo",
        "state": "ERROR",
        "state_info": None,
        "accepted": True,
        "last_heartbeat": "2026-11-21 01:35:04",
        "created_at": "2026-11-21 01:35:04",
        "updated_at": None,
    }


def test_an_entry_below_a_with_items_task_names_its_item(
    api: Any, database: Any
) -> None:
    rows = Rows(database)
    rows.run(RUN, state="ERROR")
    shown = {"with_items": {"count": 2, "capacity": None}}
    rows.task(uid(10), RUN, state="ERROR", runtime_context=shown)
    rows.task(uid(11), RUN, type="WORKFLOW", runtime_context=shown)
    rows.action(uid(20), uid(10), item_index=0)
    rows.action(uid(21), uid(10), item_index=1, state="ERROR")
    parent = {"parent": {"index": 1}}
    rows.run(uid(2), task_execution_id=uid(11), internals=parent)
    actions, runs = _report(api)["root_workflow_execution"]["task_executions"]
    assert [a["index"] for a in actions["action_executions"]] == [0, 1]
    assert [r["index"] for r in runs["workflow_executions"]] == [1]


def test_eng_234_errors_only(api: Any, tree: Rows) -> None:
    report = _report(api, "?errors_only=True")
    assert report["statistics"]["total_tasks_count"] == 2
    (kid,) = report["root_workflow_execution"]["task_executions"]
    (bad,) = kid["workflow_executions"][0]["task_executions"]
    assert bad["name"] == "bad"
    whole = _report(api, "?errors_only=")
    assert whole["statistics"]["total_tasks_count"] == 4


def test_eng_234_depth(api: Any, tree: Rows) -> None:
    """0: root, its tasks, their actions, headers of sub-workflows."""
    report = _report(api, "?max_depth=0")
    assert report["statistics"]["total_tasks_count"] == 2
    kid = report["root_workflow_execution"]["task_executions"][0]
    assert "task_executions" not in kid["workflow_executions"][0]
    assert _report(api, "?max_depth=1") == _report(api)


def test_eng_234_statistics_only(api: Any, tree: Rows) -> None:
    report = _report(api, "?statistics_only=true")
    assert set(report) == {"statistics"}
    assert report["statistics"] == _report(api)["statistics"]
    shallow = _report(api, "?statistics_only=true&max_depth=0")
    assert shallow["statistics"]["total_tasks_count"] == 2


def test_the_estimate(api: Any, database: Any, clock: Any) -> None:
    """§ 10.9: average of successful runs minus what has passed, in UTC."""
    rows = Rows(database)
    now = clock.now()
    rows.run(RUN, created_at=now - timedelta(seconds=4))
    assert _report(api)["statistics"]["estimated_time"] == -1
    for number, seconds in ((2, 10), (3, 20)):
        rows.run(
            uid(number),
            state="SUCCESS",
            created_at=START,
            updated_at=START + timedelta(seconds=seconds),
        )
    assert _report(api)["statistics"]["estimated_time"] == 11
    clock.advance(100)
    assert _report(api)["statistics"]["estimated_time"] == 1


def test_sub_executions(api: Any, tree: Rows) -> None:
    """§ 9.1.8: itself first, depth first, through errors if asked."""

    def names(query: str = "") -> list[str]:
        body = api.get(f"/v2/executions/{RUN}/executions{query}").json
        assert set(body) == {"executions"}
        return [item["workflow_name"] for item in body["executions"]]

    assert names() == ["parentfail", "failing", "good"]
    assert names("?errors_only=1") == ["parentfail", "failing"]
    assert names("?max_depth=0") == ["parentfail"]
    found = api.get(f"/v2/executions/{RUN}/executions").json["executions"][0]
    assert "output" not in found and found["params"]
    more = api.get(f"/v2/executions/{RUN}/executions?include_output=1").json
    assert more["executions"][0]["output"] == '{"o": 1}'
