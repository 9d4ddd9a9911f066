"""with-items: which items there are, and which may be opened now (§ 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mistral.engine.core.data import Case, document, keep
from mistral.engine.core.run import Task
from mistral.engine.core.views import view
from mistral.expressions.faults import wrong_value
from mistral.lang.shapes import kind_of
from mistral.lang.specs import TaskSpec


def collect(case: Case, task: Task, spec: TaskSpec) -> None:
    """Evaluate the collections for a launch and keep them with the run. How many
    items there are is settled by the first launch, ``total``; what the
    collections have beyond is left out (LANG § 12.2).

    :raises WorkflowFault: not iterable, of different lengths, or shorter than
        they were.
    """
    seen = view(case, task)
    lists: dict[str, list[Any]] = {}
    for name, tree in (spec.with_items or {}).items():
        value = case.evaluate(tree, seen, "with-items")
        if not isinstance(value, Iterable):
            sentence = (
                f"Wrong input format for with-items of task '{spec.name}': Iterable "
                f"type is expected for each value, '{name}' is {kind_of(value)}"
            )
            raise wrong_value(sentence, tree, "with-items")
        lists[name] = list(value)
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        sentence = (
            f"Wrong input format for with-items of task '{spec.name}': "
            f"All arrays must have the same length, found {lengths}"
        )
        first, *others = lengths
        other = next(name for name in others if lengths[name] != lengths[first])
        raise wrong_value(sentence, (spec.with_items or {})[other], "with-items")
    length = next(iter(lengths.values()), 0)
    if task.total is None:
        task.total = length
    elif length < task.total:
        sentence = (
            f"Wrong input format for with-items of task '{spec.name}': the task began "
            f"with {task.total} items, found {length}"
        )
        tree = next(iter((spec.with_items or {}).values()))
        raise wrong_value(sentence, tree, "with-items")
    lists = {name: values[: task.total] for name, values in lists.items()}
    task.items = keep(case, lists)


def at(case: Case, task: Task, index: int) -> Mapping[str, Any]:
    """The loop variables of one item."""
    assert task.items is not None
    lists: Mapping[str, list[Any]] = document(case, task.items)
    return {name: values[index] for name, values in lists.items()}


def queue_length(task: Task) -> int:
    """Items that this launch runs in all."""
    return len(task.chosen) if task.chosen is not None else int(task.total or 0)


def has_more(task: Task) -> bool:
    return task.cursor < queue_length(task)


def next_index(task: Task) -> int:
    """Take the next item."""
    position = task.cursor
    task.cursor += 1
    return task.chosen[position] if task.chosen is not None else position


def has_room(task: Task) -> bool:
    limit = (task.runtime_context or {}).get("concurrency")
    return not limit or task.open < limit


def show(task: Task) -> None:
    """Keep ``runtime_context.with_items`` as the API shows it (§ 1.9)."""
    limit = (task.runtime_context or {}).get("concurrency")
    capacity = None if not limit else max(0, limit - task.open)
    shown = {"capacity": capacity, "count": task.total}
    context = task.runtime_context or {}
    if context.get("with_items") != shown:
        task.runtime_context = {**context, "with_items": shown}
