"""The executor as a whole: with a bus that records, and over the memory driver."""

from __future__ import annotations

import itertools
import threading
import time as _time
import uuid
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import Any

import pytest
from fakes import FakeClock, RecordingBus
from mistral_lib.actions import Action

from mistral.bus import Bus
from mistral.clock import SystemClock
from mistral.errors import BadRequest, Unavailable
from mistral.executors.server import ExecutorServer, ExecutorSettings
from mistral.messages import (
    ActionFinished,
    Batch,
    CallAction,
    ClaimAction,
    Heartbeat,
    Message,
    State,
    decode,
    encode,
)

SECONDS = 20


class Gated(Action):
    """Tells that it runs, then waits for its gate."""

    def __init__(self, actions: Actions, name: str, sync: bool) -> None:
        super().__init__()
        self._actions = actions
        self._name = name
        self._sync = sync

    def run(self, context: Any) -> Any:
        self._actions.began.put(self._name)
        assert self._actions.gate.wait(SECONDS)
        return {"ran": self._name}

    def is_sync(self) -> bool:
        return self._sync


class Actions:
    def __init__(self) -> None:
        self.began: SimpleQueue[str] = SimpleQueue()
        self.gate = threading.Event()
        self.gate.set()

    def create(
        self,
        name: str,
        given: Mapping[str, Any],
        namespace: str = "",
        *,
        project_id: str | None = None,
    ) -> Any:
        return Gated(self, given.get("id", name), sync=name != "async")

    def post_process(
        self,
        name: str,
        result: Any,
        namespace: str = "",
        *,
        project_id: str | None = None,
    ) -> Any:
        return result


class Engine:
    """Grants each attempt to the first token, commits results, answers beats."""

    def __init__(self) -> None:
        self.started: dict[tuple[str, int], str] = {}
        self.results: dict[str, Message] = {}
        self.beats: SimpleQueue[Heartbeat] = SimpleQueue()
        self.claims: SimpleQueue[list[ClaimAction]] = SimpleQueue()
        self.silent = 0
        self.answers = threading.Event()
        self.answers.set()
        self.came = threading.Condition()

    def handle(self, message: Message) -> Any:
        if isinstance(message, Heartbeat):
            self.beats.put(message)
            return {"over": [i for i, _ in message.held if i in self.results]}
        assert isinstance(message, Batch)
        claims = [decode(event) for event in message.events]
        self.claims.put(claims)  # type: ignore[arg-type]
        answers = [
            self.started.setdefault((c.action_id, c.attempt), c.token) == c.token
            for c in claims
            if isinstance(c, ClaimAction)
        ]
        assert self.answers.wait(SECONDS)
        if self.silent:
            self.silent -= 1
            raise Unavailable("the answer is lost", retry_after=0)
        return answers

    def take(self, message: Message) -> None:
        assert isinstance(message, Batch)
        with self.came:
            for event in message.events:
                result = decode(event)
                self.results[result.action_id] = result  # type: ignore[attr-defined]
            self.came.notify_all()

    def wait_for(self, *ids: str) -> bool:
        with self.came:
            return self.came.wait_for(lambda: set(ids) <= set(self.results), SECONDS)


def offer(action_id: str, name: str = "work", **fields: Any) -> CallAction:
    return CallAction(action_id=action_id, name=name, input={"id": action_id}, **fields)


# -- With a bus that records: the test is the only thread that claims ----------


class Still:
    """An executor that was not started: nothing happens by itself."""

    def __init__(self, **settings: Any) -> None:
        self.bus = RecordingBus()
        self.engine = Engine()
        self.bus.serve(self.bus.engine_topic, self.engine.handle)
        self.actions = Actions()
        numbers = itertools.count()
        self.server = ExecutorServer(
            self.bus,
            self.actions,
            ExecutorSettings(**settings),
            FakeClock(),
            lambda: f"id-{next(numbers)}",
        )

    def receive(self, message: Message) -> threading.Thread:
        """Let a broker's thread deliver; it ends when the offer is answered."""
        thread = threading.Thread(target=self.server.take, args=(message,))
        before = len(self.server._claims)
        thread.start()
        _until(lambda: len(self.server._claims) > before or not thread.is_alive())
        return thread


def _until(true: Callable[[], bool]) -> None:
    deadline = _time.monotonic() + SECONDS
    while not true():
        assert _time.monotonic() < deadline
        threading.Event().wait(0.001)


def test_an_offer_is_acknowledged_when_its_claim_is_answered() -> None:
    still = Still()
    delivery = still.receive(offer("a"))
    assert delivery.is_alive(), "unacknowledged while unclaimed"
    assert still.server.claim_once() == 1
    delivery.join(SECONDS)
    assert not delivery.is_alive()
    assert still.actions.began.get(timeout=SECONDS) == "a"


