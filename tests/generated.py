"""Random workflows for ``oracle``: hypothesis strategies.

Two shapes. A *mesh* has edges forward between any tasks, of any clause, and
joins of any kind; some edges may lead back, past a counter. A *chain* has
segments one behind the other: tasks, forks that a join gathers, loops with a
counter, also nested. Both may call sub-workflows, which may call others, and
reverse workflows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from oracle import LATER, Expr

Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Case:
    """Definitions by name, which one to start, and how calls end.

    :param plan: state by (workflow, task, item, attempt); else SUCCESS. LATER: it
        waits until somebody answers it.
    """

    definitions: Mapping[str, Any]
    start: str
    params: Mapping[str, Any]
    plan: Mapping[tuple[str, str, int, int], str]


@dataclass(frozen=True)
class Wanted:
    """What may occur.

    :param ends: ``fail``, ``succeed`` and what cannot be evaluated.
    :param holds: ``pause`` and ``pause-before``.
    :param calls: names of workflows that may be called.
    :param skips: clauses for tasks that are skipped.
    """

    ends: bool = True
    holds: bool = True
    calls: tuple[str, ...] = ()
    skips: bool = False


def often(draw: Draw, one_in: int) -> bool:
    return bool(draw(st.integers(1, one_in)) == one_in)


def value(draw: Draw, kind: str = "any") -> Any:
    """Something to publish or to pass on."""
    options = [Expr("lit", value=1), Expr("lit", value="s"), 5, None]
    options += [Expr("var", "x", 0), Expr("var", "y", None), Expr("var", "p", 0)]
    options += [Expr("var", "v", 0)]
    if kind == "publish":
        options += [Expr("result"), Expr("result"), {"a": 1}, {"b": 2}, {"c": {"e": 3}}]
        options += [{"a": Expr("var", "x", 0), "c": {"f": 4}}]
    return draw(st.sampled_from(options))


def condition(draw: Draw) -> Any:
    return draw(
        st.sampled_from([
            Expr("lit", value=True), Expr("lit", value=True),
            Expr("lit", value=False), Expr("lit", value=0), Expr("lit", value="false"),
            Expr("result-is", value=1),
            Expr("state-is", value="ERROR"), Expr("state-is", value="SUCCESS"),
            Expr("is", "x", 1), Expr("is", "p", 1),
        ])
    )  # fmt: skip


def task(draw: Draw, name: str, wanted: Wanted) -> dict[str, Any]:
    """What a task calls, its policies, and what it publishes."""
    body: dict[str, Any] = {}
    kinds = ["noop", "echo", "echo", "work", "work", "async", "fail"]
    kind = draw(st.sampled_from(kinds + wanted.skips * ["work", "async", "async"]))
    if wanted.calls and often(draw, 4):
        kind = "call"
    if often(draw, 25):
        kind = draw(st.sampled_from(["silent", "unknown"]))
    if kind == "call":
        body["workflow"] = draw(st.sampled_from(wanted.calls))
        body["input"] = {"p": value(draw), "stray": 1}
    elif kind == "unknown":
        body["workflow"] = "no_such_workflow"
    elif kind == "silent":
        body |= {"action": "std.async_noop", "timeout": draw(st.integers(1, 9))}
    elif kind == "async":
        body["action"] = "std.async_noop"
    elif kind == "work":
        body |= {"action": "std.echo", "input": {"output": value(draw), "delay": 1}}
        body["safe-rerun"] = True
    elif kind == "echo":
        body |= {"action": "std.echo", "input": {"output": value(draw)}}
    elif kind == "fail":
        body["action"] = "std.fail"
    if often(draw, 4):
        listed = Expr("lit", value=draw(st.sampled_from([[7], [None, 8], [1, 2, 3]])))
        ranged = Expr("range", value=draw(st.integers(0, 4)))
        body["with-items"] = draw(st.sampled_from([listed, ranged]))
        if body.get("action") == "std.echo" and often(draw, 2):
            body["input"] = {**body["input"], "output": Expr("item")}
        if often(draw, 2):
            body["concurrency"] = draw(st.integers(1, 3))
    policies(draw, body, wanted)
    published = {name: draw(st.integers(1, 3))}
    for shared in ("x", "y", "d"):
        if often(draw, 5):
            published[shared] = value(draw, "publish")
    body["publish"] = published
    if often(draw, 2):
        body["publish-on-error"] = {name: value(draw), "x": draw(st.integers(1, 2))}
    if wanted.skips and often(draw, 3):
        body["publish-on-skip"] = {name: "skipped", "y": value(draw)}
    return body


def policies(draw: Draw, body: dict[str, Any], wanted: Wanted) -> None:
    if often(draw, 5):
        retry: dict[str, Any] = {"count": draw(st.integers(0, 2))}
        retry["delay"] = draw(st.integers(0, 2))
        if retry["count"] == 2:
            retry |= {"backoff": 2, "max-delay": 3, "jitter": 0.5}
        for name in ("break-on", "continue-on"):
            if often(draw, 3):
                retry[name] = condition(draw)
        body["retry"] = retry
    for name in ("wait-before", "wait-after"):
        if often(draw, 9):
            body[name] = draw(st.integers(0, 3))
    if often(draw, 9):
        body["fail-on"] = condition(draw)
    if wanted.holds and often(draw, 14):
        body["pause-before"] = True
    if wanted.ends and often(draw, 60):
        body["publish"] = {"z": Expr("boom")}


def entry(draw: Draw, target: str) -> Any:
    return {target: condition(draw)} if often(draw, 4) else target


def command(draw: Draw, wanted: Wanted) -> Any:
    names = ["noop", "noop"]
    if wanted.holds:
        names += ["pause"]
    if wanted.ends:
        names += ["fail", 'fail msg="given up"', "succeed"]
    return entry(draw, draw(st.sampled_from(names)))


def mesh(draw: Draw, wanted: Wanted, *, back: bool = False) -> dict[str, Any]:
    """:param back: one edge or two lead back, past a counter."""
    size = draw(st.integers(3 if back else 1, 7))
    names = [f"t{i}" for i in range(size)]
    tasks = {name: task(draw, name, wanted) for name in names}
    inbound: dict[str, set[str]] = {name: set() for name in names}
    for position, name in enumerate(names):
        most_of = {"on-success": 2, "on-error": 1, "on-complete": 1}
        if wanted.skips and often(draw, 4):
            most_of["on-skip"] = 1
        for clause, most in most_of.items():
            later = names[position + 1 :]
            found: list[Any] = []
            if later:
                chosen = draw(st.lists(st.sampled_from(later), max_size=most))
                for target in dict.fromkeys(chosen):
                    inbound[target].add(name)
                    found.append(entry(draw, target))
            if often(draw, 12):
                position_of = draw(st.integers(0, len(found)))
                found.insert(position_of, command(draw, wanted))
            if found:
                tasks[name][clause] = clauses(draw, name, found)
    for _ in range(draw(st.integers(1, 2)) if back else 0):
        position = draw(st.integers(1, size - 1))
        source, target = names[position], names[draw(st.integers(1, position))]
        inbound[target].add(source)
        lead_back(tasks[source], target)
    for name in names:
        if len(inbound[name]) > 1 and not often(draw, 8):
            kinds: list[Any] = ["all", "all", "all", "one", 2]
            tasks[name]["join"] = draw(st.sampled_from(kinds))
    return {"tasks": tasks}


def lead_back(body: dict[str, Any], target: str) -> None:
    edge = {target: Expr("less", "n", 3)}
    clause = body.setdefault("on-complete", [])
    if edge in (clause["next"] if isinstance(clause, dict) else clause):
        return
    if isinstance(clause, dict):
        body["on-complete"] = {**clause, "next": [*clause["next"], edge]}
    else:
        body["on-complete"] = [*clause, edge]
    for name in ("publish", "publish-on-error"):
        body[name] = {"n": Expr("plus", "n")}


def clauses(draw: Draw, name: str, found: list[Any]) -> Any:
    if not often(draw, 6):
        return found
    published: dict[str, Any] = {"branch": {f"{name}_c": value(draw, "publish")}}
    if often(draw, 2):
        published["global"] = {f"g_{name}": draw(st.integers(1, 9))}
    return {"publish": published, "next": found}


class Chain:
    """Segments one behind the other; each goes on whatever its tasks did."""

    def __init__(self, draw: Draw, wanted: Wanted) -> None:
        self.draw, self.wanted = draw, wanted
        self.tasks: dict[str, dict[str, Any]] = {}

    def made(self) -> dict[str, Any]:
        self.segments(self.single(), depth=0)
        return {"tasks": self.tasks}

    def single(self) -> str:
        name = f"t{len(self.tasks)}"
        self.tasks[name] = task(self.draw, name, self.wanted)
        return name

    def follow(self, source: str, target: str, clause: str = "on-complete") -> None:
        self.tasks[source].setdefault(clause, []).append(target)

    def segments(self, last: str, depth: int) -> str:
        for _ in range(self.draw(st.integers(1, 2))):
            kinds = ["task", "fork"] + (["loop"] if depth < 2 else [])
            kind = self.draw(st.sampled_from(kinds))
            last = getattr(self, kind)(last, depth)
        return last

    def task(self, last: str, depth: int) -> str:
        name = self.single()
        self.follow(last, name)
        return name

    def fork(self, last: str, depth: int) -> str:
        branches = []
        for _ in range(self.draw(st.integers(2, 3))):
            name = self.task(last, depth)
            if often(self.draw, 3):
                name = self.task(name, depth)
            branches.append(name)
        join = self.single()
        self.tasks[join]["join"] = "all"
        for name in branches:
            self.follow(name, join)
        return join

    def loop(self, last: str, depth: int) -> str:
        counter = f"n{depth}"
        entry_task, head = self.plain({counter: 0}), self.single()
        self.follow(last, entry_task)
        self.follow(entry_task, head)
        end = self.segments(head, depth + 1) if often(self.draw, 2) else head
        turn = self.plain({counter: Expr("plus", counter)})
        self.follow(end, turn)
        times = self.draw(st.integers(1, 3 - depth))
        again = Expr("less", counter, times)
        out = self.single()
        self.tasks[turn]["on-complete"] = [
            {head: again}, {out: Expr("is", counter, times)}
        ]  # fmt: skip
        return out

    def plain(self, published: dict[str, Any]) -> str:
        name = f"t{len(self.tasks)}"
        self.tasks[name] = {"action": "std.noop", "publish": published}
        return name


def finished(draw: Draw, body: dict[str, Any]) -> dict[str, Any]:
    """The rest of a workflow."""
    body["input"] = [{"p": 0}, {"y": 4}]
    if often(draw, 3):
        body["vars"] = {"v": 1, "p": 1}
    if often(draw, 3):
        body["output"] = {"o": value(draw), "d": Expr("var", "d", None)}
        body["output"]["g"] = Expr("global", "g_t0")
    if often(draw, 3):
        body["output-on-error"] = {"o": value(draw), "why": 1}
    if often(draw, 6) and body.get("type") != "reverse":
        names = list(body["tasks"])
        handler = f"t{len(names)}"
        body["tasks"][handler] = {"action": "std.noop", "publish": {"x": 1}}
        body["task-defaults"] = {"on-error": [handler]}
    return body


def reverse(draw: Draw, wanted: Wanted) -> dict[str, Any]:
    tasks: dict[str, dict[str, Any]] = {}
    for position in range(draw(st.integers(1, 5))):
        name = f"t{position}"
        tasks[name] = task(draw, name, Wanted(ends=False, holds=wanted.holds))
        if tasks and position:
            needed = st.lists(st.sampled_from(list(tasks)[:-1]), max_size=2)
            found = list(dict.fromkeys(draw(needed)))
            if found:
                tasks[name]["requires"] = found
    return {"type": "reverse", "tasks": tasks}


def direct(draw: Draw, wanted: Wanted) -> dict[str, Any]:
    shape = draw(st.sampled_from(["mesh", "mesh", "back", "chain", "chain", "chain"]))
    if shape == "chain":
        return Chain(draw, wanted).made()
    return mesh(draw, wanted, back=shape == "back")


@st.composite
def cases(
    draw: Draw, holds: bool = True, nested: bool = True, operated: bool = False
) -> Case:
    """:param holds: runs may hold themselves; nested: and call others.
    :param operated: users will do something to them.
    """
    ends = often(draw, 8 if operated else 3)
    wanted = Wanted(ends=ends, holds=holds, skips=operated)
    definitions: dict[str, Any] = {}
    calls: tuple[str, ...] = ()
    start, params = "w", {}
    if nested and often(draw, 2):
        for name in ("s", "m")[: draw(st.integers(1, 2))]:
            below = replace(wanted, calls=calls)
            definitions[name] = finished(draw, direct(draw, below))
            calls = (*calls, name)
    if often(draw, 6):
        body = reverse(draw, wanted)
        params = {"task_name": draw(st.sampled_from(list(body["tasks"])))}
    else:
        body = direct(draw, replace(wanted, calls=calls))
    definitions[start] = finished(draw, body)
    return Case(definitions, start, params, plan(draw, definitions, operated))


def plan(
    draw: Draw, definitions: Mapping[str, Any], operated: bool
) -> dict[tuple[str, str, int, int], str]:
    """Some calls fail, a few are cancelled; for users some wait, and more fail."""
    scripted = [
        (workflow, name)
        for workflow, body in definitions.items()
        for name, task in body["tasks"].items()
        if "delay" in task.get("input", {}) or task.get("action") == "std.async_noop"
    ]
    found: dict[tuple[str, str, int, int], str] = {}
    for workflow, name in scripted:
        body = definitions[workflow]["tasks"][name]
        waits = body.get("action") == "std.async_noop" and "timeout" not in body
        for attempt in (1, 2):
            if often(draw, 2 if operated and attempt == 1 else 4):
                item = draw(st.integers(0, 2 if "with-items" in body else 0))
                state = "CANCELLED" if often(draw, 8) else "ERROR"
                if operated and waits and often(draw, 2):
                    state = LATER
                found[workflow, name, item, attempt] = state
    return found
