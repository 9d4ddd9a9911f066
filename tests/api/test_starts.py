"""Starts that come at the same time travel together (``mistral/api/starts.py``)."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import pytest
from fakes import FakeClock, RecordingBus
from rest import Client

from mistral.api.starts import (
    CROWD,
    FLIGHTS,
    LARGE,
    MOST,
    MOST_KNOWN,
    PAUSE_SECONDS,
    Starts,
    _Line,
)
from mistral.errors import Bug, MistralError, NotFound, Unavailable, to_wire
from mistral.messages import (
    Message,
    PauseWorkflow,
    StartTogether,
    StartWorkflow,
    decode,
)

SECONDS = 20

FIRST = [[f"p{number}"] for number in range(FLIGHTS)]
"""What is under way before others wait."""


def start(id: str, project: str = "p", **more: Any) -> StartWorkflow:
    return StartWorkflow(
        run_id=id, request_id=f"q-{id}", context={"project_id": project}, **more
    )


def singly(message: StartWorkflow) -> Any:
    """What an engine decides about a start."""
    if message.run_id.startswith("missing"):
        raise NotFound(f"no workflow for {message.run_id}")
    return {"id": message.run_id}


def together(message: StartTogether) -> list[Any]:
    """The same, of those that travel together; some are ``late``."""
    found: list[Any] = []
    for wire in message.requests:
        each = decode(wire)
        assert isinstance(each, StartWorkflow)
        if each.run_id.startswith("late"):
            found.append({"later": True})
            continue
        try:
            found.append({"answer": singly(each)})
        except MistralError as error:
            found.append({"error": to_wire(error)})
    return found


def ids(message: Message) -> list[str]:
    if isinstance(message, StartTogether):
        return [wire["run_id"] for wire in message.requests]
    assert isinstance(message, StartWorkflow)
    return [message.run_id]


class Engine(RecordingBus):
    """Each message waits until it is let go.

    :ivar together: answers those that travel together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.together: Callable[[StartTogether], Any] = together
        self.timeouts: list[float | None] = []
        self.open = False
        self._change = threading.Condition()
        self._let_go: set[str] = set()
        self.serve(self.engine_topic, self._hear)

    def call(self, message: Message, **how: Any) -> Any:
        self.timeouts.append(how.get("timeout"))
        return super().call(message, **how)

    def _hear(self, message: Message) -> Any:
        with self._change:
            self._change.notify_all()
            found = ids(message)
            assert self._change.wait_for(
                lambda: self.open or self._let_go.issuperset(found), SECONDS
            )
        if isinstance(message, StartTogether):
            return self.together(message)
        assert isinstance(message, StartWorkflow)
        return singly(message)

    def hears(self, *expected: list[str]) -> None:
        """Wait until so many messages have come; which starts they bring."""
        with self._change:
            assert self._change.wait_for(
                lambda: len(self.called) >= len(expected), SECONDS
            )
            assert [ids(message) for message in self.called] == list(expected)

    def let_go(self, *found: str) -> None:
        with self._change:
            self._let_go.update(found)
            self._change.notify_all()

    def close(self) -> None:
        """What comes from now on waits again."""
        with self._change:
            self.open = False

    def let_all_go(self) -> None:
        with self._change:
            self.open = True
            self._change.notify_all()


