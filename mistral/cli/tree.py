"""An execution as a tree: its tasks, their actions and sub-workflows.

One request brings it all: the report of spec/rest-api.md § 9.1.9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.markup import escape
from rich.tree import Tree

FINISHED: Final = frozenset({"SUCCESS", "ERROR", "CANCELLED", "SKIPPED"})

_COLOURS: Final = {
    "SUCCESS": "green",
    "ERROR": "red",
    "CANCELLED": "magenta",
    "SKIPPED": "cyan",
    "RUNNING": "yellow",
    "PAUSED": "blue",
    "DELAYED": "yellow",
}

#: Of a task with many items, those that say something are shown one by one.
_SHOWN: Final = 20

#: Longer reasons are cut: `-o json` has the whole text.
_REASON_CHARACTERS: Final = 300

Entry = Mapping[str, Any]


def coloured(state: str) -> str:
    colour = _COLOURS.get(state, "white")
    return f"[{colour}]{escape(state)}[/{colour}]"


def duration(entry: Entry, now: datetime | None) -> str:
    """How long ``entry`` took, or has taken until ``now`` (the service's clock);
    empty where it is not known."""
    started = _moment(entry.get("started_at") or entry.get("created_at"))
    if entry.get("state") in FINISHED:
        # What was never touched again ended in the moment it began.
        ended = _moment(entry.get("finished_at") or entry.get("updated_at")) or started
    else:
        ended = now
    if started is None or ended is None:
        return ""
    seconds = max(0, int((ended - started).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {seconds} s"
    return f"{seconds} s"


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.strptime(str(text), "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


def execution_tree(root: Entry, now: datetime | None) -> Tree:
    """What ``show``, ``watch`` and ``report`` draw of a report's root."""
    tree = Tree(_label(root, now))
    _add_tasks(tree, root, now)
    return tree


def _add_tasks(tree: Tree, execution: Entry, now: datetime | None) -> None:
    for task in execution.get("task_executions", ()):
        branch = tree.add(_label(task, now))
        for child in _telling(task.get("workflow_executions", ()), branch):
            _add_tasks(branch.add(_label(child, now)), child, now)
        actions = task.get("action_executions", ())
        # A task with one call that went well has said it all itself.
        if len(actions) > 1 or any(a.get("state") != "SUCCESS" for a in actions):
            latest = {_item(each): each for each in sorted(actions, key=_created)}
            for action in _telling(actions, branch):
                again = action is not latest[_item(action)]
                branch.add(_label(action, now, again=again))


def _telling(entries: Sequence[Entry], branch: Tree) -> Sequence[Entry]:
    """``entries``, or of very many those that have not simply succeeded."""
    if len(entries) <= _SHOWN:
        return entries
    others = [entry for entry in entries if entry.get("state") != "SUCCESS"]
    done = len(entries) - len(others)
    branch.add(f"[dim]{done} of {len(entries)} succeeded[/dim]")
    if len(others) > _SHOWN:
        branch.add(f"[dim]{len(others)} others, the first {_SHOWN}:[/dim]")
    return others[:_SHOWN]


def _item(action: Entry) -> Any:
    """Archives have another name for it, and another order."""
    return action.get("index", action.get("item_index"))


def _created(action: Entry) -> str:
    return str(action.get("created_at") or "")


def _label(entry: Entry, now: datetime | None, *, again: bool = False) -> str:
    """:param again: of an action: another one of its task, or item, has followed."""
    item = "" if entry.get("index") is None else f"[{entry['index']}]"
    name = f"{entry.get('name') or entry['id']}{item}"
    parts = [
        f"[bold]{escape(name)}[/bold]",
        coloured(str(entry["state"])),
    ]
    took = duration(entry, now)
    if took:
        parts.append(f"[dim]{took}[/dim]")
    if entry.get("retry_count"):
        parts.append(f"[dim]retries: {entry['retry_count']}[/dim]")
    if again and entry.get("accepted") is False and entry.get("state") in FINISHED:
        parts.append("[dim]tried again[/dim]")
    parts.append(f"[dim]{escape(str(entry['id']))}[/dim]")
    label = "  ".join(parts)
    reason = str(entry.get("state_info") or "").strip()
    if reason and not _is_action(entry):
        if len(reason) > _REASON_CHARACTERS:
            reason = reason[:_REASON_CHARACTERS] + " …"
        label += f"\n[red]{escape(reason)}[/red]"
    return label


def _is_action(entry: Entry) -> bool:
    return "accepted" in entry


def states(root: Entry, path: str = "") -> Iterator[tuple[str, str, str]]:
    """``(id, path, state)`` of the execution and every task below it; the path
    is made of names, such as ``main/clean/sub``."""
    here = f"{path}/{root.get('name') or root['id']}".lstrip("/")
    yield str(root["id"]), here, str(root["state"])
    for task in root.get("task_executions", ()):
        place = f"{here}/{task['name']}"
        yield str(task["id"]), place, str(task["state"])
        for child in task.get("workflow_executions", ()):
            yield from states(child, place)
