"""One contract for every transport: the same tests on memory and on RabbitMQ."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

import amqp
import pytest
from fakes import RecordingBus

from mistral.bus import Bus
from mistral.errors import (
    Bug,
    DefinitionFault,
    MistralError,
    NotFound,
    Problem,
    Unavailable,
)
from mistral.messages import (
    ActionFinished,
    Batch,
    CallAction,
    CarryNotices,
    Heartbeat,
    Message,
    PauseWorkflow,
    StartTogether,
    StartWorkflow,
    decode,
    encode,
)

RABBIT = "rabbit://guest:guest@127.0.0.1:5672/"
SECONDS = 20


@pytest.fixture(
    params=["memory", pytest.param("rabbit", marks=pytest.mark.services)],
)
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return f"memory:///{uuid.uuid4()}"
    try:
        socket.create_connection(("127.0.0.1", 5672), timeout=2).close()
    except OSError:
        pytest.skip("no RabbitMQ on 127.0.0.1:5672")
    return RABBIT


@pytest.fixture
def prefix(url: str) -> Iterator[str]:
    """Start of all topics; what the broker still has of them is removed."""
    prefix = f"t{uuid.uuid4().hex[:12]}"
    yield prefix
    if url == RABBIT:
        with amqp.Connection("127.0.0.1:5672") as connection:
            channel = connection.channel()
            topics = ["engine", "engine.results", "executor", "executor.h1"]
            topics += ["executor.now", "executor.now.h1", "notifier"]
            for topic, end in itertools.product(topics, ["", ".info", ".mistral"]):
                channel.queue_delete(f"{prefix}_{topic}{end}")


def make(url: str, prefix: str, **how: Any) -> Bus:
    return Bus(
        url,
        engine_topic=f"{prefix}_engine",
        executor_topic=f"{prefix}_executor",
        notifier_topic=f"{prefix}_notifier",
        call_timeout=SECONDS,
        **how,
    )


@pytest.fixture
def bus(url: str, prefix: str) -> Iterator[Bus]:
    bus = make(url, prefix)
    bus.start()
    yield bus
    bus.stop()


def test_call_carries_the_message_and_the_answer(bus: Bus) -> None:
    asked: list[Message] = []

    def handler(message: Message) -> object:
        asked.append(message)
        return {"id": "r1", "list": [1, None, "ü"]}

    bus.serve(bus.engine_topic, handler)
    question = StartWorkflow(run_id="r1", input={"a": {"b": [1, 2]}}, request_id="q")
    assert bus.call(question) == {"id": "r1", "list": [1, None, "ü"]}
    assert asked == [question]


def test_a_process_hears_itself_while_it_serves(bus: Bus) -> None:
    assert not bus.hears_itself(bus.engine_topic, timeout=1)
    bus.serve(bus.engine_topic, lambda message: None)
    assert bus.hears_itself(bus.engine_topic)


@pytest.mark.services
def test_a_process_hears_itself_although_a_message_is_lost() -> None:
    """Who watches over executors must not begin anew with each message that is lost."""
    prefix = f"t{uuid.uuid4().hex[:12]}"
    bus = make(RABBIT, prefix)
    bus.start()
    bus.serve(bus.engine_topic, lambda message: None)
    with amqp.Connection("127.0.0.1:5672") as thief:
        taken: list[Any] = []
        queue = f"{bus.engine_topic}.mistral"
        thief.channel().basic_consume(queue, no_ack=True, callback=taken.append)
        heard = [bus.hears_itself(bus.engine_topic, timeout=3) for _ in range(2)]
        thief.drain_events(timeout=SECONDS)
    bus.stop()
    assert heard == [True, True]
    assert taken, "it had its turn"


def test_errors_of_the_handler_are_raised_at_the_caller(bus: Bus) -> None:
    problem = Problem("bad", path="wf.tasks", line=3)
    faults: list[Exception] = [NotFound("no run"), DefinitionFault([problem])]

    def handler(message: Message) -> object:
        raise faults.pop(0)

    bus.serve(bus.engine_topic, handler)
    with pytest.raises(NotFound, match="no run"):
        bus.call(PauseWorkflow(run_id="x"))
    with pytest.raises(DefinitionFault) as raised:
        bus.call(PauseWorkflow(run_id="x"))
    assert raised.value.problems == (problem,)


def test_other_errors_are_bugs_without_their_text(bus: Bus) -> None:
    def handler(message: Message) -> object:
        raise ValueError("secret")

    bus.serve(bus.engine_topic, handler)
    with pytest.raises(Bug) as raised:
        bus.call(PauseWorkflow(run_id="x"))
    assert "secret" not in raised.value.message


def test_nobody_ever_served_is_told_at_once(bus: Bus) -> None:
    with pytest.raises(Unavailable):
        bus.call(PauseWorkflow(run_id="x"))


def test_no_answer_in_time_is_unavailable(bus: Bus) -> None:
    release = threading.Event()
    bus.serve(bus.engine_topic, lambda message: release.wait(SECONDS))
    with pytest.raises(Unavailable):
        bus.call(PauseWorkflow(run_id="x"), timeout=0.3)
    release.set()


def test_a_request_that_is_lost_is_made_again(url: str, prefix: str) -> None:
    """Design page, § 6: whoever has taken it may be stopped, or its answer is lost."""
    bus = make(url, prefix, again_seconds=0.3)
    bus.start()
    asked: list[Message] = []
    release = threading.Event()

    def handler(message: Message) -> object:
        asked.append(message)
        return len(asked) > 2 or release.wait(SECONDS)

    bus.serve(bus.engine_topic, handler)
    starts = (encode(StartWorkflow(run_id="x", request_id="q")),)
    for request in (
        PauseWorkflow(run_id="x", request_id="q"),
        StartTogether(requests=starts),
    ):
        asked.clear()
        assert bus.call(request) is True
        assert asked == [request] * 3
    with pytest.raises(Unavailable):
        asked.clear()
        bus.call(PauseWorkflow(run_id="x"), timeout=0.7)
    assert len(asked) == 1, "without an id it may have been heard"
    release.set()
    bus.stop()


def test_requests_are_handled_at_the_same_time(bus: Bus) -> None:
    meeting = threading.Barrier(3, timeout=SECONDS)
    bus.serve(bus.engine_topic, lambda message: meeting.wait() >= 0)
    answers: SimpleQueue[object] = SimpleQueue()

    def ask() -> None:
        answers.put(bus.call(PauseWorkflow(run_id="x")))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers.get_nowait() for _ in range(3)] == [True] * 3


def test_calls_find_their_topic_by_class_and_target(bus: Bus) -> None:
    bus.serve(bus.engine_topic, lambda message: "engine")
    bus.serve(bus.run_now_topic, lambda message: "any executor")
    bus.serve(f"{bus.run_now_topic}.h1", lambda message: "h1")
    assert bus.call(Heartbeat(executor_id="e")) == "engine"
    assert bus.call(CallAction(name="a")) == "any executor"
    assert bus.call(CallAction(name="a"), target="h1") == "h1"


def test_sends_find_their_topic_by_class_and_target(bus: Bus) -> None:
    heard: SimpleQueue[tuple[str, Message]] = SimpleQueue()
    topics = {
        bus.executor_topic: CallAction(action_id="1"),
        bus.results_topic: ActionFinished(action_id="2"),
        bus.notifier_topic: CarryNotices(ids=("3",)),
    }
    targeted = f"{bus.executor_topic}.h1"
    for topic in (*topics, targeted):
        bus.listen(topic, lambda m, topic=topic: heard.put((topic, m)), prefetch=1)
    for message in topics.values():
        bus.send(message)
    bus.send(CallAction(action_id="4"), target="h1")
    found = dict(heard.get(timeout=SECONDS) for _ in range(4))
    assert found == {**topics, targeted: CallAction(action_id="4")}


def test_a_batch_needs_a_topic(bus: Bus) -> None:
    with pytest.raises(Bug):
        bus.send(Batch())
    bus.send(Batch(events=(encode(CallAction(name="a")),)), topic=bus.executor_topic)
    heard: SimpleQueue[Message] = SimpleQueue()
    bus.listen(bus.executor_topic, heard.put, prefetch=1)
    batch = heard.get(timeout=SECONDS)
    assert isinstance(batch, Batch)
    assert [decode(event) for event in batch.events] == [CallAction(name="a")]


def test_sends_wait_for_a_listener(bus: Bus) -> None:
    """A group without a listener does not block who sends to it."""
    for number in range(3):
        bus.send(ActionFinished(action_id=str(number)))
    heard: SimpleQueue[Message] = SimpleQueue()
    bus.listen(bus.results_topic, heard.put, prefetch=1)
    ids = [heard.get(timeout=SECONDS).action_id for _ in range(3)]  # type: ignore[attr-defined]
    assert ids == ["0", "1", "2"]


def test_handed_back_messages_come_again(bus: Bus) -> None:
    heard: SimpleQueue[Message] = SimpleQueue()
    verdicts = iter([False, None])

    def on_message(message: Message) -> bool | None:
        heard.put(message)
        return next(verdicts)

    bus.listen(bus.results_topic, on_message, prefetch=1)
    bus.send(ActionFinished(action_id="a"))
    assert heard.get(timeout=SECONDS) == heard.get(timeout=SECONDS)


def test_unavailable_hands_back_and_other_errors_acknowledge(bus: Bus) -> None:
    heard: SimpleQueue[Message] = SimpleQueue()
    raises: list[Exception] = [Unavailable("full", retry_after=0), ValueError("poison")]

    def on_message(message: Message) -> None:
        heard.put(message)
        if raises:
            raise raises.pop(0)

    bus.listen(bus.results_topic, on_message, prefetch=1)
    bus.send(ActionFinished(action_id="a"))
    bus.send(ActionFinished(action_id="b"))
    ids = [heard.get(timeout=SECONDS).action_id for _ in range(3)]  # type: ignore[attr-defined]
    assert sorted(ids) == ["a", "a", "b"] or sorted(ids) == ["a", "b", "b"]
    with pytest.raises(Empty):
        heard.get(timeout=0.2)


def test_no_more_than_prefetch_are_held(bus: Bus, url: str, prefix: str) -> None:
    """What one listener does not acknowledge is left to the others."""
    held: SimpleQueue[Message] = SimpleQueue()
    release = threading.Event()

    def hold(message: Message) -> None:
        held.put(message)
        release.wait(SECONDS)

    bus.listen(bus.results_topic, hold, prefetch=2)
    for number in range(5):
        bus.send(ActionFinished(action_id=str(number)))
    first = [held.get(timeout=SECONDS) for _ in range(2)]
    other = make(url, prefix)
    other.start()
    rest: SimpleQueue[Message] = SimpleQueue()
    other.listen(other.results_topic, rest.put, prefetch=5)
    left = [rest.get(timeout=SECONDS) for _ in range(3)]
    release.set()
    ids = {message.action_id for message in first + left}  # type: ignore[attr-defined]
    assert ids == {"0", "1", "2", "3", "4"}
    other.stop()


def test_a_bus_that_stops_at_once_leaves_no_connection_behind(
    url: str, prefix: str
) -> None:
    """Nor the library's thread that keeps it alive; the first question to the broker
    may be under way."""
    before = set(threading.enumerate())
    for _ in range(5):
        bus = make(url, prefix)
        bus.start()
        bus.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(SECONDS)
        assert not thread.is_alive(), thread.name


def test_a_stopped_listener_leaves_the_rest_to_others(
    bus: Bus, url: str, prefix: str
) -> None:
    heard: SimpleQueue[Message] = SimpleQueue()
    subscription = bus.listen(bus.results_topic, heard.put, prefetch=1)
    bus.send(ActionFinished(action_id="a"))
    heard.get(timeout=SECONDS)
    subscription.stop()
    bus.send(ActionFinished(action_id="b"))
    assert heard.empty()
    bus.listen(bus.results_topic, heard.put, prefetch=1)
    assert heard.get(timeout=SECONDS) == ActionFinished(action_id="b")


def test_a_message_of_a_newer_peer_keeps_what_is_unknown(bus: Bus) -> None:
    heard: SimpleQueue[Message] = SimpleQueue()
    bus.listen(bus.results_topic, heard.put, prefetch=1)
    newer = ActionFinished(action_id="a", extra={"colour": "blue"})
    bus.send(newer)
    assert heard.get(timeout=SECONDS).extra == {"colour": "blue"}


def test_a_stopped_bus_says_so(url: str, prefix: str) -> None:
    bus = make(url, prefix)
    bus.start()
    bus.stop()
    with pytest.raises(Unavailable):
        bus.call(PauseWorkflow(run_id="x"))
    with pytest.raises(Unavailable):
        bus.send(ActionFinished())


def test_the_fake_answers_and_raises_like_the_bus() -> None:
    bus = RecordingBus()
    with pytest.raises(Unavailable):
        bus.call(PauseWorkflow(run_id="x"))
    bus.serve(bus.engine_topic, lambda message: message.run_id)  # type: ignore[attr-defined]
    assert bus.call(PauseWorkflow(run_id="x")) == "x"

    def refuse(message: Message) -> None:
        raise NotFound("no")

    bus.serve(bus.run_now_topic, refuse)
    with pytest.raises(MistralError, match="no"):
        bus.call(CallAction(name="a"))


def test_a_broker_that_is_away_is_told_and_not_waited_for() -> None:
    """No call and no send waits longer than it was told to, nor does the end."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        bus = Bus(f"rabbit://guest:guest@127.0.0.1:{port}/", call_timeout=0.5, retry=0)
        bus.start()
        with pytest.raises(Unavailable):
            bus.call(PauseWorkflow(run_id="x"))
        with pytest.raises(Unavailable):
            bus.send(ActionFinished())
        assert not bus.hears_itself(bus.engine_topic, timeout=0.5)
        bus.stop()


