"""Direct workflows: clauses, commands, joins (LANG § 14 to § 16)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from oracle.contexts import Context, meet
from oracle.runs import Ended, Execution, Flow, RunResult
from oracle.unsure import ERROR, SUCCESS, UNSURE, Forced, Undetermined

COMMANDS: Final = frozenset({"noop", "fail", "succeed", "pause"})
CLAUSES: Final = ("on-success", "on-error", "on-complete", "on-skip")


@dataclass(eq=False)
class Join:
    execution: Execution
    waiting: bool = True
    fired: dict[str, Execution] = field(default_factory=dict)
    consumed: set[int] = field(default_factory=set)


class Direct(Flow):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.queue: deque[Execution] = deque()
        self.joins: dict[str, Join] = {}
        self.executions: dict[str, list[Execution]] = {}
        self.inbound: dict[str, list[str]] = {name: [] for name in self.tasks}
        for name in self.tasks:
            for target in {t for c in CLAUSES for t, _, _ in self.entries(name, c)}:
                if target in self.inbound and target not in COMMANDS:
                    self.inbound[target].append(name)

    def entries(self, name: str, clause: str) -> list[tuple[str, Any, Any]]:
        """(target, condition, message) as written (LANG § 14.1, § 19)."""
        own = self.tasks[name].get(clause)
        if isinstance(own, Mapping):
            own = own.get("next")
        found = [_entry(each) for each in own or ()]
        if found:
            return found
        default = self.body.get("task-defaults", {}).get(clause, ())
        return [e for e in map(_entry, default) if e[0] != name]

    def upstream(self, name: str) -> set[str]:
        seen: set[str] = set()
        stack = list(self.inbound[name])
        while stack:
            current = stack.pop()
            if current not in seen:
                seen.add(current)
                stack.extend(self.inbound[current])
        return seen

    def run(self) -> RunResult:
        try:
            for name in self.tasks:
                if not self.inbound[name]:
                    self.create(name, Context(), frozenset())
            while True:
                while self.queue:
                    self.step(self.queue.popleft())
                stuck = self.stuck()
                if stuck is None:
                    break
                self.fail(stuck)
        except Ended:
            pass
        for name, join in self.joins.items():
            self.check_partial(name, join)
        ends = [tx for tx in self.done if not tx.next or tx is self.issuer]
        return self.finish(meet(tx.outbound for tx in ends))

    def create(self, name: str, context: Context, before: frozenset[int]) -> None:
        tx = Execution(name, context, before)
        self.executions.setdefault(name, []).append(tx)
        self.queue.append(tx)

    def step(self, tx: Execution) -> None:
        try:
            self.execute(tx)
            fired = self.fired(tx)
        except Forced:
            tx.state, tx.unsure, tx.calls = ERROR, True, None
            tx.context = Context(fuzzy=True)
            if tx not in self.done:
                self.done.append(tx)
            self.over(tx, ERROR, UNSURE)
            raise Ended from None
        self.dispatch(tx, fired)

    def fired(self, tx: Execution) -> list[tuple[str, str, Any]]:
        """(target, clause, message), in order (LANG § 14.2)."""
        clauses = {
            SUCCESS: ("on-success", "on-complete"),
            ERROR: ("on-error", "on-complete"),
        }.get(tx.state, ())
        seen = self.seen(tx.outbound, result=tx.result, state=tx.state)
        found = []
        for clause in clauses:
            for target, condition, message in self.entries(tx.name, clause):
                if condition is None or seen.truth(condition):
                    found.append((target, clause, message))
        tx.handled = any(clause == "on-error" for _, clause, _ in found)
        tx.next = [target for target, _, _ in found if target not in COMMANDS]
        return found

    def dispatch(self, tx: Execution, fired: list[tuple[str, str, Any]]) -> None:
        """LANG § 15.2. A pause changes nothing: somebody resumes."""
        after = frozenset({*tx.before, tx.token})
        for target, _, message in fired:
            if target in ("noop", "pause"):
                continue
            if target in ("fail", "succeed"):
                self.over(tx, ERROR if target == "fail" else SUCCESS, message)
                raise Ended
            if self.tasks[target].get("join"):
                self.arrive(target, tx, after)
            else:
                self.create(target, tx.outbound, after)

    def over(self, tx: Execution, state: str, message: Any) -> None:
        before = {*tx.before, tx.token}
        beside = any(each.token not in before for each in self.done)
        if beside or self.queue or any(j.waiting for j in self.joins.values()):
            raise Undetermined("the run is ended beside other tasks")
        self.end, self.issuer = (state, message), tx

    # Joins (LANG § 16, ENG § 2.7).

    def needed(self, name: str) -> int:
        wanted = self.tasks[name]["join"]
        return {"all": len(self.inbound[name]), "one": 1}.get(wanted, wanted)

    def arrive(self, name: str, tx: Execution, after: frozenset[int]) -> None:
        join = self.joins.get(name)
        if join is None:
            join = self.joins[name] = Join(Execution(name, Context(), frozenset()))
        elif not join.waiting and tx.name in join.fired:
            if join.execution.token not in after:
                raise Undetermined("an inbound task ran again beside its join")
            # A second trigger of a contributor: the next round (Q35).
            join.consumed |= {id(each) for n in join.fired for each in self.olds(n, tx)}
            join.fired, join.waiting = {}, True
            self.done.remove(join.execution)
        elif tx.name in join.fired:
            raise Undetermined("an inbound task fired twice in a round")
        join.fired[tx.name] = tx
        if join.waiting and len(join.fired) >= self.needed(name):
            self.check_once(name, join)
            self.begin(name, join)

    def olds(self, name: str, tx: Execution) -> list[Execution]:
        return [each for each in self.executions.get(name, ()) if each is not tx]

    def check_once(self, name: str, join: Join) -> None:
        for inbound in self.inbound[name]:
            fresh = [
                tx
                for tx in self.executions.get(inbound, ())
                if id(tx) not in join.consumed
            ]
            if len(fresh) > 1:
                raise Undetermined("an inbound task ran twice in a round")

    def check_partial(self, name: str, join: Join) -> None:
        if self.needed(name) < len(self.inbound[name]):
            self.check_once(name, join)

    def begin(self, name: str, join: Join) -> None:
        tx = join.execution
        sources = list(join.fired.values())
        tx.context = meet(each.outbound for each in sources)
        if self.needed(name) < len(self.inbound[name]):
            # Who else arrives before it starts or completes (LANG § 16.3).
            tx.context = Context(
                dict.fromkeys(tx.context.values, UNSURE),
                dict.fromkeys(tx.context.versions),
                fuzzy=True,
            )
        tx.before = frozenset().union(*(s.before | {s.token} for s in sources))
        join.waiting = False
        if tx not in self.executions.setdefault(name, []):
            self.executions[name].append(tx)
        self.queue.append(tx)

    def stuck(self) -> Join | None:
        """A waiting join that nothing can reach any more."""
        waiting = {n: join for n, join in self.joins.items() if join.waiting}
        for name, join in waiting.items():
            above = self.upstream(name)
            if name in above:
                raise Undetermined("a join fails in a cycle")
            if not above & set(waiting):
                self.check_once(name, join)
                return join
        return None

    def fail(self, join: Join) -> None:
        tx = join.execution
        tx.never_ran = True
        tx.context = Context(fuzzy=True)  # who had arrived when it failed
        tx.before = frozenset(
            token for s in join.fired.values() for token in (*s.before, s.token)
        )
        join.waiting = False
        self.executions.setdefault(tx.name, []).append(tx)
        self.queue.append(tx)


def _entry(each: Any) -> tuple[str, Any, Any]:
    target, condition = (
        next(iter(each.items())) if isinstance(each, Mapping) else (each, None)
    )
    name, _, message = target.partition(" msg=")
    return name, condition, message.strip('"') if message else None
