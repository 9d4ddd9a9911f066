"""The pure core, driven in memory: rows are dicts, time is moved by hand.

``Simulator`` plays every part around ``decide``: it keeps what ``changes``
returns, hears effects as events, claims offers and answers them by a script.
"""

from __future__ import annotations

import copy
import functools
import heapq
import itertools
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from fakes import FakeClock

from mistral.actions.registry import Registry
from mistral.config import load
from mistral.engine.core.claims import begun, may_begin
from mistral.engine.core.decide import decide
from mistral.engine.core.ports import Rules
from mistral.engine.core.run import Action, Changes, Run, Task, changes
from mistral.expressions.evaluate import Evaluator
from mistral.lang.parse import (
    advice_on,
    parse_actions,
    parse_workflows,
    workflow_from_dict,
)
from mistral.messages import (
    COMPLETED,
    ActionFinished,
    CallAction,
    ClaimAction,
    Event,
    Notify,
    StartWorkflow,
    State,
    Tell,
    UpdateAction,
)

CONTEXT = {"project_id": "p"}
SUCCESS, ERROR = State.SUCCESS.value, State.ERROR.value


@functools.cache
def _once_per_process() -> tuple[Evaluator, Registry]:
    """What every process builds once: it takes longer than most runs here."""
    return Evaluator(), Registry(load([], environ={}))


