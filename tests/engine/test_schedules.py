"""Policies of cron triggers (decision 0039): the clock is moved, and REST tells what
became of it. The clock stands at 2020-01-02 03:04:05, a Thursday."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from house import House
from rest import Service
from servers import NoServer, fresh_database

from mistral.db import models
from mistral.lang.schedules import execution_id

WORKFLOWS = """\
version: '2.0'
quick:
  output: {at: <% execution().params.cron_params.planned_at %>}
  tasks:
    t: {action: std.noop}
slow:
  tasks:
    t: {action: std.async_noop}
"""
EVERY = "*/5 * * * *"

Make = Callable[..., dict[str, Any]]


everywhere = pytest.mark.parametrize(
    "service",
    [
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.services),
        pytest.param("mariadb", marks=pytest.mark.services),
    ],
    indirect=True,
)
"""Of a test that asks a database something that others do not."""


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    try:
        with fresh_database(getattr(request, "param", "sqlite"), tmp_path) as url:
            service = Service(tmp_path, url=url.render_as_string(hide_password=False))
            service.upload(WORKFLOWS)
            yield service
            service.close()
    except NoServer as missing:
        pytest.skip(str(missing))


def create(service: Service, workflow: str = "slow", **more: Any) -> dict[str, Any]:
    sent = {"name": "x", "workflow_name": workflow, "pattern": EVERY, **more}
    answer = service.api.post("/v2/cron_triggers", sent)
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


def do(service: Service, verb: str, body: Any = None, status: int = 201) -> Any:
    answer = service.api.post(f"/v2/cron_triggers/x/{verb}", body)
    assert answer.status == status, answer.body
    return answer.json


def to_time(house: House, text: str) -> None:
    """In steps of at most a minute, while the engine looks for what is due."""
    until = datetime.fromisoformat(text)
    while (left := (until - house.clock.now()).total_seconds()) > 0:
        house.clock.advance(min(left, 60))
        house.engine.sweeps[0].run_once()
        house.settle()


def skip_to(house: House, text: str) -> None:
    """Nobody is there meanwhile."""
    ahead = datetime.fromisoformat(text) - house.clock.now()
    house.clock.advance(ahead.total_seconds())
    house.engine = house.new_engine("later")
    house.sweep()


def outcomes(service: Service) -> list[tuple[str, str, str | None]]:
    """Of firings, the oldest first: planned time, outcome, state of the execution."""
    found = service.get("cron_triggers/x/firings")["firings"]
    return [
        (row["planned_at"][11:16], row["outcome"], row["state"])
        for row in reversed(found)
    ]


def end(service: Service, planned: str) -> None:
    """The asynchronous action of a firing's execution is answered."""
    [run] = [
        row["execution_id"]
        for row in service.get("cron_triggers/x/firings")["firings"]
        if row["planned_at"][11:16] == planned
    ]
    service.finish(service.action(run, "t")["id"])


# -- Overlap ------------------------------------------------------------------


def test_overlap_is_allowed_unless_said_otherwise(service: Service) -> None:
    create(service)
    to_time(service.house, "2020-01-02 03:10:00")
    assert outcomes(service) == [
        ("03:05", "started", "RUNNING"),
        ("03:10", "started", "RUNNING"),
    ]


def test_overlap_skip(service: Service) -> None:
    """A time that comes while a run has not ended is left out, and does not count."""
    create(service, overlap="skip", remaining_executions=2)
    to_time(service.house, "2020-01-02 03:10:00")
    end(service, "03:05")
    found = service.get("cron_triggers/x")
    assert found["remaining_executions"] == 1
    [skipped] = [
        row
        for row in service.get("cron_triggers/x/firings")["firings"]
        if row["outcome"] == "skipped"
    ]
    assert skipped["execution_id"] is None
    assert "has not ended" in skipped["reason"]
    to_time(service.house, "2020-01-02 03:14:00")
    assert outcomes(service) == [
        ("03:05", "started", "SUCCESS"),
        ("03:10", "skipped", None),
    ]
    to_time(service.house, "2020-01-02 03:15:00")
    assert service.api.get("/v2/cron_triggers/x").status == 404
    assert len(service.house.rows(models.workflow_executions)) == 2


