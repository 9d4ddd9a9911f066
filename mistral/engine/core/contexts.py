"""The variables of a branch, in layers that executions share.

A task sees what all tasks before it have published. A copy of all that in the row
of each task would cost the square of their number. So a row holds the newest
variables alone, its *top*, and names the *layers* below it: documents of the run,
written once and never changed. A top that has grown large becomes a layer, and a
layer that is not much larger than the one above it is united with that one. So
there are few layers (the logarithm of the number of variables), a variable is
written a few times however long the run is, and all tasks that follow one task
name the same layers. Decision 0020.

With each variable goes how often its leaves were published along the branch: what
was published more often wins where branches meet (spec/engine.md § 2.10).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from mistral.engine.core.data import (
    Case,
    document,
    is_ref,
    keep,
    merged,
    resolved,
    stored,
)
from mistral.engine.core.run import Task

Counts = int | dict[str, int]
"""How often a variable was published: as a whole, or by leaf (``.a.b``; ``""`` is
the variable itself). JSON."""

Entry = Sequence[Any]
"""``[value or reference, counts]``: what a layer holds of a variable."""

Layers = tuple[tuple[str, int], ...]
"""(document id, number of variables) of each, the oldest first."""

WIDE: Final = 8
"""From so many tasks that follow one, they share what each alone would copy."""

GROWTH: Final = 2
"""A layer has at least so many times the variables of the next one above it."""

GROWTH_OF_SHARED: Final = 4
"""The same below a fork: that leaves room, so that not each branch unites the same
layers anew."""

OWN_LEAVES: Final = 1_000
"""A variable that has had more leaves forgets the counts of those that are gone."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a task sees of its branch.

    :param values: the top: name → value, or reference to a large one.
    :param counts: of the same names.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Counts] = field(default_factory=dict)
    layers: Layers = ()

    def __bool__(self) -> bool:
        return bool(self.values or self.layers)


def inbound(task: Task) -> Context:
    """What the task was given."""
    layers = tuple((id, names) for id, names in task.layers or ())
    return Context(task.in_context or {}, task.versions or {}, layers)


def columns(context: Context) -> dict[str, Any]:
    """The fields of a task that keep a context."""
    layers = [list(layer) for layer in context.layers] or None
    return {
        "in_context": context.values,
        "versions": context.counts,
        "layers": layers,
    }


def give(task: Task, context: Context) -> None:
    for name, value in columns(context).items():
        setattr(task, name, value)


def layer(case: Case, id: str) -> Mapping[str, Entry]:
    """A layer's variables."""
    variables: Mapping[str, Entry] = document(case, id)
    return variables


def entry(case: Case, context: Context, name: str) -> Entry | None:
    """The variable as it is kept; None: there is none."""
    if name in context.values:
        return context.values[name], context.counts.get(name, 0)
    return below(case, context.layers, name)


def below(case: Case, layers: Layers, name: str) -> Entry | None:
    """The same, of layers."""
    for id, _ in reversed(layers):
        variables = layer(case, id)
        if name in variables:
            return variables[name]
    return None


def flat(case: Case, layers: Iterable[tuple[str, int]]) -> dict[str, Entry]:
    """Several layers as one."""
    found: dict[str, Entry] = {}
    for id, _ in layers:
        found.update(layer(case, id))
    return found


class Held(Mapping[str, Any]):
    """A context as expressions see it: nothing is fetched before it is asked for."""

    def __init__(self, case: Case, context: Context) -> None:
        self._case = case
        self._context = context

    def __getitem__(self, key: str) -> Any:
        found = entry(self._case, self._context, key)
        if found is None:
            raise KeyError(key)
        return resolved(self._case, found[0])

    def __iter__(self) -> Iterator[str]:
        return iter({**flat(self._case, self._context.layers), **self._context.values})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return bool(self._context)

    def __contains__(self, key: object) -> bool:
        name: Any = key
        return entry(self._case, self._context, name) is not None


# -- What a task hands on ------------------------------------------------------


