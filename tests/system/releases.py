"""Older releases of this repository, installed beside the code under test."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NUMBERED = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


def newest_tag() -> str | None:
    """The tag of the newest release; None: there is none in this clone."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), "tag", "--list"], capture_output=True, text=True
    )
    tags = [tag for tag in done.stdout.split() if _NUMBERED.fullmatch(tag)]
    return max(tags, key=_numbers) if tags else None


def _numbers(tag: str) -> tuple[int, ...]:
    found = _NUMBERED.fullmatch(tag)
    assert found is not None
    return tuple(map(int, found.groups()))


def install(tag: str, directory: Path) -> Path:
    """Make a release ready in a directory of its own, for ``PYTHONPATH``; what it
    depends on is that of this interpreter."""
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", tag], capture_output=True, check=True
    )
    source = directory / "release"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(source, filter="data")
    # Its entry points: of what lies there, not of what is installed.
    setup = "from setuptools import setup; setup()"
    subprocess.run(
        [sys.executable, "-c", setup, "--quiet", "egg_info"],
        cwd=source,
        check=True,
        capture_output=True,
    )
    return source
