"""The pure core as a stage: rows are dicts, time moves when it is told to."""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from house import CALLER
from simulator import MemoryStore, Simulator

from mistral.actions.registry import Registry
from mistral.config import Settings
from mistral.engine.core.ports import Rules
from mistral.executors.runner import Runner
from mistral.expressions.evaluate import Evaluator
from mistral.lang.parse import (
    parse_actions,
    parse_workbook,
    parse_workflows,
    workflow_from_dict,
)
from mistral.messages import (
    CallAction,
    Event,
    PauseWorkflow,
    ResumeWorkflow,
    StartWorkflow,
    State,
)
from storytelling.cast import Cast
from storytelling.stages import MOST_MOVES, Row, part_of
from storytelling.story import versioned


class _Store(MemoryStore):
    """Knows namespaces and workbooks."""

    def __init__(self, rules: Rules, registry: Registry, evaluator: Evaluator) -> None:
        super().__init__(rules, registry, evaluator)
        self.named: dict[tuple[str, str, str], Any] = {}

    def workflow(self, id: Any, name: Any, namespace: str, project_id: str) -> Any:
        return self._nearest("workflow", name, namespace)

    def adhoc(self, name: str, namespace: str, project_id: str) -> Any:
        return self._nearest("adhoc", name, namespace)

    def _nearest(self, kind: str, name: str, namespace: str) -> Any:
        here = self.named.get((kind, namespace or "", name))
        return here or self.named.get((kind, "", name))


class _Simulator(Simulator):
    """Runs the plug-in's actions; time passes when it is told to."""

    def __init__(self, store: _Store, *, seed: int | None, duplicates: bool) -> None:
        super().__init__(store=store, seed=seed, duplicates=duplicates)
        self.store: _Store
        self.runner = Runner(store.registry)

    def settle_now(self, most: int | None = None) -> None:
        """Hear what waits until nothing does, or ``most`` of it."""
        heard = 0
        while (self.queue or self.offers) and heard != most:
            heard += 1
            waiting = len(self.queue) + len(self.offers)
            chosen = self.random.randrange(waiting) if self.random else 0
            if chosen < len(self.queue):
                event, row = self.queue.pop(chosen)
                self._turn(event)
                if self.duplicates and row is None:
                    self._turn(event)
            else:
                self._execute([*self.offers.values()][chosen - len(self.queue)])

    def _execute(self, call: CallAction) -> None:
        self.offers.pop(call.action_id, None)
        if not self._claimed(call):
            return
        self.queue.append((self.runner.run(call), None))
        if self.duplicates and self._claimed(call):
            raise AssertionError(f"the offer of {call.action_id} was claimed twice")

    def _claimed(self, call: CallAction) -> bool:
        return self.claimed(call, f"t{next(self._count)}")

    def fire_next(self, until: float) -> bool:
        """Move to the next timer that is due until then (monotonic seconds)."""
        if not self.timers:
            return False
        due, _, event = self.timers[0]
        seconds = (due - self.clock.now()).total_seconds()
        if self.clock.monotonic() + seconds > until:
            return False
        heapq.heappop(self.timers)
        self.clock.advance(max(0.0, seconds))
        self.queue.append((event, "row"))
        return True


class PureStage:
    """The core alone: ``tests/simulator.py``.

    :param seed: what waits is heard in a random order; None: in its own.
    :param duplicates: messages come twice, offers are claimed twice.
    :param own: variables that a task keeps for itself (``Rules``).
    :param pauses: so often, after the start, a random run of the tree is paused at
        a random moment, and the root resumed later; needs a seed.
    """

    kind = "core"

    def __init__(
        self,
        *,
        seed: int | None = None,
        duplicates: bool = False,
        pauses: int = 0,
        own: int = 32,
    ) -> None:
        self.seed = seed
        self._own = own
        self._duplicates = duplicates
        self._pauses = pauses
        self.cast = Cast(lambda id: part_of(self.rows, id))
        self._registry = Registry(Settings(), (self.cast.provider,))
        self._evaluator = Evaluator()
        self.open({})

    def open(self, rules: Mapping[str, Any]) -> None:
        given = Rules(own_variables=self._own, **rules)
        store = _Store(given, self._registry, self._evaluator)
        self._simulator = _Simulator(store, seed=self.seed, duplicates=self._duplicates)

    def upload(self, namespace: str, texts: Mapping[str, str]) -> None:
        flows, adhoc, book = [], [], None
        if "workflows" in texts:
            flows += parse_workflows(versioned(texts["workflows"]))
        if "adhoc-actions" in texts:
            adhoc += parse_actions(versioned(texts["adhoc-actions"]))
        if "workbook" in texts:
            parsed = parse_workbook(versioned(texts["workbook"]))
            book = parsed.spec.name
            flows += parsed.workflows
            adhoc += parsed.actions
        store = self._simulator.store
        for flow in flows:
            name = flow.spec.name
            spec_id = f"{namespace}/{name}/{len(store.specs)}"
            store.specs[spec_id] = workflow_from_dict(flow.spec.body)
            store.named["workflow", namespace, name] = {
                "id": f"{namespace}/{name}",
                "name": name,
                "namespace": namespace,
                "workbook_name": book if name.startswith(f"{book}.") else None,
                "spec_id": spec_id,
            }
        for action in adhoc:
            name = action.spec.name
            member = book if name.startswith(f"{book}.") else None
            spec = replace(action.spec, workbook=member)
            store.named["adhoc", namespace, name] = spec

    def environment(self, name: str, variables: Mapping[str, Any]) -> None:
        self._simulator.store.environments[name] = {"variables": dict(variables)}

    def ask(self, event: Event) -> Any:
        answer = self._simulator.request(event)
        if isinstance(event, StartWorkflow):
            for _ in range(self._pauses):
                self._interrupt(event.run_id)
        self.settle()
        return answer

    def _interrupt(self, root: str) -> None:
        simulator, random = self._simulator, self._simulator.random
        assert random is not None
        simulator.settle_now(random.randrange(12))
        running = [r["id"] for r in self.rows("run", state=State.RUNNING.value)]
        if not running:
            return
        whom = random.choice(running)
        who = {"request_id": self.new_id(), "context": CALLER.to_dict()}
        simulator.request(PauseWorkflow(run_id=whom, **who))
        # The pause of a sub-workflow has to reach the root before it goes on.
        simulator.settle_now(random.randrange(30) if whom == root else None)
        if self.rows("run", id=root, state=State.PAUSED.value):
            simulator.request(ResumeWorkflow(run_id=root, **who))

    def settle(self) -> None:
        self._simulator.settle_now()

    def advance(self, seconds: float | None) -> None:
        simulator = self._simulator
        end = float("inf") if seconds is None else simulator.clock.monotonic() + seconds
        for _ in range(MOST_MOVES):
            if not simulator.fire_next(end):
                break
            self.settle()
        if seconds is not None:
            simulator.clock.advance(max(0.0, end - simulator.clock.monotonic()))

    def rows(self, kind: str, **where: Any) -> list[Row]:
        store = self._simulator.store
        tables: dict[str, Mapping[str, Row]] = {
            "run": store.runs, "task": store.task_rows, "action": store.action_rows,
        }  # fmt: skip
        found = tables[kind].values()
        return [row for row in found if all(row[k] == v for k, v in where.items())]

    def new_id(self) -> str:
        return str(uuid.uuid4())
