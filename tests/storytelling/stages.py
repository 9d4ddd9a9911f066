"""Where a story is told: three stages with one face.

``PureStage``: the core alone, rows are dicts. ``HouseStage``: every role in one
process on SQLite, without a thread. ``ServiceStage``: engine and executor with
their own threads on PostgreSQL and RabbitMQ; the clock alone is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mistral.db import models
from mistral.messages import Event
from storytelling.cast import Cast, Part

Row = Mapping[str, Any]

MOST_MOVES = 200
"""Timers that a story may let fire, one after the other."""

TABLES = {
    "run": models.workflow_executions,
    "task": models.task_executions,
    "action": models.action_executions,
}


class Stage(Protocol):
    """What a story needs; all of it is quiet when a method returns."""

    kind: str
    cast: Cast

    def open(self, rules: Mapping[str, Any]) -> None: ...
    def upload(self, namespace: str, texts: Mapping[str, str]) -> None: ...
    def environment(self, name: str, variables: Mapping[str, Any]) -> None: ...
    def ask(self, event: Event) -> Any: ...
    def settle(self) -> None: ...
    def advance(self, seconds: float | None) -> None: ...
    def rows(self, kind: str, **where: Any) -> list[Row]: ...
    def new_id(self) -> str: ...


def part_of(find: Callable[..., list[Row]], action_id: str) -> Part:
    """The task of an action, with its place among the items of the task, or of
    the task whose sub-workflow it is in."""
    action = find("action", id=action_id)[0]
    task = find("task", id=action["task_execution_id"])[0]
    if "with_items" in (task["runtime_context"] or {}):
        return Part(task["name"], action["item_index"])
    run = find("run", id=task["workflow_execution_id"])[0]
    if run["task_execution_id"]:
        parent = find("task", id=run["task_execution_id"])[0]
        if "with_items" in (parent["runtime_context"] or {}):
            return Part(task["name"], run["params"]["index"])
    return Part(task["name"])
