"""Publishers and the courier that asks them (§ 10.8)."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from queue import SimpleQueue
from typing import Any, ClassVar
from urllib.parse import unquote

import pytest
from answering import answering
from fakes import FakeClock

from mistral.bus import Bus
from mistral.config import HttpSettings
from mistral.errors import Unavailable
from mistral.messages import CarryNotices, NoticesCarried, Notify, encode
from mistral.notifier.publishers import GROUP, Publishers, PublishingFailed
from mistral.notifier.server import (
    MOST_SECONDS,
    QUIET_SECONDS,
    SLOW_SECONDS,
    Courier,
    InEngine,
    NotifierServer,
)
from mistral.publisher_entries import shown

OPEN = HttpSettings(denied_cidrs=())


def notice(number: int = 1, *entries: Any, run: str = "r") -> Notify:
    return Notify(
        run_id=run,
        object_id="o",
        event="TASK_FAILED",
        timestamp="2026-11-21 01:02:03",
        number=number,
        data={"id": "o", "event": "TASK_FAILED"},
        publishers=tuple(entries),
    )


class Hook:
    """A server that remembers what was posted to it."""

    def __init__(self) -> None:
        self.status = 200
        self.heard: list[tuple[dict[str, str], Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(size))
                hook.heard.append((dict(self.headers), body))
                self.send_response(hook.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    with answering(hook.server):
        yield hook


def test_a_webhook_gets_the_data_as_json(hook: Hook) -> None:
    entry = {"type": "webhook", "url": hook.url, "headers": {"X-Token": "t"}}
    Publishers(OPEN).publish(notice(), entry)
    [(headers, body)] = hook.heard
    assert body == {"id": "o", "event": "TASK_FAILED"}
    assert headers["X-Token"] == "t"
    assert headers["Content-Type"] == "application/json"


def test_a_secret_signs_the_body_and_a_repeat_is_known(hook: Hook) -> None:
    entry = {"type": "webhook", "url": hook.url, "secret": "s"}
    for number in (1, 1, 2):
        Publishers(OPEN).publish(notice(number), entry)
    body = json.dumps({"id": "o", "event": "TASK_FAILED"}).encode()
    expected = hmac.new(b"s", body, hashlib.sha256).hexdigest()
    for headers, _ in hook.heard:
        assert headers["X-Mistral-Signature-256"] == f"sha256={expected}"
        assert headers["X-Mistral-Event"] == "TASK_FAILED"
    assert len({headers["X-Mistral-Delivery"] for headers, _ in hook.heard}) == 1
    other = replace(notice(), timestamp="2026-11-21 01:02:04")
    Publishers(OPEN).publish(other, {"type": "webhook", "url": hook.url})
    headers, _ = hook.heard[-1]
    assert "X-Mistral-Signature-256" not in headers
    assert headers["X-Mistral-Delivery"] != hook.heard[0][0]["X-Mistral-Delivery"]


@pytest.mark.parametrize("status", [202, 204, 302, 307, 400, 500])
def test_only_200_and_201_are_success_and_redirects_are_not_followed(
    hook: Hook, status: int
) -> None:
    hook.status = status
    with pytest.raises(PublishingFailed, match=str(status)):
        Publishers(OPEN).publish(notice(), {"type": "webhook", "url": hook.url})
    assert len(hook.heard) == 1


@pytest.mark.parametrize(
    "url",
    ["", "file:///etc/passwd", "http://user:secret@127.0.0.1:1/", "http://[::1]:1"],
)
def test_sec_10_the_egress_policy_holds_and_secrets_are_not_told(url: str) -> None:
    with pytest.raises(PublishingFailed) as caught:
        Publishers(HttpSettings()).publish(notice(), {"type": "webhook", "url": url})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"headers": [1]}, "'headers' is expected to be a mapping, found a list"),
        ({"headers": "X: canary"}, "'headers' is expected to be a mapping, found a st"),
        ({"url": None}, "'url' is expected to be a text, found null"),
        ({"url": 7}, "'url' is expected to be a text, found a number"),
        ({"url": ""}, "'url' is missing"),
        ({"url": "canary.example/hook"}, "'url' has to begin with http:// or https://"),
        ({"url": "ftp://canary/"}, "'url' has to begin with http:// or https://"),
        ({"url": "canary:7/hook"}, "'url' has to begin with http:// or https://"),
    ],
)
def test_what_is_no_webhook_says_what_is_wrong(
    hook: Hook, entry: dict[str, Any], said: str
) -> None:
    with pytest.raises(PublishingFailed) as caught:
        Publishers(OPEN).publish(
            notice(), {"type": "webhook", "url": hook.url, **entry}
        )
    assert str(caught.value).startswith(f"webhook: {said}")
    assert "canary" not in str(caught.value)
    assert hook.heard == []


def test_a_webhook_without_a_url_says_so() -> None:
    with pytest.raises(PublishingFailed, match=r"^webhook: 'url' is missing"):
        Publishers(OPEN).publish(notice(), {"type": "webhook"})


def test_a_queue_at_no_url_says_so() -> None:
    entry = {"type": "zaqar", "queue": "q", "pre_signed": SHARED}
    with pytest.raises(PublishingFailed, match=r"^zaqar: 'url' is missing"):
        Publishers(OPEN).publish(notice(), entry)


def test_headers_may_be_null(hook: Hook) -> None:
    entry = {"type": "webhook", "url": hook.url, "headers": None}
    Publishers(OPEN).publish(notice(), entry)
    assert len(hook.heard) == 1


def test_an_unknown_type_says_what_is_known() -> None:
    with pytest.raises(PublishingFailed, match="'pigeon'; known: "):
        Publishers(OPEN).publish(notice(), {"type": "pigeon"})


SHARED = {
    "signature": "518b51ea133c4facadae42c328d6b77b",
    "expires": "2026-12-21T19:43:37",
    "methods": ["POST"],
    "paths": ["/v2/queues/my queue/messages"],
    "project": "7887909e16c441e6ab9b4f4a0b34a5a9",
}


class Zaqar:
    """A queue that takes what is signed, as Zaqar's API v2 does."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.clients: set[str] = set()
        zaqar = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = zaqar.judge(unquote(self.path), self.headers)
                if status == 201:
                    zaqar.messages.extend(body["messages"])
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def judge(self, path: str, headers: Any) -> int:
        try:
            self.clients.add(str(uuid.UUID(headers["Client-ID"])))
        except (TypeError, ValueError):
            return 400
        given = {
            "signature": headers["URL-Signature"],
            "expires": headers["URL-Expires"],
            "methods": headers["URL-Methods"].split(","),
            "paths": headers["URL-Paths"].split(","),
            "project": headers["X-Project-ID"],
        }
        if given != SHARED or path not in given["paths"]:
            return 404
        return 201


