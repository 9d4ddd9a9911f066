"""What expressions see, what tasks publish, and how branches meet again.

A context is a flat mapping of variable → value. A large value is stored once
per run and contexts hold ``{"$ref": id}`` in its place (a user's own mapping
of that form is always stored, so the form is ours). Versions count how often
a leaf was published along a branch (spec/engine.md § 2.10).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mistral.engine.core.run import Facts, Run, Task
from mistral.errors import ExpressionFault, WorkflowFault
from mistral.expressions.facts import View
from mistral.lang.specs import Publish, TaskSpec
from mistral.messages import Effect, State

REF: Final = "$ref"

LEAVES: Final = 200
"""A value with more leaves is versioned as a whole: a version map must not
grow with the data."""


@dataclass(slots=True)
class Case:
    """One decision in progress: the run, what may be asked, what to do then."""

    run: Run
    facts: Facts
    now: datetime
    effects: list[Effect] = field(default_factory=list)
    # Tasks that ended while the run was paused: their ``pause`` is dropped.
    resumed: set[str] = field(default_factory=set)

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


class Layers(Mapping[str, Any]):
    """Several mappings as one, first hit wins; references are followed."""

    def __init__(self, case: Case, layers: Sequence[Mapping[str, Any]]) -> None:
        self._case = case
        self._layers = [layer for layer in layers if layer]
        self._deep = case.facts.rules.merge_strategy == "merge"

    def __getitem__(self, key: str) -> Any:
        hits = [resolved(self._case, x[key]) for x in self._layers if key in x]
        if not hits:
            raise KeyError(key)
        value = hits[0]
        if self._deep and isinstance(value, Mapping):
            for low in hits[1:]:
                if isinstance(low, Mapping):
                    value = merged(low, value)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key for layer in self._layers for key in layer))

    def __len__(self) -> int:
        return len({key for layer in self._layers for key in layer})

    def __contains__(self, key: object) -> bool:
        return any(key in layer for layer in self._layers)


def resolved(case: Case, value: Any) -> Any:
    """The value itself, fetched if it is a reference."""
    if not is_ref(value):
        return value
    body = case.run.documents.get(value[REF])
    return case.facts.document(case.run.id, value[REF]) if body is None else body


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
    """Bytes of the value's JSON text."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
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


# -- Views --------------------------------------------------------------------


def env_of(case: Case) -> Mapping[str, Any]:
    """The environment of the root run, with later updates of it (ENG-114)."""
    run = case.run
    if run.root_execution_id is None:
        return (run.params or {}).get("env") or {}
    header = case.facts.header(run.root_execution_id)
    return ((header["params"] or {}).get("env") or {}) if header else {}


def run_layers(case: Case) -> list[Mapping[str, Any]]:
    return [case.run.context or {}, case.run.input or {}]


def view(
    case: Case,
    task: Task | None = None,
    *,
    extra: Mapping[str, Any] | None = None,
    branch: Mapping[str, Any] | None = None,
    with_input: bool = True,
    first: Mapping[str, Any] | None = None,
) -> View:
    """What an expression of this task (or of the run) sees.

    :param extra: item variables, above the branch (Q23).
    :param branch: instead of the task's inbound context.
    :param first: above everything, for ``target`` and ad-hoc inputs.
    """
    fixed: dict[str, Any] = {"__env": env_of(case)}
    context = case.run.context or {}
    for name in ("__execution", "openstack"):
        if name in context:
            fixed[name] = context[name]
    if task is not None:
        fixed["__task_execution"] = {"id": task.id, "name": task.name}
        if branch is None:
            branch = task.in_context or {}
    layers = [first or {}, fixed, extra or {}, branch or {}, *run_layers(case)]
    if not with_input:
        layers.pop()
    return View(Layers(case, layers), Lookups(case, task))


