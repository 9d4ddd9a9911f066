"""Events over HTTP: who may send them, what they start, and what a repeat does."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cells import CELLS, Cell
from cryptography.fernet import Fernet
from rest import Client, Service

from mistral.api.app import make_app
from mistral.context import Context
from mistral.db import event_firings, models
from mistral.engine.sweeps import ExpirySweep
from mistral.keyring import Keyring
from mistral.messages import StartWorkflow

FLOWS = """
react:
  output: {of: <% execution().params.event_params.service %>}
  tasks: {t: {action: std.noop}}
build:
  input: [sha]
  output: {got: <% $.got %>}
  tasks:
    t:
      action: std.wait_for name="built" key=<% $.sha %>
      publish: {got: <% task().result %>}
"""
BODY = json.dumps({"sha": "abc", "ok": True})


@pytest.fixture(params=CELLS)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    cell: Cell = request.param
    with cell.world(Service, tmp_path) as service:
        service.upload(FLOWS)
        yield service


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    service.upload(FLOWS)
    yield service
    service.close()


def source(service: Service, **values: Any) -> Any:
    body = {"name": "forge", "kind": "hmac", **values}
    made = service.api.post("/v2/event_sources", body)
    assert made.status == 201, made.body
    return made.json


def trigger(service: Service, workflow: str = "react", **values: Any) -> str:
    [row] = service.house.rows(models.workflows, name=workflow)
    body = {
        "workflow_id": row["id"], "exchange": "http", "topic": "forge",
        "event": "push", **values,
    }  # fmt: skip
    made = service.api.post("/v2/event_triggers", body)
    assert made.status == 201, made.body
    return str(made.json["id"])


def signed(made: Any, body: str = BODY, key: str | None = None) -> dict[str, str]:
    secret = made["secret"] if key is None else key
    found = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
    return {
        "X-Hub-Signature-256": f"sha256={found}",
        "X-GitHub-Event": "push",
        "Content-Type": "application/json",
    }


def runs(service: Service, name: str = "react") -> list[dict[str, Any]]:
    service.house.sweep()
    return service.house.rows(models.workflow_executions, workflow_name=name)


def test_a_signed_event_starts_what_its_triggers_name_once(service: Service) -> None:
    made = source(service)
    trigger(service)
    headers = {**signed(made), "X-GitHub-Delivery": "d1"}
    for _ in range(2):
        answer = service.api.post(made["path"], BODY, headers=headers)
        assert (answer.status, answer.json) == (202, {"id": "d1", "event": "push"})
    [run] = runs(service)
    assert run["output"] == {"of": "forge"}
    assert service.api.delete(f"/v2/executions/{run['id']}").status == 204
    service.api.post(made["path"], BODY, headers=headers)
    assert runs(service) == [], "known also when the execution is gone"
    service.api.post(made["path"], BODY, headers={**headers, "X-GitHub-Delivery": "d2"})
    service.api.post(made["path"], BODY, headers=signed(made))
    assert len(runs(service)) == 2
    assert service.house.examined() == []


def test_it_is_forgotten_after_days(local: Service) -> None:
    made = source(local)
    trigger(local)
    headers = {**signed(made), "Idempotency-Key": "d1"}
    local.api.post(made["path"], BODY, headers=headers)
    assert len(runs(local)) == 1
    local.house.clock.advance(3 * 86_400 + 1)
    local.house.sweep()
    assert local.house.rows(models.heard_events) == []


@pytest.mark.parametrize("change", [
    {"X-Hub-Signature-256": "sha256=00"}, {"X-Hub-Signature-256": ""},
    {"X-Hub-Signature-256": "sha256=\xe9"}, {"X-Other": "x"},
])  # fmt: skip
def test_what_is_not_signed_is_refused(local: Service, change: dict[str, str]) -> None:
    made = source(local)
    trigger(local)
    headers = {**signed(made), **change}
    if "X-Other" in change:
        del headers["X-Hub-Signature-256"]
    answer = local.api.post(made["path"], BODY, headers=headers)
    wrong = local.api.post(made["path"], BODY + " ", headers=signed(made))
    unknown = made["path"][:-12] + "123456789012"
    nobody = local.api.post(unknown, BODY, headers=signed(made))
    empty = local.api.post(unknown, BODY, headers=signed(made, key=""))
    token = local.api.post("/v2/events/no-such-token", BODY, headers=signed(made))
    answers = [answer, wrong, nobody, empty, token]
    assert {each.status for each in answers} == {403}
    assert len({each.body for each in answers}) == 1, "nobody learns what there is"
    assert runs(local) == []


def test_a_token_in_the_path_or_in_a_header(local: Service) -> None:
    made = source(local, kind="token")
    trigger(local)
    [row] = local.house.rows(models.event_sources)
    assert made["secret"] not in json.dumps(row, default=str)
    given = {"Content-Type": "application/json"}
    path = f"{made['path']}?event=push"
    assert local.api.post(path, BODY, headers=given).status == 202
    by_id = f"/v2/events/{made['id']}?event=push"
    for name, value in (
        ("X-Gitlab-Token", made["secret"]),
        ("Authorization", f"Bearer {made['secret']}"),
    ):
        assert local.api.post(by_id, BODY, headers={**given, name: value}).status == 202
        wrong = {**given, name: value[:-1]}
        assert local.api.post(by_id, BODY, headers=wrong).status == 403
    assert len(runs(local)) == 3
    assert local.api.delete("/v2/event_sources/forge").status == 204
    assert local.api.post(path, BODY, headers=given).status == 403


def test_a_source_is_found_by_its_name(service: Service) -> None:
    """A name is a project's own: the one that the request fits is meant."""
    made = source(service)
    bell = source(service, name="bell", kind="token")
    trigger(service)
    given = {"Content-Type": "application/json"}
    path = "/v2/events/forge"
    assert service.api.post(path, BODY, headers=signed(made)).status == 202
    token = {**given, "Authorization": f"Bearer {bell['secret']}"}
    assert service.api.post("/v2/events/bell", BODY, headers=token).status == 202
    assert len(runs(service)) == 1
    refused = [
        service.api.post(path, BODY + " ", headers=signed(made)),
        service.api.post(path, BODY, headers=given),
        service.api.post(path, BODY, headers=signed(made, key="")),
        service.api.post(path, BODY, headers=token),
        service.api.post("/v2/events/FORGE", BODY, headers=signed(made)),
        service.api.post("/v2/events/bell", BODY, headers=given),
        service.api.post("/v2/events/bell", BODY, headers=signed(made)),
        service.api.post("/v2/events/absent", BODY, headers=signed(made)),
        service.api.post("/v2/events/absent", BODY, headers=signed(made, key="")),
        service.api.post(f"/v2/events/{'n' * 300}", BODY, headers=signed(made)),
    ]
    assert {each.status for each in refused} == {403}
    assert len({each.body for each in refused}) == 1, "nobody learns what there is"
    assert len(runs(service)) == 1


