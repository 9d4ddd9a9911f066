"""Which changes of states somebody wants to be told of (§ 10.8)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mistral.engine.core.data import Case
from mistral.engine.core.run import Hint, Run, Task
from mistral.engine.core.views import stamp
from mistral.lang.backoff import LONGEST
from mistral.lang.shapes import is_number
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

SLOW: Final = "TASK_WARNING"
"""A task takes long."""

ADVISED: Final = "WORKFLOW_WARNING"
"""A definition is started that may not mean what it says."""

WARNINGS: Final = frozenset({RETRIED, SLOW, ADVISED})

MOST_ADVICE: Final = 20
"""Pieces of advice that one warning has."""


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
    wanted = list(enumerate(publishers(run.params)))
    for move in run.moves if wanted else ():
        thing = move.thing
        event = event_of(thing.kind, move.start, move.to, move.again)
        more = {}
        if event is None and move.retries:
            event = RETRIED
            more = {"warning": {"code": "retried", "text": move.info}}
        mine = [(place, p) for place, p in wanted if event and wants(p, event)]
        if event and mine:
            shape = _shape(case, thing, move.to, move.info)
            found += _told(case, thing, event, {**shape, **more}, mine)
    for hint in run.hints if wanted else ():
        thing = hint.thing
        mine = [(place, p) for place, p in wanted if _wants_hint(case, p, hint)]
        if mine:
            shape = _shape(case, thing, thing.state, thing.state_info)
            warned = {**shape, "warning": hint.warning}
            found += _told(case, thing, hint.event, warned, mine)
    run.moves, run.hints = [], []
    return found


def _told(
    case: Case,
    thing: Run | Task,
    event: str,
    shape: Mapping[str, Any],
    wanted: Sequence[tuple[int, Mapping[str, Any]]],
) -> list[Notify]:
    """:param wanted: entries, and their places in the list; at least one."""
    run = case.run
    run.noticed += 1
    data = {**shape, "event": event}
    return [
        Notify(
            run_id=run.id,
            object_id=thing.id,
            event=event,
            timestamp=stamp(case.now) or "",
            number=run.noticed,
            data=data,
            publishers=(entry,),
            lane=_lane(run, place),
        )
        for place, entry in wanted
    ]


def slow_after(case: Case) -> list[float]:
    """Seconds after which somebody wants to hear of a task that is not done."""
    wanted = publishers(case.run.params)
    found = {_slow_after(case, entry) for entry in wanted if wants(entry, SLOW)}
    return sorted(found - {0})


def _slow_after(case: Case, entry: Mapping[str, Any]) -> float:
    given = entry.get("slow_after")
    if is_number(given) and 0 < given <= LONGEST:
        return float(given)
    return float(case.facts.rules.slow_task)


def _wants_hint(case: Case, entry: Mapping[str, Any], hint: Hint) -> bool:
    if not wants(entry, hint.event):
        return False
    return hint.seconds is None or _slow_after(case, entry) == hint.seconds


def note_slow(case: Case, task: Task, seconds: float) -> None:
    """The task takes long: who asked for it is told, once for each of its starts."""
    if seconds in (task.warned or ()):
        return
    task.warned = [*(task.warned or ()), seconds]
    text = f"The task {task.name} has not ended {seconds:g} seconds after its start."
    warning = {"code": "slow-task", "text": text, "seconds": seconds}
    case.run.hints.append(Hint(task, SLOW, warning, seconds))


def note_advice(case: Case) -> None:
    """The definition of a new root run may not mean what it says: who asks for it is
    told what is advised against."""
    run = case.run
    wanted = any(wants(entry, ADVISED) for entry in publishers(run.params))
    if not wanted or run.workflow_id is None:
        return
    found = case.facts.advice(run.workflow_id, run.spec_id)
    if found:
        warning = {
            "code": "advice",
            "text": f"{len(found)} in the definition may not mean what was meant.",
            "advice": [each.to_dict() for each in found[:MOST_ADVICE]],
        }
        run.hints.append(Hint(run, ADVISED, warning))


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


def _shape(
    case: Case, thing: Run | Task, state: str, info: str | None
) -> dict[str, Any]:
    run = case.run
    shown = {
        "id": thing.id,
        "workflow_name": run.workflow_name,
        "workflow_namespace": run.workflow_namespace,
        "workflow_id": run.workflow_id,
        "state": state,
        "state_info": info,
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
