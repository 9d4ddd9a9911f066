"""One workflow as the lints look at it: its spec and its expressions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from mistral.expressions.recognition import contains_expression
from mistral.expressions.references import References, references
from mistral.lang.graph import Graph, graph_of
from mistral.lang.policies import retry_attributes
from mistral.lang.shapes import Findings, Path
from mistral.lang.specs import TaskSpec, WorkflowSpec

Moment = Literal[
    "start", "begin", "call", "task", "publish", "end", "output", "anytime"
]
"""When a text is evaluated, which decides what it sees (§ 22.2): ``start``:
``vars``; ``begin``: before the first task, input and ``vars`` alone; ``call``: input
of an action, loop variables included; ``task``: policies and the like; ``publish``;
``end``: conditions of the task, after it has published; ``output``: of the workflow,
or of an attempt of it; ``anytime``: defaults of every task."""

_CLAUSES: Final = ("on-success", "on-error", "on-complete", "on-skip")
_MOMENTS: Final[Mapping[str, Moment]] = {
    "action": "call",
    "workflow": "call",
    "input": "call",
    "publish": "publish",
    "publish-on-error": "publish",
    "publish-on-skip": "publish",
    "retry": "end",
}
_NOT_EVALUATED: Final = frozenset(
    {"description", "tags", "requires", "join", "name", "version", "type"}
)


@dataclass(frozen=True)
class Site:
    """A text with expressions.

    :ivar task: the task it belongs to, or None.
    :ivar attribute: the property of the task or workflow.
    """

    path: Path
    text: str
    moment: Moment
    attribute: str
    task: TaskSpec | None = None

    @cached_property
    def refers(self) -> References:
        return references(self.text)


class Subject:
    """A sound workflow.

    :param raw: its mapping as it stands in the document, at ``path``.
    """

    def __init__(
        self, found: Findings, path: Path, raw: Mapping[Any, Any], spec: WorkflowSpec
    ) -> None:
        self.found: Final = found
        self.path: Final = path
        self.raw: Final = raw
        self.spec: Final = spec

    @property
    def graph(self) -> Graph:
        return graph_of(self.spec)

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        return tuple(self._sites())

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word of every expression."""
        return frozenset().union(*(site.refers.words for site in self.sites))

    def task_path(self, name: str, *rest: Any) -> Path:
        return (*self.path, "tasks", name, *rest)

    def _sites(self) -> Iterator[Site]:
        raw = self.raw
        whole: tuple[tuple[str, Moment], ...] = (
            ("vars", "start"),
            ("output", "output"),
            ("output-on-error", "output"),
            ("task-defaults", "anytime"),
        )
        for key, moment in whole:
            for path, text in texts((*self.path, key), raw.get(key)):
                yield Site(path, text, moment, key)
        yield from self._of_run()
        for name, body in raw["tasks"].items():
            task = self.spec.tasks.get(name)
            if task is not None and isinstance(body, Mapping):
                yield from self._of_task(task, body)

    def _of_run(self) -> Iterator[Site]:
        """``timeout`` and ``retry`` of the workflow (decision 0043)."""
        timeout, retry = (self.raw.get(key) for key in ("timeout", "retry"))
        for path, text in texts((*self.path, "timeout"), timeout):
            yield Site(path, text, "begin", "timeout")
        here = (*self.path, "retry")
        for name, value in ({} if retry is None else retry_attributes(retry)).items():
            # On one line, the pieces of it.
            path = (*here, name) if isinstance(retry, Mapping) else here
            moment: Moment = "output" if name == "break-on" else "begin"
            for _, text in texts(path, value):
                yield Site(path, text, moment, "retry")

    def _of_task(self, task: TaskSpec, body: Mapping[Any, Any]) -> Iterator[Site]:
        for key, value in body.items():
            if key in _NOT_EVALUATED:
                continue
            here = self.task_path(task.name, key)
            for path, text in texts(here, value):
                moment = _MOMENTS.get(key, "task")
                if key in _CLAUSES:
                    inside = path[len(here) : len(here) + 1] == ("publish",)
                    moment = "publish" if inside else "end"
                yield Site(path, text, moment, key, task)


def texts(path: Path, tree: Any) -> Iterator[tuple[Path, str]]:
    """Every text with an expression in a tree, and its path; the parameters of
    commands are keys."""
    if isinstance(tree, str):
        if contains_expression(tree):
            yield path, tree
    elif isinstance(tree, dict):
        for key, item in tree.items():
            here = (*path, key)
            if isinstance(key, str) and " " in key and contains_expression(key):
                yield here, key
            yield from texts(here, item)
    elif isinstance(tree, list):
        for position, item in enumerate(tree):
            yield from texts((*path, position), item)
