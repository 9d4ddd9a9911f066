"""What is said of an error: its sentence, and where in the definition it is."""

from __future__ import annotations

from collections.abc import Sequence

from mistral.engine.core.data import Case
from mistral.engine.core.run import Task
from mistral.errors import AuthorError
from mistral.lang.places import Place, find_action_places, find_places


def message_of(case: Case, error: AuthorError, task: Task | None = None) -> str:
    """The error for ``state_info`` (no traces, § 1.7). An expression of the workflow is
    told with its path, line and column.

    :param task: whose expression it is; None for one of the workflow itself.
    """
    run = case.run
    text = None
    if error.text and run.workflow_id:
        text = case.facts.definition(run.workflow_id, run.spec_id)
    if text is None:
        return error.message
    name = None if task is None else task.name
    return _placed(error, find_places(text, run.spec.name, name, error))


def message_of_action(case: Case, error: AuthorError, name: str, namespace: str) -> str:
    """The same for an expression of an ad-hoc action, which has a text of its own.

    :param namespace: where the action was looked for.
    """
    text = case.facts.adhoc_text(name, namespace, case.run.project_id)
    places = find_action_places(text, name, error) if text else ()
    return _placed(error, places, f"action '{name}', ")


def _placed(error: AuthorError, places: Sequence[Place], whose: str = "") -> str:
    if not places:
        return error.message
    return f"{error.sentence} (at {whose}{', or '.join(map(str, places[:3]))})"


def attempt_of(task: Task) -> int:
    """Which attempt of the task it is; 1 without a repetition by ``retry``."""
    policy = (task.runtime_context or {}).get("retry_task_policy") or {}
    return int(policy.get("retry_no", 0)) + 1


def of_item(text: str | None, index: int | None) -> str | None:
    """What is said of a task because of one of its items."""
    return text if index is None else f"{text or ''} [item={index}]".lstrip()
