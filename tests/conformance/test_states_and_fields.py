"""States and fields of executions over REST (spec/engine.md A.1)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rest import Service

from mistral.context import DEFAULT_PROJECT, Context
from mistral.db import models
from mistral.engine.core.ports import Rules
from mistral.messages import StartWorkflow

STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

PLAIN = """
plain:
  input: [a, {b: two}]
  tasks:
    first: {action: std.noop, on-success: second}
    second: {action: std.echo output=<% $.a %>}
  output: {got: <% task(second).result %>, b: <% $.b %>}
"""
WAITING = """
waiting:
  tasks:
    t: {action: std.async_noop, on-success: after}
    after: {action: std.noop}
"""
RETRIED = """
retried:
  tasks:
    t:
      action: std.fail
      retry: {count: 1, delay: 5}
"""
NESTED = """
top: {tasks: {t: {workflow: middle}}}
middle: {tasks: {t: {workflow: bottom}}}
bottom: {tasks: {t: {action: std.async_noop}}}
"""


def _nothing_is_stored(service: Service) -> bool:
    tables = (
        models.workflow_executions,
        models.task_executions,
        models.action_executions,
    )
    return not any(service.house.rows(table) for table in tables)


# -- Start --------------------------------------------------------------------


def test_eng_001_a_start_answers_running_with_its_start_tasks(service: Service) -> None:
    service.upload(
        "w: {tasks: {a: {action: std.async_noop}, b: {action: std.async_noop},"
        " c: {action: std.async_noop, on-success: d}, d: {action: std.noop}}}"
    )
    answer = service.begin("w")
    assert (answer.status, answer.json["state"]) == (201, "RUNNING")
    assert {t["name"] for t in service.tasks(answer.json["id"])} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("input", "words"),
    [
        pytest.param({}, "missing=['a']", id="ENG-002 missing"),
        pytest.param({"a": 1, "z": 2}, "unexpected=['z']", id="ENG-003 undeclared"),
    ],
)
def test_input_that_does_not_fit(service: Service, input: Any, words: str) -> None:
    service.upload(PLAIN)
    answer = service.begin("plain", input)
    assert answer.status == 400
    assert words in answer.fault
    assert _nothing_is_stored(service)


def test_eng_004_defaults_are_part_of_the_stored_input(service: Service) -> None:
    service.upload(PLAIN)
    assert service.run("plain", {"a": 1})["input"] == {"a": 1, "b": "two"}
    given = service.run("plain", {"a": 1, "b": 2})
    assert (given["input"], given["output"]["b"]) == ({"a": 1, "b": 2}, 2)


def test_eng_005_vars_that_cannot_be_evaluated_refuse_the_start(
    service: Service,
) -> None:
    service.upload("w: {vars: {v: <% $.nope %>}, tasks: {t: {action: std.noop}}}")
    assert service.begin("w").status == 400
    assert _nothing_is_stored(service)


# -- Times --------------------------------------------------------------------


def test_eng_006_times_are_whole_seconds_of_utc(service: Service) -> None:
    service.upload(PLAIN)
    found = service.run("plain", {"a": 1})
    task = service.tasks(found["id"])[0]
    [action] = service.actions(task["id"])
    times = [found["created_at"], found["updated_at"]]
    times += [action["created_at"]]
    times += [task[f"{n}_at"] for n in ("created", "started", "finished")]
    assert [bool(STAMP.fullmatch(time)) for time in times] == [True] * 6
    # the clock of the test begins there, and it is UTC
    assert set(times) == {"2020-01-02 03:04:05"}


def test_eng_007_started_at_is_before_the_wait(service: Service) -> None:
    service.upload("w: {tasks: {t: {action: std.noop, wait-before: 60}}}")
    id = service.start("w")
    task = service.task(id, "t")
    assert (task["state"], task["started_at"]) == ("DELAYED", "2020-01-02 03:04:05")
    service.house.advance(60)
    task = service.task(id, "t")
    assert (task["state"], task["started_at"]) == ("SUCCESS", "2020-01-02 03:04:05")
    assert task["finished_at"] == "2020-01-02 03:05:05"


def test_eng_008_retries_leave_started_at_alone(service: Service) -> None:
    service.upload(RETRIED)
    id = service.start("retried")
    began = service.task(id, "t")["started_at"]
    service.house.advance(5)
    task = service.task(id, "t")
    assert task["state"] == "ERROR"
    assert len(service.actions(task["id"])) == 2
    assert task["started_at"] == began
    assert task["finished_at"] > began


def test_eng_009_eng_019_a_rerun_starts_the_times_afresh(service: Service) -> None:
    service.upload("w: {tasks: {t: {action: std.async_noop}}}")
    id = service.start("w")
    first = service.task(id, "t")
    service.finish(service.action(id, "t")["id"], {"why": 1}, "ERROR")
    assert service.execution(id)["state_info"]
    service.house.advance(7)
    service.put(f"tasks/{first['id']}", {"state": "RUNNING", "reset": True})
    again = service.task(id, "t")
    assert again["started_at"] == "2020-01-02 03:04:12" > first["started_at"]
    assert (again["state"], again["finished_at"]) == ("RUNNING", None)
    running = service.execution(id)
    assert (running["state"], running["state_info"]) == ("RUNNING", None)
    service.house.advance(3)
    service.finish(service.actions(first["id"])[-1]["id"])
    assert service.task(id, "t")["finished_at"] == "2020-01-02 03:04:15"


def test_eng_010_a_join_that_fails_never_started(service: Service) -> None:
    service.upload(
        """
