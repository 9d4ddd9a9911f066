"""Where branches meet: the merge of their contexts (§ 2.10, LANG § 22.3, Q54).

Variables that all of them have from the same layers are not looked at: only what a
branch has of its own, its top and layers that the others do not have, and the
variables below that it published over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import Any

from mistral.engine.core.contexts import (
    Context,
    Counts,
    Entry,
    Layers,
    below,
    by_leaf,
    flat,
    outbound,
)
from mistral.engine.core.data import Case, merged, resolved, stored
from mistral.engine.core.rows import same
from mistral.engine.core.run import Task

Place = tuple[int, Entry]
"""Which of the contexts has the variable, and how."""


def meet(case: Case, tasks: Iterable[Task]) -> Context:
    """The merge of the outbound contexts of several tasks: the value published more
    often wins, a tie goes to the later completion."""
    order = sorted(tasks, key=lambda t: (t.finished_at or case.now, t.seq, t.name))
    contexts = [context for context in (outbound(case, t) for t in order) if context]
    if len(contexts) < 2:
        return contexts[0] if contexts else Context()
    return _Meeting(case, contexts).result()


class _Meeting:
    """Contexts in the order of their completion.

    What they all have below is looked up for single variables only. Contexts with the
    same layers above that are a group, whose variables are taken together.
    """

    def __init__(self, case: Case, contexts: Sequence[Context]) -> None:
        self._case = case
        self._contexts = contexts
        self._common = _common([context.layers for context in contexts])
        common = len(self._common)
        self._members: dict[Any, list[int]] = {}
        for place, context in enumerate(contexts):
            self._members.setdefault(context.layers[common:], []).append(place)
        self._groups = {own: flat(case, own) for own in self._members}
        self._tops: dict[str, list[Place]] = {}
        for place, context in enumerate(contexts):
            for name, value in context.values.items():
                found = value, context.counts.get(name, 0)
                self._tops.setdefault(name, []).append((place, found))

    def result(self) -> Context:
        every: list[Iterable[str]] = [*self._groups.values(), self._tops]
        names = dict.fromkeys(chain.from_iterable(every))
        values: dict[str, Any] = {}
        counts: dict[str, Counts] = {}
        for name in names:
            values[name], counts[name] = self._met(list(self._found(name)))
        return Context(values, counts, self._common)

    def _found(self, name: str) -> Iterator[Entry]:
        """The variable as the contexts have it, in their order. Many may carry what
        few have published over: that is said where it comes first and last, once
        more in between would change nothing."""
        places: list[Place] = list(self._tops.get(name, ()))
        above = {place for place, _ in places}
        for own, group in self._groups.items():
            if name in group:
                members = self._members[own]
                places += _carried(group[name], members, above)
                above.update(members)
        if len(above) < len(self._contexts):
            found = below(self._case, self._common, name)
            if found is not None:
                everybody = range(len(self._contexts))
                places += _carried(found, everybody, above)
        places.sort(key=lambda each: each[0])
        return (found for _, found in places)

    def _met(self, found: Sequence[Entry]) -> tuple[Any, Counts]:
        """One value of several."""
        case = self._case
        value, counts = found[0]
        united: list[Any] = []
        known = dict(by_leaf(counts))
        for other, more in found[1:]:
            theirs = by_leaf(more)
            if united or not same(value, other):
                old = united.pop() if united else resolved(case, value)
                new = resolved(case, other)
                if case.facts.rules.versioning:
                    united.append(_newer("", old, new, known, theirs))
                else:
                    united.append(_later(old, new))
            for path, count in theirs.items():
                known[path] = max(count, known.get(path, 0))
        if united:
            value = stored(case, united[0])
        return value, known[""] if known.keys() == {""} else known


def _common(every: Sequence[Layers]) -> Layers:
    """What all of them begin with."""
    length = 0
    for level in zip(*set(every), strict=False):
        if len(set(level)) > 1:
            break
        length += 1
    return every[0][:length]


def _carried(entry: Entry, members: Sequence[int], above: Set[int]) -> Iterator[Place]:
    """The first and the last of the members that have nothing above it."""
    first = next((place for place in members if place not in above), None)
    if first is None:
        return
    yield first, entry
    last = next(place for place in reversed(members) if place not in above)
    if last != first:
        yield last, entry


def _newer(
    path: str, a: Any, b: Any, old: Mapping[str, int], new: Mapping[str, int]
) -> Any:
    """Of two values the one that was published more often, leaf by leaf."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        result = dict(a)
        for key, value in b.items():
            if key in result:
                result[key] = _newer(f"{path}.{key}", result[key], value, old, new)
            else:
                result[key] = value
        return result
    if same(a, b):
        return a
    below = isinstance(a, Mapping) or isinstance(b, Mapping)
    return b if _count(new, path, below) >= _count(old, path, below) else a


def _later(a: Any, b: Any) -> Any:
    both = isinstance(a, Mapping) and isinstance(b, Mapping)
    return merged(a, b) if both else b


def _count(counts: Mapping[str, int], path: str, below: bool) -> int:
    """How often a leaf was published, or the nearest value around it that was.

    :param below: a mapping meets something else, so one of the two took the
        place of the other: what was published inside counts, too (ENG-103).
    """
    around = path
    while around not in counts and around:
        around = around.rpartition(".")[0]
    count = counts.get(around, 0)
    if below:
        inside = (n for p, n in counts.items() if p.startswith(f"{path}."))
        count += max(inside, default=0)
    return count
