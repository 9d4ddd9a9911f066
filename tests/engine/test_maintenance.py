"""Maintenance over rows: how runs follow, and when PAUSED is said (§ 10.7)."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from house import CALLER, House
from servers import fresh_database
from sqlalchemy.exc import DBAPIError

from mistral.db import maintenance, models
from mistral.db.database import Database
from mistral.db.maintenance import Status
from mistral.engine.facts import Kept
from mistral.engine.maintenance import AT_ONCE, TELLINGS
from mistral.errors import Locked
from mistral.messages import PauseWorkflow, StartWorkflow, StopWorkflow, UpdateAction

TEXT = """
version: '2.0'
slow: {tasks: {a: {action: std.sleep seconds=1, on-success: b}, b: {action: std.noop}}}
asks: {tasks: {a: {action: std.async_noop, on-success: b}, b: {action: std.noop}}}
waits: {tasks: {a: {action: std.noop, wait-before: 60}}}
above: {tasks: {a: {workflow: below}}}
below: {tasks: {a: {action: std.async_noop}}}
"""


@pytest.fixture
def house(house: House) -> House:
    house.upload(TEXT)
    house.hold.add("std.sleep")
    return house


def _change(house: House, wanted: Status) -> Status:
    return house.database.replay(lambda each: maintenance.change(each, wanted))


def _status(house: House) -> Status:
    with house.database.read() as connection:
        return maintenance.status(connection)


def _set(house: House, run_id: str, **values: Any) -> None:
    run = models.workflow_executions
    with house.database.begin() as connection:
        connection.execute(run.update().where(run.c.id == run_id).values(**values))


def _states(house: House) -> list[str]:
    rows = house.rows(models.workflow_executions)
    return sorted({row["state"] for row in rows})


def test_eng_230_runs_follow_and_paused_is_said_when_nothing_runs(house: House) -> None:
    id = house.start("slow")
    house.settle()
    assert _change(house, Status.PAUSED) is Status.PAUSING
    assert house.follow_maintenance() == {"told": 1, "paused": 0}
    assert house.header(id)["state"] == "PAUSED"
    assert house.follow_maintenance() == {"told": 0, "paused": 0}
    house.finish(house.running.pop())
    house.settle()
    assert house.tasks(id) == {"a": "SUCCESS"}
    assert house.follow_maintenance() == {"told": 0, "paused": 1}
    assert _status(house) is Status.PAUSED
    assert _change(house, Status.RUNNING) is Status.RUNNING
    house.follow_maintenance()
    house.settle()
    assert house.header(id)["state"] == "SUCCESS"


def test_eng_230_a_forgotten_asynchronous_action_does_not_count(house: House) -> None:
    id = house.start("asks")
    house.settle()
    _change(house, Status.PAUSED)
    assert house.follow_maintenance() == {"told": 1, "paused": 1}
    assert house.tasks(id) == {"a": "RUNNING"}


def test_eng_230_an_asynchronous_action_that_nobody_took_counts(house: House) -> None:
    house.start("asks")
    house.engine.deliver.offers.send_waiting()
    _change(house, Status.PAUSED)
    assert house.follow_maintenance() == {"told": 1, "paused": 0}
    house.settle()
    assert house.follow_maintenance() == {"told": 0, "paused": 1}


@pytest.mark.parametrize("state", [None, "CANCELLED"])
def test_eng_230_tasks_of_runs_that_are_over_do_not_count(
    house: House, state: str | None
) -> None:
    """An action that runs on in a cancelled run is nobody's progress."""
    id = house.start("slow")
    house.settle()
    if state:
        house.ask(StopWorkflow(run_id=id, state=state, context=CALLER.to_dict()))
        house.settle()
        assert house.tasks(id) == {"a": "RUNNING"}
    _change(house, Status.PAUSED)
    assert house.follow_maintenance()["paused"] == (1 if state else 0)


