"""Dynamic actions from REST to their result (engine.md §§ 8.10, 8.12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rest import Service

from mistral.config import Settings
from mistral.db import code_sources
from mistral.db.code_sources import KEPT_VERSIONS
from mistral.db.models import code_source_versions
from mistral.executors.runner import Runner

SOURCE = """\
from mistral_lib import actions


class Act(actions.Action):
    def __init__(self, number, factor={factor}):
        self.number, self.factor = number, factor

    def run(self, context):
        return [self.number * self.factor, context.execution.workflow_name]
"""

WORKFLOW = """\
w:
  input: [n]
  output: {got: <% task(t).result %>}
  tasks:
    t: {action: calc.act number=<% $.n %>}
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    settings = Settings()
    on = replace(settings.dynamic_actions, enabled=True)
    found = Service(tmp_path, settings=replace(settings, dynamic_actions=on))
    yield found
    found.close()


def source(service: Service, text: str, method: str = "POST") -> dict[str, Any]:
    name = "name" if method == "POST" else "identifier"
    answer = service.api.request(method, f"/v2/code_sources?{name}=lib", text)
    assert answer.status in (200, 201), answer.body
    return dict(answer.json)


def act(service: Service, name: str = "calc.act", class_name: str = "Act") -> None:
    body = {"name": name, "class_name": class_name, "code_source_name": "lib"}
    answer = service.api.post("/v2/dynamic_actions", body)
    assert answer.status == 201, answer.body


def test_sec_01_it_runs_in_workflows_and_alone(service: Service) -> None:
    source(service, SOURCE.format(factor=2))
    act(service)
    service.upload(WORKFLOW)
    run = service.run("w", {"n": 4})
    assert (run["state"], run["output"]) == ("SUCCESS", {"got": [8, "w"]})
    body = {"name": "calc.act", "input": {"number": 5, "factor": 3}}
    alone = service.api.post("/v2/action_executions", body)
    assert (alone.status, alone.json["state"]) == (201, "SUCCESS")
    assert alone.json["output"] == '{"result": [15, null]}'


def test_it_is_the_base_of_an_adhoc_action_which_wins(service: Service) -> None:
    source(service, SOURCE.format(factor=2))
    act(service)
    service.upload(
        "more: {base: calc.act, base-input: {number: 7}, output: '<% $[0] %>'}\n"
        "calc.other: {base: std.echo, base-input: {output: mine}}\n",
        "actions",
    )
    act(service, "calc.other")
    service.upload(
        "w:\n  output: {a: <% task(a).result %>, b: <% task(b).result %>}\n"
        "  tasks:\n    a: {action: more}\n    b: {action: calc.other}\n"
    )
    assert service.run("w")["output"] == {"a": 14, "b": "mine"}


def test_parameters_are_checked_without_running_it(service: Service) -> None:
    source(service, SOURCE.format(factor=2))
    act(service)
    service.upload("w:\n  tasks:\n    t: {action: calc.act factor=1 more=2}\n")
    run = service.run("w")
    assert run["state"] == "ERROR"
    assert (
        "Invalid input [name=calc.act, class=Act, missing=['number'],"
        " unexpected=['more']]" in run["state_info"]
    )
    assert service.actions(service.task(run["id"], "t")["id"]) == []


def test_an_update_is_picked_up_and_calls_keep_the_version_of_their_offer(
    service: Service,
) -> None:
    source(service, SOURCE.format(factor=2))
    act(service)
    service.upload(WORKFLOW)
    before = service.house.start("w", {"n": 4})
    house = service.house
    while not house.post.offers:
        house.turn()
        house.engine.deliver.offers.send_waiting()
    assert source(service, SOURCE.format(factor=10), "PUT")["version"] == 2
    house.settle()
    assert service.execution(before)["output"] == {"got": [8, "w"]}
    assert service.run("w", {"n": 4})["output"] == {"got": [40, "w"]}


def test_what_cannot_be_loaded_fails_the_task_and_nothing_else(
    service: Service,
) -> None:
    source(service, "import nowhere\n" + SOURCE.format(factor=2))
    act(service)
    service.upload(
        "w:\n  tasks:\n    t:\n      action: calc.act number=1\n"
        "      on-error: [after]\n    after: {action: std.noop}\n"
    )
    run = service.run("w")
    assert run["state"] == "SUCCESS"
    task = service.task(run["id"], "t")
    assert (task["state"], task["state_info"]) == (
        "ERROR",
        "Failed to instantiate an action [action_desc=calc.act,"
        " error=No module named 'nowhere']",
    )
    assert service.actions(task["id"]) == []
    listed = [action["name"] for action in service.get("actions")["actions"]]
    assert "calc.act" in listed


def test_a_source_that_is_gone_meanwhile_fails_the_task(service: Service) -> None:
    source(service, SOURCE.format(factor=2))
    act(service)
    service.upload(WORKFLOW)
    id = service.house.start("w", {"n": 4})
    house = service.house
    while not house.post.offers:
        house.turn()
        house.engine.deliver.offers.send_waiting()
    assert service.api.delete("/v2/code_sources/lib").status == 204
    house.settle()
    assert service.execution(id)["state"] == "ERROR"
    assert "is gone" in service.task(id, "t")["state_info"]
    assert "Failed to find action" in service.run("w", {"n": 4})["state_info"]


@pytest.mark.parametrize(
    ("given", "found"), [("", True), ("n", False)], ids=["its own", "another"]
)
def test_eng_8_10_only_the_given_namespace(
    service: Service, given: str, found: bool
) -> None:
    source(service, SOURCE.format(factor=2))
    act(service)
    body = {"name": "calc.act", "input": {"number": 1}, "workflow_namespace": given}
    assert service.api.post("/v2/action_executions", body).status == (
        201 if found else 400
    )


def test_private_ones_of_other_projects_are_not_found(service: Service) -> None:
    source(service, SOURCE.format(factor=2))
    act(service)
    with service.house.database.read() as connection:
        mine = code_sources.runnable(connection, "calc.act", "", "<default-project>")
        theirs = code_sources.runnable(connection, "calc.act", "", "other")
    assert mine is not None
    assert theirs is None


def test_sec_01_switched_off_it_cannot_be_found(
    tmp_path: Path, service: Service
) -> None:
    source(service, SOURCE.format(factor=2))
    act(service)
    off = Service(tmp_path)
    off.upload(WORKFLOW)
    run = off.run("w", {"n": 4})
    assert run["state"] == "ERROR"
    assert "Failed to find action [action_name=calc.act]" in run["state_info"]
    off.close()


def test_sec_01_an_executor_of_its_own_mind(service: Service) -> None:
    """Switched on for API and engine, off for this executor."""
    source(service, SOURCE.format(factor=2))
    act(service)
    service.upload(WORKFLOW)
    service.house.runner = Runner(service.house.registry)
    run = service.run("w", {"n": 4})
    assert "this executor runs no dynamic actions" in run["state_info"]


def test_old_versions_do_not_pile_up(service: Service) -> None:
    source(service, "pass")
    for _ in range(KEPT_VERSIONS + 2):
        source(service, "pass", "PUT")
    kept = [row["version"] for row in service.house.rows(code_source_versions)]
    assert sorted(kept) == list(range(4, KEPT_VERSIONS + 4))
