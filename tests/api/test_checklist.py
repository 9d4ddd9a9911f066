"""The compatibility checklist, item by item (rest-api § 12): what must stay on the
wire as clients know it. The matrix (``test_matrix.py``) has the statuses.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from matrix import ACTION, RUNS, WORKBOOK, WORKFLOW, World
from rest import Client

DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


def test_c_01_paths_of_actions_with_a_namespace(world: World) -> None:
    text = ACTION.format("a")
    for query in ("", "?namespace=n"):
        assert world.red.post(f"/v2/actions{query}", text).status == 201
    assert world.red.get("/v2/actions/a/").json["namespace"] == ""
    assert world.red.get("/v2/actions/a/n").json["namespace"] == "n"
    assert world.red.put("/v2/actions/a/n", text).status == 200
    assert world.red.delete("/v2/actions/a/n").status == 204
    assert world.red.delete("/v2/actions/a/").status == 204
    assert world.red.get("/v2/actions/a/").status == 404


def test_c_02_exactly_these_successes(world: World) -> None:
    texts = {"workflows": WORKFLOW, "workbooks": WORKBOOK, "actions": ACTION}
    for kind, text in texts.items():
        path = f"/v2/{kind}"
        assert world.red.post(path, text.format("x")).status == 201, kind
        assert world.red.put(path, text.format("x")).status == 200, kind
        gone = world.red.delete(f"{path}/x")
        assert (gone.status, gone.body) == (204, b""), kind


@pytest.mark.parametrize("sent", [{"a": "é"}, '{"a": "é"}'])
def test_c_03_json_in_a_string_and_either_on_input(world: World, sent: Any) -> None:
    made = world.begin("needs", input=sent, params='{"env": {"k": 1}}')
    assert made.status == 201
    for name in ("input", "params", "output"):
        assert isinstance(json.loads(made.json[name]), dict), name
    assert made.json["input"] == '{"a": "\\u00e9"}'
    assert b"\xc3" not in made.body, "pure ASCII"


def test_c_04_dates(world: World) -> None:
    made = world.red.post("/v2/workflows", WORKFLOW.format("w")).json["workflows"][0]
    assert "updated_at" not in made
    shown = world.red.get("/v2/workflows/w").json
    assert DATE.fullmatch(shown["created_at"])
    assert shown["updated_at"] is None, "null before the first change"
    run = world.red.get(f"/v2/executions/{world.start('quick')}").json
    assert DATE.fullmatch(run["updated_at"])


def test_c_05_the_envelope_of_lists(world: World) -> None:
    for name in ("a", "b", "c"):
        world.workflow(name)
    page = world.red.get("/v2/workflows?limit=2&sort_keys=name&fields=name").json
    assert [set(each) for each in page["workflows"]] == [{"id", "name"}] * 2
    query = page["next"].partition("?")[2]
    assert query.startswith("sort_keys=name,id&sort_dirs=asc,asc&limit=2&marker=")
    assert query.endswith("&fields=id,name")
    last = world.red.get(f"/v2/workflows?{query}").json
    assert [each["name"] for each in last["workflows"]] == ["c"]
    assert "next" not in last
    assert world.red.get("/v2/tasks").json == {"tasks": []}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=b", "b"),
        ("name=eq:b", "b"),
        ("name=neq:b", "a c"),
        ("name=gt:a", "b c"),
        ("name=gte:b", "b c"),
        ("name=lt:b", "a"),
        ("name=lte:b", "a b"),
        ("name=in:a,c", "a c"),
        ("name=nin:a,c", "b"),
        ("name=has:c", "c"),
        ("name=in:a,b&name=c", "c"),
        ("name=foo:b", ""),
    ],
)
def test_c_06_operators_of_filters(world: World, query: str, names: str) -> None:
    for name in ("a", "b", "c"):
        world.workflow(name)
    found = world.red.get(f"/v2/workflows?{query}&sort_keys=name").json["workflows"]
    assert " ".join(each["name"] for each in found) == names


def test_c_08_parameters_of_uploads(world: World) -> None:
    code = world.with_code().admin
    path = "/v2/code_sources?name=s&scope=private&namespace=n"
    assert code.post(path, "x = 1").status == 201
    again = "/v2/code_sources?identifier=s&scope=private&namespace=n"
    assert code.put(again, "x = 2").json["version"] == 2
    for kind, text in (("workflows", WORKFLOW), ("workbooks", WORKBOOK)):
        query = "scope=private&namespace=n&skip_validation&surplus=1"
        assert world.red.post(f"/v2/{kind}?{query}", text.format("x")).status == 201
    one = world.red.put(
        "/v2/workflows?identifier=x&namespace=n&scope=private", WORKFLOW.format("x")
    )
    assert (one.status, one.json["name"], one.json["namespace"]) == (200, "x", "n")


@pytest.mark.parametrize(
    ("kind", "text"),
    [("workflows", WORKFLOW), ("workbooks", WORKBOOK), ("actions", ACTION)],
)
def test_c_09_verdicts(world: World, kind: str, text: str) -> None:
    path = f"/v2/{kind}/validate"
    good = world.red.post(path, text.format("x"))
    assert (good.status, good.json) == (200, {"valid": True})
    bad = world.red.post(path, "version: '2.0'\n'a b': 7")
    assert (bad.status, bad.json["valid"]) == (200, False)
    assert isinstance(bad.json["error"], str)


def test_c_10_answers_of_uploads(world: World) -> None:
    two = WORKFLOW.format("a") + WORKFLOW.format("b").replace("version: '2.0'\n", "")
    made = world.red.post("/v2/workflows", two).json
    assert [each["name"] for each in made["workflows"]] == ["a", "b"]
    put = world.red.put("/v2/workflows", two).json
    assert [each["name"] for each in put["workflows"]] == ["a", "b"]
    id = made["workflows"][0]["id"]
    assert world.red.put(f"/v2/workflows/{id}", WORKFLOW.format("a")).json["id"] == id
    act = world.red.post("/v2/actions", ACTION.format("x")).json["actions"][0]
    again = world.red.put(f"/v2/actions/{act['id']}", ACTION.format("x")).json
    assert [each["name"] for each in again["actions"]] == ["x"]


def test_c_11_the_project_where_authentication_is_off(
    api: Client, world: World
) -> None:
    made = api.post("/v2/workflows", WORKFLOW.format("w")).json["workflows"][0]
    assert made["project_id"] == "<default-project>"
    mine, yours = world.workflow("w"), world.workflow("w", world.blue)
    assert mine != yours
    assert world.blue.get(f"/v2/workflows/{mine}").status == 404


def test_c_12_rules_and_defaults_are_in_the_document(world: World) -> None:
    """``tests/api/test_policy.py`` compares all of them with § 5.2."""
    paths = world.red.get("/v2/openapi.json").json["paths"]
    assert "workflows:publicize" in json.dumps(paths["/v2/workflows"]["post"])


def test_c_14_words_of_states(world: World) -> None:
    world.workflow("quick")
    failed, done = world.start("fails"), world.start("calls")
    states = {
        each["workflow_name"]: each["state"]
        for each in world.red.get("/v2/executions").json["executions"]
    }
    assert states == {"fails": "ERROR", "calls": "SUCCESS", "quick": "SUCCESS"}
    types = {}
    for run in (failed, done):
        task = world.red.get(f"/v2/tasks/{world.task(run)}").json
        types[task["workflow_name"]] = (task["type"], task["state"])
    assert types == {"fails": ("ACTION", "ERROR"), "calls": ("WORKFLOW", "SUCCESS")}
    action = world.red.get(f"/v2/action_executions/{world.action(failed)}").json
    assert action["state"] == "ERROR"


def test_c_15_state_requests(world: World) -> None:
    run = f"/v2/executions/{world.start('waits')}"
    for state in ("PAUSED", "RUNNING"):
        assert world.red.put(run, {"state": state}).json["state"] == state
    body = {"state": "ERROR", "state_info": "enough"}
    failed = world.red.put(run, body).json
    assert (failed["state"], failed["state_info"]) == ("ERROR", "enough")
    assert json.loads(failed["output"])["result"] == "enough"
    other = f"/v2/executions/{world.start('waits')}"
    assert world.red.put(other, {"state": "CANCELLED"}).json["state"] == "CANCELLED"


@pytest.mark.parametrize("env", [{"k": 1}, '{"k": 1}'])
def test_c_16_rerun(world: World, env: Any) -> None:
    run = world.start("fails")
    path = f"/v2/tasks/{world.task(run)}"
    body = {"id": "ignored", "state": "RUNNING", "env": env}
    assert world.red.put(path, body).status == 400, "reset is mandatory"
    assert world.red.put(path, body | {"reset": True}).status == 200
    params = json.loads(world.red.get(f"/v2/executions/{run}").json["params"])
    assert params["env"] == {"k": 1}


def test_c_17_output_is_wrapped(world: World) -> None:
    made = world.red.post(
        "/v2/action_executions", {"name": "std.echo", "input": {"output": [1]}}
    )
    assert json.loads(made.json["output"]) == {"result": [1]}


def test_c_18_params_have_env_and_namespace(world: World) -> None:
    made = world.begin("quick", params={"more": 1}).json
    assert json.loads(made["params"]) == {"env": {}, "namespace": "", "more": 1}


def test_c_19_summaries_of_input(world: World) -> None:
    text = (
        "version: '2.0'\nw:\n  input: [x, {y: 5}, {z: null}, {l: [1, 2]}, {b: true}]\n"
    )
    text += "  tasks: {t: {action: std.noop}}\n"
    shown = world.red.post("/v2/workflows", text).json["workflows"][0]
    assert shown["input"] == 'x, y="5", z="None", l="[1, 2]", b="True"'
    echo = world.red.get("/v2/actions/std.echo").json
    assert echo["input"] == "output, delay=0"


def test_c_20_tags_are_lists(world: World) -> None:
    run = world.start("quick")
    world.red.post("/v2/workbooks", WORKBOOK.format("b"))
    world.red.post("/v2/actions", ACTION.format("a"))
    for path in ("workflows/quick", "workbooks/b", "actions/a", f"executions/{run}",
                 f"tasks/{world.task(run)}"):  # fmt: skip
        assert world.red.get(f"/v2/{path}").json["tags"] == [], path


def test_c_21_first_times(world: World) -> None:
    id = world.workflow("quick")
    body = {"name": "c", "workflow_id": id}
    soon = world.house.clock.now().strftime("%Y-%m-%d %H:%M")
    path = "/v2/cron_triggers"
    assert world.red.post(path, body | {"first_execution_time": soon}).status == 400
    once = body | {"first_execution_time": "2099-01-02 03:04"}
    made = world.red.post(path, once).json
    assert made["first_execution_time"] == "2099-01-02 03:04:00"
    assert (made["pattern"], made["remaining_executions"]) == ("0 0 30 2 0", 1)


def test_c_22_words_of_maintenance(world: World) -> None:
    assert world.admin.get("/maintenance").json == {"status": "RUNNING"}
    paused = world.admin.put("/maintenance", {"status": "PAUSED"}).json
    assert paused == {"status": "PAUSING"}
    assert world.red.post("/v2/workflows", WORKFLOW.format("w")).status == 423
    assert world.red.get("/v2/workflows").status == 200
    assert world.admin.put("/maintenance", {"status": "RUNNING"}).status == 200
    assert world.red.post("/v2/workflows", WORKFLOW.format("w")).status == 201


def test_ids_are_uuids_in_lower_case(world: World) -> None:
    """§ 1.5."""
    assert all(ID.fullmatch(world.workflow(name)) for name in RUNS)
