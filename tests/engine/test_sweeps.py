"""What nobody is doing is found: lost executors, offers that nobody takes."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
from house import CALLER, House

from mistral.db import models
from mistral.engine.sweeps import LostSweep
from mistral.errors import Unavailable
from mistral.messages import ActionTurnedAsync, Heartbeat, RunAction, State

CALL = """
version: '2.0'
call:
  tasks:
    t:
      action: std.sleep seconds=1
      safe-rerun: {safe}
"""


def _held_call(house: House, *, safe: bool) -> str:
    """A run whose action was claimed and does not end."""
    house.upload(CALL.format(safe=str(safe).lower()))
    house.hold.add("std.sleep")
    id = house.start("call")
    house.settle()
    assert len(house.running) == 1
    return id


def _beat(house: House, **fields: Any) -> dict[str, Any]:
    return house.engine.heartbeat(Heartbeat(executor_id="executor-1", **fields))


def _watch(house: House, name: str, seconds: float, step: float = 10.0) -> None:
    """Let time go on while a sweep looks regularly: nobody is given up for a
    time in which no engine watched. The events of the sweep are decided by the
    deciding thread, started for that while."""
    loop = house.engine.loop
    loop.start()
    try:
        _look(house, name, seconds, step)
    finally:
        loop.stop()


def _look(house: House, name: str, seconds: float, step: float = 10.0) -> None:
    """``_watch`` while nobody decides: what a sweep found would wait for ever."""
    [sweep] = [s for s in house.engine.sweeps if s.name == name]
    sweep.run_once()
    while seconds > 0:
        house.clock.advance(min(step, seconds))
        seconds -= step
        sweep.run_once()


LOST = "engine-lost-executors"


def test_an_action_of_a_lost_executor_fails(house: House) -> None:
    """ENG-210, ENG-211, ENG-238: not safe to rerun (DESIGN § 6)."""
    id = _held_call(house, safe=False)
    _watch(house, LOST, 31)
    header = house.header(id)
    assert header["state"] == "ERROR"
    [action] = house.rows(models.action_executions)
    assert action["output"]["result"].startswith("Heartbeat wasn't received.")
    assert "executor-1" in action["output"]["result"]


def test_eng_238_nobody_is_forgotten_before_what_it_ran_is_known_to_be_lost(
    house: House,
) -> None:
    """Engines were down for hours, and the executor died meanwhile."""
    id = _held_call(house, safe=False)
    house.clock.advance(10_000)
    _watch(house, LOST, 60)
    assert house.header(id)["state"] == "ERROR"


class _Refusing:
    """An intake of an engine that stops."""

    def put(self, event: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        answer.set_exception(Unavailable("The engine stops."))
        return answer


def test_eng_238_what_could_not_be_told_of_a_lost_executor_is_told_again(
    house: House,
) -> None:
    id = _held_call(house, safe=False)
    args = 30.0, 5000.0, lambda: True
    sweep = LostSweep(house.database, _Refusing(), house.clock, *args)  # type: ignore[arg-type]
    for _ in range(4):
        sweep.run_once()
        house.clock.advance(1000)
    assert house.header(id)["state"] == "RUNNING"
    _watch(house, LOST, 40)
    assert house.header(id)["state"] == "ERROR"


def test_eng_238_a_lost_executor_is_forgotten_after_an_hour(house: House) -> None:
    """Until then each pass looks at it again: a claim may come late."""
    _held_call(house, safe=False)
    _watch(house, LOST, 31)
    assert len(house.rows(models.executors)) == 1
    _look(house, LOST, 3600, step=20)
    assert house.rows(models.executors) == []


@pytest.mark.parametrize("leaving", [False, True])
def test_eng_238_a_claim_after_its_executor_was_given_up_is_found(
    house: House, leaving: bool
) -> None:
    """An engine was stopped in the midst of the turn that granted it."""
    first = _held_call(house, safe=False)
    _beat(house, leaving=leaving)
    _watch(house, LOST, 41)
    assert house.header(first)["state"] == "ERROR"
    house.engine = house.new_engine("two")
    second = house.start("call")
    house.settle()
    # as that engine wrote it
    table = models.executors
    with house.database.begin() as connection:
        long_ago = house.clock.now() - timedelta(seconds=31)
        connection.execute(table.update().values(last_seen=long_ago))
    _watch(house, LOST, 41)
    assert house.header(second)["state"] == "ERROR"
    assert house.examined() == []


def test_a_safe_action_of_a_lost_executor_is_offered_again(house: House) -> None:
    """ENG-211, ENG-238: the next attempt; the late result of the first is refused."""
    id = _held_call(house, safe=True)
    _watch(house, LOST, 31)
    house.engine = house.new_engine("two")
    [late] = house.running
    house.finish(late, "late")
    house.turn()
    assert house.header(id)["state"] == "RUNNING"
    house.clock.advance(11)
    house.engine.sweeps[0].run_once()
    house.settle()
    [_, again] = house.running
    assert again.attempt == 2
    house.finish(again, "done")
    house.settle()
    assert house.header(id)["state"] == "SUCCESS"


def test_nobody_is_lost_for_the_time_when_no_engine_watched(house: House) -> None:
    """Engines were down for an hour: executors get the time to be heard."""
    id = _held_call(house, safe=False)
    house.clock.advance(3600)
    _watch(house, LOST, 20)
    assert house.header(id)["state"] == "RUNNING"


def test_eng_210_an_asynchronous_action_of_a_lost_executor_waits_on(
    house: House,
) -> None:
    house.upload("version: '2.0'\nw: {tasks: {t: {action: std.async_noop}}}")
    id = house.start("w")
    house.settle()
    _watch(house, LOST, 31)
    assert house.header(id)["state"] == "RUNNING"
    [action] = house.rows(models.action_executions)
    assert action["state"] == "RUNNING"


def test_an_asynchronous_action_that_its_executor_has_not_begun_is_lost_with_it(
    house: House,
) -> None:
    """Nobody outside knows of it, so nobody would ever answer."""
    house.upload("version: '2.0'\nw: {tasks: {t: {action: std.async_noop}}}")
    house.hold.add("std.async_noop")
    id = house.start("w")
    house.settle()
    assert len(house.running) == 1
    _watch(house, LOST, 31)
    header = house.header(id)
    assert header["state"] == "ERROR"
    assert "Heartbeat wasn't received." in header["state_info"]


def test_eng_210_a_stand_alone_action_of_a_lost_executor_fails(house: House) -> None:
    """§ 8.7, Required: those without a task expire, too."""
    house.hold.add("std.sleep")
    id = house.new_id()
    house.ask(
        RunAction(action_id=id, name="std.sleep", save=True, context=CALLER.to_dict())
    )
    house.settle()
    assert len(house.running) == 1
    _watch(house, LOST, 31)
    [action] = house.rows(models.action_executions, id=id)
    assert action["state"] == "ERROR"
    assert action["output"]["result"].startswith("Heartbeat wasn't received.")


def test_nobody_is_lost_for_the_time_when_the_broker_was_away(house: House) -> None:
    """An outage longer than the lost time; then one full lost time to be heard."""
    id = _held_call(house, safe=False)
    _look(house, LOST, 20)
    house.post.away = True
    _look(house, LOST, 600)
    house.post.away = False
    _look(house, LOST, 29)
    assert len(house.rows(models.executors)) == 1
    assert house.header(id)["state"] == "RUNNING"
    _watch(house, LOST, 2)
    assert house.header(id)["state"] == "ERROR", "who stays silent then is lost"


def test_no_offer_fails_for_the_time_when_the_broker_was_away(house: House) -> None:
    house.upload(CALL.format(safe="false"))
    id = house.start("call")
    house.post.away = True
    _look(house, "engine-unclaimed", 4000)
    house.post.away = False
    _look(house, "engine-unclaimed", 50)
    assert house.header(id)["state"] == "RUNNING"
    _watch(house, "engine-unclaimed", 20)
    assert house.header(id)["state"] == "ERROR"


def test_heartbeats_keep_an_executor_alive(house: House) -> None:
    id = _held_call(house, safe=False)
    [call] = house.running
    for _ in range(5):
        house.clock.advance(20)
        answer = _beat(house, running=((call.action_id, 1),))
        assert answer == {
            "over": [],
            "missing": [],
            "now": house.clock.now().isoformat(),
        }
        [sweep] = [s for s in house.engine.sweeps if s.name == LOST]
        assert not sweep.run_once().get("executors")
    assert house.header(id)["state"] == "RUNNING"


def test_heartbeats_are_told_what_is_over(house: House) -> None:
    """DESIGN § 3: a held result is dropped when the engine has committed it."""
    _held_call(house, safe=False)
    [call] = house.running
    held = ((call.action_id, 1), ("unknown", 1))
    assert _beat(house, held=held)["over"] == ["unknown"]
    house.finish(call)
    house.turn()
    assert set(_beat(house, held=held)["over"]) == {call.action_id, "unknown"}


def test_word_that_an_action_is_asynchronous_is_over_once_it_is_heard(
    house: House,
) -> None:
    id = _held_call(house, safe=False)
    [call] = house.running
    held = ((call.action_id, 1),)
    assert _beat(house, held=held)["over"] == []
    house.engine.intake.put(
        ActionTurnedAsync(run_id=id, action_id=call.action_id, attempt=1)
    )
    house.turn()
    answer = _beat(house, held=held)
    assert (answer["over"], answer["missing"]) == ([call.action_id], [])


def test_an_action_that_a_living_executor_forgot_is_lost(house: House) -> None:
    """It neither asks for nor runs nor holds it, for longer than the lost time."""
    id = _held_call(house, safe=False)
    house.clock.advance(29)
    first = _beat(house)
    assert _beat(house, heard=first["now"])["missing"] == [], "not yet"
    house.clock.advance(2)
    [call] = house.running
    assert _beat(house, heard=first["now"])["missing"] == [call.action_id]
    house.turn()
    assert house.header(id)["state"] == "ERROR"


def test_a_beat_says_nothing_of_what_was_granted_after_it(house: House) -> None:
    """Such as one that an engine hears late, because it was stopped meanwhile."""
    before = _beat(house)["now"]
    house.clock.advance(1)
    id = _held_call(house, safe=False)
    house.clock.advance(31)
    assert _beat(house)["missing"] == [], "its sender had heard nothing yet"
    assert _beat(house, heard=before)["missing"] == []
    house.turn()
    assert house.header(id)["state"] == "RUNNING"


def test_what_is_asked_for_again_is_not_lost(house: House) -> None:
    """The answer to the claim was lost: the token that was granted counts."""
    id = _held_call(house, safe=False)
    [action] = house.rows(models.action_executions)
    house.clock.advance(31)
    heard = _beat(house)["now"]
    mine, others = (action["started_by"],), ("another-token",)
    assert _beat(house, heard=heard, asking=mine)["missing"] == []
    assert _beat(house, heard=heard, asking=mine)["over"] == []
    house.turn()
    assert house.header(id)["state"] == "RUNNING"
    assert _beat(house, heard=heard, asking=others)["missing"] == [action["id"]]


def test_who_leaves_is_lost_at_once(house: House) -> None:
    id = _held_call(house, safe=False)
    _beat(house, leaving=True)
    _watch(house, LOST, 0)
    assert house.header(id)["state"] == "ERROR"


def test_an_offer_that_nobody_takes_fails(house: House) -> None:
    """ENG § 8.7: ``first_heartbeat_timeout``."""
    house.upload(CALL.format(safe="false"))
    id = house.start("call")
    house.clock.advance(3540)
    _watch(house, "engine-unclaimed", 62)
    assert house.header(id)["state"] == "ERROR"
    assert house.rows(models.outbox) == []


def test_answers_are_forgotten_after_an_hour(house: House) -> None:
    house.upload(CALL.format(safe="false"))
    house.start("call")
    [expiry] = [s for s in house.engine.sweeps if s.name == "engine-expiry"]
    house.clock.advance(3599)
    assert expiry.run_once()["answers"] == 0
    house.clock.advance(2)
    assert expiry.run_once()["answers"] == 1


def test_stand_alone_actions_are_their_own_header(house: House) -> None:
    """ENG § 7.9; lost ones are covered, too (§ 8.7)."""
    house.hold.add("std.sleep")
    id = house.new_id()
    house.ask(
        RunAction(
            action_id=id,
            name="std.sleep",
            input={"seconds": 1},
            save=True,
            request_id="r",
            context=CALLER.to_dict(),
        )
    )
    house.settle()
    _watch(house, LOST, 31)
    [action] = house.rows(models.action_executions)
    assert (action["id"], action["state"]) == (id, State.ERROR)
    found = house.rows(models.history, run_id=id)
    heard = [row["kind"] for row in found]
    assert heard == ["RunAction", "ExecutorLost"]
    assert [row["seq"] for row in found] == [1, 2]


@pytest.mark.parametrize("sync", [True, False])
def test_a_stored_run_that_somebody_waits_for_is_not_accepted(
    house: House, sync: bool
) -> None:
    """ENG § 1.6.4, § 7.9: there is no task that its result could count for."""
    house.ask(
        RunAction(
            action_id=house.new_id(),
            name="std.echo",
            input={"output": 1},
            save=True,
            sync=sync,
            request_id="r",
            context=CALLER.to_dict(),
        )
    )
    house.settle()
    [action] = house.rows(models.action_executions)
    assert (action["state"], action["output"]) == (State.SUCCESS, {"result": 1})
    assert action["accepted"] is not sync
