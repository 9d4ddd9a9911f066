"""Stages on a database: one process without threads, and real services."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fakes import FakeClock
from house import CALLER, House
from servers import fresh_database
from sqlalchemy import ColumnElement, and_, func, or_, select
from system.processes import virtual_host

from mistral.actions.registry import Registry
from mistral.bus import Bus
from mistral.clock import SystemClock
from mistral.config import Settings
from mistral.db import models, workbooks
from mistral.db.database import Database
from mistral.db.definitions import (
    create_actions,
    create_environment,
    create_workflows,
    update_workflows,
)
from mistral.db.owned import Author, Place
from mistral.engine.core.ports import Rules
from mistral.engine.facts import Sources
from mistral.engine.server import EngineOptions, EngineServer
from mistral.executors.server import ExecutorServer, ExecutorSettings
from mistral.expressions.evaluate import Evaluator
from mistral.lang.parse import (
    parse_actions,
    parse_workbook,
    parse_workflows,
)
from mistral.messages import (
    Event,
    State,
)
from storytelling.cast import Cast
from storytelling.stages import MOST_MOVES, TABLES, Row, part_of
from storytelling.story import versioned

MOMENT = timedelta(milliseconds=1)


class _OnDatabase:
    """What the stages with a database have in common."""

    database: Database
    clock: FakeClock
    engine: EngineServer
    sources: Sources

    def upload(self, namespace: str, texts: Mapping[str, str]) -> None:
        place = Place(namespace=namespace)
        with self.database.begin() as connection:
            author = Author(CALLER, self.clock.now(), self.new_id)
            if "workflows" in texts:
                parsed = parse_workflows(versioned(texts["workflows"]))
                table = models.workflows
                names = connection.execute(
                    select(table.c.name).where(table.c.namespace == namespace)
                ).scalars()
                old = {*names} & {p.spec.name for p in parsed}
                for known, write in (
                    (True, update_workflows),
                    (False, create_workflows),
                ):
                    chosen = [p for p in parsed if (p.spec.name in old) is known]
                    if chosen:
                        write(connection, author, chosen, place)
            if "adhoc-actions" in texts:
                actions = parse_actions(versioned(texts["adhoc-actions"]))
                create_actions(connection, author, actions, place)
            if "workbook" in texts:
                book = parse_workbook(versioned(texts["workbook"]))
                workbooks.create(connection, author, book, place)

    def environment(self, name: str, variables: Mapping[str, Any]) -> None:
        values = {"name": name, "variables": dict(variables)}
        with self.database.begin() as connection:
            author = Author(CALLER, self.clock.now(), self.new_id)
            create_environment(connection, author, values)

    def advance(self, seconds: float | None) -> None:
        """Timers fire one after the other, each at its time."""
        end = None if seconds is None else self.clock.now() + timedelta(seconds=seconds)
        for _ in range(MOST_MOVES):
            due = self._next_due()
            if due is None or (end is not None and due > end + MOMENT):
                break
            # A moment more: engines compare with a clock that counts in floats.
            step = (due - self.clock.now()).total_seconds()
            self.clock.advance(max(0.0, step) + 1e-6)
            self.settle()
        if end is not None:
            self.clock.advance(max(0.0, (end - self.clock.now()).total_seconds()))

    def _next_due(self) -> datetime | None:
        """Of all timers; the engine may just be putting one onto its heap."""
        outbox = models.outbox
        query = select(func.min(outbox.c.due_at)).where(
            outbox.c.kind.not_in(("CallAction", "Notify"))
        )
        with self.database.read() as connection:
            found: datetime | None = connection.execute(query).scalar_one()
        return found

    def rows(self, kind: str, **where: Any) -> list[Row]:
        table = TABLES[kind]
        query = select(table).where(*(table.c[n] == v for n, v in where.items()))
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def settle(self) -> None:
        raise NotImplementedError

    def _empty(self) -> None:
        """Forget the last story; its timers find nothing when they are due."""
        with self.database.begin() as connection:
            for table in reversed(models.metadata.sorted_tables):
                # The one row of this table is part of the schema.
                if table is not models.maintenance:
                    connection.execute(table.delete())


class HouseStage(_OnDatabase):
    """``tests/house.py``: all roles, no thread."""

    kind = "house"

    def __init__(self, directory: Path) -> None:
        self.cast = Cast(lambda id: part_of(self.rows, id))
        self._house = House(
            directory, registry=Registry(Settings(), (self.cast.provider,))
        )
        self.database, self.clock = self._house.database, self._house.clock
        self.engine = self._house.engine

    def open(self, rules: Mapping[str, Any]) -> None:
        self._empty()
        self._house.sources.rules = Rules(**rules)

    def ask(self, event: Event) -> Any:
        answer = self._house.ask(event)
        self.settle()
        return answer

    def settle(self) -> None:
        self._house.settle()

    def close(self) -> None:
        self._house.close()


class ServiceStage(_OnDatabase):
    """Engine and executor on PostgreSQL and RabbitMQ, as in production but for
    the clock and the heartbeats, which nobody sends while time jumps."""

    kind = "services"

    def __init__(self, database: Database, transport: str, clock: FakeClock) -> None:
        self.cast = Cast(lambda id: part_of(self.rows, id))
        self.database, self.clock = database, clock
        self._bus = Bus(transport, call_timeout=30.0)
        registry = Registry(Settings(), (self.cast.provider,))
        self.sources = Sources(Evaluator(), registry, self.new_id)
        self.engine = EngineServer(
            database,
            self._bus,
            self.sources,
            clock,
            EngineOptions(name="stories", lost_after=0.0, unclaimed_after=0.0),
        )
        self._executor = ExecutorServer(
            self._bus, registry, ExecutorSettings(threads=8), SystemClock(), self.new_id
        )

    def open(self, rules: Mapping[str, Any]) -> None:
        self._empty()
        self.sources.rules = Rules(**rules)

    def ask(self, event: Event) -> Any:
        answer = self._bus.call(event)
        self.settle()
        return answer

    def settle(self) -> None:
        """Until no row says that something is on its way."""
        pause = threading.Event()
        for _ in range(6_000):
            self.engine.deliver.fire_due()
            if self._is_quiet():
                return
            pause.wait(0.005)
        raise AssertionError(f"still busy after 30 s: {self._busy()}")

    def _is_quiet(self) -> bool:
        on_its_way, works = self._loud()
        # One statement sees one moment.
        query = select(
            select(func.count()).where(on_its_way).scalar_subquery(),
            select(func.count()).where(works).scalar_subquery(),
        )
        with self.database.read() as connection:
            return not any(connection.execute(query).one())

    def _loud(self) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        """What has to be heard yet; what an executor runs."""
        outbox, action = models.outbox.c, models.action_executions.c
        heard = or_(outbox.kind == "CallAction", outbox.due_at <= self.clock.now())
        running = and_(action.state == State.RUNNING.value, action.is_sync)
        return and_(outbox.kind != "Notify", heard), running

    def _busy(self) -> list[Any]:
        """The rows that keep it loud, in the words of a failure."""
        with self.database.read() as connection:
            return [
                dict(row)
                for table, loud in zip(
                    (models.outbox, models.action_executions), self._loud(), strict=True
                )
                for row in connection.execute(select(table).where(loud)).mappings()
            ]

    def start(self) -> None:
        for service in (self._bus, self.engine, self._executor):
            service.start()

    def close(self) -> None:
        for service in (self._executor, self.engine, self._bus):
            service.stop()


@contextmanager
def service_stage(directory: Path) -> Iterator[ServiceStage]:
    """A database and a virtual host of its own.

    :raises NoServer: one of the servers does not answer.
    """
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database("postgresql", directory))
        transport = stack.enter_context(virtual_host())
        clock = FakeClock()
        database = Database(url, clock=clock)
        stack.callback(database.dispose)
        database.create_or_upgrade()
        stage = ServiceStage(database, transport, clock)
        stage.start()
        stack.callback(stage.close)
        yield stage
