"""A result that is handed in with the question what follows from it (decision 0048).

Where nothing waits here and a worker is free, the next call of a run can come with the
answer to the result: no offer, no claim. Such a call is claimed by the token of the
question, so a token is used once at most: for the answer to its own question, in time.
After that it is *unused* for good, and beats say so: what was granted to it all the
same has not run, and will not run here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mistral.clock import Clock
from mistral.errors import MistralError
from mistral.executors.claims import Asks, Claims
from mistral.executors.held import Held
from mistral.executors.steps import Reached, Step, unwatched
from mistral.messages import ActionFinished, CallAction, HandIn, decode, encode
from mistral.service import Counts, Loop

LOG = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 4.0
"""How long an answer is waited for; then the result goes its ordinary way."""

PAUSE_SECONDS: Final = 10.0
"""After a question without an answer, before the next one: engines are slow, away, or
older and know no such questions."""

UNUSED_SECONDS: Final = 600.0
"""How long a token is told to be unused: no engine grants anything to it later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Myself:
    """:param targets: groups whose offers are taken; None: those of no group."""

    executor_id: str
    targets: tuple[str | None, ...]


class Further(Loop):
    """Asks, one question at a time; what is finished meanwhile goes its ordinary way.

    :param new_token: makes a text that was never made before.
    :param claims: the line of offers: while something waits there nothing is asked.
    :param free: workers without work, as many as there is room for results.
    :param begin: runs a call.
    :param due: is told that a result has to go its ordinary way.
    :param released: is told that offers need not leave a worker free any more.
    :param unused: is told that a token will not be used.
    :param trusted_seconds: see ``Claims``.
    """

    def __init__(
        self,
        bus: Asks,
        myself: Myself,
        new_token: Callable[[], str],
        clock: Clock,
        claims: Claims,
        held: Held,
        free: Callable[[], int],
        begin: Callable[[CallAction], object],
        due: Callable[[], object],
        released: Callable[[], object],
        unused: Callable[[], object],
        trusted_seconds: float,
        reached: Reached = unwatched,
    ) -> None:
        super().__init__("executor-further", interval=30.0)
        self._bus = bus
        self._myself = myself
        self._new_token = new_token
        self._clock = clock
        self._claims = claims
        self._held = held
        self._free = free
        self._begin = begin
        self._due = due
        self._say_released = released
        self._say_unused = unused
        self._answer_seconds = min(ANSWER_SECONDS, trusted_seconds / 3)
        self._trusted_seconds = trusted_seconds
        self._reached = reached
        self._guard = threading.Lock()
        self._finished: ActionFinished | None = None
        self._open = ""
        self._unused: dict[str, float] = {}
        self._not_before = clock.monotonic()
        self._ended = False

    def hurry(self, seconds: float) -> None:
        """Wait no longer than this for an answer from now on."""
        self._answer_seconds = min(self._answer_seconds, seconds)

    def take(self, outcome: ActionFinished) -> bool:
        """Hand this result in, and ask; False: it goes its ordinary way.

        :param outcome: it is held, and nobody else sends it.
        """
        with self._guard:
            busy = self._finished is not None or self._ended
            too_early = self._clock.monotonic() < self._not_before
            if busy or too_early or self._claims.waits():
                return False
            self._finished = outcome
        self.wake()
        return True

    def run_once(self) -> Counts:
        """Ask once, if there is what to ask with. Who does not answer is not asked for
        a while."""
        finished = self._finished
        if finished is None:
            return {}
        if not self._claims.reserve(self._free):
            self._ordinary(finished)
            return {}
        try:
            call = self._asked(finished)
            if call is not None:
                self._begin(call)
                with self._guard:
                    # it runs, so that it is seen here or there
                    self._open = ""
        finally:
            self._claims.release()
            if self._claims.waits():
                self._say_released()
        return {"begun": int(call is not None)}

    def _asked(self, finished: ActionFinished) -> CallAction | None:
        """:returns: what may begin; its token is still open."""
        token = self._new_token()
        message = HandIn(
            event=encode(finished),
            token=token,
            executor_id=self._myself.executor_id,
            targets=self._myself.targets,
            free=self._free(),
        )
        with self._guard:
            self._open = token
        asked_at = self._clock.monotonic()
        self._reached(Step.ASKING)
        try:
            answer = self._bus.call(message, timeout=self._answer_seconds)
            call = _call_of(answer)
        except Exception as error:
            if isinstance(error, MistralError):
                LOG.info("A result was not taken in: %s", error)
            else:
                LOG.exception("The answer to a result cannot be read")
            with self._guard:
                self._not_before = self._clock.monotonic() + PAUSE_SECONDS
            self._close(token)
            self._ordinary(finished, asked=True)
            return None
        self._reached(Step.ANSWERED)
        # the answer comes after the commit
        self._held.drop([(finished.action_id, finished.attempt)])
        late = self._clock.monotonic() - asked_at > self._trusted_seconds
        with self._guard:
            self._finished = None
            if call is None:
                self._open = ""
        if call is not None and late:
            # this executor may have been given up meanwhile
            self._close(token)
            return None
        return call

    def asking(self) -> tuple[str, ...]:
        """The token that something may be granted to, and those that are not used."""
        with self._guard:
            return (*((self._open,) if self._open else ()), *self._unused)

    def unused(self) -> tuple[str, ...]:
        """Tokens to which something may have been granted that will not run."""
        now = self._clock.monotonic()
        with self._guard:
            self._unused = {t: at for t, at in self._unused.items() if at > now}
            return tuple(self._unused)

    def end(self) -> None:
        """Ask no more; what was to be asked with goes its ordinary way."""
        with self._guard:
            self._ended = True
        self.stop()
        finished = self._finished
        if finished is not None:
            self._ordinary(finished)

    def _close(self, token: str) -> None:
        with self._guard:
            self._unused[token] = self._clock.monotonic() + UNUSED_SECONDS
            self._open = ""
        self._say_unused()

    def _ordinary(self, finished: ActionFinished, *, asked: bool = False) -> None:
        with self._guard:
            self._finished = None
        if asked:
            # to any engine: the one that was to have it may be gone
            self._held.send_again([finished.action_id], float("inf"))
        else:
            self._held.unsend((finished.action_id, finished.attempt))
        self._due()


def _call_of(answer: Any) -> CallAction | None:
    """:raises ValueError: it is no answer to this question."""
    if not isinstance(answer, Mapping) or "call" not in answer:
        raise ValueError("There is no call in the answer")
    if answer["call"] is None:
        return None
    call = decode(answer["call"])
    if not isinstance(call, CallAction):
        raise ValueError("What was granted is no call")
    return call
