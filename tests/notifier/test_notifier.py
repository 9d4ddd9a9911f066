"""Publishers and the courier that asks them (§ 10.8)."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from queue import SimpleQueue
from typing import Any, ClassVar

import pytest
from answering import answering

from mistral.bus import Bus
from mistral.config import HttpSettings
from mistral.errors import MistralError, Unavailable
from mistral.messages import NoticeRefused, Notify
from mistral.notifier.publishers import GROUP, Publishers, PublishingFailed
from mistral.notifier.server import DELAYS, Courier

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


def test_an_unknown_type_says_what_is_known() -> None:
    with pytest.raises(PublishingFailed, match="'pigeon'; known: "):
        Publishers(OPEN).publish(notice(), {"type": "pigeon"})


class Remembering:
    """A plug-in."""

    calls: ClassVar[list[Any]] = []

    def publish(
        self, ctx: Any, ex_id: str, data: Any, event: str, timestamp: str, **more: Any
    ) -> None:
        self.calls.append((ex_id, data, event, timestamp, more))


def test_a_package_may_bring_publishers() -> None:
    point = EntryPoint("mine", f"{__name__}:Remembering", GROUP)
    publishers = Publishers(OPEN, [point])
    Remembering.calls.clear()
    entry = {"type": "mine", "event_types": ["TASK_FAILED"], "colour": "red"}
    publishers.publish(notice(), entry)
    assert Remembering.calls == [
        (
            "o",
            {"id": "o", "event": "TASK_FAILED"},
            "TASK_FAILED",
            "2026-11-21 01:02:03",
            {"event_types": ["TASK_FAILED"], "colour": "red"},
        )
    ]


class Asked:
    """Publishers of which some fail some times."""

    def __init__(self, **failures: int) -> None:
        self.failures = failures
        self.calls: list[tuple[str, int]] = []

    def publish(self, notice: Notify, entry: Any) -> None:
        kind = entry["type"]
        self.calls.append((kind, notice.number))
        if self.failures.get(kind, 0) > 0:
            self.failures[kind] -= 1
            raise PublishingFailed(f"{kind} fails")


def test_eng_232_a_failing_publisher_does_not_concern_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = Asked(bad=100)
    waits: list[float] = []

    def wait(event: threading.Event, seconds: float) -> bool:
        waits.append(seconds)
        return False

    with caplog.at_level(logging.ERROR):
        Courier(asked.publish, wait).carry(notice(1, {"type": "bad"}, {"type": "good"}))
    assert asked.calls.count(("good", 1)) == 1
    assert asked.calls.count(("bad", 1)) == 1 + len(DELAYS)
    assert waits == list(DELAYS)
    assert "never took TASK_FAILED" in caplog.text


def test_a_publisher_that_fails_at_first_is_asked_again_and_order_is_kept() -> None:
    asked = Asked(bad=1)
    courier = Courier(asked.publish, lambda event, seconds: False)
    for number in (1, 2):
        courier.carry(notice(number, {"type": "bad"}))
    assert asked.calls == [("bad", 1), ("bad", 1), ("bad", 2)]


def test_notifications_of_a_run_go_one_after_the_other() -> None:
    """Others do not wait for a publisher of this one."""
    entered, go_on = threading.Event(), threading.Event()
    order: list[tuple[str, int]] = []

    def publish(notice: Notify, entry: Any) -> None:
        if (notice.run_id, notice.number) == ("slow", 1):
            entered.set()
            assert go_on.wait(10)
        order.append((notice.run_id, notice.number))

    courier = Courier(publish)
    entry = {"type": "x"}
    first = threading.Thread(target=courier.carry, args=(notice(1, entry, run="slow"),))
    first.start()
    assert entered.wait(10)
    second = threading.Thread(
        target=courier.carry, args=(notice(2, entry, run="slow"),)
    )
    second.start()
    courier.carry(notice(1, entry, run="quick"))
    assert order == [("quick", 1)]
    go_on.set()
    first.join(10)
    second.join(10)
    assert order == [("quick", 1), ("slow", 1), ("slow", 2)]


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


def test_what_publishers_never_take_is_kept_for_operators() -> None:
    asked = Asked(bad=100)
    kept: list[NoticeRefused] = []
    courier = Courier(asked.publish, lambda event, seconds: False, kept.append)
    courier.carry(notice(1, {"type": "bad"}, {"type": "good"}))
    [refused] = kept
    assert refused.run_id == "r"
    assert refused.notice["publishers"] == ({"type": "bad"},)
    assert refused.reason


def test_what_cannot_be_kept_comes_again() -> None:
    def away(refused: NoticeRefused) -> None:
        raise Unavailable("The broker is away.")

    courier = Courier(Asked(bad=100).publish, lambda event, seconds: False, away)
    with pytest.raises(Unavailable):
        courier.carry(notice(1, {"type": "bad"}))


def test_what_a_stopping_notifier_has_not_carried_comes_again() -> None:
    asked = Asked(bad=100)
    courier = Courier(asked.publish, lambda event, seconds: True)
    with pytest.raises(Unavailable):
        courier.carry(notice(1, {"type": "bad"}))
    assert isinstance(Unavailable("x"), MistralError)
