"""The core's read-only port over one database connection.

``Sources`` live as long as the process: parsed specs, documents, the
evaluator. ``SqlFacts`` live as long as a turn and remember what was asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from mistral.actions.signatures import describe_dynamic
from mistral.callbacks import Callbacks
from mistral.db import code_sources, conditions, direct, firings, scope
from mistral.db.columns import may_be_named
from mistral.db.models import (
    action_executions,
    actions,
    documents,
    environments,
    frozen_specs,
    join_arrivals,
    message_waits,
    posted_messages,
    task_executions,
    workflow_executions,
    workflows,
)
from mistral.engine.core.ports import Descriptor, Rules
from mistral.engine.core.run import Run
from mistral.errors import Bug, Problem
from mistral.expressions.evaluate import Evaluator
from mistral.expressions.facts import View
from mistral.expressions.limits import Allowance
from mistral.lang.parse import action_from_dict, advice_on, workflow_from_dict
from mistral.lang.specs import ActionSpec, WorkflowSpec
from mistral.messages import COMPLETED

Found = Mapping[str, Any]

KEPT_SPECS: Final = 1_000
KEPT_DOCUMENTS: Final = 16 * 1024 * 1024
"""Characters of JSON of the documents that a process keeps. In memory a text takes
as much, a structure of small values up to ten times as much."""

EXPRESSION_SECONDS: Final = 5.0
"""For all expressions of one part of a decision that cannot be divided: an item, a
task that begins or ends. With the next constant and the rest of a turn it stays below
the time after which the database ends the transaction (``HELD``), and below the leases
that other engines go by."""

DECISION_SECONDS: Final = 1.0
"""Of evaluating, after which a decision puts the parts that are left off."""


class Kept:
    """The most recently used values; used by the deciding thread alone.

    :param most: weight of all that is kept together. The newest is kept however
        heavy it is.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value, made when it is not kept and then kept with weight 1; None is
        not kept."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key][0]
        value = make()
        if value is not None:
            self.put(key, value)
        return value

    def put(self, key: Hashable, value: Any, weight: int = 1) -> None:
        if key in self._values:
            self._weight -= self._values.pop(key)[1]
        self._values[key] = value, weight
        self._weight += weight
        while self._weight > self._most and len(self._values) > 1:
            self._weight -= self._values.popitem(last=False)[1][1]


@dataclass
class Sources:
    """What facts come from besides the database.

    :param registry: ``actions.registry.Registry``: descriptors by name.
    :param callbacks: makes signed addresses; None: there is no key.
    :param functions: names of expression functions that packages add.
    :param new_id: random ids: seeds of runs, ids of outbox rows and turns.
    """

    evaluator: Evaluator
    registry: Any
    new_id: Callable[[], str]
    rules: Rules = field(default_factory=Rules)
    callbacks: Callbacks | None = None
    functions: Collection[str] = ()
    specs: Kept = field(default_factory=lambda: Kept(KEPT_SPECS))
    documents: Kept = field(default_factory=lambda: Kept(KEPT_DOCUMENTS))
    advice: Kept = field(default_factory=lambda: Kept(KEPT_SPECS))

    def keep_documents(self, run: Run) -> None:
        """The run's new documents are committed: the next turn will ask for them."""
        for id, (body, size) in run.documents.items():
            self.documents.put((run.id, id), body, size)


