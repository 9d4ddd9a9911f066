"""A server that was told to stop comes to an end, one way or the other."""

from __future__ import annotations

import subprocess
import sys
import threading

from mistral.cmd.server import LONGEST_STOP, stop_in_time
from mistral.service import Group, Service

STUCK = """
import threading
from mistral.cmd.server import give_up, stop_in_time
from mistral.service import Service

class Stuck(Service):
    def _stop(self):
        secret = "s3cret"
        threading.Event().wait()

stuck = Stuck("stuck")
stuck.start()
stop_in_time(stuck, 0.1, give_up)
"""


class Slow(Service):
    """Stops when ``go_on`` is set."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.go_on = threading.Event()

    def _stop(self) -> None:
        assert self.go_on.wait(30)


def test_who_stops_in_time_is_let_alone() -> None:
    slow, late = Slow(), threading.Event()
    slow.go_on.set()
    group = Group("group", [slow])
    group.start()
    stop_in_time(group, LONGEST_STOP, late.set)
    assert slow.ended.is_set() and not late.is_set()
    for each in threading.enumerate():
        if isinstance(each, threading.Timer):
            each.join(10)
            assert not each.is_alive(), "somebody still waits"


def test_who_does_not_stop_is_given_up() -> None:
    slow = Slow()
    group = Group("group", [slow])
    group.start()
    stop_in_time(group, 0.01, slow.go_on.set)
    assert slow.ended.is_set()


def test_a_server_that_is_stuck_ends_and_says_where() -> None:
    """With names of functions, and none of their values."""
    command = [sys.executable, "-c", STUCK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "does not come to its end" in done.stderr
    assert "in _stop" in done.stderr
    assert "s3cret" not in done.stderr
