"""Who leads to whom: the shape of a workflow without its content.

In a direct workflow task A leads to B when some effective ``on-*`` clause of
A names B, whatever its condition; engine commands lead nowhere, not even to a
task of the same name (Q06). In a reverse workflow A requires B.

A ``Graph`` is made once per spec (``graph_of``) in one pass over the edges;
what only some callers need is found when it is first asked for. Everything is
in the order of the definition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final

from mistral.lang.specs import TaskSpec, WorkflowSpec


class Graph:
    """The graph of one workflow.

    :raises KeyError: from every method, for a name that is no task.
    """

    def __init__(self, tasks: Mapping[str, TaskSpec], *, reverse: bool) -> None:
        self._tasks: Final = tasks
        self._reverse: Final = reverse
        self._outbound: Final = {
            name: () if reverse else _targets(task, tasks)
            for name, task in tasks.items()
        }
        inbound: dict[str, list[str]] = {name: [] for name in tasks}
        for name, targets in self._outbound.items():
            for target in targets:
                inbound[target].append(name)
        self._inbound: Final = {name: tuple(found) for name, found in inbound.items()}
        self._joins_after: dict[str, tuple[str, ...]] = {}
        self._upstream: dict[str, frozenset[str]] = {}

    @cached_property
    def start_tasks(self) -> tuple[str, ...]:
        """Tasks that nothing leads to (§ 8.3); none in a reverse workflow."""
        if self._reverse:
            return ()
        return tuple(name for name in self._tasks if not self._inbound[name])

    def inbound(self, name: str) -> tuple[str, ...]:
        """Tasks that lead to this one, each once (§ 16.1)."""
        return self._inbound[name]

    def outbound(self, name: str) -> tuple[str, ...]:
        """Tasks that this one leads to, each once."""
        return self._outbound[name]

    def joins_after(self, name: str) -> tuple[str, ...]:
        """The joins among the tasks that this one leads to."""
        if name not in self._joins_after:
            self._joins_after[name] = tuple(
                target
                for target in self._outbound[name]
                if self._tasks[target].join is not None
            )
        return self._joins_after[name]

    def upstream(self, name: str) -> frozenset[str]:
        """Every task from which a path leads to this one; itself only if it
        lies on a loop."""
        if name not in self._upstream:
            self._upstream[name] = frozenset(_reachable([name], self._inbound))
        return self._upstream[name]

    @cached_property
    def on_loops(self) -> frozenset[str]:
        """Tasks from which a path leads back to themselves."""
        found: set[str] = set()
        placed: set[str] = set()
        for start in reversed(_by_completion(self._tasks, self._outbound)):
            if start in placed:
                continue
            # all of one strongly connected component: who reaches the start of it
            component, waiting = {start}, [start]
            while waiting:
                for name in self._inbound[waiting.pop()]:
                    if name not in component and name not in placed:
                        component.add(name)
                        waiting.append(name)
            placed |= component
            if len(component) > 1 or start in self._outbound[start]:
                found |= component
        return frozenset(found)

    @cached_property
    def unreachable(self) -> tuple[str, ...]:
        """Tasks that no path from a start task leads to; they never run."""
        if self._reverse:
            return ()
        reached = _reachable(self.start_tasks, self._outbound)
        reached.update(self.start_tasks)
        return tuple(name for name in self._tasks if name not in reached)

    def requirements(self, name: str) -> tuple[str, ...]:
        """What a task of a reverse workflow needs, directly or not: each after
        its own requirements, the task itself left out."""
        done: dict[str, None] = {}
        opened = {name}
        waiting = [(name, iter(self._tasks[name].requires))]
        while waiting:
            current, rest = waiting[-1]
            required = next((each for each in rest if each not in opened), None)
            if required is None:
                waiting.pop()
                done[current] = None
            else:
                opened.add(required)
                waiting.append((required, iter(self._tasks[required].requires)))
        del done[name]
        return tuple(done)

    @cached_property
    def requirement_cycle(self) -> tuple[str, ...]:
        """Tasks that require each other in a circle, the first one repeated at
        the end; empty if there is none (Q37)."""
        closed: set[str] = set()
        for start in self._tasks:
            if start in closed:
                continue
            trail = {start: iter(self._tasks[start].requires)}
            while trail:
                current = next(reversed(trail))
                for required in trail[current]:
                    if required in trail:
                        names = list(trail)
                        return (*names[names.index(required) :], required)
                    if required in self._tasks and required not in closed:
                        trail[required] = iter(self._tasks[required].requires)
                        break
                else:
                    closed.add(current)
                    del trail[current]
        return ()


def _targets(task: TaskSpec, tasks: Mapping[str, TaskSpec]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for clause in (task.on_success, task.on_error, task.on_complete, task.on_skip):
        for edge in clause.edges:
            if not edge.is_command and edge.target in tasks:
                found[edge.target] = None
    return tuple(found)


def _by_completion(
    names: Iterable[str], neighbours: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Depth first, each name after all that it leads to (but on loops)."""
    opened: set[str] = set()
    done: list[str] = []
    for start in names:
        if start in opened:
            continue
        opened.add(start)
        trail = [(start, iter(neighbours[start]))]
        while trail:
            current, rest = trail[-1]
            following = next((name for name in rest if name not in opened), None)
            if following is None:
                done.append(current)
                trail.pop()
            else:
                opened.add(following)
                trail.append((following, iter(neighbours[following])))
    return done


def _reachable(
    starts: Iterable[str], neighbours: Mapping[str, tuple[str, ...]]
) -> set[str]:
    """What paths of at least one step lead to."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        for name in neighbours[waiting.pop()]:
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def graph_of(spec: WorkflowSpec) -> Graph:
    """The graph of a spec, made at the first call and kept with it."""
    kept = spec.derived.get("graph")
    if not isinstance(kept, Graph):
        kept = Graph(spec.tasks, reverse=spec.type == "reverse")
        spec.derived["graph"] = kept
    return kept