class SqlFacts:
    """``engine.core.run.Facts`` inside the transaction of one turn."""

    def __init__(self, connection: Connection, sources: Sources) -> None:
        self.rules = sources.rules
        self.maintenance = ""
        self._connection = connection
        self._sources = sources
        self._known: dict[Hashable, Any] = {}
        self.next_decision()

    def next_decision(self) -> None:
        """What is evaluated from now on belongs to another decision."""
        self._allowance = Allowance(EXPRESSION_SECONDS)
        self._evaluated = 0.0

    def has_time(self) -> bool:
        self._evaluated += self._allowance.used
        self._allowance = Allowance(EXPRESSION_SECONDS)
        return self._evaluated < DECISION_SECONDS

    def evaluate(self, tree: Any, view: View) -> Any:
        return self._sources.evaluator.evaluate(tree, view, self._allowance)

    def uuid(self) -> str:
        return self._sources.new_id()

    def callback_url(self, action_id: str, now: datetime) -> str | None:
        callbacks = self._sources.callbacks
        return None if callbacks is None else callbacks.url(action_id, now)

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
        if id:
            key = ("workflow", id, project_id)
            return self._kept(key, _WORKFLOW, {"id": id, "project": project_id})
        return self._named(workflows, name or "", namespace, project_id)

    def definition(self, workflow_id: str, spec_id: str) -> str | None:
        """The text of a workflow, unless it has changed since or is gone."""
        query = select(workflows.c.definition).where(
            workflows.c.id == workflow_id, workflows.c.spec_id == spec_id
        )
        found: str | None = self._connection.execute(query).scalar_one_or_none()
        return found

    def advice(self, workflow_id: str, spec_id: str) -> Sequence[Problem]:
        """What is advised against in the text of a workflow; nothing if it has
        changed since or is gone."""

        def judge() -> Sequence[Problem] | None:
            text = self.definition(workflow_id, spec_id)
            return text and advice_on(text, self._sources.functions)

        found: Sequence[Problem] | None
        found = self._sources.advice.get((workflow_id, spec_id), judge)
        return found or ()

    def adhoc(self, name: str, namespace: str, project_id: str) -> ActionSpec | None:
        """In the namespace, then in the default one (§ 8.10)."""
        row = self._adhoc(name, namespace, project_id)
        if row is None:
            return None
        return replace(action_from_dict(row["spec"]), workbook=row["workbook_name"])

    def adhoc_text(self, name: str, namespace: str, project_id: str) -> str | None:
        """The text that the same action was uploaded with."""
        row = self._adhoc(name, namespace, project_id)
        return None if row is None else str(row["definition"])

    def _adhoc(self, name: str, namespace: str, project_id: str) -> Found | None:
        if not self._sources.registry.serves("adhoc"):
            return None
        spaces = dict.fromkeys((namespace, ""))
        found = (self._named(actions, name, space, project_id) for space in spaces)
        return next((each for each in found if each is not None), None)

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
            if key not in self._known and _can_be_stored(key):
                row = code_sources.runnable(
                    self._connection, name, namespace or "", project_id
                )
                self._known[key] = None if row is None else describe_dynamic(row)
            dynamic: Descriptor | None = self._known.get(key)
            if dynamic is not None:
                return dynamic
        found: Descriptor | None = registry.find(name, namespace, project_id=project_id)
        return found

    def check_input(self, descriptor: Any, given: Mapping[str, Any]) -> None:
        """:raises InvalidInput: missing or unexpected names."""
        descriptor.check_input(given)

    def _named(
        self, table: Any, name: str, namespace: str, project_id: str
    ) -> Found | None:
        bound = {"name": name, "namespace": namespace, "project": project_id}
        return self._kept((table.name, *bound.values()), _NAMED[table], bound)

    # -- Executions -----------------------------------------------------------

    def header(self, run_id: str) -> Found | None:
        return self._kept(("header", run_id), _HEADER, {"id": run_id})

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
        key = (
            "tasks", run_id, _frozen(ids), _frozen(names), _frozen(states),
            processed, has_next, latest,
        )  # fmt: skip
        return self._found(
            key,
            task_executions,
            equal={"workflow_execution_id": run_id},
            among={"id": key[2], "name": key[3], "state": key[4]},
            flags={"processed": processed, "has_next_tasks": has_next},
            newest_of="name" if latest else None,
            order=("seq",),
        )

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
        key = ("actions", run_id, _frozen(ids), _frozen(task_ids), _frozen(states))
        return self._found(
            key,
            action_executions,
            equal={"workflow_execution_id": run_id} if task_ids is None else {},
            among={"task_execution_id": key[3], "id": key[2], "state": key[4]},
            order=("item_index", "created_at", "id"),
        )

    def children(self, task_ids: Iterable[str]) -> Sequence[Found]:
        """Headers of the sub-workflows of tasks."""
        ids = _frozen(task_ids)
        return self._found(
            ("children", ids),
            workflow_executions,
            among={"task_execution_id": ids},
            order=("created_at", "id"),
        )

    def open_children(self, run_id: str) -> Sequence[Found]:
        """Headers of the sub-workflows of all tasks of a run that are not over."""
        table, tasks = workflow_executions, task_executions
        callers = select(tasks.c.id).where(
            tasks.c.workflow_execution_id == run_id, tasks.c.type == "WORKFLOW"
        )
        wanted = (
            table.c.task_execution_id.in_(callers),
            table.c.state.not_in(sorted(COMPLETED)),
        )
        key = ("open children", run_id)
        order = (table.c.created_at, table.c.id)
        return self._all(key, table, *wanted, order=order)

    def open_firings(self, trigger_id: str) -> Sequence[Found]:
        return firings.still_open(self._connection, trigger_id)

    def queued_firings(self, trigger_id: str, limit: int) -> Sequence[Found]:
        return firings.queued(self._connection, trigger_id, limit)

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
        one = {} if inbound is None else {"inbound": inbound}
        return self._found(
            ("arrivals", join_id, inbound, rounds),
            join_arrivals,
            equal={"join_id": join_id, **one},
            between={"round": rounds},
            order=("round", "inbound"),
        )

    def posted_message(self, run_id: str, message_id: str) -> Sequence[Found]:
        return self._found(
            ("posted message", run_id, message_id),
            posted_messages,
            equal={"workflow_execution_id": run_id, "message_id": message_id},
            order=("seq",),
        )

    def kept_messages(self, run_id: str) -> Sequence[Found]:
        """In the order in which they came."""
        table = posted_messages
        wanted = (table.c.workflow_execution_id == run_id, table.c.taken_by.is_(None))
        return self._all(
            ("kept messages", run_id), table, *wanted, order=(table.c.seq,)
        )

    def message_waits(self, run_id: str, subject: str) -> Sequence[Found]:
        """Actions that wait for a message, the longest first."""
        return self._found(
            ("message waits", run_id, subject),
            message_waits,
            equal={"workflow_execution_id": run_id, "subject": subject},
            order=("seq",),
        )

    def document(self, run_id: str, document_id: str) -> Any:
        """Written once, so it is kept across turns."""
        kept, key = self._sources.documents, (run_id, document_id)
        if key not in kept:
            bound = {"run_id": run_id, "id": document_id}
            found = direct.fetch(self._connection, _DOCUMENT, bound)
            if not found:
                return None
            kept.put(key, found[0]["body"], found[0]["characters"])
        return kept.get(key, dict)

    def holds(self, run_id: str, document_id: str) -> bool:
        return (run_id, document_id) in self._sources.documents

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

    def _kept(self, key: Hashable, query: Any, bound: Mapping[str, Any]) -> Any:
        """The one row of a statement that is built once; None: there is none."""
        if key not in self._known:
            if not _can_be_stored(key):
                return None
            found = direct.fetch(self._connection, query, bound)
            self._known[key] = dict(found[0]) if found else None
        return self._known[key]

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

    def _found(self, key: Hashable, table: Any, **wanted: Any) -> Sequence[Found]:
        """Rows by statements that are built once (``db.conditions``)."""
        if key not in self._known:
            if not _can_be_stored(key):
                return ()
            found = conditions.fetch(self._connection, table, **wanted)
            self._known[key] = tuple(map(dict, found))
        rows: Sequence[Found] = self._known[key]
        return rows

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


