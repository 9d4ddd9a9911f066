"""``/v2/tasks``: shapes, results, rerun and skip (§ 9.2, § 13)."""

from __future__ import annotations

from typing import Any

import pytest
from rows import START, Rows, uid

from mistral.db.models import task_executions, workflow_executions
from mistral.messages import RerunTask, SkipTask

RUN = uid(1)
TASK = uid(2)


@pytest.fixture
def rows(database: Any) -> Rows:
    rows = Rows(database)
    rows.spec(
        {"tasks": {"one": {"name": "one"}, "many": {"with-items": "i in <% $ %>"}}}
    )
    return rows


def test_one_has_the_shape_of_the_specification(api: Any, rows: Rows) -> None:
    """§ 9.2: the example."""
    rows.run(RUN)
    task = rows.task(
        TASK,
        RUN,
        workflow_id=uid(900),
        published={"b1": 11, "seven": 7},
        processed=True,
        internals={"published_global": {"g1": 22}},
    )
    rows.change(
        task_executions,
        TASK,
        started_at=task["created_at"],
        finished_at=task["created_at"],
    )
    rows.action(uid(3), TASK, accepted=True, output={"result": 7})
    assert api.get(f"/v2/tasks/{TASK}").json == {
        "id": TASK,
        "name": "one",
        "type": "ACTION",
        "workflow_name": "greet_user",
        "workflow_namespace": "",
        "workflow_id": uid(900),
        "workflow_execution_id": RUN,
        "tags": [],
        "state": "SUCCESS",
        "state_info": None,
        "project_id": "<default-project>",
        "runtime_context": "{}",
        "result": "7",
        "published": '{"b1": 11, "seven": 7}',
        "published_global": '{"g1": 22}',
        "processed": True,
        "created_at": "2026-11-21 01:35:04",
        "updated_at": None,
        "started_at": "2026-11-21 01:35:04",
        "finished_at": "2026-11-21 01:35:04",
    }


