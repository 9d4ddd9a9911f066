"""The core's read-only port over one database connection.

``Sources`` live as long as the process: parsed specs, documents, the
evaluator. ``SqlFacts`` live as long as a turn and remember what was asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from mistral.actions.signatures import describe_dynamic
from mistral.db import code_sources, scope
from mistral.db.models import (
    action_executions,
    actions,
    documents,
    environments,
    frozen_specs,
    join_arrivals,
    task_executions,
    workflow_executions,
    workflows,
)
from mistral.engine.core.ports import Descriptor, Rules
from mistral.errors import Bug
from mistral.expressions.evaluate import Evaluator
from mistral.expressions.facts import View
from mistral.expressions.limits import Allowance
from mistral.lang.parse import action_from_dict, workflow_from_dict
from mistral.lang.specs import ActionSpec, WorkflowSpec

Found = Mapping[str, Any]

KEPT_SPECS: Final = 1_000
KEPT_DOCUMENTS: Final = 256

EXPRESSION_SECONDS: Final = 6.0
"""For all expressions of one decision: with the rest of a turn it stays below the
leases (10 s) that other engines go by."""


class Kept:
    """The most recently used values; used by the deciding thread alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value, made when it is not kept; None is not kept."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = make()
        if value is not None:
            self._values[key] = value
            if len(self._values) > self._most:
                self._values.popitem(last=False)
        return value


@dataclass
class Sources:
    """What facts come from besides the database.

    :param registry: ``actions.registry.Registry``: descriptors by name.
    :param new_id: random ids: seeds of runs, ids of outbox rows and turns.
    """

    evaluator: Evaluator
    registry: Any
    new_id: Callable[[], str]
    rules: Rules = field(default_factory=Rules)
    specs: Kept = field(default_factory=lambda: Kept(KEPT_SPECS))
    documents: Kept = field(default_factory=lambda: Kept(KEPT_DOCUMENTS))


