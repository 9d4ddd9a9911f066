"""Tasks with all their attempts, and what the end of a run says."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from oracle.contexts import Context
from oracle.expressions import Seen
from oracle.unsure import CANCELLED, ERROR, SUCCESS, UNSURE, Undetermined, sure

STEPS: Final = 400
"""Executions of tasks after which a generated loop counts as endless."""


@dataclass
class TaskResult:
    """A finished task execution.

    :param calls: action executions that it made; None: depends on the order.
    :param children: runs that it started, all attempts.
    """

    name: str
    state: str
    published: Any
    calls: int | None
    children: list[RunResult]


@dataclass
class RunResult:
    """A finished run.

    :param causes: names of the tasks that its text names; None: there are none.
    """

    workflow: str
    state: str
    output: Any
    causes: set[str] | None
    tasks: list[TaskResult]
    globals_: dict[str, Any]


Script = Callable[[str, str, int, int], str]
"""(workflow, task, item, attempt) → the state of that call."""


@dataclass(eq=False)
class Execution:
    """One task execution while it is interpreted."""

    name: str
    context: Context
    before: frozenset[int]
    token: int = 0
    state: str = ""
    published: dict[str, Any] = field(default_factory=dict)
    result: Any = UNSURE
    attempts: int = 0
    calls: int | None = 0
    children: list[RunResult] = field(default_factory=list)
    next: list[str] = field(default_factory=list)
    handled: bool = False
    never_ran: bool = False
    unsure: bool = False

    @property
    def outbound(self) -> Context:
        return self.context.publish(self.published)


class Interpreter(Protocol):
    """What a run asks of who interprets it: other workflows, and the script."""

    definitions: Mapping[str, Any]
    script: Script
    left: int

    def run(self, name: str, input: Mapping[str, Any], **params: Any) -> RunResult: ...


class Ended(Exception):
    """A command or a forced failure ended the run."""


class Flow:
    def __init__(
        self,
        oracle: Interpreter,
        name: str,
        body: Mapping[str, Any],
        input: Mapping[str, Any],
        params: Mapping[str, Any],
    ) -> None:
        self.oracle, self.name, self.body, self.params = oracle, name, body, params
        self.tasks: Mapping[str, Any] = body["tasks"]
        defaults = {k: v for each in body.get("input", ()) for k, v in each.items()}
        self.globals_: dict[str, Any] = {}
        self.vars = dict(body.get("vars", {}))
        self.input = {**defaults, **input}
        self.done: list[Execution] = []
        self.tokens = itertools.count(1)
        self.end: tuple[str, Any] | None = None
        self.issuer: Execution | None = None

    def seen(self, context: Context, **more: Any) -> Seen:
        # Globals and ``vars`` share a layer above the input.
        layers = ({**self.vars, **self.globals_}, self.input)
        return Seen(context, layers, self.globals_, **more)

    def policy(self, spec: Mapping[str, Any], name: str) -> Any:
        return spec.get(name, self.body.get("task-defaults", {}).get(name))

    # One task, all its attempts (LANG § 18, ENG § 5).

    def execute(self, tx: Execution) -> None:
        self.oracle.left -= 1
        if self.oracle.left < 0:
            raise Undetermined("a loop without end")
        spec = self.tasks[tx.name]
        tx.token = next(self.tokens)
        retry = self.policy(spec, "retry")
        repeats = 0
        tx.published = {}
        while True:
            if tx.never_ran:
                tx.state, tx.result = ERROR, UNSURE
            else:
                tx.attempts += 1
                tx.state, tx.result = self.attempt(tx, spec)
            if tx.state == CANCELLED:
                if repeats:
                    tx.published = {"": UNSURE}
                break
            self.publish(tx, spec)
            if tx.state == SUCCESS and "fail-on" in spec:
                within = self.seen(tx.context, result=tx.result, state=tx.state)
                if within.truth(spec["fail-on"]):
                    tx.state = ERROR
            timed_out = tx.state == ERROR and "timeout" in spec and not tx.never_ran
            if timed_out:
                tx.calls = None  # how many it had opened by then
            if not retry or timed_out or not self.again(tx, retry, repeats):
                break
            repeats += 1
        self.done.append(tx)

    def again(self, tx: Execution, retry: Mapping[str, Any], repeats: int) -> bool:
        after = self.seen(tx.outbound, result=tx.result, state=tx.state)
        if not retry["count"]:
            return False
        on = retry.get("continue-on")
        goes_on = on is not None and after.truth(on)
        stops = "break-on" in retry and after.truth(retry["break-on"])
        if repeats >= retry["count"]:
            return False
        if tx.state == SUCCESS:
            return goes_on
        return not stops and (on is None or goes_on)

    def attempt(self, tx: Execution, spec: Mapping[str, Any]) -> tuple[str, Any]:
        if "with-items" not in spec:
            return self.call(tx, spec, 0, None)
        items = self.seen(tx.context).value(spec["with-items"])
        if not sure(items):
            raise Undetermined("items depend on the order")
        outcomes = [self.call(tx, spec, n, item) for n, item in enumerate(items)]
        states = {state for state, _ in outcomes}
        results = [result for _, result in outcomes]
        if CANCELLED in states:
            # At once: which of the others were opened depends on the order.
            tx.calls, tx.unsure = None, True
            return CANCELLED, UNSURE
        return ERROR if ERROR in states else SUCCESS, results

    def call(
        self, tx: Execution, spec: Mapping[str, Any], index: int, item: Any
    ) -> tuple[str, Any]:
        given = self.seen(tx.context, item=item).value(spec.get("input", {}))
        if "workflow" in spec:
            return self.sub(tx, spec["workflow"], given)
        if tx.calls is not None:
            tx.calls += 1
        action = spec.get("action", "std.noop")
        if action == "std.fail":
            return ERROR, UNSURE
        if action == "std.noop":
            return SUCCESS, None
        if action == "std.echo" and "delay" not in given:
            return SUCCESS, given["output"]
        if action == "std.async_noop" and "timeout" in spec:
            return ERROR, UNSURE
        state = self.oracle.script(self.name, tx.name, index, tx.attempts)
        if state == SUCCESS:
            return state, given.get("output", 7)
        return state, "bad" if state == ERROR else None

    def sub(
        self, tx: Execution, name: str, given: Mapping[str, Any]
    ) -> tuple[str, Any]:
        body = self.oracle.definitions.get(name)
        if body is None:
            return ERROR, UNSURE
        declared = {key for each in body.get("input", ()) for key in each}
        input = {k: v for k, v in given.items() if k in declared}
        params = {k: v for k, v in given.items() if k not in declared}
        child = self.oracle.run(name, input, **params)
        tx.children.append(child)
        return child.state, child.output

    # Publishing (LANG § 13).

    def publish(self, tx: Execution, spec: Mapping[str, Any]) -> None:
        own = "publish" if tx.state == SUCCESS else "publish-on-error"
        clause = "on-success" if tx.state == SUCCESS else "on-error"
        within = self.seen(tx.context, result=tx.result, state=tx.state)
        branch: dict[str, Any] = {}
        whole: dict[str, Any] = {}
        for source in (
            _publish_of(spec.get(clause)),
            {"branch": spec.get(own, {})},
            _publish_of(spec.get("on-complete")),
        ):
            branch = _over(branch, within.value(source.get("branch", {})))
            whole = _over(whole, within.value(source.get("global", {})))
        tx.published = branch
        self.globals_ = _over(self.globals_, whole)

    # The end (LANG § 27).

    def finish(self, final: Context) -> RunResult:
        causes: set[str] | None = None
        message: Any = None
        cancelled = {tx.name for tx in self.done if tx.state == CANCELLED}
        failed = {tx.name for tx in self.done if tx.state == ERROR and not tx.handled}
        if self.end is not None:
            state, message = self.end
        elif cancelled:
            state, causes, message = CANCELLED, cancelled, UNSURE
        elif failed:
            state, causes, message = ERROR, failed, UNSURE
        else:
            state = SUCCESS
        output = self.output(state, message, final)
        tasks = [
            TaskResult(
                tx.name,
                tx.state,
                UNSURE if tx.unsure or "" in tx.published else dict(tx.published),
                tx.calls,
                tx.children,
            )
            for tx in self.done
        ]
        return RunResult(self.name, state, output, causes, tasks, self.globals_)

    def output(self, state: str, message: Any, final: Context) -> Any:
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

    def run(self) -> RunResult:
        raise NotImplementedError


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