def test_fields_of_one(api: Any, rows: Rows) -> None:
    """Q-10: as in lists; computed attributes can be chosen."""
    rows.run(RUN)
    rows.task(TASK, RUN)
    chosen = api.get(f"/v2/tasks/{TASK}?fields=result,published_global").json
    assert chosen == {"id": TASK, "result": "[]"}
    assert api.get(f"/v2/tasks/{TASK}?fields=bogus").status == 400


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("tasks", "result,published_global,reset,env"),
        ("action_executions", "params"),
        ("executions", "source_execution_id,published_global"),
    ],
)
def test_fields_that_lists_do_not_have(
    api: Any, rows: Rows, path: str, fields: str
) -> None:
    """§ 3.4: attributes of the type that are not stored are silently missing."""
    rows.run(RUN)
    rows.task(TASK, RUN)
    rows.action(uid(3), TASK)
    (found,) = api.get(f"/v2/{path}?fields={fields}").json[path]
    assert set(found) == {"id"}
    one = api.get(f"/v2/{path}/{found['id']}?fields={fields}")
    assert one.status == 200
    assert set(one.json) <= {"id", "result", "published_global"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("7", [11]),
        ("eq:7", [11]),
        ("yes", [12]),
        ('"yes"', [12]),
        ('{"a": [1, "ü"]}', [13]),
        ("null", [14]),
        ("large", [15]),
        ("has:arg", [15]),
        ("has:ü", [13]),
        ("in:7,yes,8", [11, 12]),
        ('{"out": 1}', [16]),
        ("nin:7,yes", [13, 14, 15, 16, 17]),
        ("neq:7", [12, 13, 14, 15, 16, 17]),
        ("first", [12]),
        ("refused", []),
    ],
)
def test_q12_tasks_by_their_result(
    api: Any, rows: Rows, query: str, found: list[int]
) -> None:
    """JSON as it is shown; of a task over items one result is enough."""
    rows.run(RUN)
    results = {11: 7, 12: "yes", 13: {"a": [1, "ü"]}, 14: None, 15: {"$ref": "d"}}
    for number, result in results.items():
        rows.task(uid(number), RUN)
        output = {"result": result}
        rows.action(
            uid(number + 100),
            uid(number),
            accepted=True,
            output=output,
            workflow_execution_id=RUN,
        )
    rows.document(RUN, "d", "large")
    rows.action(uid(201), uid(12), accepted=True, output={"result": "first"})
    rows.action(uid(202), uid(11), accepted=False, output={"result": "refused"})
    rows.task(uid(16), RUN, type="WORKFLOW")
    rows.run(uid(3), task_execution_id=uid(16), accepted=True, output={"out": 1})
    rows.task(uid(17), RUN)
    shown = api.get(f"/v2/tasks?result={query}").json["tasks"]
    assert [item["id"] for item in shown] == [uid(number) for number in found]
    assert api.get(f"/v2/tasks?result=gt:{query}").status == 400


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("tasks?workflow_execution_id=zz", 400),
        ("tasks?workflow_execution_id=in:zz,nightly", 400),
        ("tasks?workflow_execution_id=nightly", 200),
        (f"tasks?workflow_execution_id={RUN}", 200),
        (f"tasks?workflow_execution_id={RUN.replace('-', '')}", 200),
        ("tasks?workflow_execution_id=", 400),
        ("tasks?workflow_id=zz", 400),
        ("executions?workflow_id=zz", 400),
        ("executions?task_execution_id=zz", 400),
        ("executions?root_execution_id=zz", 400),
        ("executions?root_execution_id=nightly", 200),
        ("action_executions?task_execution_id=zz", 400),
    ],
)
def test_filters_that_need_a_uuid(
    api: Any, rows: Rows, query: str, status: int
) -> None:
    """§ 3.5; Q-49: the id of an execution that is there may have any shape."""
    rows.run(RUN)
    rows.run("nightly", root_execution_id=RUN)
    rows.task(TASK, RUN)
    rows.task(uid(5), "nightly")
    answer = api.get(f"/v2/{query}")
    assert answer.status == status, answer.body
    if status == 200 and query.startswith("tasks"):
        assert len(answer.json["tasks"]) == 1


def test_a_result_is_text_also_where_it_is_null(api: Any, rows: Rows) -> None:
    """§ 1.3: the JSON text of any value; clients parse it."""
    rows.run(RUN)
    rows.task(TASK, RUN)
    rows.action(uid(3), TASK, accepted=True, output={"result": None})
    assert api.get(f"/v2/tasks/{TASK}").json["result"] == "null"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/tasks?limit=0", 400),
        ("/v2/tasks?bogus=1", 400),
        ("/v2/tasks?env={}", 400),
        ("/v2/tasks/unknown", 404),
        (f"/v2/tasks/{uid(7)}/action_executions", 200),
        ("/v2/tasks/unknown/action_executions", 400),
        ("/v2/tasks/unknown/workflow_executions", 400),
        ("/v2/tasks/unknown/executions", 400),
        (f"/v2/tasks/{uid(7)}/executions", 404),
        (f"/v2/tasks/{TASK}/executions?fields=id", 400),
    ],
)
def test_wrong_reads(api: Any, rows: Rows, path: str, status: int) -> None:
    """§ 13 rows 30, 70, 72."""
    assert api.get(path).status == status


def test_methods_that_do_not_exist(api: Any) -> None:
    """§ 13 row 71."""
    assert api.delete(f"/v2/tasks/{TASK}").status == 405
    answer = api.post("/v2/tasks", {})
    assert answer.status == 405 and answer.headers["Allow"] == "GET"