class MemoryStore:
    """``Facts`` over dicts of rows."""

    def __init__(
        self,
        rules: Rules,
        registry: Registry | None = None,
        evaluator: Evaluator | None = None,
    ) -> None:
        self.rules = rules
        self.maintenance = ""
        shared = _once_per_process()
        self.evaluator = evaluator or shared[0]
        self.registry = registry or shared[1]
        self.runs: dict[str, dict[str, Any]] = {}
        self.task_rows: dict[str, dict[str, Any]] = {}
        self.action_rows: dict[str, dict[str, Any]] = {}
        self.arrival_rows: list[dict[str, Any]] = []
        self.document_rows: dict[tuple[str, str], Any] = {}
        self.message_rows: dict[str, dict[str, Any]] = {}
        self.wait_rows: dict[str, dict[str, Any]] = {}
        self.definitions: dict[str, dict[str, Any]] = {}
        self.specs: dict[str, Any] = {}
        self.texts: dict[str, str] = {}
        self.adhoc_specs: dict[str, Any] = {}
        self.adhoc_texts: dict[str, str] = {}
        self.environments: dict[str, dict[str, Any]] = {}
        self._uuids = itertools.count(1)

    def has_time(self) -> bool:
        return True

    def evaluate(self, tree: Any, view: Any) -> Any:
        return self.evaluator.evaluate(tree, view)

    def uuid(self) -> str:
        return f"{next(self._uuids):08x}-0000-4000-8000-000000000000"

    def callback_url(self, action_id: str, now: datetime) -> str | None:
        return f"/call/{action_id}"

    def spec(self, spec_id: str) -> Any:
        return self.specs[spec_id]

    def workflow(self, id: Any, name: Any, namespace: str, project_id: str) -> Any:
        return self.definitions.get(id or name)

    def definition(self, workflow_id: str, spec_id: str) -> str | None:
        return self.texts.get(spec_id)

    def advice(self, workflow_id: str, spec_id: str) -> Any:
        return advice_on(self.texts.get(spec_id, ""))

    def environment(self, name: str, project_id: str) -> Any:
        return self.environments.get(name)

    def adhoc(self, name: str, namespace: str, project_id: str) -> Any:
        return self.adhoc_specs.get(name)

    def adhoc_text(self, name: str, namespace: str, project_id: str) -> str | None:
        return self.adhoc_texts.get(name)

    def action(self, name: str, namespace: str, project_id: str) -> Any:
        return self.registry.find(name, namespace, project_id=project_id)

    def check_input(self, descriptor: Any, given: Mapping[str, Any]) -> None:
        self.registry.check_input(descriptor, given)

    def header(self, run_id: str) -> Any:
        return self.runs.get(run_id)

    def tasks(
        self, run_id: str, *, ids: Any = None, names: Any = None, states: Any = None,
        processed: Any = None, has_next: Any = None, latest: bool = False,
    ) -> list[Any]:  # fmt: skip
        newest: dict[str, int] = {}
        for row in self.task_rows.values():
            if row["workflow_execution_id"] == run_id:
                newest[row["name"]] = max(row["seq"], newest.get(row["name"], 0))
        return [
            copy.deepcopy(row)
            for row in self.task_rows.values()
            if row["workflow_execution_id"] == run_id
            and (ids is None or row["id"] in set(ids))
            and (names is None or row["name"] in set(names))
            and (states is None or row["state"] in set(states))
            and (processed is None or row["processed"] == processed)
            and (has_next is None or row["has_next_tasks"] == has_next)
            and (not latest or row["seq"] == newest[row["name"]])
        ]

    def project_tasks(self, project_id: str, limit: int) -> list[Any]:
        rows = self.task_rows.values()
        found = [row for row in rows if row["project_id"] == project_id]
        return copy.deepcopy(found[:limit])

    def actions(
        self, run_id: str, *, ids: Any = None, task_ids: Any = None, states: Any = None
    ) -> list[Any]:
        return [
            copy.deepcopy(row)
            for row in self.action_rows.values()
            if (task_ids is not None or row["workflow_execution_id"] == run_id)
            and (ids is None or row["id"] in set(ids))
            and (task_ids is None or row["task_execution_id"] in set(task_ids))
            and (states is None or row["state"] in set(states))
        ]

    def children(self, task_ids: Any) -> list[Any]:
        wanted = set(task_ids)
        return [r for r in self.runs.values() if r["task_execution_id"] in wanted]

    def open_children(self, run_id: str) -> list[Any]:
        mine = self.tasks(run_id)
        found = self.children(row["id"] for row in mine if row["type"] == "WORKFLOW")
        return [row for row in found if row["state"] not in COMPLETED]

    def arrivals(
        self, join_id: str, inbound: str | None = None, *, rounds: Any = None
    ) -> list[Any]:
        return [
            row
            for row in self.arrival_rows
            if row["join_id"] == join_id
            and inbound in (None, row["inbound"])
            and (rounds is None or rounds[0] <= row["round"] < rounds[1])
        ]

    def posted_message(self, run_id: str, message_id: str) -> list[Any]:
        rows = self._messages_of(run_id)
        return [row for row in rows if row["message_id"] == message_id]

    def kept_messages(self, run_id: str) -> list[Any]:
        return [row for row in self._messages_of(run_id) if row["taken_by"] is None]

    def _messages_of(self, run_id: str) -> list[Any]:
        found = self.message_rows.values()
        return [copy.deepcopy(r) for r in found if r["workflow_execution_id"] == run_id]

    def message_waits(self, run_id: str, subject: str) -> list[Any]:
        return [
            copy.deepcopy(row)
            for row in self.wait_rows.values()
            if row["workflow_execution_id"] == run_id and row["subject"] == subject
        ]

    def document(self, run_id: str, document_id: str) -> Any:
        return copy.deepcopy(self.document_rows[run_id, document_id])

    def holds(self, run_id: str, document_id: str) -> bool:
        return (run_id, document_id) in self.document_rows

    def executions(self, project_id: str, limit: int, **filters: Any) -> list[Any]:
        names = ("id", "root_execution_id", "state")
        found = [
            row
            for row in self.runs.values()
            if all(filters.get(name) in (None, row[name]) for name in names)
        ]
        return found[:limit]


Script = Callable[[Mapping[str, Any]], tuple[str, Any] | None]


