"""The unmodified python-mistralclient against the embedded service: what each
command shows, and that it ends well (rest-api § 10)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from system.cloud import Cloud, Person
from system.embedded import Embedded, running_embedded
from system.keystone import CAST
from system.processes import until
from system.shells import SAID, commands

pytestmark = pytest.mark.system

WORKFLOWS = """\
version: '2.0'
child:
  input: [x]
  output: {doubled: <% $.d %>}
  tasks:
    double:
      action: std.echo output=<% $.x * 2 %>
      publish: {d: <% task().result %>}
parent:
  input: [n, {extra: 1}]
  output: {out: <% $.c %>}
  tasks:
    call:
      workflow: child x=<% $.n %>
      publish: {c: <% task().result.doubled %>}
"""

WAITING = """\
version: '2.0'
waiting:
  tasks:
    hold:
      action: std.async_noop
      on-success: after
    after:
      action: std.noop
"""

FRAGILE = """\
version: '2.0'
fragile:
  tasks:
    ask:
      action: std.async_noop
"""

WORKBOOK = """\
version: '2.0'
name: book
actions:
  greet:
    base: std.echo output="hello <% $.whom %>"
    input: [whom]
workflows:
  hello:
    input: [whom]
    output: {said: <% $.said %>}
    tasks:
      say:
        action: greet whom=<% $.whom %>
        publish: {said: <% task().result %>}
"""

ACTION = """\
version: '2.0'
shout:
  description: loud
  base: std.echo
  base-input: {output: "<% $.text %>!"}
  input: [text]