w:
  tasks:
    a: {action: std.noop, on-success: j}
    b: {action: std.fail, on-success: j}
    j: {join: all, action: std.noop}
"""
    )
    join = service.task(service.start("w"), "j")
    assert (join["state"], join["started_at"]) == ("ERROR", None)
    assert STAMP.fullmatch(join["finished_at"])


# -- Marks --------------------------------------------------------------------


def test_eng_011_eng_020_what_is_accepted(service: Service) -> None:
    service.upload(RETRIED)
    id = service.start("retried")
    service.house.advance(5)
    early, late = service.actions(service.task(id, "t")["id"])
    assert (early["accepted"], late["accepted"]) == (False, True)
    assert [a["state"] for a in (early, late)] == ["ERROR", "ERROR"]
    assert [a["state_info"] for a in (early, late)] == [None, None]


def test_eng_012_what_was_handled_is_processed(service: Service) -> None:
    service.upload(PLAIN)
    found = service.run("plain", {"a": 1})
    assert [t["processed"] for t in service.tasks(found["id"])] == [True, True]
    service.upload("broken: {tasks: {t: {action: std.noop, publish: {v: <% $.no %>}}}}")
    broken = service.run("broken")
    assert broken["state"] == "ERROR"
    assert service.task(broken["id"], "t")["processed"] is False


def test_eng_013_eng_019_a_pause_leaves_follow_ups_undecided(service: Service) -> None:
    service.upload(WAITING)
    id = service.start("waiting")
    service.put(f"executions/{id}", {"state": "PAUSED"})
    service.finish(service.action(id, "t")["id"])
    task = service.task(id, "t")
    assert (task["state"], task["processed"]) == ("SUCCESS", False)
    service.put(f"executions/{id}", {"state": "RUNNING"})
    assert service.task(id, "t")["processed"] is True
    done = service.execution(id)
    assert (done["state"], done["state_info"]) == ("SUCCESS", None)


def test_eng_019_a_text_of_the_pause_is_gone_after_the_resume(service: Service) -> None:
    service.upload(
        "w: {tasks: {t: {action: std.noop, on-success:"
        " [pause(msg='wait a bit'), u]}, u: {action: std.async_noop}}}"
    )
    id = service.start("w")
    paused = service.execution(id)
    assert (paused["state"], paused["state_info"]) == ("PAUSED", "wait a bit")
    service.put(f"executions/{id}", {"state": "RUNNING"})
    found = service.execution(id)
    assert (found["state"], found["state_info"]) == ("RUNNING", None)


# -- Links --------------------------------------------------------------------


def test_eng_014_eng_015_parents_and_roots(service: Service) -> None:
    service.upload(NESTED)
    id = service.start("top")
    runs = {r["workflow_name"]: r for r in service.get("executions")["executions"]}
    top, middle, bottom = (runs[name] for name in ("top", "middle", "bottom"))
    assert top["id"] == id
    assert (top["root_execution_id"], top["task_execution_id"]) == (None, None)
    assert middle["root_execution_id"] == bottom["root_execution_id"] == id
    assert middle["task_execution_id"] == service.task(id, "t")["id"]
    assert bottom["task_execution_id"] == service.task(middle["id"], "t")["id"]


def test_eng_016_who_triggered_a_task(service: Service) -> None:
    service.upload(
        """
w:
  tasks:
    a: {action: std.noop, on-success: b, on-complete: d}
    b: {action: std.fail, on-error: c}
    c: {action: std.noop}
    d: {action: std.noop}
