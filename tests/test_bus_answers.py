"""A broker that says no, and a broker that says nothing."""

from __future__ import annotations

import logging
import threading

import pytest

from mistral.bus_answers import Answers, Refused
from mistral.errors import Unavailable

SECONDS = 20


def unwanted() -> None:
    raise AssertionError("not to be called")


def test_a_broker_that_says_no_is_told_once_and_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By a process that only speaks when it is asked, too: at its start."""
    asked = threading.Semaphore(0)
    refusals = ["ACCESS_REFUSED - to u", "ACCESS_REFUSED - to u"]
    allowed, late = threading.Event(), threading.Event()

    def ask() -> None:
        asked.release()
        if refusals:
            raise Refused(refusals.pop())
        assert allowed.wait(SECONDS)

    caplog.set_level(logging.WARNING, "mistral")
    answers = Answers(ask, again_seconds=0.01)
    answers.begin()
    for _ in range(3):
        assert asked.acquire(timeout=SECONDS)
    with pytest.raises(Unavailable, match=r"refuses this service \(ACCESS_REFUSED\)"):
        answers.wait(SECONDS)
    assert answers.refusal == "ACCESS_REFUSED - to u"
    assert caplog.text.count("refuses this service: ACCESS_REFUSED - to u") == 1
    assert not answers.end(late.set), "the library is still at the last question"
    assert not late.is_set()
    allowed.set()
    assert late.wait(SECONDS), "what it used can be released"


def test_answers_come_once_the_broker_accepts() -> None:
    refusals = ["NOT_ALLOWED"]

    def ask() -> None:
        if refusals:
            raise Refused(refusals.pop())

    accepted = threading.Event()

    class Told(Answers):
        def _note(self, refusal: str | None) -> None:
            super()._note(refusal)
            if refusal is None:
                accepted.set()

    answers = Told(ask, again_seconds=0.01)
    answers.begin()
    assert accepted.wait(SECONDS)
    answers.wait(0)
    assert answers.refusal is None
    assert answers.end(unwanted)


def test_a_broker_that_says_nothing_is_not_waited_for() -> None:
    silence = threading.Event()
    answers = Answers(lambda: bool(silence.wait(SECONDS)) and None)
    with pytest.raises(Unavailable, match="not reachable"):
        answers.wait(0.01)
    late = threading.Event()
    assert not answers.end(late.set)
    silence.set()
    assert late.wait(SECONDS)


def test_who_is_ended_asks_nobody() -> None:
    answers = Answers(unwanted)
    assert answers.end(unwanted)
    answers.begin()
    with pytest.raises(Unavailable):
        answers.wait(0)
