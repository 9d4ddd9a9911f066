"""Projects take turns at the requests of a process (``mistral/api/gate.py``)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from fakes import FakeClock

from mistral.api.gate import EACH_LOUD, Gate, PatientBus
from mistral.errors import TooMany
from mistral.fair_queue import LOOK_SECONDS

SECONDS = 60


class Guest:
    """A request in a thread of its own, which works until it is told to end."""

    def __init__(
        self, gate: Gate, project: str, work: Callable[[], Any] = lambda: None
    ) -> None:
        self.inside = threading.Event()
        self.over = threading.Event()
        self._gate = gate
        self._project = project
        self._work = work
        pool = ThreadPoolExecutor(1)
        self.future: Future[None] = pool.submit(self._run)
        pool.shutdown(wait=False)

    def _run(self) -> None:
        with self._gate.place(self._project):
            self.inside.set()
            assert self.over.wait(SECONDS)
            self._work()

    def enters(self) -> bool:
        return self.inside.wait(SECONDS)

    def ends(self) -> None:
        self.over.set()
        self.future.result(SECONDS)


def queued(gate: Gate, project: str, count: int) -> list[Guest]:
    """They wait, in this order."""
    guests = []
    for number in range(count):
        guests.append(Guest(gate, project))
        while gate.waiting(project) <= number:
            guests[-1].inside.wait(0.001)
    return guests


def test_a_project_has_so_many_places_and_others_the_rest() -> None:
    gate = Gate(places=3, each=2)
    loud = [Guest(gate, "loud") for _ in range(2)]
    assert all(guest.enters() for guest in loud)
    [late] = queued(gate, "loud", 1)
    quiet = Guest(gate, "quiet")
    assert quiet.enters()
    assert not late.inside.is_set()
    loud[0].ends()
    assert late.enters()
    for guest in (loud[1], late, quiet):
        guest.ends()


def test_projects_take_turns() -> None:
    gate = Gate(places=1, each=1)
    first = Guest(gate, "a")
    assert first.enters()
    a1, a2 = queued(gate, "a", 2)
    [b1] = queued(gate, "b", 1)
    for guest, following in ((first, a1), (a1, b1), (b1, a2)):
        guest.ends()
        assert following.enters()
    a2.ends()


def test_who_waits_for_an_engine_takes_no_place() -> None:
    gate = Gate(places=1)
    asked, answered = threading.Event(), threading.Event()

    class Engine:
        refusal = None

        def call(self, message: str, *, timeout: float) -> str:
            asked.set()
            assert answered.wait(SECONDS)
            return f"{message} {timeout}"

    bus = PatientBus(Engine(), gate)
    found: list[str] = []
    waits = Guest(gate, "a", lambda: found.append(bus.call("m", timeout=2.0)))
    assert waits.enters()
    waits.over.set()
    assert asked.wait(SECONDS)
    other = Guest(gate, "a")
    assert other.enters()
    answered.set()
    other.ends()
    waits.ends()
    assert found == ["m 2.0"]
    assert PatientBus(Engine(), gate).call("outside", timeout=1.0) == "outside 1.0"


def test_so_many_of_a_project_wait_and_no_more() -> None:
    gate = Gate(places=1, outside=2)
    first = Guest(gate, "a")
    assert first.enters()
    waiting = queued(gate, "a", 2)
    with pytest.raises(TooMany), gate.place("a"):
        pass
    first.ends()
    for guest in waiting:
        guest.enters()
        guest.ends()


def crowd(gate: Gate, clock: FakeClock) -> None:
    """Most requests come from *loud* now, and one from *quiet*."""
    for project in ("loud", "quiet", "loud", "loud"):
        with gate.place(project):
            pass
    clock.advance(LOOK_SECONDS)


def test_a_flood_has_few_places_while_others_ask() -> None:
    clock = FakeClock()
    gate = Gate(places=8, each=EACH_LOUD + 1, clock=clock)
    crowd(gate, clock)
    loud = [Guest(gate, "loud") for _ in range(EACH_LOUD)]
    assert all(guest.enters() for guest in loud)
    [late] = queued(gate, "loud", 1)
    quiet = [Guest(gate, "quiet") for _ in range(EACH_LOUD + 1)]
    assert all(guest.enters() for guest in quiet)
    assert not late.inside.is_set()
    for guest in (*loud, late, *quiet):
        guest.ends()


def test_a_flood_keeps_its_place_while_it_waits_for_an_engine() -> None:
    clock = FakeClock()
    gate = Gate(places=EACH_LOUD + 1, each=EACH_LOUD, clock=clock)
    crowd(gate, clock)
    inside: list[int] = []

    class Engine:
        refusal = None

        def call(self, message: str) -> None:
            loud = [Guest(gate, "loud") for _ in range(EACH_LOUD - 1)]
            assert all(guest.enters() for guest in loud)
            [late] = queued(gate, "loud", 1)
            inside.append(late.inside.is_set())
            for guest in (*loud, late):
                guest.ends()

    with gate.place("loud"):
        PatientBus(Engine(), gate).call("m")
        with gate.left():
            other = Guest(gate, "loud")
            assert other.enters(), "who waits for an end keeps nobody out"
            other.ends()
    assert inside == [False]


def test_a_place_is_free_again_whatever_happens() -> None:
    gate = Gate(places=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="x"), gate.place("a"):
            raise ValueError("x")
    with gate.place("b"):
        pass


def test_the_document_knows_that_a_project_may_have_to_wait(api: Any) -> None:
    paths = api.get("/v2/openapi.json").json["paths"]
    known = {
        (path, method): operation["responses"]
        for path, operations in paths.items()
        for method, operation in operations.items()
        if method in ("get", "post", "put", "delete")
        and "403" in operation["responses"]
    }
    assert len(known) > 50
    assert [call for call, answers in known.items() if "429" not in answers] == []
