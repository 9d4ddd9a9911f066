"""One thing in the middle of another: an intruder comes at each boundary between two
statements of some work, and has ended, or waits for a lock that the work holds, before
the work goes on.

What two processes do at the same time is more than that. But a transaction sees of
another one only what that has committed, so whatever commits between two statements
of the work is met here, one boundary after the other; and what would wait waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event, text

from mistral.db.database import Database
from mistral.engine.steps import Step

SECONDS = 30.0

_PAUSE = {
    "postgresql": 0.003,
    # It shows what it has shown before to who asks again within 0.1 seconds.
    "mariadb": 0.12,
}

_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database()",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx t"
    " JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id"
    " WHERE t.trx_state = 'LOCK WAIT' AND p.db = database()",
}


@dataclass
class Happened:
    """:param places: boundaries that the work had, up to its end.
    :param came: the statement before which the intruder came; None: the work had
        fewer boundaries.
    :param waited: it waited for the work.
    """

    places: int = 0
    came: str | None = None
    waited: bool = False


class Interleaving:
    """:param first: what the work uses; the intruder uses ``second``, which is the
    same where a process has the database to itself.
    """

    def __init__(self, first: Database, second: Database) -> None:
        self._first = first
        self._second = second
        self._alone = first.is_sqlite
        self._reached: Callable[[str], object] = _nowhere

    def step(self, step: Step) -> None:
        """For ``EngineOptions.reached``: between two turns is a boundary, too, and the
        only one of turns where a writer has the database to itself."""
        if step in (Step.TAKEN, Step.ANSWERED):
            self._reached(str(step))

    def run(
        self,
        work: Callable[[], object],
        intruder: Callable[[], object],
        place: int,
        *,
        between: bool = False,
    ) -> Happened:
        """Do the work, and the intruder at its boundary number ``place``.

        :param between: boundaries are those between transactions alone, so that the
            two come one after the other.
        :raises Exception: of the work or the intruder.
        """
        happened = Happened()
        guest = _Guest(intruder)

        def reached(what: str) -> None:
            if threading.current_thread() is guest:
                return
            happened.places += 1
            if happened.places == place + 1:
                happened.came = what
                guest.start()
                happened.waited = self._settled(guest)

        def statement(connection: Any, _cursor: Any, told: str, *_: Any) -> None:
            # SQLite: who writes has the database to itself.
            if not self._alone or _only_reads(connection):
                reached(told)

        def commits(_connection: Any) -> None:
            reached("COMMIT")

        hooks: list[tuple[str, Any]] = []
        if not between:
            hooks.append(("before_cursor_execute", statement))
        if not between and not self._alone:
            hooks.append(("commit", commits))
        engine = self._first.engine
        for name, hook in hooks:
            event.listen(engine, name, hook)
        self._reached = reached
        try:
            work()
        finally:
            self._reached = _nowhere
            for name, hook in hooks:
                event.remove(engine, name, hook)
            if guest.ident is not None:
                guest.join(SECONDS)
        assert not guest.is_alive(), "the intruder hangs"
        if guest.failure is not None:
            raise guest.failure
        return happened

    def _settled(self, guest: _Guest) -> bool:
        """Wait until the intruder has ended or waits for a lock; whether it waits."""
        if self._alone:
            guest.join(SECONDS)
            return False
        with self._second.engine.connect() as connection:
            kind = self._second.engine.dialect.name
            waiting = text(_WAITING[kind])
            while not guest.ended.wait(_PAUSE[kind]):
                if connection.scalar(waiting):
                    return True
                connection.rollback()
        return False


class _Guest(threading.Thread):
    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.ended = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.failure = error
        finally:
            self.ended.set()


def _nowhere(_what: str) -> None:
    """No work is being done."""


def _only_reads(connection: Any) -> bool:
    return bool(connection.get_execution_options().get("mistral_reads"))
