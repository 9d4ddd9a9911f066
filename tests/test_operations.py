"""Operations over REST, on the whole service in one thread.

spec/engine.md § 7: ENG-177 to ENG-200.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rest import Service

HEAD = "version: '2.0'\n"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.close()


def test_eng_177_a_start_with_an_id_that_exists_answers_what_is_there(
    service: Service,
) -> None:
    service.upload(HEAD + "w: {input: [{a: 1}], tasks: {t: {description: x}}}")
    id = str(uuid.uuid4())
    first = service.run("w", {"a": 2}, id=id)
    again = service.api.post(
        "/v2/executions",
        {"id": id, "workflow_name": "no such", "input": '{"a": 3}'},
    )
    assert again.status == 201
    assert service.execution(id) == first
    assert json.loads(again.json["input"]) == {"a": 2}
    assert len(service.tasks(id)) == 1


def test_eng_178_a_start_from_another_execution_copies_it(service: Service) -> None:
    service.upload(
        HEAD
        + """
w:
  input: [a, b]
  output: {a: <% $.a %>, b: <% $.b %>, e: <% env().e %>}
  tasks: {t: {description: x}}
"""
    )
    source = service.run("w", {"a": 1, "b": 2}, params={"env": {"e": 3}})
    answer = service.api.post("/v2/executions", {"source_execution_id": source["id"]})
    assert answer.status == 201, answer.body
    copy = service.execution(answer.json["id"])
    assert copy["output"] == {"a": 1, "b": 2, "e": 3}
    assert f"Based on the execution '{source['id']}'" in copy["description"]
    answer = service.api.post(
        "/v2/executions",
        {
            "source_execution_id": source["id"],
            "input": '{"a": 7, "b": 8}',
            "params": '{"env": {"e": 9}}',
            "description": "again",
        },
    )
    other = service.execution(answer.json["id"])
    assert other["output"] == {"a": 7, "b": 8, "e": 9}
    assert other["description"].startswith("again Based on the execution")
    answer = service.api.post(
        "/v2/executions", {"source_execution_id": str(uuid.uuid4())}
    )
    assert answer.status == 404


HELD = HEAD + "w: {output: {o: 1}, tasks: {t: {action: std.async_noop}}}"


STOPS = [
    ("RUNNING", "SUCCESS", 200, "SUCCESS"),
    ("RUNNING", "ERROR", 200, "ERROR"),
    ("RUNNING", "CANCELLED", 200, "CANCELLED"),
    ("PAUSED", "SUCCESS", 400, "PAUSED"),
    ("PAUSED", "ERROR", 200, "ERROR"),
    ("PAUSED", "CANCELLED", 200, "CANCELLED"),
    ("SUCCESS", "SUCCESS", 200, "SUCCESS"),
    ("SUCCESS", "ERROR", 200, "SUCCESS"),
    ("SUCCESS", "CANCELLED", 200, "SUCCESS"),
    ("ERROR", "SUCCESS", 400, "ERROR"),
    ("ERROR", "ERROR", 200, "ERROR"),
    ("ERROR", "CANCELLED", 200, "ERROR"),
    ("CANCELLED", "SUCCESS", 400, "CANCELLED"),
    ("CANCELLED", "ERROR", 200, "CANCELLED"),
    ("CANCELLED", "CANCELLED", 200, "CANCELLED"),
]


@pytest.mark.parametrize(("now", "wanted", "status", "then"), STOPS)
def test_eng_179_180_stop_by_state(
    service: Service, now: str, wanted: str, status: int, then: str
) -> None:
    service.upload(HELD)
    id = service.start("w")
    if now != "RUNNING":
        assert service.change(id, state=now, state_info="first").status == 200
    before = service.execution(id)
    answer = service.change(id, state=wanted, state_info="second")
    assert answer.status == status, answer.body
    after = service.execution(id)
    assert after["state"] == then
    if then != now:
        assert after["state_info"] == "second"
        output = {"o": 1} if wanted == "SUCCESS" else {"result": "second"}
        assert after["output"] == output
    elif (now, wanted) != ("SUCCESS", "SUCCESS"):
        assert after == before


def test_eng_181_pause(service: Service) -> None:
    service.upload(HELD)
    id = service.start("w")
    assert service.change(id, state="PAUSED").status == 200
    before = service.execution(id)
    assert service.change(id, state="PAUSED").status == 200
    assert service.execution(id) == before
    service.change(id, state="ERROR")
    answer = service.change(id, state="PAUSED")
    assert answer.status == 400
    assert "from ERROR to PAUSED" in answer.fault


def test_eng_182_resume_of_what_is_not_paused(service: Service) -> None:
    service.upload(HELD)
    id = service.start("w")
    for state in ("RUNNING", "ERROR"):
        if state == "ERROR":
            service.change(id, state="ERROR")
        before = service.execution(id)
        assert service.change(id, state="RUNNING").status == 200
        assert service.execution(id) == before


def test_eng_183_184_env(service: Service) -> None:
    service.upload(
        HEAD
        + """
w:
  output: {v: <% $.v %>}
  tasks:
    a: {action: std.async_noop, on-success: b}
    b: {publish: {v: <% env() %>}}
