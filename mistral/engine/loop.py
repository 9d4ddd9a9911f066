"""The loop of turns: take, load, decide, store, commit, deliver, answer.

One thread decides. Here is what is around a try (``turn.py``): which events make a
batch, when it is tried again or cut until the culprit stands alone, whether a commit
that was not answered has happened, and what follows it. Nobody is answered before.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.exc import IntegrityError

from mistral.clock import Clock
from mistral.db import history
from mistral.db.database import Database, OwnConnection
from mistral.engine.apart import LOCK_SECONDS, Apart
from mistral.engine.deliver import Deliver
from mistral.engine.facts import Sources
from mistral.engine.grants import Grants
from mistral.engine.intake import Intake, Waiting
from mistral.engine.pace import Pace
from mistral.engine.steps import Reached, Step, unwatched
from mistral.engine.turn import Outcome, Turn
from mistral.errors import Unavailable
from mistral.redaction import redacted
from mistral.service import Counts, Service

LOG = logging.getLogger(__name__)

SKIPS: Final = 3
PATIENCE: Final = 0.2
"""After so many turns or seconds a run that others hold is waited for, for a moment
(``apart.py``)."""

CONFLICTS: Final = 3
"""Replays after rows of another turn were in the way, before a batch is cut."""

LONGEST_BACKOFF: Final = 1.0
"""Seconds between two tries while the database is away: one deciding thread costs it
little, and everything waits for that."""


class Stopped(Exception):
    """The engine stops; what was not committed is heard again elsewhere."""


class EngineLoop(Service):
    """The deciding thread.

    :param reply_to: topic of this engine's results, written into offers.
    :param clock: only its monotonic side counts here.
    :param grants: whether who asks for more gets it.
    :param trace_log: logger of changes of states, see ``trace``.
    :param reached: hears of each step of each turn.
    :param lock_seconds: the longest wait of a turn for a lock.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        deliver: Deliver,
        sources: Sources,
        clock: Clock,
        reply_to: str,
        grants: Grants,
        trace_log: str = "workflow_trace",
        reached: Reached = unwatched,
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        super().__init__("engine-loop")
        self._reached = reached
        self._trace = logging.getLogger(trace_log)
        self._database = database
        self._own = OwnConnection(database, lock_seconds)
        self._apart = Apart(clock)
        self._intake = intake
        self._deliver = deliver
        self._sources = sources
        self._clock = clock
        self._pace = Pace(clock)
        self._tries = Turn(
            database,
            sources,
            clock,
            owner=deliver.owner,
            reply_to=reply_to,
            pace=self._pace,
            grants=grants,
            trace_log=self._trace,
            reached=reached,
        )
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def run_once(self, timeout: float | None = None) -> Counts:
        """One turn over what waits.

        :param timeout: seconds to wait for the first event; None: for ever.
        """
        taken = self._intake.take(
            self._pace.most(), timeout=self._apart.until_due(timeout)
        )
        batch = self._apart.join(taken)
        if not batch:
            return {}
        begun = self._clock.monotonic()
        self._reached(Step.TAKEN)
        stuck = {w.key for w in batch if self._is_stuck(w)}
        waits = self._apart.may_wait()
        self._turn([w for w in batch if not waits or w.key not in stuck])
        for key in sorted(stuck) if waits else ():
            mine = [w for w in batch if w.key == key]
            self._turn(mine, wait=self._apart.may_wait())
        self._pace.took(batch, begun)
        return {"events": len(batch)}

    def _is_stuck(self, waiting: Waiting) -> bool:
        if not waiting.skips:
            return False
        waited = self._clock.monotonic() - waiting.since
        return waiting.skips >= SKIPS or waited >= PATIENCE

    # -- A turn, until it is in the database ----------------------------------

    def _turn(self, batch: list[Waiting], *, wait: bool = False) -> None:
        """Decide and store a batch, however often that takes."""
        if not batch:
            return
        failures = conflicts = 0
        while True:
            outcome = self._tries.outcome()
            stored = False
            try:
                with self._own.begin() as connection:
                    self._tries.attempt(connection, batch, outcome, wait)
                    stored = True
            except IntegrityError as error:
                conflicts += 1
                if conflicts >= CONFLICTS:
                    self._split(batch, error, wait)
                    return
                continue
            except Exception as error:
                if self._database.is_lock_timeout(error):
                    self._set_apart(batch)
                    return
                if not self._database.is_retryable(error):
                    self._split(batch, error, wait)
                    return
                LOG.warning("A turn is tried again: %s", type(error).__name__)
                failures = self._back_off(failures, batch)
                if not stored or not self._is_there(outcome.written.turn_id, batch):
                    continue
            self._after_commit(outcome)
            return

    def _set_apart(self, batch: Sequence[Waiting]) -> None:
        """A turn that waited in vain for what somebody holds: the others go on."""
        self._apart.waited_in_vain()
        by_run: dict[str, list[Waiting]] = {}
        for waiting in batch:
            by_run.setdefault(waiting.key, []).append(waiting)
        if len(by_run) == 1:
            LOG.info("A run that is held elsewhere waits")
            self._apart.keep(batch)
            return
        for mine in by_run.values():
            self._turn(mine)

    def _back_off(self, failures: int, batch: Sequence[Waiting]) -> int:
        """Wait, longer each time.

        :raises Stopped: the engine stops; the batch is refused.
        """
        if self._ending.wait(min(0.01 * 2 ** min(failures, 10), LONGEST_BACKOFF)):
            _refuse(batch)
            raise Stopped
        return failures + 1

    def _is_there(self, turn_id: str, batch: Sequence[Waiting]) -> bool:
        """Whether a turn whose commit was not answered has committed. The server may
        still be about to: what it has locked and which ids it has taken then keep a
        second try from doing the same again."""
        failures = 0
        while True:
            try:
                with self._database.read() as connection:
                    return history.turn_is_there(connection, turn_id)
            except Exception as error:
                if not self._database.is_retryable(error):
                    raise
                failures = self._back_off(failures, batch)

    def _split(self, batch: list[Waiting], error: Exception, wait: bool) -> None:
        """A turn that cannot be stored: halve it until the culprit is alone."""
        if len(batch) == 1:
            self._poison_alone(batch[0], error)
            return
        LOG.warning("A turn of %d events is cut: %r", len(batch), redacted(error))
        half = len(batch) // 2
        self._turn(batch[:half], wait=wait)
        self._turn(batch[half:], wait=wait)

    def _poison_alone(self, waiting: Waiting, error: Exception) -> None:
        """Record an event that no turn can store, and end what waits for it; if that
        cannot be stored either, the event alone."""
        LOG.error("An event cannot be stored", exc_info=error)
        failures, ends = 0, True
        while True:
            outcome = self._tries.outcome()
            try:
                self._store_poison(waiting, error, outcome, ends=ends)
            except Exception as second:
                if self._database.is_lock_timeout(second):
                    self._set_apart([waiting])
                    return
                if self._database.is_retryable(second):
                    failures = self._back_off(failures, [waiting])
                    if not self._is_there(outcome.written.turn_id, [waiting]):
                        continue
                elif ends:
                    LOG.error("What waits for it cannot be ended", exc_info=second)
                    ends = False
                    continue
                else:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(
                            Unavailable("The event could not be stored.")
                        )
                    raise
            self._after_commit(outcome)
            return

    def _store_poison(
        self, waiting: Waiting, error: Exception, outcome: Outcome, *, ends: bool
    ) -> None:
        with self._own.begin() as connection:
            self._tries.store_poison(connection, waiting, error, outcome, ends=ends)

    # -- After the commit -----------------------------------------------------

    def _after_commit(self, outcome: Outcome) -> None:
        written = outcome.written
        self._reached(Step.COMMITTED)
        heard = self._deliver.after_commit(written.outbox, written.now, outcome.read_at)
        self._reached(Step.DELIVERED)
        for waiting, rows in outcome.told:
            follows = (heard.get(row) for row in rows)
            waiting.answer.follows = tuple(each for each in follows if each is not None)
        self._deliver.offers.settled(
            id for run in written.runs for id in run.settled_offers
        )
        self._intake.know(
            {r.id: r.project_id for r in written.runs if r.project_id is not None}
        )
        for line in outcome.trace:
            self._trace.info("%s", line)
        monotonic = self._clock.monotonic()
        for waiting in outcome.back:
            waiting.since = waiting.since if waiting.skips else monotonic
            waiting.skips += 1
        for waiting, run_id in outcome.moved:
            waiting.event = _of_run(waiting.event, run_id)
        moved = [waiting for waiting, _run_id in outcome.moved]
        self._intake.put_back(outcome.cut, first=False)
        back = outcome.back
        if not self._apart.may_wait():
            # Whom nobody waits for is looked at again from time to time.
            back = [waiting for waiting in back if not self._is_stuck(waiting)]
            self._apart.keep(w for w in outcome.back if self._is_stuck(w))
        self._intake.put_back([*back, *moved, *outcome.late])
        for waiting, error in outcome.errors:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
        for ask, call in outcome.given:
            ask.applied, ask.given = True, call
        for waiting, answer in outcome.answers:
            if not waiting.answer.done():
                waiting.answer.set_result(answer)
        for run in written.runs:
            self._sources.keep_documents(run)
        self._reached(Step.ANSWERED)

    # -- Life -----------------------------------------------------------------

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._ending.is_set() or len(self._intake):
                self.run_once()
        except Stopped:
            LOG.warning("The engine stops although the database is away")
        except BaseException as error:
            self.fail(error)
        finally:
            self._own.close()
            self._intake.close()
            self._apart.end(_refuse)
            self._intake.refuse_rest(_stopping)

    def _stop(self) -> None:
        """Decide what waits already, then end."""
        self._intake.close()
        self._ending.set()
        if self._thread is not None:
            self._thread.join()


def _of_run(event: Any, run_id: str) -> Any:
    return replace(event, run_id=run_id)


def _stopping() -> Exception:
    return Unavailable("This engine is stopping.")


def _refuse(batch: Sequence[Waiting]) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(_stopping())
