"""Advice on variables: LINT-10, 11, 19, 20, 21, 23, 27, 42, 44.

A variable is known to a text when something publishes it on some path before;
nothing is said where that cannot be told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Any, Final

from mistral.expressions.references import Reference
from mistral.lang.clauses import EVENTS, RESERVED_VARIABLES
from mistral.lang.lints.subject import Site, Subject
from mistral.lang.shapes import shortened
from mistral.lang.specs import TaskSpec

_WORDS: Final = re.compile(r"\w+")
_NO_WORD: Final = re.compile(r"\W")
_RESULT: Final = re.compile(
    r"\btask\(\s*(?:'(?P<s>[^']*)'|\"(?P<d>[^\"]*)\"|(?P<w>\w*))\s*\)\s*\.\s*result\b"
)

STEPS: Final = 2_000_000
"""Transitions that are followed for one document to see who publishes what;
a workflow of more is not looked at to the end."""


def check_variables(subject: Subject) -> None:
    world = _World(subject)
    for site in subject.sites:
        for reference in site.refers.variables:
            _check_reference(subject, world, site, reference)
        for reference in site.refers.undeclared:
            name = shortened(reference.name)
            message = f"Jinja does not know '{name}'; a variable is '_.{name}'"
            _warn_at(subject, site, reference, message, "LINT-11")
    _check_unused(subject, world)
    for task in subject.spec.tasks.values():
        _check_loop_variables(subject, world, task)
        _check_collisions(subject, task)
    _check_kept_results(subject)
    _check_shadowing(subject, world)
    _check_default_output(subject, world)


class _World:
    """Who makes which variable."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        spec = subject.spec
        self.everywhere: set[str] = {*spec.input, *(spec.vars or ())}
        self.globals: set[str] = set()
        self.published: dict[str, list[str]] = {}
        for task in spec.tasks.values():
            for name in own_variables(task):
                self.published.setdefault(name, []).append(task.name)
            for event in EVENTS:
                self.globals.update(task.clause(event).publish.global_)
        self.steps = 0
        self._carried: dict[str, frozenset[str]] = {}

    def carries(self, task: str, variable: str) -> bool:
        """Whether some path that publishes the variable leads to the task."""
        if variable not in self._carried:
            self._carried[variable] = self._behind(self.published.get(variable, ()))
        return task in self._carried[variable] or self.steps > STEPS

    def _behind(self, publishers: Iterable[str]) -> frozenset[str]:
        graph = self.subject.graph
        if self.subject.spec.type == "reverse":
            wanted = set(publishers)
            tasks = self.subject.spec.tasks
            self.steps += len(tasks) ** 2
            if self.steps > STEPS:
                return frozenset()
            return frozenset(
                name for name in tasks if wanted.intersection(graph.requirements(name))
            )
        reached: set[str] = set()
        waiting = list(publishers)
        while waiting and self.steps <= STEPS:
            for target in graph.outbound(waiting.pop()):
                self.steps += 1
                if target not in reached:
                    reached.add(target)
                    waiting.append(target)
        return frozenset(reached)


def own_variables(task: TaskSpec) -> dict[str, None]:
    """Branch variables that the task may publish."""
    found = dict.fromkeys(
        (*task.publish, *task.publish_on_error, *task.publish_on_skip)
    )
    for event in EVENTS:
        found.update(dict.fromkeys(task.clause(event).publish.branch))
    return found


def _check_reference(
    subject: Subject, world: _World, site: Site, reference: Reference
) -> None:
    """LINT-10, LINT-11, LINT-21."""
    name = reference.name
    if not reference.required or name in RESERVED_VARIABLES or name[:2] == "__":
        return
    if site.moment == "start":
        if name not in subject.spec.input:
            message = f"'vars' see only input and environment, not '{shortened(name)}'"
            _warn_at(subject, site, reference, message, "LINT-11")
        return
    if name in world.everywhere:
        return
    if site.moment == "begin":
        _warn_early(subject, world, site, reference)
        return
    if name in world.globals:
        return
    if site.moment in ("output", "anytime"):
        known = name in world.published
    else:
        known = _is_known_in_task(world, site, name)
    if not known:
        message, rule = _about_unknown(subject, world, site, name)
        _warn_at(subject, site, reference, message, rule)


