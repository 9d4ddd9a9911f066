"""Child processes: when they are up, and when a server says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from mistral.cmd.children import Answering, Begun, Child
from mistral.errors import ServiceError

SECONDS = 30
UP = "from mistral.cmd.children import tell_parent; tell_parent(); "
WAIT = "import sys; sys.stdin.buffer.read()"
Make = Callable[[str], Child]


@pytest.fixture
def child() -> Iterator[Make]:
    made: list[Child] = []

    def make(code: str) -> Child:
        made.append(Child("c", ("-c", code), ()))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_a_server_is_up_when_its_children_are(child: Make) -> None:
    one, other = child(UP + WAIT), child(UP + WAIT)
    Begun([one, other]).start()
    for each in (one, other):
        each.start()
    Answering([one, other], SECONDS).start()
    assert one.is_up(0) and other.is_up(0)


def test_a_child_that_ends_before_it_is_up_ends_the_start(child: Make) -> None:
    failing = child("raise SystemExit(3)")
    failing.start()
    with pytest.raises(ServiceError, match="c could not start: it ended with 3"):
        Answering([failing], SECONDS).start()


def test_a_child_that_takes_too_long_is_named(
    child: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "mistral")
    slow = child(WAIT)
    slow.start()
    Answering([slow], 0.01).start()
    assert "c is not up yet" in caplog.text


def test_a_child_reads_the_end_of_its_parent(child: Make) -> None:
    """However the parent died."""
    ended = threading.Event()

    class Watched(Child):
        def _watch(self) -> None:
            assert self._process is not None and self._line is not None
            self._line.close()
            self._process.wait(SECONDS)
            ended.set()

    watched = Watched("c", ("-c", WAIT), ())
    watched.start()
    assert ended.wait(SECONDS)
