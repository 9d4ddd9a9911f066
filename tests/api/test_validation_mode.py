"""``[api] validation_mode`` and ``skip_validation`` (§ 6.6, decision 0030)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rest import Service

from mistral.config import Settings

FAULTY = """
version: '2.0'
faulty:
  input: [a, {b: 1}]
  tags: [odd]
  tasks:
    t: {action: std.noop, on-success: nowhere}
"""
SOUND = """
version: '2.0'
sound:
  tasks:
    t: {action: std.noop}
"""
TWO = FAULTY + SOUND.replace("version: '2.0'\n", "")
BOOK = """
version: '2.0'
name: book
surplus: 1
workflows:
  faulty: {tasks: {t: {action: std.noop, wait-before: [1]}}}
  sound: {tasks: {t: {action: std.noop}}}
  user: {tasks: {t: {action: odd}}}
actions:
  odd: {base: [1]}
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Any]:
    services: list[Service] = []

    def make(mode: str) -> Service:
        settings = Settings()
        api = replace(settings.api, validation_mode=mode)
        services.append(Service(tmp_path, settings=replace(settings, api=api)))
        return services[-1]

    yield make
    for service in services:
        service.close()


FLAGS = ["skip_validation", "skip_validation=", "skip_validation=false"]


@pytest.mark.parametrize("flag", ["", *FLAGS])
def test_6_6_mandatory_always_validates(made: Any, flag: str) -> None:
    api = made("mandatory").api
    for method in ("POST", "PUT"):
        answer = api.request(method, f"/v2/workflows?{flag}", FAULTY)
        assert answer.status == 400
    assert api.post(f"/v2/workbooks?{flag}", BOOK).status == 400


@pytest.mark.parametrize("flag", FLAGS)
def test_6_6_enabled_validates_unless_the_flag_is_there(made: Any, flag: str) -> None:
    """A presence flag: every value of it means "skip"."""
    api = made("enabled").api
    assert api.post("/v2/workflows", FAULTY).status == 400
    answer = api.post(f"/v2/workflows?{flag}", FAULTY)
    assert answer.status == 201, answer.body
    [row] = answer.json["workflows"]
    assert (row["name"], row["input"], row["tags"]) == ("faulty", 'a, b="1"', ["odd"])
    assert row["interface"] == {"input": ["a", {"b": 1}], "output": []}
    assert row["definition"] == FAULTY
    assert api.put("/v2/workflows", FAULTY).status == 400
    again = FAULTY.replace("nowhere", "elsewhere")
    put = api.put(f"/v2/workflows?{flag}", again)
    assert put.status == 200, put.body
    assert put.json["workflows"][0]["definition"] == again
    shown = api.get("/v2/workflows/faulty").json
    assert shown["definition"] == again
    assert json.loads(shown["interface"])["input"] == ["a", {"b": 1}]


def test_6_6_strict_is_a_wish_to_validate(made: Any) -> None:
    api = made("disabled").api
    assert api.post("/v2/workflows?strict&skip_validation", FAULTY).status == 400


def test_6_6_actions_know_no_flag(made: Any) -> None:
    odd = "version: '2.0'\nodd: {base: [1]}\n"
    assert made("enabled").api.post("/v2/actions?skip_validation", odd).status == 400


def test_6_6_disabled_never_validates(made: Any) -> None:
    api = made("disabled").api
    assert api.post("/v2/workflows", FAULTY).status == 201
    assert api.post("/v2/workbooks", BOOK).status == 201
    odd = "version: '2.0'\nodd: {base: [1]}\n"
    assert api.post("/v2/actions", odd).status == 201
    names = {row["name"] for row in api.get("/v2/workflows").json["workflows"]}
    assert names == {"faulty", "book.faulty", "book.sound", "book.user"}
    assert api.get("/v2/actions/book.odd").status == 200
    judged = api.post("/v2/workflows/validate?skip_validation", FAULTY)
    assert judged.json["valid"] is False, "/validate always judges (§ 8.3)"


def test_6_6_what_is_valid_runs_and_what_is_not_is_refused_when_it_starts(
    made: Any,
) -> None:
    service = made("disabled")
    service.upload(TWO)
    assert service.run("sound")["state"] == "SUCCESS"
    refused = service.begin("faulty", {"a": 1})
    assert refused.status == 400
    assert "nowhere" in refused.fault
    assert "without validation" in refused.fault
    service.upload("caller:\n  tasks:\n    t: {workflow: faulty, input: {a: 1}}\n")
    failed = service.run("caller")
    assert failed["state"] == "ERROR"
    assert "nowhere" in failed["state_info"]


def test_6_6_a_member_of_a_workbook_that_is_not_valid_fails_its_task(
    made: Any,
) -> None:
    service = made("disabled")
    service.upload(BOOK, kind="workbooks")
    assert service.run("book.sound")["state"] == "SUCCESS"
    assert service.begin("book.faulty").status == 400
    failed = service.run("book.user")
    assert failed["state"] == "ERROR"
    assert "without validation" in failed["state_info"]
    alone = service.api.post("/v2/action_executions", {"name": "book.odd"})
    assert (alone.status, "without validation" in alone.fault) == (400, True)


def test_6_6_a_trigger_of_what_is_not_valid_still_checks_its_input(made: Any) -> None:
    service = made("disabled")
    service.upload(FAULTY)
    body = {"name": "c", "workflow_name": "faulty", "pattern": "* * * * *"}
    assert service.api.post("/v2/cron_triggers", body).status == 400
    body["workflow_input"] = {"a": 1}
    assert service.api.post("/v2/cron_triggers", body).status == 201


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "just text",
        "a: [",
        "version: '2.0'",
        "version: '2.0'\n'a b': {tasks: {t: {action: std.noop}}}",
        "version: '2.0'\n7: {}",
        "version: '2.0'\nw: {vars: {x: .inf}}",
        "a: &a [1]\nb: [*a, *a]",
    ],
)
def test_6_6_what_no_row_can_hold_is_400_also_unvalidated(made: Any, text: str) -> None:
    api = made("disabled").api
    for path in ("workflows", "actions"):
        assert api.post(f"/v2/{path}", text).status == 400
    assert api.post("/v2/workbooks", text).status == 400


@pytest.mark.parametrize(
    "text",
    [
        "w: {tasks: {t: {action: std.noop}}}",
        "version: '2.0'\nw: 5",
        "version: '2.0'\nw: [x]",
        "version: '2.0'\nw: null",
        "version: '2.0'\nw: {input: 5, tags: {a: 1}, tasks: {}}",
        "version: '2.0'\nw: {tasks: {t: {action: 'std.echo output=<% $. %>'}}}",
        "version: '2.0'\nw: {$faults: 7, tasks: {t: {action: std.noop}}}",
    ],
)
def test_6_6_anything_else_is_stored_and_shown(made: Any, text: str) -> None:
    service = made("disabled")
    service.upload(text if "version" in text else f"{text} # version: none")
    assert service.get("workflows/w")["name"] == "w"
    service.get("workflows")
    assert service.begin("w").status in (201, 400)