@everywhere
def test_overlap_queue(service: Service) -> None:
    """Firings wait for each other, in order, and are told at once."""
    create(service, overlap="queue")
    to_time(service.house, "2020-01-02 03:15:00")
    assert outcomes(service) == [
        ("03:05", "started", "RUNNING"),
        ("03:10", "queued", None),
        ("03:15", "queued", None),
    ]
    end(service, "03:05")
    assert outcomes(service)[1:] == [
        ("03:10", "started", "RUNNING"),
        ("03:15", "queued", None),
    ]
    end(service, "03:10")
    end(service, "03:15")
    assert [row[2] for row in outcomes(service)] == ["SUCCESS"] * 3
    to_time(service.house, "2020-01-02 03:20:00")
    assert outcomes(service)[3:] == [("03:20", "started", "RUNNING")]
    assert service.house.examined() == []


def test_a_queue_goes_on_when_a_run_is_deleted(service: Service) -> None:
    """Nobody tells of that: the trigger looks once a minute."""
    create(service, overlap="queue")
    to_time(service.house, "2020-01-02 03:10:00")
    [run] = service.house.rows(models.workflow_executions)
    assert service.api.delete(f"/v2/executions/{run['id']}?force=true").status == 204
    to_time(service.house, "2020-01-02 03:11:00")
    assert outcomes(service)[1] == ("03:10", "started", "RUNNING")


def test_a_queue_goes_on_when_a_start_is_refused(service: Service) -> None:
    create(
        service,
        overlap="queue",
        workflow_params={"env": "later"},
        pattern="* * * * *",
    )
    to_time(service.house, "2020-01-02 03:05:00")
    [refused] = service.get("cron_triggers/x/firings")["firings"]
    assert refused["outcome"] == "refused"
    assert "later" in refused["reason"]
    given = {"name": "later", "variables": {"a": 1}}
    assert service.api.post("/v2/environments", given).status == 201
    to_time(service.house, "2020-01-02 03:06:00")
    assert outcomes(service)[1] == ("03:06", "started", "RUNNING")


@everywhere
def test_a_queue_ends_with_the_count(service: Service) -> None:
    """The count is of runs; what waits beyond it is forgotten with the trigger."""
    create(service, overlap="queue", remaining_executions=2)
    to_time(service.house, "2020-01-02 03:20:00")
    assert [row[1] for row in outcomes(service)] == ["started"] + ["queued"] * 3
    end(service, "03:05")
    assert service.api.get("/v2/cron_triggers/x").status == 404
    assert service.house.rows(models.cron_firings) == []
    to_time(service.house, "2020-01-02 03:40:00")
    assert len(service.house.rows(models.workflow_executions)) == 2
    assert service.house.examined() == []


def test_a_trigger_without_further_times_waits_for_its_queue(service: Service) -> None:
    create(service, overlap="queue", pattern="5-10/5 3 2 1 * 0 2020")
    to_time(service.house, "2020-01-02 03:12:00")
    assert service.get("cron_triggers/x")["next_execution_time"] is None
    assert service.get("cron_triggers/x/next") == {"firings": []}
    end(service, "03:05")
    assert service.api.get("/v2/cron_triggers/x").status == 404
    states = [row["state"] for row in service.house.rows(models.workflow_executions)]
    assert sorted(states) == ["RUNNING", "SUCCESS"]


@everywhere
def test_overlap_cancel_previous(service: Service) -> None:
    create(service, overlap="cancel-previous")
    to_time(service.house, "2020-01-02 03:15:00")
    assert outcomes(service) == [
        ("03:05", "started", "CANCELLED"),
        ("03:10", "started", "CANCELLED"),
        ("03:15", "started", "RUNNING"),
    ]
    first = service.get("cron_triggers/x/firings")["firings"][-1]
    assert "the next firing of its cron trigger came" in first["state_info"]


