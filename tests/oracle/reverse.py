"""Reverse workflows (LANG § 17)."""

from __future__ import annotations

from typing import Any

from oracle.contexts import Context, meet
from oracle.executions import Execution
from oracle.runs import Run
from oracle.unsure import SKIPPED, SUCCESS, Undetermined

SATISFIED = (SUCCESS, SKIPPED)


class Reverse(Run):
    def begin(self) -> None:
        """``advance`` finds what is ready."""

    def advance(self) -> None:
        made = {tx.name: tx for tx in self.executions}
        for name in self.order(self.params["task_name"]):
            needs = self.needs(name)
            ready = all(n in made and made[n].state in SATISFIED for n in needs)
            if name not in made and ready:
                context = meet(made[n].outbound for n in needs)
                made[name] = Execution(name, context)
                self.executions.append(made[name])
                self.start(made[name])

    def route(self, tx: Execution) -> None:
        tx.routed = True

    def end(self, tx: Execution, state: str, message: Any) -> None:
        raise Undetermined("a reverse run is ended beside open tasks")

    def final(self, issuer: Execution | None) -> Context:
        target = self.params["task_name"]
        ended = [tx for tx in self.executions if tx.name == target and tx.state]
        return meet(tx.outbound for tx in ended)

    def needs(self, name: str) -> list[str]:
        default = self.body.get("task-defaults", {}).get("requires", ())
        own = self.tasks[name].get("requires", ())
        return [n for n in dict.fromkeys((*own, *default)) if n != name]

    def order(self, target: str) -> list[str]:
        found: list[str] = []

        def visit(name: str) -> None:
            for needed in self.needs(name):
                visit(needed)
            if name not in found:
                found.append(name)

        visit(target)
        return found