def _whose(request: Any, request_id: str) -> Context:
    return Context(project_id=request.headers["X-Test-Project"], request_id=request_id)


def test_of_sources_of_one_name_the_one_that_fits_is_meant(service: Service) -> None:
    api = Client(make_app(service.api.services, identify=_whose), service.api.services)
    made = {}
    for project, key in (("red", "r" * 20), ("blue", "b" * 20), ("green", "b" * 20)):
        body = {"name": "forge", "kind": "hmac", "secret": key}
        answer = api.be(project).post("/v2/event_sources", body)
        assert answer.status == 201, answer.body
        made[project] = answer.json
    path = "/v2/events/forge"
    red = {**signed(made["red"], key="r" * 20), "X-GitHub-Delivery": "1"}
    assert api.post(path, BODY, headers=red).status == 202
    # two of them have chosen the same: whose event it is nobody can tell
    for project in ("blue", "green"):
        headers = signed(made[project], key="b" * 20)
        assert api.post(path, BODY, headers=headers).status == 403
        assert api.post(made[project]["path"], BODY, headers=headers).status == 202


def test_sec09_secrets_are_never_shown_again_and_sealed(local: Service) -> None:
    keyring = Keyring([Fernet.generate_key().decode()])
    services = replace(local.api.services, keyring=keyring)
    api = Client(make_app(services), services)
    made = api.post("/v2/event_sources", {"name": "forge", "kind": "hmac"}).json
    trigger(local)
    [row] = local.house.rows(models.event_sources)
    assert made["secret"] not in json.dumps(row, default=str)
    for path in ("/v2/event_sources", "/v2/event_sources/forge"):
        assert made["secret"].encode() not in api.get(path).body
    assert api.post(made["path"], BODY, headers=signed(made)).status == 202
    assert len(runs(local)) == 1


