"""Generated workflows in random orders of events: what must hold in all.

Every case is made from one seed, which the name of the test shows. ENG-236,
ENG-074, ENG-235 (no order of messages loses or repeats anything).
"""

from __future__ import annotations

import heapq
import json
import random
from collections import Counter
from typing import Any

import pytest
from simulator import CONTEXT, Simulator

from mistral.engine.core.run import Rules, Task
from mistral.errors import CallerError
from mistral.messages import (
    COMPLETED,
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    SkipTask,
    State,
    StopWorkflow,
)

ACTIONS = (
    {"action": "std.noop"},
    {"action": "std.echo", "input": {"output": 1}},
    {"action": "std.fail"},
    {"action": "std.sleep", "input": {"seconds": 1}},
)


def made(rng: random.Random, *, guarded: bool = True) -> dict[str, Any]:
    """Two workflows: ``w`` may call ``sub``."""
    body = {"w": graph(rng, rng.randint(2, 8), guarded, True)}
    body["sub"] = graph(rng, rng.randint(1, 3), guarded, False)
    return body


def graph(rng: random.Random, size: int, loops: bool, nested: bool) -> dict[str, Any]:
    names = [f"t{i}" for i in range(size)]
    tasks: dict[str, dict[str, Any]] = {}
    inbound: dict[str, set[str]] = {name: set() for name in names}
    for position, name in enumerate(names):
        task: dict[str, Any] = dict(rng.choice(ACTIONS))
        if nested and rng.random() < 0.25:
            task = {"workflow": "sub"}
        if rng.random() < 0.25:
            task["with-items"] = f"i in <% range({rng.randint(0, 4)}) %>"
            if rng.random() < 0.6:
                task["concurrency"] = rng.randint(1, 2)
        if rng.random() < 0.2:
            task["retry"] = {"count": rng.randint(1, 2), "delay": rng.randint(0, 2)}
        for policy, chance in (
            ("wait-before", 0.1), ("wait-after", 0.1), ("timeout", 0.08),
        ):  # fmt: skip
            if rng.random() < chance:
                task[policy] = rng.randint(1, 3)
        if loops and rng.random() < 0.05:
            task["pause-before"] = True
        task["publish"] = {name: position}
        for clause in ("on-success", "on-error", "on-complete"):
            edges: list[Any] = []
            for target in names[position + 1 :]:
                if rng.random() < 0.22:
                    inbound[target].add(name)
                    shown = rng.random()
                    condition = "<% true %>" if shown < 0.85 else "<% false %>"
                    edges.append(target if shown < 0.6 else {target: condition})
            if loops and rng.random() < 0.05:
                edges.append(rng.choice(["fail", "succeed", "pause", "noop"]))
            if edges:
                task[clause] = edges
        tasks[name] = task
    looped = loops and 3 < size < 6 and rng.random() < 0.4
    if looped:
        # A loop with a guard; joins in it could wait for each other for ever.
        source, target = names[rng.randint(2, size - 1)], names[1]
        edge = {target: "<% $.get(n, 0) < 2 %>"}
        clause = tasks[source].setdefault("on-complete", [])
        clause.append(edge)
        inbound[target].add(source)
        tasks[source] = {
            **tasks[source],
            "publish": {"n": "<% $.get(n, 0) + 1 %>"},
            "publish-on-error": {"n": "<% $.get(n, 0) + 1 %>"},
        }
    for name in names:
        if not looped and len(inbound[name]) > 1 and rng.random() < 0.85:
            tasks[name]["join"] = rng.choice(["all", "all", "one", 2])
    return {"tasks": tasks}


def text(body: dict[str, Any]) -> str:
    return json.dumps({"version": "2.0", **body})


def ask(kind: Any, run_id: str, **values: Any) -> Any:
    return kind(run_id=run_id, request_id="q", context=CONTEXT, **values)


