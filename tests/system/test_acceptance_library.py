"""Acceptance over REST, fourth part: as programs use python-mistralclient.

A workflow of a namespace asks an ad-hoc action over ``std.async_noop``; the
library answers, pauses, reruns and reads what came of it, against one API, two
engines and two executors. Nothing waits longer than it takes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mistralclient.api import base, client
from servers import NoServer
from system.client import SECONDS
from system.processes import running_cluster, until

pytestmark = [pytest.mark.services, pytest.mark.system]

ACTIONS = """
version: '2.0'
ask:
  input: [question, {tone: kind}]
  base: std.async_noop
  output:
    answer: <% $.get(text, none) %>
"""
WORKFLOWS = """
version: '2.0'
interview:
  input: [people, {greeting: hello}]
  vars:
    room: <% env().get(room, hall) %>
  output: {all: <% $.answers %>, room: <% $.room %>}
  tasks:
    greet: {action: std.echo output=<% $.greeting %>, on-success: talk}
    talk:
      with-items: who in <% $.people %>
      concurrency: 2
      workflow: talk who=<% $.who %>
      publish: {answers: <% task().result.said %>}
      on-success: shared
    shared: {workflow: SHARED}
talk:
  input: [who]
  output: {said: <% $.said %>}
  output-on-error: {who: <% $.who %>}
  tasks:
    ask:
      action: ask question="how are you, <% $.who %>"
      publish: {said: <% task().result.answer %>}
"""
SHARED = "version: '2.0'\nSHARED: {tasks: {t: {action: ask question=1}}}\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    try:
        with running_cluster("postgresql", tmp_path_factory.mktemp("library")) as made:
            yield client.client(mistral_url=f"{made.root}/v2")
            assert made.tracebacks() == []
    except NoServer as missing:
        pytest.skip(str(missing))


class Interview:
    """A namespace of its own, and what a program does in it."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self.space = uuid.uuid4().hex
        self.shared = f"shared_{self.space[:8]}"
        service.workflows.create(SHARED.replace("SHARED", self.shared))
        service.actions.create(ACTIONS, namespace=self.space)
        made = service.workflows.create(
            WORKFLOWS.replace("SHARED", self.shared), namespace=self.space
        )
        assert sorted(each.name for each in made) == ["interview", "talk"]

    def start(self, *people: str, **params: Any) -> str:
        run = self.service.executions.create(
            "interview", self.space, {"people": people}, "who is there", **params
        )
        assert (run.state, run.workflow_namespace) == ("RUNNING", self.space)
        return str(run.id)

    def wait(self, run: str, state: str) -> Any:
        def found() -> Any:
            row = self.service.executions.get(run)
            return row if row.state == state else None

        return until(found, SECONDS, f"{run} is in {state}")

    def below(self, run: str, name: str, count: int) -> list[Any]:
        """Sub-workflows of that name, by index, when there are so many."""

        def found() -> Any:
            rows = self.service.executions.get_ex_sub_executions(run)
            rows = [row for row in rows if row.workflow_name == name]
            return rows if len(rows) == count else None

        rows = list(until(found, SECONDS, f"{count} of {name}"))
        return sorted(rows, key=lambda row: json.loads(row.params)["index"])

    def task(self, run: str, name: str, state: str) -> Any:
        def found() -> Any:
            rows = self.service.tasks.list(run, name=name, state=state)
            return rows[0] if rows else None

        return until(found, SECONDS, f"{name} is in {state}")

    def answer(self, run: str, text: str, state: str = "SUCCESS") -> None:
        """Answer what the only task of a run asks."""

        def found() -> Any:
            tasks = self.service.tasks.list(run, state="RUNNING")
            running = [
                action
                for task in tasks
                for action in self.service.action_executions.list(task.id)
                if action.state == "RUNNING"
            ]
            return running[0] if running else None

        action = until(found, SECONDS, f"{run} asks")
        given = self.service.action_executions.update(action.id, state, {"text": text})
        assert (given.state, given.name) == (state, "ask")

    def answer_shared(self, run: str) -> None:
        """The shared workflow lies in the default namespace, its action here."""
        [row] = self.below(run, self.shared, 1)
        assert row.workflow_namespace == ""
        self.answer(row.id, "fine")


