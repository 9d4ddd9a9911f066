"""One try of a turn, inside one transaction: load, decide, store.

What is around it, when a try counts, is repeated or cut, and what happens after the
commit, is ``loop.py``; nothing here commits, waits or sends, so a try that fails has
left nothing behind but the transaction, which is rolled back.

A failing decision has written nothing, so its run is loaded again and the other events
of that run are decided without the culprit, which is set aside: what waits for it ends
with the reason. Neighbours commit.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from mistral.clock import Clock
from mistral.db import event_firings, outbox
from mistral.db.database import Database
from mistral.engine import trace
from mistral.engine.core.claims import begun, may_be_given
from mistral.engine.core.decide import Decision, decide, set_aside
from mistral.engine.core.run import Run
from mistral.engine.facts import Sources, SqlFacts
from mistral.engine.grants import Grants
from mistral.engine.intake import Ask, Waiting
from mistral.engine.load import Loaded, open_runs
from mistral.engine.pace import Pace
from mistral.engine.steps import Reached, Step, unwatched
from mistral.engine.store import (
    Written,
    call_payload,
    effect_row,
    history_row,
    save,
)
from mistral.errors import AuthorError, Bug, CallerError, MistralError, Unavailable
from mistral.messages import (
    CallAction,
    ChildPaused,
    ChildReopened,
    ChildResumed,
    Effect,
    Event,
    PauseWorkflow,
    PostMessage,
    QueueLook,
    Request,
    ResumeWorkflow,
    StartWorkflow,
    StopWorkflow,
    Tell,
    encode,
)

LOG = logging.getLogger(__name__)

KIN: Final = (
    PauseWorkflow,
    ResumeWorkflow,
    StopWorkflow,
    ChildPaused,
    ChildResumed,
    ChildReopened,
)
"""What a run tells those above and below when somebody changes its state; who has
asked for that is answered when they have followed (§ 6.3, § 7.6)."""


@dataclass(slots=True)
class Outcome:
    """What is told after the commit.

    :param back: of runs that another engine held.
    :param late: of runs that the turn had no time left for.
    :param cut: the rest of the run that took the time.
    :param read_at: monotonic seconds at which the database's time was read.
    :param told: events and the outbox rows by which they reach other runs of the tree.
    :param given: who has asked for more, its result being news, and what it gets.
    """

    written: Written
    answers: list[tuple[Waiting, Any]] = field(default_factory=list)
    errors: list[tuple[Waiting, Exception]] = field(default_factory=list)
    back: list[Waiting] = field(default_factory=list)
    late: list[Waiting] = field(default_factory=list)
    cut: list[Waiting] = field(default_factory=list)
    read_at: float | None = None
    moved: list[tuple[Waiting, str]] = field(default_factory=list)
    told: list[tuple[Waiting, list[str]]] = field(default_factory=list)
    given: list[tuple[Ask, Mapping[str, Any] | None]] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)


class Turn:
    """Tries batches.

    :param owner: id of this engine process, for leases.
    :param reply_to: topic of this engine's results, written into offers.
    :param clock: only its monotonic side counts here.
    :param pace: how long a try may decide.
    :param grants: whether who asks for more gets it.
    :param trace_log: logger of changes of states, see ``trace``.
    :param reached: hears of each step of a try.
    """

    def __init__(
        self,
        database: Database,
        sources: Sources,
        clock: Clock,
        *,
        owner: str,
        reply_to: str,
        pace: Pace,
        grants: Grants,
        trace_log: logging.Logger,
        reached: Reached = unwatched,
    ) -> None:
        self._database = database
        self._sources = sources
        self._clock = clock
        self._owner = owner
        self._reply_to = reply_to
        self._pace = pace
        self._grants = grants
        self._trace = trace_log
        self._reached = reached

    def outcome(self) -> Outcome:
        """Of a try that begins."""
        return Outcome(
            Written(turn_id=self._sources.new_id(), now=datetime.min, owner=self._owner)
        )

    def attempt(
        self,
        connection: Connection,
        batch: Sequence[Waiting],
        outcome: Outcome,
        wait: bool,
    ) -> None:
        """Decide a batch and store what came of it.

        :param wait: for runs that another engine has locked.
        """
        facts = SqlFacts(connection, self._sources)
        loaded = open_runs(connection, self._database, batch, facts, wait=wait)
        self._reached(Step.LOADED)
        outcome.written.now = loaded.now
        outcome.read_at = self._clock.monotonic()
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
        until = self._clock.monotonic() + self._pace.deciding()
        for key, mine in events.items():
            if outcome.cut or self._clock.monotonic() > until:
                outcome.late.extend(mine)
                continue
            decided = self._decide_run(key, mine, loaded, outcome, until)
            outcome.cut.extend(mine[decided:])
            outcome.written.consumed.extend(
                w.row_id for w in mine[:decided] if w.row_id
            )
        self._reached(Step.DECIDED)
        save(connection, outcome.written)
        self._reached(Step.STORED)

    def store_poison(
        self,
        connection: Connection,
        waiting: Waiting,
        error: Exception,
        outcome: Outcome,
        *,
        ends: bool,
    ) -> None:
        """Record an event that no turn can store.

        :param ends: with it what waits for it; else nothing but the event.
        """
        if ends:
            facts = SqlFacts(connection, self._sources)
            loaded = open_runs(connection, self._database, [waiting], facts, wait=True)
            outcome.written.now = loaded.now
            if waiting.row_id in loaded.gone:
                outcome.answers.append((waiting, None))
                return
            tried = _Tried(loaded.open(waiting.key))
            self._set_aside(waiting, error, loaded, tried, outcome)
            self._report(waiting, error, tried, outcome)
            self._keep(waiting.key, tried, loaded, outcome)
        else:
            outcome.written.now = self._database.now(connection)
            self._poison(waiting, error, outcome)
        if waiting.row_id:
            outcome.written.consumed.append(waiting.row_id)
        save(connection, outcome.written)

    def _decide_run(
        self,
        key: str,
        events: Sequence[Waiting],
        loaded: Loaded,
        outcome: Outcome,
        until: float,
    ) -> int:
        """Decide the events of one header; those that fail are set aside, and left out
        if that fails, too.

        :returns: how many of them, at least one, were reached in time.
        """
        culprits: dict[Waiting, Exception] = {}
        left_out: set[Waiting] = set()
        while True:
            tried = _Tried(loaded.open(key))
            reached, failed = len(events), None
            for place, waiting in enumerate(events):
                if waiting in left_out:
                    continue
                if place and self._clock.monotonic() > until:
                    reached = place
                    break
                try:
                    if waiting in culprits:
                        cause = culprits[waiting]
                        self._set_aside(waiting, cause, loaded, tried, outcome)
                    else:
                        self._decide_one(waiting, loaded, tried)
                except Exception as error:
                    if isinstance(error, SQLAlchemyError | Unavailable):
                        raise
                    failed = error
                    if waiting in culprits or not _is_poison(waiting.event, error):
                        left_out.add(waiting)
                    culprits.setdefault(waiting, error)
                    break
            if failed is None:
                break
        for waiting in events[:reached]:
            if waiting in culprits:
                self._report(waiting, culprits[waiting], tried, outcome)
        self._keep(key, tried, loaded, outcome)
        return reached

    def _set_aside(
        self,
        waiting: Waiting,
        error: Exception,
        loaded: Loaded,
        tried: _Tried,
        outcome: Outcome,
    ) -> None:
        """End what waits for an event that is poison."""
        reason = _said_of(waiting.event, error, outcome)
        before = len(tried.run.transitions) if tried.run is not None else 0
        loaded.facts.next_decision()
        decision = set_aside(tried.run, waiting.event, loaded.facts, loaded.now, reason)
        tried.effects.extend(decision.effects)
        if tried.run is not None and len(tried.run.transitions) > before:
            tried.heard.append(
                (waiting, tried.run.transitions[before:], decision.effects)
            )

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
        if tried.run is not None and _is_stored(tried.run):
            tried.heard.append(
                (waiting, tried.run.transitions[before:], decision.effects)
            )

    def _keep(self, key: str, tried: _Tried, loaded: Loaded, outcome: Outcome) -> None:
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
        row_of: dict[int, str] = {}
        given = self._give(tried, outcome)
        for effect in tried.effects:
            if id(effect) in given:
                continue
            row_of[id(effect)] = row_id = self._sources.new_id()
            written.outbox.append(effect_row(effect, row_id, written, self._reply_to))
        outcome.told.extend(
            (waiting, [row_of[id(effect)] for effect in effects if _is_for_kin(effect)])
            for waiting, _, effects in tried.heard
        )
        written.handled.extend(
            {"request_id": id, "answer": answer, "at": written.now}
            for id, answer in tried.handled.items()
        )

    def _give(self, tried: _Tried, outcome: Outcome) -> set[int]:
        """Grant calls to who has brought what they follow from; by ``id``, which.

        Only what the very event has led to, and only if it was news: a result counts
        once, so its sender is given something by one turn at most, however often it is
        delivered; and no other turn says that there is nothing.
        """
        given: set[int] = set()
        for waiting, transitions, effects in tried.heard:
            if waiting.ask is None or not transitions:
                continue
            call = self._next_of(waiting.ask, effects, tried.run, outcome)
            payload = None
            if call is not None:
                given.add(id(call))
                payload = call_payload(call, self._reply_to)
            outcome.given.append((waiting.ask, payload))
        return given

    def _next_of(
        self, ask: Ask, effects: Sequence[Effect], run: Run | None, outcome: Outcome
    ) -> CallAction | None:
        written = outcome.written
        if run is None or run.deleted or run.removing:
            return None
        offered = sum(row["kind"] == outbox.OFFER for row in written.outbox)
        for effect in effects:
            if not isinstance(effect, CallAction):
                continue
            action = run.actions.get(effect.action_id)
            if action is None or not may_be_given(action, effect):
                continue
            if self._grants.may(ask, effect.target, offered, written.now):
                how = begun(ask.token, ask.executor_id, written.now)
                for name, value in how.items():
                    setattr(action, name, value)
                return effect
        return None

    def _report(
        self, waiting: Waiting, error: Exception, tried: _Tried, outcome: Outcome
    ) -> None:
        """One event that could not be decided: its sender's fault or ours."""
        event = waiting.event
        if not _is_poison(event, error):
            assert isinstance(error, MistralError)
            if event.answered:
                if isinstance(event, PostMessage) and event.trigger:
                    _say_untaken(event, event.trigger, error)
                    _note_untaken(event, event.trigger, error, outcome.written)
                if isinstance(event, StartWorkflow) and event.trigger:
                    _say_refused(event, event.trigger, error)
                    _note_refused(event, event.trigger, error, tried, outcome.written)
                outcome.errors.append((waiting, error))
            else:
                LOG.info("A %s was dropped: %s", type(event).__name__, error.code)
                outcome.answers.append((waiting, None))
            return
        LOG.error("A %s is poison", type(event).__name__, exc_info=error)
        self._poison(waiting, error, outcome)
        run = tried.run
        if run is not None and not run.is_new and run.state in ("RUNNING", "PAUSED"):
            run.state_info = _said_of(event, error, outcome)
            tried.touched = True

    def _poison(self, waiting: Waiting, error: Exception, outcome: Outcome) -> None:
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