def test_eng_236_the_same_offer_twice_starts_one_run() -> None:
    still = Still()
    first, second = still.receive(offer("a")), None
    second = threading.Thread(target=still.server.take, args=(offer("a"),))
    second.start()
    still.server.claim_once()
    for delivery in (first, second):
        delivery.join(SECONDS)
    # one more copy after the run has begun: the engine says no, or it is known
    late = still.receive(offer("a"))
    still.server.claim_once()
    late.join(SECONDS)
    assert still.actions.began.get(timeout=SECONDS) == "a"
    assert still.actions.began.empty()


def test_a_refused_claim_does_not_run() -> None:
    still = Still()
    still.engine.started["a", 1] = "token of another executor"
    delivery = still.receive(offer("a"))
    assert still.server.claim_once() == 0
    delivery.join(SECONDS)
    assert still.actions.began.empty()
    assert still.server.claim_once() == 0
    assert still.engine.claims.qsize() == 1, "forgotten, not asked again"


def test_without_an_answer_nothing_runs_until_it_is_asked_again() -> None:
    still = Still()
    still.engine.silent = 1
    delivery = still.receive(offer("a"))
    with pytest.raises(Unavailable):
        still.server.claim_once()
    assert delivery.is_alive()
    assert still.actions.began.empty()
    assert still.server.claim_once() == 1
    assert still.actions.began.get(timeout=SECONDS) == "a"


def test_no_more_is_claimed_than_can_run() -> None:
    still = Still(threads=2)
    still.actions.gate.clear()
    batch = Batch(events=tuple(encode(offer(i)) for i in "abc"))
    delivery = still.receive(batch)
    assert still.server.claim_once() == 2
    assert still.server.claim_once() == 0
    assert len(still.engine.claims.get(timeout=SECONDS)) == 2
    assert delivery.is_alive()
    still.actions.gate.set()
    assert still.server._workers.wait_idle(SECONDS)
    assert still.server.claim_once() == 1


def test_results_that_may_be_lost_are_sent_again_when_the_broker_is_back() -> None:
    """Those that were sent, without waiting for a beat to miss them."""
    still = Still()
    still.receive(offer("a"))
    assert still.server.claim_once() == 1
    assert still.server._workers.wait_idle(SECONDS)
    assert still.server._delivery.run_once() == {"sent": 1}
    assert still.server._delivery.run_once() == {"sent": 0}
    still.server.send_again()
    assert still.server._delivery.run_once() == {"sent": 1}
    assert [topic for topic, _ in still.bus.sent] == [still.bus.results_topic] * 2


def test_nothing_is_claimed_when_held_results_are_at_their_bound() -> None:
    still = Still(held_limit=1)
    still.receive(offer("a"))
    still.server.claim_once()
    assert still.server._workers.wait_idle(SECONDS)
    still.receive(offer("b"))
    assert still.server.claim_once() == 0
    assert still.server._held.drop([("a", 1)]) == 1
    assert still.server.claim_once() == 1


def test_a_run_that_is_over_is_given_up_and_its_result_thrown_away() -> None:
    """§ 8.9: the engine wants it no more."""
    still = Still(threads=1)
    still.actions.gate.clear()
    still.receive(offer("a"))
    still.server.claim_once()
    assert still.actions.began.get(timeout=SECONDS) == "a"
    still.bus.handlers.clear()
    still.bus.answers = [{"over": ["a"], "missing": []}]
    assert still.server._heartbeats.run_once()["abandoned"] == 1
    assert still.server._workers.running() == ()
    still.actions.gate.set()
    _until(lambda: still.server._workers.left_behind == 0)
    assert still.server._held.listed() == ()


# -- Over the memory driver ----------------------------------------------------


class Running:
    def __init__(self, **settings: Any) -> None:
        self.bus = Bus(f"memory:///{uuid.uuid4()}", call_timeout=SECONDS)
        self.engine = Engine()
        self.actions = Actions()
        self.settings = ExecutorSettings(
            **{"host": "h1", "check_interval": 0.1, "stop_seconds": 5, **settings}
        )
        self.bus.start()
        self.bus.serve(self.bus.engine_topic, self.engine.handle)
        self.bus.listen(self.bus.results_topic, self.engine.take)
        self.server = self.another()

    def another(self) -> ExecutorServer:
        server = ExecutorServer(
            self.bus,
            self.actions,
            self.settings,
            SystemClock(),
            lambda: str(uuid.uuid4()),
        )
        server.start()
        return server

    def stop(self) -> None:
        self.actions.gate.set()
        self.server.stop()
        self.bus.stop()


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.stop()