class SqlFacts:
    """``engine.core.run.Facts`` inside the transaction of one turn."""

    def __init__(self, connection: Connection, sources: Sources) -> None:
        self.rules = sources.rules
        self.maintenance = ""
        self._connection = connection
        self._sources = sources
        self._known: dict[Hashable, Any] = {}
        self._allowance = Allowance(EXPRESSION_SECONDS)

    def next_decision(self) -> None:
        """What is evaluated from now on belongs to another decision."""
        self._allowance = Allowance(EXPRESSION_SECONDS)

    def evaluate(self, tree: Any, view: View) -> Any:
        return self._sources.evaluator.evaluate(tree, view, self._allowance)

    def uuid(self) -> str:
        return self._sources.new_id()

    def spec(self, spec_id: str) -> WorkflowSpec:
        """:raises Bug: a run refers to a spec that was never stored."""

        def parse() -> WorkflowSpec:
            query = select(frozen_specs.c.body).where(frozen_specs.c.id == spec_id)
            body = self._connection.execute(query).scalar_one_or_none()
            if body is None:
                raise Bug(f"There is no spec {spec_id}")
            return workflow_from_dict(body)

        found: WorkflowSpec = self._sources.specs.get(spec_id, parse)
        return found

    # -- Definitions ----------------------------------------------------------

    def workflow(
        self, id: str | None, name: str | None, namespace: str, project_id: str
    ) -> Found | None:
        """By id, or by name in exactly this namespace."""
        table = workflows
        if id:
            wanted = [table.c.id == id, scope.of_project(table, project_id)]
            return self._one(("workflow", id, project_id), table, *wanted)
        return self._named(table, name or "", namespace, project_id)

    def definition(self, workflow_id: str, spec_id: str) -> str | None:
        """The text of a workflow, unless it has changed since or is gone."""
        query = select(workflows.c.definition).where(
            workflows.c.id == workflow_id, workflows.c.spec_id == spec_id
        )
        found: str | None = self._connection.execute(query).scalar_one_or_none()
        return found

    def adhoc(self, name: str, namespace: str, project_id: str) -> ActionSpec | None:
        """In the namespace, then in the default one (§ 8.10)."""
        if not self._sources.registry.serves("adhoc"):
            return None
        spaces = dict.fromkeys((namespace, ""))
        found = (self._named(actions, name, space, project_id) for space in spaces)
        row = next((each for each in found if each is not None), None)
        return None if row is None else action_from_dict(row["spec"])

    def environment(self, name: str, project_id: str) -> Found | None:
        table = environments
        return self._one(
            ("environment", name, project_id),
            table,
            table.c.name == name,
            scope.of_project(table, project_id),
            order=scope.nearest_first(table, project_id),
        )

    def action(self, name: str, namespace: str, project_id: str) -> Descriptor | None:
        """A dynamic one of exactly this namespace, then what is installed (§ 8.10)."""
        registry = self._sources.registry
        if registry.serves_dynamic():
            key = ("dynamic", name, namespace, project_id)
            if key not in self._known:
                row = code_sources.runnable(
                    self._connection, name, namespace or "", project_id
                )
                self._known[key] = None if row is None else describe_dynamic(row)
            if self._known[key] is not None:
                dynamic: Descriptor = self._known[key]
                return dynamic
        found: Descriptor | None = registry.find(name, namespace, project_id=project_id)
        return found

    def check_input(self, descriptor: Any, given: Mapping[str, Any]) -> None:
        """:raises InvalidInput: missing or unexpected names."""
        descriptor.check_input(given)

    def _named(
        self, table: Any, name: str, namespace: str, project_id: str
    ) -> Found | None:
        return self._one(
            (table.name, name, namespace, project_id),
            table,
            table.c.name == name,
            table.c.namespace == namespace,
            scope.of_project(table, project_id),
            order=scope.nearest_first(table, project_id),
        )

    # -- Executions -----------------------------------------------------------

    def header(self, run_id: str) -> Found | None:
        table = workflow_executions
        return self._one(("header", run_id), table, table.c.id == run_id)

    def tasks(
        self,
        run_id: str,
        *,
        ids: Iterable[str] | None = None,
        names: Iterable[str] | None = None,
        states: Iterable[str] | None = None,
        processed: bool | None = None,
        has_next: bool | None = None,
        latest: bool = False,
    ) -> Sequence[Found]:
        """In the order of their creation.

        :param latest: of each name the newest alone, whatever the rest asks for.
        """
        table = task_executions
        key = (
            "tasks", run_id, _frozen(ids), _frozen(names), _frozen(states),
            processed, has_next, latest,
        )  # fmt: skip
        wanted: list[ColumnElement[bool]] = [table.c.workflow_execution_id == run_id]
        for column, values in (
            (table.c.id, key[2]),
            (table.c.name, key[3]),
            (table.c.state, key[4]),
        ):
            if values is not None:
                wanted.append(column.in_(values))
        for column, flag in (
            (table.c.processed, processed),
            (table.c.has_next_tasks, has_next),
        ):
            if flag is not None:
                wanted.append(column.is_(flag))
        if latest:
            other = table.alias()
            newest = select(func.max(other.c.seq)).where(
                other.c.workflow_execution_id == run_id, other.c.name == table.c.name
            )
            wanted.append(table.c.seq == newest.scalar_subquery())
        return self._all(key, table, *wanted, order=(table.c.seq,))

    def project_tasks(self, project_id: str, limit: int) -> Sequence[Found]:
        """Of all executions of a project, in no order and not more than that."""
        table = task_executions
        key = ("project tasks", project_id, limit)
        wanted = scope.of_project(table, project_id)
        return self._all(key, table, wanted, order=(), limit=limit)

    def actions(
        self,
        run_id: str,
        *,
        ids: Iterable[str] | None = None,
        task_ids: Iterable[str] | None = None,
        states: Iterable[str] | None = None,
    ) -> Sequence[Found]:
        table = action_executions
        key = ("actions", run_id, _frozen(ids), _frozen(task_ids), _frozen(states))
        wanted: list[ColumnElement[bool]] = []
        if key[3] is not None:
            wanted.append(table.c.task_execution_id.in_(key[3]))
        else:
            wanted.append(table.c.workflow_execution_id == run_id)
        if key[2] is not None:
            wanted.append(table.c.id.in_(key[2]))
        if key[4] is not None:
            wanted.append(table.c.state.in_(key[4]))
        order = (table.c.item_index, table.c.created_at, table.c.id)
        return self._all(key, table, *wanted, order=order)

    def children(self, task_ids: Iterable[str]) -> Sequence[Found]:
        """Headers of the sub-workflows of tasks."""
        table, ids = workflow_executions, _frozen(task_ids) or ()
        wanted = table.c.task_execution_id.in_(ids)
        order = (table.c.created_at, table.c.id)
        return self._all(("children", ids), table, wanted, order=order)

    def arrivals(
        self,
        join_id: str,
        inbound: str | None = None,
        *,
        rounds: tuple[int, int] | None = None,
    ) -> Sequence[Found]:
        """Who has come to a join; of one inbound task or of all.

        :param rounds: the first and the one after the last; None: all.
        """
        table = join_arrivals
        wanted = [table.c.join_id == join_id]
        if rounds is not None:
            wanted += [table.c.round >= rounds[0], table.c.round < rounds[1]]
        if inbound is not None:
            wanted.append(table.c.inbound == inbound)
        order = (table.c.round, table.c.inbound)
        key = ("arrivals", join_id, inbound, rounds)
        return self._all(key, table, *wanted, order=order)

    def document(self, run_id: str, document_id: str) -> Any:
        """Written once, so it is kept across turns."""

        def read() -> Any:
            query = select(documents.c.body).where(
                documents.c.workflow_execution_id == run_id,
                documents.c.id == document_id,
            )
            return self._connection.execute(query).scalar_one_or_none()

        return self._sources.documents.get((run_id, document_id), read)

    def executions(
        self, project_id: str, limit: int, **filters: Any
    ) -> Sequence[Found]:
        """What ``executions()`` of a project's workflow sees, oldest first and
        not more than that."""
        table = workflow_executions
        given = {name: value for name, value in filters.items() if value is not None}
        wanted = [scope.of_project(table, project_id)]
        for name, value in given.items():
            if name == "from_time":
                wanted.append(table.c.created_at >= value)
            elif name == "to_time":
                wanted.append(table.c.created_at < value)
            else:
                wanted.append(table.c[name] == value)
        key = ("executions", project_id, limit, tuple(sorted(given.items())))
        order = (table.c.created_at, table.c.id)
        return self._all(key, table, *wanted, order=order, limit=limit)

    # -- Statements -----------------------------------------------------------

    def _one(
        self,
        key: Hashable,
        table: Any,
        *wanted: ColumnElement[bool],
        order: Sequence[Any] = (),
    ) -> Found | None:
        if key not in self._known:
            if not _can_be_stored(key):
                return None
            query = select(table).where(*wanted).order_by(*order).limit(1)
            found = self._connection.execute(query).mappings().first()
            self._known[key] = None if found is None else dict(found)
        row: Found | None = self._known[key]
        return row

    def _all(
        self,
        key: Hashable,
        table: Any,
        *wanted: ColumnElement[bool],
        order: Sequence[Any],
        limit: int | None = None,
    ) -> Sequence[Found]:
        if key not in self._known:
            if not _can_be_stored(key):
                return ()
            query = select(table).where(*wanted).order_by(*order).limit(limit)
            found = self._connection.execute(query).mappings()
            self._known[key] = tuple(dict(row) for row in found)
        rows: Sequence[Found] = self._known[key]
        return rows


def _frozen(values: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(sorted(set(values)))


def _can_be_stored(key: Any) -> bool:
    """Whether a row with these values can exist.

    Names and ids to look for come out of expressions, too. Some databases
    refuse NUL even in a question, so nobody asks them.
    """
    if isinstance(key, str):
        return "\0" not in key
    if isinstance(key, tuple):
        return all(map(_can_be_stored, key))
    return True
