"""Results are held until the engine has committed them (§ 8.7)."""

from __future__ import annotations

import queue

import pytest
from fakes import FakeClock, RecordingBus

from mistral.errors import Unavailable
from mistral.executors.claims import Claims
from mistral.executors.further import Further, Myself
from mistral.executors.heartbeat import Heartbeats
from mistral.executors.held import CHUNK, Delivery, Held
from mistral.executors.workers import Workers
from mistral.messages import (
    ActionFinished,
    Batch,
    CallAction,
    Heartbeat,
    Message,
    decode,
)

RESULTS = RecordingBus.results_topic
SECONDS = 60.0


class Bench:
    def __init__(
        self, limit: int = 10, limit_bytes: int = 1000, interval: float = 10
    ) -> None:
        self.bus = RecordingBus()
        self.clock = FakeClock()
        self.held = Held(self.clock, RESULTS, limit=limit, limit_bytes=limit_bytes)
        self.delivery = Delivery(self.held, self.bus, 10)
        self.workers = Workers(2, lambda call: result("never"), self.clock)
        self.claims = Claims(self.bus, "ex1", lambda: "token", self.clock, 30)
        self.further = Further(
            self.bus,
            Myself(executor_id="ex1", targets=(None, "h1")),
            lambda: "token",
            self.clock,
            self.claims,
            self.held,
            self.workers.free,
            lambda call: None,
            *[self.delivery.wake] * 3,
            trusted_seconds=30,
        )
        self.beats = Heartbeats(
            self.bus,
            "ex1",
            "h1",
            self.claims,
            self.workers,
            self.held,
            self.delivery,
            self.further,
            interval,
            self.clock,
        )

    def sent(self) -> list[tuple[str | None, list[Message]]]:
        """Topic and contents of each message since the last look."""
        sent = []
        for topic, message in self.bus.sent:
            assert isinstance(message, Batch)
            sent.append((topic, [decode(event) for event in message.events]))
        self.bus.sent.clear()
        return sent

    def beat(self, over: list[str] | None = None, missing: list[str] | None = None):
        self.bus.answers = [{"over": over or [], "missing": missing or []}]
        return self.beats.run_once()


def result(action_id: str, attempt: int = 1) -> ActionFinished:
    return ActionFinished(action_id=action_id, attempt=attempt, result="x")


def test_results_go_to_the_engine_that_made_the_offer() -> None:
    bench = Bench()
    bench.held.keep(result("a"), "engine-1")
    bench.held.keep(result("b"), None)
    bench.held.keep(result("c"), "engine-1")
    assert bench.delivery.run_once() == {"sent": 3}
    assert sorted(bench.sent()) == [
        ("engine-1", [result("a"), result("c")]),
        (RESULTS, [result("b")]),
    ]
    assert bench.delivery.run_once() == {"sent": 0}


def test_results_travel_in_chunks() -> None:
    bench = Bench(limit=100, limit_bytes=10_000)
    for number in range(CHUNK + 1):
        bench.held.keep(result(str(number)), None)
    bench.delivery.run_once()
    assert [len(events) for _, events in bench.sent()] == [CHUNK, 1]


def test_eng_237_what_the_broker_refused_stays_due() -> None:
    bench = Bench()
    bench.held.keep(result("a"), None)
    bench.bus.refuse_sends = Unavailable("down")
    with pytest.raises(Unavailable):
        bench.delivery.run_once()
    bench.bus.refuse_sends = None
    assert bench.delivery.run_once() == {"sent": 1}


def test_a_result_is_dropped_when_its_action_is_over() -> None:
    bench = Bench()
    bench.held.keep(result("a"), None)
    bench.held.keep(result("b"), None)
    bench.delivery.run_once()
    assert bench.beat(over=["a"])["dropped"] == 1
    [beat] = bench.bus.called
    assert isinstance(beat, Heartbeat)
    assert [list(key) for key in beat.held] == [["a", 1], ["b", 1]]
    assert bench.held.listed() == (("b", 1),)


def test_unconfirmed_and_missing_results_are_sent_again_to_any_engine() -> None:
    bench = Bench()
    bench.held.keep(result("a"), "engine-1")
    bench.held.keep(result("b"), "engine-1")
    bench.delivery.run_once()
    bench.sent()
    bench.clock.advance(5)
    assert bench.beat(missing=["b"])["again"] == 1
    bench.delivery.run_once()
    assert bench.sent() == [(RESULTS, [result("b")])]
    bench.clock.advance(5)
    assert bench.beat()["again"] == 1
    bench.delivery.run_once()
    assert bench.sent() == [(RESULTS, [result("a")])]


