"""``/v2/executions``: shapes, checks and requests to engines (§ 9.1, § 13)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rows import Rows, uid

from mistral.db.models import workflow_executions
from mistral.errors import Unavailable
from mistral.messages import (
    DeleteWorkflow,
    PauseWorkflow,
    ResumeWorkflow,
    StartWorkflow,
    StopWorkflow,
    UpdateWorkflow,
)

RUN = uid(1)
WORKFLOW = "5f30faf6-3ea3-42b7-b6cb-90741dd633c0"


@pytest.fixture
def rows(database: Any) -> Rows:
    return Rows(database)


@pytest.fixture
def starting(bus: Any, rows: Rows) -> Any:
    """An engine that stores what it is asked to start."""

    def answer(message: Any) -> dict[str, Any]:
        rows.run(
            message.run_id,
            workflow_id=message.workflow_id,
            workflow_name=message.workflow_name or "greet_user",
            description=message.description,
            input=dict(message.input),
            params={"env": {}, "namespace": "", **message.params},
        )
        return {"id": message.run_id}

    bus.answer = answer
    return bus


# -- Reads --------------------------------------------------------------------


def test_one_has_the_shape_of_the_specification(api: Any, rows: Rows) -> None:
    """§ 9.1.2: every attribute, JSON in text, dates without fractions."""
    rows.spec({"vars": {"hidden": 1}})
    rows.run(
        RUN,
        workflow_id=WORKFLOW,
        tags=["demo", "greeting"],
        state="SUCCESS",
        input={"person": "Ada", "punct": "!"},
        output={"message": "Hello Ada!"},
        context={"__execution": {"id": RUN}, "openstack": {}, "hidden": 2, "g": 3},
    )
    answer = api.get(f"/v2/executions/{RUN}")
    assert answer.status == 200
    assert answer.json == {
        "id": RUN,
        "workflow_id": WORKFLOW,
        "workflow_name": "greet_user",
        "workflow_namespace": "",
        "description": "",
        "tags": ["demo", "greeting"],
        "params": '{"namespace": "", "env": {}}',
        "task_execution_id": None,
        "root_execution_id": None,
        "state": "SUCCESS",
        "state_info": None,
        "input": '{"person": "Ada", "punct": "!"}',
        "output": '{"message": "Hello Ada!"}',
        "created_at": "2026-11-21 01:35:04",
        "updated_at": "2026-11-21 01:35:06",
        "project_id": "<default-project>",
        "published_global": '{"g": 3}',
    }


def test_reads_work_without_any_engine(api: Any, rows: Rows, bus: Any) -> None:
    """DESIGN § 2: no GET asks an engine."""

    def down(message: Any) -> Any:
        raise Unavailable("nobody is there")

    bus.answer = down
    rows.run(RUN)
    rows.task(uid(2), RUN)
    for path in ("", "/tasks", "/executions", "/report", "/history"):
        assert api.get(f"/v2/executions/{RUN}{path}").status == 200, path
    assert api.get("/v2/executions").status == 200
    assert bus.called == []


def test_a_list_leaves_output_and_globals_out(api: Any, rows: Rows) -> None:
    """§ 1.4: ``output`` with ``include_output`` or ``fields`` only."""
    rows.run(RUN, output={"a": 1})
    plain = api.get("/v2/executions").json["executions"][0]
    assert "output" not in plain and "published_global" not in plain
    assert plain["input"] == "{}"
    more = api.get("/v2/executions?include_output=True").json["executions"][0]
    assert more["output"] == '{"a": 1}'
    chosen = api.get("/v2/executions?fields=output,state").json["executions"]
    assert chosen == [{"id": RUN, "state": "RUNNING", "output": '{"a": 1}'}]
    one = api.get(f"/v2/executions/{RUN}?fields=published_global").json
    assert one == {"id": RUN, "published_global": "{}"}


def test_pages_follow_each_other(api: Any, rows: Rows) -> None:
    """§ 3.2, Q-16, Q-17: creation order below a second; ``next`` as it stands."""
    for number in (3, 1, 2):
        rows.run(uid(number))
    found: list[str] = []
    path = "/v2/executions?limit=1&sort_dirs=desc"
    while path:
        body = api.get(path).json
        found += [item["id"] for item in body["executions"]]
        path = body.get("next", "").removeprefix("http://localhost")
    assert found == [uid(2), uid(1), uid(3)]


def test_filters(api: Any, rows: Rows) -> None:
    rows.run(uid(1), state="ERROR", tags=["A"], params={"env": {}, "x": 1})
    rows.run(uid(2), root_execution_id=uid(1), task_execution_id=uid(7))

    def ids(query: str) -> list[str]:
        found = api.get(f"/v2/executions?{query}").json["executions"]
        return [item["id"] for item in found]

    assert ids("state=ERROR") == [uid(1)]
    assert ids("state=neq:ERROR") == [uid(2)]
    assert ids("tags=A") == [uid(1)]
    assert ids("nulls=root_execution_id") == [uid(1)]
    assert ids(f"root_execution_id={uid(1)}") == [uid(2)]
    assert ids('params={"env": {}, "x": 1}') == [uid(1)]
    assert ids("output=null&params=neq:null&sort_keys=id") == [uid(1), uid(2)]
    assert ids("sort_keys=created_at,name") == [uid(1), uid(2)]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/executions?limit=0", 400),
        ("/v2/executions?bogus=1", 400),
        ("/v2/executions?nulls=bogus", 400),
        ("/v2/executions?nulls=workflow_name", 400),
        ("/v2/executions?fields=bogus", 400),
        ("/v2/executions?sort_keys=bogus", 400),
        ("/v2/executions?marker=not-a-uuid", 400),
        (f"/v2/executions?marker={uid(5)}", 404),
        ("/v2/executions/1a2b3c", 404),
        ("/v2/executions/1a2b3c/tasks", 400),
        ("/v2/executions/1a2b3c/report", 400),
        ("/v2/executions/1a2b3c/executions", 400),
        (f"/v2/executions/{uid(5)}/tasks", 404),
        (f"/v2/executions/{uid(5)}/report", 404),
        (f"/v2/executions/{uid(5)}/executions", 404),
        (f"/v2/executions/{uid(5)}/history", 404),
        (f"/v2/executions/{RUN}?fields=bogus", 400),
        (f"/v2/executions/{RUN}/executions?limit=1", 400),
        (f"/v2/executions/{RUN}/executions?max_depth=x", 400),
        (f"/v2/executions/{RUN}/report?errors_only=perhaps", 400),
        (f"/v2/executions/{RUN}/history?marker=x", 400),
        (f"/v2/executions/{RUN}/history?limit=0", 400),
    ],
)
def test_wrong_reads(api: Any, rows: Rows, path: str, status: int) -> None:
    """§ 13, rows 24-30 and 62-66."""
    rows.run(RUN)
    answer = api.get(path)
    assert answer.status == status
    assert answer.fault


def test_an_id_of_any_shape_reaches_what_is_below_it(api: Any, rows: Rows) -> None:
    """Q-49: 400 is for ids that nothing has."""
    rows.run("nightly-1")
    for path in ("tasks", "report", "executions", "history"):
        assert api.get(f"/v2/executions/nightly-1/{path}").status == 200
        unknown = api.get(f"/v2/executions/nightly-2/{path}")
        assert unknown.status == 400
        assert unknown.fault.startswith("There is no execution 'nightly-2'.")
    assert api.get("/v2/executions?marker=nightly-1").json == {"executions": []}


def test_history_comes_in_pages(api: Any, rows: Rows) -> None:
    rows.run(RUN)
    for seq in range(3):
        rows.history(RUN, seq)
    first = api.get(f"/v2/executions/{RUN}/history?limit=2").json
    assert [item["seq"] for item in first["history"]] == [0, 1]
    assert first["history"][0] == {
        "seq": 0,
        "at": "2026-11-21 01:35:04.123456",
        "kind": "ActionFinished",
        "turn_id": "turn",
        "body": {"n": 0},
    }
    second = api.get(first["next"].removeprefix("http://localhost")).json
    assert [item["seq"] for item in second["history"]] == [2]
    assert "next" not in second


def test_large_values_are_put_back(api: Any, rows: Rows) -> None:
    rows.run(RUN, context={"big": {"$ref": "d1"}}, output={"x": {"$ref": "d2"}})
    rows.document(RUN, "d1", [1, 2])
    rows.document(RUN, "d2", "long")
    found = api.get(f"/v2/executions/{RUN}").json
    assert found["published_global"] == '{"big": [1, 2]}'
    assert found["output"] == '{"x": "long"}'


# -- Start --------------------------------------------------------------------


def test_start_by_name(api: Any, starting: Any) -> None:
    """§ 13 row 46; § 1.3: text and objects mean the same."""
    answer = api.post(
        "/v2/executions",
        {
            "workflow_name": "greet_user",
            "input": '{"person": "Bob"}',
            "description": "second run",
            "params": {"env": {"k": 1}},
        },
    )
    assert answer.status == 201
    (message,) = starting.called
    assert isinstance(message, StartWorkflow)
    assert message.workflow_name == "greet_user" and message.workflow_id is None
    assert message.input == {"person": "Bob"}
    assert message.params == {"env": {"k": 1}}
    assert message.request_id and message.request_id != message.run_id
    assert message.context["project_id"] == "<default-project>"
    assert answer.json["id"] == message.run_id
    assert answer.json["output"] == "{}"
    assert "published_global" not in answer.json


def test_names_and_ids_may_change_places(api: Any, starting: Any) -> None:
    """§ 9.1.2: a UUID takes the namespace into ``params``; the id wins."""
    api.post("/v2/executions", {"workflow_id": "w", "workflow_namespace": "n"})
    api.post("/v2/executions", {"workflow_name": WORKFLOW, "workflow_namespace": "n"})
    api.post("/v2/executions", {"workflow_id": WORKFLOW, "workflow_name": "other"})
    api.post("/v2/executions", {"workflow_id": "", "workflow_name": "w"})
    by_name, by_id, both, empty = starting.called
    assert (by_name.workflow_name, by_name.namespace) == ("w", "n")
    assert by_name.params == {}
    assert by_id.workflow_id == WORKFLOW and by_id.params == {"namespace": "n"}
    assert (both.workflow_id, both.workflow_name) == (WORKFLOW, None)
    assert (empty.workflow_id, empty.workflow_name) == (None, "w")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"description": "no workflow"},
        {"workflow_name": "w", "project_id": "p"},
        {"workflow_name": "w", "bogus": 1},
        {"workflow_name": 7},
        {"workflow_name": "w", "input": "[1]"},
        {"workflow_name": "w", "input": ""},
        {"workflow_name": "w", "params": {"task_execution_id": uid(3)}},
        {"workflow_name": "w", "params": {"root_execution_id": uid(3)}},
        {"workflow_name": "w", "params": {"index": 3}},
        {"workflow_name": "w", "id": "x" * 37},
        {"workflow_name": "w", "id": "a/b"},
        [],
    ],
)
def test_wrong_starts(api: Any, bus: Any, body: Any) -> None:
    """§ 13 rows 47, 54; Q-04, Q-49, Q-50: no engine is asked."""
    answer = api.post("/v2/executions", body)
    assert answer.status == 400
    assert answer.fault
    assert bus.called == []


def test_an_id_that_exists_is_answered(api: Any, rows: Rows, bus: Any) -> None:
    """§ 13 row 52: whatever else the body says."""
    rows.run(RUN, state="SUCCESS")
    answer = api.post("/v2/executions", {"id": RUN})
    assert answer.status == 201
    assert answer.json["state"] == "SUCCESS"
    assert bus.called == []


def test_an_id_of_another_project(projects: Any, database: Any, bus: Any) -> None:
    """§ 13 rows 53, 95."""
    Rows(database, "red").run(RUN)
    blue = projects.be("blue")
    body = {"id": RUN, "workflow_name": "w"}
    assert blue.post("/v2/executions", body).status == 404
    for call in (blue.get, blue.delete):
        assert call(f"/v2/executions/{RUN}").status == 404
    assert blue.put(f"/v2/executions/{RUN}", {"state": "PAUSED"}).status == 404
    for path in ("tasks", "report", "executions", "history"):
        assert blue.get(f"/v2/executions/{RUN}/{path}").status == 404
    assert blue.get("/v2/executions").json == {"executions": []}
    assert projects.be("admin:blue").get(f"/v2/executions/{RUN}").status == 200
    assert bus.called == []


def test_all_projects_needs_its_policy(projects: Any) -> None:
    """§ 13 rows 32, 33; § 3.6: also for the filter ``project_id``."""
    red = projects.be("red")
    assert red.get("/v2/executions?all_projects=true").status == 403
    assert red.get("/v2/executions?all_projects=false").status == 200
    assert red.get("/v2/executions?project_id=blue").status == 403
    admin = projects.be("admin:red")
    assert admin.get("/v2/executions?project_id=blue").status == 200


def test_a_run_modelled_on_another(api: Any, rows: Rows, starting: Any) -> None:
    """Q-51: what is missing comes from the source, objects merge by key."""
    rows.run(
        RUN,
        workflow_id=WORKFLOW,
        input={"a": 1, "b": 2},
        params={
            "env": {"x": 1, "y": 1},
            "namespace": "n",
            "index": 0,
            "task_execution_id": uid(4),
            "root_execution_id": uid(5),
        },
    )
    answer = api.post(
        "/v2/executions",
        {
            "source_execution_id": RUN,
            "description": "again",
            "input": {"b": 3},
            "params": {"env": {"y": 2}},
        },
    )
    assert answer.status == 201
    (message,) = starting.called
    assert message.workflow_id == WORKFLOW
    assert message.input == {"a": 1, "b": 3}
    assert message.params == {"env": {"x": 1, "y": 2}, "namespace": "n"}
    assert message.description == f"again Based on the execution '{RUN}'"
    api.post("/v2/executions", {"source_execution_id": RUN})
    assert starting.called[1].description == f"Based on the execution '{RUN}'"


def test_the_source_must_exist(api: Any, bus: Any) -> None:
    assert api.post("/v2/executions", {"source_execution_id": RUN}).status == 404
    assert bus.called == []


# -- Changes ------------------------------------------------------------------

MATRIX = {
    # requested: (states with a request to the engine, states without, 400)
    "RUNNING": ("RUNNING PAUSED IDLE", "SUCCESS ERROR CANCELLED", ""),
    "PAUSED": ("RUNNING PAUSED", "", "IDLE SUCCESS ERROR CANCELLED"),
    "SUCCESS": ("RUNNING SUCCESS", "", "PAUSED IDLE ERROR CANCELLED"),
    "ERROR": ("RUNNING PAUSED IDLE", "SUCCESS ERROR CANCELLED", ""),
    "CANCELLED": ("RUNNING PAUSED IDLE", "SUCCESS ERROR CANCELLED", ""),
}
MESSAGES = {
    "RUNNING": ResumeWorkflow,
    "PAUSED": PauseWorkflow,
    "SUCCESS": StopWorkflow,
    "ERROR": StopWorkflow,
    "CANCELLED": StopWorkflow,
}


@pytest.mark.parametrize("wanted", MATRIX)
def test_state_requests(api: Any, rows: Rows, bus: Any, wanted: str) -> None:
    """§ 9.1.4 as a table; Q-52."""
    rows.run(RUN)
    asked, unchanged, refused = (text.split() for text in MATRIX[wanted])
    body = {"state": wanted, "state_info": "because"}
    for present in (*asked, *unchanged, *refused):
        rows.change(workflow_executions, RUN, state=present)
        bus.called.clear()
        answer = api.put(f"/v2/executions/{RUN}", body)
        assert answer.status == (400 if present in refused else 200), present
        assert len(bus.called) == (present in asked), present
        for message in bus.called:
            assert type(message) is MESSAGES[wanted]
            assert message.run_id == RUN
            if isinstance(message, StopWorkflow):
                assert (message.state, message.message) == (wanted, "because")


@pytest.mark.parametrize(
    ("state", "body", "status"),
    [
        ("RUNNING", {}, 400),
        ("RUNNING", {"description": "", "params": {"env": {}}}, 400),
        ("RUNNING", {"state": "PAUSED", "description": "d"}, 400),
        ("RUNNING", {"state": "SUCCESS", "params": {"env": {"a": 1}}}, 400),
        ("RUNNING", {"state": "IDLE"}, 400),
        ("RUNNING", {"state": "SKIPPED"}, 400),
        ("RUNNING", {"state": "nonsense"}, 400),
        ("PAUSED", {"params": {"env": [1]}}, 400),
        ("RUNNING", {"params": {"env": {"a": 1}}}, 403),
        ("SUCCESS", {"description": "d", "params": {"env": {"a": 1}}}, 403),
    ],
)
def test_wrong_changes(
    api: Any, rows: Rows, bus: Any, state: str, body: Any, status: int
) -> None:
    """§ 13 rows 56, 58."""
    rows.run(RUN, state=state)
    answer = api.put(f"/v2/executions/{RUN}", body)
    assert answer.status == status
    assert answer.fault
    assert bus.called == []


@pytest.mark.parametrize("body", [{}, {"state": "nonsense"}, {"state": "PAUSED"}])
def test_unknown_comes_before_wrong(api: Any, body: Any) -> None:
    """§ 13 row 57."""
    assert api.put(f"/v2/executions/{RUN}", body).status == 404


def test_what_the_answer_of_a_change_shows(api: Any, rows: Rows, bus: Any) -> None:
    """§ 9.1.4: large attributes by kind of change; ``env`` goes along."""
    rows.run(RUN, state="PAUSED")
    path = f"/v2/executions/{RUN}"
    large = {"params", "input", "output", "published_global"}
    state = api.put(path, {"state": "RUNNING", "params": '{"env": {"k": 1}}'}).json
    assert large & set(state) == {"params", "input", "output"}
    assert bus.called[-1].env == {"k": 1}
    description = api.put(path, {"description": "d"}).json
    assert large & set(description) == set()
    env = api.put(path, {"description": "d", "params": {"env": {"k": 1}}}).json
    assert large & set(env) == {"params"}
    update = bus.called[-1]
    assert isinstance(update, UpdateWorkflow)
    assert (update.description, update.env) == ("d", {"k": 1})


def test_an_administrator_is_shown_the_owner(
    projects: Any, database: Any, bus: Any
) -> None:
    """Q-53."""
    Rows(database, "red").run(RUN)
    admin = projects.be("admin:blue")
    answer = admin.put(f"/v2/executions/{RUN}", {"state": "PAUSED"})
    assert answer.json["project_id"] == "red"
    assert bus.called[0].context["project_id"] == "blue"


def test_delete(api: Any, rows: Rows, bus: Any) -> None:
    """§ 13 rows 61, 62; Q-06."""
    rows.run(RUN)
    path = f"/v2/executions/{RUN}"
    assert api.delete(path).status == 403
    assert api.delete(f"{path}?force=false").status == 403
    assert bus.called == []
    answer = api.delete(f"{path}?force=true")
    assert (answer.status, answer.body) == (204, b"")
    (message,) = bus.called
    assert isinstance(message, DeleteWorkflow)
    assert (message.run_id, message.force) == (RUN, True)
    rows.change(workflow_executions, RUN, state="CANCELLED")
    assert api.delete(path).status == 204
    assert api.delete(f"/v2/executions/{uid(9)}").status == 404


def test_an_engine_that_does_not_answer(api: Any, rows: Rows, bus: Any) -> None:
    """§ 11.2: 503 rather than 500."""

    def down(message: Any) -> Any:
        raise Unavailable("No answer in time.")

    bus.answer = down
    rows.run(RUN)
    answer = api.put(f"/v2/executions/{RUN}", {"state": "PAUSED"})
    assert answer.status == 503
    assert "Retry-After" in answer.headers


def test_tasks_of_an_execution(api: Any, rows: Rows) -> None:
    """§ 9.1.7: the flat collection in ``next``."""
    rows.run(RUN)
    rows.run(uid(2))
    rows.task(uid(11), RUN)
    rows.task(uid(12), RUN, state="ERROR")
    rows.task(uid(13), uid(2))
    body = api.get(f"/v2/executions/{RUN}/tasks").json
    assert [item["id"] for item in body["tasks"]] == [uid(11), uid(12)]
    assert "result" not in body["tasks"][0]
    first = api.get(f"/v2/executions/{RUN}/tasks?limit=1&state=neq:IDLE").json
    assert first["next"].startswith("http://localhost/v2/tasks?")
    second = api.get(first["next"].removeprefix("http://localhost")).json
    assert [item["id"] for item in second["tasks"]] == [uid(12)]
    assert json.dumps(second).isascii()
