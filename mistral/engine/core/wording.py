"""What is said of an error: its sentence, and where in the definition it is."""

from __future__ import annotations

from mistral.engine.core.data import Case
from mistral.engine.core.run import Task
from mistral.errors import ExpressionFault, WorkflowFault
from mistral.lang.places import find_places


def message_of(case: Case, error: Exception, task: Task | None = None) -> str:
    """The first line of an error, for ``state_info`` (no traces, § 1.7). An
    expression of the workflow is told with its path, line and column.

    :param task: whose expression it is; None for one of the workflow itself.
    """
    fault = error.__cause__ if isinstance(error, WorkflowFault) else error
    if isinstance(fault, ExpressionFault) and fault.message == str(error):
        return _placed(case, fault, task)
    if isinstance(error, (ExpressionFault, WorkflowFault)):
        return error.message
    return str(error).partition("\n")[0]


def _placed(case: Case, fault: ExpressionFault, task: Task | None) -> str:
    run = case.run
    text = None
    if fault.text and run.workflow_id:
        text = case.facts.definition(run.workflow_id, run.spec_id)
    if text is None:
        return fault.message
    name = None if task is None else task.name
    places = find_places(text, run.spec.name, name, fault)
    if not places:
        return fault.message
    sentence = fault.message.removesuffix(f" (at {fault.path})")
    return f"{sentence} (at {', or '.join(map(str, places[:3]))})"