class Lookups:
    """The functions of expressions, bound to one run and task."""

    def __init__(self, case: Case, task: Task | None) -> None:
        self._case = case
        self._task = task

    def env(self) -> Mapping[str, Any]:
        return env_of(self._case)

    def execution(self) -> Mapping[str, Any]:
        run = self._case.run
        return {
            "id": run.id,
            "name": run.workflow_name,
            "spec": run.spec.body,
            "input": run.input,
            "params": run.params,
            "created_at": stamp(run.created_at),
            "updated_at": stamp(run.updated_at),
            "root_execution_id": run.root_execution_id,
        }

    def executions(
        self,
        id: str | None = None,
        root_execution_id: str | None = None,
        state: str | None = None,
        from_time: datetime | None = None,
        to_time: datetime | None = None,
    ) -> Sequence[Mapping[str, Any]]:
        rows = self._case.facts.executions(
            self._case.run.project_id,
            id=id,
            root_execution_id=root_execution_id,
            state=state,
            from_time=from_time,
            to_time=to_time,
        )
        names = (
            "id", "workflow_name", "input", "params", "state", "state_info",
            "output", "root_execution_id",
        )  # fmt: skip
        return [
            {
                **{name: row[name] for name in names},
                "name": row["workflow_name"],
                "created_at": stamp(row["created_at"]),
                "updated_at": stamp(row["updated_at"]),
            }
            for row in rows
        ]

    def task(self, name: str | None) -> Mapping[str, Any] | None:
        found = self._task
        if name is not None and (found is None or found.name != name):
            found = latest(self._case, name)
        return None if found is None else shape(self._case, found)

    def tasks(
        self,
        workflow_execution_id: str | None = None,
        recursive: bool = False,
        state: str | None = None,
        flat: bool = False,
    ) -> Sequence[Mapping[str, Any]]:
        case = self._case
        ids = [workflow_execution_id or case.run.id]
        if recursive:
            rows = case.facts.executions(case.run.project_id, root_execution_id=ids[0])
            ids.extend(row["id"] for row in rows)
        found: list[Task] = []
        for run_id in ids:
            if run_id == case.run.id:
                tasks = case.run.adopt(case.facts.tasks(run_id))
                tasks = list(
                    {t.id: t for t in (*tasks, *case.run.tasks.values())}.values()
                )
            else:
                header = case.facts.header(run_id)
                if header is None or header["project_id"] != case.run.project_id:
                    continue
                tasks = [Task.from_row(row) for row in case.facts.tasks(run_id)]
            found.extend(t for t in tasks if state is None or t.state == state)
        if flat:
            found = [t for t in found if t.type == "ACTION" or not t.open]
        found.sort(key=lambda t: (t.created_at, t.seq))
        return [shape(case, task) for task in found]

    def global_variable(self, name: str) -> Any:
        return (self._case.run.context or {}).get(name)

    def uuid(self) -> str:
        return self._case.facts.uuid()

    def now(self) -> datetime:
        return self._case.now


def stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def shape(case: Case, task: Task) -> dict[str, Any]:
    """``task()`` of spec/language.md § 23.1."""
    mine = task.workflow_execution_id == case.run.id
    spec = case.run.spec.tasks.get(task.name) if mine else None
    return {
        "id": task.id,
        "name": task.name,
        "spec": dict(spec.body) if spec else {},
        "state": task.state,
        "state_info": task.state_info,
        "result": result(case, task),
        "published": {k: resolved(case, v) for k, v in (task.published or {}).items()}
        if mine
        else task.published,
        "type": task.type,
        "workflow_execution_id": task.workflow_execution_id,
        "created_at": stamp(task.created_at),
        "updated_at": stamp(task.updated_at),
    }


def latest(case: Case, name: str) -> Task | None:
    """The latest execution of a task (Q50)."""
    if name not in case.run.spec.tasks:
        return None
    if not case.run.is_new:
        case.run.adopt(case.facts.tasks(case.run.id, names=[name]))
    found = [task for task in case.run.tasks.values() if task.name == name]
    return max(found, key=lambda task: task.seq, default=None)


def result(case: Case, task: Task) -> Any:
    """The task's result (§ 1.6.5)."""
    values = child_results(case, task)
    if task.total is not None:
        return values
    return values[0] if len(values) == 1 else values


