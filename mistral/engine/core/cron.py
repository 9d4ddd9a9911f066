"""Cron triggers: a row that is its own header (spec/engine.md § 10.2).

What is due starts a run whose id follows from the trigger and the planned
time, and arms the next time; what was missed meanwhile is not made up for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid5

from mistral.engine.core.rows import Row
from mistral.lang.cron import next_match
from mistral.messages import CronDue, Effect, StartWorkflow, Tell


class Trigger(Row):
    """A cron trigger; ``last_run_id``: it never fires again after that run, and is
    to be removed."""

    workflow_name: str
    workflow_namespace: str
    workflow_input: dict[str, Any]
    workflow_params: dict[str, Any]
    pattern: str
    next_execution_time: datetime
    remaining_executions: int | None
    context: dict[str, Any]

    kind = "cron trigger"
    COLUMNS = (
        "id", "project_id", "workflow_name", "workflow_namespace", "workflow_input",
        "workflow_params", "pattern", "next_execution_time", "remaining_executions",
        "context", "created_at", "updated_at",
    )  # fmt: skip
    INTERNAL: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.last_run_id: str | None = None


def execution_id(trigger_id: str, planned: datetime) -> str:
    """The run of one firing: the same however often it is started."""
    return str(uuid5(UUID(trigger_id), planned.isoformat()))


def fire(trigger: Trigger, event: CronDue, now: datetime) -> list[Effect]:
    """Start the workflow and arm the next time."""
    planned = trigger.next_execution_time
    if event.planned != planned.isoformat():
        return []
    effects: list[Effect] = [Tell(event=_start(trigger, planned))]
    if trigger.remaining_executions is not None:
        trigger.remaining_executions -= 1
    following = None
    if trigger.remaining_executions != 0:
        following = next_match(trigger.pattern, max(now, planned))
    if following is None:
        trigger.last_run_id = execution_id(trigger.id, planned)
        return effects
    trigger.next_execution_time = following
    due = CronDue(trigger_id=trigger.id, planned=following.isoformat())
    return [*effects, Tell(event=due, due_at=following)]


def _start(trigger: Trigger, planned: datetime) -> StartWorkflow:
    link = {"type": "cron_trigger", "id": trigger.id}
    text = f"Workflow execution created by cron trigger '({trigger.id})'."
    return StartWorkflow(
        run_id=execution_id(trigger.id, planned),
        workflow_name=trigger.workflow_name,
        namespace=trigger.workflow_namespace,
        input=trigger.workflow_input,
        params=trigger.workflow_params,
        description=json.dumps({"description": text, "triggered_by": link}),
        trigger=link,
        context=trigger.context,
    )
