"""Cron triggers at work: the clock is moved, and REST tells what became of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from house import House
from rest import Service
from servers import NoServer, fresh_database

from mistral.context import Context
from mistral.db import maintenance, models, triggers
from mistral.db.definitions import find_workflow
from mistral.db.owned import Author
from mistral.engine.core.cron import execution_id
from mistral.engine.server import EngineOptions, EngineServer

WORKFLOWS = """\
version: '2.0'
tick:
  input: [n, {m: 2}]
  output: {sum: <% $.n + $.m %>}
  tasks:
    t: {action: std.noop}
"""
EVERY = "*/5 * * * *"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The clock stands at 2020-01-02 03:04:05."""
    service = Service(tmp_path)
    service.upload(WORKFLOWS)
    yield service
    service.close()


def create(service: Service, name: str = "x", **more: Any) -> dict[str, Any]:
    sent = {"workflow_name": "tick", "workflow_input": {"n": 1}, "pattern": EVERY}
    answer = service.api.post("/v2/cron_triggers", {"name": name, **sent, **more})
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


def pass_time(house: House, seconds: int, step: int = 1) -> None:
    """Second by second, while the engine also looks for rows of others."""
    for _ in range(0, seconds, step):
        house.clock.advance(step)
        house.engine.sweeps[0].run_once()
        house.settle()


def to_time(house: House, text: str, step: int = 1) -> None:
    ahead = datetime.fromisoformat(text) - house.clock.now()
    pass_time(house, int(ahead.total_seconds()), step)


def starts(house: House) -> list[str]:
    """When runs were created, to the second."""
    found = house.rows(models.workflow_executions)
    return sorted(str(row["created_at"])[:19] for row in found)


def test_eng_221_a_count_of_n_fires_n_times_and_disappears(service: Service) -> None:
    house = service.house
    made = create(service, remaining_executions=3)
    to_time(house, "2020-01-02 03:05:00")
    assert starts(house) == ["2020-01-02 03:05:00"]
    shown = service.api.get(f"/v2/cron_triggers/{made['id']}").json
    assert shown["remaining_executions"] == 2
    assert shown["next_execution_time"] == "2020-01-02 03:10:00"
    assert shown["updated_at"] == "2020-01-02 03:05:00"
    to_time(house, "2020-01-02 03:40:00", step=5)
    times = ["2020-01-02 03:05:00", "2020-01-02 03:10:00", "2020-01-02 03:15:00"]
    assert starts(house) == times
    assert service.api.get("/v2/cron_triggers/x").status == 404
    assert house.rows(models.outbox) == []
    assert house.rows(models.poison) == []


def test_a_first_time_alone_fires_once(service: Service) -> None:
    house = service.house
    create(service, pattern=None, first_execution_time="2020-01-02 03:06")
    to_time(house, "2020-01-02 03:05:59")
    assert starts(house) == []
    pass_time(house, 1)
    assert starts(house) == ["2020-01-02 03:06:00"]
    assert service.api.get("/v2/cron_triggers").json == {"cron_triggers": []}


def test_a_first_time_then_the_pattern(service: Service) -> None:
    house = service.house
    create(service, first_execution_time="2020-01-02 03:07")
    to_time(house, "2020-01-02 03:11:00")
    assert starts(house) == ["2020-01-02 03:07:00", "2020-01-02 03:10:00"]


def test_seconds(service: Service) -> None:
    create(service, pattern="* * * * * */20")
    to_time(service.house, "2020-01-02 03:05:00")
    assert starts(service.house) == [
        "2020-01-02 03:04:20",
        "2020-01-02 03:04:40",
        "2020-01-02 03:05:00",
    ]


def test_near_firings_need_no_sweep(service: Service) -> None:
    """What is due within two seconds lies on the heap: nobody polls for it."""
    house = service.house
    create(service)
    to_time(house, "2020-01-02 03:04:58")
    assert starts(house) == []
    assert house.engine.deliver.next_due() is not None
    house.advance(1.9)
    assert starts(house) == []
    house.advance(0.1)
    assert starts(house) == ["2020-01-02 03:05:00"]
    house.advance(300)
    assert len(starts(house)) == 2


def test_eng_223_missed_firings_are_not_replayed(service: Service) -> None:
    """An hour without an engine: one firing, then the next match after now."""
    house = service.house
    create(service, remaining_executions=9)
    house.clock.advance(3600)
    house.engine = house.new_engine("two")
    house.sweep()
    assert starts(house) == ["2020-01-02 04:04:05"]
    shown = service.api.get("/v2/cron_triggers/x").json
    assert shown["next_execution_time"] == "2020-01-02 04:05:00"
    assert shown["remaining_executions"] == 8
    to_time(house, "2020-01-02 04:05:00")
    assert starts(house)[1:] == ["2020-01-02 04:05:00"]