"""
    )
    id = service.start("w", params={"env": {"x": {"k": 1, "l": 2}}})
    answer = service.change(id, params={"env": {"y": 1}})
    assert answer.status == 403
    assert answer.fault == (
        "Updating env to workflow execution is only permitted if it is in IDLE, "
        "PAUSED, or ERROR state."
    )
    service.change(id, state="PAUSED")
    assert service.change(id, params={"env": {"y": 1}}).status == 200
    answer = service.change(id, state="RUNNING", params={"env": {"x": {"k": 3}}})
    assert answer.status == 200
    [action] = service.actions(service.task(id, "a")["id"])
    service.answer(action["id"], "SUCCESS")
    assert service.execution(id)["output"] == {"v": {"x": {"k": 3, "l": 2}, "y": 1}}


def test_eng_185_186_rerun_is_refused(service: Service) -> None:
    service.upload(
        HEAD + "w: {tasks: {good: {description: x}, bad: {action: std.fail}}}"
    )
    id = service.start("w")
    good, bad = (service.task(id, name)["id"] for name in ("good", "bad"))
    answer = service.redo(good, reset=True)
    assert answer.status == 400
    assert "must be in ERROR" in answer.fault
    answer = service.redo(bad)
    assert (answer.status, answer.fault) == (
        400, "Reset field is mandatory to rerun task.",
    )  # fmt: skip
    answer = service.redo(bad, reset=False)
    assert (answer.status, answer.fault) == (
        400, "Only with-items task has the option to not reset.",
    )  # fmt: skip
    assert service.execution(id)["state"] == "ERROR"


def test_eng_187_rerun_in_a_running_workflow(service: Service) -> None:
    service.upload(
        HEAD
        + """
w:
  tasks:
    a: {action: std.async_noop, on-success: after}
    b: {action: std.async_noop}
    after: {description: x}
"""
    )
    id = service.start("w")
    a = service.task(id, "a")["id"]
    service.answer(service.actions(a)[0]["id"], "ERROR")
    assert service.states(id) == {"a": "ERROR", "b": "RUNNING"}
    assert service.redo(a, reset=True).status == 200
    [again] = [x for x in service.actions(a) if x["state"] == "RUNNING"]
    service.answer(again["id"], "SUCCESS")
    b = service.task(id, "b")["id"]
    service.answer(service.actions(b)[0]["id"], "SUCCESS")
    assert service.execution(id)["state"] == "SUCCESS"


def test_eng_188_rerun_of_a_handled_task_in_a_run_that_ended_well(
    service: Service,
) -> None:
    service.upload(HEAD + "w: {tasks: {t: {action: std.fail, on-error: noop}}}")
    id = service.start("w")
    answer = service.redo(service.task(id, "t")["id"], reset=True)
    assert answer.status == 400
    assert service.execution(id)["state"] == "SUCCESS"


def test_eng_190_one_of_two_failures_rerun(service: Service) -> None:
    service.upload(
        HEAD + "w: {tasks: {a: {action: std.async_noop}, b: {action: std.fail}}}"
    )
    id = service.start("w")
    a = service.task(id, "a")["id"]
    service.answer(service.actions(a)[0]["id"], "ERROR")
    service.redo(a, reset=True)
    [action] = [x for x in service.actions(a) if x["state"] == "RUNNING"]
    service.answer(action["id"], "SUCCESS")
    run = service.execution(id)
    assert run["state"] == "ERROR"
    assert run["state_info"].startswith("Failure caused by error in tasks: b\n")


def test_eng_191_rerun_in_a_paused_workflow(service: Service) -> None:
    service.upload(
        HEAD + "w: {tasks: {a: {action: std.fail}, b: {action: std.async_noop}}}"
    )
    id = service.start("w")
    service.change(id, state="PAUSED")
    task = service.task(id, "a")["id"]
    for answer in (service.redo(task, reset=True), service.redo(task, "SKIPPED")):
        assert answer.status == 400
        assert "paused" in answer.fault
    assert service.states(id)["a"] == "ERROR"


SKIPPABLE = """
w:
  output: {s: <% $.get(s) %>}
  tasks:
    t:
      action: std.fail
      publish: {s: published}
      publish-on-skip: {s: skipped}
      on-success: good
      on-complete: always
      %s
    good: {description: x}
    always: {description: x}
    passed: {description: x}
"""


@pytest.mark.parametrize(
    ("clause", "went"),
    [
        ("on-skip: passed", "passed"),
        ("description: no on-skip", "good"),
        ("on-skip: [{passed: <% false %>}]", "good"),
    ],
)
def test_eng_192_193_194_skip(service: Service, clause: str, went: str) -> None:
    service.upload(HEAD + SKIPPABLE.replace("%s", clause))
    id = service.start("w")
    task = service.task(id, "t")["id"]
    before = service.states(id)
    assert service.redo(task, "SKIPPED").status == 200
    found = service.task(id, "t")
    assert (found["state"], found["state_info"]) == ("SKIPPED", "Task was skipped.")
    assert json.loads(found["published"]) == {"s": "skipped"}
    states = service.states(id)
    assert states == {**before, "t": "SKIPPED", went: "SUCCESS"}
    run = service.execution(id)
    assert (run["state"], run["output"]) == ("SUCCESS", {"s": "skipped"})


def test_eng_195_196_197_an_action_execution_is_answered_once(
    service: Service,
) -> None:
    service.upload(
        HEAD
        + """
