"""Workers: functions that workflows call, over the memory driver."""

from __future__ import annotations

import io
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from mistral_lib.actions import Result

from mistral.actions.registry import Registry
from mistral.bus import Bus
from mistral.config import Settings
from mistral.executors.runner import Runner
from mistral.messages import (
    ActionFinished,
    ActionTurnedAsync,
    Batch,
    CallAction,
    Heartbeat,
    Message,
    decode,
    encode,
)
from mistral.worker import Worker, action

SECONDS = 20


class Engine:
    """Grants every claim, and keeps results."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.came = threading.Condition()

    def handle(self, message: Message) -> Any:
        if isinstance(message, Heartbeat):
            return {"over": [id for id, _ in message.held if id in self.results]}
        assert isinstance(message, Batch)
        return [True for _ in message.events]

    def take(self, message: Message) -> None:
        assert isinstance(message, Batch)
        with self.came:
            for event in message.events:
                result: Any = decode(event)
                self.results[result.action_id] = result
            self.came.notify_all()

    def wait_for(self, id: str) -> bool:
        with self.came:
            return self.came.wait_for(lambda: id in self.results, SECONDS)


@action
def resize(image: str, width: int = 100) -> dict[str, Any]:
    return {"image": image, "width": width}


@action(name="who")
def asks_who(context: Any) -> str:
    return str(context.execution.action_execution_id)


@action(later=True)
def begin(word: str) -> None:
    return None


@action
def fail() -> Result:
    return Result(error={"code": 7})


@action
def breaks() -> None:
    raise ValueError("no good")


@pytest.fixture
def stage() -> Iterator[tuple[Bus, Engine, Worker]]:
    url = f"memory:///{uuid.uuid4()}"
    bus, engine = Bus(url), Engine()
    bus.start()
    bus.serve(bus.engine_topic, engine.handle)
    bus.listen(bus.results_topic, engine.take)
    functions = [resize, asks_who, begin, fail, breaks]
    worker = Worker("images", functions, Settings(), bus=bus)
    worker.start()
    yield bus, engine, worker
    worker.stop()
    bus.stop()


def called(stage: Any, function: Any, target: str = "images", **arguments: Any) -> Any:
    bus, engine, _ = stage
    id = str(uuid.uuid4())
    given = {"function": function, "arguments": arguments or None}
    call = CallAction(action_id=id, name="std.call", input=given)
    bus.send(Batch(events=(encode(call),)), topic=bus.executor_topic, target=target)
    assert engine.wait_for(id)
    return engine.results[id]


def test_functions_are_called_by_name(stage: Any) -> None:
    done = called(stage, "resize", image="a.png", width=50)
    assert isinstance(done, ActionFinished)
    assert done.result == {"image": "a.png", "width": 50}
    assert called(stage, "resize", image="a.png").result["width"] == 100
    done = called(stage, "who")
    assert done.result == done.action_id
    assert isinstance(called(stage, "begin", word="x"), ActionTurnedAsync)


@pytest.mark.parametrize(("function", "arguments", "said"), [
    ("fail", {}, {"code": 7}), ("breaks", {}, "no good"),
    ("absent", {}, "it has: begin, breaks, fail, resize, who"),
    ("resize", {}, "missing a required argument: 'image'"),
    ("resize", {"image": 1, "color": 2}, "unexpected keyword argument"),
    ("who", {"context": 1}, "'context' is given by the worker"), (7, {}, "no such"),
])  # fmt: skip
def test_what_goes_wrong_is_told(
    stage: Any, function: Any, arguments: dict[str, Any], said: Any
) -> None:
    done = called(stage, function, **arguments)
    assert done.state == "ERROR"
    assert done.result == said or str(said) in str(done.result)


def test_a_worker_takes_calls_of_its_target_alone(stage: Any) -> None:
    bus, engine, _ = stage
    taken = threading.Event()
    bus.listen(bus.executor_topic, lambda message: taken.set())
    call = CallAction(action_id="general", name="std.call", input={"function": "who"})
    bus.send(Batch(events=(encode(call),)), topic=bus.executor_topic)
    assert taken.wait(SECONDS)
    assert called(stage, "who")
    assert "general" not in engine.results


def test_a_program_says_what_it_cannot_do_over_memory() -> None:
    """Nobody outside of the process is ever heard."""
    messaging = replace(Settings().messaging, transport_url="memory://")
    worker = Worker("images", [resize], replace(Settings(), messaging=messaging))
    with pytest.raises(SystemExit) as ended:
        worker.main()
    assert "worker for 'images': [DEFAULT] transport_url is memory://" in str(
        ended.value.code
    )


class _UntilHeard(io.StringIO):
    """Standard output of a program that is told to end when it has said something."""

    def write(self, text: str) -> int:
        signal.raise_signal(signal.SIGTERM)
        return super().write(text)


def test_a_program_says_that_it_is_up(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = _UntilHeard()
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    worker = Worker("other", [resize, fail], Settings(), bus=stage[0])
    try:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", said)
            worker.main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert said.getvalue() == "The worker for 'other' is up: fail, resize\n"


def test_functions_must_be_marked_and_have_one_name_each() -> None:
    settings = replace(Settings())
    with pytest.raises(ValueError, match="not marked"):
        Worker("t", [lambda: None], settings)
    with pytest.raises(ValueError, match="Two functions"):
        Worker("t", [resize, resize], settings)
    with pytest.raises(ValueError, match="needs a target"):
        Worker("", [resize], settings)


def test_an_executor_says_that_it_has_no_functions() -> None:
    call = CallAction(action_id="a", name="std.call", input={"function": "resize"})
    done = Runner(Registry(Settings())).run(call)
    assert "give the task a 'target'" in done.result  # type: ignore[union-attr]
