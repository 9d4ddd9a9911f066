"""Which edges of a finished task fire, and in which order (§ 2.3 – 2.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mistral.engine.core.contexts import outbound
from mistral.engine.core.data import Case
from mistral.engine.core.run import Task
from mistral.engine.core.views import view
from mistral.lang.specs import Event, TaskSpec
from mistral.messages import State

Command = dict[str, Any]
"""``{"target", "event", "params"}``; JSON, because it may have to wait."""

STATE_COMMANDS: Final = frozenset({"fail", "succeed", "pause"})

CLAUSES: Final[Mapping[State, tuple[Event, ...]]] = {
    State.SUCCESS: ("on-success", "on-complete"),
    State.ERROR: ("on-error", "on-complete"),
    State.CANCELLED: (),
}


def next_edges(case: Case, task: Task, spec: TaskSpec) -> list[Command]:
    """Entries whose condition holds, in order of clauses and of the text.

    :raises ExpressionFault: a condition or parameter fails (forced failure).
    """
    state = State(task.state)
    if state == State.SKIPPED:
        return _fired(case, task, spec, ("on-skip",)) or _fired(
            case, task, spec, ("on-success",)
        )
    return _fired(case, task, spec, CLAUSES[state])


def _fired(
    case: Case, task: Task, spec: TaskSpec, events: tuple[Event, ...]
) -> list[Command]:
    found: list[Command] = []
    seen = None
    for event in events:
        for edge in spec.clause(event).edges:
            if seen is None and (edge.condition is not None or edge.params):
                seen = view(case, task, branch=outbound(case, task))
            if edge.condition is not None:
                assert seen is not None
                if not case.evaluate(edge.condition, seen, event):
                    continue
            params: Any = {}
            if edge.params and edge.is_command:
                assert seen is not None
                params = case.evaluate(dict(edge.params), seen, event)
            found.append({"target": edge.target, "event": event, "params": params})
    return found


def remember(task: Task, fired: list[Command]) -> None:
    """Keep on the task what it leads to (§ 2.2, step 9)."""
    commands = STATE_COMMANDS | {"noop"}
    following = [
        [c["target"], c["event"]] for c in fired if c["target"] not in commands
    ]
    task.next_tasks = following
    task.has_next_tasks = bool(following)
    if task.state == State.ERROR:
        task.error_handled = any(c["event"] == "on-error" for c in fired)


def dispatch_order(fired: list[Command]) -> list[Command]:
    """Drop ``noop`` and whatever stands behind ``fail`` or ``succeed`` (§ 2.5)."""
    kept: list[Command] = []
    for command in fired:
        if command["target"] == "noop":
            continue
        kept.append(command)
        if command["target"] in ("fail", "succeed"):
            break
    return kept