def test_eng_230_a_sub_workflow_that_is_not_made_yet_counts(house: House) -> None:
    house.start("above")
    rows = house.rows(models.outbox, kind="StartWorkflow")
    assert len(rows) == 0, "the turn that follows has made it"
    other = house.new_id()
    house.put(
        StartWorkflow(run_id=other, workflow_name="above", context=CALLER.to_dict())
    )
    house.engine.loop.run_once(timeout=0)
    assert len(house.rows(models.outbox, kind="StartWorkflow")) == 1
    with house.database.read() as connection:
        runs = models.workflow_executions
        connection.execute(runs.update().values(state="PAUSED"))
        assert not maintenance.is_quiet(connection)
    house.turn()
    with house.database.read() as connection:
        connection.execute(runs.update().values(state="PAUSED"))
        connection.execute(models.action_executions.update().values(started_by="x"))
        assert maintenance.is_quiet(connection)


def test_eng_230_only_what_maintenance_paused_goes_on(house: House) -> None:
    """Q-37 of the REST page."""
    his, ours = house.start("waits"), house.start("waits")
    house.settle()
    house.ask(PauseWorkflow(run_id=his, context=CALLER.to_dict()))
    _change(house, Status.PAUSED)
    house.follow_maintenance()
    assert _states(house) == ["PAUSED"]
    _change(house, Status.RUNNING)
    assert house.follow_maintenance() == {"told": 1, "paused": 0}
    assert house.header(his)["state"] == "PAUSED"
    assert house.header(ours)["state"] == "RUNNING"
    house.advance(60)
    assert house.header(ours)["state"] == "SUCCESS"


def test_eng_230_the_last_word_of_a_user_meanwhile_counts(house: House) -> None:
    """Maintenance is left, and its runs have not gone on yet."""
    id = house.start("waits")
    house.settle()
    _change(house, Status.PAUSED)
    house.follow_maintenance()
    _change(house, Status.RUNNING)
    house.ask(PauseWorkflow(run_id=id, context=CALLER.to_dict()))
    assert house.follow_maintenance() == {"told": 0, "paused": 0}
    assert house.header(id)["state"] == "PAUSED"


def test_eng_230_maintenance_again_before_all_runs_have_gone_on(house: House) -> None:
    ids = [house.start("waits") for _ in range(2)]
    house.settle()
    _change(house, Status.PAUSED)
    house.follow_maintenance()
    _change(house, Status.RUNNING)
    _change(house, Status.PAUSED)
    assert house.follow_maintenance() == {"told": 0, "paused": 1}
    _change(house, Status.RUNNING)
    assert house.follow_maintenance() == {"told": 2, "paused": 0}
    assert {house.header(id)["state"] for id in ids} == {"RUNNING"}


def test_eng_230_many_runs_follow_in_pages_each_in_its_own_event(house: House) -> None:
    first = house.start("waits")
    header = house.header(first)
    many = AT_ONCE * 2 + 7
    with house.database.begin() as connection:
        copies = [{**header, "id": house.new_id()} for _ in range(many - 1)]
        connection.execute(models.workflow_executions.insert(), copies)
    _change(house, Status.PAUSED)
    waiting: list[int] = []
    assert house.follow_maintenance(waiting) == {"told": many, "paused": 1}
    assert max(waiting) <= AT_ONCE
    assert _states(house) == ["PAUSED"]
    heard = house.rows(models.history, kind="MaintenanceChanged")
    assert len(heard) == many
    _change(house, Status.RUNNING)
    assert house.follow_maintenance() == {"told": many, "paused": 0}
    assert _states(house) == ["RUNNING"]


