"""Policies give verdicts; none of them acts (§ 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mistral.engine.core.contexts import outbound
from mistral.engine.core.data import Case
from mistral.engine.core.run import Task
from mistral.engine.core.views import view
from mistral.errors import WorkflowFault
from mistral.expressions.faults import wrong_value
from mistral.lang.shapes import kind_of
from mistral.lang.specs import Policies, TaskSpec
from mistral.messages import State

LONGEST: Final = 100 * 365 * 24 * 3600
"""Seconds of the longest delay or time-out: the calendar has an end."""


@dataclass(frozen=True, slots=True)
class Before:
    """Values of the policies, evaluated and of the right type."""

    pause: bool
    wait: int
    wait_after: int
    timeout: int
    concurrency: int
    retry_count: int
    retry_delay: int


def evaluate(case: Case, task: Task, spec: TaskSpec) -> Before:
    """All values that are needed before the first start (§ 18).

    :raises WorkflowFault: a value of a wrong type.
    """
    given: Policies = spec.policies
    retry = given.retry
    seen = view(case, task)

    def value(tree: Any, path: str) -> Any:
        return case.evaluate(tree, seen, path) if isinstance(tree, str) else tree

    def number(tree: Any, policy: str, path: str) -> int:
        return 0 if tree is None else _number(value(tree, path), tree, policy, path)

    def seconds(tree: Any, policy: str, path: str) -> int:
        found = number(tree, policy, path)
        if found > LONGEST:
            expected = f"{LONGEST} seconds or less"
            raise _wrong(policy, path, expected, "more", tree)
        return found

    pause = value(given.pause_before, "pause-before")
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
        retry_count=number(retry and retry.count, "RetryPolicy", "retry.count"),
        retry_delay=seconds(retry and retry.delay, "RetryPolicy", "retry.delay"),
    )


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
    if retry is None or not values.retry_count:
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
    if made >= values.retry_count or task.expired:
        return False
    if retry.continue_on is not None and not go_on:
        return False
    if task.state == State.SUCCESS:
        return retry.continue_on is not None
    return task.state == State.ERROR and not stop
