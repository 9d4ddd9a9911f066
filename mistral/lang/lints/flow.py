"""Advice on who runs after whom: LINT-15, 17, 18, 41."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from mistral.lang.lints.subject import Subject
from mistral.lang.shapes import quoted
from mistral.lang.specs import Event, TaskSpec, WorkflowSpec
from mistral.lang.tasks import DEFAULT_ACTION

_SURE: Final[tuple[Event, ...]] = ("on-success", "on-complete")

TASKS: Final = 1_000
STEPS: Final = 20_000
"""In a workflow of more tasks, or of so many loops that more steps are needed,
nobody looks whether a join can be satisfied: each step takes time with the
number of tasks."""


def check_flow(subject: Subject) -> None:
    """A direct workflow."""
    if subject.spec.type != "direct":
        return
    _runs_twice(subject)
    for task in subject.spec.tasks.values():
        _unhandled(subject, task)
    _impossible_joins(subject)


def _runs_twice(subject: Subject) -> None:
    """LINT-15: two transitions that both fire when all goes well."""
    fired: dict[str, list[str]] = {}
    for name in _certain(subject):
        for target in _sure_targets(subject.spec.tasks[name]):
            fired.setdefault(target, []).append(name)
    for name, sources in fired.items():
        task = subject.spec.tasks.get(name)
        if task is None or task.join is not None or len(sources) < 2:
            continue
        message = (
            f"this task runs {len(sources)} times, once for each transition of"
            f" {quoted(list(dict.fromkeys(sources)))}; to run once it needs a 'join'"
        )
        subject.found.warn(subject.task_path(name), message, "LINT-15", at_key=True)


def _certain(subject: Subject) -> Iterable[str]:
    """Tasks that run whenever all goes well, in the order of discovery."""
    found = dict.fromkeys(subject.graph.start_tasks)
    waiting = list(found)
    while waiting:
        for target in _sure_targets(subject.spec.tasks[waiting.pop()]):
            if target in subject.spec.tasks and target not in found:
                found[target] = None
                waiting.append(target)
    return found


def _sure_targets(task: TaskSpec) -> list[str]:
    """Targets of a success without condition; none behind a command that ends
    the run."""
    targets: list[str] = []
    for event in _SURE:
        for edge in task.clause(event).edges:
            if edge.condition is not None:
                continue
            if edge.target in ("fail", "succeed"):
                return targets
            if not edge.is_command:
                targets.append(edge.target)
    return targets


def _unhandled(subject: Subject, task: TaskSpec) -> None:
    """LINT-17, LINT-18: an error that looks handled and is not."""
    harmless = task.action == DEFAULT_ACTION and task.join is None
    handlers = task.on_error.edges
    if task.on_complete.edges and not handlers and not harmless:
        message = (
            "'on-complete' does not handle an error, the workflow fails with this"
            " task; write 'on-error', at least 'on-error: noop'"
        )
        path = subject.task_path(task.name, "on-complete")
        subject.found.warn(path, message, "LINT-17", at_key=True)
    if handlers and all(edge.condition is not None for edge in handlers):
        message = (
            "when all conditions are false the error is not handled; add a target"
            " without condition, such as 'noop' or 'fail'"
        )
        path = subject.task_path(task.name, "on-error")
        subject.found.warn(path, message, "LINT-18", at_key=True)


def _impossible_joins(subject: Subject) -> None:
    """LINT-41: inbound tasks that never all lead to the join in one run."""
    spec, graph = subject.spec, subject.graph
    joins = [task for task in spec.tasks.values() if task.join is not None]
    if not joins or len(spec.tasks) > TASKS:
        return
    dead = set(graph.unreachable)
    needs = _needs(subject)
    for join in joins:
        inbound = graph.inbound(join.name)
        living = [name for name in inbound if name not in dead]
        wanted = len(inbound) if join.join == "all" else join.join
        reason = ""
        if isinstance(wanted, int) and len(living) < wanted and living:
            reason = f"only {quoted(living)} can lead to it"
        elif join.join == "all" and join.name not in dead:
            clash = _clash(subject, needs.get(join.name, 0))
            if clash:
                reason = f"it needs both the success and the failure of '{clash}'"
        if reason:
            path = subject.task_path(join.name, "join")
            message = f"this join is never satisfied: {reason}"
            subject.found.warn(path, message, "LINT-41", at_key=True)


def _needs(subject: Subject) -> Mapping[str, int]:
    """Task → what must have happened before it runs, as bits: two for each
    task, its success and its failure. Tasks that never run are left out."""
    spec, graph = subject.spec, subject.graph
    numbers = {name: 2 * n for n, name in enumerate(spec.tasks)}
    needs = dict.fromkeys(graph.start_tasks, 0)
    waiting = dict.fromkeys(
        target for name in graph.start_tasks for target in graph.outbound(name)
    )
    steps = 0
    while waiting:
        name = next(iter(waiting))
        del waiting[name]
        steps += len(graph.inbound(name))
        if steps > STEPS:
            return {}
        given = [
            _along(spec, source, name, numbers) | needs[source]
            for source in graph.inbound(name)
            if source in needs
        ]
        new = given[0]
        for each in given[1:]:
            new = new | each if spec.tasks[name].join == "all" else new & each
        if needs.get(name) != new:
            # Loops only ever take needs away, so this comes to an end.
            old = needs.get(name)
            is_join = spec.tasks[name].join == "all"
            needs[name] = new if old is None or is_join else old & new
            if needs[name] != old:
                waiting.update(dict.fromkeys(graph.outbound(name)))
    return needs


def _along(
    spec: WorkflowSpec, source: str, target: str, numbers: Mapping[str, int]
) -> int:
    """The outcome of ``source`` that every transition to ``target`` needs."""
    task = spec.tasks[source]
    outcomes = set()
    for event, outcome in (("on-success", 1), ("on-error", 2), ("on-complete", 0)):
        if any(e.target == target for e in task.clause(event).edges):  # type: ignore[arg-type]
            outcomes.add(outcome)
    if any(edge.target == target for edge in task.on_skip.edges):
        outcomes.add(0)
    [outcome] = outcomes if len(outcomes) == 1 else [0]
    return outcome << numbers[source] if outcome else 0


def _clash(subject: Subject, needs: int) -> str:
    """A task that would have to end in two ways; one in a loop may."""
    for number, name in enumerate(subject.spec.tasks):
        both = needs >> (2 * number) & 3
        if both == 3 and name not in subject.graph.upstream(name):
            return name
    return ""
