"""Cron triggers, as people look at them and handle them."""

from __future__ import annotations

from typing import Any, Final

from rich.markup import escape

from mistral.cli.output import Output
from mistral.cli.rest import Service

TRIGGERS: Final = "cron_triggers"

_RESULTS: Final = ("planned_at", "fired_by", "outcome", "state", "execution_id")


def show_all(service: Service, output: Output) -> None:
    """Every trigger that the caller sees, the next one first."""
    found = service.all(TRIGGERS, TRIGGERS, sort_keys="next_execution_time,id")
    columns = (
        "name", "workflow_name", "pattern", "timezone", "next_execution_time",
        "remaining_executions", "overlap", "catch_up", "enabled", "definition_type",
    )  # fmt: skip
    output.table(list(found), columns, "no cron triggers")


def show_next(service: Service, output: Output, trigger: str, count: int) -> None:
    """The next firings of one, and why they are when they are."""
    found = service.get(TRIGGERS, trigger, "next", limit=count)["firings"]
    if not output.for_people:
        output.data(found)
        return
    shown = [row | {"local_time": _local(row)} for row in found]
    columns = ("due_at", "planned_at", "local_time", "why")
    output.table(
        [row | {"why": "; ".join(row["why"])} for row in shown],
        columns,
        "it fires no more",
    )
    if shown:
        output.say("[dim]due and planned in UTC[/dim]")


def show_results(service: Service, output: Output, trigger: str, count: int) -> None:
    """What came of the last firings of one."""
    found = service.get(TRIGGERS, trigger, "firings", limit=count)["firings"]
    _show_firings(output, found, "it has not fired yet")


def fill_back(
    service: Service, output: Output, trigger: str, start: str, end: str | None
) -> None:
    """Fire for the times of a range."""
    body = {"start": start} | ({} if end is None else {"end": end})
    found = service.post(TRIGGERS, trigger, "backfill", body=body)["firings"]
    _show_firings(output, found, "it has fired for all of them")


def do(service: Service, output: Output, trigger: str, verb: str) -> None:
    """:param verb: ``pause``, ``resume`` or ``run``."""
    found = service.post(TRIGGERS, trigger, verb, body={})
    if not output.for_people:
        output.data(found)
    elif verb == "run":
        output.say(f"started: {escape(str(found['execution_id']))}")
    elif found["enabled"]:
        planned = escape(str(found["next_execution_time"]))
        output.say(f"{escape(found['name'])} fires next at {planned} UTC")
    else:
        output.say(f"{escape(found['name'])} is paused")


def _show_firings(output: Output, found: list[dict[str, Any]], empty: str) -> None:
    columns = (*_RESULTS, "reason")
    output.table([row | {"state": row["state"] or ""} for row in found], columns, empty)


def _local(row: dict[str, Any]) -> str:
    return f"{row['local_time']} {row['utc_offset']}"
