"""The end of a benchmark that is told to end: what it has made goes, as at any other.

A signal otherwise ends a Python program without unwinding it, and its servers,
databases and virtual hosts stay.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGHUP)

_held = 0
_told = 0


def unwind_when_told() -> None:
    """From now on SIGTERM and SIGHUP raise ``SystemExit`` in the main thread, once: the
    end that they begin is not cut off by the next."""
    for each in SIGNALS:
        signal.signal(each, _tell)


@contextmanager
def whole() -> Iterator[None]:
    """No end in between: for what is made together with the word that it has to go."""
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if _told and not _held:
        _end()


def _tell(number: int, frame: object) -> None:
    global _told
    _told = number
    if not _held:
        _end()


def _end() -> None:
    global _told
    number, _told = _told, 0
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)