class Patience:
    """Ends when it is told to."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self, told: threading.Event, seconds: float) -> bool:
        while not told.wait(0.001):
            if self.over.is_set():
                return False
        return True


class World:
    """Callers with a thread each, one after the other."""

    def __init__(self) -> None:
        self.engine, self.clock, self.patience = Engine(), FakeClock(), Patience()
        self.starts = Starts(self.engine, self.clock, wait=self.patience)
        self.pool = ThreadPoolExecutor(64)

    def ask(self, id: str, project: str = "p", **more: Any) -> Future[Any]:
        return self.pool.submit(self.starts.call, start(id, project, **more))

    def under_way(self, project: str = "p") -> list[Future[Any]]:
        """So many that whoever comes now waits."""
        before = len(self.engine.called)
        known = [ids(message) for message in self.engine.called]
        found = []
        for number in range(FLIGHTS):
            id = f"{project}{before + number}"
            found.append(self.ask(id, project))
            known.append([id])
            self.engine.hears(*known)
        return found

    def queued(self, *found: str, project: str = "p") -> list[Future[Any]]:
        """They wait, in this order."""
        futures = []
        for id in found:
            before = self.starts.waiting(project)
            futures.append(self.ask(id, project))
            while self.starts.waiting(project) == before:
                threading.Event().wait(0.001)
        return futures

    def travel(self, *found: str) -> list[Future[Any]]:
        """They have come to the engine in one message."""
        self.under_way()
        futures = self.queued(*found)
        self.engine.let_go("p0")
        self.engine.hears(*FIRST, list(found))
        return futures


@pytest.fixture
def world() -> Any:
    world = World()
    yield world
    world.engine.let_all_go()
    world.patience.over.set()
    world.pool.shutdown()


def answered(futures: list[Future[Any]]) -> list[Any]:
    return [future.result(SECONDS)["id"] for future in futures]


def test_a_start_goes_at_once_as_it_always_did(world: World) -> None:
    world.engine.let_all_go()
    assert world.starts.call(start("a")) == {"id": "a"}
    assert world.engine.called == [start("a")]
    with pytest.raises(NotFound, match="missing-b"):
        world.starts.call(start("missing-b"))
    assert world.engine.timeouts == [None, None]
    assert world.starts._lines == {}


def test_what_comes_meanwhile_travels_together(world: World) -> None:
    first = world.under_way()
    more = world.queued("a", "b", "c")
    world.engine.let_go("p0")
    world.engine.hears(*FIRST, ["a", "b", "c"])
    world.engine.let_all_go()
    assert answered([*first, *more]) == [*(id for [id] in FIRST), "a", "b", "c"]
    assert world.starts._lines["p"].under_way == 0


def test_one_that_waited_alone_goes_in_a_message_of_its_own(world: World) -> None:
    first = world.under_way()
    more = world.queued("a")
    world.engine.let_go("p0")
    world.engine.hears(*FIRST, ["a"])
    assert world.engine.called[-1] == start("a")
    world.engine.let_all_go()
    assert answered([*first, *more])[-1] == "a"


def test_one_that_is_refused_disturbs_no_other(world: World) -> None:
    a, missing, b = world.travel("a", "missing", "b")
    world.engine.let_all_go()
    assert answered([a, b]) == ["a", "b"]
    with pytest.raises(NotFound, match="no workflow for missing"):
        missing.result(SECONDS)
    assert len(world.engine.called) == FLIGHTS + 1


def test_a_message_has_so_many_starts(world: World) -> None:
    world.under_way()
    names = [f"n{number}" for number in range(MOST + 2)]
    more = world.queued(*names)
    world.engine.let_go("p0")
    world.engine.hears(*FIRST, names[:MOST])
    world.engine.let_go("p1", *names[:MOST])
    world.engine.hears(*FIRST, names[:MOST], names[MOST:])
    world.engine.let_all_go()
    assert answered(more) == names


def test_nobody_waits_longer_than_a_moment(world: World) -> None:
    """The messages that are under way do not come back."""
    world.under_way()
    more = world.queued("a", "b")
    world.patience.over.set()
    with world.engine._change:
        assert world.engine._change.wait_for(
            lambda: sum(len(ids(m)) for m in world.engine.called) == FLIGHTS + 2,
            SECONDS,
        )
    world.engine.let_go("a", "b")
    assert answered(more) == ["a", "b"]
    assert world.starts._lines["p"].under_way == FLIGHTS


def test_what_comes_while_others_travel_together_travels_next(world: World) -> None:
    more = world.travel("a", "b", "c")
    later = world.queued("d", "e")
    world.engine.let_go("p1", "a", "b", "c")
    world.engine.hears(*FIRST, ["a", "b", "c"], ["d", "e"])
    world.engine.let_all_go()
    assert answered([*more, *later]) == ["a", "b", "c", "d", "e"]


def test_where_many_came_together_one_message_is_waited_for(world: World) -> None:
    """Until somebody has waited for nothing."""
    names = [f"n{number}" for number in range(CROWD)]
    more = world.travel(*names)
    world.engine.let_all_go()
    answered(more)
    while world.starts._lines["p"].under_way:
        threading.Event().wait(0.001)
    world.engine.close()
    heard = [ids(message) for message in world.engine.called]
    first = world.ask("first")
    world.engine.hears(*heard, ["first"])
    [second] = world.queued("second")
    world.engine.let_go("first")
    world.engine.hears(*heard, ["first"], ["second"])
    third = world.ask("third")
    world.engine.hears(*heard, ["first"], ["second"], ["third"])
    world.engine.let_all_go()
    assert answered([first, second, third]) == ["first", "second", "third"]


def test_not_all_projects_are_remembered(world: World) -> None:
    lines = {f"p{number}": _Line(crowded=True) for number in range(MOST_KNOWN)}
    lines["p5"].under_way = 1
    world.starts._lines = dict(lines)
    world.engine.let_all_go()
    assert world.starts.call(start("a", "another")) == {"id": "a"}
    assert world.starts._lines == {"p5": lines["p5"]}


def test_projects_do_not_wait_for_each_other(world: World) -> None:
    world.under_way("p")
    world.queued("a")
    other = world.ask("quiet", "other")
    world.engine.hears(*FIRST, ["quiet"])
    world.engine.let_go("quiet")
    assert answered([other]) == ["quiet"]


def test_what_takes_long_is_asked_for_by_itself(world: World) -> None:
    a, late, missing = world.travel("a", "late-b", "late-missing")
    world.clock.advance(20.0)
    world.engine.let_all_go()
    assert answered([a, late]) == ["a", "late-b"]
    assert answered([missing]) == ["late-missing"]
    assert start("late-b") in world.engine.called, "with the same request id"
    assert world.engine.timeouts[-1] == 40.0, "no longer than it would have waited"


def test_what_is_unknown_of_the_message_is_unknown_of_each(world: World) -> None:
    def away(message: StartTogether) -> Any:
        raise Unavailable("No answer from engines", retry_after=3.0)

    world.engine.together = away
    more = world.travel("a", "b")
    world.engine.let_all_go()
    for each in more:
        with pytest.raises(Unavailable, match="No answer") as raised:
            each.result(SECONDS)
        assert raised.value.retry_after == 3.0
    assert len(world.engine.called) == FLIGHTS + 1


def old(message: StartTogether) -> Any:
    raise Bug("Messages of kind StartTogether are unknown here")


@pytest.mark.parametrize(
    "answer",
    [old, lambda message: None, lambda message: [], lambda message: {"id": "a"}],
)
def test_an_older_engine_is_asked_one_by_one_for_a_while(
    world: World, answer: Callable[[StartTogether], Any]
) -> None:
    world.engine.together = answer
    first = world.under_way()
    more = world.queued("a", "b")
    world.engine.let_go("p0", "a", "b")
    assert answered(more) == ["a", "b"]
    kinds = [type(message).__name__ for message in world.engine.called]
    assert kinds == [
        *["StartWorkflow"] * FLIGHTS,
        "StartTogether",
        *["StartWorkflow"] * 2,
    ]
    many = [world.ask(f"m{number}") for number in range(FLIGHTS + 3)]
    world.engine.let_go(*(f"m{number}" for number in range(FLIGHTS + 3)))
    assert answered(many) == [f"m{number}" for number in range(FLIGHTS + 3)]
    world.engine.let_all_go()
    answered(first)
    assert sum(isinstance(m, StartTogether) for m in world.engine.called) == 1
    world.engine.together = together
    world.engine.close()
    world.clock.advance(PAUSE_SECONDS)
    before = [ids(message) for message in world.engine.called]
    one = world.under_way()[0]
    again = world.queued("c", "d")
    world.engine.let_go(f"p{len(before)}")
    assert answered([one]) == [f"p{len(before)}"]
    world.engine.let_go("c", "d")
    assert answered(again) == ["c", "d"]
    assert sum(isinstance(m, StartTogether) for m in world.engine.called) == 2


def test_who_waits_while_it_turns_out_that_the_engine_is_old(world: World) -> None:
    world.engine.together = old
    more = world.travel("a", "b")
    later = world.queued("c", "d")
    world.engine.let_go("a", "b", "c", "d")
    assert answered([*more, *later]) == ["a", "b", "c", "d"]
    assert sum(isinstance(m, StartTogether) for m in world.engine.called) == 1


def test_a_mistake_of_ours_leaves_nobody_waiting(world: World) -> None:
    def broken(message: StartTogether) -> Any:
        raise ZeroDivisionError

    world.engine.together = broken
    leads, follows = world.travel("a", "b")
    world.engine.let_all_go()
    with pytest.raises(ZeroDivisionError):
        leads.result(SECONDS)
    assert answered([follows]) == ["b"]


@pytest.mark.parametrize(
    "large",
    [
        {"input": {"a": "x" * LARGE}},
        {"input": {"x" * LARGE: 1}},
        {"input": {"a": [{"b": list(range(LARGE // 8))}]}},
        {"params": {"env": {str(n): n for n in range(LARGE // 8)}}},
        {"description": "x" * LARGE},
    ],
)
def test_a_large_one_goes_alone(world: World, large: dict[str, Any]) -> None:
    world.under_way()
    alone = world.ask("large", **large)
    world.engine.hears(*FIRST, ["large"])
    assert world.engine.called[-1] == start("large", **large)
    world.engine.let_go("large")
    assert answered([alone]) == ["large"]


def test_only_plain_starts_wait(world: World) -> None:
    world.under_way()
    world.engine.let_go("a", "b")
    timed = world.pool.submit(world.starts.call, start("a"), timeout=5.0)
    assert answered([timed]) == ["a"]
    nameless = StartWorkflow(run_id="b", context={"project_id": "p"})
    assert answered([world.pool.submit(world.starts.call, nameless)]) == ["b"]
    world.engine.handlers.clear()
    world.engine.answers.append("paused")
    assert world.starts.call(PauseWorkflow(run_id="r")) == "paused"
    world.engine.refusal = "403"
    assert world.starts.refusal == "403"


def test_the_api_lets_them_travel_together(api: Client, bus: Any) -> None:
    """The first are not answered before some have."""
    lock, travelled = threading.Lock(), threading.Event()
    first = [True] * FLIGHTS

    def answer(message: Message) -> Any:
        if isinstance(message, StartTogether):
            travelled.set()
            return together(message)
        assert isinstance(message, StartWorkflow)
        with lock:
            is_first = bool(first and first.pop())
        assert not is_first or travelled.wait(SECONDS)
        return singly(message)

    bus.answer = answer
    body = {"workflow_name": "w", "id": "missing"}
    with ThreadPoolExecutor(8) as pool:
        found = []
        while not travelled.is_set():
            found = [
                pool.submit(api.post, "/v2/executions", {**body, "id": f"missing-{n}"})
                for n in range(7)
            ]
            wait(found[FLIGHTS:], return_when=FIRST_COMPLETED)
        for number, each in enumerate(found):
            assert each.result().status == 404
            assert each.result().fault == f"no workflow for missing-{number}"


@pytest.mark.parametrize("seed", range(20))
def test_everybody_gets_his_own_answer(seed: int) -> None:
    """In whatever order they come, wait, lose patience and are answered."""
    chance = random.Random(seed)
    engine, clock = RecordingBus(), FakeClock()
    lock = threading.Lock()

    def hear(message: Message) -> Any:
        with lock:
            pause, what = chance.choice([0.0, 0.0, 0.001, 0.003]), chance.random()
        threading.Event().wait(pause)
        if isinstance(message, StartWorkflow):
            return singly(message)
        assert isinstance(message, StartTogether)
        if what < 0.05:
            clock.advance(PAUSE_SECONDS / 2)
            return old(message)
        return together(message)

    def impatient(told: threading.Event, seconds: float) -> bool:
        with lock:
            patience = chance.choice([0.0, 0.001, 0.01])
        return told.wait(patience)

    engine.serve(engine.engine_topic, hear)
    starts = Starts(engine, clock, wait=impatient)
    names = [
        f"{chance.choice(['run', 'late', 'missing'])}-{number}" for number in range(300)
    ]

    def ask(name: str) -> Any:
        try:
            return starts.call(start(name, chance.choice(["p", "q"])))["id"]
        except NotFound as error:
            return error.message

    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(ask, names, timeout=SECONDS))
    assert found == [
        f"no workflow for {name}" if name.startswith("missing") else name
        for name in names
    ]
    assert not any(line.under_way for line in starts._lines.values())
    travelled = [m for m in engine.called if isinstance(m, StartTogether)]
    assert travelled, "some travelled together"
    assert all(len(message.requests) <= MOST for message in travelled)