@pytest.fixture
def interview(service: Any) -> Interview:
    return Interview(service)


def test_from_the_start_to_the_end(interview: Interview, service: Any) -> None:
    run = interview.start("Ann", "Bob", "Cem", env={"room": "<% 'no ' + str(7) %>"})
    first, second = interview.below(run, "talk", 2)
    assert json.loads(second.input) == {"who": "Bob"}
    interview.answer(second.id, "b")
    third = interview.below(run, "talk", 3)[2]
    interview.answer(third.id, "c")
    interview.answer(first.id, "a")
    interview.answer_shared(run)
    ended = interview.wait(run, "SUCCESS")
    assert json.loads(ended.output) == {"all": ["a", "b", "c"], "room": "no 7"}
    assert json.loads(ended.input) == {
        "people": ["Ann", "Bob", "Cem"], "greeting": "hello",
    }  # fmt: skip
    params = json.loads(ended.params)
    assert params == {"env": {"room": "no 7"}, "namespace": interview.space}
    talk = interview.task(run, "talk", "SUCCESS")
    result = json.loads(service.tasks.get(talk.id).result)
    assert [each["said"] for each in result] == ["a", "b", "c"]
    kids = service.tasks.get_task_sub_executions(talk.id)
    assert {kid.task_execution_id for kid in kids} == {talk.id}
    report = service.executions.get_report(run, errors_only=False)
    assert report["statistics"]["success_tasks_count"] == 7
    assert service.executions.get_report(run)["root_workflow_execution"][
        "task_executions"
    ] == []  # fmt: skip


def test_what_failed_is_rerun_with_another_environment(
    interview: Interview, service: Any
) -> None:
    run = interview.start("Ann", "Bob")
    first, second = interview.below(run, "talk", 2)
    interview.answer(first.id, "a")
    interview.answer(second.id, "not now", "ERROR")
    failed = interview.wait(run, "ERROR")
    assert failed.state_info.startswith("Failure caused by error in tasks: talk\n")
    talk = interview.task(run, "talk", "ERROR")
    result = json.loads(service.tasks.get(talk.id).result)
    assert result[0] == {"said": "a"}
    assert result[1]["who"] == "Bob"
    service.tasks.rerun(talk.id, reset=False, env={"room": "attic"})
    interview.wait(run, "RUNNING")
    again = interview.below(run, "talk", 3)[2]
    assert json.loads(again.params)["index"] == 1
    interview.answer(again.id, "b")
    interview.answer_shared(run)
    ended = interview.wait(run, "SUCCESS")
    # ``vars`` were evaluated at the start.
    assert json.loads(ended.output) == {"all": ["a", "b"], "room": "hall"}
    assert json.loads(ended.params)["env"] == {"room": "attic"}


def test_a_task_far_below_is_rerun(interview: Interview, service: Any) -> None:
    run = interview.start("Ann")
    [kid] = interview.below(run, "talk", 1)
    interview.answer(kid.id, "no", "ERROR")
    interview.wait(run, "ERROR")
    ask = interview.task(kid.id, "ask", "ERROR")
    assert json.loads(service.tasks.get(ask.id).result) == {"text": "no"}
    service.tasks.rerun(ask.id)
    interview.wait(run, "RUNNING")
    interview.wait(kid.id, "RUNNING")
    interview.answer(kid.id, "yes")
    interview.answer_shared(run)
    ended = interview.wait(run, "SUCCESS")
    assert json.loads(ended.output)["all"] == ["yes"]
    assert len(interview.below(run, "talk", 1)) == 1


