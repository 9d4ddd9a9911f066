"""Joins: who arrived, who cannot any more, and what follows from that.

There is one row per join and run, and rounds within it: a round begins with
its first trigger and ends when the join runs or fails. Later triggers of
inbound tasks that had not contributed to the round are absorbed; a second
trigger of a contributor opens the next round (Q35). So does, for a join that has
failed, a trigger that follows from a rerun or a skip since then (§ 2.7.5, § 7.6).

An arrival costs the same in a join of two and of two thousand: it is one
inserted row and a counter. All inbound tasks are looked at once, when the
round opens. An inbound task that never ran but can still be reached is open
because of a *witness*, an unfinished task upstream; the join is looked at
again only when a witness ends without leading on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from mistral.engine.core import reach
from mistral.engine.core.contexts import columns, give, outbound, shared
from mistral.engine.core.data import Case
from mistral.engine.core.meeting import meet
from mistral.engine.core.run import Run, Task
from mistral.lang.graph import graph_of
from mistral.messages import State

NOT_TRIGGERED: Final = "not triggered"
IMPOSSIBLE: Final = "impossible route"
DEAD: Final = frozenset({NOT_TRIGGERED, IMPOSSIBLE})

REDO: Final = ""
"""Key in ``passes`` of the number of the last rerun or skip that led to a task: no
task has this name."""

Verdict = Literal["run", "fail"] | None


def find(case: Case, name: str) -> Task | None:
    """The row of a join, if a trigger has made it."""
    run = case.run
    for task in run.tasks.of(name):
        return task
    if run.is_new:
        return None
    return next(iter(run.adopt(case.facts.tasks(run.id, names=[name]))), None)


def arrive(case: Case, join: Task, source: Task, event: str) -> None:
    """An inbound task fired its transition to the join."""
    known = _contribution(case, join, source)
    next_pass = _is_next_pass(case, join, source, known)
    _keep(case, join, source)
    trigger = [source.name, source.id, event]
    if join.state == State.WAITING and not join.ran:
        if known is None:
            _note(case, join, *trigger)
        elif known["event"] in DEAD:
            _replace(case, join, known, source, event)
        else:
            _note_newer(join, *trigger)
    elif next_pass:
        if join.completed and join.processed and join is not source:
            reopen(case, join, [trigger])
        else:
            join.pending = [*(join.pending or ()), trigger]
    else:
        # The round is decided already.
        absorbed = ["join", join.id, join.name, source.name, "absorbed"]
        case.run.transitions.append(absorbed)
        if known is None:
            _note(case, join, *trigger)
        elif known["event"] in DEAD:
            _note_newer(join, *trigger)


def _note_newer(join: Task, inbound: str, source_id: str, event: str) -> None:
    """In this round an inbound task fires after something else is known of it."""
    mark = [join.round, source_id, event]
    join.newer = {**(join.newer or {}), inbound: mark}


def _is_next_pass(
    case: Case, join: Task, source: Task, known: Mapping[str, Any] | None
) -> bool:
    """Whether a trigger of a join whose round is decided opens the next one.

    It does when the round itself led to it (a loop), when an inbound task that has
    fired was executed once more, and when a rerun or skip since the join failed led
    to it; a branch that is only late does not (§ 2.7.5, Q35).
    """
    mine = (passes_after(case, source) or {}).get(join.name, 0)
    if mine and mine == join.round:
        return True
    if not join.ran and redo_of(source) > join.judged:
        return True
    if known is None or (join.ran and known["event"] in DEAD):
        return False
    earlier = _contributor(case, join, known)
    if earlier is None:
        return True
    if redo_of(source) != redo_of(earlier):
        return redo_of(source) > redo_of(earlier)
    was = (earlier.passes or {}).get(join.name, 0)
    if was > mine:
        # A branch of an earlier pass is only late, unless it came in that pass.
        came = _rows(case, join, mine + 1, mine + 2)
        return any(row["source_id"] == source.id for row in came)
    # After a contribution of an earlier pass this one belongs to the decided round.
    return was == mine


def redo_of(task: Task) -> int:
    """The last rerun or skip that led to the task; 0: none did."""
    return (task.passes or {}).get(REDO, 0)


def mark_redone(case: Case, task: Task) -> None:
    """The task is executed again by the present rerun or skip."""
    task.passes = {**(task.passes or {}), REDO: case.run.redone}


def passes_after(case: Case, task: Task) -> dict[str, int] | None:
    """What ``passes`` is for the tasks that this one leads to."""
    if task.unique_key is None or not reach.is_on_loop(case.run.spec, task.name):
        return task.passes
    return {**(task.passes or {}), task.name: task.round}


def _keep(case: Case, join: Task, source: Task) -> None:
    """Keep what a source hands on whose row is used again in its next round."""
    if source.unique_key is None or not reach.is_on_loop(case.run.spec, source.name):
        return
    context = shared(case, outbound(case, source))
    join.brought = {
        **(join.brought or {}),
        source.name: {
            **columns(context),
            "passes": passes_after(case, source),
            "finished_at": (source.finished_at or case.now).isoformat(),
        },
    }


def _contributor(case: Case, join: Task, row: Mapping[str, Any]) -> Task | None:
    """The execution that a row of arrivals names, as it was when it fired."""
    if row["source_id"] is None:
        return None
    found = _by_id(case, [row["source_id"]])
    kept = (join.brought or {}).get(row["inbound"])
    if not found or kept is None:
        return found[0] if found else None
    values = {**kept, "finished_at": datetime.fromisoformat(kept["finished_at"])}
    return Task(id=found[0].id, name=found[0].name, seq=found[0].seq, **values)


def _replace(
    case: Case, join: Task, row: Mapping[str, Any], source: Task, event: str
) -> None:
    """An inbound task that had counted as dead ran again and fired: next round
    with what the others brought."""
    carried = [
        [r["inbound"], r["source_id"], r["event"]]
        for r in _known(case, join).values()
        if r["event"] not in DEAD and r["inbound"] != row["inbound"]
    ]
    reopen(case, join, [*carried, [source.name, source.id, event]])


def miss(case: Case, join: Task, source: Task) -> None:
    """An inbound task ended without firing its transition to the join."""
    if join.state != State.WAITING or _contribution(case, join, source) is not None:
        return
    if not case.run.redone and reach.runs_once(case.run.spec, source.name):
        _note(case, join, source.name, source.id, NOT_TRIGGERED)
    else:
        _look(case, join, source.name)


def reopen(case: Case, join: Task, triggers: Iterable[list[Any]]) -> None:
    """Begin the next round; a join that failed keeps what had arrived."""
    brought: dict[str, list[Any]] = {}
    if not join.ran:
        for row in _known(case, join).values():
            if row["event"] not in DEAD:
                brought[row["inbound"]] = [row["source_id"], row["event"]]
    # Of an inbound task that fired several times the latest counts.
    brought.update((inbound, [id, event]) for inbound, id, event in triggers)
    join.round += 1
    join.arrived = join.dead = join.met = 0
    join.ran = False
    join.pending = None
    for inbound, (source_id, event) in brought.items():
        _note(case, join, inbound, source_id, event)


def survey(case: Case, join: Task) -> None:
    """Look at every inbound task that has not contributed to this round."""
    inbound = graph_of(case.run.spec).inbound(join.name)
    known = _known(case, join)
    if len(known) < len(inbound):
        _look(case, join, *(name for name in inbound if name not in known))


def give_up(case: Case, join: Task) -> None:
    """Nothing is in progress that could lead to the join any more."""
    known = _known(case, join)
    names = graph_of(case.run.spec).inbound(join.name)
    latest = reach.Latest(case, names)
    for name in names:
        if name not in known:
            _note_last(case, join, name, latest.get(name))


def _look(case: Case, join: Task, *names: str) -> None:
    """Note what these inbound tasks brought, or that they cannot come."""
    latest = reach.Latest(case, names)
    consumed = _consumed(case, join, map(latest.get, names))
    for name in names:
        task = latest.get(name)
        if task is not None:
            if not reach.is_routed(task):
                continue
            if task.id not in consumed and reach.event_of(task, join.name):
                _note_last(case, join, name, task)
                continue
        coming, witness = reach.can_come(
            case.run.spec, name, latest, join, redone=bool(case.run.redone)
        )
        if witness is not None:
            reach.watch(witness, join)
        if not coming:
            # What it brought before still counts.
            _note_last(case, join, name, task)


def _note_last(case: Case, join: Task, name: str, task: Task | None) -> None:
    if task is None:
        _note(case, join, name, None, IMPOSSIBLE)
    else:
        event = reach.event_of(task, join.name) or NOT_TRIGGERED
        _keep(case, join, task)
        _note(case, join, name, task.id, event)


def verdict(case: Case, join: Task) -> Verdict:
    """What the counters say (§ 2.7.4)."""
    if join.state != State.WAITING:
        return None
    total = len(graph_of(case.run.spec).inbound(join.name))
    wanted = case.run.spec.tasks[join.name].join
    needed = total if wanted == "all" else int(wanted or 0)
    if join.arrived >= needed:
        return "run"
    return "fail" if join.dead > total - needed else None


def gather(case: Case, join: Task) -> tuple[list[str], list[dict[str, str]]]:
    """Take over the contexts of who fired; returns the names of dead inbound
    tasks and what ``triggered_by`` shows."""
    known, fired = _take_over(case, join)
    failing = [name for name in known if known[name]["event"] in DEAD]
    order = graph_of(case.run.spec).inbound(join.name)
    failing.sort(key=order.index)
    shown = fired
    if failing and verdict(case, join) == "fail":
        is_all = case.run.spec.tasks[join.name].join == "all"
        shown = [known[n] for n in failing if known[n]["source_id"]] if is_all else []
    return failing, [
        {"task_id": row["source_id"], "event": row["event"]} for row in shown
    ]


def refresh(case: Case, join: Task) -> None:
    """A branch that came while the join ran is seen at its end (§ 2.2, step 3)."""
    if join.arrived > join.met:
        redo = redo_of(join)
        _take_over(case, join)
        if redo > redo_of(join):
            join.passes = {**(join.passes or {}), REDO: redo}


Rows = list[Mapping[str, Any]]


def _take_over(case: Case, join: Task) -> tuple[dict[str, Mapping[str, Any]], Rows]:
    """The inbound context from all that fired; returns what is known of this
    round, and of it the rows that fired."""
    known = _known(case, join)
    fired = [row for row in known.values() if row["event"] not in DEAD]
    _by_id(case, [row["source_id"] for row in fired])
    found = (_contributor(case, join, row) for row in fired)
    sources = [task for task in found if task is not None]
    give(join, shared(case, meet(case, sources)))
    join.passes = _met_passes(sources)
    join.met = join.arrived
    return known, fired


def _newest(join: Task, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row with the latest execution that fired in the round."""
    round, id, event = (join.newer or {}).get(row["inbound"], (0, None, None))
    if round != join.round:
        return row
    return {**row, "source_id": id, "event": event}