def child_results(case: Case, task: Task) -> list[Any]:
    run = case.run
    if task.workflow_execution_id != run.id:
        run = Run(id=task.workflow_execution_id)
    if task.type == "WORKFLOW":
        if task.is_new:
            return []
        newest: dict[int, Mapping[str, Any]] = {}
        for row in case.facts.children([task.id]):
            parent = row["internals"].get("parent") or {}
            index = parent.get("index", 0)
            old = newest.get(index)
            if old is None or attempt_of(old) < attempt_of(row):
                newest[index] = row
        return [row["output"] for _, row in sorted(newest.items()) if row["accepted"]]
    if not task.is_new:
        run.adopt_actions(case.facts.actions(run.id, task_ids=[task.id]))
    mine = [
        action
        for action in run.actions.values()
        if action.task_execution_id == task.id and action.accepted
    ]
    mine.sort(key=lambda action: action.item_index)
    return [(action.output or {}).get("result") for action in mine]


def attempt_of(child: Mapping[str, Any]) -> int:
    return int((child["internals"].get("parent") or {}).get("attempt", 0))


# -- Publishing ---------------------------------------------------------------


def publish(case: Case, task: Task, spec: TaskSpec) -> None:
    """Evaluate and keep what the task publishes in its present state (§ 2.9).

    Each scope is merged by itself: ``on-complete`` over the task's own over
    the specific clause (Q26, Q27).

    :raises ExpressionFault, WorkflowFault: forced failures.
    """
    own, clause = {
        State.SUCCESS: (spec.publish, spec.on_success.publish),
        State.ERROR: (spec.publish_on_error, spec.on_error.publish),
        State.SKIPPED: (spec.publish_on_skip, spec.on_skip.publish),
    }[State(task.state)]
    always = Publish() if task.state == State.SKIPPED else spec.on_complete.publish
    sources = (clause, Publish(branch=own), always)
    if not any(sources):
        return
    seen = view(case, task)
    branch: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    for source in sources:
        branch = merged(branch, source.branch)
        shared = merged(merged(shared, source.global_), source.atomic)
    branch = case.evaluate(branch, seen)
    shared = case.evaluate(shared, seen)
    if branch:
        check_size(case, branch, "TaskExecution", "published")
    if branch or not shared:
        task.published = {key: stored(case, value) for key, value in branch.items()}
        paths: list[str] = []
        for key, value in branch.items():
            paths.extend(leaf_paths(key, value))
        task.published_versions = paths
    if shared:
        case.run.context = merged(case.run.context or {}, shared)
        task.published_global = {
            key: stored(case, value) for key, value in shared.items()
        }


def leaf_paths(path: str, value: Any) -> list[str]:
    """Dotted paths of the leaves; an empty mapping has none (§ 22.3)."""
    if not isinstance(value, Mapping):
        return [path]
    found: list[str] = []
    for key, inner in value.items():
        found.extend(leaf_paths(f"{path}.{key}", inner))
        if len(found) > LEAVES:
            return [path]
    return found


def outbound(case: Case, task: Task) -> tuple[dict[str, Any], dict[str, int]]:
    """The context and versions that a task hands on."""
    context = task.in_context or {}
    versions = task.versions or {}
    published = task.published
    if not published:
        return context, versions
    if case.facts.rules.merge_strategy == "merge":
        context = {
            **context,
            **{
                key: stored(case, merged(resolved(case, context[key]), new))
                if key in context
                and isinstance(new := resolved(case, value), Mapping)
                and isinstance(resolved(case, context[key]), Mapping)
                else value
                for key, value in published.items()
            },
        }
    else:
        context = {**context, **published}
    versions = dict(versions)
    for path in task.published_versions or ():
        versions[path] = versions.get(path, 0) + 1
    return context, versions


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
            elif context[key] != value:
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
    return b if _count(new, path) >= _count(old, path) else a


def _count(versions: Mapping[str, int], path: str) -> int:
    """The version of a leaf, or of the nearest value around it that has one."""
    while path not in versions and "." in path:
        path = path.rpartition(".")[0]
    return versions.get(path, 0)


def message_of(error: Exception) -> str:
    """The first line of an error, for ``state_info`` (no traces, § 1.7)."""
    if isinstance(error, (ExpressionFault, WorkflowFault)):
        return error.message
    return str(error).partition("\n")[0]
