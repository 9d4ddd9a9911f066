"""Duties that look for what nobody is doing: rows of dead neighbours, lost
executors, offers that nobody takes, answers that nobody will ask for again.

Each pass is one cheap query when there is nothing to do. Any engine may do
any of it, several at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, select, update

from mistral.clock import Clock
from mistral.db import event_firings, firings, heard_events, outbox, requests
from mistral.db.database import Database
from mistral.db.models import action_executions, executors
from mistral.db.models import outbox as outbox_table
from mistral.engine.deliver import Deliver
from mistral.engine.intake import Intake
from mistral.errors import MistralError
from mistral.messages import ExecutorLost, NobodyCame, State
from mistral.service import Counts, Loop

LOG = logging.getLogger(__name__)

LEASE_SECONDS: Final = 10.0

LONGEST_PAUSE: Final = 2.0
"""Seconds between two tries while the database is away: runs wait for what is found."""

AHEAD: Final = 2.0
"""Seconds: timers that are due that soon are taken onto the heap, so that they
fire when they are due and not with the pass after."""

ROWS: Final = 500
BUSY: Final = 2_000
"""Events that wait already: above this nothing is taken from others."""

ANSWERS_KEPT: Final = timedelta(hours=1)
COMMIT_SECONDS: Final = 60.0

LEFT: Final = datetime(1970, 1, 1)
"""Last sign of an executor that has said that it leaves: the next look finds
what it still ran."""

FORGOTTEN_AFTER: Final = timedelta(hours=1)
"""From the time when an executor is given up: nothing that grants a claim takes as
long, though its engine be stopped meanwhile."""

CLAIM_SECONDS: Final = 60.0
"""How long executors get to claim old offers when engines are back."""


class Attention:
    """Since when this engine has watched without a break.

    Nobody who is silent may be given up for the time in which no engine could
    hear: engines, the broker or the database were down, or this process was
    stopped.

    :param longest: seconds between two passes above which there was a break.
    :param hears: whether what is sent to this engine over the broker arrives.
    """

    def __init__(self, clock: Clock, longest: float, hears: Callable[[], bool]) -> None:
        self._clock = clock
        self._longest = longest
        self._hears = hears
        self._since: float | None = None
        self._last = 0.0

    def passed(self) -> float:
        """Note a pass; seconds since the first one after the last break.

        Asks the broker: not to be called within a transaction.
        """
        if not self._hears():
            self._since = None
            return 0.0
        now = self._clock.monotonic()
        if self._since is None or now - self._last > self._longest:
            self._since = now
        self._last = now
        return now - self._since


def _break_after(interval: float) -> float:
    """Two passes, and some seconds for those of a busy machine."""
    return 2 * interval + 5.0


class OverdueSweep(Loop):
    """Rows that are due and that no living engine holds; timers that are too
    far ahead to be kept in memory are found here, too.

    :param reply_to: topic of this engine's results: offers that it sends again
        name itself, not the engine that made them.
    :param passed_over: kinds of rows that are left to other engines.
    """

    LONGEST_PAUSE = LONGEST_PAUSE

    def __init__(
        self,
        database: Database,
        intake: Intake,
        deliver: Deliver,
        reply_to: str,
        interval: float = 1.0,
        passed_over: Collection[str] = (),
    ) -> None:
        super().__init__("engine-overdue", interval)
        self._passed_over = passed_over
        self._database = database
        self._intake = intake
        self._deliver = deliver
        self._reply_to = reply_to

    def run_once(self) -> Counts:
        sent = self._deliver.offers.note_sent()
        if len(self._intake) > BUSY:
            return {"sent": sent}
        rows, now = self._database.replay(self._claim)
        self._deliver.after_commit([self._own(row) for row in rows], now)
        if len(rows) == ROWS:
            self.wake()
        return {"sent": sent, "claimed": len(rows)}

    def resend(self) -> None:
        """Make due what this engine offers, and look for it now."""
        owner, now = self._deliver.owner, self._database.now
        self._database.replay(
            lambda connection: outbox.resend_now(connection, owner, now(connection))
        )
        self.wake()

    def _claim(self, connection: Connection) -> tuple[list[Any], datetime]:
        now = self._database.now(connection)
        owner = self._deliver.owner
        rows = outbox.claim_due(
            connection,
            now,
            owner,
            LEASE_SECONDS,
            ROWS,
            ahead=AHEAD,
            passed_over=self._passed_over,
        )
        return list(rows), now

    def _own(self, row: Any) -> dict[str, Any]:
        found = dict(row)
        if found["kind"] == outbox.OFFER:
            found["payload"] = {**found["payload"], "reply_to": self._reply_to}
        return found


class StoppedSweep(Loop):
    """Transactions of engines that are stopped in the midst of what they write."""

    LONGEST_PAUSE = LONGEST_PAUSE

    def __init__(self, database: Database, interval: float = 2.0) -> None:
        super().__init__("engine-stopped-transactions", interval)
        self._database = database

    def run_once(self) -> Counts:
        ended = self._database.end_stopped()
        if ended:
            LOG.warning("%d transactions that had stopped were ended", ended)
        return {"ended": ended}


class LostSweep(Loop):
    """Executors without a sign of life: what they ran is told to its runs.

    Their rows stay for ``FORGOTTEN_AFTER``, and each pass looks at them again: a claim
    may have been on its way when its executor was given up.

    :param lost_after: seconds without a heartbeat, all of them watched.
    """

    LONGEST_PAUSE = LONGEST_PAUSE

    def __init__(
        self,
        database: Database,
        intake: Intake,
        clock: Clock,
        lost_after: float,
        interval: float,
        hears: Callable[[], bool],
    ) -> None:
        super().__init__("engine-lost-executors", interval)
        self._database = database
        self._intake = intake
        self._lost_after = timedelta(seconds=lost_after)
        self._attention = Attention(clock, _break_after(interval), hears)

    def run_once(self) -> Counts:
        watched = self._attention.passed()
        with self._database.read() as connection:
            now = self._database.now(connection)
            before = now - self._lost_after
            forgotten = before - FORGOTTEN_AFTER
            if watched < self._lost_after.total_seconds():
                # those that said themselves that they leave
                before = LEFT + timedelta(days=1)
            events = _lost_actions(connection, before)
            seen = executors.c.last_seen
            done_with = connection.execute(
                select(executors.c.id).where(seen < forgotten).limit(1)
            ).first()
        settle(self._intake, events)
        if done_with is not None:
            self._database.replay(lambda each: self._forget(each, now, forgotten))
        return {"actions": len(events)}

    def _forget(
        self, connection: Connection, now: datetime, forgotten: datetime
    ) -> None:
        seen = executors.c.last_seen
        # It left a moment ago: from now on it is one of the lost.
        given_up = now - self._lost_after
        connection.execute(
            update(executors).where(seen == LEFT).values(last_seen=given_up)
        )
        # Nobody whose loss is still to be told: no engine may have watched for long.
        still_runs = _running().where(action_executions.c.executor_id == executors.c.id)
        connection.execute(
            delete(executors).where(seen < forgotten, ~still_runs.exists())
        )


def _running() -> Select[Any]:
    """Actions; those that have an executor end with it."""
    table = action_executions
    return select(table.c.id).where(table.c.state == State.RUNNING)


def _lost_actions(connection: Connection, before: datetime) -> list[ExecutorLost]:
    """Of executors whose last sign was before."""
    table = action_executions
    query = (
        _running()
        .add_columns(
            table.c.workflow_execution_id,
            table.c.attempt,
            table.c.executor_id,
            executors.c.last_seen,
        )
        .join(executors, executors.c.id == table.c.executor_id)
        .where(executors.c.last_seen < before)
        .limit(ROWS)
    )
    return [
        ExecutorLost(
            run_id=row["workflow_execution_id"] or "",
            action_id=row["id"],
            attempt=row["attempt"],
            executor_id=row["executor_id"],
            last_seen=_last_sign(row["last_seen"]),
        )
        for row in connection.execute(query).mappings()
    ]


def _last_sign(seen: datetime) -> str:
    return "it left" if seen == LEFT else seen.isoformat()


class UnclaimedSweep(Loop):
    """Offers that no executor took within ``first_heartbeat_timeout``.

    :param patience: seconds.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        clock: Clock,
        patience: float,
        hears: Callable[[], bool],
        interval: float = 30.0,
    ) -> None:
        super().__init__("engine-unclaimed", interval)
        self._database = database
        self._intake = intake
        self._patience = timedelta(seconds=patience)
        self._watched = min(patience, CLAIM_SECONDS)
        self._attention = Attention(clock, _break_after(interval), hears)

    def run_once(self) -> Counts:
        table = outbox_table
        if self._attention.passed() < self._watched:
            return {"offers": 0}
        with self._database.read() as connection:
            before = self._database.now(connection) - self._patience
            query = (
                select(table.c.run_id, table.c.action_id, table.c.payload)
                .where(table.c.kind == outbox.OFFER, table.c.created_at < before)
                .limit(ROWS)
            )
            events = [
                NobodyCame(
                    run_id=row["payload"].get("run_id") or "",
                    action_id=row["action_id"],
                    attempt=row["payload"].get("attempt", 1),
                )
                for row in connection.execute(query).mappings()
            ]
        settle(self._intake, events)
        return {"offers": len(events)}


