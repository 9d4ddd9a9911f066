"""Policies give verdicts; none of them acts (§ 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mistral.engine.core.data import Case, outbound
from mistral.engine.core.run import Task
from mistral.engine.core.views import view
from mistral.errors import WorkflowFault
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
    policies: Policies = spec.policies
    seen = view(case, task)

    def value(tree: Any) -> Any:
        return case.evaluate(tree, seen) if isinstance(tree, str) else tree

    def number(tree: Any, policy: str, name: str) -> int:
        found = value(tree)
        if found is None and tree is None:
            return 0
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            raise WorkflowFault(
                f"Invalid data type in {policy}: '{name}' must be an integer of 0 "
                f"or more, found {type(found).__name__}"
            )
        return found

    def seconds(tree: Any, policy: str, name: str) -> int:
        found = number(tree, policy, name)
        if found > LONGEST:
            raise WorkflowFault(
                f"Invalid data type in {policy}: '{name}' must be {LONGEST} seconds "
                "or less"
            )
        return found

    pause = value(policies.pause_before)
    if policies.pause_before is not None and not isinstance(pause, bool):
        raise WorkflowFault(
            "Invalid data type in PauseBeforePolicy: 'pause-before' must be a "
            f"boolean, found {type(pause).__name__}"
        )
    retry = policies.retry
    return Before(
        pause=bool(pause),
        wait=seconds(policies.wait_before, "WaitBeforePolicy", "wait-before"),
        wait_after=seconds(policies.wait_after, "WaitAfterPolicy", "wait-after"),
        timeout=seconds(policies.timeout, "TimeoutPolicy", "timeout"),
        concurrency=number(policies.concurrency, "ConcurrencyPolicy", "concurrency"),
        retry_count=number(retry and retry.count, "RetryPolicy", "count"),
        retry_delay=seconds(retry and retry.delay, "RetryPolicy", "delay"),
    )


def fails_on(case: Case, task: Task, spec: TaskSpec) -> bool:
    """fail-on: sees the result, not what the task just published (§ 18.4). It is
    evaluated for a failed task, too, and may fail there (§ 5.3)."""
    tree = spec.policies.fail_on
    if tree is None or task.state == State.CANCELLED or task.expired:
        return False
    found = case.evaluate(tree, view(case, task)) if isinstance(tree, str) else tree
    return bool(found) and task.state == State.SUCCESS


def repeats(case: Case, task: Task, spec: TaskSpec, values: Before) -> bool:
    """retry: whether the attempt that just ended is followed by another."""
    retry = spec.policies.retry
    if retry is None or not values.retry_count:
        return False
    if "retry_task_policy" not in (task.runtime_context or {}):
        task.runtime_context = {**(task.runtime_context or {}), "retry_task_policy": {}}
    context, _ = outbound(case, task)
    seen = view(case, task, branch=context)
    go_on = case.evaluate(retry.continue_on, seen) if retry.continue_on else None
    stop = case.evaluate(retry.break_on, seen) if retry.break_on else None
    made = (task.runtime_context or {})["retry_task_policy"].get("retry_no", 0)
    if made >= values.retry_count or task.expired:
        return False
    if retry.continue_on is not None and not go_on:
        return False
    if task.state == State.SUCCESS:
        return retry.continue_on is not None
    return task.state == State.ERROR and not stop
