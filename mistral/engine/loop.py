"""The turn: take, load, decide, store, commit, deliver, answer.

One thread decides. A failing decision has written nothing, so its run is
loaded again and the other events of that run are decided without the culprit;
neighbours commit. Nobody is answered before the commit.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from mistral.clock import Clock
from mistral.db import history
from mistral.db.database import Database
from mistral.engine import trace
from mistral.engine.core.decide import Decision, decide
from mistral.engine.core.run import Run
from mistral.engine.deliver import Deliver
from mistral.engine.facts import Sources, SqlFacts
from mistral.engine.intake import Intake, Waiting
from mistral.engine.load import Loaded, open_runs
from mistral.engine.store import Written, effect_row, history_row, save
from mistral.errors import Bug, CallerError, MistralError, Unavailable
from mistral.messages import (
    ClaimAction,
    Effect,
    Request,
    StartWorkflow,
    Tell,
    encode,
)
from mistral.service import Counts, Service

LOG = logging.getLogger(__name__)

SKIPS: Final = 3
PATIENCE: Final = 0.2
"""After so many turns or seconds a run that others hold is waited for."""

CONFLICTS: Final = 3
"""Replays after rows of another turn were in the way, before a batch is cut."""

LONGEST_TURN: Final = 1.0
"""Seconds of deciding after which a turn takes no further event: the commit is due,
and runs whose expressions are slow must not keep the others waiting."""

LONGEST_BACKOFF: Final = 5.0
"""Seconds between two tries while the database is away."""


class Stopped(Exception):
    """The engine stops; what was not committed is heard again elsewhere."""


@dataclass(slots=True)
class _Outcome:
    """What is told after the commit.

    :param back: of runs that another engine held.
    :param late: of runs that the turn had no time left for.
    :param cut: the rest of the run that took the time.
    """

    written: Written
    answers: list[tuple[Waiting, Any]] = field(default_factory=list)
    errors: list[tuple[Waiting, Exception]] = field(default_factory=list)
    back: list[Waiting] = field(default_factory=list)
    late: list[Waiting] = field(default_factory=list)
    cut: list[Waiting] = field(default_factory=list)
    moved: list[tuple[Waiting, str]] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)


class EngineLoop(Service):
    """The deciding thread.

    :param owner: id of this engine process, for leases.
    :param reply_to: topic of this engine's results, written into offers.
    :param clock: only its monotonic side counts here.
    :param trace_log: logger of changes of states, see ``trace``.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        deliver: Deliver,
        sources: Sources,
        clock: Clock,
        reply_to: str,
        trace_log: str = "workflow_trace",
    ) -> None:
        super().__init__("engine-loop")
        self._trace = logging.getLogger(trace_log)
        self._database = database
        self._intake = intake
        self._deliver = deliver
        self._sources = sources
        self._clock = clock
        self._reply_to = reply_to
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def run_once(self, timeout: float | None = None) -> Counts:
        """One turn over what waits.

        :param timeout: seconds to wait for the first event; None: for ever.
        """
        batch = self._intake.take(timeout=timeout)
        if not batch:
            return {}
        stuck = {w.key for w in batch if self._is_stuck(w)}
        self._turn([w for w in batch if w.key not in stuck])
        for key in sorted(stuck):
            self._turn([w for w in batch if w.key == key], wait=True)
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
            outcome = _Outcome(self._written())
            stored = False
            try:
                with self._database.begin() as connection:
                    self._transact(connection, batch, outcome, wait)
                    stored = True
            except IntegrityError as error:
                conflicts += 1
                if conflicts >= CONFLICTS:
                    self._split(batch, error, wait)
                    return
                continue
            except Exception as error:
                if not self._database.is_retryable(error):
                    self._split(batch, error, wait)
                    return
                LOG.warning("A turn is tried again: %s", type(error).__name__)
                failures = self._back_off(failures, batch)
                if not stored or not self._is_there(outcome.written.turn_id, batch):
                    continue
            self._after_commit(outcome)
            return

    def _written(self) -> Written:
        return Written(
            turn_id=self._sources.new_id(), now=datetime.min, owner=self._deliver.owner
        )

    def _back_off(self, failures: int, batch: Sequence[Waiting]) -> int:
        """Wait, longer each time.

        :raises Stopped: the engine stops; the batch is refused.
        """
        if self._ending.wait(min(0.01 * 2 ** min(failures, 10), LONGEST_BACKOFF)):
            _refuse(batch)
            raise Stopped
        return failures + 1

    def _is_there(self, turn_id: str, batch: Sequence[Waiting]) -> bool:
        """Whether a turn whose commit was not answered has committed."""
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
        LOG.warning("A turn of %d events is cut: %r", len(batch), error)
        half = len(batch) // 2
        self._turn(batch[:half], wait=wait)
        self._turn(batch[half:], wait=wait)

    def _poison_alone(self, waiting: Waiting, error: Exception) -> None:
        """Record an event that no turn can store, and nothing else of it."""
        LOG.error("An event cannot be stored: %r", error, exc_info=error)
        outcome = _Outcome(self._written())
        try:
            with self._database.begin() as connection:
                outcome.written.now = self._database.now(connection)
                self._poison(waiting, error, outcome)
                if waiting.row_id:
                    outcome.written.consumed.append(waiting.row_id)
                save(connection, outcome.written)
        except Exception as second:
            if not waiting.answer.done():
                waiting.answer.set_exception(
                    Unavailable("The event could not be stored.")
                )
            if not self._database.is_retryable(second):
                raise
            return
        self._after_commit(outcome)

    # -- Inside the transaction -----------------------------------------------

    def _transact(
        self,
        connection: Connection,
        batch: Sequence[Waiting],
        outcome: _Outcome,
        wait: bool,
    ) -> None:
        facts = SqlFacts(connection, self._sources)
        loaded = open_runs(connection, self._database, batch, facts, wait=wait)
        outcome.written.now = loaded.now
        events: dict[str, list[Waiting]] = {}
        for waiting in batch:
            if waiting.key in loaded.skipped:
                outcome.back.append(waiting)
            elif waiting.key in loaded.moved:
                outcome.moved.append((waiting, loaded.moved[waiting.key]))
            elif waiting.row_id in loaded.gone:
                outcome.answers.append((waiting, None))
            else:
                events.setdefault(waiting.key, []).append(waiting)
        until = self._clock.monotonic() + LONGEST_TURN
        for key, mine in events.items():
            if outcome.cut or self._clock.monotonic() > until:
                outcome.late.extend(mine)
                continue
            decided = self._decide_run(key, mine, loaded, outcome, until)
            outcome.cut.extend(mine[decided:])
            outcome.written.consumed.extend(
                w.row_id for w in mine[:decided] if w.row_id
            )
        save(connection, outcome.written)

    def _decide_run(
        self,
        key: str,
        events: Sequence[Waiting],
        loaded: Loaded,
        outcome: _Outcome,
        until: float,
    ) -> int:
        """Decide the events of one header; those that fail are left out.

        :returns: how many of them, at least one, were reached in time.
        """
        culprits: dict[Waiting, Exception] = {}
        while True:
            tried = _Tried(loaded.open(key))
            reached, failed = len(events), None
            for place, waiting in enumerate(events):
                if waiting in culprits:
                    continue
                if place and self._clock.monotonic() > until:
                    reached = place
                    break
                try:
                    self._decide_one(waiting, loaded, tried)
                except Exception as error:
                    if isinstance(error, SQLAlchemyError | Unavailable):
                        raise
                    culprits[waiting] = failed = error
                    break
            if failed is None:
                break
        for waiting in events[:reached]:
            if waiting in culprits:
                self._report(waiting, culprits[waiting], tried, outcome)
        self._keep(key, tried, loaded, outcome)
        return reached

    def _decide_one(self, waiting: Waiting, loaded: Loaded, tried: _Tried) -> None:
        event = waiting.event
        request_id = event.request_id if isinstance(event, Request) else ""
        if request_id:
            known = {**loaded.answers, **tried.handled}
            if request_id in known:
                tried.answers.append((waiting, known[request_id]))
                return
        before = len(tried.run.transitions) if tried.run is not None else 0
        loaded.facts.next_decision()
        decision: Decision = decide(tried.run, event, loaded.facts, loaded.now)
        if decision.run is not tried.run:
            before = 0
        tried.run = decision.run
        tried.answers.append((waiting, decision.answer))
        tried.effects.extend(decision.effects)
        if request_id and not _comes_again(event, decision.effects):
            tried.handled[request_id] = decision.answer
        if isinstance(event, ClaimAction) and decision.answer is True:
            tried.claimers.add(event.executor_id)
        if tried.run is not None and _is_stored(tried.run):
            tried.heard.append(
                (waiting, tried.run.transitions[before:], decision.effects)
            )

    def _keep(self, key: str, tried: _Tried, loaded: Loaded, outcome: _Outcome) -> None:
        """Add what was decided for one header to what the turn writes."""
        written, run = outcome.written, tried.run
        outcome.answers.extend(tried.answers)
        for waiting, transitions, effects in tried.heard:
            assert run is not None
            if run.standalone:
                seq = loaded.next_seq.get(key, 1)
                loaded.next_seq[key] = seq + 1
            else:
                run.history_seq += 1
                seq = run.history_seq
            written.history.append(
                history_row(written, key, seq, waiting.event, transitions, effects)
            )
            if self._trace.isEnabledFor(logging.INFO):
                outcome.trace.extend(trace.lines(run, transitions))
        if run is not None and (tried.heard or tried.touched or run.trigger):
            written.runs.append(run)
        written.outbox.extend(
            effect_row(effect, self._sources.new_id(), written, self._reply_to)
            for effect in tried.effects
        )
        written.handled.extend(
            {"request_id": id, "answer": answer, "at": written.now}
            for id, answer in tried.handled.items()
        )
        written.claimers |= tried.claimers

    def _report(
        self, waiting: Waiting, error: Exception, tried: _Tried, outcome: _Outcome
    ) -> None:
        """One event that could not be decided: its sender's fault or ours."""
        event = waiting.event
        if event.answered and isinstance(error, MistralError):
            if not isinstance(error, Bug):
                if isinstance(event, StartWorkflow) and event.trigger:
                    _say_refused(event, event.trigger, error)
                outcome.errors.append((waiting, error))
                return
        elif isinstance(error, CallerError):
            LOG.info("A %s was dropped: %s", type(event).__name__, error.code)
            outcome.answers.append((waiting, None))
            return
        LOG.error("A %s is poison", type(event).__name__, exc_info=error)
        self._poison(waiting, error, outcome)
        run = tried.run
        if run is not None and not run.is_new and run.state == "RUNNING":
            run.state_info = (
                f"The engine could not handle a {type(event).__name__}; it was set"
                f" aside [turn={outcome.written.turn_id}]"
            )
            tried.touched = True

    def _poison(self, waiting: Waiting, error: Exception, outcome: _Outcome) -> None:
        event, written = waiting.event, outcome.written
        written.poison.append(
            {
                "id": self._sources.new_id(),
                "run_id": waiting.key[:36],
                "kind": type(event).__name__,
                "payload": encode(event),
                "error": "".join(traceback.format_exception(error)),
                "at": written.now,
            }
        )
        if event.answered:
            problem = Bug("The request could not be handled; it was set aside.")
            outcome.errors.append((waiting, problem))
        else:
            outcome.answers.append((waiting, None))

    # -- After the commit -----------------------------------------------------

    def _after_commit(self, outcome: _Outcome) -> None:
        self._deliver.after_commit(outcome.written.outbox, outcome.written.now)
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
        self._intake.put_back([*outcome.back, *moved, *outcome.late])
        for waiting, error in outcome.errors:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
        for waiting, answer in outcome.answers:
            if not waiting.answer.done():
                waiting.answer.set_result(answer)

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
            self._intake.close()
            self._intake.refuse_rest(_stopping)

    def _stop(self) -> None:
        """Decide what waits already, then end."""
        self._intake.close()
        self._ending.set()
        if self._thread is not None:
            self._thread.join()