def test_eng_224_a_run_tells_what_triggered_it(service: Service) -> None:
    house = service.house
    made = create(service, workflow_params={"env": {"k": 1}})
    to_time(house, "2020-01-02 03:05:00")
    [row] = house.rows(models.workflow_executions)
    found = service.execution(row["id"])
    assert json.loads(found["description"]) == {
        "description": f"Workflow execution created by cron trigger '({made['id']})'.",
        "triggered_by": {"type": "cron_trigger", "id": made["id"]},
    }
    assert (found["state"], found["output"]) == ("SUCCESS", {"sum": 3})
    assert (found["input"], found["params"]["env"]) == ({"n": 1, "m": 2}, {"k": 1})
    assert found["project_id"] == "<default-project>"
    assert found["id"] == execution_id(made["id"], datetime(2020, 1, 2, 3, 5))


def test_the_link_survives_another_description(service: Service) -> None:
    """§ 10.3: the description can be edited, the link cannot."""
    house = service.house
    made = create(service)
    to_time(house, "2020-01-02 03:05:00")
    [row] = house.rows(models.workflow_executions)
    assert service.change(row["id"], description="mine").status == 200
    link = house.header(row["id"])["internals"]["triggered_by"]
    assert link == {"type": "cron_trigger", "id": made["id"]}


def test_a_deleted_trigger_fires_no_more(service: Service) -> None:
    """Not even where its next firing lies on an engine's heap."""
    house = service.house
    create(service)
    to_time(house, "2020-01-02 03:05:00")
    assert service.api.delete("/v2/cron_triggers/x").status == 204
    to_time(house, "2020-01-02 03:20:00", step=5)
    assert len(starts(house)) == 1
    assert house.rows(models.outbox) == []


def test_a_firing_that_is_told_already_happens_without_the_trigger(
    service: Service,
) -> None:
    house = service.house
    create(service)
    house.clock.advance(60)
    house.engine.sweeps[0].run_once()
    assert house.engine.loop.run_once(timeout=0)
    assert service.api.delete("/v2/cron_triggers/x").status == 204
    house.settle()
    assert len(starts(house)) == 1


def test_a_stale_firing_is_dropped(service: Service) -> None:
    """A row for another time than the trigger's next one changes nothing."""
    house = service.house
    create(service)
    with house.database.begin() as connection:
        author = Author(Context(), house.clock.now(), house.new_id)
        [row] = house.rows(models.cron_triggers)
        triggers.arm(connection, author, row, datetime(2020, 1, 2, 3, 4, 30))
    to_time(house, "2020-01-02 03:04:50")
    assert starts(house) == []
    to_time(house, "2020-01-02 03:05:10")
    assert starts(house) == ["2020-01-02 03:05:00"]


