"""Rows to runs: lock the headers of a batch and fetch what its events name.

The number of statements does not depend on the batch. Order: headers by id
(``FOR UPDATE``, the first statement), then actions that nobody has claimed, if that is
the event, then the status of maintenance (shared), then outbox rows by id; all else of
a run is guarded by its header. What can be asked without knowing an answer is asked
with the locks, together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, func, select

from mistral.db import bulk, direct, maintenance, outbox, requests, rows
from mistral.db.database import Database
from mistral.db.models import (
    action_executions,
    cron_triggers,
    history,
    task_executions,
    workflow_executions,
)
from mistral.engine.core.cron import Trigger
from mistral.engine.core.run import Action, Run
from mistral.engine.facts import SqlFacts
from mistral.engine.intake import Waiting
from mistral.lang.graph import graph_of
from mistral.messages import (
    NobodyCame,
    Request,
    StartWorkflow,
    TriggerEvent,
)

Found = Any
"""A row: a mapping of column → value."""


@dataclass(slots=True)
class Loaded:
    """What one turn knows.

    :param now: the database's time.
    :param triggers: cron triggers by id.
    :param skipped: keys whose header another engine holds.
    :param moved: stand-alone keys that belong to a run: action id → run id.
    :param gone: outbox rows that another turn consumed.
    :param answers: of requests that were handled before, by request id.
    :param next_seq: next number in the history of stand-alone actions.
    """

    now: datetime
    facts: SqlFacts
    headers: dict[str, Found] = field(default_factory=dict)
    alone: dict[str, Found | None] = field(default_factory=dict)
    triggers: dict[str, Found] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    answers: dict[str, Any] = field(default_factory=dict)
    next_seq: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, list[Found]] = field(default_factory=dict)
    actions: dict[str, list[Found]] = field(default_factory=dict)

    def open(self, key: str) -> Run | None:
        """A fresh object for the header; None: there is none (yet)."""
        if key in self.alone:
            row = self.alone[key]
            return Run.alone(None if row is None else Action.from_row(row), key)
        if key in self.triggers:
            return Run.of_trigger(Trigger.from_row(self.triggers[key]))
        if key not in self.headers:
            return None
        run: Run = Run.from_row(self.headers[key])
        run.spec = self.facts.spec(run.spec_id)
        run.adopt(self.tasks.get(key, ()))
        run.adopt_actions(self.actions.get(key, ()))
        return run


def open_runs(
    connection: Connection,
    database: Database,
    batch: Sequence[Waiting],
    facts: SqlFacts,
    *,
    wait: bool,
) -> Loaded:
    """Lock and fetch all that the batch concerns.

    :param wait: wait for headers that another engine holds.
    """
    runs = {w.key for w in batch if w.event.run_id}
    due = {w.key for w in batch if isinstance(w.event, TriggerEvent)}
    alone = {w.key for w in batch if not w.event.run_id} - due
    named = {getattr(w.event, "action_id", "") for w in batch if w.event.run_id} - {""}
    # Whether somebody has claimed them decides, and claims need no header.
    unclaimed = {w.event.action_id for w in batch if isinstance(w.event, NobodyCame)}
    begun = {w.key for w in batch if isinstance(w.event, StartWorkflow)}
    asked = {w.event.request_id for w in batch if isinstance(w.event, Request)} - {""}
    task_ids = {getattr(w.event, "task_id", "") for w in batch} - {""}
    skip = not wait
    (
        headers, singles, triggers, _, (shared,), started, answers, found, tasks,
    ) = direct.fetch_together(
        connection,
        [
            rows.to_lock(connection, workflow_executions, runs, skip_locked=skip),
            rows.to_lock(connection, action_executions, alone, skip_locked=skip),
            rows.to_lock(connection, cron_triggers, due, skip_locked=skip),
            rows.to_lock(connection, action_executions, unclaimed - alone, ("id",)),
            maintenance.to_share(database),
            _to_see(connection, workflow_executions, begun if skip else ()),
            requests.to_find(connection, asked),
            rows.to_fetch(connection, action_executions, "id", named),
            [
                *rows.to_fetch(connection, task_executions, "id", task_ids),
                *(_to_fetch_above(named) if database.has_pipelines else ()),
            ],
        ],
    )  # fmt: skip
    loaded = Loaded(
        shared.get("now") or database.now(connection),
        facts,
        headers=_by_id(headers),
        triggers=_by_id(triggers),
    )
    facts.maintenance = maintenance.shown(maintenance.Status(shared["status"]))
    known = _by_id(singles)
    skipped = loaded.skipped
    if not wait:
        missing = runs - loaded.headers.keys()
        skipped |= missing & {row["id"] for row in started}
        skipped |= _there(connection, workflow_executions, missing - begun)
        skipped |= _there(connection, action_executions, alone - known.keys())
        skipped |= _there(connection, cron_triggers, due - loaded.triggers.keys())
    for key in alone - skipped:
        row = known.get(key)
        if row is not None and row["workflow_execution_id"]:
            loaded.moved[key] = row["workflow_execution_id"]
        else:
            loaded.alone[key] = row
    mine = [w for w in batch if w.key not in skipped and w.key not in loaded.moved]
    consumed = {w.row_id for w in mine if w.row_id}
    loaded.gone = consumed - outbox.lock(connection, consumed) if consumed else set()
    loaded.answers = requests.answers_in(answers)
    _count_history(connection, loaded)
    loaded.actions = _by_run(loaded, found)
    loaded.tasks = _by_run(loaded, tasks)
    _fetch_named(connection, loaded)
    return loaded


def _by_id(found: Iterable[Found]) -> dict[str, Found]:
    return {row["id"]: row for row in found}


def _there(connection: Connection, table: Any, ids: Collection[str]) -> set[str]:
    asked = _to_see(connection, table, ids)
    return {
        row["id"] for question in asked for row in direct.fetch(connection, *question)
    }


def _to_see(
    connection: Connection, table: Any, ids: Collection[str]
) -> list[direct.Question]:
    """Which of the rows there are."""
    return rows.to_fetch(connection, table, "id", ids, columns=("id",))


def _to_fetch_above(action_ids: Collection[str]) -> list[direct.Question]:
    """The tasks of actions, before these are known themselves."""
    return [(_ABOVE, {"among": sorted(action_ids)})] if action_ids else []


def _above() -> Any:
    action = action_executions.c
    tasks = select(action.task_execution_id)
    tasks = tasks.where(bulk.listed("postgresql", action.id, "among"))
    task = task_executions.c
    return select(task_executions).where(task.id.in_(tasks)).order_by(task.seq, task.id)


_ABOVE: Final = _above()


def _count_history(connection: Connection, loaded: Loaded) -> None:
    if not loaded.alone:
        return
    query = select(history.c.run_id, func.max(history.c.seq).label("last"))
    query = query.group_by(history.c.run_id)
    last = {
        row["run_id"]: row["last"]
        for row in bulk.select_among(
            connection, query, history.c.run_id, sorted(loaded.alone)
        )
    }
    loaded.next_seq = {key: last.get(key, 0) + 1 for key in loaded.alone}


def _fetch_named(connection: Connection, loaded: Loaded) -> None:
    """The tasks of events' actions that are not known yet, and the joins behind all of
    them."""
    known = {row["id"] for found in loaded.tasks.values() for row in found}
    wanted = {
        row["task_execution_id"]
        for found in loaded.actions.values()
        for row in found
        if row["task_execution_id"]
    }
    more = rows.fetch(connection, task_executions, "id", wanted - known)
    for run_id, found in _by_run(loaded, more).items():
        loaded.tasks[run_id].extend(found)
    joins: dict[str, set[str]] = {}
    for run_id, found in loaded.tasks.items():
        _in_order(found)
        spec = loaded.facts.spec(loaded.headers[run_id]["spec_id"])
        graph = graph_of(spec)
        names = {
            join
            for task in found
            if task["name"] in spec.tasks
            for join in graph.joins_after(task["name"])
        }
        if names:
            joins[run_id] = names
    if not joins:
        return
    keys = sorted(set().union(*joins.values()))
    for row in rows.fetch(
        connection,
        task_executions,
        "workflow_execution_id",
        sorted(joins),
        also=("unique_key", keys),
    ):
        run_id = row["workflow_execution_id"]
        if row["unique_key"] in joins[run_id]:
            loaded.tasks[run_id].append(row)


def _in_order(found: list[Found]) -> None:
    """Each task once, in the order of their creation: an event names one by its id,
    another by one of its actions."""
    each = {row["id"]: row for row in found}
    found[:] = sorted(each.values(), key=itemgetter("seq"))


def _by_run(loaded: Loaded, found: Iterable[Found]) -> dict[str, list[Found]]:
    by_run: dict[str, list[Found]] = defaultdict(list)
    for row in found:
        if row["workflow_execution_id"] in loaded.headers:
            by_run[row["workflow_execution_id"]].append(row)
    return by_run
