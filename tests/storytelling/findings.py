"""What is expected beside what is found: one line for each difference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from storytelling.cast import Cast
from storytelling.stages import Row, Stage

TEXTS: Final = {"contains", "starts", "lacks", "any"}


class Tree:
    """A run and all below it, read at one moment of quiet."""

    def __init__(self, stage: Stage, run: Row) -> None:
        self._stage = stage
        self.run = run
        self.tasks = sorted(
            stage.rows("task", workflow_execution_id=run["id"]),
            key=lambda row: row["seq"],
        )
        self._below = {
            task["id"]: [
                Tree(stage, row)
                for row in sorted(
                    stage.rows("run", task_execution_id=task["id"]), key=_attempt
                )
            ]
            for task in self.tasks
            if task["type"] == "WORKFLOW"
        }

    @property
    def subs(self) -> list[Tree]:
        """Runs of the sub-workflows, by task and attempt."""
        return [tree for below in self._below.values() for tree in below]

    def all(self) -> Iterator[Tree]:
        yield self
        for tree in self.subs:
            yield from tree.all()

    def children(self, task: Row) -> list[Row]:
        """Action executions or runs that a task has started, oldest first."""
        if task["type"] == "WORKFLOW":
            return [tree.run for tree in self._below[task["id"]]]
        rows = self._stage.rows("action", task_execution_id=task["id"])
        return sorted(rows, key=_epoch)

    def result(self, task: Row) -> Any:
        """As spec/engine.md § 1.6.5 says; of sub-workflows the last attempt."""
        if task["type"] == "WORKFLOW":
            newest = {r["params"]["index"]: r for r in self.children(task)}
            over = [newest[i] for i in sorted(newest) if newest[i]["accepted"]]
            values = [row["output"] for row in over]
        else:
            rows = [row for row in self.children(task) if row["accepted"]]
            rows.sort(key=lambda row: row["item_index"])
            values = [(row["output"] or {}).get("result") for row in rows]
        if "with_items" in (task["runtime_context"] or {}):
            return values
        return values[0] if len(values) == 1 else values

    def lines(self, depth: int = 0) -> Iterator[str]:
        """The tree, for a reader."""
        run, margin = self.run, "  " * depth
        yield (
            f"{margin}{run['workflow_name']}: {run['state']}"
            f"{_shown_info(run)} output={_short(run['output'])}"
        )
        for task in self.tasks:
            yield (
                f"{margin}  {task['name']}: {task['state']}{_shown_info(task)}"
                f" published={_short(task['published'])}"
                f" children={[row['state'] for row in self.children(task)]}"
            )
            for tree in self._below.get(task["id"], ()):
                yield from tree.lines(depth + 2)


def _attempt(row: Row) -> tuple[Any, ...]:
    parent = row["internals"].get("parent", {})
    return parent.get("attempt", 0), parent.get("index", 0)


def _epoch(row: Row) -> tuple[Any, ...]:
    return row["internals"].get("epoch", 0), row["item_index"], row["created_at"]


def _shown_info(row: Row) -> str:
    return f" ({_short(row['state_info'])})" if row["state_info"] else ""


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) < 300 else text[:300] + "…"


def of_run(expected: Mapping[str, Any], tree: Tree, cast: Cast) -> Iterator[str]:
    """Differences between an expectation (``story.RUN``) and a run."""
    run = tree.run
    simple = {
        "state": run["state"],
        "info": run["state_info"],
        "output": run["output"],
        "input": run["input"],
        "params": run["params"],
        "description": run["description"],
        "globals": _globals(run["context"]),
        "root": run["root_execution_id"] is None,
    }
    for key, found in simple.items():
        if key == "params" and key in expected:
            found = {k: v for k, v in (found or {}).items() if k in expected[key]}
        if key in expected:
            yield from of_value(key, expected[key], found)
    if "tasks" in expected:
        yield from _of_tasks(expected["tasks"] or {}, tree)
    if "subs" in expected:
        yield from _of_subs(expected["subs"] or {}, tree, cast)
    if "calls" in expected:
        # Which of several starts first is nobody's promise: ``before`` is.
        found = sorted(str(part) for what, part in cast.log if what == "called")
        yield from of_value("calls", sorted(expected["calls"]), found)
    for line in expected.get("before", ()):
        yield from _of_order(line, cast)


def _globals(context: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        k: v
        for k, v in (context or {}).items()
        if k not in ("__execution", "openstack")
    }


def _of_tasks(expected: Mapping[str, Any], tree: Tree) -> Iterator[str]:
    found: dict[str, list[Row]] = {}
    for task in tree.tasks:
        found.setdefault(task["name"], []).append(task)
    for name in sorted(found.keys() - expected.keys()):
        states = [task["state"] for task in found[name]]
        yield f"tasks.{name}: expected no such task, found {states}"
    for name, wanted in expected.items():
        several = wanted if isinstance(wanted, list) else [wanted]
        rows = found.get(name, [])
        if len(several) != len(rows):
            states = [row["state"] for row in rows]
            yield f"tasks.{name}: expected {_short(wanted)}, found {states}"
            continue
        for number, (each, row) in enumerate(zip(several, rows, strict=True)):
            path = f"tasks.{name}" + (f"[{number}]" if len(several) > 1 else "")
            yield from _of_task(path, each, tree, row)


def _of_task(path: str, wanted: Any, tree: Tree, row: Row) -> Iterator[str]:
    if not isinstance(wanted, dict):
        wanted = {"state": wanted}
    found = {
        "state": row["state"],
        "info": row["state_info"],
        "published": row["published"] or {},
        "processed": row["processed"],
        "started": row["started_at"] is not None,
        "type": row["type"],
        "tags": row["tags"],
        "error-handled": row["error_handled"],
    }
    for key, value in found.items():
        if key in wanted:
            yield from of_value(f"{path}.{key}", wanted[key], value)
    if "result" in wanted:
        yield from of_value(f"{path}.result", wanted["result"], tree.result(row))
    if "children" in wanted:
        states: Any = [child["state"] for child in tree.children(row)]
        if isinstance(wanted["children"], int):
            states = len(states)
        yield from of_value(f"{path}.children", wanted["children"], states)
    if "accepted" in wanted:
        flags = [child["accepted"] for child in tree.children(row)]
        yield from of_value(f"{path}.accepted", wanted["accepted"], flags)
    if "context" in wanted:
        context = row["runtime_context"] or {}
        chosen = {k: v for k, v in context.items() if k in wanted["context"]}
        yield from of_value(f"{path}.context", wanted["context"], chosen)


def _of_subs(expected: Mapping[str, Any], tree: Tree, cast: Cast) -> Iterator[str]:
    found: dict[str, list[Tree]] = {}
    for sub in tree.subs:
        found.setdefault(sub.run["workflow_name"], []).append(sub)
    for name in sorted(found.keys() - expected.keys()):
        states = [sub.run["state"] for sub in found[name]]
        yield f"subs.{name}: expected no such sub-workflow, found {states}"
    for name, wanted in expected.items():
        several = wanted if isinstance(wanted, list) else [wanted]
        subs = found.get(name, [])
        if len(several) != len(subs):
            states = [sub.run["state"] for sub in subs]
            yield f"subs.{name}: expected {len(several)} of them, found {states}"
            continue
        for number, (each, sub) in enumerate(zip(several, subs, strict=True)):
            path = f"subs.{name}" + (f"[{number}]" if len(several) > 1 else "")
            each = each if isinstance(each, dict) else {"state": each}
            for line in of_run(each, sub, cast):
                yield f"{path}.{line}"


def _of_order(line: str, cast: Cast) -> Iterator[str]:
    first, _, then = (word.strip() for word in line.partition("<"))
    ends = [
        n for n, (what, p) in enumerate(cast.log) if what == "ended" and str(p) == first
    ]
    calls = [
        n for n, (what, p) in enumerate(cast.log) if what == "called" and str(p) == then
    ]
    if not ends or not calls or ends[-1] > calls[0]:
        order = [f"{what} {part}" for what, part in cast.log]
        yield f"before: expected {line}, found the order {order}"


def of_value(path: str, expected: Any, found: Any) -> Iterator[str]:
    """Equal, or for a text what ``{contains: …}`` and the like say."""
    if isinstance(expected, Mapping) and expected and {*expected} <= TEXTS:
        for how, wanted in expected.items():
            if not _fits(how, wanted, found):
                yield f"{path}: expected {how} {_short(wanted)}, found {_short(found)}"
    elif isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted(expected.keys() | found.keys(), key=str):
            if key not in found:
                yield f"{path}.{key}: expected {_short(expected[key])}, found nothing"
            elif key not in expected:
                yield f"{path}.{key}: expected nothing, found {_short(found[key])}"
            else:
                yield from of_value(f"{path}.{key}", expected[key], found[key])
    elif _same_list(expected, found):
        for number, (each, other) in enumerate(zip(expected, found, strict=True)):
            yield from of_value(f"{path}[{number}]", each, other)
    elif expected != found or isinstance(expected, bool) is not isinstance(found, bool):
        yield f"{path}: expected {_short(expected)}, found {_short(found)}"


def _same_list(expected: Any, found: Any) -> bool:
    both = isinstance(expected, Sequence) and isinstance(found, Sequence)
    text = isinstance(expected, str) or isinstance(found, str)
    return both and not text and len(expected) == len(found)


def _fits(how: str, wanted: Any, found: Any) -> bool:
    if how == "any":
        return found is not None
    words = wanted if isinstance(wanted, list) else [wanted]
    text = found if isinstance(found, str) else json.dumps(found, default=str)
    if how == "starts":
        return all(text.startswith(word) for word in words)
    if how == "lacks":
        return not any(word in text for word in words)
    return all(word in text for word in words)