@dataclass(slots=True)
class _Tried:
    """What the events of one header have led to so far.

    :param touched: the run is written although no event was decided.
    """

    run: Run | None
    answers: list[tuple[Waiting, Any]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    handled: dict[str, Any] = field(default_factory=dict)
    heard: list[tuple[Waiting, list[Any], list[Effect]]] = field(default_factory=list)
    touched: bool = False


def _is_poison(event: Event, error: Exception) -> bool:
    """Whether it is nobody's fault but ours, and nobody is told who could mend it."""
    if event.answered:
        return isinstance(error, Bug) or not isinstance(error, MistralError)
    return not isinstance(error, CallerError)


def _said_of(event: Event, error: Exception, outcome: Outcome) -> str:
    """Why something ended; what an author can mend is said, too (never values)."""
    cause = f": {error.message}" if isinstance(error, AuthorError) else ""
    return (
        f"The engine could not handle a {type(event).__name__}; it was set aside"
        f" [turn={outcome.written.turn_id}]{cause}"
    )


def _is_for_kin(effect: Effect) -> bool:
    return isinstance(effect, Tell) and isinstance(effect.event, KIN)


def _is_stored(run: Run) -> bool:
    """A stand-alone action that nothing is stored of has no history."""
    return not run.standalone or bool(run.actions)


def _comes_again(event: Any, effects: Sequence[Effect]) -> bool:
    """Whether it was put off: it has no answer yet."""
    return any(isinstance(e, Tell) and e.event is event for e in effects)


def _note_refused(
    event: StartWorkflow,
    trigger: Mapping[str, Any],
    error: MistralError,
    tried: _Tried,
    written: Written,
) -> None:
    """A firing came to nothing: it says why. Of a cron trigger, those that wait go
    on."""
    if trigger["type"] != "cron_trigger":
        refused = event_firings.refused(event.run_id, error.message, written.now)
        written.refused_events[event.run_id] = refused
        return
    said = {"outcome": "refused", "reason": error.message, "updated_at": written.now}
    written.refused_firings.append({"id": event.run_id} | said)
    if trigger.get("awaited"):
        tried.effects.append(Tell(event=QueueLook(trigger_id=trigger["id"])))


def _note_untaken(
    event: PostMessage,
    trigger: Mapping[str, Any],
    error: MistralError,
    written: Written,
) -> None:
    """Of those that a message of a trigger was for, one has not taken it. Rows of
    before this release do not say of which firing they are."""
    firing = trigger.get("firing")
    if firing is not None:
        reason = error.message
        if event.run_id not in reason:
            reason = f"Execution {event.run_id}: {reason}"
        refused = event_firings.refused(firing, reason, written.now)
        written.refused_events[firing] = refused


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


def _say_untaken(
    event: PostMessage, trigger: Mapping[str, Any], error: MistralError
) -> None:
    LOG.warning(
        "The message of event trigger %s was not taken by execution %s: %s",
        trigger["id"],
        event.run_id,
        error.message,
    )