def _warn_early(
    subject: Subject, world: _World, site: Site, reference: Reference
) -> None:
    """A policy of the workflow is evaluated before its first task."""
    name = reference.name
    if name in world.published or name in world.globals:
        message = (
            f"'{site.attribute}' of the workflow sees only input and 'vars', not"
            f" '{shortened(name)}', which a task publishes"
        )
        _warn_at(subject, site, reference, message, "LINT-11")
        return
    _warn_at(subject, site, reference, *_about_unknown(subject, world, site, name))


def _is_known_in_task(world: _World, site: Site, name: str) -> bool:
    task = site.task
    if task is None or world.carries(task.name, name):
        return True
    if site.moment == "call":
        return name in (task.with_items or ())
    return site.moment == "end" and name in own_variables(task)


def _about_unknown(
    subject: Subject, world: _World, site: Site, name: str
) -> tuple[str, str]:
    shown = shortened(name)
    task = site.task
    if task is not None and name in own_variables(task):
        hint = "; use task().result" if site.attribute == "fail-on" else ""
        rule = "LINT-21" if site.attribute == "fail-on" else "LINT-11"
        return (
            f"'{shown}' is published by this very task, too late for here{hint}",
            rule,
        )
    if task is not None and name in (task.with_items or ()):
        message = f"the loop variable '{shown}' is seen only in 'input'"
        return f"{message}; publish from task().result", "LINT-11"
    if name in subject.spec.tasks and name not in world.published:
        message = f"'{shown}' is a task, not a variable; its result is"
        return f"{message} task('{shown}').result", "LINT-10"
    if name in world.published:
        return f"'{shown}' is published on no path that leads here", "LINT-11"
    known = chain(world.everywhere, world.globals, world.published)
    hint = subject.found.did_you_mean(name, known)
    return f"nothing gives the variable '{shown}'{hint}", "LINT-11"


def _warn_at(
    subject: Subject, site: Site, reference: Reference, message: str, rule: str
) -> None:
    inside = (site.text, reference.offset)
    subject.found.warn(site.path, message, rule, inside=inside)


def _check_unused(subject: Subject, world: _World) -> None:
    """LINT-42. Without ``output`` every branch variable is shown."""
    if any(site.refers.whole for site in subject.sites):
        return
    spec = subject.spec
    for position, item in enumerate(subject.raw.get("input") or ()):
        name = next(iter(item)) if isinstance(item, dict) else item
        if not _is_used(subject, name):
            _warn_unused(subject, (*subject.path, "input", position), name)
    for name in spec.vars or ():
        if not _is_used(subject, name):
            _warn_unused(subject, (*subject.path, "vars", name), name)
    for path, name, scope in _publications(subject):
        shown = spec.output is None and scope == "branch"
        if not shown and not _is_used(subject, name):
            _warn_unused(subject, path, name)


def _warn_unused(subject: Subject, path: tuple[Any, ...], name: str) -> None:
    message = f"'{shortened(name)}' is never used"
    subject.found.warn(path, message, "LINT-42", at_key=isinstance(path[-1], str))


def _is_used(subject: Subject, name: str) -> bool:
    if name in RESERVED_VARIABLES or name in subject.words:
        return True
    # Of `$['a-b']` the words are a and b.
    return bool(_NO_WORD.search(name)) and subject.words.issuperset(
        _WORDS.findall(name)
    )


def _publications(subject: Subject) -> Iterable[tuple[tuple[Any, ...], str, str]]:
    """(path, variable, scope) of everything that tasks publish."""
    for task_name, body in subject.raw["tasks"].items():
        here = subject.task_path(task_name)
        for key in ("publish", "publish-on-error", "publish-on-skip"):
            for name in body.get(key) or ():
                yield (*here, key, name), name, "branch"
        for event in EVENTS:
            for scope, variables in _clause_scopes(body.get(event)).items():
                for name in variables:
                    yield (*here, event, "publish", scope, name), name, scope


