"""One run: its tasks with all their attempts, its end, and what users do to it.

Nothing happens by itself: ``settle`` goes as far as it can, one task after the
other; who changes something lets the run, and all runs above it, settle again.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from oracle.contexts import Context
from oracle.executions import Call, Execution
from oracle.expressions import Seen
from oracle.results import RunResult, TaskResult
from oracle.unsure import (
    CANCELLED,
    ERROR,
    LATER,
    RUNNING,
    SKIPPED,
    SUCCESS,
    UNSURE,
    Ended,
    Forced,
    Refused,
    Undetermined,
    sure,
)

Script = Callable[[str, str, int, int], str]
"""(workflow, task, item, attempt) → the state of that call, or LATER."""


class World(Protocol):
    """What a run asks of who interprets it.

    ``phase`` counts operations, ``redo`` the reruns and skips among them.
    """

    definitions: Mapping[str, Any]
    script: Script
    phase: int
    redo: int

    def step(self) -> None:
        """:raises Undetermined: it goes on without end."""

    def make(
        self,
        name: str,
        given: Mapping[str, Any],
        above: tuple[Run, Execution],
        call: Call,
    ) -> Run:
        """A sub-workflow, of what its task calls it with."""


class Run:
    """:param above: run, execution and call that started it; None: a user did."""

    def __init__(
        self,
        world: World,
        name: str,
        input: Mapping[str, Any],
        params: Mapping[str, Any],
        above: tuple[Run, Execution, Call] | None,
    ) -> None:
        self.world, self.name, self.params, self.above = world, name, params, above
        self.body = world.definitions[name]
        self.tasks: Mapping[str, Any] = self.body["tasks"]
        defaults = {
            k: v for each in self.body.get("input", ()) for k, v in each.items()
        }
        self.globals_: dict[str, Any] = {}
        self.vars = dict(self.body.get("vars", {}))
        self.input = {**defaults, **input}
        self.executions: list[Execution] = []
        self.queue: deque[Execution] = deque()
        self.pending: list[Execution] = []
        self.tokens = itertools.count(1)
        self.past: frozenset[int] = frozenset()
        self.state = RUNNING
        self.output: Any = UNSURE
        self.causes: set[str] | None = None

    # What a kind of workflow adds.

    def begin(self) -> None:
        """Create the first tasks."""
        raise NotImplementedError

    def advance(self) -> None:
        """Start all that can start.

        :raises Ended: one of them ended the run.
        """
        raise NotImplementedError

    def route(self, tx: Execution) -> None:
        """What follows from a task that is over."""
        raise NotImplementedError

    def final(self, issuer: Execution | None) -> Context:
        """The context that the output is made of."""
        raise NotImplementedError

    def is_waiting(self, tx: Execution) -> bool:
        """Whether it is a join that has not been decided."""
        return False

    # Going on.

    @property
    def is_over(self) -> bool:
        return self.state != RUNNING

    def settle(self) -> None:
        if self.is_over:
            return
        try:
            self.advance()
        except Ended:
            return
        if all(tx.state for tx in self.executions):
            self.conclude()

    def go_on(self) -> None:
        """After an operation: what was held back, then all that follows."""
        try:
            while self.pending and not self.is_over:
                tx = self.pending.pop(0)
                self.guarded(tx, self.route)
            for tx in list(self.executions):
                begun = tx.token and tx not in self.queue
                if begun and not tx.state and not self.is_waiting(tx):
                    self.guarded(tx, self.judge)
        except Ended:
            return
        self.settle()

    def guarded(self, tx: Execution, function: Callable[[Execution], None]) -> None:
        """A forced failure in there ends the run (LANG § 28.2)."""
        try:
            function(tx)
        except Forced:
            tx.state, tx.forced, tx.unsure, tx.several = ERROR, True, True, True
            tx.routed, tx.next, tx.handled = True, [], False
            if not self.is_over:
                self.end(tx, ERROR, UNSURE)

    def end(self, tx: Execution, state: str, message: Any) -> None:
        """A command or a forced failure.

        :raises Undetermined: what stands beside it depends on the order.
        """
        before = {*tx.before, tx.token, *self.past}
        beside = any(each.token not in before for each in self.executions)
        if beside or self.queue or self.pending:
            raise Undetermined("the run is ended beside other tasks")
        self.finish(state, message, tx)
        raise Ended

    def seen(self, context: Context, **more: Any) -> Seen:
        # Globals and ``vars`` share a layer above the input.
        layers = ({**self.vars, **self.globals_}, self.input)
        return Seen(context, layers, self.globals_, **more)

    def policy(self, spec: Mapping[str, Any], name: str) -> Any:
        return spec.get(name, self.body.get("task-defaults", {}).get(name))

    # One task, all its attempts (LANG § 18, ENG § 5).

    def start(self, tx: Execution) -> None:
        self.world.step()
        tx.token, tx.phase, tx.repeats = next(self.tokens), self.world.phase, 0
        self.guarded(tx, self.launched)

    def launched(self, tx: Execution) -> None:
        self.launch(tx)
        self.judge(tx)

    def launch(self, tx: Execution, chosen: list[int] | None = None) -> None:
        """:param chosen: only these items, the others keep their results."""
        spec = self.tasks[tx.name]
        tx.published = {}
        if chosen is not None:
            tx.unopened = deque(chosen)
            for index in chosen:
                tx.counting.pop(index, None)
            return
        tx.counting, tx.items = {}, None
        if "with-items" in spec and not tx.never_ran:
            tx.items = self.seen(tx.context).value(spec["with-items"])
            if not sure(tx.items):
                raise Undetermined("items depend on the order")
            waits = ("wait-before", "wait-after", "retry")
            if "timeout" in spec and any(self.policy(spec, name) for name in waits):
                # Without items it is over at once; the waits count, too (§ 5.3).
                if not tx.items:
                    raise Undetermined("which is longer, the waits or the time-out")
        tx.unopened = deque(range(1 if tx.items is None else len(tx.items)))

    def judge(self, tx: Execution) -> None:
        """Go on with a task as far as its calls allow."""
        while not tx.state:
            self.open_more(tx)
            outcome = tx.outcome()
            if outcome is None:
                return
            self.attempt_over(tx, *outcome)
        if not self.is_over and not tx.routed:
            self.route(tx)

    def open_more(self, tx: Execution) -> None:
        spec = self.tasks[tx.name]
        limit = spec.get("concurrency", 0) if tx.items is not None else 0
        while tx.unopened and not (self.is_over or tx.never_ran):
            states = [call.state for call in tx.counting.values()]
            if CANCELLED in states or (limit and states.count("") >= limit):
                return
            index = tx.unopened.popleft()
            call = tx.counting[index] = Call(index)
            tx.calls.append(call)
            item = None if tx.items is None else tx.items[index]
            given = self.seen(tx.context, item=item).value(spec.get("input", {}))
            self.open(tx, spec, call, given)

    def open(
        self, tx: Execution, spec: Mapping[str, Any], call: Call, given: Any
    ) -> None:
        if "workflow" in spec:
            call.is_action = False
            if spec["workflow"] not in self.world.definitions:
                call.state = ERROR
                return
            call.run = self.world.make(spec["workflow"], given, (self, tx), call)
            call.run.begin()
            call.run.settle()
            return
        call.state, call.result = self.answer_of(tx, spec, call, given)

    def answer_of(
        self, tx: Execution, spec: Mapping[str, Any], call: Call, given: Any
    ) -> tuple[str, Any]:
        action = spec.get("action", "std.noop")
        if action == "std.fail":
            return ERROR, UNSURE
        if action == "std.noop":
            return SUCCESS, None
        if action == "std.echo" and "delay" not in given:
            return SUCCESS, given["output"]
        if action == "std.async_noop" and "timeout" in spec:
            return ERROR, UNSURE
        attempt = tx.actions(call.item)
        state = self.world.script(self.name, tx.name, call.item, attempt)
        if state == LATER:
            return "", UNSURE
        return state, told(state, given.get("output", 7))

    def attempt_over(self, tx: Execution, state: str, result: Any) -> None:
        spec = self.tasks[tx.name]
        tx.result = result
        if state == CANCELLED:
            tx.state = state
            return
        self.publish(tx, spec, state)
        if state == SUCCESS and "fail-on" in spec:
            within = self.seen(tx.context, result=result, state=state)
            if within.truth(spec["fail-on"]):
                state = ERROR
        timed_out = state == ERROR and "timeout" in spec and not tx.never_ran
        tx.several = tx.several or timed_out  # how many it had opened by then
        retry = self.policy(spec, "retry")
        over = timed_out or self.is_over
        if retry and not over and self.again(tx, state, retry):
            tx.repeats += 1
            self.launch(tx)
        else:
            tx.state = state

    def again(self, tx: Execution, state: str, retry: Mapping[str, Any]) -> bool:
        after = self.seen(tx.outbound, result=tx.result, state=state)
        if not retry["count"]:
            return False
        on = retry.get("continue-on")
        goes_on = on is not None and after.truth(on)
        stops = "break-on" in retry and after.truth(retry["break-on"])
        if tx.repeats >= retry["count"]:
            return False
        if state == SUCCESS:
            return goes_on
        return not stops and (on is None or goes_on)

    # Publishing (LANG § 13).

    def publish(self, tx: Execution, spec: Mapping[str, Any], state: str) -> None:
        own, clause = {
            SUCCESS: ("publish", "on-success"),
            ERROR: ("publish-on-error", "on-error"),
            SKIPPED: ("publish-on-skip", "on-skip"),
        }[state]
        always = _publish_of(spec.get("on-complete"))
        within = self.seen(tx.context, result=tx.result, state=state)
        branch: dict[str, Any] = {}
        whole: dict[str, Any] = {}
        sources = (_publish_of(spec.get(clause)), {"branch": spec.get(own, {})}, always)
        if state == SKIPPED and not any(any(each.values()) for each in sources):
            return  # What it published before is still the last.
        for source in sources:
            branch = _over(branch, within.value(source.get("branch", {})))
            whole = _over(whole, within.value(source.get("global", {})))
        tx.published = branch
        self.globals_ = _over(self.globals_, whole)

    # The end (LANG § 27).

    def conclude(self) -> None:
        cancelled = {tx.name for tx in self.executions if tx.state == CANCELLED}
        failed = {
            tx.name for tx in self.executions if tx.state == ERROR and not tx.handled
        }
        if cancelled:
            self.finish(CANCELLED, UNSURE, causes=cancelled)
        elif failed:
            self.finish(ERROR, UNSURE, causes=failed)
        else:
            self.finish(SUCCESS, None)

    def finish(
        self,
        state: str,
        message: Any,
        issuer: Execution | None = None,
        causes: set[str] | None = None,
    ) -> None:
        self.output = self.output_of(state, message, self.final(issuer))
        self.state, self.causes = state, causes
        if self.above is not None:
            call = self.above[2]
            call.state, call.result = state, self.output

    def output_of(self, state: str, message: Any, final: Context) -> Any:
        if state == CANCELLED:
            return {"result": message}
        own = self.body.get("output" if state == SUCCESS else "output-on-error")
        given = self.seen(final).value(own) if own else None
        if state == SUCCESS:
            whole = UNSURE if final.fuzzy else dict(final.values)
            return given or whole
        if own:
            return {"result": message, **given}
        return UNSURE if final.fuzzy else {"result": message, **final.values}

    def shown(self, tx: Execution) -> str:
        """The state of a task: of an open one, too (ENG-074, decision 0011)."""
        if tx.state:
            return tx.state
        if not self.is_over:
            return "WAITING" if self.is_waiting(tx) else RUNNING
        in_progress = any(c.run and not c.state for c in tx.counting.values())
        return RUNNING if in_progress else CANCELLED

    def result(self) -> RunResult:
        tasks = [
            TaskResult(
                tx.name,
                self.shown(tx),
                UNSURE if tx.unsure else dict(tx.published),
                None if tx.several else sum(call.is_action for call in tx.calls),
                [call.run.result() for call in tx.calls if call.run is not None],
            )
            for tx in self.executions
        ]
        output = self.output if self.is_over else UNSURE
        causes = self.causes if self.is_over else None
        return RunResult(self.name, self.state, output, causes, tasks, self.globals_)

    # What users do (ENG § 7).

    def may_redo(self, tx: Execution) -> None:
        """:raises Refused: a run that ended in SUCCESS is not opened again."""
        run: Run | None = self
        while run is not None:
            if run.state == SUCCESS:
                raise Refused("below a run that ended in SUCCESS")
            run = run.above[0] if run.above else None
        if tx.state != ERROR:
            raise Refused("not in ERROR")

    def rerun(self, tx: Execution, reset: bool) -> None:
        self.may_redo(tx)
        self.world.redo += 1
        self.reopen()
        self.pending = [each for each in self.pending if each is not tx]
        bad = [
            index
            for index in range(len(tx.items or ()))
            if index not in tx.counting or tx.counting[index].state != SUCCESS
        ]
        chosen = bad if not reset and tx.items is not None else None
        tx.reopen(self.world.redo, self.world.phase)
        # A join runs whatever its inbound tasks did (J5).
        tx.token, tx.repeats, tx.never_ran = next(self.tokens), 0, False

        def begin(tx: Execution) -> None:
            self.launch(tx, chosen)
            self.judge(tx)

        try:
            self.guarded(tx, begin)
        except Ended:
            pass
        self.settle_all()

    def skip(self, tx: Execution) -> None:
        self.may_redo(tx)
        self.world.redo += 1
        self.reopen()
        self.pending = [each for each in self.pending if each is not tx]
        tx.reopen(self.world.redo, self.world.phase)
        tx.state, tx.token = SKIPPED, next(self.tokens)

        def end(tx: Execution) -> None:
            self.publish(tx, self.tasks[tx.name], SKIPPED)
            self.route(tx)

        try:
            self.guarded(tx, end)
        except Ended:
            pass
        self.settle_all()

    def stop(self, state: str) -> None:
        if self.is_over:
            if self.state != SUCCESS and state == SUCCESS:
                raise Refused("a run that failed cannot be ended well")
            if self.state == state == SUCCESS:
                # Told so once more: of what has ended since, too (ENG § 7.2).
                self.output = self.output_of(state, None, self.final(None))
            return
        below = [run for tx in self.executions for run in tx.open_runs()]
        self.finish(state, None)
        if state == CANCELLED:
            for run in below:
                run.stop(state)
        self.settle_all()

    def answer(self, tx: Execution, call: Call, state: str) -> None:
        call.state, call.result = state, told(state, 7)
        if not tx.state:
            tx.phase = self.world.phase
        self.settle_all()

    def reopen(self) -> None:
        """RUNNING again, and with it what is above (W8)."""
        if not self.is_over:
            return
        self.state = RUNNING
        self.pending = [tx for tx in self.executions if tx.state and not tx.routed]
        if self.above is None:
            return
        above, tx, call = self.above
        call.state = ""
        void = tx.counting.get(call.item) is not call
        if void or tx.state in (SUCCESS, SKIPPED) or above.state == SUCCESS:
            return
        if tx.several:
            raise Undetermined("which items had been opened")
        above.reopen()
        if tx in above.pending:
            above.pending.remove(tx)
        if tx.state:
            tx.reopen(self.world.redo, self.world.phase)
            tx.token = next(above.tokens)

    def settle_all(self) -> None:
        """This run, then those above it."""
        run: Run | None = self
        while run is not None:
            run.go_on()
            run = run.above[0] if run.above else None


def told(state: str, given: Any) -> Any:
    """The result of a call that somebody answers."""
    return {SUCCESS: given, ERROR: "bad"}.get(state)


def _publish_of(clause: Any) -> Mapping[str, Any]:
    found = clause.get("publish", {}) if isinstance(clause, Mapping) else {}
    return dict(found)


def _over(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings meet recursively, ``high`` wins."""
    found = dict(low)
    for key, value in high.items():
        old = found.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        found[key] = _over(old, value) if both else value  # type: ignore[arg-type]
    return found