"""


def save(service: Embedded, name: str, text: str) -> str:
    path: Path = service.home / name
    path.write_text(text)
    return str(path)


def names(rows: list[dict[str, Any]]) -> set[str]:
    return {row["Name"] for row in rows}


def the_action(service: Embedded, execution: str) -> str:
    """The id of the only action execution of the only task so far."""
    (task,) = service.ok("task-list", execution)
    (action,) = service.ok("action-execution-list", task["ID"])
    return str(action["ID"])


def start(service: Embedded, name: str, *arguments: str) -> str:
    return str(service.ok("execution-create", name, *arguments)["ID"])


SPEAKERS = {"mistral": "ann", "openstack": "bob"}
"""Programs behind a Keystone, and who uses them: members of two projects."""


@pytest.fixture(scope="module", params=["plain", *SPEAKERS])
def embedded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Embedded]:
    """Without authentication, and as somebody whose client asks a real Keystone."""
    if request.param == "plain":
        with running_embedded(tmp_path_factory.mktemp("plain")) as service:
            yield service
        return
    cloud: Cloud = request.getfixturevalue("cloud")
    yield cloud.be(SPEAKERS[request.param], request.param)


@pytest.fixture(scope="module")
def service(embedded: Embedded) -> Embedded:
    for number, text in enumerate((WORKFLOWS, WAITING, FRAGILE)):
        embedded.ok("workflow-create", save(embedded, f"given-{number}.yaml", text))
    return embedded


def test_workflows(embedded: Embedded) -> None:
    text = "version: '2.0'\nmine:\n  input: [a]\n  tasks: {t: {action: std.noop}}\n"
    file = save(embedded, "mine.yaml", text)
    assert embedded.ok("workflow-validate", file) == {"Valid": True, "Error": None}
    (made,) = embedded.ok("workflow-create", file)
    assert (made["Name"], made["Input"], made["Scope"]) == ("mine", "a", "private")
    assert "mine" in names(embedded.ok("workflow-list"))
    assert embedded.ok("workflow-get", "mine")["ID"] == made["ID"]
    assert embedded.ok("workflow-get", made["ID"])["Name"] == "mine"
    assert embedded.tells("workflow-get-definition", "mine").strip() == text.strip()
    assert "already exists" in embedded.refuses("workflow-create", file)
    save(embedded, "mine.yaml", text.replace("[a]", "[a, {b: 2}]"))
    (changed,) = embedded.ok("workflow-update", file)
    assert (changed["ID"], changed["Input"]) == (made["ID"], 'a, b="2"')
    embedded.tells("workflow-delete", "mine")
    assert "mine" in embedded.refuses("workflow-get", "mine")
    broken = save(embedded, "broken.yaml", "version: '2.0'\nx: {tasks: {}}\n")
    report = embedded.ok("workflow-validate", broken)
    assert report["Valid"] is False
    assert "x.tasks (line 2" in report["Error"]
    assert "x.tasks (line 2" in embedded.refuses("workflow-create", broken)


def test_workbooks(embedded: Embedded) -> None:
    file = save(embedded, "book.yaml", WORKBOOK)
    assert embedded.ok("workbook-validate", file)["Valid"] is True
    made = embedded.ok("workbook-create", file)
    assert (made["Name"], made["Updated at"]) == ("book", None)
    assert names(embedded.ok("workbook-list")) == {"book"}
    assert embedded.ok("workbook-get", "book") == made
    shown = embedded.tells("workbook-get-definition", "book")
    assert shown.strip() == WORKBOOK.strip()
    execution = start(embedded, "book.hello", '{"whom": "Ada"}')
    embedded.reaches(execution, "SUCCESS")
    output = json.loads(embedded.tells("execution-get-output", execution))
    assert output == {"said": "hello Ada"}
    save(embedded, "book.yaml", WORKBOOK.replace("hello <%", "good day <%"))
    assert embedded.ok("workbook-update", file)["Updated at"] is not None
    embedded.tells("workbook-delete", "book")
    assert "book" in embedded.refuses("workbook-get", "book")


def test_actions(embedded: Embedded) -> None:
    file = save(embedded, "shout.yaml", ACTION)
    assert embedded.ok("action-validate", file)["Valid"] is True
    (made,) = embedded.ok("action-create", file)
    assert (made["Name"], made["Is system"], made["Input"]) == ("shout", False, "text")
    listed = names(embedded.ok("action-list"))
    assert {"shout", "std.echo", "std.http"} <= listed
    assert embedded.ok("action-get", "shout")["ID"] == made["ID"]
    assert embedded.ok("action-get", "std.echo")["Is system"] is True
    shown = embedded.tells("action-get-definition", "shout")
    assert shown.strip() == ACTION.strip()
    save(embedded, "shout.yaml", ACTION.replace("loud", "louder"))
    (changed,) = embedded.ok("action-update", file)
    assert (changed["ID"], changed["Description"]) == (made["ID"], "louder")
    told = embedded.tells("run-action", "shout", '{"text": "hi"}')
    assert json.loads(told) == {"result": "hi!"}
    embedded.tells("action-delete", "shout")
    assert "shout" in embedded.refuses("action-get", "shout")


def test_environments(embedded: Embedded) -> None:
    values = {"name": "lab", "description": "mine", "variables": {"a": 1}}
    file = save(embedded, "lab.json", json.dumps(values))
    made = embedded.ok("environment-create", file)
    assert (made["Name"], made["Description"]) == ("lab", "mine")
    assert json.loads(made["Variables"]) == {"a": 1}
    assert names(embedded.ok("environment-list")) == {"lab"}
    save(embedded, "lab.json", json.dumps(values | {"variables": {"a": 2}}))
    embedded.ok("environment-update", file)
    found = embedded.ok("environment-get", "lab")
    assert json.loads(found["Variables"]) == {"a": 2}
    embedded.tells("environment-delete", "lab")
    assert "lab" in embedded.refuses("environment-get", "lab")


def test_an_execution_and_what_it_left(service: Embedded) -> None:
    execution = start(service, "parent", '{"n": 4}', "-d", "why")
    service.reaches(execution, "SUCCESS")
    found = service.ok("execution-get", execution)
    assert (found["State"], found["Description"]) == ("SUCCESS", "why")
    assert found["Workflow name"] == "parent"
    given = json.loads(service.tells("execution-get-input", execution))
    assert given == {"n": 4, "extra": 1}
    output = json.loads(service.tells("execution-get-output", execution))
    assert output == {"out": 8}
    assert json.loads(service.tells("execution-get-published", execution)) == {}

    tree = service.ok("execution-get-sub-executions", execution)
    assert [row["Workflow name"] for row in tree] == ["parent", "child"]
    assert tree[1]["Root Execution ID"] == execution
    roots = service.ok("execution-list", "--rootsonly")
    assert execution in {row["ID"] for row in roots}
    assert tree[1]["ID"] not in {row["ID"] for row in roots}
    report = service.tells("execution-get-report", execution, "--no-errors-only")
    for line in ("task 'call' [SUCCESS]", "workflow 'child'", "action 'std.echo'"):
        assert line in report
    assert "in SUCCESS state: 2" in report
    numbers = service.tells("execution-get-report", execution, "--statistics-only")
    assert "task 'call'" not in numbers

    (task,) = service.ok("task-list", execution)
    assert service.ok("task-get", task["ID"])["State"] == "SUCCESS"
    result = json.loads(service.tells("task-get-result", task["ID"]))
    assert result == {"doubled": 8}
    published = json.loads(service.tells("task-get-published", task["ID"]))
    assert published == {"c": 8}
    (child,) = service.ok("execution-list", "--task", task["ID"])
    assert child["ID"] == tree[1]["ID"]
    (below,) = service.ok("task-get-sub-executions", task["ID"])
    assert below["ID"] == child["ID"]

    action = the_action(service, child["ID"])
    told = json.loads(service.tells("action-execution-get-input", action))
    assert told == {"output": 8}
    output = json.loads(service.tells("action-execution-get-output", action))
    assert output == {"result": 8}

    changed = service.ok("execution-update", execution, "-d", "told")
    assert changed["Description"] == "told"
    service.tells("execution-delete", execution)
    assert execution in service.refuses("execution-get", execution)


def test_pause_finish_by_hand_resume(service: Embedded) -> None:
    """Nothing new begins while paused; what ran may end."""
    execution = start(service, "waiting")
    paused = service.ok("execution-update", execution, "-s", "PAUSED")
    assert paused["State"] == "PAUSED"
    action = the_action(service, execution)
    assert service.ok("action-execution-get", action)["State"] == "RUNNING"
    done = service.ok(
        "action-execution-update", action, "--state", "SUCCESS", "--output", '{"a": 7}'
    )
    assert (done["State"], done["Accepted"]) == ("SUCCESS", True)
    output = json.loads(service.tells("action-execution-get-output", action))
    assert output == {"result": {"a": 7}}
    (hold,) = service.ok("task-list", execution)
    assert (hold["Name"], hold["State"]) == ("hold", "SUCCESS")
    assert service.ok("execution-get", execution)["State"] == "PAUSED"
    service.ok("execution-update", execution, "-s", "RUNNING")
    service.reaches(execution, "SUCCESS")
    assert names(service.ok("task-list", execution)) == {"hold", "after"}
    late = service.refuses("action-execution-update", action, "--state", "SUCCESS")
    assert "already completed" in late


def test_cancel_then_delete(service: Embedded) -> None:
    execution = start(service, "waiting")
    assert "Only completed" in service.refuses("execution-delete", execution)
    ended = service.ok("execution-update", execution, "-s", "CANCELLED")
    assert ended["State"] == "CANCELLED"
    wrong = service.refuses("execution-update", execution, "-s", "PAUSED")
    assert "CANCELLED to PAUSED" in wrong
    service.tells("execution-delete", execution)
    other = start(service, "waiting")
    service.tells("execution-delete", other, "--force")
    assert other in service.refuses("execution-get", other)


def test_rerun_after_an_error(service: Embedded) -> None:
    execution = start(service, "fragile")
    action = the_action(service, execution)
    why = json.dumps({"why": "no"})
    service.ok("action-execution-update", action, "--state", "ERROR", "--output", why)
    service.reaches(execution, "ERROR")
    report = service.tells("execution-get-report", execution)
    assert "task 'ask' [ERROR]" in report
    (task,) = service.ok("task-list", execution)
    again = service.ok("task-rerun", task["ID"])
    assert again["State"] == "RUNNING"

    def second() -> str | None:
        rows = service.ok("action-execution-list", task["ID"])
        return next((r["ID"] for r in rows if r["State"] == "RUNNING"), None)

    fresh = until(second, 30, "the action runs again")
    assert fresh is not None
    service.ok("action-execution-update", fresh, "--state", "SUCCESS")
    service.reaches(execution, "SUCCESS")
    assert "ERROR" in service.refuses("task-rerun", task["ID"])


def test_actions_on_their_own(service: Embedded) -> None:
    now = service.tells("run-action", "std.echo", '{"output": [1]}', "--run-sync")
    assert json.loads(now) == {"result": [1]}
    failed = service.tells("run-action", "std.fail", "--run-sync")
    assert "Fail action expected exception" in failed
    kept = service.ok("run-action", "std.async_noop", "--save-result")
    assert (kept["Name"], kept["State"]) == ("std.async_noop", "RUNNING")
    listed = service.ok("action-execution-list")
    assert kept["ID"] in {row["ID"] for row in listed}
    service.ok("action-execution-update", kept["ID"], "--state", "CANCELLED")
    found = service.ok("action-execution-get", kept["ID"])
    assert found["State"] == "CANCELLED"
    service.tells("action-execution-delete", kept["ID"])
    assert kept["ID"] in service.refuses("action-execution-get", kept["ID"])
    assert "no.such" in service.refuses("run-action", "no.such")


def test_cron_triggers(service: Embedded) -> None:
    """Each second twice: both runs come, and the trigger is gone (ENG-221)."""
    given = ("child", '{"x": 4}', "--params", '{"env": {"a": 1}}')
    pattern = ("--pattern", "0 0 1 1 *")
    made = service.ok("cron-trigger-create", "yearly", *given, *pattern)
    assert (made["Name"], made["Workflow"]) == ("yearly", "child")
    assert (made["Pattern"], made["Remaining executions"]) == ("0 0 1 1 *", None)
    assert made["Next execution time"].endswith("-01-01 00:00:00")
    assert made["Updated at"] is None
    assert service.ok("cron-trigger-list") == [made]
    assert service.ok("cron-trigger-get", "yearly") == made
    assert "yearly" in service.refuses(
        "cron-trigger-create", "yearly", *given, *pattern
    )
    assert "Pattern or" in service.refuses("cron-trigger-create", "never", *given)
    first = ("--first-time", "2099-01-02 03:04", "--utc")
    once = service.ok("cron-trigger-create", "once", *given, *first)
    assert (once["Remaining executions"], once["Pattern"]) == (1, "0 0 30 2 0")
    assert once["Next execution time"] == "2099-01-02 03:04:00"
    second = ("--pattern", "* * * * * *", "--count", "2")
    service.ok("cron-trigger-create", "seconds", *given, *second)

    def both() -> list[str]:
        about = "cron trigger '("
        found = [
            row["ID"]
            for row in service.ok("execution-list")
            if about in (row["Description"] or "")
        ]
        return found if len(found) == 2 else []

    for execution in until(both, 30, "both runs have come"):
        service.reaches(execution, "SUCCESS")
        output = json.loads(service.tells("execution-get-output", execution))
        assert output == {"doubled": 8}
    assert names(service.ok("cron-trigger-list")) == {"yearly", "once"}
    assert "cron triggers" in service.refuses("workflow-delete", "child")
    for name in ("yearly", "once"):
        service.tells("cron-trigger-delete", name)
    assert "yearly" in service.refuses("cron-trigger-get", "yearly")


def test_event_triggers(service: Embedded) -> None:
    workflow = service.ok("workflow-get", "parent")["ID"]
    source = ("nova", "notes", "compute.instance.create.end")
    given = ("on-boot", workflow, *source)
    made = service.ok(
        "event-trigger-create", *given, '{"n": 1}', "--params", '{"env": {"a": 1}}'
    )
    assert (made["Name"], made["Workflow ID"]) == ("on-boot", workflow)
    assert (made["Exchange"], made["Topic"], made["Event"]) == source
    assert (json.loads(made["Params"]), made["Updated at"]) == ({"env": {"a": 1}}, None)
    assert service.ok("event-trigger-list") == [made]
    assert service.ok("event-trigger-get", made["ID"]) == made
    assert "already" in service.refuses("event-trigger-create", *given, '{"n": 2}')
    assert "missing=['n']" in service.refuses("event-trigger-create", *given)
    assert "UUID" in service.refuses("event-trigger-get", "on-boot")
    assert made["ID"] in service.refuses("workflow-delete", "parent")
    service.tells("event-trigger-delete", made["ID"])
    assert made["ID"] in service.refuses("event-trigger-get", made["ID"])


CODE = """\
from mistral_lib import actions