@pytest.mark.parametrize("where", ["above", "below"])
def test_paused_resumed_and_cancelled(
    interview: Interview, service: Any, where: str
) -> None:
    run = interview.start("Ann", "Bob")
    kids = interview.below(run, "talk", 2)
    asked = run if where == "above" else kids[1].id
    service.executions.update(asked, "PAUSED")
    for id in (run, kids[0].id, kids[1].id):
        interview.wait(id, "PAUSED")
    with pytest.raises(base.APIException) as refused:
        service.executions.update(run, "SUCCESS")
    assert refused.value.error_code == 400
    service.executions.update(run, "RUNNING", env={"room": "cellar"})
    for id in (run, kids[0].id, kids[1].id):
        interview.wait(id, "RUNNING")
    service.executions.update(asked, "CANCELLED")
    ended = interview.wait(run, "CANCELLED")
    assert json.loads(ended.params)["env"] == {"room": "cellar"}
    assert json.loads(ended.output) == {"result": ended.state_info}
    service.executions.delete(run, force=None if where == "above" else True)
    with pytest.raises(base.APIException) as gone:
        service.executions.get(run)
    assert gone.value.error_code == 404


def test_a_run_is_started_from_another(interview: Interview, service: Any) -> None:
    run = interview.start(env={"room": "one"})
    interview.answer_shared(run)
    interview.wait(run, "SUCCESS")
    other = service.executions.create(source_execution_id=run, description="again")
    assert other.description == f"again Based on the execution '{run}'"
    assert json.loads(other.input) == json.loads(service.executions.get(run).input)
    interview.answer_shared(other.id)
    assert json.loads(interview.wait(other.id, "SUCCESS").output) == {
        "all": [], "room": "one",
    }  # fmt: skip


def test_lists_find_what_belongs_together(interview: Interview, service: Any) -> None:
    run = interview.start("Ann", "Bob")
    interview.below(run, "talk", 2)
    listed = service.executions.list(
        limit=100, sort_keys="created_at", sort_dirs="desc",
        workflow_namespace=interview.space,
    )  # fmt: skip
    assert {each.workflow_name for each in listed} == {"interview", "talk"}
    roots = service.executions.list(
        nulls="task_execution_id", workflow_namespace=interview.space
    )
    assert [each.id for each in roots] == [run]
    talk = interview.task(run, "talk", "RUNNING")
    kids = service.executions.list(task=talk.id)
    assert {each.workflow_name for each in kids} == {"talk"}
    failed = service.tasks.list(run, state="in:ERROR,CANCELLED")
    assert failed == []
    actions = service.action_executions.list(
        workflow_name="talk", state="RUNNING", limit=100
    )
    assert {each.name for each in actions} >= {"ask"}
    service.executions.update(run, "CANCELLED")
    interview.wait(run, "CANCELLED")


def test_definitions_of_a_namespace_come_and_go(
    interview: Interview, service: Any
) -> None:
    space = interview.space
    assert service.actions.get("ask", space).input == 'question, tone="kind"'
    found = service.workflows.get("talk", space)
    assert (found.input, found.namespace) == ("who", space)
    text = "version: '2.0'\ntalk: {tasks: {t: {action: std.noop}}}"
    [changed] = service.workflows.update(text, space)
    assert changed.definition == text
    book = f"version: '2.0'\nname: b\nworkflows:\n  w: {text.split(': ', 2)[2]}\n"
    assert service.workbooks.create(book, namespace=space).name == "b"
    assert service.workflows.get("b.w", space).checksum is None
    run = service.executions.create("b.w", space)
    interview.wait(run.id, "SUCCESS")
    calls: list[Callable[[], Any]] = [
        lambda: service.workbooks.delete("b", space),
        lambda: service.workflows.delete("b.w", space),
        lambda: service.workflows.delete("talk", space),
        lambda: service.actions.delete("ask", space),
    ]
    for call in calls:
        call()
        with pytest.raises(base.APIException) as gone:
            call()
        assert gone.value.error_code == 404
