"""What expressions see: variables in layers, and the functions that look up.

Which layer hides which is the table of spec/engine.md § 2.11; the shapes that
functions answer are those of spec/language.md § 23.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from mistral.engine.core.contexts import Context, Held, inbound
from mistral.engine.core.data import Case, Resolved, merged, resolved
from mistral.engine.core.run import Action, Task
from mistral.errors import ExpressionFault
from mistral.expressions.facts import View
from mistral.publisher_entries import shown

MOST_FOUND: Final = 10_000
"""Executions that a look-up in a whole project may find."""


class Layers(Mapping[str, Any]):
    """Several mappings as one, first hit wins.

    :param reserved: above all layers; nothing can shadow or change it (Q57).
    :param deep: mappings of several layers are merged (``merge_strategy``).
    """

    def __init__(
        self,
        reserved: Mapping[str, Any],
        layers: Sequence[Mapping[str, Any]],
        deep: bool,
    ) -> None:
        self._reserved = reserved
        self._layers = [layer for layer in layers if layer]
        self._deep = deep

    def __getitem__(self, key: str) -> Any:
        if key in self._reserved:
            return self._reserved[key]
        found = (layer[key] for layer in self._layers if key in layer)
        try:
            value = next(found)
        except StopIteration:
            raise KeyError(key) from None
        if self._deep and isinstance(value, Mapping):
            for low in found:
                if isinstance(low, Mapping):
                    value = merged(low, value)
        return value

    def __iter__(self) -> Iterator[str]:
        layers = (self._reserved, *self._layers)
        return iter(dict.fromkeys(key for layer in layers for key in layer))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return key in self._reserved or any(key in layer for layer in self._layers)


def env_of(case: Case) -> Mapping[str, Any]:
    """The environment of the root run, with later updates of it (ENG-114)."""
    run = case.run
    if run.root_execution_id is None:
        return (run.params or {}).get("env") or {}
    header = case.facts.header(run.root_execution_id)
    return ((header["params"] or {}).get("env") or {}) if header else {}


def view(
    case: Case,
    task: Task | None = None,
    *,
    extra: Mapping[str, Any] | None = None,
    branch: Context | None = None,
    with_input: bool = True,
    first: Mapping[str, Any] | None = None,
) -> View:
    """What an expression of this task (or of the run) sees.

    :param extra: item variables, above the branch (Q23).
    :param branch: instead of the task's inbound context.
    :param first: above the branch, for ``target`` and ad-hoc inputs.
    """
    run = case.run
    reserved: dict[str, Any] = {"__env": env_of(case)}
    if not run.standalone:
        reserved["__execution"] = {"id": run.id}
    if task is not None:
        reserved["__task_execution"] = {"id": task.id, "name": task.name}
        if branch is None:
            branch = inbound(task)
    held = Held(case, branch or Context())
    layers = [first or {}, extra or {}, held, Resolved(case, run.context or {})]
    if with_input:
        layers.append(run.input or {})
    deep = case.facts.rules.merge_strategy == "merge"
    return View(Layers(reserved, layers, deep), Lookups(case, task))


def env_view(case: Case) -> View:
    """What the values of the environment see: the raw one (§ 2.11)."""
    return View({"__env": env_of(case)}, Lookups(case, None))


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
            "params": shown(run.params),
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
        _check_text(id=id, root_execution_id=root_execution_id, state=state)
        run = self._case.run
        wanted = {"id": id, "root_execution_id": root_execution_id, "state": state}
        found = self._case.facts.executions(
            run.project_id,
            MOST_FOUND + 1,
            **wanted,
            from_time=from_time,
            to_time=to_time,
        )
        if len(found) > MOST_FOUND:
            raise ExpressionFault(
                f"executions() finds more than {MOST_FOUND} workflow executions: "
                "ask for a state, a root or a time"
            )
        # The rows are those of the last commit; of this run we know more.
        rows = [row for row in found if row["id"] != run.id]
        if not run.standalone and (
            all(value in (None, getattr(run, name)) for name, value in wanted.items())
            and (from_time is None or run.created_at >= from_time)
            and (to_time is None or run.created_at < to_time)
        ):
            rows.append({name: getattr(run, name) for name in run.COLUMNS})
            rows.sort(key=lambda row: (row["created_at"], row["id"]))
        names = (
            "id", "workflow_name", "input", "params", "state", "state_info",
            "output", "root_execution_id",
        )  # fmt: skip
        return [
            {
                **{name: row[name] for name in names},
                "params": shown(row["params"]),
                "name": row["workflow_name"],
                "created_at": stamp(row["created_at"]),
                "updated_at": stamp(row["updated_at"]),
            }
            for row in rows
        ]

    def task(self, name: str | None) -> Mapping[str, Any] | None:
        _check_text(task_name=name)
        found = self._task
        if name is not None and (found is None or found.name != name):
            found = latest(self._case, name)
        if found is None:
            return None
        return shape(self._case, found, result(self._case, found))

    def tasks(
        self,
        workflow_execution_id: str | None = None,
        recursive: bool = False,
        state: str | None = None,
        flat: bool = False,
    ) -> Sequence[Mapping[str, Any]]:
        _check_text(workflow_execution_id=workflow_execution_id, state=state)
        case = self._case
        if workflow_execution_id is None:
            found = self._visible_tasks()
        else:
            found = self._tasks_of(workflow_execution_id)
        level = found if recursive and workflow_execution_id else []
        while level:
            ids = [row["id"] for row in self._children(level)]
            level = [task for id in ids for task in self._tasks_of(id)]
            found = [*found, *level]
        if state is not None:
            found = [task for task in found if task.state == state]
        if flat:
            found = self._flat(found)
        found.sort(key=lambda t: (t.created_at, t.workflow_execution_id, t.seq))
        values = results(case, found)
        return [shape(case, task, values[task.id]) for task in found]

    def _tasks_of(self, run_id: str) -> list[Task]:
        case = self._case
        if run_id == case.run.id:
            if not case.run.is_new:
                case.run.adopt(case.facts.tasks(run_id))
            return list(case.run.tasks.values())
        header = case.facts.header(run_id)
        if header is None or header["project_id"] != case.run.project_id:
            return []
        return [Task.from_row(row) for row in case.facts.tasks(run_id)]

    def _visible_tasks(self) -> list[Task]:
        """Those of all executions of the project.

        :raises ExpressionFault: there are too many to be of use.
        """
        case = self._case
        run = case.run
        rows = case.facts.project_tasks(run.project_id, MOST_FOUND + 1)
        if len(rows) > MOST_FOUND:
            raise ExpressionFault(
                f"tasks() finds more than {MOST_FOUND} task executions: give it the "
                "id of a workflow execution"
            )
        run.adopt(row for row in rows if row["workflow_execution_id"] == run.id)
        others = (row for row in rows if row["workflow_execution_id"] != run.id)
        return [*run.tasks.values(), *map(Task.from_row, others)]

    def _children(self, tasks: Sequence[Task]) -> Sequence[Mapping[str, Any]]:
        ids = [t.id for t in tasks if t.type == "WORKFLOW" and not t.is_new]
        return self._case.facts.children(ids) if ids else ()

    def _flat(self, tasks: Sequence[Task]) -> list[Task]:
        """Without the tasks that only mirror a sub-workflow."""
        states: dict[str, set[str]] = {}
        for row in self._children(tasks):
            states.setdefault(row["task_execution_id"], set()).add(row["state"])
        return [t for t in tasks if t.state not in states.get(t.id, ())]

    def global_variable(self, name: str) -> Any:
        _check_text(var_name=name)
        return resolved(self._case, (self._case.run.context or {}).get(name))

    def uuid(self) -> str:
        return self._case.facts.uuid()

    def callback_url(self) -> str:
        """
        :raises ExpressionFault: no action is about to start, or there is no key.
        """
        case = self._case
        if case.opening is None:
            raise ExpressionFault(
                "callback_url() is for the input of an action: elsewhere there is"
                " nothing to call back"
            )
        found = case.facts.callback_url(case.opening, case.now)
        if found is None:
            raise ExpressionFault(
                "callback_url() needs a key: [engine] secret_key is not set"
            )
        return found

    def now(self) -> datetime:
        return self._case.now


def _check_text(**arguments: Any) -> None:
    """:raises ExpressionFault: an argument that must be a text is not."""
    for name, value in arguments.items():
        if value is not None and not isinstance(value, str):
            raise ExpressionFault(
                f"'{name}' must be a string, found {type(value).__name__}"
            )


def stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def shape(case: Case, task: Task, result: Any) -> dict[str, Any]:
    """``task()`` of spec/language.md § 23.1."""
    mine = task.workflow_execution_id == case.run.id
    spec = case.run.spec.tasks.get(task.name) if mine else None
    return {
        "id": task.id,
        "name": task.name,
        "spec": dict(spec.body) if spec else {},
        "state": task.state,
        "state_info": task.state_info,
        "result": result,
        "published": {
            name: resolved(case, value, task.workflow_execution_id)
            for name, value in (task.published or {}).items()
        },
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
        case.run.adopt(case.facts.tasks(case.run.id, names=[name], latest=True))
    found = case.run.tasks.of(name)
    return max(found, key=lambda task: task.seq, default=None)


def result(case: Case, task: Task) -> Any:
    """The task's result (§ 1.6.5)."""
    return results(case, [task])[task.id]