def test_a_refused_start_is_a_warning_and_the_trigger_goes_on(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    house = service.house
    made = create(service, workflow_params={"env": "nowhere"})
    with caplog.at_level(logging.WARNING, logger="mistral.engine"):
        to_time(house, "2020-01-02 03:10:00")
    assert starts(house) == []
    said = [r.getMessage() for r in caplog.records if r.name == "mistral.engine.turn"]
    assert len(said) == 2
    assert f"tick of cron trigger {made['id']} was not started" in said[0]
    assert house.rows(models.poison) == []
    assert (
        service.api.post(
            "/v2/environments", {"name": "nowhere", "variables": {"a": 1}}
        ).status
        == 201
    )
    to_time(house, "2020-01-02 03:15:00")
    assert starts(house) == ["2020-01-02 03:15:00"]


def test_a_workflow_that_is_gone_is_a_warning(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Another name by an update: the trigger goes by the old one (§ 9.4)."""
    house = service.house
    made = create(service)
    renamed = WORKFLOWS.replace("tick:", "tock:")
    path = f"/v2/workflows/{made['workflow_id']}"
    assert service.api.put(path, renamed).status == 200
    to_time(house, "2020-01-02 03:05:00")
    assert starts(house) == []
    assert "Failed to find workflow [name=tick]" in caplog.text
    assert house.rows(models.cron_triggers) != []


def test_a_pattern_that_ends_ends_the_trigger(service: Service) -> None:
    house = service.house
    create(service, pattern="5 3 2 1 * 0 2020")
    to_time(house, "2020-01-02 03:05:00")
    assert len(starts(house)) == 1
    assert house.rows(models.cron_triggers) == []
    assert house.rows(models.outbox) == []


def test_several_of_one_moment(service: Service) -> None:
    house = service.house
    for number in range(20):
        create(service, f"x{number}", workflow_input={"n": number})
    to_time(house, "2020-01-02 03:05:00")
    assert starts(house) == ["2020-01-02 03:05:00"] * 20
    inputs = [row["input"]["n"] for row in house.rows(models.workflow_executions)]
    assert sorted(inputs) == list(range(20))


def test_an_engine_without_cron_leaves_triggers_to_others(service: Service) -> None:
    """``[cron_trigger] enabled = false``; other rows are its own as before."""
    house = service.house
    create(service)
    idle = EngineServer(
        house.database,
        house.post,
        house.sources,
        house.clock,
        EngineOptions(name="idle", cron_triggers=False),
    )
    able, house.engine = house.engine, idle
    to_time(house, "2020-01-02 03:21:00", step=5)
    assert starts(house) == []
    shown = service.api.get("/v2/cron_triggers/x").json
    assert shown["next_execution_time"] == "2020-01-02 03:05:00"
    house.engine = able
    house.sweep()
    assert starts(house) == ["2020-01-02 03:21:00"]


# -- Exactly once -------------------------------------------------------------


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.services),
        pytest.param("mariadb", marks=pytest.mark.services),
    ]
)
def armed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """A trigger of each five minutes on every database."""
    try:
        with fresh_database(request.param, tmp_path) as url:
            house = House(tmp_path, url=url.render_as_string(hide_password=False))
            house.upload(WORKFLOWS)
            arm(house, "x", house.clock.now() + timedelta(seconds=55))
            yield house
            house.close()
    except NoServer as missing:
        pytest.skip(str(missing))


def arm(house: House, name: str, at: datetime, count: int | None = None) -> None:
    with house.database.begin() as connection:
        author = Author(Context(), house.clock.now(), house.new_id)
        workflow = find_workflow(
            connection, name="tick", project_id=author.context.project_id
        )
        assert workflow is not None
        values = {
            "name": name,
            "pattern": EVERY,
            "workflow_input": {"n": 1},
            "workflow_params": {},
            "first_execution_time": None,
            "next_execution_time": at,
            "remaining_executions": count,
        }
        triggers.create(connection, author, workflow, values)


def test_two_engines_fire_once(armed: House) -> None:
    """Both hear the same row: the one that comes second finds it gone."""
    one, two = armed.engine, armed.new_engine("two")
    armed.clock.advance(60)
    row = armed.rows(models.outbox)[0]
    one.deliver.hear(row)
    two.deliver.hear(row)
    for engine in (one, two):
        armed.engine = engine
        armed.settle()
    assert len(armed.rows(models.workflow_executions)) == 1
    [trigger] = armed.rows(models.cron_triggers)
    assert str(trigger["next_execution_time"]) == "2020-01-02 03:10:00"
    [row] = armed.rows(models.outbox)
    assert (row["kind"], str(row["due_at"])) == ("CronDue", "2020-01-02 03:10:00")


def test_two_engines_side_by_side(armed: House) -> None:
    for number in range(10):
        arm(armed, f"y{number}", datetime(2020, 1, 2, 3, 5), count=2)
    engines = [armed.engine, armed.new_engine("two")]
    for _ in range(80):
        for engine in engines:
            armed.engine = engine
            armed.advance(5)
            engine.sweeps[0].run_once()
            armed.settle()
    found = starts(armed)
    assert len(found) == len(armed.rows(models.workflow_executions))
    minutes = {time[:16] for time in found}
    # the endless one each time; the others twice
    assert len(found) == len(minutes) + 20
    assert [row["name"] for row in armed.rows(models.cron_triggers)] == ["x"]


def test_an_engine_that_dies_after_its_commit_fires_once(armed: House) -> None:
    """Killed between commit and delivery: the rows are in the database, nothing
    of them in memory; another engine goes on when the lease ends."""
    armed.clock.advance(60)
    armed.engine.sweeps[0].run_once()
    assert armed.engine.loop.run_once(timeout=0)
    waiting = {row["kind"] for row in armed.rows(models.outbox)}
    assert waiting == {"StartWorkflow", "CronDue"}
    assert armed.rows(models.workflow_executions) == []
    armed.engine = armed.new_engine("two")
    armed.sweep()
    assert armed.rows(models.workflow_executions) == []
    armed.clock.advance(11)
    armed.sweep()
    [run] = armed.rows(models.workflow_executions)
    [trigger] = armed.rows(models.cron_triggers)
    assert run["id"] == execution_id(trigger["id"], datetime(2020, 1, 2, 3, 5))
    armed.clock.advance(600)
    armed.sweep()
    assert len(armed.rows(models.workflow_executions)) == 2


def test_an_engine_that_dies_before_its_commit_fires_once(armed: House) -> None:
    """It had claimed the row and heard it, no more."""
    armed.clock.advance(60)
    armed.engine.sweeps[0].run_once()
    armed.engine = armed.new_engine("two")
    armed.sweep()
    assert armed.rows(models.workflow_executions) == []
    armed.clock.advance(11)
    armed.sweep()
    assert len(armed.rows(models.workflow_executions)) == 1


def test_a_start_that_is_heard_twice_makes_one_run(armed: House) -> None:
    """ENG-236: the id of the run follows from the trigger and the planned time."""
    armed.clock.advance(60)
    armed.engine.sweeps[0].run_once()
    armed.engine.loop.run_once(timeout=0)
    [start] = armed.rows(models.outbox, kind="StartWorkflow")
    armed.settle()
    with armed.database.begin() as connection:
        connection.execute(models.outbox.insert().values(start))
    armed.clock.advance(11)
    armed.sweep()
    assert len(armed.rows(models.workflow_executions)) == 1


def test_an_engine_waits_for_who_holds_the_trigger(armed: House) -> None:
    """Somebody deletes it while it is due: the firing comes back and finds it
    gone. SQLite has one writer at a time."""
    if armed.database.is_sqlite:
        pytest.skip("two transactions at the same time")
    armed.clock.advance(60)
    [trigger] = armed.rows(models.cron_triggers)
    with armed.database.begin() as connection:
        triggers.remove(connection, trigger)
        armed.engine.sweeps[0].run_once()
        armed.engine.deliver.hear(armed.rows(models.outbox)[0])
        assert armed.engine.loop.run_once(timeout=0)
        assert len(armed.engine.intake) == 1
    armed.settle()
    assert armed.rows(models.workflow_executions) == []
    assert armed.rows(models.outbox) == []


# -- Maintenance --------------------------------------------------------------


def maintain(house: House, wanted: maintenance.Status) -> None:
    with house.database.begin() as connection:
        maintenance.change(connection, wanted)
    house.follow_maintenance()


def status(house: House) -> str:
    with house.database.read() as connection:
        return maintenance.status(connection).value


def test_eng_225_no_trigger_starts_in_maintenance(service: Service) -> None:
    """Triggers are left as they are, and fire when it is over, once (§ 6.1)."""
    house = service.house
    create(service, remaining_executions=5)
    maintain(house, maintenance.Status.PAUSED)
    assert status(house) == "PAUSED"
    to_time(house, "2020-01-02 03:17:00", step=5)
    assert starts(house) == []
    shown = service.api.get("/v2/cron_triggers/x").json
    assert shown["next_execution_time"] == "2020-01-02 03:05:00"
    assert shown["remaining_executions"] == 5
    maintain(house, maintenance.Status.RUNNING)
    pass_time(house, 5)
    assert starts(house) == ["2020-01-02 03:17:05"]
    shown = service.api.get("/v2/cron_triggers/x").json
    assert shown["next_execution_time"] == "2020-01-02 03:20:00"
    assert shown["remaining_executions"] == 4


def test_eng_225_a_firing_just_before_maintenance_starts_after_it(
    service: Service,
) -> None:
    """It fired, and then maintenance began: the start waits, is not lost, and does
    not keep maintenance from being reached."""
    house = service.house
    create(service, remaining_executions=1)
    house.clock.advance(60)
    house.engine.sweeps[0].run_once()
    assert house.engine.loop.run_once(timeout=0)
    assert [row["kind"] for row in house.rows(models.outbox)] == ["StartWorkflow"]
    with house.database.begin() as connection:
        maintenance.change(connection, maintenance.Status.PAUSED)
    pass_time(house, 20)
    house.follow_maintenance()
    assert status(house) == "PAUSED"
    assert starts(house) == []
    maintain(house, maintenance.Status.RUNNING)
    pass_time(house, 5)
    [run] = house.rows(models.workflow_executions)
    assert run["state"] == "SUCCESS"
