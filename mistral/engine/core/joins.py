"""Joins: who arrived, who cannot any more, and what follows from that.

There is one row per join and run, and rounds within it: a round begins with
its first trigger and ends when the join runs or fails. Later triggers of
inbound tasks that had not contributed to the round are absorbed; a second
trigger of a contributor opens the next round (Q35).

An arrival costs the same in a join of two and of two thousand: it is one
inserted row and a counter. All inbound tasks are looked at once, when the
round opens. An inbound task that never ran but can still be reached is open
because of a *witness*, an unfinished task upstream; the join is looked at
again only when a witness ends without leading on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from mistral.engine.core.data import Case, meet
from mistral.engine.core.run import Run, Task
from mistral.lang.graph import graph_of
from mistral.lang.specs import WorkflowSpec
from mistral.messages import State

NOT_TRIGGERED: Final = "not triggered"
IMPOSSIBLE: Final = "impossible route"
DEAD: Final = frozenset({NOT_TRIGGERED, IMPOSSIBLE})

Verdict = Literal["run", "fail"] | None


def find(case: Case, name: str) -> Task | None:
    """The row of a join, if a trigger has made it."""
    run = case.run
    for task in run.tasks.values():
        if task.unique_key == name:
            return task
    if run.is_new:
        return None
    return next(iter(run.adopt(case.facts.tasks(run.id, names=[name]))), None)


def arrive(case: Case, join: Task, source: Task, event: str) -> None:
    """An inbound task fired its transition to the join."""
    if join.state == State.WAITING:
        known = _contribution(case, join, source)
        if known is None:
            _note(case, join, source.name, source.id, event)
        elif known["event"] in DEAD:
            _replace(case, join, known, source, event)
        return
    if _contribution(case, join, source) is None:
        # The round is decided already: absorbed.
        _note(case, join, source.name, source.id, event)
    elif join.completed and join.processed:
        reopen(case, join, [[source.name, source.id, event]])
    else:
        join.pending = [*(join.pending or ()), [source.name, source.id, event]]


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
    if join.state == State.WAITING and _contribution(case, join, source) is None:
        _note(case, join, source.name, source.id, NOT_TRIGGERED)


def reopen(case: Case, join: Task, triggers: Iterable[list[Any]]) -> None:
    """Begin the next round; a join that failed keeps what had arrived."""
    carried: list[list[Any]] = []
    given = list(triggers)
    names = {inbound for inbound, _, _ in given}
    if not join.ran:
        carried = [
            [row["inbound"], row["source_id"], row["event"]]
            for row in _known(case, join).values()
            if row["event"] not in DEAD and row["inbound"] not in names
        ]
    join.round += 1
    join.arrived = join.dead = 0
    join.ran = False
    join.pending = None
    for inbound, source_id, event in (*carried, *given):
        _note(case, join, inbound, source_id, event)


def survey(case: Case, join: Task) -> None:
    """Look at every inbound task that has not contributed to this round."""
    run = case.run
    graph = graph_of(run.spec)
    inbound = graph.inbound(join.name)
    known = _known(case, join)
    if len(known) == len(inbound):
        return
    latest = _latest(case, {*graph.upstream(join.name), *inbound})
    consumed = _consumed(case, join)
    for name in inbound:
        if name in known:
            continue
        task = latest.get(name)
        if task is None or task.id in consumed:
            coming, witness = _can_come(run.spec, name, latest, join)
            if witness is not None:
                _watch(witness, join)
            if coming:
                continue
            if task is None:
                _note(case, join, name, None, IMPOSSIBLE)
            else:
                # It cannot run again: what it brought before still counts.
                _note(
                    case, join, name, task.id, _event_of(task, join.name) or IMPOSSIBLE
                )
        elif task.completed and task.processed:
            event = _event_of(task, join.name) or NOT_TRIGGERED
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
    known = _known(case, join)
    fired = [row for row in known.values() if row["event"] not in DEAD]
    sources = _by_id(case, [row["source_id"] for row in fired])
    join.in_context, join.versions = meet(case, sources)
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


def runs_once(spec: WorkflowSpec, name: str) -> bool:
    """Whether a task can have one execution only, so that a second trigger by
    it need not be looked for."""
    memo: dict[str, bool] = spec.derived.setdefault("runs_once", {})
    stack = [name]
    graph = graph_of(spec)
    while stack:
        current = stack[-1]
        if current in memo:
            stack.pop()
            continue
        inbound = graph.inbound(current)
        single = len(inbound) <= 1 or spec.tasks[current].join is not None
        if not single or current in graph.upstream(current):
            memo[current] = False
            continue
        missing = [each for each in inbound if each not in memo]
        if missing:
            stack.extend(missing)
            continue
        memo[current] = all(memo[each] for each in inbound) and all(
            _edges(spec, each, current) == 1 for each in inbound
        )
    return memo[name]


def _edges(spec: WorkflowSpec, source: str, target: str) -> int:
    task = spec.tasks[source]
    clauses = (task.on_success, task.on_error, task.on_complete, task.on_skip)
    return sum(edge.target == target for clause in clauses for edge in clause.edges)


def _contribution(case: Case, join: Task, source: Task) -> Mapping[str, Any] | None:
    """What this inbound task gave to the present round."""
    for row in case.run.arrivals:
        if (row["join_id"], row["round"], row["inbound"]) == (
            join.id, join.round, source.name,
        ):  # fmt: skip
            return row
    once = source.epoch <= 1 and runs_once(case.run.spec, source.name)
    if join.is_new or (once and join.round == 1):
        return None
    for stored in case.facts.arrivals(join.id, source.name):
        if stored["round"] == join.round:
            return stored
    return None


def _note(
    case: Case, join: Task, inbound: str, source_id: str | None, event: str
) -> None:
    case.run.arrivals.append(
        {
            "join_id": join.id,
            "round": join.round,
            "inbound": inbound,
            "source_id": source_id,
            "event": event,
        }
    )
    if event in DEAD:
        join.dead += 1
    else:
        join.arrived += 1


def _rows(case: Case, join: Task) -> list[Mapping[str, Any]]:
    stored = [] if join.is_new else list(case.facts.arrivals(join.id))
    fresh = [row for row in case.run.arrivals if row["join_id"] == join.id]
    return [*stored, *fresh]


def _known(case: Case, join: Task) -> dict[str, Mapping[str, Any]]:
    return {
        row["inbound"]: row for row in _rows(case, join) if row["round"] == join.round
    }


def _consumed(case: Case, join: Task) -> set[str]:
    """Executions that an earlier round has used up."""
    if join.round == 1:
        return set()
    return {
        row["source_id"]
        for row in _rows(case, join)
        if row["round"] < join.round and row["source_id"]
    }


def _latest(case: Case, names: Iterable[str]) -> dict[str, Task]:
    run = case.run
    wanted = set(names)
    if not run.is_new:
        run.adopt(case.facts.tasks(run.id, names=wanted))
    found: dict[str, Task] = {}
    for task in run.tasks.values():
        if task.name in wanted:
            old = found.get(task.name)
            if old is None or old.seq < task.seq:
                found[task.name] = task
    return found


def _by_id(case: Case, ids: list[str]) -> list[Task]:
    run: Run = case.run
    missing = [id for id in ids if id not in run.tasks]
    if missing:
        run.adopt(case.facts.tasks(run.id, ids=missing))
    return [run.tasks[id] for id in ids if id in run.tasks]


def _event_of(task: Task, target: str) -> str | None:
    for name, event in task.next_tasks or ():
        if name == target:
            return str(event)
    return None


def _can_come(
    spec: WorkflowSpec, name: str, latest: Mapping[str, Task], join: Task
) -> tuple[bool, Task | None]:
    """Whether a task that has not run can still be reached, and because of
    whom; a cycle by itself offers no route (ENG-089)."""
    graph = graph_of(spec)
    seen = {name}
    stack = [name]
    while stack:
        current = stack.pop()
        inbound = graph.inbound(current)
        if not inbound and current not in latest:
            return True, None
        for source in inbound:
            if source == join.name or source in seen:
                continue
            task = latest.get(source)
            if task is None:
                seen.add(source)
                stack.append(source)
            elif not (task.completed and task.processed):
                return True, task
            elif _event_of(task, current) and current not in latest:
                return True, None
    return False, None


def _watch(witness: Task, join: Task) -> None:
    if join.id not in (witness.watchers or ()):
        witness.watchers = [*(witness.watchers or ()), join.id]
