"""Shares of a core for single processes, by control groups (as root).

Two engines on a machine whose cores the database and the clients use, too, show how
many cores there are. With a share for each engine the rest of the machine is never
short, so what grows with the number of engines is theirs (ENG-242).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD = 10_000
"""Microseconds; short, so that a process does not wait long for its next share."""


@contextmanager
def limited(pid: int, share: float) -> Iterator[None]:
    """The process gets so much of one core at most.

    :raises SystemExit: this machine has no such groups, or they are not ours to make.
    """
    first = ROOT / "cpu" if (ROOT / "cpu").is_dir() else ROOT
    group = first / f"mistral-bench-{pid}"
    quota = int(PERIOD * share)
    try:
        group.mkdir()
    except OSError as error:
        raise SystemExit(f"No shares of cores here: {error}") from None
    try:
        if first is ROOT:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        _move(pid, group)
        yield
    finally:
        _move(pid, first)
        group.rmdir()


def _move(pid: int, group: Path) -> None:
    """With all its threads."""
    try:
        (group / "cgroup.procs").write_text(str(pid))
    except ProcessLookupError:
        return
