"""Results that are handed in with the question what follows (decision 0048)."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeClock, RecordingBus
from mistral_lib.actions import Action

from mistral.errors import Bug, Unavailable
from mistral.executors.further import PAUSE_SECONDS, UNUSED_SECONDS
from mistral.executors.server import FEW, ExecutorServer, ExecutorSettings
from mistral.messages import (
    ActionFinished,
    Batch,
    CallAction,
    HandIn,
    Heartbeat,
    Message,
    decode,
    encode,
)

SECONDS = 20
TRUSTED = 30.0


class Echo(Action):
    def __init__(self, actions: Actions, name: str, sync: bool) -> None:
        super().__init__()
        self._actions, self._name, self._sync = actions, name, sync

    def run(self, context: Any) -> Any:
        if self._name in self._actions.gates:
            assert self._actions.gates[self._name].wait(SECONDS)
        self._actions.ran.append(self._name)
        return self._name

    def is_sync(self) -> bool:
        return self._sync


class Actions:
    def __init__(self) -> None:
        self.ran: list[str] = []
        self.gates: dict[str, threading.Event] = {}

    def create(self, name: str, given: Any, *more: Any, **and_: Any) -> Any:
        return Echo(self, given["id"], sync=name != "async")

    def post_process(self, name: str, result: Any, *more: Any, **and_: Any) -> Any:
        return result


class Bench:
    """An executor that was not started, and an engine that answers as it is told."""

    def __init__(self, **settings: Any) -> None:
        self.bus = RecordingBus()
        self.bus.serve(self.bus.engine_topic, self._handle)
        self.clock = FakeClock()
        self.actions = Actions()
        self.handed_in: list[HandIn] = []
        self.beats: list[Heartbeat] = []
        self.answer: Callable[[HandIn], Any] = lambda message: {"call": None}
        numbers = itertools.count()
        self.server = ExecutorServer(
            self.bus,
            self.actions,
            ExecutorSettings(**{"host": "h1", "threads": 2, **settings}),
            self.clock,
            lambda: f"id-{next(numbers)}",
        )
        self.further = self.server._further

    def _handle(self, message: Message) -> Any:
        if isinstance(message, HandIn):
            self.handed_in.append(message)
            return self.answer(message)
        if isinstance(message, Heartbeat):
            self.beats.append(message)
            return {"over": [], "missing": [], "now": ""}
        assert isinstance(message, Batch)
        return [True] * len(message.events)

    def run(self, *names: str, **fields: Any) -> None:
        """Offers come, are claimed, and end."""
        self.server._claims.add([call(name, **fields) for name in names])
        assert self.server.claim_once() == len(names)
        self.idle()

    def idle(self) -> None:
        assert self.server._workers.wait_idle(SECONDS)

    def until_running(self, count: int) -> None:
        workers = self.server._workers
        with workers._change:
            assert workers._change.wait_for(
                lambda: len(workers._running) == count, SECONDS
            )

    def asks_now(self) -> bool:
        """One question, if there is one; whether something has begun."""
        return bool(self.further.run_once().get("begun"))

    def asks(self) -> bool:
        begun = self.asks_now()
        self.idle()
        return begun

    def sent(self) -> list[tuple[str | None, list[str]]]:
        """Topic and action ids of the results that went their ordinary way."""
        self.server._delivery.run_once()
        sent = []
        for topic, message in self.bus.sent:
            assert isinstance(message, Batch)
            sent.append((topic, [each["action_id"] for each in message.events]))
        self.bus.sent.clear()
        return sent

    def beat(self) -> Heartbeat:
        self.server._heartbeats.run_once()
        return self.beats[-1]


def call(name: str, action: str = "work", **fields: Any) -> CallAction:
    values = {"hand_in": True, "reply_to": "engine.one", "input": {"id": name}}
    return CallAction(action_id=name, name=action, **(values | fields))


def gives(name: str) -> Callable[[HandIn], Any]:
    return lambda message: {"call": encode(call(name))}


def test_what_comes_with_the_answer_runs_without_a_claim() -> None:
    bench = Bench()
    bench.run("a")
    bench.answer = gives("b")
    assert bench.asks()
    [asked] = bench.handed_in
    result = decode(asked.event)
    assert isinstance(result, ActionFinished)
    assert (result.action_id, result.result) == ("a", "a")
    assert asked.executor_id == bench.server.executor_id
    assert (asked.targets, asked.free) == ((None, "h1"), 2)
    assert bench.actions.ran == ["a", "b"]
    # the answer came after the commit
    assert bench.server._held.listed() == (("b", 1),)
    bench.answer = lambda message: {"call": None}
    assert not bench.asks()
    assert len({message.token for message in bench.handed_in}) == 2
    assert bench.server._held.listed() == ()
    assert bench.sent() == []
    assert (bench.beat().asking, bench.beat().unused) == ((), ())


def test_the_token_is_listed_until_what_was_granted_runs() -> None:
    bench = Bench()
    bench.run("a")
    seen: list[Heartbeat] = []

    def asked(message: HandIn) -> Any:
        seen.append(bench.beat())
        return {"call": encode(call("b"))}

    bench.answer = asked
    assert bench.asks()
    [beat], [message] = seen, bench.handed_in
    assert (beat.asking, beat.unused) == ((message.token,), ())
    assert beat.held == (("a", 1),)


@pytest.mark.parametrize(
    "answer",
    [
        Unavailable("nobody answers"),
        Bug("Messages of kind HandIn are unknown here"),
        None,
        [True],
        {"call": {"kind": "Batch", "events": []}},
        {"call": {"kind": "of a newer peer"}},
        {"call": 5},
    ],
)
def test_without_an_answer_nothing_runs_and_the_token_is_never_used(
    answer: Any,
) -> None:
    bench = Bench()
    bench.run("a")

    def answered(message: HandIn) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    bench.answer = answered
    assert not bench.asks()
    assert bench.actions.ran == ["a"]
    # to any engine: the one that made the offer may be gone
    assert bench.sent() == [(bench.bus.results_topic, ["a"])]
    beat, token = bench.beat(), bench.handed_in[0].token
    assert (beat.asking, beat.unused) == ((token,), (token,))
    # it is not asked again for a while
    bench.run("b")
    assert not bench.asks()
    assert bench.sent() == [("engine.one", ["b"])]
    bench.clock.advance(PAUSE_SECONDS)
    bench.answer = gives("d")
    bench.run("c")
    assert bench.asks()
    assert bench.actions.ran == ["a", "b", "c", "d"]
    bench.clock.advance(UNUSED_SECONDS)
    assert bench.beat().unused == ()
    assert (bench.beat().asking, bench.beat().unused) == ((), ())


def test_an_answer_that_was_long_on_its_way_is_not_used() -> None:
    """This executor may have been given up meanwhile (ENG-236)."""
    bench = Bench()
    bench.run("a")

    def late(message: HandIn) -> Any:
        bench.clock.advance(TRUSTED + 1)
        return {"call": encode(call("b"))}

    bench.answer = late
    assert not bench.asks()
    assert bench.actions.ran == ["a"]
    assert bench.beat().unused == (bench.handed_in[0].token,)
    # the result is committed all the same
    assert bench.server._held.listed() == ()


def test_what_waits_here_comes_first() -> None:
    bench = Bench(threads=1)
    bench.server._claims.add([call("a"), call("b")])
    assert bench.server.claim_once() == 1
    bench.idle()
    assert not bench.asks()
    assert bench.handed_in == []
    assert bench.sent() == [("engine.one", ["a"])]


def test_what_comes_while_the_answer_is_awaited_leaves_room_for_it() -> None:
    bench = Bench(threads=1)
    bench.run("a")
    begun: list[int] = []

    def asked(message: HandIn) -> Any:
        bench.server._claims.add([call("c")])
        assert not bench.server._claimable()
        begun.append(bench.server.claim_once())
        return {"call": encode(call("b"))}

    bench.answer = asked
    assert bench.asks()
    assert (begun, bench.actions.ran) == ([0], ["a", "b"])
    assert bench.server.claim_once() == 1
    bench.idle()
    assert bench.actions.ran == ["a", "b", "c"]


def test_who_has_no_free_worker_does_not_ask() -> None:
    bench = Bench(held_limit=1)
    bench.run("a")
    assert not bench.asks()
    assert bench.handed_in == []
    assert bench.sent() == [("engine.one", ["a"])]


def test_one_question_at_a_time_and_nobody_waits_for_its_answer() -> None:
    bench = Bench()
    bench.run("a", "b")
    [(_, others)] = bench.sent()
    assert not bench.asks()
    [asked] = bench.handed_in
    assert {asked.event["action_id"], *others} == {"a", "b"}


@pytest.mark.parametrize(
    "fields", [{"hand_in": False}, {"action": "async"}], ids=["older engine", "async"]
)
def test_what_is_not_handed_in_goes_its_ordinary_way(fields: dict[str, Any]) -> None:
    bench = Bench()
    bench.run("a", **fields)
    assert not bench.asks()
    assert bench.handed_in == []
    assert bench.sent() == [("engine.one", ["a"])]


def test_where_much_runs_results_share_messages() -> None:
    bench = Bench(threads=2 * FEW)
    names = [f"{number}" for number in range(FEW + 1)]
    bench.actions.gates = {name: threading.Event() for name in names}
    bench.server._claims.add([call(name) for name in names])
    assert bench.server.claim_once() == len(names)
    bench.actions.gates["0"].set()
    bench.until_running(FEW)
    assert not bench.asks_now()
    assert (bench.handed_in, bench.sent()) == ([], [("engine.one", ["0"])])
    bench.actions.gates["1"].set()
    bench.until_running(FEW - 1)
    bench.asks_now()
    [asked] = bench.handed_in
    assert asked.event["action_id"] == "1"
    for gate in bench.actions.gates.values():
        gate.set()
    bench.idle()


def test_who_stops_asks_no_more() -> None:
    bench = Bench()
    bench.run("a")
    bench.further.end()
    assert bench.sent() == [("engine.one", ["a"])]
    bench.run("b")
    assert not bench.asks()
    assert bench.handed_in == []
    assert bench.sent() == [("engine.one", ["b"])]