def results(case: Case, tasks: Iterable[Task]) -> dict[str, Any]:
    """The results of tasks, by id; two look-ups for however many."""
    given = list(tasks)
    values = _action_results(case, [t for t in given if t.type == "ACTION"])
    values.update(_child_results(case, [t for t in given if t.type == "WORKFLOW"]))
    return {
        task.id: found[0] if task.total is None and len(found) == 1 else found
        for task in given
        for found in (values[task.id],)
    }


def _action_results(case: Case, tasks: Sequence[Task]) -> dict[str, list[Any]]:
    run = case.run
    ids = [task.id for task in tasks if not task.is_new]
    rows = case.facts.actions(run.id, task_ids=ids) if ids else ()
    run.adopt_actions(row for row in rows if row["workflow_execution_id"] == run.id)
    found = {task.id: list(run.actions.of(task.id)) for task in tasks}
    for row in rows:
        if row["workflow_execution_id"] != run.id:
            found[row["task_execution_id"]].append(Action.from_row(row))
    return {
        id: [
            (action.output or {}).get("result")
            for action in sorted(actions, key=lambda action: action.item_index)
            if action.accepted
        ]
        for id, actions in found.items()
    }


def _child_results(case: Case, tasks: Sequence[Task]) -> dict[str, list[Any]]:
    counting = counting_children(case, tasks)
    return {
        id: [row["output"] for _, row in sorted(newest.items()) if row["accepted"]]
        for id, newest in counting.items()
    }


def counting_children(
    case: Case, tasks: Sequence[Task]
) -> dict[str, dict[int, Mapping[str, Any]]]:
    """By task: the newest sub-workflow of each item, of launches that still
    count (decision 0012)."""
    found: dict[str, dict[int, tuple[int, Mapping[str, Any]]]] = {
        task.id: {} for task in tasks
    }
    since = {task.id: task.since for task in tasks}
    ids = [task.id for task in tasks if not task.is_new]
    for row in case.facts.children(ids) if ids else ():
        parent = row["internals"].get("parent") or {}
        attempt, index = int(parent.get("attempt", 0)), int(parent.get("index", 0))
        id = row["task_execution_id"]
        newest = found[id]
        if attempt >= max(since[id], newest.get(index, (0, row))[0]):
            newest[index] = (attempt, row)
    return {
        id: {index: row for index, (_, row) in newest.items()}
        for id, newest in found.items()
    }
