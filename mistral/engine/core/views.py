"""What expressions see: variables in layers, and the functions that look up.

Which layer hides which is the table of spec/engine.md § 2.11; the shapes that
functions answer are those of spec/language.md § 23.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from mistral.engine.core.data import Case, merged, resolved
from mistral.engine.core.run import Run, Task
from mistral.expressions.facts import View


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