"""
    )
    id = service.start("w")
    tasks = {task["name"]: task for task in service.tasks(id)}

    def causes(name: str) -> Any:
        context = tasks[name]["runtime_context"]
        context = json.loads(context) if isinstance(context, str) else context
        return (context or {}).get("triggered_by")

    ids = {name: task["id"] for name, task in tasks.items()}
    assert causes("a") is None
    assert causes("b") == [{"task_id": ids["a"], "event": "on-success"}]
    assert causes("c") == [{"task_id": ids["b"], "event": "on-error"}]
    assert causes("d") == [{"task_id": ids["a"], "event": "on-complete"}]


# -- Definitions change under a run -------------------------------------------


def test_eng_017_a_new_definition_is_for_new_runs(service: Service) -> None:
    service.upload(WAITING)
    id = service.start("waiting")
    changed = WAITING.replace("on-success: after", "on-success: fail")
    answer = service.api.put("/v2/workflows", f"version: '2.0'\n{changed}")
    assert answer.status == 200
    service.finish(service.action(id, "t")["id"])
    assert service.execution(id)["state"] == "SUCCESS"
    assert len(service.tasks(id)) == 2


@pytest.mark.parametrize("end", ["SUCCESS", "CANCELLED"])
def test_eng_018_a_run_outlives_its_definition(service: Service, end: str) -> None:
    service.upload(WAITING)
    id = service.start("waiting")
    assert service.api.delete("/v2/workflows/waiting").status == 204
    # a fresh process knows nothing of the definition either
    service.house.engine = service.house.new_engine("two")
    if end == "SUCCESS":
        service.finish(service.action(id, "t")["id"])
    else:
        service.put(f"executions/{id}", {"state": end})
    assert service.execution(id)["state"] == end


# -- Texts and sizes ----------------------------------------------------------


def test_eng_021_long_texts_are_cut(service: Service) -> None:
    service.upload("w: {input: [n], tasks: {t: {action: std.async_noop}}}")
    id = service.start("w", {"n": 1})
    body = {"state": "ERROR", "state_info": "x" * 70_000}
    service.put(f"executions/{id}", body)
    assert service.execution(id)["state_info"] == "x" * 65_500


def _limited(directory: Path, limit: int) -> Service:
    return Service(directory, rules=Rules(field_limit=limit))


LARGE = """
large:
  input: [size]
  tasks:
    t: {action: std.test_dict size=<% $.size %> val="0123456789", on-error: saved}
    saved: {action: std.noop}
"""


def test_eng_022_a_result_above_the_limit_ends_the_run(tmp_path: Path) -> None:
    service = _limited(tmp_path, 1024)
    service.upload(LARGE)
    found = service.run("large", {"size": 200})
    task = service.task(found["id"], "t")
    [action] = service.actions(task["id"])
    assert [o["state"] for o in (action, task, found)] == ["ERROR"] * 3
    assert action["output"]["result"].startswith("Field size limit exceeded [class=")
    for text in (task["state_info"], found["state_info"]):
        assert "Field size limit exceeded" in text
    assert [t["name"] for t in service.tasks(found["id"])] == ["t"], "no on-error"
    service.close()


def test_eng_022_a_delivered_result_above_the_limit_too(tmp_path: Path) -> None:
    service = _limited(tmp_path, 1024)
    service.upload(WAITING)
    id = service.start("waiting")
    service.finish(service.action(id, "t")["id"], {"v": "x" * 2000})
    found, task = service.execution(id), service.task(id, "t")
    states = [o["state"] for o in (service.action(id, "t"), task, found)]
    assert states == ["ERROR"] * 3
    assert "Field size limit exceeded" in found["state_info"]
    service.close()


def test_eng_023_an_input_above_the_limit_is_refused(tmp_path: Path) -> None:
    service = _limited(tmp_path, 1024)
    service.upload(PLAIN)
    answer = service.begin("plain", {"a": "x" * 1024})
    assert answer.status == 400
    assert "Field size limit exceeded" in answer.fault
    assert _nothing_is_stored(service)
    service.close()


@pytest.mark.parametrize("save", [False, True])
def test_eng_023_so_is_that_of_an_action_without_a_task(
    tmp_path: Path, save: bool
) -> None:
    """rest-api § 6.5: 400 on POST /action_executions."""
    service = _limited(tmp_path, 1024)
    sent = {
        "name": "std.test_dict",
        "input": {"size": 1, "key_prefix": "x" * 1024},
        "params": {"save_result": save},
    }
    answer = service.api.post("/v2/action_executions", sent)
    assert answer.status == 400
    assert "Field size limit exceeded" in answer.fault
    assert not service.house.rows(models.action_executions)
    service.close()


def test_eng_024_without_a_limit_no_size_is_an_error(tmp_path: Path) -> None:
    service = _limited(tmp_path, -1)
    service.upload(LARGE + PLAIN)
    assert service.run("large", {"size": 100_000})["state"] == "SUCCESS"
    assert service.run("plain", {"a": "x" * 2_000_000})["state"] == "SUCCESS"
    service.close()


# -- Results ------------------------------------------------------------------


def test_eng_025_the_result_of_one_action_and_of_none(service: Service) -> None:
    service.upload(
        """
