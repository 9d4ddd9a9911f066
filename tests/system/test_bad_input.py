"""Bad input over REST: every refusal is a 4xx whose ``faultstring`` says what is
wrong and where, and nothing of it is a surprise to the service (no traceback)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from system.embedded import Embedded

pytestmark = pytest.mark.system

V = "version: '2.0'\n"
NOBODY = "00000000-0000-4000-8000-000000000000"
LARGE = 3 * 1024 * 1024


def task(text: str) -> str:
    return f"{V}w:\n  tasks:\n    t: {{{text}}}\n"


@pytest.fixture(scope="module")
def service(embedded: Embedded) -> Iterator[Embedded]:
    text = V + "given: {input: [n], tasks: {t: {action: std.noop}}}\n"
    text += "waiting: {tasks: {hold: {action: std.async_noop}}}\n"
    assert embedded.request("POST", "/v2/workflows", text, "text/plain")[0] == 201
    yield embedded
    log = embedded.log()
    assert "Traceback" not in log, log
    assert " ERROR " not in log, log


def refused(answer: tuple[int, Any], status: int, *words: str) -> None:
    found, body = answer
    assert found == status, body
    assert set(body) == {"faultcode", "faultstring", "debuginfo"}
    assert body["faultcode"] == "Client"
    for word in words:
        assert word in body["faultstring"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["version", "line 1"]),
        ("a: [", ["line 2"]),
        (V + "w:\n\ttasks: 1", ["line 3"]),
        ("a: &a [*a]", ["line 1, column 4", "anchors"]),
        ("!!python/name:os.system {}", ["line 1", "unknown tag"]),
        ("a: " + "[" * 3000, ["nested deeper"]),
        ("\0", ["U+0000"]),
        (V, ["at least one workflow"]),
        (V + "w: 7", ["w (line 2", "found a number"]),
        (V + "w: {tasks: []}", ["w.tasks (line 2", "empty list"]),
        (V + "w w: {tasks: {t: {action: std.noop}}}", ["w w (line 2", "blank"]),
        (task("actoin: std.noop"), ["w.tasks.t.actoin (line 4", "'action'"]),
        (task("action: 7"), ["w.tasks.t.action", "found a number"]),
        (task("action: a, workflow: b"), ["w.tasks.t", "not both"]),
        (task("on-success: ghost"), ["w.tasks.t.on-success", "'ghost'"]),
        (task("join: many"), ["w.tasks.t.join (line 4"]),
        (task("wait-before: soon"), ["w.tasks.t.wait-before"]),
        (task("with-items: i of x"), ["w.tasks.t.with-items"]),
        (task("publish: {x: <% $.a + %>}"), ["w.tasks.t.publish.x", "YAQL"]),
        (task("publish: {x: '{{ a | }}'}"), ["w.tasks.t.publish.x", "Jinja"]),
    ],
)
def test_workflow_texts(service: Embedded, text: str, words: list[str]) -> None:
    answer = service.request("POST", "/v2/workflows", text, "text/plain")
    refused(answer, 400, *words)
    path = "/v2/workflows/validate"
    status, report = service.request("POST", path, text, "text/plain")
    assert (status, report["valid"]) == (200, False)
    assert report["error"] == answer[1]["faultstring"]


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("workbooks", V, ["'name'"]),
        ("workbooks", V + "name: b\nodd: 1", ["odd (line 3"]),
        ("workbooks", V + "name: b\nworkflows: []", ["workflows (line 3"]),
        ("workbooks", V + "name: b\nactions: {a: {}}", ["actions.a (line 3"]),
        ("actions", V + "a: {base: 7}", ["a.base (line 2"]),
        ("actions", V + "a: {base: std.echo, inptu: []}", ["a.inptu", "'input'"]),
        ("actions", V + "a: {base: std.echo output=<% $. %>}", ["a.base", "YAQL"]),
        ("actions", V + "std.echo: {base: std.noop}", ["'std.echo'", "built-in"]),
    ],
)
def test_other_texts(service: Embedded, kind: str, text: str, words: list[str]) -> None:
    refused(service.request("POST", f"/v2/{kind}", text, "text/plain"), 400, *words)


def run(**values: Any) -> dict[str, Any]:
    return {"workflow_name": "given", "input": {"n": 1}, **values}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("", 400, ["empty"]),
        ("{", 400, ["JSON", "line 1 column 2"]),
        ("[]", 400, ["object"]),
        (b'{"workflow_name": "\xff"}', 400, ["UTF-8"]),
        ('{"workflow_name":"given","input":{"n":NaN}}', 400, ["NaN"]),
        ('{"workflow_name":"given","input":{"n":1e999}}', 400, ["1e999"]),
        ('{"workflow_name":"given","input":{"n":"\\ud800"}}', 400, ["surrogate"]),
        (run(input='{"n": "\\ud800"}'), 400, ["input", "surrogate"]),
        ('{"input":{"n":' + "9" * 5000 + "}}", 400, ["4000 digits"]),
        ('{"input":' + "[" * 99999 + "}", 400, ["nested too deeply"]),
        ({}, 400, ["workflow_id", "workflow_name"]),
        (run(odd=1), 400, ["odd"]),
        (run(workflow_name=7), 400, ["workflow_name", "7", "text"]),
        (run(workflow_name="ghost"), 404, ["ghost"]),
        (run(source_execution_id=NOBODY), 404, [NOBODY]),
        (run(input={}), 400, ["given", "missing=['n']"]),
        (run(input={"n": 1, "m": 2}), 400, ["given", "unexpected=['m']"]),
        (run(input=[1]), 400, ["input", "[1]"]),
        (run(input="{"), 400, ["input", "JSON text of an object", "column 2"]),
        (run(params=7), 400, ["params", "7"]),
        (run(params={"env": "ghost"}), 400, ["ghost"]),
        (run(params={"env": 7}), 400, ["environment", "int"]),
        (run(id="x" * 40), 400, ["36"]),
        (run(description=7), 400, ["description", "7"]),
        (run(project_id="p"), 400, ["project_id", "read only"]),
        (run(input={"n": "x" * LARGE}), 400, ["input", "limit"]),
    ],
)
def test_new_executions(
    service: Embedded, body: Any, status: int, words: list[str]
) -> None:
    answer = service.request("POST", "/v2/executions", body)
    refused(answer, status, *words)


def test_bodies_too_large_and_of_other_types(service: Embedded) -> None:
    large = b"#" * (17 * 1024 * 1024)
    answer = service.request("POST", "/v2/workflows", large, "text/plain")
    refused(answer, 413, "16777216")
    answer = service.request("POST", "/v2/executions", "{}", "text/plain")
    refused(answer, 415, "text/plain", "application/json")
    answer = service.request("POST", "/v2/executions", "<a/>", "text/xml")
    refused(answer, 415, "XML")


def test_state_changes(service: Embedded) -> None:
    """Of a run, of its task and of its action, before and after the end."""
    body = {"workflow_name": "waiting"}
    id = service.request("POST", "/v2/executions", body)[1]["id"]
    path = f"/v2/executions/{id}"
    for wrong in ("DONE", "IDLE", "running"):
        refused(service.request("PUT", path, {"state": wrong}), 400, wrong)
    both = {"state": "PAUSED", "description": "x"}
    refused(service.request("PUT", path, both), 400, "description")
    refused(service.request("PUT", path, {"state": 7}), 400, "state", "7")
    refused(service.request("PUT", path, {}), 400, "Nothing to change")
    env = {"params": {"env": {"a": 1}}}
    refused(service.request("PUT", path, env), 403, "env")
    refused(service.request("DELETE", path), 403, id, "RUNNING")
    refused(service.request("DELETE", f"{path}?force=maybe"), 400, "force", "maybe")

    task = service.request("GET", f"{path}/tasks")[1]["tasks"][0]["id"]
    again = {"state": "RUNNING", "reset": True}
    refused(service.request("PUT", f"/v2/tasks/{task}", again), 400, "ERROR")
    done = {"state": "SUCCESS", "reset": True}
    refused(service.request("PUT", f"/v2/tasks/{task}", done), 400, "SUCCESS")
    odd = {"state": "RUNNING", "reset": "perhaps"}
    refused(service.request("PUT", f"/v2/tasks/{task}", odd), 400, "reset", "perhaps")

    found = service.request("GET", f"/v2/tasks/{task}/action_executions")[1]
    action = f"/v2/action_executions/{found['action_executions'][0]['id']}"
    refused(service.request("PUT", action, {"state": "ODD"}), 400, "ODD")
    broken = {"state": "SUCCESS", "output": "{"}
    refused(service.request("PUT", action, broken), 400, "output", "JSON")

    assert service.request("PUT", path, {"state": "CANCELLED"})[0] == 200
    for wrong in ("PAUSED", "SUCCESS"):
        answer = service.request("PUT", path, {"state": wrong})
        refused(answer, 400, "CANCELLED", wrong, id)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ["action name"]),
        ({"name": "no.such"}, ["no.such"]),
        ({"name": 7}, ["name", "7"]),
        ({"name": "std.echo"}, ["std.echo", "missing=['output']"]),
        ({"name": "std.noop", "input": {"z": 1}}, ["std.noop", "unexpected=['z']"]),
        ({"name": "std.noop", "input": 7}, ["input", "7"]),
        ({"name": "std.noop", "params": {"timeout": "x"}}, ["params.timeout"]),
        ({"name": "std.noop", "params": {"target": 7}}, ["params.target"]),
        ({"name": "std.noop", "odd": 1}, ["odd"]),
    ],
)
def test_new_action_executions(
    service: Embedded, body: dict[str, Any], words: list[str]
) -> None:
    refused(service.request("POST", "/v2/action_executions", body), 400, *words)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/v2/executions?limit=0", 400, ["Limit must be positive"]),
        ("GET", "/v2/executions?sort_keys=zz", 400, ["sort_keys", "zz"]),
        ("GET", "/v2/executions?fields=zz", 400, ["fields", "zz"]),
        ("GET", "/v2/executions?created_at=gt:zz", 400, ["created_at"]),
        ("GET", "/v2/executions?marker=zz", 400, ["marker", "zz"]),
        ("GET", "/v2/executions?input=eq:{", 400, ["input", "JSON"]),
        ("GET", "/v2/executions/%ff", 400, ["UTF-8"]),
        ("GET", "/v2/executions/%00", 400, ["NUL"]),
        ("GET", f"/v2/executions/{NOBODY}/report", 404, [NOBODY]),
        ("DELETE", f"/v2/executions/{NOBODY}", 404, [NOBODY]),
        ("GET", f"/v2/tasks/{NOBODY}", 404, [NOBODY]),
        ("GET", f"/v2/action_executions/{NOBODY}", 404, [NOBODY]),
        ("DELETE", "/v2/workflows/ghost", 404, ["ghost"]),
        ("DELETE", "/v2/workbooks/ghost", 404, ["ghost"]),
        ("DELETE", "/v2/environments/ghost", 404, ["ghost"]),
        ("GET", "/v2/nowhere", 404, ["path"]),
        ("PATCH", "/v2/executions", 405, ["PATCH"]),
    ],
)
def test_paths_and_queries(
    service: Embedded, method: str, path: str, status: int, words: list[str]
) -> None:
    refused(service.request(method, path), status, *words)
