"""The engine process: hears requests, results and heartbeats, and decides.

Requests come by RPC: put into the intake, wait for the commit, answer.
Results are acknowledged after the commit: the listener holds its thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from sqlalchemy import Connection, delete, or_, select, update

from mistral.clock import Clock
from mistral.db import bulk, code_sources, rows
from mistral.db.database import Database
from mistral.db.models import action_executions, executors
from mistral.engine.apart import LOCK_SECONDS
from mistral.engine.claimers import Claimers
from mistral.engine.claims import Claims
from mistral.engine.deliver import Deliver
from mistral.engine.expiration import Expiration, ExpirationSweep
from mistral.engine.facts import Sources
from mistral.engine.grants import FRESH_SECONDS, Grants
from mistral.engine.intake import Answer, Ask, Intake
from mistral.engine.loop import EngineLoop
from mistral.engine.maintenance import MaintenanceSweep
from mistral.engine.notices import Notices, Patience
from mistral.engine.offers import Offers
from mistral.engine.removal import RemovalSweep
from mistral.engine.starts import Starts
from mistral.engine.steps import Reached, unwatched
from mistral.engine.sweeps import (
    LEFT,
    ExpirySweep,
    LostSweep,
    OverdueSweep,
    StoppedSweep,
    UnclaimedSweep,
)
from mistral.engine.trusts import End, TrustSweep
from mistral.errors import BadRequest, Unavailable
from mistral.messages import (
    COMPLETED,
    ActionFinished,
    Batch,
    CarryNotices,
    ClaimAction,
    CronDue,
    Event,
    ExecutorLost,
    FetchSource,
    HandIn,
    Heartbeat,
    Message,
    NoticesCarried,
    QueueLook,
    StartTogether,
    State,
    decode,
)
from mistral.service import Loop, Service, together

LOG = logging.getLogger(__name__)

OF_TRIGGERS: Final = (CronDue.__name__, QueueLook.__name__)
"""Rows that engines hear which fire cron triggers."""

RESULTS_AT_ONCE: Final = 64
"""Messages with results that wait for commits at the same time."""

SPREAD_SECONDS: Final = 2.0
"""How long the answer to a request waits for the runs above and below to follow. They
follow anyway; a tree of thousands takes longer, and nobody should wait for that."""

HAND_IN_SECONDS: Final = 5.0
"""How long the answer to who hands a result in waits for the commit: no executor waits
longer, and each such question keeps a thread."""

COMMIT_SECONDS: Final = 600.0
"""How long a result waits here before it is given back to the broker."""


class EngineBus(Protocol):
    """The part of ``bus.Bus`` that an engine uses."""

    engine_topic: str
    results_topic: str
    executor_topic: str

    def send(
        self, message: Message, *, topic: str | None = None, target: str | None = None
    ) -> None: ...

    def serve(self, topic: str, handler: Callable[[Message], Any]) -> Any: ...

    def listen(
        self,
        topic: str,
        on_message: Callable[[Message], bool | None],
        *,
        prefetch: int = 64,
    ) -> Any: ...

    def hears_itself(self, topic: str) -> bool: ...

    def when_back(self, call: Callable[[], object]) -> None: ...


Publish = Callable[[CarryNotices, Callable[[NoticesCarried], None]], None]
"""Carries notifications and tells what became of them, both later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """What an operator may choose.

    :param name: of this engine among those of all hosts, the same after a
        restart; names the topic that its results come to.
    :param lost_after: seconds without a heartbeat after which an executor is
        lost; 0: never.
    :param check_interval: seconds between looks for lost executors.
    :param unclaimed_after: seconds after which an offer that nobody took
        fails; 0: never.
    :param answer_seconds: how long a request may wait for its turn.
    :param intake: events from outside that may wait.
    :param expiration: when finished runs are deleted; None: never.
    :param trace_log: logger that gets a line per change of a state.
    :param cron_triggers: whether this engine fires cron triggers; those that are
        due wait for one that does.
    :param publish: carries notifications in this process; None: notifiers do, who get
        them over the bus.
    :param patience: with publishers.
    :param reached: hears of each step that the engine takes.
    :param lock_seconds: the longest wait for a lock that somebody else holds.
    :param end_trust: ends a trust whose trigger is gone; None: there are none, or
        this engine cannot.
    """

    name: str
    lost_after: float = 30.0
    check_interval: float = 10.0
    unclaimed_after: float = 3600.0
    answer_seconds: float = 60.0
    intake: int = 10_000
    expiration: Expiration | None = None
    trace_log: str = "workflow_trace"
    cron_triggers: bool = True
    publish: Publish | None = None
    patience: Patience = field(default_factory=Patience)
    end_trust: End | None = None
    reached: Reached = unwatched
    lock_seconds: float = LOCK_SECONDS


