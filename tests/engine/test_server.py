"""The roles with their threads on the memory transport; two engines at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeClock
from house import CALLER, House
from servers import NoServer, fresh_database
from sqlalchemy import func, select

from mistral.bus import Bus
from mistral.clock import SystemClock
from mistral.db import models
from mistral.db.database import Database
from mistral.engine.intake import Intake
from mistral.engine.steps import Step
from mistral.errors import NotFound, Unavailable
from mistral.executors.server import ExecutorServer, ExecutorSettings
from mistral.messages import (
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    StartWorkflow,
    UpdateAction,
    Woke,
)

FAN = """
version: '2.0'
fan:
  tasks:
    start:
      action: std.noop
      on-success: [a, b]
    a:
      with-items: i in <% range(20) %>
      action: std.test_dict size=1 key_prefix="k" val=<% $.i %>
      on-success: end
    b:
      wait-before: 1
      action: std.noop
      on-success: end
    end:
      join: all
      action: std.noop
  output:
    made: <% task(a).result.len() %>
"""


class Watched(Database):
    """Tells after each commit, so that a test can wait for what it wants."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.committed = threading.Condition()

    @contextmanager
    def begin(self) -> Iterator[Any]:
        with super().begin() as connection:
            yield connection
        with self.committed:
            self.committed.notify_all()


_names = count()


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[House, Bus]]:
    """A house whose engine and executor have threads, and a bus to ask by."""
    house = House(tmp_path, database=Watched)
    house.clock = SystemClock()  # type: ignore[assignment]
    house.database = Watched(house.database.url)
    bus = Bus(f"memory:///server-{next(_names)}", call_timeout=20.0)
    house.post = bus  # type: ignore[assignment]
    house.engine = house.new_engine("threads")
    executor = ExecutorServer(
        bus, house.registry, ExecutorSettings(threads=4), house.clock, house.new_id
    )
    for part in (bus, house.engine, executor):
        part.start()
    yield house, bus
    for part in (executor, house.engine, bus):
        part.stop()
    house.close()


def _end_of(house: House, run_id: str) -> dict[str, Any]:
    database = house.database
    assert isinstance(database, Watched)
    with database.committed:
        assert database.committed.wait_for(
            lambda: house.header(run_id)["state"] != "RUNNING", timeout=20
        )
    return house.header(run_id)


def _start(house: House, name: str) -> StartWorkflow:
    return StartWorkflow(
        run_id=house.new_id(),
        workflow_name=name,
        request_id=house.new_id(),
        context=CALLER.to_dict(),
    )


def test_a_run_through_bus_engine_and_executor(parts: tuple[House, Bus]) -> None:
    house, bus = parts
    house.upload(FAN)
    start = _start(house, "fan")
    assert bus.call(start) == {"id": start.run_id}
    header = _end_of(house, start.run_id)
    assert (header["state"], header["output"]) == ("SUCCESS", {"made": 20})


CHAIN = """
version: '2.0'
chain:
  output: {k: <% $.k %>}
  tasks:
    a: {action: std.test_dict size=1 key_prefix="k" val=1, on-success: b}
    b: {action: std.test_dict size=1 key_prefix="k" val=2, on-success: c}
    c: {action: std.test_dict size=1 key_prefix="k" val=3, on-success: d}
    d: {action: std.test_dict size=1 key_prefix="k" val=4, on-success: e}
    e:
      action: std.test_dict size=1 key_prefix="k" val=5
      publish: {k: <% task().result.len() %>}
"""


def test_a_chain_is_not_claimed_action_by_action(parts: tuple[House, Bus]) -> None:
    """Decision 0048; a machine that is slower than a second claims some more."""
    house, bus = parts
    steps: list[Step] = []
    house.reached = steps.append
    house.upload(CHAIN)
    start = _start(house, "chain")
    bus.call(start)
    header = _end_of(house, start.run_id)
    assert (header["state"], header["output"]) == ("SUCCESS", {"k": 1})
    assert 1 <= steps.count(Step.GRANTED) < 5
    found = house.rows(models.action_executions)
    assert len({row["started_by"] for row in found}) == 5
    assert len({row["executor_id"] for row in found}) == 1
    assert house.examined() == []


NEST = """
version: '2.0'
top: {tasks: {t: {workflow: mid}}}
mid: {tasks: {t: {workflow: low}}}
low: {tasks: {t: {action: std.async_noop}}}
"""


def _runs(house: House) -> dict[str, str]:
    return {
        row["workflow_name"]: row["state"]
        for row in house.rows(models.workflow_executions)
    }


def _failed_nest(house: House) -> dict[str, Any]:
    """Fields of a request about the task at the bottom, which failed."""
    [action] = house.rows(models.action_executions)
    return {
        "run_id": action["workflow_execution_id"],
        "task_id": action["task_execution_id"],
        "request_id": house.new_id(),
        "context": {},
    }