class Greeter(actions.Action):
    def run(self, context):
        return "hello"
"""


def test_code_sources_and_dynamic_actions(embedded: Embedded) -> None:
    """For administrators alone."""
    admin = embedded
    file = save(embedded, "code.py", CODE)
    if isinstance(embedded, Person):
        admin = embedded.be("root")
        refused = embedded.refuses("code-source-create", "lib", file)
        assert "code_sources:create" in refused
        assert "code_sources:list" in embedded.refuses("code-source-list")
    source = admin.ok("code-source-create", "lib", file)
    assert names(admin.ok("code-source-list")) == {"lib"}
    assert admin.ok("code-source-get", "lib") == source
    assert admin.tells("code-source-get-content", "lib").strip() == CODE.strip()
    made = admin.ok("dynamic-action-create", "greet", "Greeter", "lib")
    assert (made["Class"], made["Code source ID"]) == ("Greeter", source["ID"])
    assert names(admin.ok("dynamic-action-list")) == {"greet"}
    assert admin.ok("dynamic-action-get", "greet") == made
    assert json.loads(admin.tells("run-action", "greet")) == {"result": "hello"}
    save(embedded, "code.py", CODE.replace("hello", "good day"))
    assert admin.ok("code-source-update", "lib", file)["ID"] == source["ID"]
    changed = admin.ok("dynamic-action-update", "greet", "--class-name", "Greeter")
    assert changed["ID"] == made["ID"]
    assert json.loads(admin.tells("run-action", "greet")) == {"result": "good day"}
    admin.tells("dynamic-action-delete", "greet")
    assert "greet" in admin.refuses("dynamic-action-get", "greet")
    admin.tells("code-source-delete", "lib")
    assert "lib" in admin.refuses("code-source-get", "lib")


def test_members(service: Embedded) -> None:
    """Shared by one project, accepted by another, taken back."""
    workflow = service.ok("workflow-get", "fragile")["ID"]
    what = (workflow, "workflow")
    if not isinstance(service, Person):
        assert "authentication" in service.refuses("member-create", *what, "blue")
        return
    other, keystone = service.other, service.keystone
    assert keystone is not None
    to = keystone.ids[CAST[other.name].project]
    made = service.ok("member-create", *what, to)
    assert (made["Member ID"], made["Status"]) == (to, "pending")
    assert service.ok("member-list", *what) == [made]
    assert service.ok("member-get", *what, "--member-id", to) == made
    assert workflow in other.refuses("workflow-get", workflow)
    accepted = other.ok("member-update", *what, "--member-id", to)
    assert accepted["Status"] == "accepted"
    assert other.ok("workflow-get", workflow)["ID"] == workflow
    assert "belongs to another project" in other.refuses("workflow-delete", workflow)
    assert "not shared by this" in other.refuses("member-delete", *what, to)
    service.tells("member-delete", *what, to)
    assert workflow in other.refuses("workflow-get", workflow)


def test_what_shells_complete(embedded: Embedded) -> None:
    known = embedded.tells("bash-completion").split()
    assert "workflow-create" in known


def test_every_command_has_been_said(
    embedded: Embedded, request: pytest.FixtureRequest
) -> None:
    """And each of them has succeeded at least once."""
    here = {name for name in globals() if name.startswith("test_")}
    selected = {
        item.function.__name__
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path
    }
    if selected < here:
        pytest.skip("some of the tests that say them were not asked for")
    said = SAID[embedded.speaker]
    known = {
        name
        for name, of_openstack in commands().items()
        if embedded.speaker != "openstack" or of_openstack
    }
    # without authentication there is nobody to share with
    known -= {
        name for name in known if embedded.speaker == "plain" and "member" in name
    }
    assert {name for name in known if 0 not in said.get(name, [])} == set()


def test_nothing_of_it_surprised_the_service(embedded: Embedded) -> None:
    """The last of the module: after all of the above."""
    log = embedded.log()
    assert "Traceback" not in log, log
    assert " ERROR " not in log, log
