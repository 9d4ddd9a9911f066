"""The variables of a branch: how they are kept, handed on, and meet again.

A context is a flat mapping of variable → value. A large value is stored once
per run and contexts hold ``{"$ref": id}`` in its place (a user's own mapping
of that form is always stored, so the form is ours). Versions count how often
a leaf was published along a branch (spec/engine.md § 2.10).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mistral.engine.core.ports import Facts
from mistral.engine.core.rows import same
from mistral.engine.core.run import Run, Task
from mistral.errors import WorkflowFault
from mistral.expressions.facts import View
from mistral.lang.specs import TaskSpec
from mistral.messages import Effect

REF: Final = "$ref"


@dataclass(slots=True)
class Case:
    """One decision in progress: the run, what may be asked, what to do then."""

    run: Run
    facts: Facts
    now: datetime
    effects: list[Effect] = field(default_factory=list)
    # Tasks that ended while the run was paused: their ``pause`` is dropped.
    resumed: set[str] = field(default_factory=set)
    # By task: its context, what it published, and both merged. A large value
    # that came of merging is stored once, however often it is asked for.
    united: dict[str, tuple[Any, Any, dict[str, Any]]] = field(default_factory=dict)

    def evaluate(self, tree: Any, view: View) -> Any:
        return self.facts.evaluate(tree, view)

    def spec_of(self, task: Task) -> TaskSpec:
        return self.run.spec.tasks[task.name]


def is_ref(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and REF in value


def merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """``low`` updated with ``high``, mappings recursively; a new mapping."""
    result = dict(low)
    for key, value in high.items():
        old = result.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def resolved(case: Case, value: Any, run_id: str | None = None) -> Any:
    """The value itself, fetched if it is a reference.

    Only what contexts and ``published`` hold may be given: anywhere else a
    mapping of that form is the user's.

    :param run_id: the run that the value belongs to, when it is another.
    """
    if not is_ref(value):
        return value
    id = value[REF]
    if run_id is not None and run_id != case.run.id:
        return case.facts.document(run_id, id)
    if id in case.run.documents:
        return case.run.documents[id]
    return case.facts.document(case.run.id, id)


class Held(Mapping[str, Any]):
    """A context with its large values, which are fetched when asked for."""

    def __init__(self, case: Case, context: Mapping[str, Any]) -> None:
        self._case = case
        self._context = context

    def __getitem__(self, key: str) -> Any:
        return resolved(self._case, self._context[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._context)

    def __len__(self) -> int:
        return len(self._context)

    def __contains__(self, key: object) -> bool:
        return key in self._context


def stored(case: Case, value: Any) -> Any:
    """The value, or a reference to it when it is large."""
    if isinstance(value, str):
        large = len(value) >= case.facts.rules.large_value
    elif isinstance(value, (dict, list)):
        large = is_ref(value) or size(value) >= case.facts.rules.large_value
    else:
        large = False
    if not large:
        return value
    id = case.run.new_id()
    case.run.documents[id] = value
    return {REF: id}


def size(value: Any) -> int:
    """Bytes of the value's JSON text.

    :raises WorkflowFault: it is nested so deeply that it has none.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise WorkflowFault("A value is nested too deeply to be stored") from None
    # A server that an action asked may answer with half a character.
    return len(text.encode(errors="surrogatepass"))


def check_size(case: Case, value: Any, kind: str, field: str) -> None:
    """:raises WorkflowFault: the value is above the field limit (§ 1.6.6)."""
    limit = case.facts.rules.field_limit
    if limit >= 0 and (found := size(value)) > limit:
        raise WorkflowFault(
            f"Field size limit exceeded [class={kind}, field={field}, "
            f"size={found // 1024}KB, limit={limit // 1024}KB]"
        )


def outbound(case: Case, task: Task) -> tuple[dict[str, Any], dict[str, int]]:
    """The context and versions that a task hands on."""
    context = task.in_context or {}
    versions = task.versions or {}
    published = task.published
    if not published:
        return context, versions
    if case.facts.rules.merge_strategy == "merge":
        known = case.united.get(task.id)
        if known is None or known[0] is not context or known[1] is not published:
            known = (context, published, _united(case, context, published))
            case.united[task.id] = known
        context = known[2]
    else:
        context = {**context, **published}
    versions = dict(versions)
    for path in task.published_versions or ():
        versions[path] = versions.get(path, 0) + 1
    return context, versions


def _united(
    case: Case, context: Mapping[str, Any], published: Mapping[str, Any]
) -> dict[str, Any]:
    """The context with what was published, mappings of one name merged."""
    result = dict(context)
    for key, value in published.items():
        old, new = resolved(case, context.get(key)), resolved(case, value)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            value = stored(case, merged(old, new))
        result[key] = value
    return result


def meet(case: Case, tasks: Iterable[Task]) -> tuple[dict[str, Any], dict[str, int]]:
    """The merge of the outbound contexts of several tasks (§ 22.3, Q54):
    the value published more often wins, a tie goes to the later completion."""
    order = sorted(tasks, key=lambda t: (t.finished_at or case.now, t.seq, t.name))
    context: dict[str, Any] = {}
    versions: dict[str, int] = {}
    for task in order:
        other, counts = outbound(case, task)
        if not context:
            context, versions = dict(other), dict(counts)
            continue
        if not case.facts.rules.versioning:
            context = merged(
                {k: resolved(case, v) for k, v in context.items()},
                {k: resolved(case, v) for k, v in other.items()},
            )
            continue
        for key, value in other.items():
            if key not in context:
                context[key] = value
            elif not same(context[key], value):
                met = _met(
                    key, resolved(case, context[key]), resolved(case, value),
                    versions, counts,
                )  # fmt: skip
                context[key] = stored(case, met)
        for path, count in counts.items():
            versions[path] = max(count, versions.get(path, 0))
    return context, versions


def _met(
    path: str, a: Any, b: Any, old: Mapping[str, int], new: Mapping[str, int]
) -> Any:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        result = dict(a)
        for key, value in b.items():
            if key in result:
                result[key] = _met(f"{path}.{key}", result[key], value, old, new)
            else:
                result[key] = value
        return result
    if same(a, b):
        return a
    below = isinstance(a, Mapping) or isinstance(b, Mapping)
    return b if _count(new, path, below) >= _count(old, path, below) else a


def _count(versions: Mapping[str, int], path: str, below: bool) -> int:
    """The version of a leaf, or of the nearest value around it that has one.

    :param below: a mapping meets something else, so one of the two took the
        place of the other: what was published inside counts, too (ENG-103).
    """
    around = path
    while around not in versions and "." in around:
        around = around.rpartition(".")[0]
    count = versions.get(around, 0)
    if below:
        inside = (n for p, n in versions.items() if p.startswith(f"{path}."))
        count += max(inside, default=0)
    return count