def test_7_6_who_reruns_a_task_is_answered_when_all_above_it_run(
    tmp_path: Path,
) -> None:
    """Who looks at the root at once must not take its old end for the new one."""
    house = House(tmp_path)
    house.upload(NEST)
    house.start("top")
    house.settle()
    [action] = house.rows(models.action_executions)
    house.ask(
        UpdateAction(
            run_id=action["workflow_execution_id"],
            action_id=action["id"],
            state="ERROR",
            request_id=house.new_id(),
            context={},
        )
    )
    house.settle()
    assert set(_runs(house).values()) == {"ERROR"}
    answer = house.engine.intake.put(RerunTask(**_failed_nest(house)))
    house.engine.loop.run_once(timeout=0)
    assert answer.done() and set(_runs(house).values()) == {"ERROR", "RUNNING"}
    assert not answer.spread(0.0, house.clock)
    house.settle()
    assert answer.spread(0.0, house.clock)
    assert set(_runs(house).values()) == {"RUNNING"}
    house.close()


def test_6_3_who_pauses_the_root_is_answered_when_all_below_it_pause(
    parts: tuple[House, Bus],
) -> None:
    house, bus = parts
    house.upload(NEST)
    start = _start(house, "top")
    bus.call(start)
    database = house.database
    assert isinstance(database, Watched)
    with database.committed:
        assert database.committed.wait_for(
            lambda: house.rows(models.action_executions), timeout=20
        )
    for kind, state in (
        (PauseWorkflow, "PAUSED"),
        (ResumeWorkflow, "RUNNING"),
        (PauseWorkflow, "PAUSED"),
    ):
        bus.call(kind(run_id=start.run_id, request_id=house.new_id(), context={}))
        assert _runs(house) == {"top": state, "mid": state, "low": state}


def test_refusals_reach_the_caller(parts: tuple[House, Bus]) -> None:
    _, bus = parts
    with pytest.raises(NotFound):
        bus.call(PauseWorkflow(run_id="none", request_id="p", context={}))


def test_an_engine_that_stopped_says_so() -> None:
    intake = Intake()
    intake.close()
    with pytest.raises(Unavailable):
        intake.put(Woke(run_id="r"))


def test_the_intake_is_bounded_for_events_from_outside() -> None:
    """DESIGN § 3: overload is answered; what the outbox promised is not refused."""
    intake = Intake(limit=2)
    for _ in range(2):
        intake.put(Woke(run_id="r"))
    with pytest.raises(Unavailable):
        intake.put(Woke(run_id="r"))
    intake.put(Woke(run_id="r"), row_id="row")
    assert len(intake) == 3


def test_runs_take_turns() -> None:
    """DESIGN § 3: at most 64 events of one run, the others are not kept waiting."""
    intake = Intake()
    for number in range(100):
        intake.put(Woke(run_id="busy", epoch=number))
    intake.put(Woke(run_id="other"))
    first = intake.take()
    assert [w.event.run_id for w in first] == ["busy"] * 64 + ["other"]
    rest = intake.take()
    assert [w.event.epoch for w in rest] == list(range(64, 100))  # type: ignore[attr-defined]


def test_what_was_put_back_comes_first_and_in_order() -> None:
    intake = Intake()
    for number in range(3):
        intake.put(Woke(run_id="r", epoch=number))
    taken = intake.take(most=2)
    intake.put(Woke(run_id="s"))
    intake.put_back(taken)
    again = [w.event for w in intake.take()]
    assert [e.run_id for e in again] == ["r", "r", "r", "s"]
    assert [e.epoch for e in again[:3]] == [0, 1, 2]  # type: ignore[attr-defined]


@pytest.mark.services
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_run_that_another_engine_holds_is_left_and_then_waited_for(
    kind: str, tmp_path: Path
) -> None:
    """DESIGN § 3, one lock: SKIP LOCKED, then waiting, so engines never convoy."""
    try:
        with fresh_database(kind, tmp_path) as url:
            _held_header(House(tmp_path, url=str_of(url)))
    except NoServer as missing:
        pytest.skip(str(missing))


def str_of(url: Any) -> str:
    return url.render_as_string(hide_password=False)


def _held_header(house: House) -> None:
    assert isinstance(house.clock, FakeClock)
    house.upload("version: '2.0'\nw:\n  tasks:\n    t:\n      wait-before: 60\n")
    id = house.start("w")
    table = models.workflow_executions
    pause = PauseWorkflow(run_id=id, request_id="p", context=CALLER.to_dict())
    with house.database.begin() as other:
        other.execute(select(table.c.id).where(table.c.id == id).with_for_update())
        answer = house.put(pause)
        for _ in range(3):
            house.engine.loop.run_once(timeout=0)
            assert not answer.done()
        waiting = threading.Thread(target=house.engine.loop.run_once)
        waiting.start()
    waiting.join(10)
    assert answer.result(0) == {"id": id}
    assert house.header(id)["state"] == "PAUSED"
    house.close()


def test_two_engines_share_the_work(tmp_path: Path) -> None:
    """Whoever hears what: each event is decided once."""
    house = House(tmp_path)
    house.upload(FAN)
    ids = [house.start("fan") for _ in range(4)]
    engines = [house.engine, house.new_engine("two")]
    for _ in range(40):
        for engine in engines:
            house.engine = engine
            house.advance(0.5)
            engine.sweeps[0].run_once()
    assert {house.header(id)["state"] for id in ids} == {"SUCCESS"}
    query = select(func.count()).select_from(models.action_executions)
    with house.database.read() as connection:
        assert connection.scalar(query) == 4 * 23
    house.close()