class Simulator:
    """Runs workflows to their end.

    :param seed: orders the events that wait; None: in order.
    :param duplicates: every message is heard a second time.
    """

    def __init__(
        self,
        text: str = "",
        *,
        actions: str = "",
        seed: int | None = None,
        duplicates: bool = False,
        rules: Rules | None = None,
        script: Script | None = None,
        store: MemoryStore | None = None,
    ) -> None:
        self.store = store or MemoryStore(rules or Rules())
        self.clock = FakeClock()
        self.queue: list[tuple[Event, str | None]] = []
        self.timers: list[tuple[datetime, int, Event]] = []
        self.offers: dict[str, CallAction] = {}
        self.random = None if seed is None else random.Random(seed)
        self.duplicates = duplicates
        self.script = script
        self.calls: list[Mapping[str, Any]] = []
        self.notices: list[Notify] = []
        self.written = Changes()
        self._count = itertools.count()
        if text:
            self.upload(text)
        for action in parse_actions(actions) if actions else ():
            self.store.adhoc_specs[action.spec.name] = action.spec
            self.store.adhoc_texts[action.spec.name] = action.text

    def upload(self, text: str) -> None:
        for parsed in parse_workflows(text):
            name = parsed.spec.name
            spec_id = f"{name}-{next(self._count)}"
            self.store.specs[spec_id] = workflow_from_dict(parsed.spec.body)
            self.store.texts[spec_id] = parsed.text
            self.store.definitions[name] = {
                "id": name, "name": name, "namespace": "", "workbook_name": None,
                "spec_id": spec_id,
            }  # fmt: skip

    def start(self, name: str, input: Any = None, **params: Any) -> str:
        run_id = f"run-{next(self._count)}"
        self.request(
            StartWorkflow(
                run_id=run_id, workflow_name=name, input=input or {}, params=params,
                request_id="r", context=CONTEXT,
            )
        )  # fmt: skip
        return run_id

    def run(self, name: str, input: Any = None, **params: Any) -> dict[str, Any]:
        run_id = self.start(name, input, **params)
        self.settle()
        return self.store.runs[run_id]

    def request(self, event: Event) -> Any:
        return self._turn(event)

    def settle(self, until: datetime | None = None) -> None:
        """Hear all that waits, and let time pass until nothing does.

        :param until: not further than this.
        """
        while True:
            if self.queue:
                position = self.random.randrange(len(self.queue)) if self.random else 0
                event, row = self.queue.pop(position)
                self._turn(event)
                if self.duplicates and row is None:
                    # What an outbox row carries is consumed with the row.
                    self._turn(event)
            elif self.offers:
                self._execute(next(iter(self.offers.values())))
            elif self.timers and (until is None or self.timers[0][0] <= until):
                due, _, event = heapq.heappop(self.timers)
                self.clock.advance(max(0.0, (due - self.clock.now()).total_seconds()))
                self.queue.append((event, "row"))
            else:
                if until is not None:
                    rest = (until - self.clock.now()).total_seconds()
                    self.clock.advance(max(0.0, rest))
                return

    def _execute(self, call: CallAction) -> None:
        """Play the executor for one offer; a script may leave it open."""
        del self.offers[call.action_id]
        if not self.claimed(call, f"t{next(self._count)}"):
            return
        self.calls.append({"name": call.name, **call.input})
        outcome = (
            self.script({"name": call.name, **call.input}) if self.script else None
        )
        if outcome is None:
            return
        state, result = outcome
        finished = ActionFinished(
            run_id=call.run_id, action_id=call.action_id, attempt=call.attempt,
            state=state, result=result,
        )  # fmt: skip
        self.queue.append((finished, None))

    def claimed(self, call: CallAction, token: str, executor: str = "e") -> bool:
        """Whether an executor may begin; it has then."""
        claim = ClaimAction(
            action_id=call.action_id,
            attempt=call.attempt,
            token=token,
            executor_id=executor,
        )
        action = self.store.action_rows.get(call.action_id)
        yes = may_begin(action, claim)
        if yes and action is not None and action["started_by"] is None:
            action.update(begun(token, executor, self.clock.now()))
        return yes

    def _turn(self, event: Event) -> Any:
        key = event.run_id or event.action_id  # type: ignore[attr-defined]
        run = self._load(event, key)
        now = self.clock.now()
        decision = decide(run, event, self.store, now)
        if decision.run is not None:
            self._save(decision.run, now)
        for effect in decision.effects:
            if isinstance(effect, Notify):
                self.notices.append(effect)
            elif isinstance(effect, CallAction):
                self.offers[effect.action_id] = effect
            elif isinstance(effect, Tell) and effect.due_at is None:
                self.queue.append((effect.event, "row"))
            elif isinstance(effect, Tell):
                entry = (effect.due_at, next(self._count), effect.event)
                heapq.heappush(self.timers, entry)
        return decision.answer

    def _load(self, event: Event, key: str) -> Run | None:
        row = self.store.runs.get(key)
        if row is None and not event.run_id:
            action = self.store.action_rows.get(key)
            return Run.alone(Action.from_row(action) if action else None, key)
        if row is None:
            return None
        run: Run = Run.from_row(copy.deepcopy(row))
        run.spec = self.store.spec(run.spec_id)
        return run

    def _save(self, run: Run, now: datetime) -> None:
        store = self.store
        if run.deleted:
            self._remove(run.id)
            return
        found = self.written = self._kept(changes(run, now))
        if found.new_header:
            store.runs[run.id] = found.new_header
        if found.header:
            store.runs[run.id].update(found.header)
        for row in found.new_tasks:
            store.task_rows[row["id"]] = row
        for row in found.tasks:
            store.task_rows[row["id"]].update(row)
        for row in found.new_actions:
            store.action_rows[row["id"]] = row
        for row in found.actions:
            store.action_rows[row["id"]].update(row)
        for action_id in found.withdrawn:
            store.action_rows.pop(action_id, None)
        store.arrival_rows.extend(found.arrivals)
        keys = [(r["join_id"], r["round"], r["inbound"]) for r in store.arrival_rows]
        assert len(keys) == len(set(keys)), "the table has one row per inbound task"
        for row in found.documents:
            store.document_rows[run.id, row["id"]] = row["body"]
        for row in found.new_messages:
            store.message_rows[row["id"]] = row
        for row in found.taken_messages:
            store.message_rows[row["id"]].update(row)
        for row in found.new_waits:
            store.wait_rows[row["id"]] = row
        for action_id in found.ended_waits:
            del store.wait_rows[action_id]
        for action_id in found.settled_offers:
            self.offers.pop(action_id, None)

    def _kept(self, found: Changes) -> Changes:
        """What a store would hand out again: nothing that is shared."""
        return copy.deepcopy(found)

    def _remove(self, run_id: str) -> None:
        """A run takes its sub-workflows with it, as the database does."""
        store = self.store
        store.runs.pop(run_id, None)
        mine = {
            id
            for id, row in store.task_rows.items()
            if row["workflow_execution_id"] == run_id
        }
        # What foreign keys do in a database.
        for table in (store.task_rows, store.action_rows, store.message_rows):
            for id, row in list(table.items()):
                if row["workflow_execution_id"] == run_id:
                    del table[id]
        for row in list(store.runs.values()):
            if row["task_execution_id"] in mine:
                self._remove(row["id"])

    # -- Hands ----------------------------------------------------------------

    def ask(self, kind: Any, run_id: str, **values: Any) -> Any:
        """What a user asks of a run, and all that follows."""
        values = {"request_id": f"q{next(self._count)}", "context": CONTEXT, **values}
        answer = self.request(kind(run_id=run_id, **values))
        self.settle()
        return answer

    def answer(
        self, run_id: str, name: str, state: str = SUCCESS, result: Any = None
    ) -> None:
        """End the asynchronous action that a task waits for."""
        ids = {task.id for task in self.tasks(run_id, name)}
        [action] = [
            row
            for row in self.store.action_rows.values()
            if row["task_execution_id"] in ids and row["state"] == "RUNNING"
        ]
        more = {"action_id": action["id"], "state": state, "result": result}
        self.ask(UpdateAction, run_id, **more)

    # -- What tests look at ---------------------------------------------------

    def tasks(self, run_id: str, name: str | None = None) -> list[Any]:
        rows = [
            Task.from_row(row)
            for row in self.store.task_rows.values()
            if row["workflow_execution_id"] == run_id and name in (None, row["name"])
        ]
        return sorted(rows, key=lambda task: task.seq)

    def states(self, run_id: str) -> dict[str, str]:
        return {task.name: task.state for task in self.tasks(run_id)}

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def later(self, seconds: float) -> datetime:
        return self.clock.now() + timedelta(seconds=seconds)