@everywhere
def test_a_run_that_has_not_begun_is_cancelled_too(service: Service) -> None:
    """Its start is told, and nobody has heard it yet."""
    house = service.house
    made = create(service, overlap="cancel-previous", pattern="* * * * *")
    house.clock.advance(60)
    house.engine.sweeps[0].run_once()
    assert house.engine.loop.run_once(timeout=0)
    # that engine is gone; the next firing comes before its leases end
    with house.database.begin() as connection:
        rows = models.outbox
        due = rows.update().where(rows.c.kind == "CronDue")
        connection.execute(due.values(lease_until=None))
    house.engine = house.new_engine("two")
    house.clock.advance(8)
    to_time(house, "2020-01-02 03:06:00")
    planned = [datetime(2020, 1, 2, 3, minute) for minute in (5, 6)]
    first, second = (execution_id(made["id"], each) for each in planned)
    states = {row["id"]: row["state"] for row in house.rows(models.workflow_executions)}
    assert states.get(first, "CANCELLED") == "CANCELLED"
    assert states[second] == "RUNNING"


# -- Missed times -------------------------------------------------------------


def test_catch_up_once_is_the_default(service: Service) -> None:
    create(service, "quick")
    skip_to(service.house, "2020-01-02 04:02:00")
    assert outcomes(service) == [("03:05", "started", "SUCCESS")]


def test_catch_up_skip(service: Service) -> None:
    create(service, "quick", catch_up="skip", remaining_executions=2)
    skip_to(service.house, "2020-01-02 04:02:00")
    assert outcomes(service) == [("03:05", "skipped", None)]
    found = service.get("cron_triggers/x")
    assert found["next_execution_time"] == "2020-01-02 04:05:00"
    assert found["remaining_executions"] == 2
    to_time(service.house, "2020-01-02 04:05:00")
    assert outcomes(service)[1:] == [("04:05", "started", "SUCCESS")]


def test_what_is_late_by_less_than_a_minute_was_not_missed(service: Service) -> None:
    create(service, "quick", catch_up="skip")
    skip_to(service.house, "2020-01-02 03:05:59")
    assert outcomes(service) == [("03:05", "started", "SUCCESS")]


@everywhere
def test_catch_up_all_within_a_window(service: Service) -> None:
    create(service, "quick", catch_up="all", catch_up_window=1200)
    skip_to(service.house, "2020-01-02 04:02:00")
    assert outcomes(service) == [
        ("03:05", "skipped", None),
        ("03:45", "started", "SUCCESS"),
        ("03:50", "started", "SUCCESS"),
        ("03:55", "started", "SUCCESS"),
        ("04:00", "started", "SUCCESS"),
    ]
    found = service.get("cron_triggers/x")
    assert found["next_execution_time"] == "2020-01-02 04:05:00"


def test_a_run_knows_the_time_that_it_was_planned_for(service: Service) -> None:
    create(service, "quick", catch_up="all")
    skip_to(service.house, "2020-01-02 03:12:00")
    found = service.get("cron_triggers/x/firings")["firings"]
    outputs = [service.execution(row["execution_id"])["output"] for row in found]
    assert outputs == [{"at": "2020-01-02 03:10:00"}, {"at": "2020-01-02 03:05:00"}]


# -- Time zones, jitter -------------------------------------------------------


def test_a_time_zone(service: Service) -> None:
    made = create(service, "quick", pattern="5 4 * * *", timezone="Europe/Berlin")
    assert made["next_execution_time"] == "2020-01-02 03:05:00"
    to_time(service.house, "2020-01-02 03:05:00")
    assert outcomes(service) == [("03:05", "started", "SUCCESS")]
    found = service.get("cron_triggers/x")
    assert found["next_execution_time"] == "2020-01-03 03:05:00"


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "../etc/passwd", "localtime", "x" * 64]
)
def test_what_is_no_time_zone(service: Service, name: str) -> None:
    sent = {"name": "y", "workflow_name": "quick", "pattern": EVERY, "timezone": name}
    answer = service.api.post("/v2/cron_triggers", sent)
    assert answer.status == 400
    assert "Expected a time zone of the IANA database" in answer.fault


