"""Pools of threads: as many as there is work for."""

from __future__ import annotations

import os
import threading
from concurrent.futures import CancelledError, Future

import pytest

from mistral.threads import ThreadPool

SECONDS = 20


def test_calls_run_at_the_same_time_up_to_the_bound() -> None:
    pool = ThreadPool(3)
    meeting = threading.Barrier(3, timeout=SECONDS)
    calls = [pool.submit(meeting.wait) for _ in range(6)]
    assert sorted(call.result(SECONDS) for call in calls) == [0, 0, 1, 1, 2, 2]
    assert len(pool) == 3
    pool.shutdown()
    assert len(pool) == 0


def test_an_idle_thread_is_used_before_a_new_one_is_made() -> None:
    pool = ThreadPool(8)
    first = pool.submit(threading.current_thread).result(SECONDS)
    for _ in range(20):
        while not pool.idle:
            # its answer comes a moment before the thread counts as idle
            os.sched_yield()
        assert pool.submit(threading.current_thread).result(SECONDS) is first
    assert len(pool) == 1
    pool.shutdown()


def test_threads_that_nobody_needs_end() -> None:
    pool = ThreadPool(2, idle_seconds=0.01)
    meeting = threading.Barrier(2, timeout=SECONDS)

    def meet() -> threading.Thread:
        meeting.wait()
        return threading.current_thread()

    for call in [pool.submit(meet) for _ in range(2)]:
        thread = call.result(SECONDS)
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert len(pool) == 0
    assert pool.submit(lambda: "again").result(SECONDS) == "again"
    pool.shutdown()


def test_what_a_call_raises_is_raised_by_its_future() -> None:
    pool = ThreadPool(1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 // 0).result(SECONDS)
    assert pool.submit(lambda a, b: (a, b), 1, b=2).result(SECONDS) == (1, 2)
    pool.shutdown()


def test_shutdown_waits_for_what_was_submitted() -> None:
    pool = ThreadPool(1)
    done: list[int] = []
    release = threading.Event()
    pool.submit(release.wait, SECONDS)
    for number in range(3):
        pool.submit(done.append, number)
    ending = threading.Thread(target=pool.shutdown)
    ending.start()
    release.set()
    ending.join(SECONDS)
    assert done == [0, 1, 2]
    with pytest.raises(RuntimeError):
        pool.submit(done.append, 3)


def test_shutdown_may_give_up_what_has_not_begun() -> None:
    pool = ThreadPool(1)
    begun, release = threading.Event(), threading.Event()

    def hold() -> bool:
        begun.set()
        return release.wait(SECONDS)

    first = pool.submit(hold)
    assert begun.wait(SECONDS)
    waiting: Future[None] = pool.submit(lambda: None)
    pool.shutdown(wait=False, cancel_futures=True)
    release.set()
    assert first.result(SECONDS)
    with pytest.raises(CancelledError):
        waiting.result(SECONDS)
