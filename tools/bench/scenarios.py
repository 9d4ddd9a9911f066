"""What is done to a server, what is measured of it, and what must come of it.

A scenario runs once per repetition and answers a :class:`Sample`. Nothing of it
counts unless every result is right: a wrong one ends the benchmark.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import processes
import schedules as cron
from client import Client, Wrong, fresh
from shapes import (
    Shape,
    combined,
    dag,
    data,
    fan,
    items,
    nested,
    parallel,
    reverse,
    rows,
    sequential,
    timer,
    waiting,
)
from stack import Target
from stores import Counts


@dataclass
class Sample:
    """One run of a scenario.

    :param units: tasks, items, requests… that ``cpu`` and ``seconds`` are spread over.
    :param cpu: role → seconds of processor time.
    :param times: seconds of what was timed singly, if anything was.
    :param pace: see ``processes.pace``, around the run.
    """

    units: int
    seconds: float
    cpu: dict[str, float]
    times: list[float] = field(default_factory=list)
    before: Counts = field(default_factory=Counts)
    after: Counts = field(default_factory=Counts)
    figures: dict[str, float] = field(default_factory=dict)
    pace: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """:param run: of one repetition.
    :param unit: of ``Sample.units``.
    :param once: further repetitions say nothing new.
    :param writes: executions are all that it writes.
    """

    name: str
    unit: str
    run: Callable[[Target, Client], Sample]
    once: bool = False
    writes: bool = False


class Watch:
    """What a stretch of time cost a server."""

    def __init__(self, target: Target) -> None:
        self._target = target

    @contextmanager
    def over(self, units: int) -> Iterator[Sample]:
        target = self._target
        sample = Sample(units, 0.0, {})
        if target.store is not None:
            sample.before = target.store.counts()
        pace = processes.pace()
        cpu, begun = target.cpu(), time.perf_counter()
        yield sample
        sample.seconds = time.perf_counter() - begun
        sample.cpu = {
            role: spent - cpu.get(role, 0.0) for role, spent in target.cpu().items()
        }
        sample.pace = (pace + processes.pace()) / 2
        if target.store is not None:
            sample.after = target.store.counts()


# -- Shapes ----------------------------------------------------------------------------


def named(shape: Shape) -> tuple[str, str]:
    """A fresh name and the definition under it."""
    name = fresh("bench")
    return name, shape.text.replace("NAME", name)


def check(client: Client, shape: Shape, ids: list[str], inputs: list[Any]) -> None:
    """Every output, and the tasks of the first, the middle and the last.

    :raises Wrong: names what is not as it must be.
    """
    for row, given in zip(client.all_of(ids), inputs, strict=True):
        if row["state"] != "SUCCESS":
            raise Wrong(f"{row['id']}: {row['state']}: {row.get('state_info')}")
        output = _output(row)
        expected = shape.output(given)
        found = {key: output.get(key) for key in expected}
        if found != expected:
            raise Wrong(f"{row['id']}: expected {expected}, found {found}")
    for id in sorted({ids[0], ids[len(ids) // 2], ids[-1]}):
        states = [task["state"] for task in client.tasks(id)]
        if set(states) != {"SUCCESS"} or shape.tasks not in (None, len(states)):
            raise Wrong(f"{id}: expected {shape.tasks} tasks, found {states}")


def _output(row: dict[str, Any]) -> dict[str, Any]:
    """Some servers answer with an object, some with its text."""
    output = row["output"]
    return output if isinstance(output, dict) else dict(json.loads(output or "{}"))


def burst(shape: Shape, executions: int) -> Callable[[Target, Client], Sample]:
    """So many executions, started as fast as that goes."""

    def run(target: Target, client: Client) -> Sample:
        name, text = named(shape)
        client.upload(text)
        inputs = [shape.input(number) for number in range(executions)]
        with Watch(target).over(executions * shape.units) as sample:
            ids = client.start_all(name, inputs, shape.more.get("params"))
            client.wait_for_all(name)
        check(client, shape, ids, inputs)
        sample.figures["tasks/s"] = sample.units / sample.seconds
        if sample.after.size is not None and sample.before.size is not None:
            grown = sample.after.size - sample.before.size
            sample.figures["stored KB/unit"] = grown / 1000 / sample.units
        return sample

    return run


def alone(shape: Shape, times: int) -> Callable[[Target, Client], Sample]:
    """One execution after the other; each from POST to the end, seen by polling."""

    # Asking costs, too: seldom where much is done between two answers.
    pause = 0.002 if shape.units == 1 else 0.025

    def run(target: Target, client: Client) -> Sample:
        name, text = named(shape)
        client.upload(text)
        ids, inputs, spent = [], [], []
        with Watch(target).over(times * shape.units) as sample:
            for number in range(times):
                given = shape.input(number)
                begun = time.perf_counter()
                id = client.start(name, given, shape.more.get("params"))
                client.wait(id, pause)
                spent.append((time.perf_counter() - begun) / shape.units)
                ids.append(id)
                inputs.append(given)
        check(client, shape, ids, inputs)
        sample.times = spent
        return sample

    return run


# -- Definitions, starts, timers, lists, idle ------------------------------------------


def upload(tasks: int) -> Callable[[Target, Client], Sample]:
    """A definition of so many tasks is validated and stored."""

    def run(target: Target, client: Client) -> Sample:
        name, text = named(sequential(tasks))
        with Watch(target).over(tasks) as sample:
            client.upload(text)
        found = client("GET", f"workflows/{name}")
        if found["name"] != name:
            raise Wrong(f"expected workflow {name}, found {found['name']}")
        return sample

    return run


def starts(number: int) -> Callable[[Target, Client], Sample]:
    """So many executions are started; each does one thing that does not end."""

    def run(target: Target, client: Client) -> Sample:
        name, text = named(waiting())
        client.upload(text)
        with Watch(target).over(number) as sample:
            ids = client.start_all(name, [{}] * number)
        if len(set(ids)) != number:
            raise Wrong(f"expected {number} executions, found {len(set(ids))}")
        states = {row["state"] for row in client.all_of(ids)}
        if states != {"RUNNING"}:
            raise Wrong(f"expected RUNNING executions, found {states}")
        client.delete_all(ids)
        sample.figures["starts/s"] = number / sample.seconds
        return sample

    return run


def timers(number: int, seconds: float) -> Callable[[Target, Client], Sample]:
    """So many timers; how late each is, by the clock of who evaluates expressions."""

    def run(target: Target, client: Client) -> Sample:
        shape = timer(seconds)
        name, text = named(shape)
        client.upload(text)
        with Watch(target).over(number) as sample:
            ids = client.start_all(name, [{}] * number)
            client.wait_for_all(name)
        check(client, shape, ids, [{}] * number)
        sample.times = [_output(row)["late"] for row in client.all_of(ids)]
        return sample

    return run


def schedules(number: int, period: int, seconds: float) -> Callable[..., Sample]:
    """So many cron triggers, which fire once in a period each; how late each is, by
    the clock of who evaluates expressions."""

    def run(target: Target, client: Client) -> Sample:
        triggers = cron.Triggers(client, number, period)
        with Watch(target).over(number) as sample:
            times = cron.measure(client, triggers, seconds)
        triggers.delete()
        sample.times = times
        sample.units = len(times)
        sample.figures["p95 late, ms"] = 1000 * percentile(times, 95)
        sample.figures["p99 late, ms"] = 1000 * percentile(times, 99)
        return sample

    return run


LISTS = {
    "newest executions": "executions?limit=100&sort_keys=created_at&sort_dirs=desc",
    "executions in ERROR": "executions?limit=100&state=ERROR",
    "tasks": "tasks?limit=100",
    "action executions": "action_executions?limit=100",
    "workflows": "workflows?limit=100",
}


def lists(path: str, times: int) -> Callable[[Target, Client], Sample]:
    """One page of a list, over and over."""

    def run(target: Target, client: Client) -> Sample:
        key = path.partition("?")[0]
        client("GET", path)
        spent = []
        with Watch(target).over(times) as sample:
            for _ in range(times):
                begun = time.perf_counter()
                answer = client("GET", path)
                spent.append(time.perf_counter() - begun)
                if len(answer[key]) > 100:
                    raise Wrong(f"{path}: more than a page")
        sample.times = spent
        return sample

    return run


def idle(executions: int, seconds: float) -> Callable[[Target, Client], Sample]:
    """What the processes spend while executions wait, beyond what they spend
    without any."""

    def run(target: Target, client: Client) -> Sample:
        time.sleep(2)
        with Watch(target).over(1) as empty:
            time.sleep(seconds)
        name, text = named(waiting())
        client.upload(text)
        ids = client.start_all(name, [{}] * executions)
        time.sleep(5)
        with Watch(target).over(1) as sample:
            time.sleep(seconds)
        states = {row["state"] for row in client.all_of(ids)}
        client.delete_all(ids)
        if states != {"RUNNING"}:
            raise Wrong(f"expected RUNNING executions, found {states}")
        minute = 60 / seconds
        sample.figures["CPU s/min, waiting"] = sum(sample.cpu.values()) * minute
        sample.figures["CPU s/min, nothing"] = sum(empty.cpu.values()) * minute
        sample.figures["CPU s/min, more"] = (
            sum(sample.cpu.values()) - sum(empty.cpu.values())
        ) * minute
        return sample

    return run


# -- The table -------------------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """How much of everything; ``TINY`` only looks whether it is right."""

    executions: int = 200
    items: tuple[int, ...] = (100, 1_000, 10_000)
    branches: tuple[int, ...] = (60, 500, 2_000)
    chain: int = 50
    x: int = 10
    n: int = 10
    seven: int = 20
    upload: tuple[int, ...] = (200, 2_000)
    data: int = 20
    starts: int = 500
    singles: int = 50
    timers: int = 500
    wait: float = 5
    triggers: tuple[int, int, float] = (10_000, 300, 60)
    lists: int = 20
    waiting: int = 1_000
    idle: float = 60


TINY = Sizes(
    executions=3, items=(5,), branches=(4,), chain=3, x=2, n=3, seven=2, upload=(5,),
    data=2, starts=4, singles=2, timers=3, wait=1, triggers=(3, 1, 3), lists=2,
    waiting=3, idle=1,
)  # fmt: skip
QUICK = Sizes(
    executions=100, items=(100, 1_000), branches=(60, 500), chain=50, seven=10,
    starts=200, singles=20, timers=100, wait=2, triggers=(1_000, 60, 30), lists=10,
    waiting=200, idle=15,
)  # fmt: skip


def table(sizes: Sizes) -> list[Scenario]:
    """All scenarios, in the order in which they are run."""
    n, x, seven = sizes.n, sizes.x, sizes.seven
    found = [
        Scenario("dag", "task", burst(dag(), sizes.executions), writes=True),
        Scenario("chain", "task", alone(sequential(sizes.chain), 3), writes=True),
        Scenario(
            "single", "execution", alone(sequential(1), sizes.singles), writes=True
        ),
    ]
    for count in sizes.items:
        found.append(
            Scenario(f"items-{count}", "item", alone(items(count), 1), writes=True)
        )
    for count in sizes.branches:
        found.append(
            Scenario(f"fan-{count}", "branch", alone(fan(count), 1), writes=True)
        )
    for name, shape in {
        f"seven: {n} sequential": sequential(n),
        f"seven: {n} parallel": parallel(n),
        f"seven: {x}x{n}": rows(x, n),
        f"seven: {n} parallel, join": rows(n, 1, join=True),
        f"seven: {x}x{n}, join": rows(x, n, join=True),
        f"seven: with-items {n}": items(n),
        "seven: all combined": combined(n),
        f"sub-workflows {n}": nested(n),
        f"reverse {n}": reverse(n),
    }.items():
        found.append(Scenario(name, shape.unit, burst(shape, seven), writes=True))
    for count in sizes.upload:
        found.append(Scenario(f"upload-{count}", "task", upload(count)))
    found += [
        Scenario("data", "task", alone(data(sizes.data), 1), writes=True),
        Scenario("starts", "start", starts(sizes.starts)),
        Scenario("timers", "timer", timers(sizes.timers, sizes.wait), once=True),
        Scenario("schedules", "firing", schedules(*sizes.triggers), once=True),
        *(
            Scenario(f"list: {name}", "request", lists(path, sizes.lists))
            for name, path in LISTS.items()
        ),
        Scenario("idle", "process", idle(sizes.waiting, sizes.idle), once=True),
    ]
    return found


def percentile(values: list[float], share: float) -> float:
    """Of the values, so many hundredths are not above it."""
    if len(values) == 1:
        return values[0]
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[min(98, max(0, round(share) - 1))]