def test_jitter_puts_off_within_its_bounds(service: Service) -> None:
    """Each firing by another time, and never beyond the next one."""
    house = service.house
    create(service, "quick", jitter=900)
    shown = service.get("cron_triggers/x/next?limit=12")["firings"]
    late = []
    for row in shown:
        planned = datetime.fromisoformat(row["planned_at"])
        late.append((datetime.fromisoformat(row["due_at"]) - planned).total_seconds())
    assert len(set(late)) > 6
    assert 0 <= min(late) <= max(late) < 300
    to_time(house, "2020-01-02 04:00:00")
    found = house.rows(models.workflow_executions)
    begun = sorted(str(row["created_at"])[:16] for row in found)
    due = [
        row["due_at"][:16] for row in shown if row["due_at"] <= "2020-01-02 04:00:00"
    ]
    assert [_minutes(text) for text in begun] == pytest.approx(
        [_minutes(text) for text in due], abs=1
    )


def _minutes(text: str) -> int:
    return int(text[11:13]) * 60 + int(text[14:16])


# -- What one may do ----------------------------------------------------------


@everywhere
def test_pause_and_resume(service: Service) -> None:
    """What it is paused for is not made up for."""
    house = service.house
    create(service, "quick", catch_up="all")
    assert do(service, "pause", status=200)["enabled"] is False
    assert do(service, "pause", status=200)["enabled"] is False
    to_time(house, "2020-01-02 03:21:00")
    assert outcomes(service) == []
    assert house.rows(models.outbox) == []
    [first, *_] = service.get("cron_triggers/x/next")["firings"]
    assert first["planned_at"] == "2020-01-02 03:25:00"
    assert "the trigger is paused: only if it is resumed" in first["why"]
    found = do(service, "resume", status=200)
    assert (found["enabled"], found["next_execution_time"]) == (
        True,
        "2020-01-02 03:25:00",
    )
    assert do(service, "resume", status=200) == found
    to_time(house, "2020-01-02 03:25:00")
    assert outcomes(service) == [("03:25", "started", "SUCCESS")]
    assert house.examined() == []


def test_a_trigger_may_be_made_paused(service: Service) -> None:
    create(service, "quick", enabled=False)
    to_time(service.house, "2020-01-02 03:11:00")
    assert outcomes(service) == []
    do(service, "resume", status=200)
    to_time(service.house, "2020-01-02 03:15:00")
    assert outcomes(service) == [("03:15", "started", "SUCCESS")]


def test_what_has_no_further_time_is_not_resumed(service: Service) -> None:
    create(service, pattern=None, first_execution_time="2020-01-02 03:06")
    do(service, "pause", status=200)
    to_time(service.house, "2020-01-02 03:07:00")
    answer = service.api.post("/v2/cron_triggers/x/resume")
    assert answer.status == 409
    assert "'x' has no further time" in answer.fault


def test_what_waits_begins_when_the_trigger_is_resumed(service: Service) -> None:
    create(service, overlap="queue")
    to_time(service.house, "2020-01-02 03:10:00")
    do(service, "pause", status=200)
    end(service, "03:05")
    to_time(service.house, "2020-01-02 03:13:00")
    assert outcomes(service)[1] == ("03:10", "queued", None)
    do(service, "resume", status=200)
    service.house.sweep()
    assert outcomes(service)[1] == ("03:10", "started", "RUNNING")


