"""Child processes that live as long as their parent.

A child that ends by itself is started again. Its standard input is a line to its
parent: when the parent is gone, however it died, the child reads the end of it and
stops; and the child writes to it when it is up.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from mistral.errors import ServiceError
from mistral.service import Service

LOG = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 1.0
"""Between the end of a child and its next start."""

UP_SECONDS: Final = 60.0
"""How long a server waits for its children before it says what is up without them."""

_LINE: Final = 0
_UP: Final = b"+"


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
        self._line: socket.socket | None = None
        self._watcher: threading.Thread | None = None
        self._said = threading.Event()
        self._code: int | None = None

    def begin(self) -> None:
        """Let the process load while others start; ``start`` watches over it."""
        if self._process is None:
            self._process = self._begin()

    def is_up(self, seconds: float) -> bool:
        """Wait until the process has said that it is up.

        :raises ServiceError: it ended instead.
        """
        self._said.wait(seconds)
        if self._code is not None:
            raise ServiceError(
                f"{self.name} could not start: it ended with {self._code}."
            )
        return self._said.is_set()

    def _start(self) -> None:
        self.begin()
        self._watcher = threading.Thread(
            target=self._watch, name=f"watch-{self.name}", daemon=True
        )
        self._watcher.start()

    def _begin(self) -> subprocess.Popen[bytes]:
        self._line, theirs = socket.socketpair()
        with theirs:
            return subprocess.Popen(self._command, stdin=theirs.fileno())

    def _watch(self) -> None:
        while self._process is not None and self._line is not None:
            with self._line:
                if self._line.recv(len(_UP)):
                    self._said.set()
                code = self._process.wait()
            if not self._said.is_set():
                self._code = code
                self._said.set()
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


class Begun(Service):
    """Lets children load at the same time as what is started after this."""

    def __init__(self, children: Sequence[Child]) -> None:
        super().__init__("children")
        self._children = children

    def _start(self) -> None:
        for child in self._children:
            child.begin()


class Answering(Service):
    """Has started when all children are up.

    :param seconds: how long it waits at most; the server goes on without them.
    """

    def __init__(self, children: Sequence[Child], seconds: float = UP_SECONDS) -> None:
        super().__init__("answering")
        self._children = children
        self._seconds = seconds

    def _start(self) -> None:
        """:raises ServiceError: a child could not start."""
        for child in self._children:
            if not child.is_up(self._seconds):
                LOG.warning("%s is not up yet, and is waited for no longer", child.name)


def tell_parent() -> None:
    """In a child: it is up. More than once does no harm."""
    with suppress(OSError):
        os.write(_LINE, _UP)


def end_with_parent() -> None:
    """In a child: be terminated when the parent is gone."""

    def watch() -> None:
        while os.read(_LINE, 4096):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
