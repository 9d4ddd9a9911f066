"""Whether all came as it had to: what the database holds, against the language, against
the ledger, and against the invariants that the service itself knows."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import URL, Engine, func, select
from system.processes import ENDS

from chaos.flows import FLOWS, SAFE_TASKS, Flow
from chaos.ledger import Call, Key
from chaos.users import Run
from mistral.db import models
from mistral.db.database import Database
from mistral.engine.doctor.examine import examine

LOST = "Heartbeat wasn't received"
CALLS = ("note", "std.http", "std.mistral_http")
"""Actions that write to the ledger."""

QUIET_TABLES = ("outbox", "poison")
ROWS = 500


Step = tuple[float, str]
"""When something happened, in seconds of the clock on the wall, and what."""


@dataclass
class Verdict:
    """:ivar wrong: what must not be, a sentence each.
    :ivar lost: action executions that ended with their executors.
    """

    wrong: list[str] = field(default_factory=list)
    runs: int = 0
    children: int = 0
    actions: int = 0
    calls: int = 0
    lost: list[datetime] = field(default_factory=list)
    repeated: int = 0
    """Calls of safe-rerun actions beyond the first."""
    times: Mapping[str, list[Step]] = field(default_factory=dict)
    """Of plain runs nobody paused: what happened to each or below, and when."""


class Judge:
    """Reads the database past all wires."""

    def __init__(self, engine: Engine, url: URL) -> None:
        self._engine = engine
        self._database = Database(url)

    def quiet(self) -> bool:
        """Whether nothing is left to be done."""
        return not self._left()

    def _left(self) -> list[str]:
        found = []
        with self._engine.connect() as connection:
            for name in QUIET_TABLES:
                table = models.metadata.tables[name]
                rows = connection.execute(
                    select(table.c.kind, func.count()).group_by(table.c.kind)
                ).all()
                found += [f"{count} rows of {kind} in {name}" for kind, count in rows]
            for table, what in (
                (models.workflow_executions, "executions"),
                (models.task_executions, "tasks"),
            ):
                rows = connection.execute(
                    select(table.c.state, func.count())
                    .where(table.c.state.not_in(ENDS))
                    .group_by(table.c.state)
                ).all()
                found += [f"{count} {what} are {state}" for state, count in rows]
        return found

    def judge(self, runs: Sequence[Run], calls: Sequence[Call]) -> Verdict:
        """Judge these runs, which have had time to end."""
        verdict = Verdict(runs=len(runs))
        verdict.wrong += [f"left at the end: {what}" for what in self._left()]
        verdict.wrong += [
            f"the doctor says of {dict(found.ids)}: {found.text}"
            for found in examine(self._database)
        ]
        called: defaultdict[Key, list[Call]] = defaultdict(list)
        by_run: defaultdict[str, list[Call]] = defaultdict(list)
        for call in calls:
            called[call.key].append(call)
            by_run[call.key[0]].append(call)
        times: dict[str, list[Step]] = {}
        for start in range(0, len(runs), ROWS):
            some = runs[start : start + ROWS]
            found = _Found(self._engine, [run.id for run in some])
            for run in some:
                _Case(verdict, found, run.id, run.flow, called).judge_tree()
                if FLOWS[run.flow].plain and not run.touched:
                    times[run.id] = found.times(run, by_run)
        verdict.times = times
        return verdict


class _Found:
    """Rows of some runs and of what is below them."""

    def __init__(self, engine: Engine, ids: Sequence[str]) -> None:
        table = models.workflow_executions
        with engine.connect() as connection:

            def rows(query: Any) -> list[Mapping[str, Any]]:
                return list(connection.execute(query).mappings())

            self.runs = {
                row["id"]: row
                for row in rows(
                    select(table).where(
                        table.c.id.in_(ids) | table.c.root_execution_id.in_(ids)
                    )
                )
            }
            tasks, actions = models.task_executions, models.action_executions
            history = models.history
            below = list(self.runs)
            self.tasks = _grouped(
                rows(select(tasks).where(tasks.c.workflow_execution_id.in_(below))),
                "workflow_execution_id",
            )
            self.actions = _grouped(
                rows(select(actions).where(actions.c.workflow_execution_id.in_(below))),
                "workflow_execution_id",
            )
            self._heard = _grouped(
                rows(
                    select(history.c.run_id, history.c.at, history.c.kind).where(
                        history.c.run_id.in_(below)
                    )
                ),
                "run_id",
            )
        self._children = _grouped(
            [row for row in self.runs.values() if row["task_execution_id"]],
            "root_execution_id",
        )

    def children(self, run_id: str) -> list[Mapping[str, Any]]:
        return self._children.get(run_id, [])

    def times(self, run: Run, called: Mapping[str, Collection[Call]]) -> list[Step]:
        """What happened to the run or below it from its acceptance to its end; what
        is heard later is repeated and changes nothing."""
        ended = [row["finished_at"] for row in self.tasks.get(run.id, ())]
        if not ended or None in ended:
            return []
        end = max(ended).replace(tzinfo=UTC).timestamp()
        ids = [run.id, *(row["id"] for row in self.children(run.id))]
        heard = [
            (row["at"].replace(tzinfo=UTC).timestamp(), row["kind"])
            for id in ids
            for row in self._heard.get(id, ())
        ]
        calls = [
            (call.at, f"call of {call.key[1]}[{call.key[2]}]")
            for id in ids
            for call in called.get(id, ())
        ]
        steps = sorted([(run.accepted_at, "accepted"), *heard, *calls])
        return [step for step in steps if step[0] <= end]


def _grouped(
    rows: Iterable[Mapping[str, Any]], key: str
) -> dict[str, list[Mapping[str, Any]]]:
    found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row[key]].append(row)
    return found


class _Case:
    """One run."""

    def __init__(
        self,
        verdict: Verdict,
        found: _Found,
        run_id: str,
        flow: str,
        called: Mapping[Key, list[Call]],
    ) -> None:
        self._verdict = verdict
        self._found = found
        self._id = run_id
        self._name = flow
        self._called = called
        self._actions = found.actions.get(run_id, [])
        self._lost = [row for row in self._actions if _was_lost(row)]

    def judge_tree(self) -> None:
        row = self._found.runs.get(self._id)
        if row is None:
            self._wrong("was accepted and is not there")
            return
        children = self._found.children(self._id)
        flow = FLOWS[self._name]
        if len(children) != flow.children:
            self._wrong(f"has {len(children)} sub-workflows, not {flow.children}")
        self._judge(row, flow)
        for child in children:
            self._verdict.children += 1
            below = _Case(
                self._verdict, self._found, child["id"], child["workflow_name"],
                self._called,
            )  # fmt: skip
            double = {"double": 2 * child["input"]["n"]}
            below._judge(child, Flow(double, FLOWS["leaf"].tasks))

    def _wrong(self, what: str) -> None:
        self._verdict.wrong.append(f"{self._name} {self._id} {what}")

    def _judge(self, row: Mapping[str, Any], flow: Flow) -> None:
        self._verdict.actions += len(self._actions)
        lost_at = [action["updated_at"] for action in self._lost]
        self._verdict.lost += [at for at in lost_at if at is not None]
        self._judge_outcome(row, flow)
        by_place: defaultdict[tuple[str, int], list[Mapping[str, Any]]]
        by_place = defaultdict(list)
        for action in self._actions:
            if action["name"] in CALLS:
                by_place[action["task_name"], action["item_index"]].append(action)
            if action["state"] not in ENDS and action["name"] != "std.async_noop":
                self._wrong(f"has an action {action['id']} in {action['state']}")
        for (task, item), actions in by_place.items():
            self._judge_calls(task, item, actions)

    def _judge_outcome(self, row: Mapping[str, Any], flow: Flow) -> None:
        tasks = Counter(t["name"] for t in self._found.tasks.get(self._id, ()))
        state, info = row["state"], row["state_info"] or ""
        if state not in ENDS:
            self._wrong(f"is {state}")
            return
        if flow.may_fail and self._lost:
            if state != "ERROR" or LOST not in info:
                self._wrong(f"lost an action and is {state}: {info[:200]}")
            return
        wanted, there = flow.output, flow.tasks
        if flow.otherwise and self._lost:
            wanted, there = flow.otherwise
        if state != "SUCCESS":
            self._wrong(f"is {state}: {info[:300]}")
        elif row["output"] != wanted:
            self._wrong(f"has the output {row['output']}, not {wanted}")
        if tasks != there:
            self._wrong(f"has the tasks {dict(tasks)}, not {dict(there)}")

    def _judge_calls(
        self, task: str, item: int, actions: Sequence[Mapping[str, Any]]
    ) -> None:
        """The ledger against the action executions of one item of one task name."""
        calls = {
            call.number: call for call in self._called.get((self._id, task, item), ())
        }
        self._verdict.calls += len(calls)
        place = f"{task}[{item}]"
        answers = [number for number in map(_number, actions) if number is not None]
        doubled = [number for number, times in Counter(answers).items() if times > 1]
        if doubled:
            self._wrong(f"{place}: calls {doubled} are results of several actions")
        if strange := set(answers) - calls.keys():
            self._wrong(f"{place}: results of calls {strange} that were never made")
        for action in actions:
            if _was_lost(action) and not action["started_by"]:
                self._wrong(f"{place}: {action['id']} was lost before it began")
        most = sum(1 for action in actions if action["started_by"])
        if (self._name, task) in SAFE_TASKS:
            self._verdict.repeated += len(calls) - most
            done = sum(1 for action in actions if action["state"] == "SUCCESS")
            if len(calls) < done:
                self._wrong(f"{place}: {len(calls)} calls, {done} actions succeeded")
            if any(_was_lost(action) for action in actions):
                self._wrong(f"{place} is safe to rerun, and its action was lost")
        elif len(calls) > most:
            self._wrong(
                f"{place}: {len(calls)} calls of {most} actions that were started"
            )
        by_action = Counter(call.action_id for call in calls.values() if call.action_id)
        if twice := [id for id, times in by_action.items() if times > 1]:
            self._wrong(f"{place}: the actions {twice} called twice")


def _was_lost(action: Mapping[str, Any]) -> bool:
    return LOST in f"{action['state_info']} {action['output']}"


def _number(action: Mapping[str, Any]) -> int | None:
    """Of the call that this result is of."""
    found = action["output"]
    for name in ("result", "content"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    if isinstance(found, dict) and isinstance(found.get("number"), int):
        return int(found["number"])
    return None


@dataclass(frozen=True)
class Wait:
    """What a run had to wait for after a fault.

    :param before: what had happened last; ``after``: what happened next.
    """

    seconds: float
    run_id: str
    before: Step
    after: Step


def progress(times: Mapping[str, Sequence[Step]], moment: float) -> list[Wait]:
    """How long each run that was open at a moment had to wait for whatever happened
    next to it."""
    found = []
    for run_id, steps in times.items():
        if steps and steps[0][0] < moment < steps[-1][0]:
            place = next(n for n, step in enumerate(steps) if step[0] > moment)
            before, after = steps[place - 1], steps[place]
            found.append(Wait(after[0] - moment, run_id, before, after))
    return found


def percentile(values: Sequence[float], percent: float) -> float:
    """0 of none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def settle(quiet: Callable[[], bool], seconds: float) -> bool:
    """Wait until nothing is left to be done; whether that came."""
    end = time.monotonic() + seconds
    while not quiet():
        if time.monotonic() > end:
            return False
        time.sleep(0.3)
    return True
