"""Threads that are there while there is work for them.

A pool begins without threads, takes the one that became idle last, and makes a
new one only when none is idle, so after a storm as many stay as are used; those
that nobody needs for ``IDLE_SECONDS`` end. Nothing wakes up to look around:
a process with many pools sleeps as deeply as one without.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

IDLE_SECONDS: Final = 10.0
"""A thread costs some 50 KB, and less than a millisecond to make."""


class ThreadPool(Executor):
    """Calls in threads, at most ``max_workers`` at a time; the others wait.

    :param idle_seconds: how long a thread without work stays.
    """

    def __init__(
        self,
        max_workers: int,
        *,
        name: str = "pool",
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._most = max_workers
        self._name = name
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._gone = threading.Condition(self._lock)
        self._work: deque[_Work] = deque()
        self._idle: list[_Thread] = []
        self._count = 0
        self._closed = False

    def __len__(self) -> int:
        """Threads that exist."""
        return self._count

    @property
    def idle(self) -> int:
        """Threads that wait for work."""
        return len(self._idle)

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Call ``fn`` in a thread, as soon as one is free.

        :raises RuntimeError: the pool was shut down.
        """
        future: Future[T] = Future()
        work = _Work(future, fn, args, kwargs)
        with self._lock:
            if self._closed:
                raise RuntimeError(f"The pool {self._name} was shut down")
            if self._idle:
                self._idle.pop().take(work)
            elif self._count < self._most:
                _Thread(self, work).start()
                self._count += 1
            else:
                self._work.append(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls.

        :param wait: until all calls are done and all threads are gone.
        :param cancel_futures: give up the calls that no thread has begun.
        """
        with self._lock:
            self._closed = True
            given_up = list(self._work) if cancel_futures else []
            if cancel_futures:
                self._work.clear()
            for thread in self._idle:
                thread.take(None)
            self._idle.clear()
        for work in given_up:
            work.future.cancel()
        with self._lock:
            if wait:
                self._gone.wait_for(lambda: not self._count)

    def _next(self, thread: _Thread) -> _Work | None:
        """More work for a thread that has done its own; None: it ends."""
        with self._lock:
            if self._work:
                return self._work.popleft()
            if not self._closed:
                self._idle.append(thread)
                work = thread.wait(self._idle_seconds)
                if work is not None:
                    return work
                if thread in self._idle:
                    self._idle.remove(thread)
            self._count -= 1
            self._gone.notify_all()
            return None


class _Work:
    __slots__ = ("args", "call", "future", "named")

    def __init__(self, future: Future[Any], call: Any, args: Any, named: Any) -> None:
        self.future = future
        self.call = call
        self.args = args
        self.named = named

    def do(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call(*self.args, **self.named)
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class _Thread(threading.Thread):
    """One of a pool's threads; made with its first work."""

    def __init__(self, pool: ThreadPool, work: _Work) -> None:
        super().__init__(name=pool._name, daemon=True)
        self._pool = pool
        self._given: _Work | None = work
        self._called = threading.Condition(pool._lock)
        self._told = True

    def take(self, work: _Work | None) -> None:
        """Give an idle thread something to do; None: its end. Under the lock."""
        self._given, self._told = work, True
        self._called.notify()

    def wait(self, seconds: float) -> _Work | None:
        """What comes meanwhile. Under the lock."""
        self._told = False
        self._called.wait_for(lambda: self._told, seconds)
        work, self._given = self._given, None
        return work

    def run(self) -> None:
        work, self._given = self._given, None
        while work is not None:
            work.do()
            # neither the call nor what it gave is kept while this thread sleeps
            del work
            work = self._pool._next(self)
