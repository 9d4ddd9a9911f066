"""Direct workflows: clauses, commands, joins (LANG § 14 to § 16)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from oracle.contexts import Context, meet
from oracle.executions import Execution
from oracle.runs import Run
from oracle.unsure import ERROR, SKIPPED, SUCCESS, UNSURE, Undetermined

COMMANDS: Final = frozenset({"noop", "fail", "succeed", "pause"})
CLAUSES: Final = ("on-success", "on-error", "on-complete", "on-skip")
OF_STATE: Final[Mapping[str, tuple[str, ...]]] = {
    SUCCESS: ("on-success", "on-complete"),
    ERROR: ("on-error", "on-complete"),
}


@dataclass(eq=False)
class Join:
    """``fired``: who has triggered it in this round, also too late. ``failed_at``:
    the last rerun or skip before it failed without running; None: it ran. ``later``:
    triggers of the next round, which came while it ran."""

    execution: Execution
    waiting: bool = True
    fired: dict[str, Execution] = field(default_factory=dict)
    consumed: set[int] = field(default_factory=set)
    failed_at: int | None = None
    later: dict[str, Execution] = field(default_factory=dict)


class Direct(Run):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.joins: dict[str, Join] = {}
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

    def named(self, name: str) -> list[Execution]:
        """Executions of a task that have begun."""
        return [tx for tx in self.executions if tx.name == name and tx.token]

    def is_waiting(self, tx: Execution) -> bool:
        join = self.joins.get(tx.name)
        return join is not None and join.waiting

    def begin(self) -> None:
        for name in self.tasks:
            if not self.inbound[name]:
                self.create(Execution(name, Context()))

    def create(self, tx: Execution) -> None:
        self.executions.append(tx)
        self.queue.append(tx)

    def advance(self) -> None:
        while True:
            while self.queue:
                self.start(self.queue.popleft())
            if not self.decide_a_join():
                break
        for name, join in self.joins.items():
            if self.needed(name) < len(self.inbound[name]):
                self.check_once(name, join)

    def final(self, issuer: Execution | None) -> Context:
        over = (tx for tx in self.executions if tx.state)
        return meet(tx.outbound for tx in over if not tx.next or tx is issuer)

    # Clauses and commands.

    def route(self, tx: Execution) -> None:
        tx.routed = True
        self.dispatch(tx, self.fired(tx))
        join = self.joins.get(tx.name)
        if join is not None and join.later:
            later, join.later = join.later, {}
            self.next_round(join, later)
            self.begin_if_due(tx.name, join)

    def fired(self, tx: Execution) -> list[tuple[str, str, Any]]:
        """(target, clause, message), in order (LANG § 14.2)."""
        if tx.state == SKIPPED:
            found = self.fired_of(tx, ("on-skip",)) or self.fired_of(
                tx, ("on-success",)
            )
        else:
            found = self.fired_of(tx, OF_STATE.get(tx.state, ()))
        on_error = tx.state == ERROR
        tx.handled = on_error and any(clause == "on-error" for _, clause, _ in found)
        tx.next = [target for target, _, _ in found if target not in COMMANDS]
        return found

    def fired_of(
        self, tx: Execution, clauses: tuple[str, ...]
    ) -> list[tuple[str, str, Any]]:
        seen = self.seen(tx.outbound, result=tx.result, state=tx.state)
        return [
            (target, clause, message)
            for clause in clauses
            for target, condition, message in self.entries(tx.name, clause)
            if condition is None or seen.truth(condition)
        ]

    def dispatch(self, tx: Execution, fired: list[tuple[str, str, Any]]) -> None:
        """LANG § 15.2. A pause changes nothing: somebody resumes."""
        after = frozenset({*tx.before, tx.token})
        for target, _, message in fired:
            if target in ("noop", "pause"):
                continue
            if target in ("fail", "succeed"):
                self.end(tx, ERROR if target == "fail" else SUCCESS, message)
            if self.tasks[target].get("join"):
                self.arrive(target, tx, after)
            else:
                self.create(Execution(target, tx.outbound, after, tx.redo))

    def end(self, tx: Execution, state: str, message: Any) -> None:
        fresh = (
            join.waiting and join.execution.phase == self.world.phase
            for join in self.joins.values()
        )
        if any(fresh):
            raise Undetermined("the run is ended beside other tasks")
        super().end(tx, state, message)

    def rerun(self, tx: Execution, reset: bool) -> None:
        if tx.name in self.joins:
            # It runs whatever its inbound tasks did (J5).
            self.joins[tx.name].failed_at = None
        super().rerun(tx, reset)

    # Joins (LANG § 16, ENG § 2.7).

    def needed(self, name: str) -> int:
        wanted = self.tasks[name]["join"]
        return {"all": len(self.inbound[name]), "one": 1}.get(wanted, wanted)

    def arrive(self, name: str, tx: Execution, after: frozenset[int]) -> None:
        join = self.joins.get(name)
        if join is None:
            made = Execution(name, Context(), phase=self.world.phase)
            self.executions.append(made)
            join = self.joins[name] = Join(made)
        elif join.waiting:
            old = join.fired.get(tx.name)
            if old is not None and old.phase == tx.phase:
                raise Undetermined("an inbound task fired twice in a round")
        elif join.failed_at is not None:
            if tx.redo > join.failed_at:
                # Executed again by a rerun or skip: what had arrived counts still.
                self.next_round(join, dict(join.fired))
            elif tx.name in join.fired:
                raise Undetermined("an inbound task ran again beside its join")
        elif tx.name in join.fired:
            # A second trigger of a contributor: the next round (Q35).
            earlier = max(join.fired[tx.name].phase, join.execution.phase)
            if join.execution.token not in after and earlier == self.world.phase:
                raise Undetermined("an inbound task ran again beside its join")
            if not join.execution.state:
                join.later[tx.name] = tx
                return
            self.next_round(join, {})
        elif join.execution.token in after:
            self.next_round(join, {})
        join.fired[tx.name] = tx
        self.begin_if_due(name, join)

    def begin_if_due(self, name: str, join: Join) -> None:
        if join.waiting and len(join.fired) >= self.needed(name):
            self.check_once(name, join)
            self.run_join(name, join)

    def next_round(self, join: Join, fired: dict[str, Execution]) -> None:
        join.consumed |= {id(each) for n in join.fired for each in self.named(n)}
        join.consumed -= {id(each) for each in fired.values()}
        join.fired, join.waiting, join.failed_at = fired, True, None
        tx = join.execution
        tx.reopen(tx.redo, self.world.phase)
        tx.published = {}

    def check_once(self, name: str, join: Join) -> None:
        """An inbound task that runs twice in a round makes it depend on the order."""
        for inbound in self.inbound[name]:
            fresh = [
                tx
                for tx in self.named(inbound)
                if tx.phase == self.world.phase and id(tx) not in join.consumed
            ]
            if len(fresh) > 1:
                raise Undetermined("an inbound task ran twice in a round")

    def run_join(self, name: str, join: Join) -> None:
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
        self.decided(join, sources)
        tx.never_ran = False
        self.queue.append(tx)

    def decided(self, join: Join, sources: list[Execution]) -> None:
        tx = join.execution
        tx.before = frozenset(t for s in sources for t in (*s.before, s.token))
        tx.redo = max((s.redo for s in sources), default=0)
        join.waiting = False

    def decide_a_join(self) -> bool:
        """A waiting join that is decided by who cannot come any more.

        :raises Undetermined: that depends on the order.
        """
        waiting = {n: join for n, join in self.joins.items() if join.waiting}
        for name, join in waiting.items():
            total, needed = len(self.inbound[name]), self.needed(name)
            dead, old = 0, dict(join.fired)
            for inbound in self.inbound[name]:
                if inbound in join.fired or self.may_come(inbound, name):
                    continue
                latest = (self.named(inbound) or [None])[-1]
                if latest is not None and name in latest.next:
                    # It cannot run again: what it brought before still counts.
                    old[inbound] = latest
                else:
                    dead += 1
            if len(old) < needed and dead <= total - needed:
                continue
            if name in self.upstream(name):
                raise Undetermined("a join fails in a cycle")
            self.check_once(name, join)
            join.fired = old
            if len(old) >= needed:
                self.run_join(name, join)
            else:
                self.fail_join(join)
            return True
        if waiting and all(tx.state or self.is_waiting(tx) for tx in self.executions):
            raise Undetermined("a join fails in a cycle")
        return False

    def fail_join(self, join: Join) -> None:
        tx = join.execution
        tx.context = Context(fuzzy=True)  # who had arrived when it failed
        self.decided(join, list(join.fired.values()))
        tx.never_ran, join.failed_at = True, self.world.redo
        self.queue.append(tx)

    def may_come(self, name: str, join: str) -> bool:
        """Whether a task runs, or may be reached by one that does (ENG § 2.7.3).

        :raises Undetermined: only past tasks that have run already.
        """
        open_now = {tx.name for tx in self.executions if not tx.state} - {join}
        if name in open_now:
            return True
        strict, loose = (
            bool(self.upstream(name, join, past_done=p) & open_now) for p in (0, 1)
        )
        if loose and not strict:
            raise Undetermined("a task may run once more before a join")
        return strict

    def upstream(self, name: str, but: str = "", *, past_done: int = 1) -> set[str]:
        """Tasks that lead to this one.

        :param past_done: 0: the way goes through tasks that have not run.
        """
        seen: set[str] = set()
        stack = list(self.inbound[name])
        if not past_done and self.named(name):
            return seen
        while stack:
            current = stack.pop()
            if current in seen or current == but:
                continue
            seen.add(current)
            if past_done or not self.named(current):
                stack.extend(self.inbound[current])
        return seen


def _entry(each: Any) -> tuple[str, Any, Any]:
    target, condition = (
        next(iter(each.items())) if isinstance(each, Mapping) else (each, None)
    )
    name, _, message = target.partition(" msg=")
    return name, condition, message.strip('"') if message else None
