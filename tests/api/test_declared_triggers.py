"""Triggers that definitions have (decision 0040): they come, change and go with the
text. The clock stands at 2020-01-02 03:04:05."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from rest import Client, Response, Service
from servers import NoServer, fresh_database

from mistral.api.app import make_app
from mistral.config import Settings
from mistral.db import models
from mistral.keyring import Keyring

CRON = {"type": "cron", "pattern": "*/5 * * * *"}
EVENT = {"type": "event", "exchange": "e", "topic": "t", "event": "x.y"}
KEY = Fernet.generate_key().decode()
TASKS = {"t": {"action": "std.noop"}}

everywhere = pytest.mark.parametrize(
    "service",
    [
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.services),
        pytest.param("mariadb", marks=pytest.mark.services),
    ],
    indirect=True,
)


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    try:
        kind = getattr(request, "param", "sqlite")
        with fresh_database(kind, tmp_path) as url:
            service = Service(tmp_path, url=url.render_as_string(hide_password=False))
            yield service
            service.close()
    except NoServer as missing:
        pytest.skip(str(missing))


def text(triggers: Any, name: str = "w", **more: Any) -> str:
    body = {"input": [{"n": 1}], "tasks": TASKS, "triggers": triggers, **more}
    return json.dumps({"version": "2.0", name: body})


def book(triggers: Any, **members: Any) -> str:
    workflows = members or {"w": {"tasks": TASKS}}
    whole = {"version": "2.0", "name": "b", "workflows": workflows}
    return json.dumps({**whole, "triggers": triggers})


def upload(
    service: Service, body: str, kind: str = "workflows", namespace: str = ""
) -> None:
    answer = service.api.post(f"/v2/{kind}?namespace={namespace}", body)
    assert answer.status == 201, answer.body


def put(service: Service, triggers: Any, status: int = 200, **more: Any) -> Response:
    answer = service.api.put("/v2/workflows", text(triggers, **more))
    assert answer.status == status, answer.body
    return answer


def cron(service: Service) -> dict[str, dict[str, Any]]:
    found = service.get("cron_triggers")["cron_triggers"]
    return {row["name"]: row for row in found}


def events(service: Service) -> dict[str, dict[str, Any]]:
    found = service.get("event_triggers")["event_triggers"]
    return {row["name"]: row for row in found}


def to_time(service: Service, until: str) -> None:
    house = service.house
    moment = datetime.fromisoformat(until)
    while (left := (moment - house.clock.now()).total_seconds()) > 0:
        house.clock.advance(min(left, 60))
        house.engine.sweeps[0].run_once()
        house.settle()


# -- They come, change and go -------------------------------------------------


@everywhere
def test_triggers_come_and_go_with_their_workflow(service: Service) -> None:
    house = service.house
    both = {"tick": {**CRON, "input": {"n": 2}}, "told": EVENT}
    upload(service, text(both))
    [workflow] = service.get("workflows")["workflows"]
    [tick] = cron(service).values()
    assert (tick["name"], tick["workflow_name"]) == ("w.tick", "w")
    assert tick["workflow_input"] == '{"n": 2}'
    assert tick["next_execution_time"] == "2020-01-02 03:05:00"
    [told] = events(service).values()
    assert (told["name"], told["event"]) == ("w.told", "x.y")
    for row in (tick, told):
        assert row["definition_type"] == "workflow"
        assert row["definition_id"] == row["workflow_id"] == workflow["id"]
    to_time(service, "2020-01-02 03:05:00")
    [run] = house.rows(models.workflow_executions)
    assert (run["state"], run["input"]) == ("SUCCESS", {"n": 2})
    # one goes, one changes, one comes
    put(service, {"tick": {**CRON, "pattern": "0 * * * *"}, "tock": CRON})
    assert set(cron(service)) == {"w.tick", "w.tock"}
    found = cron(service)["w.tick"]
    assert found["id"] == tick["id"]
    assert found["next_execution_time"] == "2020-01-02 04:00:00"
    assert found["workflow_input"] == "{}"
    assert events(service) == {}
    assert house.examined() == []
    assert service.api.delete("/v2/workflows/w").status == 204
    assert cron(service) == {}
    assert house.rows(models.outbox) == []


@everywhere
def test_a_trigger_whose_text_stays_goes_on_as_it_was(service: Service) -> None:
    """Next time and count survive an update of all the rest."""
    upload(service, text({"tick": {**CRON, "count": 3}}))
    to_time(service, "2020-01-02 03:06:00")
    before = cron(service)["w.tick"]
    assert before["remaining_executions"] == 2
    put(service, {"tick": {**CRON, "count": 3}}, description="changed")
    assert cron(service)["w.tick"] == before
    # what says nothing of times changes nothing of times
    put(service, {"tick": {**CRON, "count": 3, "input": {"n": 7}, "jitter": 9}})
    found = cron(service)["w.tick"]
    assert found["remaining_executions"] == 2
    assert found["next_execution_time"] == before["next_execution_time"]
    assert (found["jitter"], found["workflow_input"]) == (9, '{"n": 7}')
    put(service, {"tick": {**CRON, "count": 5}})
    assert cron(service)["w.tick"]["remaining_executions"] == 5
    assert service.house.examined() == []


def test_a_trigger_that_is_used_up_stays_so(service: Service) -> None:
    """The same text once more is no new trigger."""
    once = {"type": "cron", "first": "2020-01-02 03:06"}
    upload(service, text({"once": once, "twice": {**CRON, "count": 2}}))
    to_time(service, "2020-01-02 03:12:00")
    assert len(service.house.rows(models.workflow_executions)) == 3
    for row in cron(service).values():
        assert row["next_execution_time"] is None
        assert row["remaining_executions"] == 0
    put(service, {"once": once, "twice": {**CRON, "count": 2}}, description="new")
    to_time(service, "2020-01-02 03:20:00")
    assert len(service.house.rows(models.workflow_executions)) == 3
    assert service.house.examined() == []
    put(service, {"twice": {**CRON, "count": 1}})
    to_time(service, "2020-01-02 03:26:00")
    assert len(service.house.rows(models.workflow_executions)) == 4


def test_enabled_is_pause_and_resume(service: Service) -> None:
    upload(service, text({"tick": {**CRON, "enabled": False}}))
    to_time(service, "2020-01-02 03:12:00")
    assert service.house.rows(models.workflow_executions) == []
    put(service, {"tick": CRON})
    assert cron(service)["w.tick"]["next_execution_time"] == "2020-01-02 03:15:00"
    to_time(service, "2020-01-02 03:15:00")
    assert len(service.house.rows(models.workflow_executions)) == 1
    put(service, {"tick": {**CRON, "enabled": False}})
    to_time(service, "2020-01-02 03:30:00")
    assert len(service.house.rows(models.workflow_executions)) == 1
    assert service.house.examined() == []


def test_triggers_of_a_workflow_that_is_renamed(service: Service) -> None:
    upload(service, text({"tick": CRON, "told": EVENT}))
    before = cron(service)["w.tick"]
    path = f"/v2/workflows/{before['workflow_id']}"
    renamed = text({"tick": CRON, "told": EVENT}, name="v")
    assert service.api.put(path, renamed).status == 200
    found = cron(service)["v.tick"]
    assert found["id"] == before["id"]
    assert found["workflow_name"] == "v"
    assert list(events(service)) == ["v.told"]
    to_time(service, "2020-01-02 03:05:00")
    [run] = service.house.rows(models.workflow_executions)
    assert run["workflow_name"] == "v"


@everywhere
def test_event_triggers_may_change_places(service: Service) -> None:
    other = {**EVENT, "event": "z"}
    upload(service, text({"a": EVENT, "b": other}))
    before = events(service)
    put(service, {"a": {**other, "input": {"n": "<% $.payload.n %>"}}, "b": EVENT})
    found = events(service)
    assert {name: row["event"] for name, row in found.items()} == {
        "w.a": "z",
        "w.b": "x.y",
    }
    assert found["w.a"]["id"] == before["w.a"]["id"]
    mapping = json.loads(found["w.a"]["input_mapping"])
    assert mapping == {"n": "<% $.payload.n %>"}
    assert found["w.b"]["input_mapping"] is None


@everywhere
def test_a_trigger_that_sends_a_message(service: Service) -> None:
    sends = {"name": "built", "key": "<% $.payload.sha %>", "execution-id": "r"}
    upload(service, text({"told": {**EVENT, "message": sends}}, input=["needed"]))
    told = events(service)["w.told"]
    stored = {"name": "built", "key": "<% $.payload.sha %>", "execution_id": "r"}
    assert json.loads(told["message"]) == stored
    assert told["input_mapping"] is None
    # another message, then none
    put(service, {"told": {**EVENT, "message": {"name": "go"}}}, input=["needed"])
    assert json.loads(events(service)["w.told"]["message"]) == {"name": "go"}
    put(service, {"told": {**EVENT, "input": {"n": "<% $.payload.n %>"}}})
    found = events(service)["w.told"]
    assert found["id"] == told["id"]
    assert found["message"] is None
    assert json.loads(found["input_mapping"]) == {"n": "<% $.payload.n %>"}
    # and back: it is the message alone
    put(service, {"told": {**EVENT, "message": {"name": "go"}}})
    found = events(service)["w.told"]
    assert json.loads(found["message"]) == {"name": "go"}
    assert found["input_mapping"] is None
    assert service.house.examined() == []


def test_namespaces(service: Service) -> None:
    upload(service, text({"tick": CRON}), namespace="n")
    upload(service, text({"tick": CRON}))
    assert set(cron(service)) == {"w.tick", "w.tick@n"}
    to_time(service, "2020-01-02 03:05:00")
    runs = service.house.rows(models.workflow_executions)
    assert sorted(run["workflow_namespace"] for run in runs) == ["", "n"]


# -- Workbooks ----------------------------------------------------------------


@everywhere
def test_triggers_of_a_workbook(service: Service) -> None:
    """Those of the workbook are its own, those of its workflows theirs."""
    one = {"tasks": TASKS, "triggers": {"inner": CRON}}
    two = {"input": ["n"], "tasks": TASKS}
    outer = {**CRON, "workflow": "two", "input": {"n": 5}}
    upload(service, book({"outer": outer}, one=one, two=two), "workbooks")
    found = cron(service)
    assert {name: row["workflow_name"] for name, row in found.items()} == {
        "b.one.inner": "b.one",
        "b.outer": "b.two",
    }
    assert found["b.outer"]["definition_type"] == "workbook"
    to_time(service, "2020-01-02 03:05:00")
    assert len(service.house.rows(models.workflow_executions)) == 2
    # a trigger keeps the member that it starts
    answer = service.api.delete("/v2/workflows/b.two")
    assert answer.status == 400
    assert "has cron triggers associated" in answer.fault
    changed = {**outer, "workflow": "three"}
    three = book({"outer": changed}, one=one, three=two)
    answer = service.api.put("/v2/workbooks?prune=true", three)
    assert answer.status == 200, answer.body
    assert [each["name"] for each in answer.json["pruned"]] == ["b.two"]
    assert cron(service)["b.outer"]["workflow_name"] == "b.three"
    assert cron(service)["b.outer"]["id"] == found["b.outer"]["id"]
    # the workflows outlive it, and so does what they have
    assert service.api.delete("/v2/workbooks/b").status == 204
    assert set(cron(service)) == {"b.one.inner"}
    assert service.house.examined() == []


def test_a_workbook_that_goes_with_all_that_it_has(service: Service) -> None:
    one = {"tasks": TASKS, "triggers": {"inner": CRON}}
    upload(service, book({"outer": CRON}, one=one), "workbooks")
    assert len(cron(service)) == 2
    assert service.api.delete("/v2/workbooks/b?cascade=true").status == 204
    assert cron(service) == {}
    assert service.get("workflows") == {"workflows": []}
    assert service.house.rows(models.outbox) == []


# -- What is refused ----------------------------------------------------------


def test_a_declared_trigger_changes_with_its_text_alone(service: Service) -> None:
    upload(service, text({"tick": CRON, "told": EVENT}))
    tick, told = cron(service)["w.tick"], events(service)["w.told"]
    said = f"is defined by the workflow {tick['workflow_id']}: change the text"
    for answer in (
        service.api.delete("/v2/cron_triggers/w.tick"),
        service.api.post("/v2/cron_triggers/w.tick/pause"),
        service.api.post("/v2/cron_triggers/w.tick/resume"),
        service.api.delete(f"/v2/event_triggers/{told['id']}"),
        service.api.put(f"/v2/event_triggers/{told['id']}", {"name": "x"}),
    ):
        assert answer.status == 409
        assert said in answer.fault
    assert (cron(service)["w.tick"], events(service)["w.told"]) == (tick, told)
    # to fire besides changes nothing of it
    assert service.api.post("/v2/cron_triggers/w.tick/run").status == 201


def test_nobody_says_over_rest_that_a_trigger_is_declared(service: Service) -> None:
    upload(service, text({}))
    sent = {"name": "x", "workflow_name": "w", "pattern": "* * * * *"}
    answer = service.api.post(
        "/v2/cron_triggers", sent | {"definition_type": "workflow"}
    )
    assert answer.status == 201
    assert answer.json["definition_type"] is None


def test_all_or_nothing(service: Service) -> None:
    """One trigger that cannot be made, and nothing of the upload is there."""
    upload(service, text({}, name="other"))
    taken = {"name": "v.tick", "workflow_name": "other", "pattern": "* * * * *"}
    assert service.api.post("/v2/cron_triggers", taken).status == 201
    whole = json.loads(text({"fine": CRON})) | json.loads(text({"tick": CRON}, "v"))
    answer = service.api.post("/v2/workflows", json.dumps(whole))
    assert answer.status == 409
    assert "The trigger 'v.tick' cannot be made" in answer.fault
    assert service.api.get("/v2/workflows/w").status == 404
    assert list(cron(service)) == ["v.tick"]
    # an update is undone as well
    upload(service, text({"fine": CRON}, name="v"))
    answer = put(service, {"fine": {**CRON, "count": 9}, "tick": CRON}, 409, name="v")
    assert cron(service)["v.fine"]["remaining_executions"] is None


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ({"type": "cron", "first": "2020-01-02 03:04"}, "'x' would never fire"),
        ({**CRON, "pattern": "0 0 30 2 *"}, "would never fire"),
        ({**CRON, "pattern": "0 0 1 1 * 0 2019"}, "'x' would never fire"),
        ({**CRON, "input": {"wat": 1}}, "declares no input 'wat'"),
        ({**CRON, "timezone": "Mars"}, "Expected a time zone"),
    ],
)
def test_what_cannot_become_a_trigger(
    service: Service, trigger: Any, said: str
) -> None:
    answer = service.api.post("/v2/workflows", text({"x": trigger}))
    assert answer.status == 400
    assert said in answer.fault
    assert service.api.get("/v2/workflows/w").status == 404


def test_a_name_with_a_namespace_has_an_end(service: Service) -> None:
    path = f"/v2/workflows?namespace={'n' * 100}"
    answer = service.api.post(path, text({"x" * 120: CRON}))
    assert answer.status == 400
    assert "has at most 200 characters" in answer.fault


def test_validation_looks_at_triggers(service: Service) -> None:
    odd = text({"x": {**CRON, "pattern": "61 * * * *"}})
    verdict = service.api.post("/v2/workflows/validate", odd).json
    assert verdict["valid"] is False
    [problem] = verdict["problems"]
    assert problem["path"] == "w.triggers.x.pattern"
    assert cron(service) == {}
    right = service.api.post("/v2/workflows/validate", text({"x": CRON})).json
    assert right["valid"] is True


def test_a_definition_that_is_stored_unread_has_no_triggers(tmp_path: Path) -> None:
    settings = Settings()
    settings = replace(settings, api=replace(settings.api, validation_mode="enabled"))
    service = Service(tmp_path, settings=settings)
    upload(service, text({"x": CRON}))
    odd = text({"x": {"type": "cron"}})
    path = "/v2/workflows?skip_validation=true"
    assert service.api.put(path, odd).status == 200
    assert cron(service) == {}
    service.close()


def test_a_first_time_of_before_does_not_matter_to_a_pattern(service: Service) -> None:
    upload(service, text({"x": {**CRON, "first": "2019-01-01 00:00"}}))
    found = cron(service)["w.x"]
    assert found["first_execution_time"] == "2019-01-01 00:00:00"
    assert found["next_execution_time"] == "2020-01-02 03:05:00"


def test_secrets_of_publishers_are_sealed(service: Service) -> None:
    """In the trigger; the text is its author's to keep."""
    services = replace(service.api.services, keyring=Keyring([KEY]))
    service.api = Client(make_app(services), services)
    hook = {"type": "webhook", "url": "https://example.org", "headers": {"X": "s3cr3t"}}
    upload(service, text({"x": {**CRON, "params": {"notify": [hook]}}}))
    assert "***" in cron(service)["w.x"]["workflow_params"]
    [row] = service.house.rows(models.cron_triggers)
    assert "s3cr3t" not in json.dumps(row, default=str)
    put(service, {"x": {**CRON, "params": {"notify": [hook]}}}, description="same")
    assert service.house.rows(models.cron_triggers) == [row]
