"""Which changes of states somebody wants to be told of (§ 10.8)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from mistral.engine.core.data import Case
from mistral.engine.core.run import Move, Run, Task
from mistral.engine.core.views import stamp
from mistral.messages import Notify, State

_ENDS: Final = {
    State.SUCCESS: "SUCCEEDED",
    State.ERROR: "FAILED",
    State.CANCELLED: "CANCELLED",
    State.PAUSED: "PAUSED",
    State.SKIPPED: "SKIPPED",
}

_WORKFLOW_RUNS: Final = {State.PAUSED: "RESUMED", State.ERROR: "RERUN"}
"""What RUNNING is called by the state before it; otherwise LAUNCHED."""

_TASK_RUNS: Final = {
    State.PAUSED: "RESUMED",
    State.WAITING: "RESUMED",
    State.ERROR: "RERUN",
}


RETRIED: Final = "TASK_RETRIED"
"""A task has failed and is going to be tried again."""

WARNINGS: Final = frozenset({RETRIED})


def event_of(kind: str, start: str, to: str, again: bool = False) -> str | None:
    """Name of the event of one change; None: nobody is told (ENG-233).

    :param kind: ``workflow`` or ``task``.
    :param again: an IDLE task had been started before (pause-before).
    """
    if to == State.RUNNING:
        runs = _WORKFLOW_RUNS if kind == "workflow" else _TASK_RUNS
        verb = runs.get(State(start), "LAUNCHED")
        if kind == "task" and start == State.IDLE and again:
            verb = "RESUMED"
    elif to in _ENDS:
        verb = _ENDS[State(to)]
    else:
        return None
    return f"{kind.upper()}_{verb}"


def of(case: Case) -> list[Notify]:
    """An effect for each change of this decision and each publisher that wants it."""
    run = case.run
    found: list[Notify] = []
    wanted = publishers(run.params)
    for move in run.moves if wanted else ():
        event = event_of(move.thing.kind, move.start, move.to, move.again)
        if event is None and move.retries:
            event = RETRIED
        mine = [i for i, p in enumerate(wanted) if event and wants(p, event)]
        if event is None or not mine:
            continue
        run.noticed += 1
        data = {**_shape(case, move), "event": event}
        found += [
            Notify(
                run_id=run.id,
                object_id=move.thing.id,
                event=event,
                timestamp=stamp(case.now) or "",
                number=run.noticed,
                data=data,
                publishers=(wanted[place],),
                lane=_lane(run, place),
            )
            for place in mine
        ]
    run.moves = []
    return found


def _lane(run: Run, place: int) -> str:
    """By the place of the entry; a run that has the id of an earlier one has others."""
    text = f"{run.seed} notices {place}"
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def publishers(params: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The entries of ``params.notify``; what is no mapping is ignored."""
    entries = (params or {}).get("notify")
    if not isinstance(entries, list | tuple):
        return []
    return [entry for entry in entries if isinstance(entry, Mapping)]


def wants(publisher: Mapping[str, Any], event: str) -> bool:
    """Without ``event_types``, or with none in it, everything (ENG-231), but for
    warnings, which have to be named."""
    types = publisher.get("event_types")
    if event in WARNINGS and not types:
        return False
    return not types or (isinstance(types, list | tuple | str) and event in types)


def _shape(case: Case, move: Move) -> dict[str, Any]:
    thing, run = move.thing, case.run
    shown = {
        "id": thing.id,
        "workflow_name": run.workflow_name,
        "workflow_namespace": run.workflow_namespace,
        "workflow_id": run.workflow_id,
        "state": move.to,
        "state_info": move.info,
        "project_id": run.project_id,
        "created_at": stamp(thing.created_at or case.now),
        "updated_at": stamp(case.now),
    }
    if isinstance(thing, Task):
        return {
            **shown,
            "name": thing.name,
            "type": thing.type,
            "workflow_execution_id": run.id,
            "started_at": stamp(thing.started_at),
            "finished_at": stamp(thing.finished_at),
        }
    assert isinstance(thing, Run)
    return {
        **shown,
        "name": run.workflow_name,
        "task_execution_id": run.task_execution_id,
        "root_execution_id": run.root_execution_id,
    }