def simulator(body: dict[str, Any], seed: int, **more: Any) -> Simulator:
    outcomes: dict[str, int] = {}

    def script(call: Any) -> tuple[str, Any]:
        outcomes[call["name"]] = outcomes.get(call["name"], 0) + 1
        return ("ERROR", "x") if call["name"] == "std.fail" else ("SUCCESS", 1)

    rules = Rules(inline_actions=bool(seed % 2), page=3, steps=2 + seed % 5)
    return Simulator(text(body), seed=seed, script=script, rules=rules, **more)


class Chaos:
    """Hears events one by one in a random order, with requests between."""

    def __init__(self, sim: Simulator, rng: random.Random) -> None:
        self.sim = sim
        self.rng = rng

    def run(self, run_id: str, *, hands: float, redo: float) -> None:
        for _ in range(3000):
            check(self.sim)
            if self.rng.random() < hands:
                self.meddle(redo)
            if not self.step():
                held = [
                    id
                    for id, row in self.sim.store.runs.items()
                    if row["state"] == State.PAUSED
                ]
                if not held:
                    return
                self.try_(ask(ResumeWorkflow, held[0], env=None))
        raise AssertionError("no end")

    def step(self) -> bool:
        sim = self.sim
        choices = [bool(sim.queue), bool(sim.offers), bool(sim.timers)]
        if not any(choices):
            return False
        kind = self.rng.choice([i for i, there in enumerate(choices) if there])
        if kind == 2 and any(choices[:2]) and self.rng.random() < 0.7:
            kind = 0 if choices[0] else 1
        if kind == 0:
            event, row = sim.queue.pop(self.rng.randrange(len(sim.queue)))
            sim.request(event)
            if sim.duplicates and row is None:
                before = image(sim)
                sim.request(event)
                assert image(sim) == before, event
        elif kind == 1:
            sim._execute(self.rng.choice(list(sim.offers.values())))
        else:
            due, _, event = heapq.heappop(sim.timers)
            sim.clock.advance(max(0.0, (due - sim.clock.now()).total_seconds()))
            sim.queue.append((event, "row"))
        return True

    def meddle(self, redo: float) -> None:
        run_id = self.rng.choice(list(self.sim.store.runs))
        roll = self.rng.random()
        if roll < redo:
            failed = [
                row
                for row in self.sim.store.task_rows.values()
                if row["state"] == State.ERROR
            ]
            if failed:
                row = self.rng.choice(failed)
                kind = self.rng.choice([RerunTask, SkipTask])
                more = {"reset": True} if kind is RerunTask else {}
                if kind is RerunTask and row["internals"].get("total") is not None:
                    more["reset"] = self.rng.random() < 0.5
                run_id = row["workflow_execution_id"]
                self.try_(ask(kind, run_id, task_id=row["id"], **more))
            elif self.rng.random() < 0.2:
                state = self.rng.choice(["SUCCESS", "ERROR", "CANCELLED"])
                self.try_(ask(StopWorkflow, run_id, state=state, message=None))
        elif self.rng.random() < 0.5:
            self.try_(ask(PauseWorkflow, run_id, message=None))
        else:
            self.try_(ask(ResumeWorkflow, run_id, env=None))

    def try_(self, event: Any) -> None:
        try:
            self.sim.request(event)
        except CallerError:
            return


def image(sim: Simulator) -> Any:
    """All rows but the versions of headers, and what waits."""
    store = sim.store
    runs = {
        id: {k: v for k, v in row.items() if k not in ("version", "updated_at")}
        for id, row in store.runs.items()
    }
    return repr((
        runs, store.task_rows, store.action_rows, store.arrival_rows,
        len(sim.queue), len(sim.timers), sorted(sim.offers),
    ))  # fmt: skip


def check(sim: Simulator) -> None:
    """What holds between any two turns."""
    store = sim.store
    open_rows: Counter[str] = Counter()
    for row in store.task_rows.values():
        if row["state"] not in COMPLETED:
            open_rows[row["workflow_execution_id"]] += 1
        if row["unique_key"]:
            join = Task.from_row(row)
            mine = [
                a
                for a in store.arrival_rows
                if (a["join_id"], a["round"]) == (join.id, join.round)
            ]
            dead = sum(
                a["event"] in ("not triggered", "impossible route") for a in mine
            )
            assert (join.arrived, join.dead) == (len(mine) - dead, dead), join.name
    for id, run in store.runs.items():
        assert run["internals"].get("open", 0) == open_rows[id], id


