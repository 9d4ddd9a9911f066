"""Policies give verdicts; none of them acts (§ 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

from mistral.engine.core.contexts import outbound
from mistral.engine.core.data import Case
from mistral.engine.core.run import Run, Task
from mistral.engine.core.views import view
from mistral.errors import WorkflowFault
from mistral.expressions.faults import wrong_value
from mistral.lang.backoff import LONGEST, seconds_before, shortened
from mistral.lang.shapes import is_number, kind_of
from mistral.lang.specs import Policies, Retry, TaskSpec
from mistral.messages import State


@dataclass(frozen=True, slots=True)
class Before:
    """Values of the policies, evaluated and of the right type."""

    pause: bool
    wait: int
    wait_after: int
    timeout: int
    concurrency: int
    retry: Repeats


@dataclass(frozen=True, slots=True)
class Repeats:
    """Values of ``retry``; a ``longest`` of 0: no other than the calendar's."""

    count: int = 0
    delay: int = 0
    backoff: float = 1
    longest: int = 0
    jitter: float = 0

    def seconds(self, made: int, chance: float) -> int | float:
        """How long to wait before the repetition behind so many.

        :param chance: from 0 to 1, at random.
        """
        full = seconds_before(made + 1, self.delay, self.backoff, self.longest)
        found = shortened(full, self.jitter, chance)
        return int(found) if float(found).is_integer() else found


class Values:
    """Values of policies, evaluated and looked at.

    :param evaluate: of the text of an expression at a path.
    """

    def __init__(self, evaluate: Callable[[str, str], Any]) -> None:
        self._evaluate = evaluate

    def of(self, tree: Any, path: str) -> Any:
        return self._evaluate(tree, path) if isinstance(tree, str) else tree

    def number(self, tree: Any, policy: str, path: str) -> int:
        return 0 if tree is None else _number(self.of(tree, path), tree, policy, path)

    def seconds(self, tree: Any, policy: str, path: str) -> int:
        found = self.number(tree, policy, path)
        if found > LONGEST:
            expected = f"{LONGEST} seconds or less"
            raise _wrong(policy, path, expected, "more", tree)
        return found

    def repeats(self, retry: Retry | None) -> Repeats:
        if retry is None:
            return Repeats()
        policy = "RetryPolicy"
        return Repeats(
            count=self.number(retry.count, policy, "retry.count"),
            delay=self.seconds(retry.delay, policy, "retry.delay"),
            backoff=self._between(retry.backoff, 1, None, "retry.backoff"),
            longest=self.seconds(retry.max_delay, policy, "retry.max-delay"),
            jitter=self._between(retry.jitter, 0, 1, "retry.jitter"),
        )

    def _between(self, tree: Any, least: int, most: int | None, path: str) -> float:
        found = self.of(tree, path)
        if is_number(found) and found >= least and (most is None or found <= most):
            return float(found)
        span = f"from {least} on" if most is None else f"from {least} to {most}"
        kind = "another" if is_number(found) else kind_of(found)
        raise _wrong("RetryPolicy", path, f"a number {span}", kind, tree)


def evaluate(case: Case, task: Task, spec: TaskSpec) -> Before:
    """All values that are needed before the first start (§ 18).

    :raises WorkflowFault: a value of a wrong type.
    """
    given: Policies = spec.policies
    seen = view(case, task)
    values = Values(lambda tree, path: case.evaluate(tree, seen, path))
    number, seconds = values.number, values.seconds
    pause = values.of(given.pause_before, "pause-before")
    if given.pause_before is not None and not isinstance(pause, bool):
        raise _wrong(
            "PauseBeforePolicy", "pause-before", "a boolean", kind_of(pause),
            given.pause_before,
        )  # fmt: skip
    return Before(
        pause=bool(pause),
        wait=seconds(given.wait_before, "WaitBeforePolicy", "wait-before"),
        wait_after=seconds(given.wait_after, "WaitAfterPolicy", "wait-after"),
        timeout=seconds(given.timeout, "TimeoutPolicy", "timeout"),
        concurrency=number(given.concurrency, "ConcurrencyPolicy", "concurrency"),
        retry=values.repeats(given.retry),
    )


def of_run(case: Case) -> tuple[int, list[Any] | None]:
    """Of the run as a whole: seconds of its ``timeout``, 0 for none, and the values of
    its ``retry`` for ``repeats_of`` (decision 0043).

    :raises WorkflowFault, ExpressionFault: a value of a wrong type, or one that fails.
    """
    spec = case.run.spec
    if spec.timeout is None and spec.retry is None:
        return 0, None
    seen = view(case)
    values = Values(lambda tree, path: case.evaluate(tree, seen, path))
    limit = values.seconds(spec.timeout, "TimeoutPolicy", "timeout")
    return limit, list(astuple(values.repeats(spec.retry))) if spec.retry else None


def repeats_of(run: Run) -> Repeats:
    return Repeats(*run.repeats) if run.repeats else Repeats()


def _number(found: Any, tree: Any, policy: str, path: str) -> int:
    kind = kind_of(found)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, int) and not isinstance(found, bool):
        if found >= 0:
            return found
        kind = "a negative number"
    elif isinstance(found, float):
        kind = "a number with a fraction"
    raise _wrong(policy, path, "an integer of 0 or more", kind, tree)


def _wrong(
    policy: str, path: str, expected: str, found: str, tree: Any
) -> WorkflowFault:
    return wrong_value(
        f"Invalid data type in {policy}: '{path}' must be {expected}, found {found}",
        tree,
        path,
    )


def fails_on(case: Case, task: Task, spec: TaskSpec) -> bool:
    """fail-on: sees the result, not what the task just published (§ 18.4). It is
    evaluated for a failed task, too, and may fail there (§ 5.3)."""
    tree = spec.policies.fail_on
    if tree is None or task.state == State.CANCELLED or task.expired:
        return False
    found = tree
    if isinstance(tree, str):
        found = case.evaluate(tree, view(case, task), "fail-on")
    return bool(found) and task.state == State.SUCCESS


def repeats(case: Case, task: Task, spec: TaskSpec, values: Before) -> bool:
    """retry: whether the attempt that just ended is followed by another."""
    retry = spec.policies.retry
    if retry is None or not values.retry.count:
        return False
    if "retry_task_policy" not in (task.runtime_context or {}):
        task.runtime_context = {**(task.runtime_context or {}), "retry_task_policy": {}}
    seen = view(case, task, branch=outbound(case, task))
    go_on = stop = None
    if retry.continue_on:
        go_on = case.evaluate(retry.continue_on, seen, "retry.continue-on")
    if retry.break_on:
        stop = case.evaluate(retry.break_on, seen, "retry.break-on")
    made = (task.runtime_context or {})["retry_task_policy"].get("retry_no", 0)
    if made >= values.retry.count or task.expired:
        return False
    if retry.continue_on is not None and not go_on:
        return False
    if task.state == State.SUCCESS:
        return retry.continue_on is not None
    return task.state == State.ERROR and not stop