w:
  output: {r: <% $.r %>}
  tasks:
    a: {action: std.async_noop, publish: {r: <% task().result %>}}
    b: {action: std.async_noop, on-error: noop}
"""
    )
    id = service.start("w")
    [a] = service.actions(service.task(id, "a")["id"])
    [b] = service.actions(service.task(id, "b")["id"])
    assert service.answer(a["id"], "SUCCESS", output='{"k": 1}').status == 200
    assert service.answer(b["id"], "ERROR").status == 200
    [a] = service.actions(service.task(id, "a")["id"])
    [b] = service.actions(service.task(id, "b")["id"])
    assert a["output"] == {"result": {"k": 1}}
    assert b["output"] == {"result": "Unknown error"}
    assert service.execution(id)["output"] == {"r": {"k": 1}}
    answer = service.answer(a["id"], "ERROR", output='{"k": 2}')
    assert 400 <= answer.status < 500
    assert service.actions(service.task(id, "a")["id"]) == [a]


def test_eng_198_only_asynchronous_actions_can_be_paused(service: Service) -> None:
    service.upload(
        HEAD
        + """
w:
  tasks:
    a: {action: std.async_noop}
    s: {action: std.sleep seconds=1}
"""
    )
    service.house.hold.add("std.sleep")
    id = service.start("w")
    [a] = service.actions(service.task(id, "a")["id"])
    [s] = service.actions(service.task(id, "s")["id"])
    answer = service.answer(s["id"], "PAUSED")
    assert answer.status == 400
    assert service.execution(id)["state"] == "RUNNING"
    assert service.answer(a["id"], "PAUSED").status == 200
    assert service.execution(id)["state"] == "PAUSED"
    assert service.states(id) == {"a": "PAUSED", "s": "RUNNING"}
    assert service.answer(a["id"], "RUNNING").status == 200
    assert service.execution(id)["state"] == "RUNNING"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v2/executions/{}", None),
        ("PUT", "/v2/executions/{}", {"state": "PAUSED"}),
        ("PUT", "/v2/executions/{}", {"state": "RUNNING"}),
        ("PUT", "/v2/executions/{}", {"state": "ERROR"}),
        ("DELETE", "/v2/executions/{}", None),
        ("GET", "/v2/executions/{}/report", None),
        ("GET", "/v2/executions/{}/history", None),
        ("GET", "/v2/tasks/{}", None),
        ("PUT", "/v2/tasks/{}", {"state": "RUNNING", "reset": True}),
        ("PUT", "/v2/tasks/{}", {"state": "SKIPPED"}),
        ("GET", "/v2/action_executions/{}", None),
        ("PUT", "/v2/action_executions/{}", {"state": "SUCCESS"}),
        ("GET", "/v2/workflows/{}", None),
        ("GET", "/v2/actions/{}", None),
        ("GET", "/v2/workbooks/{}", None),
        ("GET", "/v2/environments/{}", None),
        ("DELETE", "/v2/workflows/{}", None),
        ("DELETE", "/v2/workbooks/{}", None),
        ("DELETE", "/v2/environments/{}", None),
        ("POST", "/v2/executions", {"workflow_id": "{}"}),
        ("POST", "/v2/executions", {"workflow_name": "{}"}),
    ],
)
def test_eng_200_unknown_ids(
    service: Service, method: str, path: str, body: Any
) -> None:
    id = str(uuid.uuid4())
    body = body and {k: id if v == "{}" else v for k, v in body.items()}
    answer = service.api.request(method, path.format(id), body)
    assert answer.status == 404, answer.body
    assert id in answer.fault


def test_a_failure_names_task_item_attempt_and_cause(service: Service) -> None:
    """In the state info of the run, and in its report."""
    service.upload(
        HEAD
        + """
w:
  tasks:
    t:
      with-items: i in <% [1, 2] %>
      action: std.fail error_data=<% $.i * 10 %>
      retry: {count: 1, delay: 1}
"""
    )
    id = service.start("w")
    service.house.settle()
    service.house.advance(1)
    run = service.execution(id)
    assert run["state"] == "ERROR"
    lines = run["state_info"].splitlines()
    assert lines[2].startswith("  t [task_ex_id=")
    assert lines[3] == "    attempts: 2"
    assert [line.split(", ")[1] for line in lines[4:]] == ["idx=0]: 10", "idx=1]: 20"]
    report = service.api.get(f"/v2/executions/{id}/report").json
    [task] = report["root_workflow_execution"]["task_executions"]
    assert task["retry_count"] == 1
    assert [a["accepted"] for a in task["action_executions"]].count(True) == 2
    shown = report["root_workflow_execution"]["state_info"]
    assert shown == run["state_info"]