def _named(table: Any) -> Any:
    project: Any = bindparam("project")
    return (
        select(table)
        .where(
            table.c.name == bindparam("name"),
            table.c.namespace == bindparam("namespace"),
            scope.of_project(table, project),
        )
        .order_by(*scope.nearest_first(table, project))
        .limit(1)
    )


_PROJECT: Any = bindparam("project")
_WORKFLOW: Final = select(workflows).where(
    workflows.c.id == bindparam("id"), scope.of_project(workflows, _PROJECT)
)
_HEADER: Final = select(workflow_executions).where(
    workflow_executions.c.id == bindparam("id")
)
_DOCUMENT: Final = select(
    documents.c.body, func.length(documents.c.body).label("characters")
).where(
    documents.c.workflow_execution_id == bindparam("run_id"),
    documents.c.id == bindparam("id"),
)
_NAMED: Final = {table: _named(table) for table in (workflows, actions)}


def _frozen(values: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(sorted(set(values)))


def _can_be_stored(key: Any) -> bool:
    """Whether a row with these values can exist.

    Names and ids to look for come out of expressions, too, and what a database
    refuses even in a question would break the turn.
    """
    if isinstance(key, str):
        return may_be_named(key)
    if isinstance(key, tuple):
        return all(map(_can_be_stored, key))
    return True
