"""Which state may follow which; ``may_move`` is asked before every change.

Rows are kinds of executions, because a task may do more than a workflow
(spec/engine.md § 1.2 asks for one table per kind that covers what really
happens). Writing the present state again is always allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mistral.messages import COMPLETED, State

IDLE, WAITING, RUNNING = State.IDLE, State.WAITING, State.RUNNING
DELAYED, PAUSED, SUCCESS = State.DELAYED, State.PAUSED, State.SUCCESS
ERROR, CANCELLED, SKIPPED = State.ERROR, State.CANCELLED, State.SKIPPED

WORKFLOW: Final[Mapping[State, frozenset[State]]] = {
    IDLE: frozenset({RUNNING, ERROR, CANCELLED}),
    RUNNING: frozenset({PAUSED, SUCCESS, ERROR, CANCELLED}),
    # W9: stopping a paused run with ERROR works; with SUCCESS it does not (W10).
    PAUSED: frozenset({RUNNING, ERROR, CANCELLED}),
    # W8: rerun or skip of a task below reopens.
    ERROR: frozenset({RUNNING}),
    CANCELLED: frozenset({RUNNING}),
    SUCCESS: frozenset(),
}

TASK: Final[Mapping[State, frozenset[State]]] = {
    IDLE: frozenset({RUNNING, ERROR, CANCELLED}),
    # T12; CANCELLED closes what a finished run left open (ENG-074).
    WAITING: frozenset({RUNNING, ERROR, CANCELLED}),
    # IDLE: pause-before (T7). WAITING: a join between retries (T13).
    RUNNING: frozenset(
        {IDLE, WAITING, DELAYED, PAUSED, SUCCESS, ERROR, CANCELLED, SKIPPED}
    ),
    # SUCCESS and ERROR: the end of wait-after (T6).
    DELAYED: frozenset({RUNNING, SUCCESS, ERROR, CANCELLED}),
    PAUSED: frozenset({RUNNING, SUCCESS, ERROR, CANCELLED}),
    # fail-on (T11), retry and wait-after (T4), a join entered again (T13).
    SUCCESS: frozenset({ERROR, DELAYED, WAITING}),
    ERROR: frozenset({RUNNING, SKIPPED, DELAYED, WAITING}),
    # RUNNING: its sub-workflow was reopened (T18). DELAYED: wait-after. The
    # others: what the end of the run had closed is open again.
    CANCELLED: frozenset({RUNNING, DELAYED, WAITING, IDLE, PAUSED}),
    # ERROR: what follows from the skip cannot be evaluated.
    SKIPPED: frozenset({WAITING, ERROR}),
}

ACTION: Final[Mapping[State, frozenset[State]]] = {
    RUNNING: frozenset({PAUSED, SUCCESS, ERROR, CANCELLED}),
    PAUSED: frozenset({RUNNING, SUCCESS, ERROR, CANCELLED}),
    # An action execution is completed once; a retry makes a new one.
    SUCCESS: frozenset(),
    ERROR: frozenset(),
    CANCELLED: frozenset(),
}

TABLES: Final[Mapping[str, Mapping[State, frozenset[State]]]] = {
    "workflow": WORKFLOW,
    "task": TASK,
    "action": ACTION,
}


def may_move(kind: str, start: str, to: str) -> bool:
    """Whether an execution of ``kind`` may go from one state to the other."""
    return start == to or State(to) in TABLES[kind][State(start)]


def is_completed(state: str) -> bool:
    return state in COMPLETED
