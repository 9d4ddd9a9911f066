"""What a task that ended publishes: into its branch, and for the whole run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mistral.engine.core.data import Case, check_size, merged, resolved, stored
from mistral.engine.core.run import Task
from mistral.engine.core.views import view
from mistral.lang.specs import Publish, TaskSpec
from mistral.messages import State

LEAVES: Final = 200
"""A value with more leaves is versioned as a whole: a version map must not
grow with the data."""


def publish(case: Case, task: Task, spec: TaskSpec) -> None:
    """Evaluate and keep what the task publishes in its present state (§ 2.9).

    Each scope is merged by itself: ``on-complete`` over the task's own over
    the specific clause (Q26, Q27).

    :raises ExpressionFault, WorkflowFault: forced failures.
    """
    own, clause = {
        State.SUCCESS: (spec.publish, spec.on_success.publish),
        State.ERROR: (spec.publish_on_error, spec.on_error.publish),
        State.SKIPPED: (spec.publish_on_skip, spec.on_skip.publish),
    }[State(task.state)]
    # Also for a skipped task, though no entry of that clause fires (LANG § 13.1).
    sources = (clause, Publish(branch=own), spec.on_complete.publish)
    if not any(sources):
        return
    seen = view(case, task)
    branch: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    for source in sources:
        branch = merged(branch, source.branch)
        shared = merged(merged(shared, source.global_), source.atomic)
    branch = case.evaluate(branch, seen)
    shared = case.evaluate(shared, seen)
    if branch:
        check_size(case, branch, "TaskExecution", "published")
    task.published = _all_stored(case, branch)
    leaves = {key: leaf_paths("", value) for key, value in branch.items()}
    whole = [""]
    task.published_versions = {
        key: paths for key, paths in leaves.items() if paths != whole
    }
    if shared:
        _publish_globally(case, shared)
        task.published_global = _all_stored(case, shared)


def _publish_globally(case: Case, variables: Mapping[str, Any]) -> None:
    """Mappings of one name are merged (§ 2.9)."""
    known = dict(case.run.context or {})
    for key, value in variables.items():
        old = resolved(case, known.get(key))
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        known[key] = stored(case, merged(old, value) if both else value)
    case.run.context = known


def _all_stored(case: Case, variables: Mapping[str, Any]) -> dict[str, Any]:
    return {key: stored(case, value) for key, value in variables.items()}


def leaf_paths(path: str, value: Any) -> list[str]:
    """Paths of the leaves below a name, ``.a.b``. An empty mapping has none (§ 22.3)
    and is counted itself, so that it wins over what it replaced (ENG-103)."""
    if not isinstance(value, Mapping) or not value:
        return [path]
    found: list[str] = []
    for key, inner in value.items():
        found.extend(leaf_paths(f"{path}.{key}", inner))
        if len(found) > LEAVES:
            return [path]
    return found
