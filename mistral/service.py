"""One life cycle for everything that runs: start, started, stop.

* ``start`` returns when the service works; ``started`` is set then.
* ``stop`` returns when it works no more. It may be called twice, from any
  thread, and before ``start``: a service that was stopped never starts.
* A service that cannot go on calls ``fail``; whoever waits for it wakes up.

A ``Loop`` adds a thread that calls ``run_once`` again and again. Tests call
``run_once`` themselves and need no thread.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence

from mistral.errors import MistralError, is_outage
from mistral.redaction import redacted

LOG = logging.getLogger(__name__)

Counts = Mapping[str, int]
"""What one pass of a loop did, by kind; empty: nothing was to be done."""


def together(calls: Iterable[Callable[[], object]]) -> None:
    """Make all these calls at the same time and wait for the last; failures are
    logged. For ends that each wait some seconds for a quiet moment."""

    def guarded(call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            LOG.exception("An end was not clean")

    threads = [
        threading.Thread(target=guarded, args=(call,), daemon=True) for call in calls
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Service:
    """Root of all that runs. Subclasses write ``_start`` and ``_stop``.

    :param name: for logs and thread names.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.started = threading.Event()
        self.ended = threading.Event()
        self.failure: BaseException | None = None
        self._on_failure: Callable[[BaseException], None] | None = None
        self._life = threading.RLock()
        self._began = False

    def start(self) -> None:
        """Begin to work; a second call does nothing.

        :raises Exception: what ``_start`` raised; the service is ended then.
        """
        with self._life:
            if self._began or self.ended.is_set():
                return
            self._began = True
            try:
                self._start()
            except BaseException:
                self.ended.set()
                raise
            self.started.set()
            LOG.info("%s started", self.name)

    def stop(self) -> None:
        """End the work and wait until it has ended."""
        with self._life:
            if not self.started.is_set() or not self._began:
                self.ended.set()
                return
            self._began = False
            try:
                self._stop()
            finally:
                self.ended.set()
            LOG.info("%s stopped", self.name)

    def fail(self, error: BaseException) -> None:
        """Tell that the service cannot go on; only the first reason is kept.

        Nothing is stopped here: the owner, who waits, stops it.
        """
        if self.failure is not None:
            return
        self.failure = error
        LOG.error("%s failed", self.name, exc_info=error)
        if self._on_failure is not None:
            self._on_failure(error)
        self.ended.set()

    def when_failed(self, tell: Callable[[BaseException], None]) -> None:
        """Have ``tell`` called, in the failing thread, with the reason."""
        self._on_failure = tell

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it was stopped or failed.

        :param timeout: seconds, or None for ever.
        :returns: whether it has ended.
        """
        return self.ended.wait(timeout)

    def _start(self) -> None:
        """Begin; raise when that is impossible."""

    def _stop(self) -> None:
        """End and release; called once, after ``_start`` succeeded."""


class Loop(Service, ABC):
    """A duty that is done again and again in a thread of its own.

    :param interval: seconds from the end of a pass to the next one.
    """

    LONGEST_PAUSE = 30.0
    """Seconds. A pass that failed is repeated after 1, 2, 4… seconds up to this,
    so that a dead neighbour is neither flooded nor found alive too late."""

    def __init__(self, name: str, interval: float) -> None:
        super().__init__(name)
        self.interval = interval
        self._change = threading.Condition()
        self._wanted = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    @abstractmethod
    def run_once(self) -> Counts:
        """One pass. What it raises is logged, and the loop goes on."""

    def wake(self) -> None:
        """Ask for the next pass now."""
        with self._change:
            self._wanted = True
            self._change.notify_all()

    def rest(self, seconds: float) -> None:
        """Let others go on for so long within a pass, unless it is to stop."""
        with self._change:
            self._change.wait_for(lambda: self._stopping, seconds)

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` was called; long passes look at it."""
        return self._stopping

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def _stop(self) -> None:
        with self._change:
            self._stopping = True
            self._change.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                self.run_once()
                failures = 0
            except MistralError as error:
                failures += 1
                LOG.warning("%s: %s (%d in a row)", self.name, error, failures)
            except Exception as error:
                failures += 1
                if is_outage(error):
                    told = redacted(error)
                    LOG.warning("%s: %s (%d in a row)", self.name, told, failures)
                else:
                    text = "%s: a pass failed (%d in a row)"
                    LOG.exception(text, self.name, failures)
            except BaseException as error:
                self.fail(error)
                return
            self._pause(failures)

    def _pause(self, failures: int) -> None:
        seconds = self.interval
        if failures:
            # also when the interval is longer: work may wait for this pass
            seconds = min(2.0 ** min(failures - 1, 10), self.LONGEST_PAUSE)
        with self._change:
            self._change.wait_for(lambda: self._wanted or self._stopping, seconds)
            self._wanted = False


class Group(Service):
    """Services that live and die together.

    They start in order and stop in reverse. If one cannot start, those before
    it are stopped and the reason is raised. If one fails later, the group
    fails with the same reason: ``wait`` returns, and the owner stops it.
    """

    def __init__(self, name: str, members: Sequence[Service]) -> None:
        super().__init__(name)
        self.members = tuple(members)

    def _start(self) -> None:
        for place, member in enumerate(self.members):
            member.when_failed(self.fail)
            try:
                member.start()
            except BaseException:
                self._stop_all(self.members[:place])
                raise

    def _stop(self) -> None:
        self._stop_all(self.members)

    @staticmethod
    def _stop_all(members: Sequence[Service]) -> None:
        for member in reversed(members):
            try:
                member.stop()
            except Exception:
                # the others still hold things that must be released
                LOG.exception("%s did not stop cleanly", member.name)