def test_offers_become_results_that_are_dropped_once_committed(
    running: Running,
) -> None:
    running.bus.send(
        Batch(events=tuple(encode(offer(i)) for i in "abc")),
        topic=running.bus.executor_topic,
    )
    assert running.engine.wait_for("a", "b", "c")
    assert running.engine.results["b"] == ActionFinished(
        action_id="b", state=State.SUCCESS, result={"ran": "b"}
    )
    _until(lambda: running.server._held.listed() == ())


def test_eng_209_a_target_reaches_its_group_only(running: Running) -> None:
    running.bus.send(offer("a"), target="h2")
    running.bus.send(offer("b"), target="h1")
    assert running.engine.wait_for("b")
    assert "a" not in running.engine.results


def test_lost_answers_delay_and_nothing_runs_twice(running: Running) -> None:
    """One after the other, as from an engine that is stopped: each is asked for again
    within a second, not ever later."""
    running.engine.silent = 6
    running.bus.send(offer("a"))
    assert running.engine.wait_for("a")
    first = running.engine.claims.get(timeout=SECONDS)
    second = running.engine.claims.get(timeout=SECONDS)
    assert first == second
    assert running.actions.began.qsize() == 1


def test_a_chain_of_short_actions_has_no_beat_for_each() -> None:
    running = Running(check_interval=3600)
    names = [f"a{number}" for number in range(60)]
    for name in names:
        running.bus.send(offer(name))
        assert running.engine.wait_for(name)
    assert running.engine.beats.qsize() < len(names) / 2
    running.stop()


def test_a_beat_follows_the_first_action_within_a_second() -> None:
    running = Running(check_interval=3600)
    running.actions.gate.clear()
    assert running.engine.beats.get(timeout=SECONDS).running == ()
    running.bus.send(offer("a"))
    beat = running.engine.beats.get(timeout=SECONDS)
    assert [list(key) for key in beat.running] == [["a", 1]]
    assert beat.host == "h1"
    running.stop()


def test_asynchronous_instances_are_reported(running: Running) -> None:
    running.bus.send(offer("a", name="async"))
    assert running.engine.wait_for("a")
    assert type(running.engine.results["a"]).__name__ == "ActionTurnedAsync"


def test_eng_201_an_immediate_run_answers_with_state_and_result(
    running: Running,
) -> None:
    answer = running.bus.call(CallAction(name="work"))
    assert answer == {"state": "SUCCESS", "result": {"ran": "work"}}
    answer = running.bus.call(CallAction(name="work"), target="h1")
    assert answer["state"] == "SUCCESS"
    assert running.engine.results == {}


def test_eng_203_an_immediate_run_of_an_asynchronous_action_is_refused(
    running: Running,
) -> None:
    with pytest.raises(BadRequest, match="does not support synchronous execution"):
        running.bus.call(CallAction(name="async"))


def test_a_stop_finishes_what_runs_and_hands_back_the_rest() -> None:
    running = Running(threads=1, check_interval=3600)
    running.actions.gate.clear()
    running.bus.send(offer("a"))
    assert running.actions.began.get(timeout=SECONDS) == "a"
    running.bus.send(offer("b"))
    _until(lambda: len(running.server._claims) == 1)
    stopping = threading.Thread(target=running.server.stop)
    stopping.start()
    _until(lambda: len(running.server._claims) == 0)
    running.actions.gate.set()
    stopping.join(SECONDS)
    assert not stopping.is_alive()
    assert running.engine.wait_for("a")
    beats = [running.engine.beats.get() for _ in range(running.engine.beats.qsize())]
    assert [beat.leaving for beat in beats][-1]
    assert not any(beat.leaving for beat in beats[:-1])
    # what was not claimed is run by another executor, once
    running.server = running.another()
    assert running.engine.wait_for("b")
    assert running.actions.began.get(timeout=SECONDS) == "b"
    assert running.actions.began.empty()
    running.stop()


def test_a_stop_asks_again_about_what_may_have_been_granted() -> None:
    """ENG-235: nobody else can run it, and it would fail because this one left."""
    running = Running(check_interval=3600)
    running.engine.silent = 2
    running.engine.answers.clear()
    running.bus.send(offer("a"))
    assert running.engine.claims.get(timeout=SECONDS)
    stopping = threading.Thread(target=running.server.stop)
    stopping.start()
    _until(running.server._stopping.is_set)
    running.engine.answers.set()
    stopping.join(SECONDS)
    assert not stopping.is_alive()
    assert running.engine.wait_for("a")
    running.stop()


def test_a_stop_waits_until_its_results_are_committed() -> None:
    """The engine that made the offer stops, too, and hears nothing more."""
    running = Running(check_interval=3600)
    running.bus.send(offer("a", reply_to="engine.that.is.gone"))
    assert running.actions.began.get(timeout=SECONDS) == "a"
    running.server.stop()
    assert set(running.engine.results) == {"a"}
    running.stop()
