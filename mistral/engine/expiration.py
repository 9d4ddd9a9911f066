"""The execution expiration policy: finished runs go after a while (§ 10.5).

Any engine may do it, several at once: what one has deleted is no longer there
for the other. Each run is deleted by an event of its own, decided under its lock,
so one that was reopened meanwhile stays, and one that cannot be deleted does not
hold up the rest: a pass walks over its rows once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, or_, select

from mistral.db import removals
from mistral.db.database import Database
from mistral.db.models import workflow_executions
from mistral.engine.archive import Archive
from mistral.engine.intake import Intake
from mistral.errors import MistralError, Unavailable
from mistral.messages import DeleteWorkflow, State
from mistral.service import Counts, Loop

LOG = logging.getLogger(__name__)

FINISHED: Final = (State.SUCCESS, State.ERROR, State.CANCELLED)

AT_ONCE: Final = 200
"""Runs that are deleted at the same time where no other number is set: the
intake has room for them beside everything else."""

COMMIT_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Expiration:
    """What an operator may choose in ``[execution_expiration_policy]``.

    :param interval: seconds between two passes.
    :param older_than: time since the last change after which a finished run
        goes; None: never for its age.
    :param keep: how many finished runs stay, the newest; 0: any number.
    :param batch: how many are deleted at the same time; 0: ``AT_ONCE``.
    :param ignored: finished states whose runs stay and are not counted.
    :param archive: directory that a run is written to before it is deleted; None:
        nothing is kept of it.
    """

    interval: float
    older_than: timedelta | None = None
    keep: int = 0
    batch: int = 0
    ignored: frozenset[str] = frozenset()
    archive: Path | None = None


class ExpirationSweep(Loop):
    """Deletes finished root runs; what is below goes with them (ENG-227)."""

    def __init__(
        self, database: Database, intake: Intake, expiration: Expiration
    ) -> None:
        super().__init__("engine-expiration", expiration.interval)
        self._database = database
        self._intake = intake
        self._expiration = expiration
        self._archive: Archive | None = None
        if expiration.archive is not None:
            self._archive = Archive(database, expiration.archive)

    def run_once(self) -> Counts:
        """:returns: ``deleted``; ``refused``: reopened or gone meanwhile; with an
            archive ``kept``: that could not be written there.
        :raises Unavailable: deletions were not committed in time.
        """
        older_than, keep = self._expiration.older_than, self._expiration.keep
        counts = {"deleted": 0, "refused": 0}
        if self._archive is not None:
            counts["kept"] = 0
        if older_than is not None:
            with self._database.read() as connection:
                before = self._database.now(connection) - older_than
            self._delete_all(self._pages(_ENDED < before, 0), counts)
        if keep > 0:
            self._delete_all(self._pages(None, keep), counts)
        return counts

    def _pages(
        self, wanted: ColumnElement[bool] | None, skip: int
    ) -> Iterator[Sequence[str]]:
        """Ids of finished root runs, newest first, each of them once.

        :param skip: how many of the newest are left out.
        """
        table, policy = workflow_executions, self._expiration
        states = [state for state in FINISHED if state not in policy.ignored]
        query = (
            select(table.c.id, _ENDED.label("ended"))
            .where(table.c.task_execution_id.is_(None), table.c.state.in_(states))
            .where(removals.hidden(table))
            .order_by(_ENDED.desc(), table.c.id.desc())
            .limit(policy.batch or AT_ONCE)
        )
        if wanted is not None:
            query = query.where(wanted)
        page = query.offset(skip)
        while not self.stopping:
            with self._database.read() as connection:
                rows = connection.execute(page).all()
            if not rows:
                return
            yield [row.id for row in rows]
            last = rows[-1]
            same = and_(_ENDED == last.ended, table.c.id < last.id)
            page = query.where(or_(_ENDED < last.ended, same))

    def _delete_all(
        self, pages: Iterator[Sequence[str]], counts: dict[str, int]
    ) -> None:
        for ids in pages:
            events = [self._to_delete(id, counts) for id in ids]
            answers: list[Future[Any]] = [
                self._intake.put(event) for event in events if event is not None
            ]
            for answer in answers:
                try:
                    answer.result(COMMIT_SECONDS)
                    counts["deleted"] += 1
                except TimeoutError:
                    raise Unavailable("Expired runs were not deleted in time") from None
                except MistralError:
                    # Reopened, or deleted by another engine.
                    counts["refused"] += 1

    def _to_delete(self, id: str, counts: dict[str, int]) -> DeleteWorkflow | None:
        """None: it stays, as it could not be archived. What changes afterwards is not
        what was archived, and stays, too."""
        if self._archive is None or self.stopping:
            return None if self.stopping else DeleteWorkflow(run_id=id)
        try:
            archived = self._archive.write(id)
        except OSError as error:
            LOG.error("The execution %s is not archived and stays: %s", id, error)
            counts["kept"] += 1
            return None
        version = None if archived is None else archived.version
        return DeleteWorkflow(run_id=id, version=version)


_ENDED: Final = func.coalesce(
    workflow_executions.c.updated_at, workflow_executions.c.created_at
)
