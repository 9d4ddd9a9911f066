"""The body of ``GET /v2/executions/{id}/report`` (spec/rest-api.md § 9.1.9)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from mistral.api.types import Date
from mistral.db.execution_trees import Report

_COMMON: Final = ("id", "name", "state", "state_info")
_DATES: Final = ("created_at", "updated_at")

COUNTED: Final[Mapping[str, tuple[str, ...]]] = {
    "running": ("RUNNING", "DELAYED"),
    "success": ("SUCCESS",),
    "error": ("ERROR",),
    "idle": ("IDLE", "WAITING"),
    "paused": ("PAUSED",),
    "cancelled": ("CANCELLED",),
    "skipped": ("SKIPPED",),
    "delayed": ("DELAYED",),
    "waiting": ("WAITING",),
}
"""Counter → states. DELAYED counts as running and WAITING as idle, and each
has a counter of its own as well (Q-55)."""


def report_body(made: Report, *, statistics_only: bool) -> dict[str, Any]:
    """``{"statistics", "root_workflow_execution"}``, the latter as a tree."""
    statistics: dict[str, Any] = {"total_tasks_count": made.states.total()}
    for name, states in COUNTED.items():
        statistics[f"{name}_tasks_count"] = sum(made.states[one] for one in states)
    statistics["estimated_time"] = made.estimated_time
    body: dict[str, Any] = {"statistics": statistics}
    if not statistics_only:
        body["root_workflow_execution"] = _tree(made)
    return body


def _tree(made: Report) -> dict[str, Any]:
    # Entries are made flat and then linked: nesting may be deep.
    root = _entry(made.root)
    runs = {made.root["id"]: root}
    for children in made.executions.values():
        runs.update((row["id"], _entry(row)) for row in children)
    for run_id, tasks in made.tasks.items():
        runs[run_id]["task_executions"] = [
            {
                **_task_entry(row),
                "action_executions": [
                    _action_entry(action) for action in made.actions.get(row["id"], ())
                ],
                "workflow_executions": [
                    runs[child["id"]] for child in made.executions.get(row["id"], ())
                ],
            }
            for row in tasks
        ]
    return root


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: row[name] for name in _COMMON}
    found.update((name, _date(row[name])) for name in _DATES)
    return found


def _task_entry(row: Mapping[str, Any]) -> dict[str, Any]:
    found = _entry(row)
    retry = (row["runtime_context"] or {}).get("retry_task_policy")
    if retry is not None:
        found["retry_count"] = retry.get("retry_no", 0)
    return found


def _action_entry(row: Mapping[str, Any]) -> dict[str, Any]:
    found = _entry(row)
    found["accepted"] = row["accepted"]
    found["last_heartbeat"] = _date(row["last_heartbeat"])
    return found


def _date(value: datetime | None) -> str | None:
    return None if value is None else Date.tobasetype(value)
