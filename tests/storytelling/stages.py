"""Where a story is told: three stages with one face.

``PureStage``: the core alone, rows are dicts. ``HouseStage``: every role in one
process on SQLite, without a thread. ``ServiceStage``: engine and executor with
their own threads on PostgreSQL and RabbitMQ; the clock alone is ours.
"""

from __future__ import annotations

import heapq
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from fakes import FakeClock
from house import CALLER, House
from servers import NoServer, fresh_database
from simulator import MemoryStore, Simulator
from sqlalchemy import and_, func, or_, select
from system.processes import virtual_host

from mistral.actions.registry import Registry
from mistral.bus import Bus
from mistral.clock import SystemClock
from mistral.config import Settings
from mistral.db import models, workbooks
from mistral.db.database import Database
from mistral.db.definitions import (
    Author,
    Place,
    create_actions,
    create_environment,
    create_workflows,
    update_workflows,
)
from mistral.engine.core.run import Rules
from mistral.engine.facts import Sources
from mistral.engine.server import EngineOptions, EngineServer
from mistral.executors.runner import Runner
from mistral.executors.server import ExecutorServer, ExecutorSettings
from mistral.expressions.evaluate import Evaluator
from mistral.lang.parse import (
    parse_actions,
    parse_workbook,
    parse_workflows,
    workflow_from_dict,
)
from mistral.messages import (
    CallAction,
    ClaimAction,
    Event,
    PauseWorkflow,
    ResumeWorkflow,
    StartWorkflow,
    State,
)
from storytelling.cast import Cast, Part
from storytelling.story import versioned

Row = Mapping[str, Any]

MOST_MOVES = 200
"""Timers that a story may let fire, one after the other."""

MOMENT = timedelta(milliseconds=1)

TABLES = {
    "run": models.workflow_executions,
    "task": models.task_executions,
    "action": models.action_executions,
}


class Stage(Protocol):
    """What a story needs; all of it is quiet when a method returns."""

    kind: str
    cast: Cast

    def open(self, rules: Mapping[str, Any]) -> None: ...
    def upload(self, namespace: str, texts: Mapping[str, str]) -> None: ...
    def environment(self, name: str, variables: Mapping[str, Any]) -> None: ...
    def ask(self, event: Event) -> Any: ...
    def settle(self) -> None: ...
    def advance(self, seconds: float | None) -> None: ...
    def rows(self, kind: str, **where: Any) -> list[Row]: ...
    def new_id(self) -> str: ...


def part_of(find: Callable[..., list[Row]], action_id: str) -> Part:
    """The task of an action, with its place among the items of the task, or of
    the task whose sub-workflow it is in."""
    action = find("action", id=action_id)[0]
    task = find("task", id=action["task_execution_id"])[0]
    if "with_items" in (task["runtime_context"] or {}):
        return Part(task["name"], action["item_index"])
    run = find("run", id=task["workflow_execution_id"])[0]
    if run["task_execution_id"]:
        parent = find("task", id=run["task_execution_id"])[0]
        if "with_items" in (parent["runtime_context"] or {}):
            return Part(task["name"], run["params"]["index"])
    return Part(task["name"])


# -- The pure core ------------------------------------------------------------


class _Store(MemoryStore):
    """Knows namespaces and workbooks."""

    def __init__(self, rules: Rules, registry: Registry, evaluator: Evaluator) -> None:
        super().__init__(rules, registry, evaluator)
        self.named: dict[tuple[str, str, str], Any] = {}

    def workflow(self, id: Any, name: Any, namespace: str, project_id: str) -> Any:
        return self._nearest("workflow", name, namespace)

    def adhoc(self, name: str, namespace: str, project_id: str) -> Any:
        return self._nearest("adhoc", name, namespace)

    def _nearest(self, kind: str, name: str, namespace: str) -> Any:
        here = self.named.get((kind, namespace or "", name))
        return here or self.named.get((kind, "", name))


class _Simulator(Simulator):
    """Runs the plug-in's actions; time passes when it is told to."""

    def __init__(self, store: _Store, *, seed: int | None, duplicates: bool) -> None:
        super().__init__(store=store, seed=seed, duplicates=duplicates)
        self.store: _Store
        self.runner = Runner(store.registry)

    def settle_now(self, most: int | None = None) -> None:
        """Hear what waits until nothing does, or ``most`` of it."""
        heard = 0
        while (self.queue or self.offers) and heard != most:
            heard += 1
            waiting = len(self.queue) + len(self.offers)
            chosen = self.random.randrange(waiting) if self.random else 0
            if chosen < len(self.queue):
                event, row = self.queue.pop(chosen)
                self._turn(event)
                if self.duplicates and row is None:
                    self._turn(event)
            else:
                self._execute([*self.offers.values()][chosen - len(self.queue)])

    def _execute(self, call: CallAction) -> None:
        self.offers.pop(call.action_id, None)
        if not self._claimed(call):
            return
        self.queue.append((self.runner.run(call), None))
        if self.duplicates and self._claimed(call):
            raise AssertionError(f"the offer of {call.action_id} was claimed twice")

    def _claimed(self, call: CallAction) -> bool:
        claim = ClaimAction(
            run_id=call.run_id,
            action_id=call.action_id,
            attempt=call.attempt,
            token=f"t{next(self._count)}",
            executor_id="e",
        )
        return bool(self._turn(claim))

    def fire_next(self, until: float) -> bool:
        """Move to the next timer that is due until then (monotonic seconds)."""
        if not self.timers:
            return False
        due, _, event = self.timers[0]
        seconds = (due - self.clock.now()).total_seconds()
        if self.clock.monotonic() + seconds > until:
            return False
        heapq.heappop(self.timers)
        self.clock.advance(max(0.0, seconds))
        self.queue.append((event, "row"))
        return True