def test_an_event_is_a_message_to_those_who_wait_for_it(service: Service) -> None:
    made = source(service)
    trigger(service, "build", message={
        "name": "built", "key": "<% $.payload.sha %>", "payload": "<% $.payload.ok %>",
    })  # fmt: skip
    mine, too, other = (service.start("build", {"sha": s}) for s in ("abc", "abc", "b"))
    headers = {**signed(made), "Ce-Id": "1"}
    for _ in range(2):
        assert service.api.post(made["path"], BODY, headers=headers).status == 202
        service.house.sweep()
    for run in (mine, too):
        assert service.execution(run)["output"] == {"got": True}
    assert service.execution(other)["state"] == "RUNNING"
    assert not service.house.rows(models.outbox)


def test_the_payload_becomes_the_input(service: Service) -> None:
    """What `input_mapping` gives goes before `workflow_input`, of which texts that
    look like expressions stay as they are."""
    service.upload("takes: {input: [n, m], tasks: {t: {action: std.noop}}}")
    made = source(service)
    given = {"n": "<% $.payload.ok %>", "m": "<% $.payload.ok %>"}
    trigger(
        service,
        "takes",
        workflow_input=given,
        input_mapping={"n": "<% $.payload.sha %>"},
    )
    id = trigger(service, "takes", event="all", input_mapping="<% $.payload %>")
    assert service.api.post(made["path"], BODY, headers=signed(made)).status == 202
    [run] = runs(service, "takes")
    assert run["input"] == {"n": "abc", "m": "<% $.payload.ok %>"}
    whole = json.dumps({"n": 1, "m": [2]})
    headers = {**signed(made, whole), "X-GitHub-Event": "all"}
    assert service.api.post(made["path"], whole, headers=headers).status == 202
    runs(service, "takes")
    [firing] = firings(service, id)
    assert service.execution(firing["execution_id"])["input"] == {"n": 1, "m": [2]}


DECLARED = """
hears:
  output: {got: <% task(t).result %>}
  triggers:
    built:
      type: event
      exchange: http
      topic: forge
      event: push
      message: {name: built, key: <% $.payload.sha %>, payload: <% $.payload.ok %>}
  tasks:
    t: {action: std.wait_for, input: {name: built, key: abc}}
"""


def test_a_message_that_a_definition_declares_is_heard(service: Service) -> None:
    made = source(service)
    service.upload(DECLARED)
    waits = service.start("hears")
    assert service.api.post(made["path"], BODY, headers=signed(made)).status == 202
    service.house.sweep()
    assert service.execution(waits)["output"] == {"got": True}
    assert service.house.examined() == []


# -- What came of them --------------------------------------------------------


