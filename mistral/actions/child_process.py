"""A process for code that is not ours: one question in, one answer out.

The child is a Python file that runs without the package, without environment and
without the files of this process; what else it gives up is its own business.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path


def ask(child: Path, question: bytes, *, seconds: float, most: int) -> bytes:
    """What the child writes when it has read the question.

    :param seconds: after which it is killed.
    :param most: bytes; one more is read, so that a longer answer can be told.
    :returns: empty when it was killed or ended without a word.
    """
    with subprocess.Popen(
        [sys.executable, "-I", str(child)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        start_new_session=True,
    ) as process:
        guard = threading.Timer(seconds, _end, (process.pid,))
        guard.daemon = True
        guard.start()
        try:
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(question)
                process.stdin.close()
            except BrokenPipeError:
                return b""
            return process.stdout.read(most + 1)
        finally:
            # before the child is waited for, so that its number is still its own
            guard.cancel()
            guard.join()
            _end(process.pid)


def _end(group: int) -> None:
    """Kill the child, and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
