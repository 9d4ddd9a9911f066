"""Advice on what tasks call: LINT-24, 25, 26.

Whether something exists is never a fault at upload: it may be created later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mistral.expressions.recognition import contains_expression
from mistral.lang.actions import build_input
from mistral.lang.lints.subject import Subject
from mistral.lang.shapes import Findings, Path, quoted, shortened
from mistral.lang.specs import REQUIRED, ActionSpec, InputDeclaration, TaskSpec


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of an action.

    :ivar required: those that have no default.
    :ivar open: whether it takes any name besides.
    """

    required: frozenset[str]
    optional: frozenset[str]
    open: bool = False

    @classmethod
    def of(cls, declared: InputDeclaration) -> Signature:
        required = {name for name, value in declared.items() if value is REQUIRED}
        return cls(frozenset(required), frozenset(declared) - required)

    @classmethod
    def declared(cls, items: Any) -> Signature:
        """Of the ``input`` of a normalised definition."""
        return cls.of(build_input(items))

    def takes(self, name: str) -> bool:
        return self.open or name in self.required or name in self.optional


class Catalogue(Protocol):
    """What exists outside of the text."""

    def action(self, name: str) -> Signature | None:
        """None: there is no such action."""

    def action_names(self) -> Collection[str]:
        """To suggest one that is meant."""

    def workflow(self, name: str) -> Signature | None:
        """None: there is no such workflow."""


class Known:
    """What a text itself defines, then what the catalogue knows.

    :param workbook: name of the workbook that the text is; its members are
        found by their short names first (§ 6).
    """

    def __init__(
        self,
        catalogue: Catalogue,
        workflows: Mapping[str, InputDeclaration],
        actions: Mapping[str, ActionSpec],
        workbook: str = "",
    ) -> None:
        self._catalogue = catalogue
        self._workflows = workflows
        self._actions = actions
        self._prefix = f"{workbook}." if workbook else ""

    def workflow(self, name: str) -> Signature | None:
        for full in (self._prefix + name, name):
            if full in self._workflows:
                return Signature.of(self._workflows[full])
        return self._catalogue.workflow(name)

    def action(self, name: str) -> Signature | None:
        for full in (self._prefix + name, name):
            if full in self._actions:
                return Signature.of(self._actions[full].input)
        return self._catalogue.action(name)

    def action_names(self) -> Iterator[str]:
        for name in self._actions:
            yield name.removeprefix(self._prefix)
        yield from self._catalogue.action_names()

    def workflow_names(self) -> Iterator[str]:
        for name in self._workflows:
            yield name.removeprefix(self._prefix)


def check_calls(subject: Subject, known: Known) -> None:
    for task in subject.spec.tasks.values():
        body = subject.raw["tasks"].get(task.name)
        if not isinstance(body, Mapping):
            continue
        if task.workflow is not None:
            _check_workflow(subject, known, task, task.workflow)
        elif "action" in body and task.action is not None:
            path = subject.task_path(task.name, "action")
            given = None if isinstance(task.input, str) else task.input
            check_action_call(subject.found, path, known, task.action, given)


def check_action_call(
    found: Findings,
    path: Path,
    known: Known,
    name: str,
    given: Mapping[str, Any] | None,
) -> None:
    """LINT-25, LINT-26.

    :param given: None when the parameters come from an expression.
    """
    if contains_expression(name) or "<%" in name:
        return
    signature = known.action(name)
    shown = shortened(name)
    if signature is None:
        hint = found.did_you_mean(name, known.action_names())
        found.warn(path, f"there is no action '{shown}' now{hint}", "LINT-25")
        return
    if given is None:
        return
    missing = sorted(signature.required - given.keys())
    unexpected = [each for each in given if not signature.takes(each)]
    if missing:
        message = f"'{shown}' needs {quoted(missing)}, which only '__actions' of an"
        found.warn(path, f"{message} environment could give", "LINT-26")
    if unexpected:
        hint = _hint(found, unexpected[0], signature.required | signature.optional)
        message = f"'{shown}' does not take {quoted(unexpected)}{hint}"
        found.warn(path, message, "LINT-26")


def _check_workflow(subject: Subject, known: Known, task: TaskSpec, name: str) -> None:
    """LINT-24, LINT-25."""
    found = subject.found
    if contains_expression(name) or "<%" in name:
        return
    path = subject.task_path(task.name, "workflow")
    signature = known.workflow(name)
    shown = shortened(name)
    if signature is None:
        hint = found.did_you_mean(name, known.workflow_names())
        found.warn(path, f"there is no workflow '{shown}' now{hint}", "LINT-25")
        return
    if isinstance(task.input, str):
        return
    unknown = [
        each for each in task.input if not signature.takes(each) and each != "task_name"
    ]
    if unknown:
        hint = _hint(found, unknown[0], signature.required | signature.optional)
        message = (
            f"'{shown}' declares no input {quoted(unknown)}; it becomes a parameter of"
            f" the execution{hint}"
        )
        found.warn(path, message, "LINT-24")
    missing = sorted(signature.required - task.input.keys())
    if missing:
        message = f"'{shown}' needs the input {quoted(missing)}"
        found.warn(path, message, "LINT-26")


def _hint(found: Findings, word: str, names: Iterable[str]) -> str:
    return found.did_you_mean(word, sorted(names))