def _clause_scopes(clause: Any) -> Mapping[str, Mapping[str, Any]]:
    published = clause.get("publish") if isinstance(clause, dict) else None
    if not isinstance(published, dict):
        return {}
    return {
        scope: variables
        for scope, variables in published.items()
        if isinstance(variables, dict)
    }


def _check_loop_variables(subject: Subject, world: _World, task: TaskSpec) -> None:
    """LINT-19."""
    for name in task.with_items or ():
        if any(
            name in known
            for known in (world.published, world.everywhere, world.globals)
        ):
            path = subject.task_path(task.name, "with-items")
            message = (
                f"the loop variable '{shortened(name)}' hides the variable of that"
                " name; give it a name of its own"
            )
            subject.found.warn(path, message, "LINT-19", at_key=True)


def _check_collisions(subject: Subject, task: TaskSpec) -> None:
    """LINT-20: the strongest is on-complete, then the task, then the clause."""
    path = subject.task_path(task.name)
    always = task.on_complete.publish.branch
    pairs = (
        ("publish", task.publish, "on-success", task.on_success),
        ("publish-on-error", task.publish_on_error, "on-error", task.on_error),
        ("publish-on-skip", task.publish_on_skip, "on-skip", task.on_skip),
    )
    for key, own, event, clause in pairs:
        of_clause = clause.publish.branch
        inside = (*path, event, "publish", "branch")
        _warn_collision(subject, inside, of_clause, own, f"'{key}' of the task")
        if event == "on-skip":
            continue
        _warn_collision(subject, (*path, key), own, always, "'on-complete'")
        _warn_collision(subject, inside, of_clause, always, "'on-complete'")


def _warn_collision(
    subject: Subject,
    path: tuple[Any, ...],
    weak: Collection[str],
    strong: Collection[str],
    winner: str,
) -> None:
    for name in weak:
        if name in strong:
            message = f"'{shortened(name)}' is also published by {winner}, which wins"
            subject.found.warn((*path, name), message, "LINT-20", at_key=True)


def _check_kept_results(subject: Subject) -> None:
    """LINT-23."""
    tasks = subject.spec.tasks
    lost = {name for name, task in tasks.items() if task.keep_result is False}
    if not lost:
        return
    for site in subject.sites:
        for place in _RESULT.finditer(site.text):
            name = place["s"] or place["d"] or place["w"]
            if not name and site.task is not None:
                name = site.task.name
            early = site.task is not None and site.task.name == name
            if name not in lost or (early and site.moment != "end"):
                continue
            message = (
                f"the result of '{shortened(name)}' is not kept (keep-result: false)"
                " and reads null here; publish what is needed"
            )
            inside = (site.text, place.start())
            subject.found.warn(site.path, message, "LINT-23", inside=inside)


def _check_shadowing(subject: Subject, world: _World) -> None:
    """LINT-44."""
    spec = subject.spec
    for name in spec.vars or ():
        if name in spec.input:
            message = f"'{shortened(name)}' hides the input of that name"
            path = (*subject.path, "vars", name)
            subject.found.warn(path, message, "LINT-44", at_key=True)
    for path, name, scope in _publications(subject):
        if scope == "branch" and name in world.globals:
            message = (
                f"this hides the global variable '{shortened(name)}' behind it; read"
                f" that by global('{shortened(name)}')"
            )
            subject.found.warn(path, message, "LINT-44", at_key=True)


def _check_default_output(subject: Subject, world: _World) -> None:
    """LINT-27."""
    if subject.spec.output is None and world.published:
        message = (
            "without 'output' the result is every variable that was published, and"
            " no 'vars'; name what is wanted"
        )
        subject.found.warn(subject.path, message, "LINT-27", at_key=True)
