"""Slots, deadlines, and threads that are left behind."""

from __future__ import annotations

import itertools
import threading
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from fakes import FakeClock

from mistral.clock import SystemClock
from mistral.executors.runner import Outcome
from mistral.executors.workers import Key, Workers
from mistral.messages import ActionFinished, CallAction

SECONDS = 10


class Bench:
    """Workers whose actions run until they are let go."""

    def __init__(self, size: int) -> None:
        self.clock = FakeClock()
        self.gates: dict[str, threading.Event] = {}
        self.told: SimpleQueue[Outcome] = SimpleQueue()
        self.workers = Workers(size, self._run, self.clock)

    def _run(self, call: CallAction) -> Outcome:
        self.gates[call.action_id].wait(SECONDS)
        return ActionFinished(action_id=call.action_id, result="done")

    def begin(self, action_id: str, timeout: int | None = None) -> bool:
        self.gates.setdefault(action_id, threading.Event())
        call = CallAction(action_id=action_id, name="n", timeout=timeout)
        return self.workers.begin((action_id, 1), call, self.told.put)

    def settle(self) -> None:
        """Wait until the threads that were let go have ended."""
        with self.workers._change:
            assert self.workers._change.wait_for(
                lambda: not self.workers.left_behind, SECONDS
            )


def test_slots_are_bounded_and_come_back() -> None:
    bench = Bench(2)
    assert bench.begin("a")
    assert not bench.begin("a"), "the same attempt runs once"
    assert bench.begin("b")
    assert bench.workers.free() == 0
    assert not bench.begin("c")
    bench.gates["a"].set()
    assert bench.told.get(timeout=SECONDS) == ActionFinished(
        action_id="a", result="done"
    )
    bench.gates["b"].set()
    assert bench.workers.wait_idle(SECONDS)
    assert bench.workers.free() == 2


def test_eng_163_timeouts_are_reported_at_the_deadline_and_free_the_slot() -> None:
    bench = Bench(1)
    bench.begin("a", timeout=5)
    bench.clock.advance(4)
    assert bench.workers.expire() == 0
    bench.clock.advance(1)
    assert bench.workers.expire() == 1
    outcome = bench.told.get(timeout=SECONDS)
    assert isinstance(outcome, ActionFinished)
    assert "Timeout after 5 seconds" in outcome.result
    assert bench.workers.running() == ()
    bench.gates["a"].set()
    bench.settle()
    with pytest.raises(Empty):
        bench.told.get_nowait()


@pytest.mark.parametrize("end", [Workers.expire, Workers.cut_off])
def test_an_action_is_listed_until_its_outcome_was_told(end: Any) -> None:
    """A beat in between finds it twice rather than not at all."""
    listed: list[tuple[Key, ...]] = []
    gate = threading.Event()

    def run(call: CallAction) -> Outcome:
        gate.wait(SECONDS)
        return ActionFinished()

    clock = FakeClock()
    workers = Workers(1, run, clock)
    call = CallAction(action_id="a", name="n", timeout=5)
    workers.begin(("a", 1), call, lambda outcome: listed.append(workers.running()))
    clock.advance(6)
    end(workers)
    # the watcher of deadlines may have been first
    assert workers.wait_idle(SECONDS)
    assert listed == [(("a", 1),)]
    assert workers.free() == 0
    gate.set()


def test_deadlines_hold_without_being_asked() -> None:
    gate = threading.Event()
    told: SimpleQueue[Outcome] = SimpleQueue()

    def run(call: CallAction) -> Outcome:
        gate.wait(SECONDS)
        return ActionFinished()

    workers = Workers(1, run, SystemClock())
    workers.begin(("a", 1), CallAction(name="n", timeout=1), told.put)
    outcome = told.get(timeout=SECONDS)
    assert isinstance(outcome, ActionFinished)
    assert "Timeout after 1 seconds" in outcome.result
    gate.set()


def test_threads_left_behind_are_bounded() -> None:
    bench = Bench(2)
    for name in "ab":
        bench.begin(name)
        assert bench.workers.abandon([(name, 1)]) == 1
    assert bench.workers.left_behind == 2
    assert bench.workers.free() == 0
    assert not bench.begin("c")
    for name in "ab":
        bench.gates[name].set()
    bench.settle()
    assert bench.workers.free() == 2


def test_abandoned_runs_tell_nobody() -> None:
    bench = Bench(1)
    bench.begin("a")
    assert bench.workers.abandon([("a", 2), ("b", 1)]) == 0
    assert bench.workers.abandon([("a", 1)]) == 1
    bench.gates["a"].set()
    bench.settle()
    assert bench.told.empty()


def test_closed_workers_begin_nothing_and_can_be_cut_off() -> None:
    bench = Bench(2)
    bench.begin("a")
    bench.workers.close()
    assert bench.workers.free() == 0
    assert not bench.begin("b")
    assert not bench.workers.wait_idle(0)
    bench.workers.cut_off()
    outcome = bench.told.get(timeout=SECONDS)
    assert isinstance(outcome, ActionFinished)
    assert "The executor was stopped" in outcome.result
    bench.gates["a"].set()
    bench.settle()


def test_an_outcome_is_told_once_whoever_is_first() -> None:
    """The deadline and the end of the action meet."""
    for round_ in itertools.islice(itertools.count(), 50):
        bench = Bench(1)
        bench.begin(str(round_), timeout=1)
        bench.clock.advance(2)
        racer = threading.Thread(target=bench.workers.expire)
        racer.start()
        bench.gates[str(round_)].set()
        racer.join()
        bench.settle()
        assert bench.workers.wait_idle(SECONDS)
        bench.told.get(timeout=SECONDS)
        assert bench.told.empty()
