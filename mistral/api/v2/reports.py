"""``GET /v2/executions/{id}/report`` (spec/rest-api.md § 9.1.9): parameters and
body."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from mistral.api.parameters import ERRORS_ONLY, MAX_DEPTH, Flag
from mistral.api.shapes import Plain, attribute_schemas, closed_object
from mistral.api.types import (
    Date,
    JsonSchema,
    ResourceType,
    Text,
    answer_schema,
)
from mistral.api.v2.runs import ActionExecution, Execution, TaskExecution
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

STATISTICS_ONLY: Final = Flag("statistics_only", "Leave the tree out.")
QUERY: Final = (MAX_DEPTH, ERRORS_ONLY, STATISTICS_ONLY)


def _entry_schema(cls: type[ResourceType], **more: JsonSchema) -> JsonSchema:
    """Of what ``_entry`` makes of a row, with what is added to it."""
    names = [name for name in (*_COMMON, *_DATES) if name != "name"]
    shown = {"name": answer_schema(Text), **attribute_schemas(cls, *names)}
    return closed_object(shown | more, "retry_count", "task_executions", "index")


_INDEX: Final = {
    "type": "integer",
    "minimum": 0,
    "description": "Which item of a with-items task it is of.",
}


def _entries(of: str) -> JsonSchema:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{of}"}}


REPORT: Final = Plain(
    closed_object(
        {
            "statistics": closed_object(
                {
                    **{
                        f"{name}_tasks_count": {"type": "integer", "minimum": 0}
                        for name in ("total", *COUNTED)
                    },
                    "estimated_time": {
                        "type": "integer",
                        "description": "Seconds left; -1: unknown; 0: not running.",
                    },
                }
            ),
            "root_workflow_execution": {"$ref": "#/components/schemas/ReportedRun"},
        },
        "root_workflow_execution",
    ),
    referred={
        "ReportedRun": _entry_schema(
            Execution,
            retry_count={"type": "integer", "minimum": 0},
            task_executions=_entries("ReportedTask"),
            index=_INDEX,
        ),
        "ReportedTask": _entry_schema(
            TaskExecution,
            retry_count={"type": "integer", "minimum": 0},
            action_executions=_entries("ReportedAction"),
            workflow_executions=_entries("ReportedRun"),
        ),
        "ReportedAction": _entry_schema(
            ActionExecution,
            **attribute_schemas(ActionExecution, "accepted"),
            index=_INDEX,
            last_heartbeat=attribute_schemas(TaskExecution, "started_at")["started_at"],
        ),
    },
)


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
    root = _run_entry(made.root)
    runs = {made.root["id"]: root}
    for children in made.executions.values():
        runs.update((row["id"], _run_entry(row)) for row in children)
    for run_id, tasks in made.tasks.items():
        runs[run_id]["task_executions"] = [
            {
                **_task_entry(row),
                "action_executions": [
                    _action_entry(action) | _item_of(row, action["item_index"])
                    for action in made.actions.get(row["id"], ())
                ],
                "workflow_executions": [
                    runs[child["id"]] for child in made.executions.get(row["id"], ())
                ],
            }
            for row in tasks
        ]
        for row in tasks:
            for child in made.executions.get(row["id"], ()):
                parent = child["internals"].get("parent") or {}
                runs[child["id"]].update(_item_of(row, parent.get("index")))
    return root


def _item_of(task: Mapping[str, Any], index: int | None) -> dict[str, Any]:
    """Which item of a with-items task an entry is of."""
    return {"index": index} if "with_items" in (task["runtime_context"] or {}) else {}


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: row[name] for name in _COMMON}
    found.update((name, _date(row[name])) for name in _DATES)
    return found


def _run_entry(row: Mapping[str, Any]) -> dict[str, Any]:
    found = _entry(row)
    begun = row["internals"].get("begun", 0)
    return {**found, "retry_count": begun - 1} if begun > 1 else found


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
    return None if value is None else Date.show(value)