w:
  tasks:
    one: {action: std.echo output=7, publish: {r: <% task().result %>}}
    none: {workflow: nowhere, publish-on-error: {n: <% task().result %>},
           on-error: noop}
"""
    )
    found = service.run("w")
    one, none = (service.task(found["id"], name) for name in ("one", "none"))
    assert (one["result"], none["result"]) == ("7", "[]")
    assert found["output"] == {"r": 7, "n": []}


def test_eng_026_keep_result_false_drops_it_after_publish(service: Service) -> None:
    service.upload(
        "w: {tasks: {t: {action: std.echo output=7, keep-result: false,"
        " publish: {r: <% task().result %>}}}}"
    )
    found = service.run("w")
    assert found["output"] == {"r": 7}
    assert service.action(found["id"], "t")["output"] == {}


# -- Who ----------------------------------------------------------------------


def test_eng_027_without_authentication_all_is_of_one_project(service: Service) -> None:
    service.upload(NESTED)
    id = service.start("top")
    found = [
        *service.get("executions")["executions"],
        *service.get("workflows")["workflows"],
    ]
    found += service.get("tasks")["tasks"]
    found += service.get("action_executions")["action_executions"]
    assert len(found) == 3 + 3 + 3 + 1
    assert {each["project_id"] for each in found} == {"<default-project>"}
    assert service.execution(id)["state"] == "RUNNING"


SEEN = """
top:
  tasks:
    t: {action: std.noop, publish: {all: <% $ %>}, on-success: u}
    u: {workflow: below}
below:
  tasks:
    t: {action: std.noop, publish: {all: <% $ %>}}
"""


def test_eng_028_without_authentication_there_is_no_creator(service: Service) -> None:
    service.upload(SEEN)
    assert "openstack" not in service.run("below")["output"]["all"]


def test_eng_028_lang_263_workflows_see_their_creator_and_no_token(
    service: Service,
) -> None:
    service.upload(SEEN)
    caller = Context(
        project_id=DEFAULT_PROJECT,
        user_id="u1",
        user_name="ann",
        roles=("member",),
        auth_token="canary",
    )
    house = service.house
    start = StartWorkflow(
        run_id=house.new_id(), workflow_name="top", context=caller.to_dict()
    )
    house.ask(start)
    house.settle()
    runs = house.rows(models.workflow_executions)
    assert [run["state"] for run in runs] == ["SUCCESS"] * 2
    for run in runs:
        [seen] = [
            task["published"]["all"]["openstack"]
            for task in house.rows(models.task_executions, name="t")
            if task["workflow_execution_id"] == run["id"]
        ]
        assert (seen["user"], seen["user_id"], seen["user_name"]) == ("u1", "u1", "ann")
        assert (seen["project_id"], seen["roles"]) == (DEFAULT_PROJECT, ["member"])
        assert (seen["auth_token"], seen["service_catalog"]) == ("***", "***")
    for table in models.metadata.sorted_tables:
        assert "canary" not in str(house.rows(table)), table.name


# -- Cost ---------------------------------------------------------------------


def test_eng_241_independent_no_op_tasks_are_one_turn(service: Service) -> None:
    """A hundred of them cost one decision and one commit, whatever the machine."""
    body = "".join(f"    t{number}: {{action: std.noop}}\n" for number in range(100))
    service.upload(f"w:\n  tasks:\n{body}")
    id = service.start("w")
    assert service.house.rows(models.outbox) == []
    found = service.execution(id)
    assert found["state"] == "SUCCESS"
    states = [t["state"] for t in service.house.rows(models.task_executions)]
    assert states == ["SUCCESS"] * 100
    assert [row["kind"] for row in service.house.rows(models.history)] == [
        "StartWorkflow"
    ]
