"""What can still come to a join: routes in the definition, and unfinished tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mistral.engine.core.data import Case
from mistral.engine.core.run import Task
from mistral.lang.graph import graph_of
from mistral.lang.specs import WorkflowSpec

FIRST_LOOK: Final = 16
"""Names that the first look behind the inbound tasks of a join takes."""


def is_on_loop(spec: WorkflowSpec, name: str) -> bool:
    return name in graph_of(spec).on_loops


def runs_once(spec: WorkflowSpec, name: str) -> bool:
    """Whether a task can have one execution only, so that a second trigger by
    it need not be looked for."""
    memo: dict[str, bool] = spec.derived.setdefault("runs_once", {})
    stack = [name]
    graph = graph_of(spec)
    while stack:
        current = stack[-1]
        if current in memo:
            stack.pop()
            continue
        inbound = graph.inbound(current)
        single = len(inbound) <= 1 or spec.tasks[current].join is not None
        if not single or current in graph.on_loops:
            memo[current] = False
            continue
        missing = [each for each in inbound if each not in memo]
        if missing:
            stack.extend(missing)
            continue
        memo[current] = all(memo[each] for each in inbound) and all(
            _edges(spec, each, current) == 1 for each in inbound
        )
    return memo[name]


def _edges(spec: WorkflowSpec, source: str, target: str) -> int:
    task = spec.tasks[source]
    clauses = (task.on_success, task.on_error, task.on_complete, task.on_skip)
    return sum(edge.target == target for clause in clauses for edge in clause.edges)


def event_of(task: Task, target: str) -> str | None:
    for name, event in task.next_tasks or ():
        if name == target:
            return str(event)
    return None


def is_routed(task: Task) -> bool:
    return task.completed and task.processed


def can_come(
    spec: WorkflowSpec, name: str, latest: Latest, join: Task, *, redone: bool
) -> tuple[bool, Task | None]:
    """Whether a task can still be reached, for the first time or once more,
    and because of whom; a cycle by itself offers no route (ENG-089).

    :param redone: something was rerun or skipped, so all that follows from it may run
        once more.
    """
    graph = graph_of(spec)

    def is_over(name: str) -> bool:
        return not redone and runs_once(spec, name)

    if latest.get(name) is not None and is_over(name):
        return False, None
    seen = {name, join.name}
    stack = [name]
    while stack:
        current = stack.pop()
        inbound = graph.inbound(current)
        if not inbound and latest.get(current) is None:
            return True, None
        for source in inbound:
            if source in seen:
                continue
            task = latest.get(source)
            if task is not None:
                if not is_routed(task):
                    return True, task
                if event_of(task, current) and latest.get(current) is None:
                    return True, None
                if is_over(source):
                    continue
            seen.add(source)
            stack.append(source)
    return False, None


def watch(witness: Task, join: Task) -> None:
    if join.id not in (witness.watchers or ()):
        witness.watchers = [*(witness.watchers or ()), join.id]


class Latest:
    """The latest execution of each task of the run, fetched as the walk back from a
    join asks for it.

    :param names: fetched at once. The walk passes tasks that have not run and ends at
        those that have; each further fetch takes twice as many of the names before
        it, so that a long walk costs few statements and a short one few rows.
    """

    def __init__(self, case: Case, names: Iterable[str]) -> None:
        self._run = case.run
        self._facts = case.facts
        self._graph = graph_of(case.run.spec)
        self._asked: set[str] = set()
        self._most = FIRST_LOOK
        self._fetch(names)

    def get(self, name: str) -> Task | None:
        if name not in self._asked:
            self._fetch(self._before(name))
        found = self._run.tasks.of(name)
        return max(found, key=lambda task: task.seq, default=None)

    def _before(self, name: str) -> list[str]:
        names, seen = [name], {name}
        for current in names:
            if len(names) >= self._most:
                break
            fresh = set(self._graph.inbound(current)) - self._asked - seen
            seen |= fresh
            names.extend(fresh)
        self._most *= 2
        return names

    def _fetch(self, names: Iterable[str]) -> None:
        wanted = set(names) - self._asked
        self._asked |= wanted
        if wanted and not self._run.is_new:
            rows = self._facts.tasks(self._run.id, names=wanted, latest=True)
            self._run.adopt(rows)
