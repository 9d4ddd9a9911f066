"""Small disks under single processes, which can be filled: a ``tmpfs`` for each."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

_SIZE = "48m"
_PIECE = 1 << 20


class Disks:
    """:ivar places: process → where its disk is."""

    def __init__(self, directory: Path, names: Collection[str]) -> None:
        self.places = {name: directory / f"{name}-disk" for name in names}

    def fill(self, name: str) -> int:
        """Until not a byte more can be written; answers how many it took."""
        taken = 0
        with self._filler(name).open("wb", buffering=0) as filler:
            for size in (_PIECE, 1):
                try:
                    while True:
                        taken += filler.write(bytes(size)) or 0
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
        return taken

    def free(self, name: str) -> None:
        self._filler(name).unlink(missing_ok=True)

    def _filler(self, name: str) -> Path:
        return self.places[name] / "filler"


def able() -> bool:
    """Whether this process may mount something."""
    return not os.geteuid() and shutil.which("mount") is not None


@contextmanager
def mounted(directory: Path, names: Collection[str]) -> Iterator[Disks]:
    """Disks for these; the logs on them are copied out in the end."""
    disks, mounts = Disks(directory, names), []
    try:
        for place in disks.places.values():
            place.mkdir(exist_ok=True)
            options = ("-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs")
            subprocess.run(["mount", *options, str(place)], check=True)
            mounts.append(place)
        yield disks
    finally:
        for place in mounts:
            for log in place.glob("*.log"):
                shutil.copy(log, directory)
            subprocess.run(["umount", "--lazy", str(place)], check=True)
            place.rmdir()
