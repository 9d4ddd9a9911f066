"""``mistralctl`` against a service that answers as told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mistral.cli.tree import execution_tree

ID = "0a1e5017-f4b0-4036-9098-66917812566e"
TASK = "74f201dc-66d3-445b-879e-303c627f8022"
FLOW = "version: '2.0'\n\nhello:\n  tasks:\n    t:\n      action: std.noop\n"


def execution(state: str) -> dict[str, object]:
    return {
        "id": ID,
        "workflow_name": "hello",
        "state": state,
        "state_info": None,
        "input": '{"who": "Ada"}',
        "output": '{"said": "Hello Ada"}',
        "created_at": "2026-11-21 01:00:00",
        "updated_at": "2026-11-21 01:00:05",
    }


def report(state: str, task_state: str) -> dict[str, object]:
    times = {"created_at": "2026-11-21 01:00:00", "updated_at": "2026-11-21 01:01:05"}
    return {
        "statistics": {"total_tasks_count": 1, "error_tasks_count": 0},
        "root_workflow_execution": {
            "id": ID,
            "name": "hello",
            "state": state,
            "state_info": None,
            **times,
            "task_executions": [
                {
                    "id": TASK,
                    "name": "greet",
                    "state": task_state,
                    "state_info": "no [such] host" if task_state == "ERROR" else None,
                    **times,
                    "action_executions": [],
                    "workflow_executions": [],
                }
            ],
        },
    }


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    file = tmp_path / "hello.yaml"
    file.write_text(FLOW)
    return file


def test_validate_says_what_is_wrong_and_fails(service, control, flow):
    wrong = {"valid": False, "error": "hello.tasks: expected a mapping"}
    service.on("POST", "/workflows/validate", (200, wrong))
    result = control("validate", str(flow))
    assert result.exit_code == 1
    assert "hello.tasks: expected a mapping" in result.stdout
    assert service.requests[0].body == FLOW


def test_validate_judges_the_others_when_one_file_is_not_there(service, control, flow):
    verdict = {"valid": False, "error": "line 3: no tasks"}
    service.on("POST", "/workflows/validate", (200, verdict))
    result = control("validate", "absent.yaml", str(flow), "-o", "json")
    assert result.exit_code == 1
    assert [one["error"] for one in json.loads(result.stdout)] == [
        "cannot read absent.yaml: No such file or directory",
        "line 3: no tasks",
    ]


def test_validate_of_a_valid_file_succeeds(service, control, flow):
    service.on("POST", "/workflows/validate", (200, {"valid": True}))
    result = control("validate", str(flow), "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)[0]["valid"] is True


def test_validate_prints_warnings_with_their_places(service, control, flow):
    warning = {
        "message": "'who' is never used",
        "path": "hello.input[0]",
        "line": 4,
        "column": 5,
        "rule": "LINT-42",
    }
    answer = {"valid": True, "warnings": [warning, {"message": "and 3 more"}]}
    service.on("POST", "/workflows/validate", (200, answer))
    result = control("validate", str(flow))
    assert result.exit_code == 0
    assert (
        f"{flow}:4:5: warning: hello.input[0]: 'who' is never used (LINT-42)\n"
        f"{flow}: warning: and 3 more\n"
    ) in result.stdout
    result = control("validate", str(flow), "-o", "json")
    assert json.loads(result.stdout)[0]["warnings"] == answer["warnings"]


def test_validate_may_be_strict(service, control, flow):
    wrong = {"valid": False, "error": "hello.input[0]: 'who' is never used"}
    service.on("POST", "/workflows/validate", (200, wrong))
    result = control("validate", str(flow), "--strict", "--namespace", "n")
    assert result.exit_code == 1
    assert service.requests[0].query == {"strict": "true", "namespace": "n"}


def test_upload_creates(service, control, flow):
    stored = {"workflows": [{"id": ID, "name": "hello"}]}
    service.on("POST", "/workflows", (201, stored))
    result = control("upload", str(flow), "--namespace", "n", "--public")
    assert result.exit_code == 0
    assert "created" in result.stdout
    assert service.requests[0].query == {"namespace": "n", "scope": "public"}


def test_upload_may_be_strict(service, control, flow):
    refusal = {"faultstring": "line 3: no action 'x'"}
    service.on("POST", "/workflows", (400, refusal))
    result = control("upload", str(flow), "--strict")
    assert result.exit_code == 1
    assert result.stderr == f"mistralctl: {flow}: line 3: no action 'x'\n"
    assert service.requests[0].query == {"strict": "true"}


BOOK = "version: '2.0'\nname: box\n"
GONE = {"kind": "workflow", "name": "box.old", "id": ID}


def test_lint_34_upload_shows_what_a_workbook_leaves_behind(service, control, tmp_path):
    file = tmp_path / "box.yaml"
    file.write_text(BOOK)
    service.on("POST", "/workbooks", (409, {"faultstring": "box exists"}))
    stored = {"id": TASK, "name": "box", "left_behind": [GONE]}
    service.on("PUT", "/workbooks", (200, stored))
    result = control("upload", str(file), "-o", "json")
    assert json.loads(result.stdout) == [
        {"kind": "workbook", "name": "box", "done": "updated", "id": TASK},
        {**GONE, "done": "left behind"},
    ]
    pruned = {"id": TASK, "name": "box", "pruned": [GONE]}
    service.on("PUT", "/workbooks", (200, pruned))
    result = control("upload", str(file), "--prune", "-o", "json")
    assert json.loads(result.stdout)[1] == {**GONE, "done": "deleted"}
    assert service.requests[-1].query == {"prune": "true"}


def test_prune_is_for_workbooks(service, control, flow):
    result = control("upload", str(flow), "--prune")
    assert result.exit_code == 1
    assert "--prune is for workbooks" in result.stderr
    assert service.requests == []


def test_upload_updates_what_exists(service, control, flow):
    service.on("POST", "/workflows", (409, {"faultstring": "hello exists"}))
    service.on("PUT", "/workflows", (200, {"workflows": [{"id": ID, "name": "hello"}]}))
    result = control("upload", str(flow))
    assert result.exit_code == 0
    assert "updated" in result.stdout


TWO = "version: '2.0'\naa:\n  tasks: {t: {action: std.noop}}\ntx:\n  tasks: {}\n"
TAKEN = "The trigger 'tx.m' cannot be made: A cron trigger 'tx.m' already exists."


def test_upload_says_which_part_of_a_file_exists(service, control, tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(TWO)
    said = "A workflow named 'aa' already exists."
    service.on("POST", "/workflows", (409, {"faultstring": said}))
    service.on("PUT", "/workflows", (404, {"faultstring": "No workflow 'tx'."}))
    service.on("GET", "/workflows/aa", (200, {"id": ID, "name": "aa"}))
    result = control("upload", str(file), "--namespace", "n")
    assert result.exit_code == 1
    assert "some of it exists and some does not" in result.stderr
    assert f"{said} No workflow 'tx'." in result.stderr
    [asked] = service.asked("GET", "/workflows/aa")
    assert asked.query == {"namespace": "n"}


@pytest.mark.parametrize("kind", ["workflows", "workbooks"])
def test_upload_of_what_is_new_says_what_is_in_its_way(
    service, control, tmp_path, kind
):
    file = tmp_path / "two.yaml"
    file.write_text(TWO)
    service.on("POST", f"/{kind}", (409, {"faultstring": TAKEN}))
    service.on("PUT", f"/{kind}", (404, {"faultstring": "No workflow 'aa'."}))
    result = control("upload", str(file), "--kind", kind)
    assert result.exit_code == 1
    assert result.stderr == f"mistralctl: {file}: {TAKEN}\n"


def test_a_refusal_is_one_line_without_a_traceback(service, control, flow):
    service.on("POST", "/workflows", (400, {"faultstring": "line 3: no tasks"}))
    result = control("upload", str(flow))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"mistralctl: {flow}: line 3: no tasks\n"


def test_no_service_is_said_plainly(control, service):
    result = control("executions", "--url", "http://127.0.0.1:1/v2")
    assert result.exit_code == 1
    assert "is mistral-server running?" in result.stderr


def test_an_address_without_its_version_is_suspected(service, control):
    root = service.url.removesuffix("/v2") + "/v1"
    result = control("executions", "--url", root)
    assert result.exit_code == 1
    assert f"Should the address end in /v2? It is {root}" in result.stderr
    assert "end in /v2?" not in control("executions").stderr


def test_an_answer_that_is_not_json_is_said_plainly(service, control):
    service.on("GET", "/executions", (200, b"<html>a proxy</html>"))
    result = control("executions")
    assert result.exit_code == 1
    assert "not JSON" in result.stderr


def test_run_merges_inputs_and_keeps_types(service, control, tmp_path):
    service.on("POST", "/executions", (201, execution("RUNNING")))
    more = tmp_path / "more.json"
    more.write_text('{"c": [1]}')
    options = ("--input", "a=1", "--input", '{"b": null}', "--input", f"@{more}")
    result = control("run", "hello", *options, "--input", "d=x=y", "--env", "prod")
    assert result.exit_code == 0
    sent = service.requests[0].json
    assert sent["workflow_name"] == "hello"
    assert sent["input"] == {"a": 1, "b": None, "c": [1], "d": "x=y"}
    assert sent["params"] == {"env": "prod"}


def test_run_of_a_file_uploads_it_first(service, control, flow):
    stored = {"workflows": [{"id": ID, "name": "hello"}]}
    service.on("POST", "/workflows", (201, stored))
    service.on("POST", "/executions", (201, execution("RUNNING")))
    assert control("run", str(flow)).exit_code == 0
    assert [r.path for r in service.requests] == ["/workflows", "/executions"]
    assert service.requests[1].json["workflow_name"] == "hello"


@pytest.mark.parametrize(("name", "said"), [("helo.yaml", True), ("helo", False)])
def test_run_of_a_file_that_is_not_there_says_so(service, control, name, said):
    service.on("POST", "/executions", (404, {"faultstring": "No such workflow."}))
    result = control("run", name)
    assert result.exit_code == 1
    assert "No such workflow." in result.stderr
    assert (f"There is no file {name} here, either." in result.stderr) == said


def test_run_says_once_which_input_cannot_be_read(service, control):
    result = control("run", "hello", "--input", "@none.json")
    assert result.exit_code == 1
    assert result.stderr == (
        "mistralctl: --input: cannot read 'none.json': No such file or directory\n"
    )


def test_run_refuses_an_input_that_is_nothing_known(service, control):
    result = control("run", "hello", "--input", "who")
    assert result.exit_code == 1
    assert "expected key=value" in result.stderr
    assert service.requests == []


@pytest.mark.parametrize(
    ("state", "code"), [("SUCCESS", 0), ("ERROR", 1), ("CANCELLED", 1)]
)
def test_watch_follows_to_the_end(service, control, state, code):
    service.on(
        "GET",
        f"/executions/{ID}/report",
        (200, report("RUNNING", "RUNNING")),
        (200, report(state, state)),
    )
    service.on("GET", f"/executions/{ID}", (200, execution(state)))
    result = control("watch", ID)
    assert result.exit_code == code
    assert "hello/greet: RUNNING" in result.stdout
    assert f"hello/greet: {state}" in result.stdout


def test_watch_outlives_a_short_absence_of_the_service(service, control):
    service.on(
        "GET",
        f"/executions/{ID}/report",
        (503, {"faultstring": "restarting"}),
        (200, report("SUCCESS", "SUCCESS")),
    )
    service.on("GET", f"/executions/{ID}", (200, execution("SUCCESS")))
    assert control("watch", ID).exit_code == 0


def test_show_draws_the_tree_with_durations_and_errors(service, control):
    service.on("GET", f"/executions/{ID}", (200, execution("ERROR")))
    service.on("GET", f"/executions/{ID}/report", (200, report("ERROR", "ERROR")))
    result = control("show", ID)
    assert result.exit_code == 0
    assert "greet" in result.stdout
    assert "1 min 5 s" in result.stdout
    assert "no [such] host" in result.stdout
    assert "Hello Ada" in result.stdout


@pytest.mark.parametrize(
    ("style", "read"), [("json", json.loads), ("yaml", yaml.safe_load)]
)
def test_show_for_programs_decodes_json_texts(service, control, style, read):
    service.on("GET", f"/executions/{ID}", (200, execution("SUCCESS")))
    service.on("GET", f"/executions/{ID}/report", (200, report("SUCCESS", "SUCCESS")))
    shown = read(control("show", ID, "-o", style).stdout)
    assert shown["output"] == {"said": "Hello Ada"}
    assert shown["tasks"][0]["name"] == "greet"


@pytest.mark.parametrize(
    ("verb", "state"),
    [("pause", "PAUSED"), ("resume", "RUNNING"), ("cancel", "CANCELLED")],
)
def test_moves_are_one_put(service, control, verb, state):
    service.on("PUT", f"/executions/{ID}", (200, execution(state)))
    assert control(verb, ID).exit_code == 0
    assert service.requests[0].json == {"state": state}


@pytest.mark.parametrize(
    ("word", "wanted", "now"),
    [
        ((), None, "RUNNING"),
        (("status",), None, "PAUSED"),
        (("on",), "PAUSED", "PAUSING"),
        (("off",), "RUNNING", "RUNNING"),
    ],
)
def test_maintenance_is_shown_begun_and_ended(service, control, word, wanted, now):
    service.on("PUT" if wanted else "GET", "/maintenance", (200, {"status": now}))
    result = control("maintenance", *word)
    assert (result.exit_code, result.stdout) == (0, f"{now}\n")
    [asked] = service.requests
    if wanted:
        assert asked.json == {"status": wanted}
    shown = control("maintenance", *word, "-o", "json")
    assert json.loads(shown.stdout) == {"status": now}


def test_maintenance_refused_to_others_is_said(service, control):
    fault = {"faultstring": "Policy doesn't allow maintenance:update."}
    service.on("PUT", "/maintenance", (403, fault))
    result = control("maintenance", "on")
    assert result.exit_code == 1
    assert "maintenance:update" in result.stderr


def test_cancel_keeps_the_reason(service, control):
    service.on("PUT", f"/executions/{ID}", (200, execution("CANCELLED")))
    control("cancel", ID, "--reason", "too late")
    assert service.requests[0].json["state_info"] == "too late"


def test_rerun_of_an_execution_finds_its_failed_task(service, control):
    task = {"id": TASK, "name": "greet", "workflow_name": "hello", "state": "ERROR"}
    service.on("GET", f"/executions/{ID}/tasks", (200, {"tasks": [task]}))
    service.on("PUT", f"/tasks/{TASK}", (200, task))
    assert control("rerun", ID, "--no-reset").exit_code == 0
    assert service.asked("PUT", f"/tasks/{TASK}")[0].json == {
        "state": "RUNNING",
        "reset": False,
    }


def test_skip_asks_which_task_when_several_failed(service, control):
    tasks = [
        {"id": "1", "name": "one", "state": "ERROR"},
        {"id": "2", "name": "two", "state": "ERROR"},
    ]
    service.on("GET", f"/executions/{ID}/tasks", (200, {"tasks": tasks}))
    service.on("PUT", "/tasks/2", (200, tasks[1]))
    refused = control("skip", ID)
    assert refused.exit_code == 1
    assert "one (1), two (2)" in refused.stderr
    assert "no failed task 'three' in" in control("skip", ID, "--task", "three").stderr
    assert control("skip", ID, "--task", "two").exit_code == 0
    assert service.asked("PUT", "/tasks/2")[0].json == {"state": "SKIPPED"}


def test_an_execution_may_have_an_id_of_its_own(service, control):
    """spec/rest-api.md § 9.1: clients may choose it; every command takes it."""
    own, path = "night.build-1_a", "/executions/night.build-1_a"
    found = report("ERROR", "ERROR")
    failed = {"id": TASK, "name": "greet", "state": "ERROR"}
    service.on("GET", path, (200, {**execution("ERROR"), "id": own}))
    service.on("GET", f"{path}/report", (200, found))
    service.on("GET", f"{path}/tasks", (200, {"tasks": [failed]}))
    service.on("GET", f"/tasks/{own}", (400, {"faultstring": "no task"}))
    service.on("PUT", f"/tasks/{TASK}", (200, {**failed, "state": "RUNNING"}))
    service.on("PUT", path, (200, {**execution("PAUSED"), "id": own}))
    for verb in ("report", "show", "rerun", "skip", "pause", "resume", "cancel"):
        assert control(verb, own).exit_code == 0, verb
    assert control("watch", own).exit_code == 1, "it did not succeed"
    said = "there is neither a task nor an execution with the id nightly"
    assert said in control("rerun", "nightly").stderr


def test_executions_are_listed_newest_first(service, control):
    service.on("GET", "/executions", (200, {"executions": [execution("SUCCESS")]}))
    result = control("executions", "--limit", "5", "--state", "success")
    assert ID in result.stdout
    assert service.requests[0].query == {
        "limit": "5",
        "sort_keys": "created_at",
        "sort_dirs": "desc",
        "state": "SUCCESS",
    }


def test_executions_in_a_state_that_does_not_exist_are_not_looked_for(service, control):
    result = control("executions", "--state", "broken")
    assert result.exit_code == 2
    assert "'paused', 'success', 'error'" in result.stderr.lower()
    assert service.requests == []


def test_report_shows_counts_and_tree(service, control):
    service.on("GET", f"/executions/{ID}/report", (200, report("SUCCESS", "SUCCESS")))
    result = control("report", ID)
    assert "total: 1" in result.stdout
    assert "greet" in result.stdout


def test_report_names_the_items_of_a_task(service, control):
    found = report("ERROR", "ERROR")
    [task] = found["root_workflow_execution"]["task_executions"]
    task["action_executions"] = [
        {"id": "a", "name": "std.http", "state": state, "accepted": True, "index": n}
        for n, state in enumerate(("SUCCESS", "ERROR"))
    ]
    service.on("GET", f"/executions/{ID}/report", (200, found))
    shown = control("report", ID).stdout
    assert "std.http[0]" in shown and "std.http[1]" in shown


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        (["CANCELLED"], [""]),
        (["ERROR"], [""]),
        (["ERROR", "CANCELLED"], ["tried again", ""]),
        (["ERROR", "ERROR", "SUCCESS"], ["tried again", "tried again", ""]),
        (["ERROR", "RUNNING"], ["tried again", ""]),
    ],
)
def test_only_what_was_tried_again_is_said_to_be(service, control, states, shown):
    found = report("ERROR", "ERROR")
    [task] = found["root_workflow_execution"]["task_executions"]
    task["action_executions"] = [
        {"id": f"a{n}", "name": "std.call", "state": state, "accepted": False,
         "created_at": f"2026-11-20 01:00:0{n}"}
        for n, state in enumerate(states)
    ]  # fmt: skip
    service.on("GET", f"/executions/{ID}/report", (200, found))
    lines = control("report", ID).stdout.splitlines()
    calls = [line for line in lines if "std.call" in line]
    assert ["tried again" if "tried again" in line else "" for line in calls] == shown


def test_archived_calls_have_an_order_of_their_own():
    calls = [
        {"id": "a", "name": "std.call", "state": "CANCELLED", "accepted": False,
         "item_index": 0, "created_at": "2026-11-20 01:00:05"},
        {"id": "b", "name": "std.call", "state": "ERROR", "accepted": False,
         "item_index": 0, "created_at": "2026-11-20 01:00:01"},
        {"id": "c", "name": "std.call", "state": "CANCELLED", "accepted": False,
         "item_index": 1, "created_at": "2026-11-20 01:00:01"},
    ]  # fmt: skip
    root = report("ERROR", "ERROR")["root_workflow_execution"]
    [task] = root["task_executions"]
    task["action_executions"] = calls
    [branch] = execution_tree(root, None).children
    told = [str(each.label) for each in branch.children]
    assert ["tried again" in each for each in told] == [False, True, False]


def test_items_are_tried_again_each_by_itself(service, control):
    found = report("ERROR", "ERROR")
    [task] = found["root_workflow_execution"]["task_executions"]
    task["action_executions"] = [
        {"id": f"a{n}", "name": "std.call", "state": "ERROR", "accepted": False,
         "index": index}
        for n, index in enumerate((0, 1, 1))
    ]  # fmt: skip
    service.on("GET", f"/executions/{ID}/report", (200, found))
    lines = control("report", ID).stdout.splitlines()
    [again] = [line for line in lines if "tried again" in line]
    assert "std.call[1]" in again