def outbound(case: Case, task: Task) -> Context:
    """The inbound context updated with what the task published (§ 2.10)."""
    if not task.published:
        return inbound(task)
    source = (task.in_context, task.layers, task.published)
    known = case.outbound.get(task.id)
    if known is None or any(a is not b for a, b in zip(known[0], source, strict=True)):
        known = case.outbound[task.id] = (source, _published_over(case, task))
    context: Context = known[1]
    return context


def _published_over(case: Case, task: Task) -> Context:
    context = inbound(task)
    values, counts = dict(context.values), dict(context.counts)
    leaves = task.published_versions or {}
    unite = case.facts.rules.merge_strategy == "merge"
    for name, value in (task.published or {}).items():
        old, count = entry(case, context, name) or (None, 0)
        if unite:
            before, new = resolved(case, old), resolved(case, value)
            if isinstance(before, Mapping) and isinstance(new, Mapping):
                value = stored(case, merged(before, new))
        values[name] = value
        counts[name] = _raised(count, leaves.get(name), forget=not unite)
    return Context(values, counts, context.layers)


def _raised(old: Counts, leaves: Sequence[str] | None, forget: bool) -> Counts:
    """The counts after one more publication.

    :param leaves: paths that it had; None: it counts as a whole.
    :param forget: leaves that are not published any more are gone.
    """
    if leaves is None and isinstance(old, int):
        return old + 1
    counts = dict(by_leaf(old))
    paths = [""] if leaves is None else leaves
    for path in paths:
        counts[path] = counts.get(path, 0) + 1
    if forget and len(counts) > OWN_LEAVES:
        counts = {path: counts[path] for path in paths}
    return counts


def by_leaf(counts: Counts) -> Mapping[str, int]:
    """Path → how often published."""
    if isinstance(counts, int):
        return {"": counts} if counts else {}
    return counts


# -- Layers --------------------------------------------------------------------


def shared(case: Case, context: Context, readers: int = 1) -> Context:
    """The same variables, with a top that is small enough to be in every row that
    keeps it.

    :param readers: how many tasks it is for.
    """
    wide = readers >= WIDE
    growth = GROWTH_OF_SHARED if readers > 1 else GROWTH
    layers = list(context.layers)
    if _is_large(case, context, wide):
        context, newest = Context(), _as_layer(case, context)
    elif _crowded([names for _, names in layers], growth) is not None:
        newest = dict(layer(case, layers.pop()[0]))
    else:
        return context
    while True:
        place = _crowded([*(names for _, names in layers), len(newest)], growth)
        if place is None:
            break
        newest = {**flat(case, layers[place:]), **newest}
        del layers[place:]
    layers.append((keep(case, newest), len(newest)))
    return Context(context.values, context.counts, tuple(layers))


def _crowded(sizes: Sequence[int], growth: int) -> int | None:
    """Place of the first layer that is too small for the one above it."""
    for place, (size, above) in enumerate(pairwise(sizes)):
        if size < growth * above:
            return place
    return None


def _is_large(case: Case, context: Context, wide: bool) -> bool:
    rules = case.facts.rules
    share = WIDE if wide else 1
    if len(context.values) > rules.own_variables // share:
        return True
    most = rules.large_value // share
    for kept in (context.values, context.counts):
        most -= _weight(kept, most)
        if most < 0:
            return True
    return False


def _weight(value: Any, most: int) -> int:
    """About the characters of its JSON text; counting ends above ``most``."""
    if isinstance(value, str):
        return len(value)
    parts: Iterable[Any]
    weight = 2
    if isinstance(value, Mapping):
        weight += sum(map(len, value)) + 4 * len(value)
        parts = value.values()
    elif isinstance(value, list | tuple):
        weight += len(value)
        parts = value
    else:
        return 4
    for part in parts:
        if weight > most:
            break
        weight += _weight(part, most - weight)
    return weight


def _as_layer(case: Case, context: Context) -> dict[str, Entry]:
    # A layer is written anew when it is united with another: what is not small is
    # better stored once.
    most = case.facts.rules.large_value // WIDE
    found: dict[str, Entry] = {}
    for name, value in context.values.items():
        kept = value if is_ref(value) else stored(case, value, most)
        found[name] = [kept, context.counts.get(name, 0)]
    return found