@pytest.fixture
def zaqar() -> Iterator[Zaqar]:
    zaqar = Zaqar()
    with answering(zaqar.server):
        yield zaqar


def to_queue(settings: HttpSettings = OPEN, **entry: Any) -> None:
    point = EntryPoint("zaqar", "mistral.notifier.publishers:ZaqarPublisher", GROUP)
    Publishers(settings, [point]).publish(notice(), {"type": "zaqar", **entry})


def test_a_queue_of_zaqar_gets_a_message_by_a_pre_signed_url(zaqar: Zaqar) -> None:
    url = f"{zaqar.url}/"
    for more in ({}, {"ttl": 60}):
        to_queue(url=url, queue="my queue", pre_signed=SHARED, **more)
    first, second = zaqar.messages
    assert (first["ttl"], second["ttl"]) == (3600, 60)
    delivery = first["body"].pop("delivery")
    assert first["body"] == {"id": "o", "event": "TASK_FAILED"}
    assert second["body"]["delivery"] == delivery
    assert len(zaqar.clients) == 1


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"queue": "other", "pre_signed": SHARED}, "zaqar: answered 404"),
        ({"queue": "my queue"}, "missing pre_signed.signature, pre_signed.expires"),
        ({"pre_signed": SHARED}, "zaqar: missing queue"),
        ({"queue": "my queue", "pre_signed": {**SHARED, "signature": "x"}}, "404"),
    ],
)
def test_a_queue_that_takes_nothing_says_so(
    zaqar: Zaqar, entry: dict[str, Any], said: str
) -> None:
    with pytest.raises(PublishingFailed, match=said):
        to_queue(url=zaqar.url, **entry)
    assert zaqar.messages == []


def test_sec_10_queues_are_under_the_egress_policy(zaqar: Zaqar) -> None:
    with pytest.raises(PublishingFailed, match="zaqar: "):
        to_queue(HttpSettings(), url=zaqar.url, queue="my queue", pre_signed=SHARED)
    assert zaqar.messages == []


def test_sec_09_the_signature_of_a_queue_is_for_the_publisher_alone() -> None:
    entry = {"type": "zaqar", "queue": "q", "pre_signed": SHARED}
    [seen] = shown({"notify": [entry]})["notify"]
    assert seen["pre_signed"]["signature"] == "***"
    assert seen["queue"] == "q"


class Remembering:
    """A plug-in."""

    calls: ClassVar[list[Any]] = []

    def publish(
        self, ctx: Any, ex_id: str, data: Any, event: str, timestamp: str, **more: Any
    ) -> None:
        self.calls.append((ctx.project_id, ex_id, data, event, timestamp, more))


