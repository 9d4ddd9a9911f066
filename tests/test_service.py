"""The life cycle, once for everything that runs."""

from __future__ import annotations

import threading

import pytest

from mistral.errors import Unavailable
from mistral.service import Counts, Group, Loop, Service, together


class Recorded(Service):
    """Writes what happens to it into a shared list."""

    def __init__(self, name: str, log: list[str], broken: str = "") -> None:
        super().__init__(name)
        self._log = log
        self._broken = broken

    def _start(self) -> None:
        if self._broken == "start":
            raise Unavailable(self.name)
        self._log.append(f"+{self.name}")

    def _stop(self) -> None:
        self._log.append(f"-{self.name}")
        if self._broken == "stop":
            raise Unavailable(self.name)


def test_start_and_stop_happen_once() -> None:
    log: list[str] = []
    service = Recorded("a", log)
    service.start()
    service.start()
    assert service.started.is_set()
    assert not service.wait(0)
    service.stop()
    service.stop()
    assert service.wait(0)
    assert log == ["+a", "-a"]


def test_stopped_before_start_never_starts() -> None:
    log: list[str] = []
    service = Recorded("a", log)
    service.stop()
    service.start()
    assert log == []
    assert service.wait(0)


def test_a_start_that_fails_ends_the_service() -> None:
    service = Recorded("a", [], broken="start")
    with pytest.raises(Unavailable):
        service.start()
    assert service.wait(0)
    assert not service.started.is_set()


def test_group_stops_in_reverse_even_if_one_stop_fails() -> None:
    log: list[str] = []
    group = Group("g", [Recorded("a", log), Recorded("b", log, broken="stop")])
    group.start()
    group.stop()
    assert log == ["+a", "+b", "-b", "-a"]


def test_group_undoes_its_start_when_a_member_cannot_start() -> None:
    log: list[str] = []
    group = Group("g", [Recorded("a", log), Recorded("b", log, broken="start")])
    with pytest.raises(Unavailable, match="b"):
        group.start()
    assert log == ["+a", "-a"]


def test_group_fails_with_the_reason_of_its_member() -> None:
    log: list[str] = []
    member = Recorded("a", log)
    group = Group("g", [member])
    group.start()
    reason = Unavailable("gone")
    member.fail(reason)
    member.fail(Unavailable("later"))
    assert group.wait(0)
    assert group.failure is reason
    group.stop()
    assert log == ["+a", "-a"]


class Counting(Loop):
    """Raises what it is given, then counts; tells of each pass."""

    def __init__(self, *raises: BaseException) -> None:
        super().__init__("counting", interval=3600)
        self._raises = list(raises)
        self.passes = threading.Semaphore(0)

    def run_once(self) -> Counts:
        self.passes.release()
        if self._raises:
            raise self._raises.pop(0)
        return {"counted": 1}


def test_loop_runs_at_start_and_when_woken() -> None:
    loop = Counting()
    loop.start()
    assert loop.passes.acquire(timeout=5)
    loop.wake()
    assert loop.passes.acquire(timeout=5)
    loop.stop()
    assert not loop.passes.acquire(blocking=False)


@pytest.mark.parametrize("error", [Unavailable("x"), ValueError("x")])
def test_loop_goes_on_after_a_pass_that_failed(error: Exception) -> None:
    loop = Counting(error)
    loop.start()
    assert loop.passes.acquire(timeout=5)
    loop.wake()
    assert loop.passes.acquire(timeout=5)
    assert loop.failure is None
    loop.stop()


def test_loop_fails_when_its_thread_is_told_to_exit() -> None:
    loop = Counting(SystemExit(3))
    loop.start()
    assert loop.wait(5)
    assert isinstance(loop.failure, SystemExit)
    loop.stop()


def test_together_waits_for_all_in_spite_of_failures() -> None:
    meeting = threading.Barrier(2, timeout=5)
    met: list[int] = []

    def fails() -> None:
        meeting.wait()
        raise ValueError

    def ends() -> None:
        meeting.wait()
        met.append(1)

    together([fails, ends])
    assert met == [1]
