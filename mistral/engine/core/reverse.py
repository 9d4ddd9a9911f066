"""Reverse workflows: what a target needs, and what is ready (§ 3)."""

from __future__ import annotations

from mistral.engine.core.data import Case
from mistral.engine.core.run import Task
from mistral.lang.graph import graph_of
from mistral.messages import State

SATISFIED = (State.SUCCESS, State.SKIPPED)
"""A skipped requirement satisfies its dependants (ENG-125)."""


def ready(case: Case) -> list[tuple[str, list[Task]]]:
    """Tasks that may start now with the tasks that they require."""
    run = case.run
    target = (run.params or {})["task_name"]
    if not run.is_new:
        run.adopt(case.facts.tasks(run.id))
    by_name = {task.name: task for task in run.tasks.values()}
    found = []
    for name in (*graph_of(run.spec).requirements(target), target):
        if name in by_name:
            continue
        needed = [n for n in run.spec.tasks[name].requires if n != name]
        if all(n in by_name and by_name[n].state in SATISFIED for n in needed):
            found.append((name, [by_name[n] for n in needed]))
    return found
