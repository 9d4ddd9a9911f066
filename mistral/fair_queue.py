"""Whose turn it is, where more waits than can be done at once.

Projects take turns, so that what one of them piles up keeps no other waiting. Within a
project the executions of the highest priority go first, and these take turns, too: in
each the oldest is the next. A lower priority is passed over at most ``PATIENCE`` times
in a row, then it has a turn: nothing starves.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

PATIENCE: Final = 8

LOWEST: Final = -10
HIGHEST: Final = 10
"""Priorities of executions; who says nothing has 0."""

LATELY: Final = 5.0
"""Seconds for which it counts what a project had to do."""

LOOK_SECONDS: Final = 0.1

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

    def projects(self) -> Iterator[str]:
        """Whose items wait, in the order of their turns."""
        return iter(self._projects)

    def take_of(self, name: str) -> T:
        """The next one of this project, out of turn.

        :raises KeyError: nothing of it waits.
        """
        self._projects.move_to_end(name, last=False)
        return self.take()

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


class Traffic:
    """Who had how much to do lately; not safe for threads.

    Where one project has most of it the others wait for what it has in hand: then less
    is taken in hand at once. Among projects that are alike nobody gains by that.

    :param seconds: how long something counts, about.
    """

    def __init__(self, seconds: float = LATELY) -> None:
        self._seconds = seconds
        self._since = -seconds
        self._now: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._loud: str | None = None
        self._looked_at = -seconds

    def saw(self, project: str, now: float, count: int = 1) -> None:
        """It had something to do; nobody's (an empty id) does not count.

        :param now: monotonic seconds.
        """
        self._roll(now)
        if project:
            self._now[project] += count

    def loud(self, now: float) -> str | None:
        """The one of several projects that had more than half; None: there is none.
        That is looked at ten times a second: there may be many projects."""
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._roll(now)
            both = self._now + self._before
            [(project, count)] = both.most_common(1) or [("", 0)]
            alone = len(both) < 2
            self._loud = None if alone or 2 * count <= both.total() else project
        return self._loud

    def _roll(self, now: float) -> None:
        if now - self._since < self._seconds:
            return
        recent = now - self._since < 2 * self._seconds
        self._before = self._now if recent else Counter()
        self._now = Counter()
        self._since = now
