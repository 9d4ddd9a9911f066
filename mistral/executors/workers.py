"""Slots for running actions: bounded, with deadlines that hold.

A thread cannot be killed. An action that is still running at its deadline, or
that nobody wants any more, loses its slot: its thread is left behind, whatever
it returns later is thrown away. Such threads are counted, and as many as there
are slots may exist; above that no slot counts as free.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mistral.clock import Clock
from mistral.executors.runner import Outcome, failed, timed_out
from mistral.messages import CallAction

LOG = logging.getLogger(__name__)

Key = tuple[str, int]
"""Action id and attempt."""


@dataclass(slots=True, eq=False)
class _Work:
    call: CallAction
    done: Callable[[Outcome], None]
    deadline: float | None
    settled: bool = False
    """Its outcome is told, or nobody wants it."""
    left: bool = False
    """Its thread is left behind."""


class Workers:
    """Runs calls in threads, at most ``size`` at a time.

    :param run: gives the outcome of a call; never raises.
    :param clock: its monotonic side decides about deadlines.
    """

    def __init__(
        self, size: int, run: Callable[[CallAction], Outcome], clock: Clock
    ) -> None:
        self.size = size
        self._run = run
        self._clock = clock
        self._change = threading.Condition()
        self._running: dict[Key, _Work] = {}
        self._left_behind = 0
        self._closed = False
        self._watcher: threading.Thread | None = None

    @property
    def left_behind(self) -> int:
        """Threads whose action has not returned though its slot is free."""
        return self._left_behind

    def free(self) -> int:
        """Slots that may be filled now."""
        with self._change:
            if self._closed or self._left_behind >= self.size:
                return 0
            return self.size - len(self._running)

    def running(self) -> tuple[Key, ...]:
        with self._change:
            return tuple(self._running)

    def begin(
        self,
        key: Key,
        call: CallAction,
        done: Callable[[Outcome], None],
    ) -> bool:
        """Run ``call``; ``done`` is told the outcome, once, in any thread.

        :param key: one that runs already is not started again.
        :returns: whether it was started.
        """
        with self._change:
            if self._closed or key in self._running:
                return False
            if len(self._running) >= self.size or self._left_behind >= self.size:
                return False
            deadline = None
            if call.timeout:
                deadline = self._clock.monotonic() + call.timeout
            work = self._running[key] = _Work(call, done, deadline)
            if deadline is not None:
                self._watch()
        threading.Thread(
            target=self._work, args=(key, work), name=f"action-{call.name}", daemon=True
        ).start()
        return True

    def abandon(self, keys: Iterable[Key]) -> int:
        """Give up runs that nobody wants any more, telling nobody; answers
        how many."""
        unwanted = set(keys)
        left = self._leave(lambda key, work: key in unwanted)
        self._free(left)
        return len(left)

    def expire(self) -> int:
        """Report what is past its deadline; answers how many these are."""
        now = self._clock.monotonic()
        late = self._leave(
            lambda key, work: work.deadline is not None and work.deadline <= now
        )
        self._tell(late, timed_out)
        return len(late)

    def cut_off(self) -> None:
        """Report all that still runs as failed."""
        left = self._leave(lambda key, work: True)
        self._tell(left, lambda call: failed(call, "The executor was stopped"))

    def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing runs; False when something still does."""
        with self._change:
            return self._change.wait_for(lambda: not self._running, seconds)

    def close(self) -> None:
        """Begin nothing more."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def _leave(self, which: Callable[[Key, _Work], bool]) -> dict[Key, _Work]:
        """Leave the threads of some runs behind; their slots are freed later."""
        with self._change:
            leaving = {
                key: work
                for key, work in self._running.items()
                if not work.settled and which(key, work)
            }
            for work in leaving.values():
                work.settled = work.left = True
            self._left_behind += len(leaving)
        for work in leaving.values():
            LOG.warning(
                "Action %s is left behind",
                work.call.name,
                extra={"action": "left-behind", "action_id": work.call.action_id},
            )
        return leaving

    def _work(self, key: Key, work: _Work) -> None:
        outcome = self._run(work.call)
        with self._change:
            if work.left:
                self._left_behind -= 1
                self._change.notify_all()
                return
            work.settled = True
        self._tell({key: work}, lambda call: outcome)

    def _tell(
        self, works: Mapping[Key, _Work], outcome: Callable[[CallAction], Outcome]
    ) -> None:
        """Tell what came of some runs, then free their slots: a heartbeat in
        between lists an action twice rather than not at all."""
        try:
            for work in works.values():
                work.done(outcome(work.call))
        finally:
            self._free(works)

    def _free(self, keys: Iterable[Key]) -> None:
        with self._change:
            for key in keys:
                del self._running[key]
            self._change.notify_all()

    def _watch(self) -> None:
        """Have a thread that calls ``expire`` in time; under the lock."""
        if self._watcher is None:
            self._watcher = threading.Thread(
                target=self._watch_deadlines, name="action-deadlines", daemon=True
            )
            self._watcher.start()
        self._change.notify_all()

    def _watch_deadlines(self) -> None:
        while True:
            self.expire()
            with self._change:
                deadlines = [
                    work.deadline
                    for work in self._running.values()
                    if work.deadline is not None
                ]
                if self._closed and not deadlines:
                    return
                left = None
                if deadlines:
                    left = max(0.0, min(deadlines) - self._clock.monotonic())
                self._change.wait(left)
