"""Processor time and memory of running processes, read from ``/proc``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """The process and all that descend from it, as far as they live."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found.extend(map(int, children.read_text().split()))
            except OSError:
                continue
    return found


def cpu(tops: Iterable[int]) -> float:
    """Seconds of processor time of families, those that ended and were reaped too."""
    return sum(_ticks(pid) for top in tops for pid in family(top)) / TICK


def own_cpu(pids: Iterable[int]) -> float:
    """Seconds of processor time of these processes alone."""
    return sum(_ticks(pid, reaped=False) for pid in pids) / TICK


def _ticks(pid: int, *, reaped: bool = True) -> int:
    return _ticks_in(Path(f"/proc/{pid}/stat"), reaped=reaped)


def _ticks_in(path: Path, *, reaped: bool) -> int:
    try:
        fields = path.read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11 : 15 if reaped else 13]))


def threads_cpu(pid: int, threads: Iterable[int]) -> float:
    """Seconds of processor time of threads of one process."""
    paths = (Path(f"/proc/{pid}/task/{thread}/stat") for thread in threads)
    return sum(_ticks_in(path, reaped=False) for path in paths) / TICK


def memory(tops: Iterable[int]) -> float:
    """Megabytes of resident memory of the largest process of families."""
    return max(_resident(pid) for top in tops for pid in family(top))


def peak(tops: Iterable[int]) -> float:
    """The same, the most so far."""
    return max(_resident(pid, "VmHWM") for top in tops for pid in family(top))


def _resident(pid: int, field: str = "VmRSS") -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    for line in lines:
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


def titled(start: str, word: str) -> list[int]:
    """Processes whose title begins with ``start`` and holds ``word``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if title.startswith(start) and f" {word} " in title:
            found.append(int(path.parent.name))
    return found


def pace() -> float:
    """Milliseconds of processor time that the same work takes here and now.

    Processors that are shared with other work (or with another thread of the same
    core) do less in a second of processor time; figures compare at the same pace.
    """
    begun = time.thread_time()
    total = 0
    for number in range(200_000):
        total += number % 7
    return 1000 * (time.thread_time() - begun)