def firings(service: Service, id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.get(f"event_triggers/{id}/firings")["firings"]
    return found


def tell(service: Service, made: Any, id: str, **payload: Any) -> None:
    body = json.dumps(payload)
    headers = {**signed(made, body), "X-GitHub-Delivery": id}
    answer = service.api.post(made["path"], body, headers=headers)
    assert answer.status == 202, answer.body


def said(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def test_a_start_by_an_event_is_remembered(service: Service) -> None:
    made, id = source(service), trigger(service)
    assert firings(service, id) == []
    for _ in range(2):
        tell(service, made, "d1")
    [run] = runs(service)
    [firing] = firings(service, id)
    assert said(firing, "event_id", "outcome", "state") == ("d1", "started", "SUCCESS")
    assert said(firing, "execution_id", "reached", "reason") == (run["id"], 1, None)
    service.house.clock.advance(1)
    tell(service, made, "d2")
    [latest] = service.get(f"event_triggers/{id}/firings?limit=1")["firings"]
    assert latest["event_id"] == "d2"
    # it goes with its trigger
    assert service.api.delete(f"/v2/event_triggers/{id}").status == 204
    assert service.house.rows(models.event_firings) == []


def test_a_start_that_is_refused_says_why(service: Service) -> None:
    """The workflow asks for an input since the trigger was made."""
    made, id = source(service), trigger(service)
    react = FLOWS.partition("build:")[0]
    text = react.replace("react:\n", "react:\n  input: [needed]\n")
    body = f"version: '2.0'\n{text}"
    assert service.api.put("/v2/workflows", body).status == 200
    tell(service, made, "d1")
    assert runs(service) == []
    [firing] = firings(service, id)
    assert said(firing, "outcome", "state") == ("refused", None)
    assert "needed" in firing["reason"]


def test_a_message_that_is_refused_says_by_whom_and_why(service: Service) -> None:
    made = source(service)
    id = trigger(service, "build", message={
        "name": "<% $.payload.name %>", "execution_id": "<% $.payload.run %>",
    })  # fmt: skip
    run = service.start("build", {"sha": "another"})
    tell(service, made, "taken", name="built", run=run)
    service.house.sweep()
    service.house.clock.advance(1)
    # what is addressed is not there, or no message can be made
    tell(service, made, "nobody", name="built", run="absent")
    service.house.clock.advance(1)
    tell(service, made, "no name", name="", run=run)
    service.house.clock.advance(1)
    cancelled = service.api.put(f"/v2/executions/{run}", {"state": "CANCELLED"})
    assert cancelled.status == 200
    tell(service, made, "late", name="built", run=run)
    service.house.sweep()
    late, wrong, nobody, taken = firings(service, id)
    shown = ("outcome", "reached", "execution_id", "state")
    assert said(taken, *shown) == ("sent", 1, run, "CANCELLED")
    assert said(nobody, *shown) == ("unheard", 0, None, None)
    assert "no execution with the id" in nobody["reason"]
    assert said(wrong, *shown) == ("failed", 0, None, None)
    assert "'name' is expected to be a text" in wrong["reason"]
    assert said(late, *shown) == ("refused", 1, run, "CANCELLED")
    assert late["reason"].startswith(f"Execution {run} is in CANCELLED")
    assert service.house.examined() == []


def test_a_message_that_nobody_waits_for_is_unheard(local: Service) -> None:
    made = source(local)
    id = trigger(local, "build", message={"name": "built", "key": "x"})
    for sha in ("x", "x", "y"):
        local.start("build", {"sha": sha})
    tell(local, made, "1")
    local.house.sweep()
    local.house.clock.advance(1)
    tell(local, made, "2")
    unheard, sent = firings(local, id)
    assert said(sent, "outcome", "reached", "execution_id") == ("sent", 2, None)
    assert said(unheard, "outcome", "reached") == ("unheard", 0)
    assert "waited for a message of this name and key" in unheard["reason"]


def test_parts_of_an_input_that_cannot_be_made_are_named(local: Service) -> None:
    local.upload(
        """
odd:
  input: [n, m]
  triggers:
    x:
      type: event
      exchange: http
      topic: forge
      event: push
      input: {n: <% $.payload.there %>, m: <% 1 / 0 %>}
  tasks: {t: {action: std.noop}}
"""
    )
    made = source(local)
    tell(local, made, "1", there=1)
    local.house.sweep()
    [row] = local.get("event_triggers")["event_triggers"]
    [firing] = firings(local, row["id"])
    assert said(firing, "outcome", "state") == ("started", "SUCCESS")
    assert firing["reason"].startswith("Input m is null: ")


def test_the_last_firings_are_kept(service: Service) -> None:
    id = trigger(service)
    now = service.house.clock.now()

    def row(number: int, of: str) -> dict[str, Any]:
        key = f"{of[:30]}{number:06}"
        at = now - timedelta(seconds=number)
        return event_firings.made(key, of, str(number), "started", at)

    with service.house.database.begin() as connection:
        made = [row(number, id) for number in range(event_firings.PAGE + 150)]
        gone = [row(number, "0" * 36) for number in range(3)]
        event_firings.keep(connection, [*made, *gone])
    ExpirySweep(service.house.database).run_once()
    found = service.house.rows(models.event_firings)
    kept = sorted(int(each["event_id"]) for each in found)
    assert kept == list(range(event_firings.KEPT))


# -- What cannot be -----------------------------------------------------------


def test_a_message_of_a_trigger_can_name_its_execution(local: Service) -> None:
    made = source(local)
    trigger(local, "build", message={
        "name": "early", "execution_id": "<% $.payload.id %>",
    })  # fmt: skip
    run = local.start("build", {"sha": "abc"})
    stranger = local.start("react")
    for id in (run, stranger, "no-such-id"):
        body = json.dumps({"id": id})
        local.api.post(made["path"], body, headers=signed(made, body))
    local.house.sweep()
    assert [m["name"] for m in local.get(f"executions/{run}/messages")["messages"]] == [
        "early"
    ]
    kinds = [row["kind"] for row in local.house.rows(models.outbox)]
    assert StartWorkflow.__name__ not in kinds, "nothing is started"


@pytest.mark.parametrize("wrong", [
    {"key": "a"}, {"name": ""}, {"name": "a", "more": 1}, {"name": "<% $. %>"},
])  # fmt: skip
def test_a_wrong_message_of_a_trigger_is_refused(local: Service, wrong: Any) -> None:
    [row] = local.house.rows(models.workflows, name="build")
    body = {"workflow_id": row["id"], "exchange": "e", "topic": "t", "event": "x"}
    answer = local.api.post("/v2/event_triggers", {**body, "message": wrong})
    assert (answer.status, "message" in answer.fault) == (400, True)


@pytest.mark.parametrize("wrong", [
    {"name": "a"}, {"kind": "hmac"}, {"name": "a", "kind": "other"},
    {"name": "a", "kind": "hmac", "secret": "short"},
    {"name": "a", "kind": "token", "secret": "x" * 20},
    {"name": "a", "kind": "hmac", "signature_header": "a b"},
    {"name": "a", "kind": "token", "signature_header": "X-A"},
])  # fmt: skip
def test_a_wrong_source_is_refused(local: Service, wrong: Any) -> None:
    assert local.api.post("/v2/event_sources", wrong).status == 400


def test_names_of_sources_are_a_projects_own(local: Service) -> None:
    source(local)
    again = local.api.post("/v2/event_sources", {"name": "forge", "kind": "token"})
    assert again.status == 409


@pytest.mark.parametrize(("body", "status"), [
    ("{", 400), ("", 202), ("[1]", 202), ("x" * (8 * 1024 * 1024 + 1), 413),
])  # fmt: skip
def test_bodies(local: Service, body: str, status: int) -> None:
    made = source(local)
    answer = local.api.post(made["path"], body, headers=signed(made, body))
    assert answer.status == status


def test_a_body_that_is_not_json_is_refused(local: Service) -> None:
    made = source(local)
    headers = {**signed(made), "Content-Type": "text/plain"}
    assert local.api.post(made["path"], BODY, headers=headers).status == 415


def test_in_maintenance_it_has_to_come_again(local: Service) -> None:
    made = source(local)
    local.api.put("/maintenance", {"status": "PAUSED"})
    assert local.api.post(made["path"], BODY, headers=signed(made)).status == 423
