"""Clocks on the wall of single processes, which can be stepped (``clock.c``)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")


def able() -> bool:
    """Whether the library can be made here."""
    return shutil.which("cc") is not None


class Clocks:
    """A library that processes preload, and a file for each.

    Monotonic clocks go on as they are: a step moves what the calendar says.
    """

    def __init__(self, directory: Path, names: Collection[str]) -> None:
        self._directory = directory
        self._library = directory / "clock.so"
        subprocess.run(
            ["cc", "-O2", "-shared", "-fPIC", "-o", self._library, _SOURCE], check=True
        )
        for name in names:
            self._file(name).write_bytes(bytes(8))

    def environment(self, name: str) -> Mapping[str, str]:
        """What a process needs to have this clock."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file(name))}

    def step(self, name: str, seconds: int) -> None:
        """How much it is fast from now on."""
        with self._file(name).open("r+b") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.clock"
