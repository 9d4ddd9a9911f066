"""Reverse workflows (LANG § 17)."""

from __future__ import annotations

from oracle.contexts import Context, meet
from oracle.runs import Execution, Flow, RunResult
from oracle.unsure import SUCCESS, Forced, Undetermined


class Reverse(Flow):
    def run(self) -> RunResult:
        target = self.params["task_name"]
        done: dict[str, Execution] = {}
        ended = False
        for name in self.order(target):
            needs = self.needs(name)
            if any(n not in done or done[n].state != SUCCESS for n in needs):
                continue
            tx = Execution(name, meet(done[n].outbound for n in needs), frozenset())
            try:
                self.execute(tx)
            except Forced:
                ended = True
            done[name] = tx
        if ended:
            raise Undetermined("a reverse run is ended beside open tasks")
        final = done[target].outbound if target in done else Context()
        return self.finish(final)

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