def test_filters(api: Any, rows: Rows) -> None:
    rows.run(RUN)
    rows.task(uid(11), RUN, tags=["A"], processed=True, published={"a": 1})
    rows.task(uid(12), RUN, type="WORKFLOW", state="ERROR")

    def ids(query: str) -> list[str]:
        return [item["id"] for item in api.get(f"/v2/tasks?{query}").json["tasks"]]

    assert ids("processed=true") == [uid(11)]
    assert ids("processed=false") == [uid(12)]
    assert ids("type=WORKFLOW") == [uid(12)]
    assert ids("tags=A") == [uid(11)]
    assert ids('published={"a": 1}') == [uid(11)]
    assert ids(f"workflow_execution_id={RUN}&state=in:ERROR,IDLE") == [uid(12)]


def test_tasks_of_one_turn_stay_in_order(api: Any, rows: Rows) -> None:
    """Q-17: one turn makes many tasks at the same moment; ids are random."""
    rows.run(RUN)
    for seq, number in ((1, 13), (2, 11), (3, 12)):
        rows.task(uid(number), RUN, seq=seq, created_at=START)
    for direction, wanted in (("asc", [13, 11, 12]), ("desc", [12, 11, 13])):
        found: list[str] = []
        path = f"/v2/executions/{RUN}/tasks?limit=1&sort_dirs={direction}"
        while path:
            body = api.get(path).json
            found += [item["id"] for item in body["tasks"]]
            link = body.get("next", "")
            assert "seq" not in link
            path = link.removeprefix("http://localhost")
        assert found == [uid(number) for number in wanted]


# -- Below a task -------------------------------------------------------------


def test_action_executions_of_a_task(api: Any, rows: Rows) -> None:
    """Q-58, Q-60: whole objects, of this task only, with the task's name."""
    rows.run(RUN)
    rows.task(TASK, RUN)
    rows.task(uid(9), RUN)
    rows.action(uid(3), TASK, output={"result": 1})
    rows.action(uid(4), uid(9))
    body = api.get(f"/v2/tasks/{TASK}/action_executions").json
    (found,) = body["action_executions"]
    assert (found["id"], found["task_name"]) == (uid(3), "one")
    assert "output" not in found
    one = api.get(f"/v2/tasks/{TASK}/action_executions/{uid(3)}")
    assert one.json["output"] == '{"result": 1}'
    other = api.get(f"/v2/tasks/{TASK}/action_executions/{uid(4)}")
    assert other.status == 404


def test_executions_of_a_task(api: Any, rows: Rows) -> None:
    """Q-59: with input and params; 9.1.8: all that is below."""
    rows.run(RUN)
    rows.task(TASK, RUN, type="WORKFLOW")
    rows.run(uid(20), task_execution_id=TASK, input={"who": "kid"}, output={"a": 1})
    rows.task(uid(21), uid(20), type="WORKFLOW")
    rows.run(uid(22), task_execution_id=uid(21))
    direct = api.get(f"/v2/tasks/{TASK}/workflow_executions").json["executions"]
    assert [item["id"] for item in direct] == [uid(20)]
    assert direct[0]["input"] == '{"who": "kid"}' and "output" not in direct[0]
    below = api.get(f"/v2/tasks/{TASK}/executions?include_output=True").json
    assert [item["id"] for item in below["executions"]] == [uid(20), uid(22)]
    assert below["executions"][0]["output"] == '{"a": 1}'
    shallow = api.get(f"/v2/tasks/{TASK}/executions?max_depth=0").json
    assert [item["id"] for item in shallow["executions"]] == [uid(20)]
    assert api.get(f"/v2/tasks/{TASK}/executions?errors_only=1").json == {
        "executions": []
    }


# -- Rerun and skip -----------------------------------------------------------


@pytest.fixture
def failed(rows: Rows) -> Rows:
    rows.run(RUN, state="ERROR")
    rows.task(TASK, RUN, state="ERROR")
    return rows


