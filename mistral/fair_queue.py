"""Whose turn it is, where more waits than can be done at once.

Projects take turns, so that what one of them piles up keeps no other waiting. Within a
project the executions of the highest priority go first, and these take turns, too: in
each the oldest is the next. A lower priority is passed over at most ``PATIENCE`` times
in a row, then it has a turn: nothing starves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

PATIENCE: Final = 8

LOWEST: Final = -10
HIGHEST: Final = 10
"""Priorities of executions; who says nothing has 0."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lane:
    """Where something waits.

    :param project: id of the project that it is done for.
    :param execution: id of the root execution; of a stand-alone action its own.
    """

    project: str = ""
    execution: str = ""
    priority: int = 0


class FairQueue(Generic[T]):
    """Not safe for threads: the owner has a lock. Each operation costs the same
    however much waits."""

    def __init__(self) -> None:
        self._projects: OrderedDict[str, _Project[T]] = OrderedDict()
        self._lanes: dict[Hashable, Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._lanes

    def add(self, key: Hashable, item: T, lane: Lane) -> None:
        """Let it wait behind all that waits in its lane; what has the same key is
        replaced and keeps its place."""
        known = self._lanes.get(key)
        if known is not None:
            self._projects[known.project].replace(key, item, known)
            return
        self._lanes[key] = lane
        project = self._projects.get(lane.project)
        if project is None:
            project = self._projects[lane.project] = _Project()
        project.add(key, item, lane)

    def add_first(self, key: Hashable, item: T, lane: Lane) -> None:
        """Let it be the next one of its priority, and its project the next one."""
        self.discard(key)
        self.add(key, item, lane)
        self._projects[lane.project].to_front(key, lane)
        self._projects.move_to_end(lane.project, last=False)

    def take(self) -> T:
        """The next one.

        :raises IndexError: nothing waits.
        """
        if not self._projects:
            raise IndexError("nothing waits")
        name, project = self._projects.popitem(last=False)
        key, item = project.take()
        del self._lanes[key]
        if project.size:
            self._projects[name] = project
        return item

    def discard(self, key: Hashable) -> None:
        """It waits no more, if it did."""
        lane = self._lanes.pop(key, None)
        if lane is None:
            return
        project = self._projects[lane.project]
        project.discard(key, lane)
        if not project.size:
            del self._projects[lane.project]

    def drop_last(self) -> None:
        """Forget what the project with the most would get last, about: when there is
        no room, it is this project's fault.

        :raises IndexError: nothing waits.
        """
        if not self._projects:
            raise IndexError("nothing waits")
        largest = max(self._projects.values(), key=lambda project: project.size)
        self.discard(largest.last())


class _Project(Generic[T]):
    """What waits for one project: executions by priority."""

    def __init__(self) -> None:
        self.size = 0
        self._levels: dict[int, OrderedDict[str, OrderedDict[Hashable, T]]] = {}
        self._passed: dict[int, int] = {}

    def add(self, key: Hashable, item: T, lane: Lane) -> None:
        level = self._levels.setdefault(lane.priority, OrderedDict())
        level.setdefault(lane.execution, OrderedDict())[key] = item
        self.size += 1

    def replace(self, key: Hashable, item: T, lane: Lane) -> None:
        self._levels[lane.priority][lane.execution][key] = item

    def to_front(self, key: Hashable, lane: Lane) -> None:
        level = self._levels[lane.priority]
        level[lane.execution].move_to_end(key, last=False)
        level.move_to_end(lane.execution, last=False)

    def take(self) -> tuple[Hashable, T]:
        priority = self._next_level()
        level = self._levels[priority]
        execution, items = level.popitem(last=False)
        key, item = items.popitem(last=False)
        if items:
            level[execution] = items
        self._removed_from(priority)
        return key, item

    def discard(self, key: Hashable, lane: Lane) -> None:
        level = self._levels[lane.priority]
        items = level[lane.execution]
        del items[key]
        if not items:
            del level[lane.execution]
        self._removed_from(lane.priority)

    def last(self) -> Hashable:
        level = self._levels[min(self._levels)]
        return next(reversed(level[next(reversed(level))]))

    def _next_level(self) -> int:
        waiting = sorted(self._levels, reverse=True)
        chosen = waiting[0]
        for level in waiting[1:]:
            if self._passed.get(level, 0) >= PATIENCE:
                chosen = level
                break
        for level in waiting:
            if level < chosen:
                self._passed[level] = self._passed.get(level, 0) + 1
        self._passed[chosen] = 0
        return chosen

    def _removed_from(self, priority: int) -> None:
        self.size -= 1
        if not self._levels[priority]:
            del self._levels[priority]
            self._passed.pop(priority, None)