def test_a_package_may_bring_publishers() -> None:
    point = EntryPoint("mine", f"{__name__}:Remembering", GROUP)
    publishers = Publishers(OPEN, [point])
    Remembering.calls.clear()
    entry = {"type": "mine", "event_types": ["TASK_FAILED"], "colour": "red"}
    told = notice()
    told = replace(told, data={**told.data, "project_id": "red"})
    publishers.publish(told, entry)
    assert Remembering.calls == [
        (
            "red",
            "o",
            {"id": "o", "event": "TASK_FAILED", "project_id": "red"},
            "TASK_FAILED",
            "2026-11-21 01:02:03",
            {"event_types": ["TASK_FAILED"], "colour": "red"},
        )
    ]


class Asked:
    """Publishers of which some fail some times, after some seconds."""

    def __init__(self, clock: FakeClock | None = None, **failures: int) -> None:
        self.failures = failures
        self.clock = clock or FakeClock()
        self.seconds = 0.0
        self.calls: list[tuple[str, int]] = []

    def publish(self, notice: Notify, entry: Any) -> None:
        kind = entry["type"]
        self.calls.append((kind, notice.number))
        self.clock.advance(self.seconds)
        if self.failures.get(kind, 0) > 0:
            self.failures[kind] -= 1
            raise PublishingFailed(f"{kind} fails")


def errand(kind: str, *numbers: int, run: str = "r") -> CarryNotices:
    """What an engine sends."""
    lane = f"{run}-{kind}"
    found = [
        replace(notice(number, {"type": kind}, run=run), lane=lane)
        for number in numbers
    ]
    return CarryNotices(
        ids=tuple(f"{lane}-{number}" for number in numbers),
        notices=tuple(encode(each) for each in found),
        reply_to="back",
    )


def test_what_was_taken_is_told_and_what_is_behind_a_refusal_is_not_offered() -> None:
    asked = Asked(x=0)
    courier = Courier(asked.publish)
    assert courier.carry(errand("x", 1, 2)) == NoticesCarried(taken=("r-x-1", "r-x-2"))
    asked.failures["x"] = 1
    answer = courier.carry(errand("x", 3, 4))
    assert answer == NoticesCarried(refused="r-x-3", reason="x fails")
    assert asked.calls == [("x", 1), ("x", 2), ("x", 3)]
    answer = courier.carry(errand("x", 3, 4))
    assert answer.taken == ("r-x-3", "r-x-4")


def test_a_copy_is_not_published_again() -> None:
    """The broker brings it twice, or the engine had no answer."""
    asked = Asked()
    courier = Courier(asked.publish)
    courier.carry(errand("x", 1))
    answer = courier.carry(errand("x", 1, 2))
    assert answer.taken == ("r-x-1", "r-x-2")
    assert asked.calls == [("x", 1), ("x", 2)]


def test_a_message_does_not_take_for_ever() -> None:
    clock = FakeClock()
    asked = Asked(clock)
    asked.seconds = MOST_SECONDS / 2
    answer = Courier(asked.publish, clock).carry(errand("x", 1, 2, 3))
    assert answer == NoticesCarried(taken=("r-x-1", "r-x-2"))


def test_a_publisher_that_fails_slowly_is_left_alone_for_a_moment() -> None:
    """With many runs that tell it; others hear at once."""
    clock = FakeClock()
    asked = Asked(clock, dead=2)
    asked.seconds = SLOW_SECONDS
    courier = Courier(asked.publish, clock)
    assert courier.carry(errand("dead", 1, run="a")).reason == "dead fails"
    for run in "bc":
        answer = courier.carry(errand("dead", 1, run=run))
        assert answer.reason == "The publisher did not answer a moment ago."
    assert courier.carry(errand("good", 1)).taken
    clock.advance(QUIET_SECONDS)
    assert courier.carry(errand("dead", 1, run="b")).reason == "dead fails"
    assert "moment" in courier.carry(errand("dead", 1, run="c")).reason
    clock.advance(QUIET_SECONDS)
    assert courier.carry(errand("dead", 1, run="b")).taken
    assert courier.carry(errand("dead", 1, run="c")).taken


def test_only_so_many_slow_publishers_are_remembered() -> None:
    """Their addresses are the authors'; the oldest is forgotten first."""
    clock = FakeClock()
    asked = Asked(clock, a=2, b=2)
    asked.seconds = SLOW_SECONDS
    courier = Courier(asked.publish, clock, most_slow=1)
    for kind in "ab":
        assert courier.carry(errand(kind, 1)).reason == f"{kind} fails"
    assert "moment" in courier.carry(errand("b", 1, run="s")).reason
    assert courier.carry(errand("a", 1, run="s")).reason == "a fails"