PAGES_OF_FIRINGS: Final = 200
"""Of events, in one pass: 200,000 rows, or 600 events a second."""


class ExpirySweep(Loop):
    """Answers are kept for an hour; a repeat comes earlier or never. Of firings of
    triggers the last ones are kept, and events that triggers fired for for days."""

    def __init__(self, database: Database, interval: float = 300.0) -> None:
        super().__init__("engine-expiry", interval)
        self._database = database

    def run_once(self) -> Counts:
        def expire(connection: Connection) -> Counts:
            now = self._database.now(connection)
            return {
                "answers": requests.expire(connection, now - ANSWERS_KEPT),
                "events": heard_events.expire(connection, now),
            }

        return {
            **self._database.replay(expire),
            "firings": self._database.replay(firings.forget),
            "event_firings": self._forget_events(),
        }

    def _forget_events(self) -> int:
        """Page by page: as many may have come as senders like."""
        removed = 0
        for _ in range(PAGES_OF_FIRINGS):
            found = self._database.replay(event_firings.forget)
            removed += found
            if found == 0 or self.stopping:
                break
        return removed


def settle(intake: Intake, events: Sequence[Any]) -> None:
    """Let events be decided and wait for their commits."""
    answers: list[Future[Any]] = [intake.put(event) for event in events]
    for answer in answers:
        try:
            answer.result(COMMIT_SECONDS)
        except MistralError:
            # Refused or set aside; the next pass finds what is left.
            continue
