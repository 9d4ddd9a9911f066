"""What the dashboard's plug-in and Heat's resources ask of the service, with the
client library as they call it (spec/rest-api.md § 10.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from keystoneauth1 import session
from keystoneauth1.identity import v3
from mistralclient.api import base, client
from system.cloud import Cloud
from system.keystone import PASSWORD
from system.processes import until

pytestmark = pytest.mark.system

FORMAT = "%Y-%m-%d %H:%M:%S"
EVERYTHING = {"marker": "", "limit": 1000, "sort_keys": "", "sort_dirs": "asc"}
"""How the dashboard asks for lists; it pages by itself."""

WORKFLOWS = """\
version: '2.0'
greet:
  description: says something
  tags: [polite]
  input: [whom, {loud: false}]
  output: {said: <% $.said %>}
  tasks:
    say:
      action: std.echo output="hello <% $.whom %>"
      publish: {said: <% task().result %>}
waits:
  tasks:
    ask: {action: std.async_noop}
outer:
  tasks:
    below: {workflow: greet, input: {whom: x}}
"""
WORKBOOK = """\
version: '2.0'
name: book
tags: [a]
workflows:
  w: {tasks: {t: {action: std.noop}}}
"""
ACTION = "version: '2.0'\nshout: {base: std.echo output=<% $.a %>, input: [a]}\n"


@pytest.fixture(scope="module")
def dashboard(cloud: Cloud) -> Iterator[Any]:
    """With the token of who is logged in, and the URL of the catalogue."""
    ann = cloud.be("ann")
    yield client.client(
        username="ann",
        auth_token=ann.token,
        project_id=cloud.keystone.ids["red"],
        mistral_url=f"{cloud.service.root}/v2",
        endpoint_type="publicURL",
        service_type="workflowv2",
        enforce_raw_definition=False,
        cacert=None,
    )


@pytest.fixture(scope="module")
def heat(cloud: Cloud) -> Iterator[Any]:
    """With a session of Keystone; the client asks for tokens itself."""
    auth = v3.Password(
        auth_url=cloud.keystone.url,
        username="bob",
        password=PASSWORD.format("bob"),
        project_name="blue",
        user_domain_name="Default",
        project_domain_name="Default",
    )
    yield client.client(
        mistral_url=f"{cloud.service.root}/v2",
        session=session.Session(auth=auth),
        region_name="RegionOne",
    )


def ended(mistral: Any, execution: str) -> Any:
    def over() -> Any:
        found = mistral.executions.get(execution)
        return found if found.state not in ("IDLE", "RUNNING", "PAUSED") else None

    return until(over, 60, f"{execution} has ended")


def named(things: list[Any], name: str) -> Any:
    [found] = [each for each in things if each.name == name]
    return found


def assert_dates(thing: Any) -> None:
    """The dashboard parses both; the second may be missing."""
    datetime.strptime(thing.created_at, FORMAT)
    if getattr(thing, "updated_at", None) is not None:
        datetime.strptime(thing.updated_at, FORMAT)


def assert_json_text(thing: Any, *names: str) -> None:
    for name in names:
        text = getattr(thing, name)
        assert isinstance(text, str), name
        json.loads(text)


# -- The dashboard ------------------------------------------------------------


def test_rest_10_2_workbooks(dashboard: Any) -> None:
    books = dashboard.workbooks
    assert books.validate(WORKBOOK)["valid"] is True
    wrong = books.validate("version: '2.0'\nname: [x]\n")
    assert (wrong["valid"], bool(wrong["error"])) == (False, True)
    made = books.create(WORKBOOK)
    assert (made.name, made.tags) == ("book", ["a"])
    assert named(books.list(**EVERYTHING), "book").definition == WORKBOOK
    found = books.get("book")
    assert_dates(found)
    books.update(WORKBOOK.replace("[a]", "[a, b]"))
    assert books.get("book").tags == ["a", "b"]
    books.delete("book")
    with pytest.raises(base.APIException) as refused:
        books.get("book")
    assert refused.value.error_code == 404


def test_rest_10_2_workflows_and_the_form_to_execute_them(dashboard: Any) -> None:
    workflows = dashboard.workflows
    assert workflows.validate(WORKFLOWS)["valid"] is True
    workflows.create(WORKFLOWS)
    found = named(workflows.list(**EVERYTHING), "greet")
    assert workflows.get("greet").definition == found.definition
    assert (found.scope, found.tags) == ("private", ["polite"])
    assert_dates(found)
    # the form has a field for each part of it
    fields = dict(part.strip().partition("=")[::2] for part in found.input.split(","))
    assert fields == {"whom": "", "loud": '"False"'}
    [changed] = workflows.update(
        "version: '2.0'\nwaits: {tasks: {ask: {action: std.async_noop}}}\n"
    )
    assert_dates(changed)
    workflows.create("version: '2.0'\ngone: {tasks: {t: {action: std.noop}}}\n")
    workflows.delete("gone")
    assert "gone" not in {each.name for each in workflows.list(**EVERYTHING)}


def test_rest_10_2_actions(dashboard: Any) -> None:
    actions = dashboard.actions
    actions.create(ACTION)
    listed = actions.list(**EVERYTHING)
    mine, ours = named(listed, "shout"), named(listed, "std.echo")
    assert (mine.is_system, ours.is_system) == (False, True)
    assert (mine.input, mine.tags) == ("a", [])
    assert_dates(mine)
    assert actions.get("shout").definition == ACTION
    assert actions.get(mine.id).name == "shout", "the link in the list"
    actions.update(ACTION.replace("[a]", "[a, b]"))
    assert actions.get("shout").input == "a, b"
    ran = dashboard.action_executions.create(
        "shout", {"a": "hi", "b": ""}, save_result=True
    )
    done = until(
        lambda: (
            found
            if (found := dashboard.action_executions.get(ran.id)).state == "SUCCESS"
            else None
        ),
        60,
        "the action has run",
    )
    assert json.loads(done.output) == {"result": "hi"}
    dashboard.action_executions.delete(ran.id)
    actions.delete("shout")
    assert "shout" not in {each.name for each in actions.list(**EVERYTHING)}


def test_rest_10_2_executions_tasks_and_actions_of_them(dashboard: Any) -> None:
    executions = dashboard.executions
    workflow = dashboard.workflows.get("greet")
    made = executions.create(
        wf_identifier=workflow.name,
        workflow_input=json.dumps({"whom": "Ada"}),
        task_name="",
    )
    done = ended(dashboard, made.id)
    assert done.state == "SUCCESS"
    assert_json_text(done, "input", "output", "params")
    assert json.loads(done.params)["task_name"] == ""
    assert_dates(done)
    row = next(e for e in executions.list(**EVERYTHING) if e.id == made.id)
    assert (row.workflow_name, row.task_execution_id) == ("greet", None)
    assert row.state_info is None
    assert executions.update(made.id, None, "told").description == "told"
    [task] = dashboard.tasks.list(made.id)
    assert (task.name, task.type, task.workflow_name) == ("say", "ACTION", "greet")
    assert task.workflow_execution_id == made.id
    assert task.id in {each.id for each in dashboard.tasks.list(**EVERYTHING)}
    task = dashboard.tasks.get(task.id)
    assert_json_text(task, "result", "published")
    assert json.loads(task.result) == "hello Ada"
    [action] = dashboard.action_executions.list(task.id)
    assert (action.accepted, action.task_execution_id) == (True, task.id)
    assert (action.task_name, action.workflow_name) == ("say", "greet")
    assert action.id in {
        each.id for each in dashboard.action_executions.list(**EVERYTHING)
    }
    action = dashboard.action_executions.get(action.id)
    assert_json_text(action, "input", "output")
    assert hasattr(action, "tags")
    executions.delete(made.id)
    assert made.id not in {each.id for each in executions.list(**EVERYTHING)}


def test_rest_10_2_pages_of_sub_executions(dashboard: Any) -> None:
    """The page of a task of type WORKFLOW lists what it started."""
    made = dashboard.executions.create("outer", {})
    done = ended(dashboard, made.id)
    assert done.state == "SUCCESS", done.state_info
    [task] = dashboard.tasks.list(made.id)
    assert task.type == "WORKFLOW"
    listed = dashboard.executions.list(task.id, **EVERYTHING)
    assert [each.workflow_name for each in listed] == ["greet"]
    dashboard.executions.delete(made.id)


def test_rest_10_2_buttons_of_an_execution_and_an_action(dashboard: Any) -> None:
    executions = dashboard.executions
    made = executions.create("waits", {})
    assert executions.update(made.id, "PAUSED").state == "PAUSED"
    assert executions.update(made.id, "RUNNING").state == "RUNNING"

    def asks() -> Any:
        tasks = dashboard.tasks.list(made.id)
        return tasks and dashboard.action_executions.list(tasks[0].id)

    [action] = until(asks, 60, "the action waits")
    with pytest.raises(base.APIException) as refused:
        executions.delete(made.id)
    assert refused.value.error_code == 403
    dashboard.action_executions.update(action.id, "SUCCESS", json.dumps({"a": 1}))
    assert ended(dashboard, made.id).state == "SUCCESS"
    executions.delete(made.id)
    made = executions.create("waits", {})
    assert executions.update(made.id, "ERROR").state == "ERROR"
    executions.delete(made.id)


def test_rest_10_2_cron_triggers(dashboard: Any) -> None:
    triggers = dashboard.cron_triggers
    workflow = dashboard.workflows.get("waits").id
    made = triggers.create("yearly", workflow, {}, {}, "0 0 1 1 *", None, None)
    later = triggers.create("once", workflow, {}, {}, "", "2099-01-02 03:04", "1")
    assert (made.remaining_executions, later.remaining_executions) == (None, 1)
    found = named(triggers.list(**EVERYTHING), "once")
    for thing in (found, triggers.get("once")):
        assert thing.first_execution_time == "2099-01-02 03:04:00"
        assert thing.next_execution_time == "2099-01-02 03:04:00"
        assert_dates(thing)
    assert triggers.get("yearly").pattern == "0 0 1 1 *"
    for name in ("yearly", "once"):
        triggers.delete(name)
    assert triggers.list(**EVERYTHING) == []


# -- Heat ---------------------------------------------------------------------

STACK_WORKFLOW = """\
stack-flow-1:
  description: of a template
  input: [a]
  output: {resource_id: <% $.a %>}
  task-defaults: {retry: {count: 0, delay: 0}}
  tasks:
    one: {action: std.echo output=<% $.a %>, on-success: [two]}
    two: {action: std.noop}
  type: direct
