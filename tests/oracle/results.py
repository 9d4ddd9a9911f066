"""What the oracle says of a run, to be compared with rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class TaskResult:
    """A task execution.

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
    """A run to which nothing happens any more by itself.

    :param causes: names of the tasks that its text names; None: there are none.
    """

    workflow: str
    state: str
    output: Any
    causes: set[str] | None
    tasks: list[TaskResult]
    globals_: dict[str, Any]
