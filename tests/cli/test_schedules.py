"""``mistralctl schedule`` against a service that answers as told."""

from __future__ import annotations

import json

import pytest

ID = "0a1e5017-f4b0-4036-9098-66917812566e"
NEXT = {
    "planned_at": "2026-03-29 01:00:00",
    "due_at": "2026-03-29 01:00:07",
    "local_time": "2026-03-29 03:00:00",
    "utc_offset": "+02:00",
    "why": ["pattern 30 2 * * * in Europe/Berlin", "7 s later by jitter"],
}
FIRING = {
    "id": ID,
    "planned_at": "2026-03-28 01:30:00",
    "fired_by": "schedule",
    "outcome": "skipped",
    "reason": "the execution [x] has not ended",
    "execution_id": None,
    "state": None,
    "state_info": None,
    "created_at": "2026-03-28 01:30:00",
    "updated_at": None,
}
TRIGGER = {"id": ID, "name": "nightly", "enabled": True}
PATH = "/cron_triggers/nightly"


def test_all_triggers(service, control):
    row = {**TRIGGER, "workflow_name": "backup", "pattern": "0 3 * * *"}
    service.on("GET", "/cron_triggers", (200, {"cron_triggers": [row]}))
    result = control("schedule")
    assert result.exit_code == 0
    assert "nightly" in result.stdout and "0 3 * * *" in result.stdout
    assert service.requests[0].query["sort_keys"] == "next_execution_time,id"


def test_the_next_firings_and_why(service, control):
    service.on("GET", f"{PATH}/next", (200, {"firings": [NEXT]}))
    result = control("schedule", "nightly", "-n", "3")
    assert "2026-03-29 03:00:00 +02:00" in result.stdout
    assert "pattern 30 2 * * * in Europe/Berlin; 7 s later by jitter" in result.stdout
    assert service.requests[0].query == {"limit": "3"}
    result = control("schedule", "nightly", "-o", "json")
    assert json.loads(result.stdout) == [NEXT]


def test_a_trigger_that_fires_no_more(service, control):
    service.on("GET", f"{PATH}/next", (200, {"firings": []}))
    assert "it fires no more" in control("schedule", "nightly").stdout


def test_results(service, control):
    service.on("GET", f"{PATH}/firings", (200, {"firings": [FIRING]}))
    result = control("schedule", "nightly", "--results")
    assert "skipped" in result.stdout
    assert "the execution [x] has not ended" in result.stdout


@pytest.mark.parametrize(
    ("verb", "answer", "said"),
    [
        ("pause", {"enabled": False}, "nightly is paused"),
        (
            "resume",
            {"next_execution_time": "2026-03-29 01:00:00"},
            "nightly fires next at 2026-03-29 01:00:00 UTC",
        ),
        ("run", {"execution_id": ID}, f"started: {ID}"),
    ],
)
def test_what_one_does_with_a_trigger(service, control, verb, answer, said):
    service.on("POST", f"{PATH}/{verb}", (200, TRIGGER | answer))
    assert said in control("schedule", "nightly", f"--{verb}").stdout
    result = control("schedule", "nightly", f"--{verb}", "-o", "json")
    assert json.loads(result.stdout) == TRIGGER | answer


def test_backfill(service, control):
    service.on("POST", f"{PATH}/backfill", (201, {"firings": [FIRING]}))
    times = ("--backfill", "2026-03-01 00:00", "--until", "2026-03-08 00:00")
    assert control("schedule", "nightly", *times).exit_code == 0
    [asked] = service.asked("POST", f"{PATH}/backfill")
    assert asked.json == {"start": "2026-03-01 00:00", "end": "2026-03-08 00:00"}
    service.on("POST", f"{PATH}/backfill", (201, {"firings": []}))
    result = control("schedule", "nightly", *times)
    assert "it has fired for all of them" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nightly", "--run", "--pause"), "--pause and --run exclude each other"),
        (("--run",), "--run needs the name or id of a TRIGGER"),
        (("nightly", "--until", "x"), "--until is for --backfill"),
    ],
)
def test_what_makes_no_sense(control, arguments, said):
    result = control("schedule", *arguments)
    assert result.exit_code == 1
    assert said in result.output


def test_a_refusal_is_said(service, control):
    words = {"faultstring": "No cron trigger 'nightly'."}
    service.on("POST", f"{PATH}/run", (404, words))
    result = control("schedule", "nightly", "--run")
    assert result.exit_code == 1
    assert "No cron trigger 'nightly'." in result.output
