"""How much memory a process keeps that it does not use."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

_M_ARENA_MAX: Final = -8
"""Of glibc's malloc.h."""

ARENAS: Final = 2


def share_heaps() -> None:
    """Let all threads share a few heaps; call it before they start.

    glibc gives up to eight heaps per core to a program with many threads, and
    each keeps what it once needed. Python's lock lets one thread compute at a
    time, so nobody waits for a heap. Other C libraries have no such heaps.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)


def settle() -> None:
    """What is there after the start stays: the collector need not look at it
    again, and does not write to pages that forked workers share."""
    gc.collect()
    gc.freeze()
