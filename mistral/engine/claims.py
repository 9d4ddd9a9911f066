"""Executors ask whether they may begin; the answers need no turn.

A claim changes nothing of a run but the row of its action, and what it is decided by
stands in that row: its lock is enough, and the header's is not needed (decision 0045).
A turn that changes the action meanwhile comes before it or after it, as if both had
waited for the header. Only a turn that depends on what nobody has claimed locks the
row first (``load.py``). What somebody holds, an engine that is stopped perhaps, is not
waited for here: others ask, too.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from mistral.db import bulk, direct, outbox
from mistral.db.database import Database, OwnConnection
from mistral.db.models import action_executions
from mistral.engine.apart import LOCK_SECONDS
from mistral.engine.claimers import Claimers
from mistral.engine.core.claims import READ, begun, may_begin
from mistral.engine.offers import Offers
from mistral.engine.steps import Reached, Step, unwatched
from mistral.errors import Unavailable
from mistral.messages import ClaimAction
from mistral.redaction import redacted

LOG = logging.getLogger(__name__)

Answer = bool | None
"""Yes, no, or not known: somebody holds what the answer depends on."""

AT_ONCE: Final = 512
"""Claims of one transaction, about."""


@dataclass(eq=False, slots=True)
class _Asked:
    """What one executor asks, and what it is told."""

    claims: Sequence[ClaimAction]
    answers: list[Answer] | None = None
    error: Exception | None = None


@dataclass(slots=True)
class _Granted:
    """What a transaction has decided.

    :param ids: actions that begin now.
    :param alive: what is known of their executors, see ``Claimers``.
    """

    now: datetime
    answers: list[Answer] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    alive: Mapping[str, datetime] = field(default_factory=dict)


class Claims:
    """Answers claims, in the threads that ask: whoever comes first answers all that
    have asked by then, in one transaction.

    :param offers: is told which are settled.
    :param claimers: sees to the rows of executors.
    :param seconds: how long an answer is waited for.
    :param reached: hears of each step.
    :param lock_seconds: the longest wait for a lock that somebody else holds.
    """

    def __init__(
        self,
        database: Database,
        offers: Offers,
        claimers: Claimers,
        seconds: float,
        reached: Reached = unwatched,
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        self._database = database
        self._own = OwnConnection(database, lock_seconds)
        self._offers = offers
        self._claimers = claimers
        self._seconds = seconds
        self._reached = reached
        self._one_at_a_time = threading.Lock()
        self._asked: deque[_Asked] = deque()

    def answer(self, claims: Sequence[ClaimAction]) -> list[Answer]:
        """May these begin? In the order of the questions. Where nothing is known the
        same token asks again.

        :raises Unavailable: nothing is known of any.
        """
        mine = _Asked(claims)
        self._asked.append(mine)
        if not self._one_at_a_time.acquire(timeout=self._seconds):
            raise Unavailable("The engine could not answer in time.")
        try:
            while mine.answers is None and mine.error is None:
                self._answer_waiting()
        finally:
            self._one_at_a_time.release()
        if mine.error is not None:
            raise mine.error
        assert mine.answers is not None
        return mine.answers

    def close(self) -> None:
        """Nobody asks any more."""
        with self._one_at_a_time:
            self._own.close()

    def _answer_waiting(self) -> None:
        asked: list[_Asked] = []
        count = 0
        while self._asked and count < AT_ONCE:
            asked.append(self._asked.popleft())
            count += len(asked[-1].claims)
        try:
            answers = self._decide([claim for each in asked for claim in each.claims])
        except Exception as error:
            for each in asked:
                each.error = error
            return
        for each in asked:
            each.answers = answers[: len(each.claims)]
            del answers[: len(each.claims)]

    def _decide(self, claims: Sequence[ClaimAction]) -> list[Answer]:
        """In one transaction; where that is not possible, in several: a claim that
        cannot be decided must not block the rest, and is a no."""
        try:
            granted = self._own.replay(
                lambda connection: self._grant(connection, claims)
            )
        except Exception as error:
            held = self._database.is_lock_timeout(error)
            if not held and self._database.is_retryable(error):
                raise Unavailable("The database is away.") from error
            if len(claims) == 1 and held:
                return [None]
            if len(claims) == 1:
                LOG.error("A claim cannot be decided: %r", redacted(error))
                return [False]
            half = len(claims) // 2
            return [*self._decide(claims[:half]), *self._decide(claims[half:])]
        self._reached(Step.GRANTED)
        self._claimers.remember(granted.alive, granted.now)
        self._offers.settled(granted.ids)
        return granted.answers

    def _grant(self, connection: Connection, claims: Sequence[ClaimAction]) -> _Granted:
        ids = {claim.action_id for claim in claims}
        table = action_executions
        found, asked = direct.fetch_together(
            connection,
            [
                bulk.to_lock(connection, table, ids, READ, skip_locked=True),
                self._database.to_ask_now(),
            ],
        )
        now = asked[0]["now"] if asked else self._database.now(connection)
        known: dict[str, Mapping[str, Any]] = {row["id"]: row for row in found}
        missing = ids - known.keys()
        there = bulk.fetch(connection, table, "id", sorted(missing), columns=("id",))
        held = {row["id"] for row in there}
        granted = _Granted(now)
        changes: list[dict[str, Any]] = []
        for claim in claims:
            if claim.action_id in held:
                granted.answers.append(None)
                continue
            action = known.get(claim.action_id)
            yes = may_begin(action, claim)
            granted.answers.append(yes)
            if yes and action is not None and action["started_by"] is None:
                change = {
                    "id": claim.action_id,
                    **begun(claim.token, claim.executor_id, now),
                }
                known[claim.action_id] = {**action, **change}
                changes.append(change)
        granted.ids = [change["id"] for change in changes]
        if changes:
            executors = {change["executor_id"] for change in changes}
            granted.alive = self._claimers.write(connection, executors, now)
            direct.begin_stream(connection)
            bulk.update_many(connection, action_executions, changes)
            outbox.remove_offers(connection, granted.ids)
            self._reached(Step.GRANTING)
        return granted