class EngineServer(Service):
    """One engine. ``bus`` and ``database`` outlive it."""

    def __init__(
        self,
        database: Database,
        bus: EngineBus,
        sources: Sources,
        clock: Clock,
        options: EngineOptions,
    ) -> None:
        super().__init__("engine")
        self._clock = clock
        self._database = database
        self._bus = bus
        self._options = options
        self.reply_to = f"{bus.results_topic}.{options.name}"
        self.intake = Intake(options.intake)
        self.deliver = Deliver(
            self.intake,
            clock,
            owner=sources.new_id(),
            offers=Offers(database, bus, clock, options.reached),
            notices=Notices(
                database, self._send_notices, clock, self.reply_to, options.patience
            ),
        )
        claimers = Claimers(options.lost_after)
        self.loop = EngineLoop(
            database,
            self.intake,
            self.deliver,
            sources,
            clock,
            self.reply_to,
            Grants(self.deliver.offers, claimers, clock),
            options.trace_log,
            options.reached,
            options.lock_seconds,
        )
        self.claims = Claims(
            database,
            self.deliver.offers,
            claimers,
            options.answer_seconds,
            options.reached,
            options.lock_seconds,
        )
        self.starts = Starts(self.intake, clock, options.answer_seconds)
        self.overdue = OverdueSweep(
            database,
            self.intake,
            self.deliver,
            self.reply_to,
            passed_over=() if options.cron_triggers else OF_TRIGGERS,
        )
        self.sweeps: list[Loop] = [
            self.overdue,
            ExpirySweep(database),
            RemovalSweep(database, clock),
        ]
        if database.has_pipelines:
            self.sweeps.append(StoppedSweep(database))
        if options.lost_after > 0:
            self.sweeps.append(
                LostSweep(
                    database,
                    self.intake,
                    clock,
                    options.lost_after,
                    options.check_interval,
                    self._hears,
                )
            )
        if options.unclaimed_after > 0:
            self.sweeps.append(
                UnclaimedSweep(
                    database,
                    self.intake,
                    clock,
                    options.unclaimed_after,
                    self._hears,
                )
            )
        if options.expiration is not None:
            self.sweeps.append(
                ExpirationSweep(database, self.intake, options.expiration)
            )
        if options.end_trust is not None:
            self.sweeps.append(TrustSweep(database, options.end_trust))
        self.sweeps.append(
            MaintenanceSweep(database, self.intake, self.deliver.owner, clock)
        )
        self._subscriptions: list[Any] = []

    # -- What is heard --------------------------------------------------------

    def handle(self, message: Message) -> Any:
        """Answer one request, heartbeat, or batch of claims or starts.

        :raises MistralError: as decided; ``Unavailable`` when it took too long
            (a repeat with the same request id is safe).
        """
        if isinstance(message, Heartbeat):
            return self.heartbeat(message)
        if isinstance(message, HandIn):
            return self.handed_in(message)
        if isinstance(message, FetchSource):
            return self.source(message)
        if isinstance(message, StartTogether):
            return self.starts.answer(message)
        if isinstance(message, Batch):
            return self.claims.answer([_claim(decode(each)) for each in message.events])
        return self._wait(self._put([message])[0])

    def handed_in(self, message: HandIn) -> dict[str, Any]:
        """Take a result in, and what its sender asks for with it.

        :returns: ``{"call": …}``, once the result is committed.
        :raises Unavailable: it is not known to be, or was before.
        """
        event = decode(message.event)
        if not isinstance(event, ActionFinished):
            raise BadRequest(f"A {type(event).__name__} is not handed in")
        ask = Ask(
            message.token,
            message.executor_id,
            frozenset(message.targets),
            message.free,
            self._clock.monotonic() + FRESH_SECONDS,
        )
        try:
            self._put([event], ask)[0].result(HAND_IN_SECONDS)
        except TimeoutError:
            raise Unavailable("The result is not stored yet.") from None
        if not ask.applied:
            # Another engine heard the same question, and may have granted something.
            raise Unavailable("The result was known already.")
        return {"call": ask.given}

    def source(self, asked: FetchSource) -> dict[str, str]:
        """The text of a code source, for an executor; here it is only text.

        :raises NotFound: that version is gone.
        """
        with self._database.read() as connection:
            found = code_sources.text_of(connection, asked.source_id, asked.version)
        return {"content": found["content"], "checksum": found["checksum"]}

    def result(self, message: Message) -> None:
        """Take results in; returns after the commit.

        :raises Unavailable: not committed: to be delivered again.
        """
        if isinstance(message, NoticesCarried):
            self.deliver.notices.carried(message)
            return
        wires = message.events if isinstance(message, Batch) else None
        events = [message] if wires is None else _known(wires)
        for answer in self._put(events):
            try:
                answer.result(COMMIT_SECONDS)
            except TimeoutError:
                raise Unavailable("The result is not stored yet.") from None

    def _send_notices(self, notices: CarryNotices) -> None:
        if self._options.publish is None:
            self._bus.send(notices)
        else:
            self._options.publish(notices, self.deliver.notices.carried)

    def _put(self, messages: Iterable[Message], ask: Ask | None = None) -> list[Answer]:
        events = []
        for message in messages:
            if not isinstance(message, Event) or not (
                message.run_id or getattr(message, "action_id", "")
            ):
                raise BadRequest(
                    f"Engines do not hear a {type(message).__name__} like this"
                )
            events.append(message)
        return [self.intake.put(event, ask=ask) for event in events]

    def _wait(self, answer: Answer) -> Any:
        try:
            found = answer.result(self._options.answer_seconds)
        except TimeoutError:
            raise Unavailable("The engine could not answer in time.") from None
        answer.spread(SPREAD_SECONDS, self._clock)
        return found

    def _hears(self) -> bool:
        return self._bus.hears_itself(self._bus.engine_topic)

    # -- Heartbeats -----------------------------------------------------------

    def heartbeat(self, beat: Heartbeat) -> dict[str, Any]:
        """Note that an executor lives; tell it what is over.

        An action that was granted to the executor longer ago than the lost time,
        and that it neither asks for nor runs nor holds, is lost although its
        executor lives. A beat may be old: it says nothing of what was granted after
        the last answer that its sender had heard. What was granted to a token that is
        not used is offered again, as nothing has run.

        :returns: ids: ``over`` (an asynchronous action, too, once it is known to be
            one) and ``missing``; and ``now``, which the next beat repeats.
        """
        lost = timedelta(seconds=self._options.lost_after)
        listed = dict((*beat.running, *beat.held))
        now, found = self._database.replay(
            lambda connection: self._hear_beat(connection, beat, listed, lost)
        )
        over = [
            id
            for id, attempt in listed.items()
            if id not in found or _is_over(found[id], attempt, beat.executor_id)
        ]
        unused = [
            row
            for row in found.values()
            if row["executor_id"] == beat.executor_id
            and row["state"] == State.RUNNING
            and row["started_by"] in beat.unused
        ]
        before = _granted_before(beat, now, lost)
        missing = [
            row
            for id, row in found.items()
            if id not in listed
            and row["started_by"] not in beat.asking
            and row["started_at"] is not None
            and row["started_at"] < before
        ]
        for row in (*unused, *missing):
            self.intake.put(
                ExecutorLost(
                    run_id=row["workflow_execution_id"] or "",
                    action_id=row["id"],
                    attempt=row["attempt"],
                    executor_id=beat.executor_id,
                    last_seen=now.isoformat(),
                    unused=row["started_by"] if row in unused else "",
                )
            )
        return {
            "over": over,
            "missing": [row["id"] for row in missing],
            "now": now.isoformat(),
        }

    def _hear_beat(
        self,
        connection: Connection,
        beat: Heartbeat,
        listed: Collection[str],
        lost: timedelta,
    ) -> tuple[datetime, dict[str, Any]]:
        """The database's time; by id what the beat lists, or should."""
        now = self._database.now(connection)
        self._note(connection, beat, now, lost)
        table = action_executions
        mine = (table.c.executor_id == beat.executor_id) & (
            table.c.state == State.RUNNING
        )
        query = select(
            table.c.id,
            table.c.workflow_execution_id,
            table.c.state,
            table.c.attempt,
            table.c.executor_id,
            table.c.started_by,
            table.c.started_at,
        ).where(or_(bulk.among(connection, table.c.id), mine))
        answered = connection.execute(query, {"among": sorted(listed)}).mappings()
        return now, {row["id"]: row for row in answered}

    def _note(
        self, connection: Connection, beat: Heartbeat, now: datetime, lost: timedelta
    ) -> None:
        mine = executors.c.id == beat.executor_id
        if beat.leaving and not lost:
            connection.execute(delete(executors).where(mine))
            return
        # Who leaves is looked at by the next sweep: what it still ran is lost.
        seen = LEFT if beat.leaving else now
        changed = connection.execute(
            update(executors).where(mine).values(last_seen=seen, host=beat.host)
        )
        if not changed.rowcount:
            rows.insert_missing(
                connection,
                executors,
                [
                    {
                        "id": beat.executor_id,
                        "host": beat.host,
                        "started_at": now,
                        "last_seen": seen,
                    }
                ],
            )

    # -- The broker -----------------------------------------------------------

    def send_again(self) -> None:
        """The broker was away and is back: whatever this engine has to send, or has
        sent and nobody has claimed, goes out now."""
        self.overdue.resend()
        self.deliver.notices.retry()

    # -- Life -----------------------------------------------------------------

    def _start(self) -> None:
        self._bus.when_back(self.send_again)
        for part in (self.deliver, self.loop, *self.sweeps):
            part.when_failed(self.fail)
            part.start()
        bus, subscriptions = self._bus, self._subscriptions
        try:
            subscriptions.append(bus.serve(bus.engine_topic, self.handle))
            for topic in (bus.results_topic, self.reply_to):
                subscriptions.append(
                    bus.listen(topic, self.result, prefetch=RESULTS_AT_ONCE)
                )
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        """Hear nothing more, decide what was heard, then end."""
        together(subscription.quiet for subscription in self._subscriptions)
        together(sweep.stop for sweep in self.sweeps)
        self.loop.stop()
        together(subscription.stop for subscription in self._subscriptions)
        self.claims.close()
        self.deliver.stop()


def _claim(message: Message) -> ClaimAction:
    if not isinstance(message, ClaimAction):
        raise BadRequest(f"A batch holds claims, not a {type(message).__name__}")
    return message


def _granted_before(beat: Heartbeat, now: datetime, lost: timedelta) -> datetime:
    """Of what was granted before this, a beat has to list all that is not lost."""
    if not lost or not beat.heard:
        return datetime.min
    return min(now - lost, datetime.fromisoformat(beat.heard))


def _is_over(row: Any, attempt: int, executor_id: str) -> bool:
    return (
        row["state"] in COMPLETED
        or row["attempt"] != attempt
        or row["executor_id"] != executor_id
    )


def _known(wires: Iterable[Mapping[str, Any]]) -> list[Message]:
    """Decoded events; what only a newer peer knows is left out, as its sender
    keeps it and another engine may know it."""
    found = []
    for wire in wires:
        try:
            found.append(decode(wire))
        except KeyError:
            LOG.warning("Events of kind %s are unknown here", wire.get("kind"))
    return found
