"""Child processes that live as long as their parent.

A child that ends by itself is started again. Its standard input is a pipe that
nobody writes to: when the parent is gone, however it died, the child reads the
end of it and stops.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Final

from mistral.service import Service

LOG = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 1.0
"""Between the end of a child and its next start."""


class Child(Service):
    """A supervised Python process.

    :param command: arguments of the interpreter.
    :param argv: arguments of the program.
    """

    def __init__(self, name: str, command: Sequence[str], argv: Sequence[str]) -> None:
        super().__init__(name)
        self._command = [sys.executable, *command, *argv]
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None

    def _start(self) -> None:
        self._process = self._begin()
        self._watcher = threading.Thread(
            target=self._watch, name=f"watch-{self.name}", daemon=True
        )
        self._watcher.start()

    def _begin(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdin=subprocess.PIPE)

    def _watch(self) -> None:
        while self._process is not None:
            code = self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            if self._ending.wait(PAUSE_SECONDS):
                return
            LOG.error("%s ended with %d and is started again", self.name, code)
            try:
                self._process = self._begin()
            except OSError as error:
                self.fail(error)
                return

    def _stop(self) -> None:
        self._ending.set()
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            LOG.warning("%s does not stop and is killed", self.name)
            process.kill()
        if self._watcher is not None:
            self._watcher.join(5.0)


def end_with_parent() -> None:
    """In a child: be terminated when the parent is gone."""

    def watch() -> None:
        while os.read(0, 4096):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