def test_rerun(api: Any, failed: Rows, bus: Any) -> None:
    """§ 13 row 69; the client sends its own copies along."""
    answer = api.put(
        f"/v2/tasks/{TASK}",
        {
            "id": TASK,
            "name": "one",
            "workflow_name": "greet_user",
            "state": "RUNNING",
            "reset": True,
            "env": '{"k": 1}',
        },
    )
    assert answer.status == 200
    assert answer.json["state"] == "ERROR" and answer.json["result"] == "[]"
    (message,) = bus.called
    assert isinstance(message, RerunTask)
    assert (message.run_id, message.task_id) == (RUN, TASK)
    assert (message.reset, message.env) == (True, {"k": 1})


def test_skip(api: Any, failed: Rows, bus: Any) -> None:
    """§ 7.7: ``reset`` does not matter."""
    assert api.put(f"/v2/tasks/{TASK}", {"state": "SKIPPED"}).status == 200
    (message,) = bus.called
    assert isinstance(message, SkipTask)
    assert (message.run_id, message.task_id, message.env) == (RUN, TASK, None)


def test_a_part_of_the_items(api: Any, failed: Rows, bus: Any) -> None:
    """§ 7.6: ``reset: false`` for with-items only, also before its first item."""
    failed.task(uid(5), RUN, state="ERROR", name="many")
    body = {"state": "RUNNING", "reset": False}
    assert api.put(f"/v2/tasks/{uid(5)}", body).status == 200
    assert bus.called[0].reset is False
    assert api.put(f"/v2/tasks/{TASK}", body).status == 400


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        ({"state": "RUNNING"}, "Reset field is mandatory"),
        ({"state": "ERROR", "reset": True}, "Cannot change state to ERROR"),
        ({}, "Cannot change state"),
        ({"state": "RUNNING", "reset": True, "name": "x"}, "Task name does not"),
        (
            {"state": "RUNNING", "reset": True, "workflow_name": "x"},
            "Workflow name does not",
        ),
        ({"state": "RUNNING", "reset": True, "bogus": 1}, "bogus"),
        ({"state": "RUNNING", "reset": True, "project_id": "p"}, "project_id"),
        ({"state": "RUNNING", "reset": "perhaps"}, "perhaps"),
    ],
)
def test_wrong_reruns(
    api: Any, failed: Rows, bus: Any, body: Any, fragment: str
) -> None:
    """§ 13 row 68."""
    answer = api.put(f"/v2/tasks/{TASK}", body)
    assert answer.status == 400
    assert fragment in answer.fault
    assert bus.called == []


def test_states_that_refuse_a_rerun(api: Any, failed: Rows, bus: Any) -> None:
    """§ 13 rows 67, 70; Q-52: a paused execution is no silent success."""
    path, body = f"/v2/tasks/{TASK}", {"state": "RUNNING", "reset": True}
    with_env = {**body, "env": {"a": 1}}
    assert api.put(f"/v2/tasks/{uid(7)}", body).status == 404
    for state in ("PAUSED", "SUCCESS"):
        failed.change(workflow_executions, RUN, state=state)
        assert api.put(path, body).status == 400
    failed.change(workflow_executions, RUN, state="RUNNING")
    assert api.put(path, with_env).status == 403
    assert bus.called == []
    assert api.put(path, body).status == 200
    failed.change(task_executions, TASK, state="CANCELLED")
    assert api.put(path, body).status == 400


def test_tasks_of_another_project(projects: Any, database: Any, bus: Any) -> None:
    """§ 13 row 95."""
    red = Rows(database, "red")
    red.run(RUN, state="ERROR")
    red.task(TASK, RUN, state="ERROR")
    red.action(uid(3), TASK)
    blue = projects.be("blue")
    assert blue.get(f"/v2/tasks/{TASK}").status == 404
    assert blue.put(f"/v2/tasks/{TASK}", {"state": "SKIPPED"}).status == 404
    assert blue.get(f"/v2/tasks/{TASK}/executions").status == 404
    assert blue.get(f"/v2/action_executions/{uid(3)}").status == 404
    empty = {"action_executions": []}
    assert blue.get(f"/v2/tasks/{TASK}/action_executions").json == empty
    assert bus.called == []