@dataclass(slots=True)
class _Tried:
    """What the events of one header have led to so far.

    :param touched: the run is written although no event was decided.
    """

    run: Run | None
    answers: list[tuple[Waiting, Any]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    handled: dict[str, Any] = field(default_factory=dict)
    claimers: set[str] = field(default_factory=set)
    heard: list[tuple[Waiting, list[Any], list[Effect]]] = field(default_factory=list)
    touched: bool = False


def _is_stored(run: Run) -> bool:
    """A stand-alone action that nothing is stored of has no history."""
    return not run.standalone or bool(run.actions)


def _comes_again(event: Any, effects: Sequence[Effect]) -> bool:
    """Whether it was put off: it has no answer yet."""
    return any(isinstance(e, Tell) and e.event is event for e in effects)


def _say_refused(
    event: StartWorkflow, trigger: Mapping[str, Any], error: MistralError
) -> None:
    LOG.warning(
        "The workflow %s of %s %s was not started: %s",
        event.workflow_name or event.workflow_id,
        trigger["type"].replace("_", " "),
        trigger["id"],
        error.message,
    )


def _of_run(event: Any, run_id: str) -> Any:
    return replace(event, run_id=run_id)


def _stopping() -> Exception:
    return Unavailable("This engine is stopping.")


def _refuse(batch: Sequence[Waiting]) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(_stopping())