def _met_passes(sources: Iterable[Task]) -> dict[str, int] | None:
    found: dict[str, int] = {}
    for task in sources:
        for name, round in (task.passes or {}).items():
            found[name] = max(round, found.get(name, 0))
    return found or None


def _contribution(case: Case, join: Task, source: Task) -> Mapping[str, Any] | None:
    """What this inbound task gave to the present round."""
    row = case.run.arrivals.get(join.id, {}).get((join.round, source.name))
    if row is not None:
        return _newest(join, row)
    # After a rerun, a skip or a reopened sub-workflow it may come once more, and
    # so may all that follow from it.
    once = not case.run.redone and reach.runs_once(case.run.spec, source.name)
    if join.is_new or (once and join.round == 1):
        return None
    rounds = (join.round, join.round + 1)
    rows = case.facts.arrivals(join.id, source.name, rounds=rounds)
    return _newest(join, rows[0]) if rows else None


def _note(
    case: Case, join: Task, inbound: str, source_id: str | None, event: str
) -> None:
    case.run.arrivals.setdefault(join.id, {})[join.round, inbound] = {
        "join_id": join.id,
        "round": join.round,
        "inbound": inbound,
        "source_id": source_id,
        "event": event,
    }
    if event in DEAD:
        join.dead += 1
    else:
        join.arrived += 1


