"""Whether answers can reach this process, and why not.

The library makes its queue for answers with the first call, and tries that without
end and without a time-out while the broker is away. So a thread of its own makes the
first call, to nobody, and all others wait for it here. A broker that says no (a wrong
password, a virtual host that is not ours) is named in the log, and asked again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from mistral.errors import Unavailable

LOG = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 5.0
"""Between two questions to a broker that says no."""


class Refused(Exception):
    """The broker is there and says no.

    :param reason: in the broker's words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Answers:
    """
    :param ask: makes the first call; returns when the broker has taken it, and
        raises ``Refused`` when it says no.
    :param again_seconds: between two questions to a broker that says no.
    """

    def __init__(
        self, ask: Callable[[], None], again_seconds: float = AGAIN_SECONDS
    ) -> None:
        self._ask = ask
        self._again_seconds = again_seconds
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._come = False
        self._asking = False
        self._ended = False
        self._when_done: Callable[[], object] | None = None
        self.refusal: str | None = None
        """Why the broker says no, in its words; None: it does not."""

    def begin(self) -> None:
        """Make the first call, unless that was done."""
        with self._change:
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(
                    target=self._run, name="bus-answers", daemon=True
                )
                self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until answers can come.

        :raises Unavailable: not in time, or the broker says no.
        """
        if self._come:
            return
        self.begin()
        with self._change:
            self._change.wait_for(lambda: self._come or self.refusal, seconds)
            if self._come:
                return
            if self.refusal:
                code = self.refusal.partition(" ")[0]
                raise Unavailable(f"the broker refuses this service ({code})")
            raise Unavailable("the broker is not reachable")

    def end(self, when_done: Callable[[], object]) -> bool:
        """Ask no more; answers whether the library is done with the last question.

        :param when_done: called once it is, if it is not: nobody else may take from
            it then what the question uses.
        """
        with self._change:
            self._ended = True
            self._when_done = when_done
            self._change.notify_all()
            return not self._asking

    def _run(self) -> None:
        while True:
            with self._change:
                if self._ended:
                    return
                self._asking = True
            try:
                self._ask()
                refusal = None
            except Refused as error:
                refusal = error.reason
            with self._change:
                self._asking = False
                when_done = self._when_done
                self._note(refusal)
                if when_done is not None:
                    break
                if self._come:
                    return
                self._change.wait_for(lambda: self._ended, self._again_seconds)
        when_done()

    def _note(self, refusal: str | None) -> None:
        if refusal is None:
            if self.refusal:
                LOG.warning("The broker accepts this service now")
            self._come = True
        elif refusal != self.refusal:
            LOG.error(
                "The broker refuses this service: %s. [DEFAULT] transport_url names"
                " the user, the password and the virtual host; it is tried again"
                " every %d seconds.",
                refusal,
                self._again_seconds,
            )
        self.refusal = refusal
        self._change.notify_all()