def test_run_now(service: Service) -> None:
    """Besides the schedule: the count stays, and so does the next time."""
    house = service.house
    made = create(service, "slow", overlap="skip", remaining_executions=2)
    found = do(service, "run")
    assert (found["fired_by"], found["outcome"]) == ("request", "started")
    house.sweep()
    run = service.execution(found["execution_id"])
    assert run["state"] == "RUNNING"
    assert run["params"]["cron_params"]["fired_by"] == "request"
    link = json.loads(run["description"])["triggered_by"]
    assert link == {"type": "cron_trigger", "id": made["id"]}
    assert service.get("cron_triggers/x")["remaining_executions"] == 2
    to_time(house, "2020-01-02 03:05:00")
    assert outcomes(service)[1] == ("03:05", "skipped", None)


def test_backfill(service: Service) -> None:
    house = service.house
    create(service, "quick")
    to_time(house, "2020-01-02 03:16:00")
    asked = {"start": "2020-01-02 02:50", "end": "2020-01-02 03:15"}
    found = do(service, "backfill", asked)["firings"]
    assert [row["planned_at"][11:16] for row in found] == ["02:50", "02:55", "03:00"]
    house.sweep()
    states = list(outcomes(service))
    assert states == [
        (f"{hour:02}:{minute:02}", "started", "SUCCESS")
        for hour, minute in ((2, 50), (2, 55), (3, 0), (3, 5), (3, 10), (3, 15))
    ]
    assert do(service, "backfill", asked) == {"firings": []}
    assert len(house.rows(models.workflow_executions)) == 6


@everywhere
def test_backfill_begins_with_the_first_time(service: Service) -> None:
    create(service, "quick", first_execution_time="2020-01-02 03:10")
    to_time(service.house, "2020-01-02 03:21:00")
    before = {"start": "2020-01-02 02:00", "end": "2020-01-02 03:10"}
    assert do(service, "backfill", before) == {"firings": []}
    # also what would be too long a range
    assert do(service, "backfill", {"start": "2010-01-02 02:00"}) == {"firings": []}
    found = service.get("cron_triggers/x/firings")["firings"]
    assert sorted(row["planned_at"][11:16] for row in found) == [
        "03:10", "03:15", "03:20",
    ]  # fmt: skip


@pytest.mark.parametrize("verb", ["run", "pause", "resume"])
def test_what_takes_nothing_says_so(service: Service, verb: str) -> None:
    create(service, "quick")
    path = f"/v2/cron_triggers/x/{verb}"
    answer = service.api.post(path, {"x": 1, "input": {}})
    assert answer.status == 400
    assert "Unknown or read-only attribute: input, x" in answer.fault
    assert service.api.post(path, [1]).status == 400
    assert service.house.rows(models.workflow_executions) == []
    assert service.api.post(path, "").status in (200, 201)
    assert service.api.post(path, {}).status in (200, 201)


@everywhere
def test_backfill_follows_the_policy(service: Service) -> None:
    """Where runs must not overlap, one after the other; and what was left out is made
    up for."""
    house = service.house
    create(service, overlap="skip")
    to_time(house, "2020-01-02 03:11:00")
    end(service, "03:05")
    found = do(service, "backfill", {"start": "2020-01-02 03:00"})["firings"]
    assert [row["outcome"] for row in found] == ["queued", "queued"]
    house.sweep()
    assert outcomes(service) == [
        ("03:00", "started", "RUNNING"),
        ("03:05", "started", "SUCCESS"),
        ("03:10", "queued", None),
    ]
    end(service, "03:00")
    assert outcomes(service)[2] == ("03:10", "started", "RUNNING")
    assert service.execution(_run_of(service, "03:10"))["params"]["cron_params"] == {
        "planned_at": "2020-01-02 03:10:00",
        "fired_by": "backfill",
    }


def _run_of(service: Service, planned: str) -> str:
    found = service.get("cron_triggers/x/firings")["firings"]
    [run] = [r["execution_id"] for r in found if r["planned_at"][11:16] == planned]
    return str(run)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "Expected 'start'"),
        ({"start": "yesterday"}, "Expected a time in UTC as YYYY-MM-DD HH:MM."),
        ({"start": "2020-01-02 03:00", "end": "2020-01-02 03:00"}, "begins before it"),
        ({"start": "2020-01-01 00:00", "end": "2020-01-09 00:00"}, "in the past"),
        ({"start": "2019-01-01 00:00"}, "more than 1000 times"),
    ],
)
def test_what_is_no_range(service: Service, asked: Any, said: str) -> None:
    create(service)
    answer = service.api.post("/v2/cron_triggers/x/backfill", asked)
    assert answer.status == 400
    assert said in answer.fault