class PureStage:
    """The core alone: ``tests/simulator.py``.

    :param seed: what waits is heard in a random order; None: in its own.
    :param duplicates: messages come twice, offers are claimed twice.
    :param pauses: so often, after the start, a random run of the tree is paused at
        a random moment, and the root resumed later; needs a seed.
    """

    kind = "core"

    def __init__(
        self, *, seed: int | None = None, duplicates: bool = False, pauses: int = 0
    ) -> None:
        self.seed = seed
        self._duplicates = duplicates
        self._pauses = pauses
        self.cast = Cast(lambda id: part_of(self.rows, id))
        self._registry = Registry(Settings(), (self.cast.provider,))
        self._evaluator = Evaluator()
        self.open({})

    def open(self, rules: Mapping[str, Any]) -> None:
        store = _Store(Rules(**rules), self._registry, self._evaluator)
        self._simulator = _Simulator(store, seed=self.seed, duplicates=self._duplicates)

    def upload(self, namespace: str, texts: Mapping[str, str]) -> None:
        flows, adhoc, book = [], [], None
        if "workflows" in texts:
            flows += parse_workflows(versioned(texts["workflows"]))
        if "adhoc-actions" in texts:
            adhoc += parse_actions(versioned(texts["adhoc-actions"]))
        if "workbook" in texts:
            parsed = parse_workbook(versioned(texts["workbook"]))
            book = parsed.spec.name
            flows += parsed.workflows
            adhoc += parsed.actions
        store = self._simulator.store
        for flow in flows:
            name = flow.spec.name
            spec_id = f"{namespace}/{name}/{len(store.specs)}"
            store.specs[spec_id] = workflow_from_dict(flow.spec.body)
            store.named["workflow", namespace, name] = {
                "id": f"{namespace}/{name}",
                "name": name,
                "namespace": namespace,
                "workbook_name": book,
                "spec_id": spec_id,
            }
        for action in adhoc:
            store.named["adhoc", namespace, action.spec.name] = action.spec

    def environment(self, name: str, variables: Mapping[str, Any]) -> None:
        self._simulator.store.environments[name] = {"variables": dict(variables)}

    def ask(self, event: Event) -> Any:
        answer = self._simulator.request(event)
        if isinstance(event, StartWorkflow):
            for _ in range(self._pauses):
                self._interrupt(event.run_id)
        self.settle()
        return answer

    def _interrupt(self, root: str) -> None:
        simulator, random = self._simulator, self._simulator.random
        assert random is not None
        simulator.settle_now(random.randrange(12))
        running = [r["id"] for r in self.rows("run", state=State.RUNNING.value)]
        if not running:
            return
        whom = random.choice(running)
        who = {"request_id": self.new_id(), "context": CALLER.to_dict()}
        simulator.request(PauseWorkflow(run_id=whom, **who))
        # The pause of a sub-workflow has to reach the root before it goes on.
        simulator.settle_now(random.randrange(30) if whom == root else None)
        if self.rows("run", id=root, state=State.PAUSED.value):
            simulator.request(ResumeWorkflow(run_id=root, **who))

    def settle(self) -> None:
        self._simulator.settle_now()

    def advance(self, seconds: float | None) -> None:
        simulator = self._simulator
        end = float("inf") if seconds is None else simulator.clock.monotonic() + seconds
        for _ in range(MOST_MOVES):
            if not simulator.fire_next(end):
                break
            self.settle()
        if seconds is not None:
            simulator.clock.advance(max(0.0, end - simulator.clock.monotonic()))

    def rows(self, kind: str, **where: Any) -> list[Row]:
        store = self._simulator.store
        tables: dict[str, Mapping[str, Row]] = {
            "run": store.runs, "task": store.task_rows, "action": store.action_rows,
        }  # fmt: skip
        found = tables[kind].values()
        return [row for row in found if all(row[k] == v for k, v in where.items())]

    def new_id(self) -> str:
        return str(uuid.uuid4())


# -- On a database ------------------------------------------------------------


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
        outbox, action = models.outbox, models.action_executions
        ours = and_(
            outbox.c.kind != "Notify",
            or_(outbox.c.kind == "CallAction", outbox.c.due_at <= self.clock.now()),
        )
        works = and_(action.c.state == State.RUNNING.value, action.c.is_sync)
        # One statement sees one moment.
        query = select(
            select(func.count()).select_from(outbox).where(ours).scalar_subquery(),
            select(func.count()).select_from(action).where(works).scalar_subquery(),
        )
        with self.database.read() as connection:
            return not any(connection.execute(query).one())

    def _busy(self) -> list[Any]:
        with self.database.read() as connection:
            return [
                dict(r) for r in connection.execute(select(models.outbox)).mappings()
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


__all__ = ["HouseStage", "NoServer", "PureStage", "Stage", "service_stage"]
