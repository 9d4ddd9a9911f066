"""Timers: rows with a date, fired once, by whichever engine (design page, § 3)."""

from __future__ import annotations

from house import CALLER, House
from small_flows import WAITS

from mistral.db import models
from mistral.messages import RerunTask, StopWorkflow, Woke


def test_timers_fire_when_due_and_are_consumed(house: House) -> None:
    """HOUSE § 5.3."""
    house.upload(WAITS)
    id = house.start("waits")
    house.advance(59)
    assert house.tasks(id) == {"t": "DELAYED"}
    house.advance(1)
    assert house.header(id)["state"] == "SUCCESS"
    assert house.rows(models.outbox) == []


def test_timers_of_a_dead_engine_are_taken_over(house: House) -> None:
    """DESIGN § 6: after its lease, another engine."""
    house.upload(WAITS)
    id = house.start("waits")
    house.engine = house.new_engine("two")
    house.advance(60)
    house.sweep()
    assert house.tasks(id) == {"t": "DELAYED"}, "the lease still holds"
    house.advance(10)
    house.sweep()
    assert house.header(id)["state"] == "SUCCESS"


def test_an_event_whose_row_is_gone_is_dropped(house: House) -> None:
    """A timer that two engines hear is acted on once."""
    house.upload(WAITS)
    id = house.start("waits")
    [row] = house.rows(models.outbox)
    fields = ("run_id", "task_id", "key", "epoch")
    event = Woke(**{name: row["payload"][name] for name in fields})
    house.clock.advance(60)
    for _ in range(2):
        house.engine.intake.put(event, row["id"])
        house.turn()
    kinds = [r["kind"] for r in house.rows(models.history, run_id=id)]
    assert kinds.count("Woke") == 1


def test_no_timer_outlives_its_run(house: House) -> None:
    """ENG-068: of what has ended nothing is left to come, however late it was due."""
    house.upload(
        """version: '2.0'
at_once: {tasks: {t: {action: std.noop, timeout: 90000}}}
later:
  tasks:
    t: {action: std.async_noop, timeout: 90000}
    u: {workflow: kid, timeout: 80000}
    v: {wait-before: 70000}
kid: {tasks: {k: {action: std.async_noop, timeout: 60000}}}
"""
    )
    house.run("at_once")
    assert house.rows(models.outbox) == []
    id = house.start("later")
    house.settle()
    assert len(house.rows(models.outbox, kind="Woke")) == 4
    stop = StopWorkflow(
        run_id=id, state="CANCELLED", request_id="stop", context=CALLER.to_dict()
    )
    house.ask(stop)
    house.settle()
    assert house.rows(models.outbox) == []


def test_a_run_that_is_opened_again_has_its_timers(house: House) -> None:
    """ENG § 7.6, § 18.3: also when all of it comes in one turn."""
    house.upload(
        """version: '2.0'
w:
  tasks:
    t: {action: std.fail, on-error: u}
    u: {action: std.async_noop, timeout: 50, on-error: v}
    v: {action: std.async_noop}
    x: {wait-before: 40}
"""
    )
    id = house.start("w")
    house.settle()
    stop = StopWorkflow(
        run_id=id, state="ERROR", request_id="stop", context=CALLER.to_dict()
    )
    house.ask(stop)
    assert house.rows(models.outbox) == []
    task = next(row for row in house.rows(models.task_executions) if row["name"] == "t")
    house.ask(
        RerunTask(
            run_id=id,
            task_id=task["id"],
            reset=True,
            request_id="rerun",
            context=CALLER.to_dict(),
        )
    )
    house.settle()
    states = {row["name"]: row["state"] for row in house.rows(models.task_executions)}
    assert states["x"] == "SUCCESS", "what was closed goes on at once"
    assert len(house.rows(models.outbox, kind="Woke")) == 2
    house.advance(51)
    states = {row["name"]: row["state"] for row in house.rows(models.task_executions)}
    assert (states["u"], states["v"]) == ("ERROR", "RUNNING")