# -- Next firings -------------------------------------------------------------


def test_the_next_firings_say_why(service: Service) -> None:
    create(
        service,
        pattern="30 2 * * *",
        timezone="Europe/Berlin",
        overlap="skip",
        first_execution_time="2020-03-27 01:30",
        remaining_executions=4,
    )
    found = service.get("cron_triggers/x/next")["firings"]
    assert [(row["local_time"], row["utc_offset"]) for row in found] == [
        ("2020-03-27 02:30:00", "+01:00"),
        ("2020-03-28 02:30:00", "+01:00"),
        ("2020-03-29 03:00:00", "+02:00"),
        ("2020-03-30 02:30:00", "+02:00"),
    ]
    assert found[0]["why"] == [
        "the first time that was asked for",
        "overlap: if the execution before has not ended, it is skipped",
        "1 of 4 that are left",
    ]
    assert found[2]["planned_at"] == "2020-03-29 01:00:00"
    assert found[2]["why"][:2] == [
        "pattern 30 2 * * * in Europe/Berlin",
        "clocks are put forward over the time of the pattern: it fires as soon as they"
        " are",
    ]


def test_the_hour_that_comes_twice(service: Service) -> None:
    create(
        service,
        pattern="30 2 * * *",
        timezone="Europe/Berlin",
        first_execution_time="2020-10-24 00:30",
    )
    found = service.get("cron_triggers/x/next?limit=3")["firings"]
    planned = [row["planned_at"] for row in found]
    assert planned[1:] == ["2020-10-25 00:30:00", "2020-10-26 01:30:00"]
    assert found[1]["why"][1:] == ["clocks show this time twice: the first time counts"]


def test_a_first_time_at_the_end_of_all_times(service: Service) -> None:
    create(
        service,
        first_execution_time="9999-12-31 23:59",
        timezone="Asia/Tokyo",
        jitter=60,
    )
    [only] = service.get("cron_triggers/x/next")["firings"]
    assert only["planned_at"] == only["local_time"] == "9999-12-31 23:59:00"


@everywhere
def test_the_firings_that_are_remembered(service: Service) -> None:
    house = service.house
    create(service, "quick", pattern="* * * * *")
    do(service, "backfill", {"start": "2020-01-02 01:00"})
    to_time(house, "2020-01-02 03:06:00")
    [sweep] = [each for each in house.engine.sweeps if each.name == "engine-expiry"]
    assert sweep.run_once()["firings"] == 27
    found = outcomes(service)
    assert len(found) == 100
    assert found[-1][0] == "03:06"


def test_an_engine_that_fires_late_is_told_of(service: Service) -> None:
    create(service)
    service.house.clock.advance(timedelta(minutes=2).total_seconds())
    [first, *_] = service.get("cron_triggers/x/next")["firings"]
    assert first["why"][-1] == "it is late: no engine has fired it yet"


def test_a_zone_that_an_engine_does_not_know(service: Service) -> None:
    """Its host has another database: the firing is tried again, and not lost."""
    house = service.house
    create(service, "quick", timezone="Europe/Berlin")
    with house.database.begin() as connection:
        connection.execute(models.cron_triggers.update().values(timezone="Moon/Sea"))
    to_time(house, "2020-01-02 03:05:00")
    assert [row["kind"] for row in house.rows(models.poison)] == ["CronDue"]
    with house.database.begin() as connection:
        connection.execute(models.cron_triggers.update().values(timezone="UTC"))
    to_time(house, "2020-01-02 04:05:00")
    assert outcomes(service)[0] == ("03:05", "started", "SUCCESS")