def test_eng_230_another_engine_goes_on_when_one_dies(house: House) -> None:
    """It has told some runs and holds the lease; nobody has been told of the rest."""
    ids = [house.start("waits") for _ in range(3)]
    house.settle()
    _change(house, Status.PAUSED)
    with house.database.begin() as connection:
        now = house.database.now(connection)
        assert maintenance.lease(connection, "dead", now)
    _set(house, ids[0], state="PAUSED", paused_by="maintenance")
    house.engine = house.new_engine("two")
    assert house.follow_maintenance() == {"told": 0, "paused": 0}
    house.clock.advance(11)
    assert house.follow_maintenance() == {"told": 2, "paused": 1}
    assert _states(house) == ["PAUSED"]
    _change(house, Status.RUNNING)
    house.engine = house.new_engine("three")
    assert house.follow_maintenance() == {"told": 3, "paused": 0}
    assert _states(house) == ["RUNNING"]


def test_eng_230_two_engines_at_once_do_not_disturb_each_other(house: House) -> None:
    ids = [house.start("slow") for _ in range(5)]
    house.settle()
    one, two = house.engine, house.new_engine("two")
    _change(house, Status.PAUSED)
    house.engine = two
    told = house.follow_maintenance()["told"]
    house.engine = one
    told += house.follow_maintenance()["told"]
    assert told == len(ids)
    for call in house.running:
        house.finish(call)
    house.settle()
    assert house.follow_maintenance()["paused"] == 1
    house.engine = two
    assert house.follow_maintenance() == {"told": 0, "paused": 0}
    # A second engine's turns start nothing either.
    with pytest.raises(Locked):
        house.start("slow")


def test_eng_230_a_run_that_cannot_be_decided_holds_nobody_up(house: House) -> None:
    broken, whole = house.start("waits"), house.start("waits")
    house.settle()
    _set(house, broken, spec_id="nowhere")
    house.engine = house.new_engine("two")
    house.sources.specs = Kept(0)
    _change(house, Status.PAUSED)
    passes = [house.follow_maintenance() for _ in range(8)]
    assert house.header(whole)["state"] == "PAUSED"
    assert sum(each["told"] for each in passes) == 1 + TELLINGS
    assert sum(each["paused"] for each in passes) == 1
    assert _status(house) is Status.PAUSED
    assert len(house.rows(models.poison)) == TELLINGS
    house.clock.advance(61)
    house.follow_maintenance()
    _change(house, Status.RUNNING)
    house.follow_maintenance()
    assert house.header(whole)["state"] == "RUNNING"


def test_eng_229_a_result_that_comes_while_pausing_is_taken(house: House) -> None:
    id = house.start("asks")
    house.settle()
    _change(house, Status.PAUSED)
    house.follow_maintenance()
    [action] = house.rows(models.action_executions, workflow_execution_id=id)
    house.ask(
        UpdateAction(
            run_id=id,
            action_id=action["id"],
            state="SUCCESS",
            context=CALLER.to_dict(),
        )
    )
    assert house.tasks(id) == {"a": "SUCCESS"}


@pytest.mark.services
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_eng_230_a_change_waits_for_the_turns_that_know_nothing_of_it(
    tmp_path: Path, kind: str
) -> None:
    with fresh_database(kind, tmp_path) as url:
        database = Database(url)
        database.create_or_upgrade()
        heard: list[Status] = []
        changed = Thread(
            target=lambda: heard.append(
                database.replay(lambda each: maintenance.change(each, Status.PAUSED))
            )
        )
        row = models.maintenance
        with database.begin() as connection:
            assert maintenance.share(connection) is Status.RUNNING
            with database.begin() as other:
                # Turns do not hold each other up.
                assert maintenance.share(other) is Status.RUNNING
            with pytest.raises(DBAPIError), database.begin() as other:
                other.execute(row.select().with_for_update(nowait=True))
            changed.start()
            assert maintenance.status(connection) is Status.RUNNING
        changed.join()
        assert heard == [Status.PAUSING]
        with database.begin() as connection:
            assert maintenance.share(connection) is Status.PAUSING
        database.dispose()


def test_the_words_are_those_of_the_core() -> None:
    assert maintenance.shown(Status.RUNNING) == ""
    assert maintenance.shown(Status.PAUSING) == "PAUSING"
