"""Two engines on one database, and what runs actions: each turn is cranked by hand."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from house import House
from sqlalchemy import update

from interleaved.boundaries import Interleaving
from mistral.db import maintenance, models
from mistral.db.database import Database
from mistral.db.maintenance import Status
from mistral.engine.server import EngineServer
from mistral.errors import MistralError
from mistral.messages import ActionFinished, CallAction, Event, Heartbeat, decode

WORKFLOWS = """
version: '2.0'
family: {tasks: {a: {workflow: child, on-success: b}, b: {action: std.noop}}}
child: {tasks: {t: {action: std.sleep seconds=1}}}
twins:
  tasks:
    a: {with-items: i in <% range(2) %>, workflow: child, on-complete: b}
    b: {action: std.noop}
meets:
  tasks:
    a: {action: std.sleep seconds=1, on-success: c}
    b: {action: std.sleep seconds=1, on-success: c}
    c: {action: std.noop, join: all}
items:
  tasks:
    a: {with-items: i in <% range(2) %>, action: std.sleep seconds=1, on-complete: b}
    b: {action: std.noop}
safe: {tasks: {t: {action: std.sleep seconds=1, safe-rerun: true}}}
once: {tasks: {t: {action: std.sleep seconds=1}}}
timed: {tasks: {t: {action: std.sleep seconds=1, timeout: 5}}}
hears:
  tasks:
    a: {action: std.sleep seconds=1, on-success: c}
    b: {action: std.wait_for name="m" timeout=10}
    c: {action: std.wait_for name="m" timeout=10}
