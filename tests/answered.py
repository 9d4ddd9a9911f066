"""Direct workflows on the core, started, with their actions answered."""

from __future__ import annotations

from collections import Counter
from typing import Any

from simulator import ERROR, SUCCESS, Simulator

THREE = """w:
  tasks:
    a: {action: std.async_noop, on-success: j}
    b: {action: std.async_noop, on-success: j}
    c: {action: std.async_noop, on-complete: j, on-error: noop}
    j: {join: %s, on-success: after, on-error: sorry}
    after: {description: x}
    sorry: {description: x}"""
"""Three tasks that lead to ``j`` when they are answered; ``%`` its ``join``."""


def simulator(body: str, **more: Any) -> Simulator:
    """``std.async_noop`` waits for ``answer``; others end by themselves."""
    return Simulator("version: '2.0'\n\n" + body, script=standard, **more)


def standard(call: Any) -> tuple[str, Any] | None:
    if call["name"] == "std.async_noop":
        return None
    if call["name"] == "std.fail":
        return ERROR, "failed"
    return SUCCESS, call.get("output")


def started(body: str, **more: Any) -> tuple[Simulator, str]:
    sim = simulator(body, **more)
    run_id = sim.start("w")
    sim.settle()
    return sim, run_id


def state(sim: Simulator, run_id: str) -> str:
    found: str = sim.store.runs[run_id]["state"]
    return found


def join(sim: Simulator, run_id: str, name: str = "j") -> Any:
    [task] = sim.tasks(run_id, name)
    return task


def times(sim: Simulator, run_id: str, name: str) -> int:
    """How often the action of a task was started."""
    ids = {task.id for task in sim.tasks(run_id, name)}
    rows = sim.store.action_rows.values()
    return sum(row["task_execution_id"] in ids for row in rows)


def count(sim: Simulator, run_id: str) -> Counter[str]:
    return Counter(task.name for task in sim.tasks(run_id))


def task_id(sim: Simulator, run_id: str, name: str) -> str:
    found: str = sim.tasks(run_id, name)[-1].id
    return found
