"""What a workflow must come to: a slow interpreter of the language, and of what users
do to runs.

Written from the specification (``language.md``, ``engine.md``), not from the
engine: no events, no rows, no timers. A workflow is its YAML as a dict, with
``Expr`` objects where the text has expressions; calls are answered by a script, some
of them LATER. ``Oracle.start`` goes on until nothing happens by itself any more;
then comes one operation after the other, each until all is quiet again.
``Oracle.result`` tells the state, the output and what each task published, of all
runs.

Where the language leaves something to the order of events, the oracle says so:

* a *value* that depends on it is ``UNSURE``; a context of which even the names
  depend on it is ``fuzzy``. Equal versions of one leaf at a merge (Q54),
  contexts of joins that start or fail before all arrived (LANG § 16.3).
* ``Undetermined`` is raised where the control flow depends on it: ``fail``,
  ``succeed`` or a forced failure beside open tasks (LANG § 15.3, § 28.2), an
  inbound task of a join that runs more than once in a round (ENG § 2.7.3), a
  failing join in a cycle, guards over unsure values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from oracle.direct import Direct
from oracle.executions import Call, Execution
from oracle.expressions import Expr, rendered
from oracle.results import RunResult, TaskResult
from oracle.reverse import Reverse
from oracle.runs import Run, Script
from oracle.unsure import ERROR, LATER, UNSURE, Refused, Undetermined, fits

__all__ = [
    "LATER", "UNSURE", "Expr", "Oracle", "Place", "Refused", "RunResult", "TaskResult",
    "Undetermined", "fits", "rendered",
]  # fmt: skip

STEPS: Final = 600
"""Executions of tasks after which a generated loop counts as endless."""

Path = tuple[tuple[str, int, int], ...]
"""From the root down: task, item, and which of the sub-workflows of that item."""


@dataclass(frozen=True)
class Place:
    """Something that an operation can be about: a run, a task that has one execution
    only, or its open call of an item."""

    path: Path
    task: str = ""
    item: int = 0


class Oracle:
    """:param definitions: workflows by name, with ``Expr`` for expressions."""

    def __init__(self, definitions: Mapping[str, Any], script: Script) -> None:
        self.definitions = definitions
        self.script = script
        self.left = STEPS
        self.phase = self.redo = 0
        self.root: Run

    def start(self, name: str, input: Mapping[str, Any], **params: Any) -> None:
        """:raises Undetermined: the language does not say; as all below."""
        kind = Reverse if self.definitions[name].get("type") == "reverse" else Direct
        self.root = kind(self, name, input, params, None)
        self.root.begin()
        self.root.settle()

    def result(self) -> RunResult:
        return self.root.result()

    # What can be done, and doing it.

    def runs(self) -> list[Place]:
        return [Place(path) for path, _ in self._runs()]

    def failed(self) -> list[Place]:
        """Tasks that are in ERROR."""
        return [
            Place(path, tx.name)
            for path, run in self._runs()
            for tx in _alone(run)
            if tx.state == ERROR
        ]

    def held(self) -> list[Place]:
        """Calls that wait for an answer."""
        return [
            Place(path, tx.name, call.item)
            for path, run in self._runs()
            for tx in _alone(run)
            if not tx.several
            for call in tx.calls
            if call.is_action and not call.state
        ]

    def rerun(self, place: Place, reset: bool) -> None:
        """:raises Refused: the service must refuse it; as the others."""
        run, tx = self._moved(place)
        run.rerun(tx, reset)

    def skip(self, place: Place) -> None:
        run, tx = self._moved(place)
        run.skip(tx)

    def stop(self, place: Place, state: str) -> None:
        self._next_phase()
        self._run(place.path).stop(state)

    def answer(self, place: Place, state: str) -> None:
        run, tx = self._moved(place)
        [call] = [c for c in tx.calls if c.item == place.item and not c.state]
        run.answer(tx, call, state)

    def is_many(self, place: Place) -> bool:
        """Whether the task has items."""
        return "with-items" in self._run(place.path).tasks[place.task]

    # As runs see it (``runs.World``).

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Undetermined("a loop without end")

    def make(
        self,
        name: str,
        given: Mapping[str, Any],
        above: tuple[Run, Execution],
        call: Call,
    ) -> Run:
        body = self.definitions[name]
        declared = {key for each in body.get("input", ()) for key in each}
        input = {k: v for k, v in given.items() if k in declared}
        params = {k: v for k, v in given.items() if k not in declared}
        kind = Reverse if body.get("type") == "reverse" else Direct
        return kind(self, name, input, params, (*above, call))

    def _next_phase(self) -> None:
        self.phase += 1
        for _, run in self._runs():
            run.past = frozenset(tx.token for tx in run.executions)

    def _moved(self, place: Place) -> tuple[Run, Execution]:
        self._next_phase()
        run = self._run(place.path)
        [tx] = [tx for tx in run.executions if tx.name == place.task]
        return run, tx

    def _run(self, path: Path) -> Run:
        return dict(self._runs())[path]

    def _runs(self) -> Iterator[tuple[Path, Run]]:
        """All that can be told apart, each after the one above it."""
        stack: list[tuple[Path, Run]] = [((), self.root)]
        while stack:
            path, run = stack.pop(0)
            yield path, run
            for tx in _alone(run):
                if not tx.several:
                    stack.extend(_below(path, tx))


def _alone(run: Run) -> list[Execution]:
    """Executions of tasks that have one only."""
    names = [tx.name for tx in run.executions]
    return [tx for tx in run.executions if names.count(tx.name) == 1]


def _below(path: Path, tx: Execution) -> Iterator[tuple[Path, Run]]:
    counts: dict[int, int] = {}
    for call in tx.calls:
        if call.run is not None:
            number = counts.get(call.item, 0)
            counts[call.item] = number + 1
            yield (*path, (tx.name, call.item, number)), call.run