def settled(sim: Simulator) -> None:
    """What holds at the end."""
    check(sim)
    assert not sim.queue and not sim.offers and not sim.timers
    for row in sim.store.runs.values():
        assert row["state"] in COMPLETED, (row["workflow_name"], row["state"])
    for row in sim.store.task_rows.values():
        assert row["state"] in COMPLETED, (row["name"], row["state"])
    for row in sim.store.action_rows.values():
        assert row["state"] in COMPLETED, row["name"]


@pytest.mark.parametrize("seed", [*range(160), 560])
def test_eng_236_any_order_with_hands_ends(seed: int) -> None:
    rng = random.Random(seed)
    sim = simulator(made(rng), seed, duplicates=bool(seed % 3))
    redo = 0.5 if seed % 4 == 0 else 0.0
    run_id = sim.start("w")
    Chaos(sim, rng).run(run_id, hands=0.1, redo=redo)
    settled(sim)


@pytest.mark.parametrize("seed", range(40))
def test_eng_236_order_does_not_change_what_an_acyclic_run_does(seed: int) -> None:
    """Only ``join: all`` and no time limits: nothing depends on who is first."""
    rng = random.Random(seed)
    body = made(rng, guarded=False)
    for flow in body.values():
        for task in flow["tasks"].values():
            task.pop("timeout", None)
            if "join" in task:
                task["join"] = "all"
    found = []
    for order in (0, 1, 2):
        sim = simulator(body, 2 * order + seed, duplicates=bool(order))
        run_id = sim.start("w")
        Chaos(sim, random.Random(order)).run(run_id, hands=0.05 * order, redo=0.0)
        settled(sim)
        rows = sim.tasks(run_id)
        states = Counter((task.name, task.state) for task in rows)
        published = Counter(str(task.published) for task in rows)
        found.append((sim.store.runs[run_id]["state"], states, published))
    assert found[0] == found[1] == found[2]


def looped(rng: random.Random) -> dict[str, Any]:
    """One workflow whose loops go through joins, each with a counter as guard."""
    size = rng.randint(3, 8)
    names = [f"t{i}" for i in range(size)]
    inbound: dict[str, set[str]] = {name: set() for name in names}
    tasks: dict[str, dict[str, Any]] = {}
    for position, name in enumerate(names):
        action = rng.choice(ACTIONS) if position else {"action": "std.noop"}
        task: dict[str, Any] = dict(action)
        for clause in ("on-success", "on-error", "on-complete"):
            edges: list[Any] = []
            for target in names[position + 1 :]:
                if rng.random() < 0.3:
                    inbound[target].add(name)
                    condition = "<% true %>" if rng.random() < 0.8 else "<% false %>"
                    edges.append(rng.choice([target, {target: condition}]))
            if edges:
                task[clause] = edges
        tasks[name] = task
    for source in rng.sample(range(1, size), rng.randint(1, 2)):
        name, target = names[source], names[rng.randint(1, source)]
        edge = {target: "<% $.get(n, 0) < 3 %>"}
        tasks[name].setdefault("on-complete", []).append(edge)
        inbound[target].add(name)
        for publish in ("publish", "publish-on-error"):
            tasks[name][publish] = {"n": "<% $.get(n, 0) + 1 %>"}
    for name in names:
        if len(inbound[name]) > 1:
            tasks[name]["join"] = rng.choice(["all", "all", "one", 2])
    return {"w": {"tasks": tasks}}


@pytest.mark.parametrize("seed", range(120))
def test_eng_096_074_loops_through_joins_end(seed: int) -> None:
    """Whatever joins wait for: no pass loses the counter that ends its loop, and
    joins that only wait for each other do not hold the run."""
    rng = random.Random(seed)
    sim = simulator(looped(rng), seed, duplicates=bool(seed % 3))
    run_id = sim.start("w")
    Chaos(sim, rng).run(run_id, hands=0.02, redo=0.0)
    settled(sim)
