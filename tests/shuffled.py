"""The simulator in bad weather: any order, everything twice, restarts, hands.

``Shuffled`` hears what waits in a random order. Between the turns it looks
whether what must always hold does hold. All that goes from one turn to the next
has been JSON: rows, messages, and after a "restart" the definitions, too.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from oracle import LATER
from simulator import CONTEXT, Simulator

from mistral.engine.core.ports import Rules
from mistral.engine.core.run import Changes, Task
from mistral.errors import CallerError
from mistral.lang.parse import workflow_from_dict
from mistral.messages import (
    COMPLETED,
    ActionFinished,
    CallAction,
    ChildReopened,
    ChildResumed,
    Event,
    ExecutorLost,
    MoreItems,
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    SkipTask,
    State,
    StopWorkflow,
    Woke,
    decode,
    encode,
)

TURNS = 6000
"""Turns after which a generated run counts as endless."""

HANDS = 400
"""Turns in which users pause, resume, stop, rerun and skip."""


@dataclass(frozen=True)
class Weather:
    """How bad it is.

    :param seed: of the order of events.
    :param duplicates: everything that can come twice does.
    :param restarts: share of turns after which definitions are loaded again.
    :param pauses: share of turns before which somebody pauses or resumes a run.
    :param redo: share of turns before which somebody stops, reruns or skips.
    :param own: variables that a task keeps for itself; the others are in layers.
    :param haste: share of the parts of decisions that are put off.
    :param losses: share of claimed actions, safe to rerun, whose executor dies.
    """

    seed: int = 0
    duplicates: bool = False
    restarts: float = 0.0
    pauses: float = 0.0
    redo: float = 0.0
    losses: float = 0.0
    inline: bool = True
    page: int = 3
    steps: int = 4
    own: int = 32
    haste: float = 0.0


class Shuffled(Simulator):
    """:param plan: state of a call by (workflow, task, item, attempt)."""

    def __init__(
        self,
        text: str,
        weather: Weather,
        plan: Mapping[tuple[str, str, int, int], str],
    ) -> None:
        rules = Rules(
            inline_actions=weather.inline,
            page=weather.page,
            steps=weather.steps,
            own_variables=weather.own,
        )
        super().__init__(text, rules=rules)
        self.weather = weather
        self._first = True
        self.store.has_time = self._has_time  # type: ignore[method-assign]
        self.plan = plan
        self.rng = random.Random(weather.seed)
        self.finals: dict[str, Any] = {}

    def _has_time(self) -> bool:
        """What goes on with something has evaluated nothing before the first part."""
        first, self._first = self._first, False
        return first or self.rng.random() >= self.weather.haste

    def _turn(self, event: Event) -> Any:
        self._first = isinstance(event, Woke | MoreItems)
        return super()._turn(event)

    # -- One after the other, in any order ------------------------------------

    def drive(self, run_id: str) -> None:
        """Until nothing waits, all held runs being resumed."""
        for turn in range(TURNS):
            # Hands rest at last: each rerun makes more turns to meddle in.
            roll = self.rng.random() if turn < HANDS else 1.0
            if roll < self.weather.pauses:
                self.hold()
            elif roll < self.weather.pauses + self.weather.redo:
                self.meddle()
            if not self.step():
                held = [
                    id
                    for id, row in self.store.runs.items()
                    if row["state"] == State.PAUSED
                ]
                if not held:
                    return
                self.attempt(ask(ResumeWorkflow, self.rng.choice(held), env=None))
        raise AssertionError(f"no end after {TURNS} turns")

    def step(self) -> bool:
        kinds = [
            kind
            for kind, waits in (
                ("message", self.queue), ("offer", self.offers), ("timer", self.timers)
            )
            if waits
        ]  # fmt: skip
        if not kinds:
            return False
        kind = self.rng.choice(kinds)
        if kind == "timer" and len(kinds) > 1 and self.rng.random() < 0.7:
            kind = kinds[0]
        if kind == "message":
            event, row = self.queue.pop(self.rng.randrange(len(self.queue)))
            self.heard(event, again=row is None)
        elif kind == "offer":
            self.execute(self.rng.choice(list(self.offers.values())))
        else:
            due, _, event = heapq.heappop(self.timers)
            self.clock.advance(max(0.0, (due - self.clock.now()).total_seconds()))
            # A row is one thing: it is consumed with its turn, never repeated.
            self.heard(event)
        return True

    def heard(self, event: Event, *, again: bool = False) -> Any:
        """One turn; a repeat of what no row carries must change nothing."""
        before = self.shape()
        event = sent(event)
        answer = self.request(event)
        self.check(before, event)
        if again and self.weather.duplicates:
            assert self.repeat(event) == answer, f"another answer to {event}"
        if self.rng.random() < self.weather.restarts:
            self.restart()
        return answer

    def execute(self, call: CallAction) -> None:
        """An executor's part: claim, run, tell; now and then it dies."""
        call = sent(call)
        self.offers.pop(call.action_id, None)
        token = f"t{next(self._count)}"
        if not self.claimed(call, token):
            return
        if self.weather.duplicates:
            assert self.claimed(call, token), "another answer to the same token"
            # The offer came to a second executor, too.
            assert not self.claimed(call, "other", "f"), "an action was started twice"
        if call.safe_rerun and self.rng.random() < self.weather.losses:
            lost = ExecutorLost(
                run_id=call.run_id, action_id=call.action_id, attempt=call.attempt,
                executor_id="e", last_seen="now",
            )  # fmt: skip
            self.queue.append((lost, None))
            if self.rng.random() < 0.5:
                return
            # It was only given up: its result comes late, or before the news.
        outcome = self.outcome(call)
        if outcome is not None:
            finished = ActionFinished(
                run_id=call.run_id, action_id=call.action_id, attempt=call.attempt,
                state=outcome[0], result=outcome[1],
            )  # fmt: skip
            self.queue.append((finished, None))

    def outcome(self, call: CallAction) -> tuple[str, Any] | None:
        """What the actions of generated workflows do; None: no answer ever."""
        action = self.store.action_rows[call.action_id]
        task = self.store.task_rows[action["task_execution_id"]]
        spec = self.store.spec(self.store.runs[call.run_id]["spec_id"])
        if call.name == "std.fail":
            return "ERROR", "failed"
        if call.name == "std.noop":
            return "SUCCESS", None
        if call.name == "std.echo" and "delay" not in call.input:
            return "SUCCESS", call.input["output"]
        if self.is_silent(action):
            return None
        earlier = [
            row
            for row in self.store.action_rows.values()
            if row["task_execution_id"] == task["id"]
            and row["item_index"] == action["item_index"]
        ]
        attempt = [row["id"] for row in earlier].index(action["id"]) + 1
        key = (spec.name, task["name"], action["item_index"] or 0, attempt)
        state = self.plan.get(key, "SUCCESS")
        if state == LATER:
            return None
        if state == "SUCCESS":
            return state, call.input.get("output", 7)
        return state, "bad" if state == "ERROR" else None

    # -- Hands ----------------------------------------------------------------

    def attempt(self, event: Event) -> None:
        try:
            self.heard(event)
        except CallerError:
            return

    def hold(self) -> None:
        run_id = self.rng.choice(list(self.store.runs))
        if self.rng.random() < 0.5:
            self.attempt(ask(PauseWorkflow, run_id, message=None))
        else:
            self.attempt(ask(ResumeWorkflow, run_id, env=None))

    def meddle(self) -> None:
        failed = [r for r in self.store.task_rows.values() if r["state"] == State.ERROR]
        if not failed or self.rng.random() < 0.2:
            state = self.rng.choice(["SUCCESS", "ERROR", "CANCELLED"])
            run_id = self.rng.choice(list(self.store.runs))
            self.attempt(ask(StopWorkflow, run_id, state=state, message=None))
            return
        row = self.rng.choice(failed)
        more: dict[str, Any] = {}
        kind = self.rng.choice([RerunTask, SkipTask])
        if kind is RerunTask:
            items = row["internals"].get("total") is not None
            more["reset"] = not items or self.rng.random() < 0.5
        run_id = row["workflow_execution_id"]
        self.attempt(ask(kind, run_id, task_id=row["id"], **more))

    # -- Memory ---------------------------------------------------------------

    def _kept(self, found: Changes) -> Changes:
        """Rows, as JSON and back: all that a turn leaves behind."""
        return Changes(
            **{each.name: again(getattr(found, each.name)) for each in fields(found)}
        )

    def restart(self) -> None:
        """Definitions are parsed again; what was derived from them is gone."""
        store = self.store
        store.specs = {
            id: workflow_from_dict(again(spec.body)) for id, spec in store.specs.items()
        }

    def waiting(self) -> tuple[int, int, list[str]]:
        return len(self.queue), len(self.timers), sorted(self.offers)

    def repeat(self, event: Event) -> Any:
        """Hear what must have no effect."""
        waiting, self.written = self.waiting(), Changes()
        answer = self.request(event)
        header = {"id", "version", "updated_at"}
        left = replace(self.written, header=None, settled_offers=[])
        assert left == Changes(), f"a repeat had an effect: {event}"
        assert set(self.written.header or ()) <= header, f"a repeat: {event}"
        assert self.waiting() == waiting, f"a repeat had effects: {event}"
        return answer

    # -- What holds between any two turns -------------------------------------

    def shape(self) -> tuple[dict[str, str], Counter[str]]:
        """States of runs; how many rows belong to each."""
        made: Counter[str] = Counter()
        for row in (*self.store.task_rows.values(), *self.store.action_rows.values()):
            made[row["workflow_execution_id"]] += 1
        return {id: row["state"] for id, row in self.store.runs.items()}, made

    def check(self, before: tuple[dict[str, str], Counter[str]], event: Event) -> None:
        states, made = before
        now, made_now = self.shape()
        # Whoever goes on may start things and be held, or fail, again by them.
        going = (ResumeWorkflow, ChildResumed, ChildReopened, RerunTask, SkipTask)
        resumed = isinstance(event, going)
        for id, state in states.items() if not resumed else ():
            idle = state == State.PAUSED or state in COMPLETED
            if idle and now[id] == state:
                # ENG-068, ENG-139: nothing starts in a run that is held or over.
                assert made[id] == made_now[id], f"{state} run started by {event}"
        for id, action in self.store.action_rows.items():
            if action["state"] in COMPLETED:
                first = self.finals.setdefault(id, (action["state"], action["output"]))
                assert first == (action["state"], action["output"]), "a second outcome"
        self._check_counters()
        self._check_concurrency()

    def _check_counters(self) -> None:
        store = self.store
        open_rows: Counter[str] = Counter()
        for row in store.task_rows.values():
            if row["state"] not in COMPLETED:
                open_rows[row["workflow_execution_id"]] += 1
            if row["unique_key"]:
                join = Task.from_row(row)
                mine = [
                    a["event"] in ("not triggered", "impossible route")
                    for a in store.arrival_rows
                    if (a["join_id"], a["round"]) == (join.id, join.round)
                ]
                counted = (join.arrived, join.dead)
                assert counted == (mine.count(False), mine.count(True)), join.name
        for id, run in store.runs.items():
            assert run["internals"].get("open", 0) == open_rows[id], id

    def _check_concurrency(self) -> None:
        """ENG-131."""
        running: Counter[tuple[str, int]] = Counter()
        for action in self.store.action_rows.values():
            if action["state"] not in COMPLETED and action["task_execution_id"]:
                epoch = action["internals"].get("epoch", 0)
                running[action["task_execution_id"], epoch] += 1
        for child in self.store.runs.values():
            parent = child["internals"].get("parent")
            if child["internals"].get("redone"):
                # A rerun inside a finished child opens it beside the others.
                continue
            if parent and child["state"] not in COMPLETED:
                running[parent["task_id"], parent["attempt"]] += 1
        for (task_id, _), number in running.items():
            limit = (self.store.task_rows[task_id]["runtime_context"] or {}).get(
                "concurrency"
            )
            assert not limit or number <= limit, "more at once than allowed"

    def settled(self) -> None:
        """What holds at the end: nothing is open, nothing waits."""
        assert not self.queue and not self.offers and not self.timers
        for row in self.store.runs.values():
            assert row["state"] in COMPLETED, (row["workflow_name"], row["state"])
        for row in self.store.task_rows.values():
            assert row["state"] in COMPLETED, (row["name"], row["state"])
        for row in self.store.action_rows.values():
            closed = row["state"] in COMPLETED or self.is_silent(row)
            assert closed, (row["name"], row["state"])

    def is_silent(self, action: Mapping[str, Any]) -> bool:
        """An asynchronous action that nobody answers: its task times out."""
        task = self.store.task_rows[action["task_execution_id"]]
        run = self.store.runs[task["workflow_execution_id"]]
        body = self.store.spec(run["spec_id"]).body["tasks"][task["name"]] or {}
        return action["name"] == "std.async_noop" and "timeout" in body


def ask(kind: Any, run_id: str, **values: Any) -> Any:
    return kind(run_id=run_id, request_id="q", context=CONTEXT, **values)


def sent(message: Any) -> Any:
    return decode(again(encode(message)))


def again(value: Any) -> Any:
    """Through JSON and back, as a store keeps it (times are columns)."""
    return json.loads(json.dumps(value, default=_outgoing), object_hook=_incoming)


def _outgoing(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    raise TypeError(f"no JSON: {type(value).__name__}")


def _incoming(value: dict[str, Any]) -> Any:
    return datetime.fromisoformat(value["$time"]) if "$time" in value else value
