"""How much memory a process keeps that it does not use."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from typing import Any, Final

from mistral.service import Counts, Loop

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Of glibc's malloc.h."""

ARENAS: Final = 2
LARGE: Final = 256 * 1024
"""Bytes from which a block is not part of a heap: it goes back when it is freed. glibc
begins with half of that and raises it to 32 MB with each large block that it sees."""

LOOK_SECONDS: Final = 10.0
BUSY: Final = 0.05
"""Part of a core. Below this a process rests: what it frees, it will not need soon."""


def share_heaps() -> None:
    """Let all threads share a few heaps; call it before they start.

    glibc gives up to eight heaps per core to a program with many threads, and
    each keeps what it once needed. Python's lock lets one thread compute at a
    time, so nobody waits for a heap. Other C libraries have no such heaps.
    """
    mallopt = _of_libc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)
        mallopt(_M_MMAP_THRESHOLD, LARGE)


def settle() -> None:
    """What is there after the start stays: the collector need not look at it
    again, and does not write to pages that forked workers share."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Give pages that nobody uses back to the system."""
    gc.collect()
    trim = _of_libc("malloc_trim")
    if trim is not None:
        trim(0)


class Rest(Loop):
    """Gives memory back when the process rests after work; once for each time.

    A heap otherwise keeps what the busiest second needed.

    :param used: seconds of a core that this process has used so far.
    """

    def __init__(
        self,
        give: Callable[[], None] = give_back,
        used: Callable[[], float] = time.process_time,
        interval: float = LOOK_SECONDS,
    ) -> None:
        super().__init__("memory", interval)
        self._give = give
        self._used = used
        self._before = used()
        # what the start has left
        self._worked = True

    def run_once(self) -> Counts:
        used = self._used()
        spent, self._before = used - self._before, used
        if spent > BUSY * self.interval:
            self._worked = True
            return {}
        if not self._worked:
            return {}
        self._worked = False
        self._give()
        return {"given": 1}


def _of_libc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