version: '2.0'
"""


def test_heat_os_mistral_workflow(heat: Any) -> None:
    """Create, signal with input and parameters, look, update, delete."""
    made = heat.workflows.create(STACK_WORKFLOW)
    name = made[0].name
    assert name == "stack-flow-1"
    assert heat.workflows.get(name).name == name
    given = json.dumps({"a": "r-1"})
    run = heat.executions.create(name, workflow_input=given, env={"k": 1})
    done = ended(heat, run.id)
    assert json.loads(done.input) == {"a": "r-1"}
    assert json.loads(done.output) == {"resource_id": "r-1"}
    assert json.loads(done.params)["env"] == {"k": 1}
    changed = heat.workflows.update(STACK_WORKFLOW.replace("[a]", "[a, {b: 1}]"))
    assert changed[0].name == name
    assert changed[0].input == 'a, b="1"'
    heat.executions.delete(run.id)
    heat.workflows.delete(name)
    for gone in (lambda: heat.executions.get(run.id), lambda: heat.workflows.get(name)):
        with pytest.raises(base.APIException) as refused:
            gone()
        assert refused.value.error_code == 404


def test_heat_os_mistral_cron_trigger(heat: Any) -> None:
    heat.workflows.create(STACK_WORKFLOW)
    made = heat.cron_triggers.create(
        "stack-trigger-1",
        "stack-flow-1",
        pattern="0 0 1 1 *",
        workflow_input={"a": 1},
        first_time=None,
        count=3,
    )
    found = heat.cron_triggers.get(made.name)
    assert found.remaining_executions == 3
    assert found.next_execution_time.endswith("-01-01 00:00:00")
    heat.cron_triggers.delete(made.name)
    with pytest.raises(base.APIException) as refused:
        heat.cron_triggers.get(made.name)
    assert refused.value.error_code == 404
    heat.workflows.delete("stack-flow-1")


def test_heat_os_mistral_external_resource(heat: Any) -> None:
    """A workflow for each thing that becomes of a resource; its output names it."""
    heat.workflows.create(STACK_WORKFLOW)
    env = {"env": {"heat_extresource_data": {}}}
    given = json.dumps({"a": "r-2"})
    run = heat.executions.create(
        "stack-flow-1", workflow_input=given, description="an external one", **env
    )
    assert run.state in ("IDLE", "RUNNING", "PAUSED", "SUCCESS")
    done = ended(heat, run.id)
    assert (done.state, done.description) == ("SUCCESS", "an external one")
    assert json.loads(done.output)["resource_id"] == "r-2"
    failing = "version: '2.0'\nnope: {tasks: {t: {action: std.fail}}}\n"
    heat.workflows.create(failing)
    failed = ended(heat, heat.executions.create("nope", workflow_input="{}").id)
    assert failed.state == "ERROR"
    assert "Fail action expected exception" in failed.state_info
    for name in ("nope", "stack-flow-1"):
        heat.workflows.delete(name)


def test_nothing_of_it_surprised_the_service(cloud: Cloud) -> None:
    log = cloud.service.log()
    assert "Traceback" not in log, log
    assert " ERROR " not in log, log