@pytest.mark.services
def test_a_broker_that_refuses_the_password_is_told_without_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = Bus("rabbit://guest:not-this@127.0.0.1:5672/", call_timeout=5, retry=0)
    bus.start()
    try:
        for attempt in (
            lambda: bus.serve("here", lambda message: None),
            lambda: bus.listen("here", lambda message: None),
            lambda: bus.call(PauseWorkflow(run_id="x")),
            lambda: bus.send(ActionFinished()),
        ):
            with pytest.raises(Unavailable, match="ACCESS_REFUSED") as caught:
                attempt()
            assert "not-this" not in str(caught.value)
        assert bus.refusal is not None and bus.refusal.startswith("ACCESS_REFUSED")
        assert "The broker refuses this service: ACCESS_REFUSED" in caplog.text
        assert "not-this" not in caplog.text
    finally:
        bus.stop()


def test_a_bus_at_work_loads_no_eventlet(url: str, prefix: str) -> None:
    """Neither the library nor its thread pools, which come with the first
    server: two threads that import eventlet at once fail."""
    code = (
        "import sys\n"
        "from mistral.bus import Bus\n"
        "url, topic = sys.argv[1:]\n"
        "bus = Bus(url)\n"
        "bus.start()\n"
        "bus.serve(topic, lambda message: True)\n"
        "bus.listen(topic + '.sent', lambda message: True)\n"
        "print(bus.hears_itself(topic), 'futurist' in sys.modules)\n"
        "print('eventlet' in sys.modules)\n"
        "bus.stop()\n"
    )
    program = [sys.executable, "-c", code, url, f"{prefix}.bare"]
    said = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert said.stdout.split() == ["True", "True", "False"], said.stderr