def test_one_that_fails_at_once_costs_nothing_and_is_asked_by_each_run() -> None:
    asked = Asked(bad=2)
    courier = Courier(asked.publish, asked.clock)
    for run in "ab":
        assert courier.carry(errand("bad", 1, run=run)).reason == "bad fails"
    assert len(asked.calls) == 2


def test_notifications_of_a_lane_go_one_after_the_other() -> None:
    """Others do not wait for a publisher of this one."""
    entered, go_on = threading.Event(), threading.Event()
    order: list[tuple[str, int]] = []

    def publish(notice: Notify, entry: Any) -> None:
        if (notice.run_id, notice.number) == ("slow", 1):
            entered.set()
            assert go_on.wait(10)
        order.append((notice.run_id, notice.number))

    courier = Courier(publish)
    threads = []
    for number in (1, 2):
        given = (errand("x", number, run="slow"),)
        threads.append(threading.Thread(target=courier.carry, args=given))
        threads[-1].start()
        assert entered.wait(10)
    courier.carry(errand("x", 1, run="quick"))
    assert order == [("quick", 1)]
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert order == [("quick", 1), ("slow", 1), ("slow", 2)]


def test_a_stopping_notifier_leaves_it_to_others() -> None:
    asked = Asked()
    courier = Courier(asked.publish)
    courier.end()
    with pytest.raises(Unavailable):
        courier.carry(errand("x", 1))
    assert asked.calls == []


def test_the_notifier_tells_the_engine_that_sent(bus: Bus) -> None:
    answers: SimpleQueue[Any] = SimpleQueue()
    asked = Asked(x=1)
    server = NotifierServer(bus, Courier(asked.publish))
    server.start()
    listening = bus.listen("back", answers.put)
    bus.send(errand("x", 1))
    assert answers.get(timeout=20).refused == "r-x-1"
    bus.send(errand("x", 1))
    assert answers.get(timeout=20) == NoticesCarried(taken=("r-x-1",))
    server.stop()
    listening.stop()


def test_the_notifier_serves_engines_of_the_release_before(bus: Bus) -> None:
    """They send one at a time and hear no answer."""
    heard: SimpleQueue[int] = SimpleQueue()
    server = NotifierServer(bus, Courier(lambda told, entry: heard.put(told.number)))
    server.start()
    for number in (1, 2):
        bus.send(notice(number, {"type": "x"}), topic=bus.notifier_topic)
        assert heard.get(timeout=20) == number
    server.stop()


def test_an_engine_without_notifiers_carries_beside_its_work() -> None:
    """[notifier] type = local."""
    answers: SimpleQueue[Any] = SimpleQueue()
    asked = Asked(x=1)
    carrier = InEngine(Courier(asked.publish))
    carrier.hand(errand("x", 1), answers.put)
    assert answers.get(timeout=20).refused == "r-x-1"
    carrier.hand(errand("x", 1), answers.put)
    assert answers.get(timeout=20).taken == ("r-x-1",)


@pytest.fixture
def bus() -> Iterator[Bus]:
    bus = Bus(f"memory:///{uuid.uuid4()}")
    bus.start()
    yield bus
    bus.stop()


def test_other_services_hear_where_the_operator_lets_them() -> None:
    told: list[Any] = []
    made = "mistral.notifier.publishers:MessagingPublisher"
    point = EntryPoint("messaging", made, GROUP)
    entry = {"type": "messaging", "topic": "theirs"}
    shut = Publishers(OPEN, [point])
    with pytest.raises(PublishingFailed, match="messaging_topic is not set"):
        shut.publish(notice(), entry)
    Publishers(OPEN, [point], announce=lambda *told_: told.append(told_)).publish(
        notice(), entry
    )
    [(sent, whose)] = told
    assert sent["event_type"] == "mistral.task_failed"
    assert sent["payload"]["event"] == "TASK_FAILED"
    assert set(whose) == {"project_id"}


def test_eng_232_a_notification_of_the_library_is_heard_by_others() -> None:
    """As event triggers hear those of other services."""
    bus = Bus(f"memory:///{uuid.uuid4()}")
    bus.start()
    heard: SimpleQueue[Any] = SimpleQueue()
    listening = bus.hear("mistral_notifications", "told", "pool", heard.put)
    told = {
        "message_id": "m1",
        "event_type": "mistral.task_failed",
        "timestamp": "t",
        "payload": {"id": "o"},
    }
    bus.announce("told", told, {"project_id": "red"})
    event = heard.get(timeout=20)
    assert event.id == "m1"
    assert (event.event_type, event.project_id) == ("mistral.task_failed", "red")
    assert event.payload == {"id": "o"}
    listening.stop()
    bus.stop()
