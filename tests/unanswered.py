"""Direct workflows on the core; ``std.sleep`` goes on until a test answers it."""

from __future__ import annotations

from typing import Any

import pytest
from simulator import ERROR, SUCCESS, Simulator


def standard(call: Any) -> tuple[str, Any] | None:
    if call["name"] in ("std.async_noop", "std.sleep"):
        # It goes on until a test answers it.
        return None
    return (ERROR, "no") if call["name"] == "std.fail" else (SUCCESS, None)


def started(body: str, **more: Any) -> tuple[Simulator, str]:
    sim = Simulator("version: '2.0'\n\n" + body, script=standard, **more)
    run_id = sim.start("w")
    sim.settle()
    return sim, run_id


def run(body: str, **more: Any) -> tuple[Simulator, Any]:
    sim, run_id = started(body, **more)
    return sim, sim.store.runs[run_id]


def order(sim: Simulator, run_id: str) -> list[str]:
    """Names of the tasks in the order in which they were created."""
    return [task.name for task in sim.tasks(run_id)]


def state(sim: Simulator, run_id: str) -> str:
    found: str = sim.store.runs[run_id]["state"]
    return found


def task_id(sim: Simulator, run_id: str, name: str) -> str:
    found: str = sim.tasks(run_id, name)[-1].id
    return found


INLINE = pytest.mark.parametrize("inline", [True, False], ids=["inline", "offers"])