def _rows(case: Case, join: Task, first: int, end: int) -> list[Mapping[str, Any]]:
    """Of the rounds from ``first`` to before ``end``, in their order."""
    stored = [] if join.is_new else case.facts.arrivals(join.id, rounds=(first, end))
    fresh = [
        row
        for (round, _), row in case.run.arrivals.get(join.id, {}).items()
        if first <= round < end
    ]
    return [*stored, *fresh]


def _known(case: Case, join: Task) -> dict[str, Mapping[str, Any]]:
    rows = _rows(case, join, join.round, join.round + 1)
    return {row["inbound"]: _newest(join, row) for row in rows}


def _consumed(case: Case, join: Task, tasks: Iterable[Task | None]) -> set[str]:
    """Which of these executions that fired an earlier round has used up. Nearly
    always it was the last round, so the look goes back from there, twice as far each
    time."""
    left = {
        task.id
        for task in tasks
        if task is not None
        and reach.is_routed(task)
        and reach.event_of(task, join.name)
    }
    newer = (join.newer or {}).values()
    found = left & {id for round, id, _ in newer if round < join.round}
    left -= found
    end, width = join.round, 1
    while left and end > 1:
        first = max(1, end - width)
        rows = _rows(case, join, first, end)
        used = left & {row["source_id"] for row in rows if row["event"] not in DEAD}
        found |= used
        left -= used
        end, width = first, 2 * width
    return found


def _by_id(case: Case, ids: list[str]) -> list[Task]:
    run: Run = case.run
    missing = [id for id in ids if id not in run.tasks]
    if missing:
        run.adopt(case.facts.tasks(run.id, ids=missing))
    return [run.tasks[id] for id in ids if id in run.tasks]