def test_a_beat_lists_what_is_asked_for_and_when_the_last_was_answered() -> None:
    """The engine takes for lost only what was granted before that time and is listed
    nowhere."""
    bench = Bench()
    bench.claims.add([CallAction(action_id="a"), CallAction(action_id="b")])
    with pytest.raises(Unavailable):
        bench.claims.ask(lambda: 1, lambda call: None)
    bench.bus.called.clear()
    bench.bus.answers = [{"now": "2020-01-01T00:00:00"}, Unavailable("gone"), {}]
    bench.beats.run_once()
    with pytest.raises(Unavailable):
        bench.beats.run_once()
    bench.beats.run_once()
    beats = [beat for beat in bench.bus.called if isinstance(beat, Heartbeat)]
    assert [beat.heard for beat in beats] == ["", *["2020-01-01T00:00:00"] * 2]
    assert {beat.asking for beat in beats} == {("token",)}
    assert {beat.running for beat in beats} == {()}


def test_an_unanswered_beat_changes_nothing() -> None:
    bench = Bench()
    bench.held.keep(result("a"), None)
    bench.bus.answers = [Unavailable("gone")]
    with pytest.raises(Unavailable):
        bench.beats.run_once()
    assert bench.held.listed() == (("a", 1),)


def test_of_several_attempts_the_newest_stays() -> None:
    """An answer names actions; a result of a later attempt is never lost."""
    bench = Bench()
    bench.held.keep(result("a", 1), None)
    bench.held.keep(result("a", 2), None)
    bench.beat(over=["a"])
    assert bench.held.listed() == (("a", 2),)
    bench.beat(over=["a"])
    assert bench.held.listed() == ()


def test_a_result_that_came_after_the_beat_is_not_meant() -> None:
    bench = Bench()

    def engine(message: Message) -> object:
        bench.held.keep(result("a"), None)
        return {"over": ["a"]}

    bench.bus.serve(bench.bus.engine_topic, engine)
    bench.beats.run_once()
    assert bench.held.listed() == (("a", 1),)


def test_the_store_is_bounded_by_number_and_size() -> None:
    bench = Bench(limit=2)
    assert bench.held.room() == 2
    assert not bench.held.crowded()
    bench.held.keep(result("a"), None)
    assert bench.held.crowded()
    bench.held.keep(result("b"), None)
    assert bench.held.room() == 0
    big = Bench(limit_bytes=100)
    big.held.keep(ActionFinished(action_id="a", result="x" * 200), None)
    assert big.held.room() == 0
    big.held.drop([("a", 1)])
    assert big.held.room() == 10


def test_engines_that_are_behind_are_not_asked_with_each_result() -> None:
    """Once half of the bound is reached, each further quarter is worth a beat."""
    bench = Bench(limit=8)
    crowded = []
    for n in range(8):
        bench.held.keep(result(f"r{n}"), None)
        crowded.append(bench.held.crowded())
        if crowded[-1]:
            bench.beat(over=[])
    assert [n for n, found in enumerate(crowded, 1) if found] == [4, 6, 8]
    big = Bench(limit_bytes=800)
    for n in range(4):
        big.held.keep(ActionFinished(action_id=f"r{n}", result="x" * 98), None)
    assert big.held.crowded()
    big.beat(over=[])
    assert not big.held.crowded()


def test_whoever_is_full_asks_again_soon() -> None:
    """And not at the next ordinary beat: until then it could run nothing."""
    bench = Bench(limit=2, interval=600)
    told, beats = queue.Queue[Message](), list[Message]()

    def engine(message: Message) -> object:
        told.put(message)
        beats.append(message)
        return {"over": ["a"] if len(beats) > 2 else [], "missing": []}

    bench.bus.serve(bench.bus.engine_topic, engine)
    bench.held.keep(result("a"), None)
    bench.held.keep(result("b"), None)
    bench.beats.start()
    for _ in range(3):
        assert isinstance(told.get(timeout=SECONDS), Heartbeat)
    bench.beats.stop()
    assert told.empty()


def test_the_last_beat_says_that_it_is_the_last() -> None:
    bench = Bench()
    bench.bus.answers = [{}]
    bench.beats.leave()
    [beat] = bench.bus.called
    assert isinstance(beat, Heartbeat)
    assert beat.leaving
    assert (beat.executor_id, beat.host) == ("ex1", "h1")
