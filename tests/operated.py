"""What users do to runs to which nothing happens by themselves any more: drawn from
what the oracle says is there, and done to the rows that stand for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from oracle import Oracle, Place, Refused
from shuffled import Shuffled, ask

from mistral.errors import CallerError
from mistral.messages import RerunTask, SkipTask, StopWorkflow, UpdateAction

STATES = ("SUCCESS", "ERROR", "CANCELLED")


@dataclass(frozen=True)
class Operation:
    """:param how: ``reset`` of a rerun; the state of an answer or a stop."""

    kind: str
    place: Place
    how: Any = None


def drawn(draw: Any, oracle: Oracle) -> Operation:
    """Mostly what goes on with something; now and then what must be refused."""
    failed, held, runs = oracle.failed(), oracle.held(), oracle.runs()
    kinds = ["stop"]
    kinds += ["rerun"] * 4 + ["skip"] * 2 if failed else []
    kinds += ["answer"] * 4 if held else []
    kind = draw(st.sampled_from(kinds))
    place = draw(st.sampled_from({"stop": runs, "answer": held}.get(kind, failed)))
    if kind in ("stop", "answer"):
        return Operation(kind, place, draw(st.sampled_from(STATES)))
    reset = kind == "skip" or not oracle.is_many(place) or draw(st.booleans())
    return Operation(kind, place, reset)


def foretold(oracle: Oracle, operation: Operation) -> bool:
    """Do it to the oracle; answers whether the service must do it, too."""
    place = operation.place
    try:
        match operation.kind:
            case "rerun":
                oracle.rerun(place, operation.how)
            case "skip":
                oracle.skip(place)
            case "stop":
                oracle.stop(place, operation.how)
            case "answer":
                oracle.answer(place, operation.how)
    except Refused:
        return False
    return True


class Operated(Shuffled):
    """Runs that users work on."""

    def operate(self, root_id: str, operation: Operation) -> bool:
        """Ask the engine for it; answers whether it does it."""
        place, how = operation.place, operation.how
        run_id = self.run_at(root_id, place)
        match operation.kind:
            case "stop":
                event = ask(StopWorkflow, run_id, state=how, message=None)
            case "answer":
                action = self.action_at(run_id, place)
                result = {"SUCCESS": 7, "ERROR": "bad"}.get(how)
                more = {"action_id": action["id"], "state": how, "result": result}
                event = ask(UpdateAction, run_id, **more)
            case "skip":
                event = ask(SkipTask, run_id, task_id=self.task_at(run_id, place)["id"])
            case _:
                task = self.task_at(run_id, place)
                event = ask(RerunTask, run_id, task_id=task["id"], reset=how)
        try:
            self.heard(event)
        except CallerError:
            return False
        return True

    def run_at(self, root_id: str, place: Place) -> str:
        run_id = root_id
        for name, item, number in place.path:
            task = self.task_at(run_id, Place((), name))
            below = [
                (row["internals"]["parent"]["attempt"], id)
                for id, row in self.store.runs.items()
                if row["task_execution_id"] == task["id"]
                and row["internals"]["parent"]["index"] == item
            ]
            run_id = sorted(below)[number][1]
        return run_id

    def task_at(self, run_id: str, place: Place) -> Mapping[str, Any]:
        [row] = [
            row
            for row in self.store.task_rows.values()
            if (row["workflow_execution_id"], row["name"]) == (run_id, place.task)
        ]
        return row

    def action_at(self, run_id: str, place: Place) -> Mapping[str, Any]:
        task = self.task_at(run_id, place)
        [row] = [
            row
            for row in self.store.action_rows.values()
            if row["task_execution_id"] == task["id"]
            and row["item_index"] == place.item
            and row["state"] == "RUNNING"
        ]
        return row

    def quiet(self) -> None:
        """Nothing happens by itself any more."""
        assert not self.queue and not self.offers and not self.timers