outer: {tasks: {a: {workflow: brief}}}
again: {tasks: {t: {action: std.sleep seconds=1, retry: {count: 1, delay: 5}}}}
"""

BRIEF = """
version: '2.0'
brief: {tasks: {old: {action: std.noop}}}
"""
BRIEF_CHANGED = BRIEF.replace("old", "new")

LOST = "engine-lost-executors"
MAINTENANCE = "engine-maintenance"
OVERDUE = "engine-overdue"

ROUNDS = 6
"""Of eleven seconds: longer than leases, and than an executor may be silent."""

RUNTIME = (
    models.workflow_executions,
    models.action_executions,
    models.outbox,
    models.history,
    models.handled,
    models.poison,
    models.executors,
    models.cron_triggers,
    models.event_triggers,
    models.trusts,
)


@dataclass
class Side:
    """One engine process."""

    engine: EngineServer
    database: Database


class World(House):
    """Two engines; who runs actions is a list of calls that never end by themselves."""

    # Whoever waits here waits for somebody who goes on as soon as that is seen.
    lock_seconds = 30.0

    def __init__(self, directory: Path, **more: Any) -> None:
        super().__init__(directory, **more)
        self.upload(WORKFLOWS)
        self.hold.add("std.sleep")
        alone = self.database.is_sqlite
        self.other = self.database if alone else more["database"](more["url"])
        if not alone:
            self.other = more["database"](more["url"], clock=self.clock)
        self.between = Interleaving(self.database, self.other)
        self.reached = self.between.step
        self.one = self.two = Side(self.engine, self.database)
        self.executor_lives = True
        self.granted: set[str] = set()
        self.to_ask: list[Callable[[], object]] = []
        self.calls: list[CallAction] = []
        self.offer = CallAction()
        self.ids: dict[str, str] = {}
        self.tasks_of: dict[tuple[str, str], str] = {}
        self.kept: dict[str, tuple[Event, str]] = {}

    def begin_anew(self) -> None:
        """Nothing has happened yet."""
        with self.database.begin() as connection:
            for table in RUNTIME:
                connection.execute(table.delete())
            status = {"status": Status.RUNNING.value, "lease_until": None}
            connection.execute(update(models.maintenance).values(**status))
        for side in (self.one, self.two):
            side.engine.loop._own.close()
            side.engine.claims.close()
        self.post.offers.clear()
        self.post.notices.clear()
        self.post.notices_sent.clear()
        self.running.clear()
        self.executor_lives = True
        self.granted = set()
        self.to_ask.clear()
        self.one = Side(self.new_engine("one"), self.database)
        self.two = Side(self.new_engine("two", self.other), self.other)
        self.engine = self.one.engine

    def forget(self) -> None:
        """Engine one is another process from now on: what it had in mind is rows."""
        self.one.engine.loop._own.close()
        self.one.engine.claims.close()
        self.one = Side(self.new_engine("one"), self.database)
        self.engine = self.one.engine

    def remember(self) -> None:
        """Names of what is there, for what happens then."""
        runs = self.rows(models.workflow_executions)
        self.ids = {row["workflow_name"]: row["id"] for row in runs}
        self.tasks_of = {
            (row["workflow_name"], row["name"]): row["id"]
            for row in self.rows(models.task_executions)
        }
        events = [(row, decode(row["payload"])) for row in self.rows(models.outbox)]
        self.kept = {
            row["kind"]: (event, row["id"])
            for row, event in events
            if isinstance(event, Event)
        }

    def id_of(self, workflow: str) -> str:
        found = self.rows(models.workflow_executions, workflow_name=workflow)
        return str(found[0]["id"])

    def task_id(self, workflow: str, name: str) -> str:
        id = self.id_of(workflow)
        table = models.task_executions
        [task] = self.rows(table, workflow_execution_id=id, name=name)
        return str(task["id"])

    def close(self) -> None:
        for side in (self.one, self.two):
            side.engine.loop._own.close()
            side.engine.claims.close()
        self.other.dispose()
        super().close()

    # -- Until nothing happens by itself --------------------------------------

    def finish(self) -> None:
        """Both engines go on, sweeps look, executors end what they run; maintenance
        ends at last."""
        while self.to_ask:
            self.to_ask.pop(0)()
        if not self._comes_to_rest():
            self.database.replay(lambda each: maintenance.change(each, Status.RUNNING))
            self._comes_to_rest()

    def _comes_to_rest(self) -> bool:
        for _ in range(ROUNDS):
            for side in (self.one, self.two):
                self.engine = side.engine
                self.settle()
            self._beat()
            for call in self._open_calls():
                self.finish_call(self.one, call)
            self.settle()
            if self._is_quiet():
                return True
            self.clock.advance(11)
            self._sweep(self.one)
        return False

    def _sweep(self, side: Side) -> None:
        self.engine = side.engine
        side.engine.overdue.run_once()
        for name in (LOST, MAINTENANCE):
            looks(side, name)
        self.settle()

    def _is_quiet(self) -> bool:
        waits = [r for r in self.rows(models.outbox) if r["kind"] != "CronDue"]
        open_ones = self.rows(models.action_executions, state="RUNNING")
        with self.database.read() as connection:
            status = maintenance.status(connection)
        return not waits and not open_ones and status is Status.RUNNING

    def _beat(self) -> None:
        if not self.executor_lives:
            return
        table = models.action_executions
        mine = self.rows(table, executor_id="executor-1", state="RUNNING")
        running = tuple((row["id"], row["attempt"]) for row in mine)
        self.engine.heartbeat(Heartbeat(executor_id="executor-1", running=running))

    def _open_calls(self) -> list[CallAction]:
        table = models.action_executions
        ids = {(r["id"], r["attempt"]) for r in self.rows(table, state="RUNNING")}
        if not self.executor_lives:
            return []
        return [c for c in self.running if (c.action_id, c.attempt) in ids]

    def finish_call(self, side: Side, call: CallAction, state: str = "SUCCESS") -> None:
        tell(
            side,
            ActionFinished(
                run_id=call.run_id,
                action_id=call.action_id,
                attempt=call.attempt,
                state=state,
                result=1,
            ),
        )

    def outcome(self) -> Any:
        """What came of it all, without ids and times."""
        tasks, actions = models.task_executions, models.action_executions
        runs = []
        for run in self.rows(models.workflow_executions):
            mine = self.rows(tasks, workflow_execution_id=run["id"])
            below = self.rows(actions, workflow_execution_id=run["id"])
            runs.append(
                (
                    run["workflow_name"],
                    run["state"],
                    tuple(sorted((t["name"], t["state"]) for t in mine)),
                    tuple(sorted((a["task_name"], a["state"]) for a in below)),
                    self._mail_of(run["id"]),
                )
            )
        alone = [r for r in self.rows(actions) if r["workflow_execution_id"] is None]
        left = [row["remaining_executions"] for row in self.rows(models.cron_triggers)]
        with self.database.read() as connection:
            status = maintenance.status(connection).value
        return (
            tuple(sorted(runs)),
            tuple(row["state"] for row in alone),
            tuple(left),
            status,
        )

    def _mail_of(self, run_id: str) -> tuple[int, int]:
        """Messages that were taken and that are kept; each by one action at most."""
        mail = self.rows(models.posted_messages, workflow_execution_id=run_id)
        takers = [row["taken_by"] for row in mail if row["taken_by"]]
        assert len(takers) == len(set(takers)), "two messages for one action"
        return len(takers), len(mail) - len(takers)

    def leftovers(self) -> list[str]:
        kinds = [row["kind"] for row in self.rows(models.outbox)]
        found = [f"left: {kind}" for kind in kinds if kind != "CronDue"]
        told = list(dict.fromkeys((n.run_id, n.number) for n in self.post.notices))
        if told != sorted(told):
            found.append(f"told out of order: {told}")
        return found + self.examined()


def decided_meanwhile(side: Side, work: Callable[[], object]) -> None:
    """Do something that waits for events; another thread of the process decides."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        while not done.done() or len(side.engine.intake):
            side.engine.loop.run_once(timeout=0.002)
        done.result()


def looks(side: Side, name: str) -> None:
    """One pass of a sweep of the engine, to its end."""
    [sweep] = [s for s in side.engine.sweeps if s.name == name]
    decided_meanwhile(side, sweep.run_once)


def tell(side: Side, *events: Event, row_id: str | None = None) -> None:
    """All that one engine decides because of these, until it has nothing to do; what
    it refuses is an answer, too."""
    answers = [side.engine.intake.put(event, row_id) for event in events]
    while side.engine.loop.run_once(timeout=0):
        continue
    for answer in answers:
        try:
            answer.result(timeout=0)
        except MistralError:
            continue
