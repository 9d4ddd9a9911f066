"""The workflow trace: a line per change of a state, for an operator's log (§ 10.10).

Which workflow, task and action went from where to where. What people and actions
said is left out: it may hold results and other values that no log may have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from mistral.engine.core.run import Run

LONGEST: Final = 200
"""Characters of a message that are kept."""

_OURS: Final = (
    "Cancelled tasks: ",
    "Delayed by ",
    "Failed by ",
    "Failure caused by error in tasks: ",
    "Heartbeat wasn't received.",
    "One or more actions ",
    "Paused by maintenance.",
    "Set by ",
    "Task is waiting.",
    "Task timed out ",
    "Task was skipped.",
    "The task was open ",
)
"""How messages begin whose first line is the service's own words and names."""


def lines(run: Run, transitions: Iterable[list[Any]]) -> Iterator[str]:
    """What became of a run in one decision, in order.

    States stand together, so that ``ERROR`` is no word of its own for who searches
    a log by its levels.

    :param transitions: as in the history: ``[kind, id, name, from or None, to or
        None]``, where what goes to None is not kept; and ``["join", id, name, inbound
        task, "absorbed"]`` for a late branch that starts nothing (LINT-16).
    """
    about = (
        "" if run.standalone else f" workflow={run.workflow_name} execution={run.id}"
    )
    for kind, id, name, start, to in transitions:
        where = about if kind != "workflow" else ""
        if kind == "join":
            yield f"join {name} [{id}]{where}: the late branch {start} starts nothing"
            continue
        text = _message(run, kind, id, to)
        yield f"{kind} {name} [{id}]{where}: {start or ''}->{to or ''}{text}"


def _message(run: Run, kind: str, id: str, state: str | None) -> str:
    rows: dict[str, Any] = {"task": run.tasks, "action": run.actions}.get(kind, {})
    row = run if kind == "workflow" else rows.get(id)
    if row is None or row.state != state or not row.state_info:
        return ""
    first = row.state_info.partition("\n")[0][:LONGEST]
    return f" ({first})" if first.startswith(_OURS) else ""
