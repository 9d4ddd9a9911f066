"""The filter ``result`` of lists of tasks (Q-12).

A task's result is not stored with it but with what it started and accepted. The
filter is about the result of one of these: of a plain task there is one; a task over
items matches if one of its items does.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, exists, func, not_, or_, type_coerce

from mistral.db.listing import Condition, has, items_of
from mistral.db.models import (
    action_executions,
    documents,
    task_executions,
    workflow_executions,
)

_HEAD, _TAIL = '{"result":', "}"
"""Around the result of an action, as it is stored."""


def matches(condition: Condition) -> ColumnElement[bool]:
    """Tasks of which an accepted result is, or is not, as it is asked for."""
    match condition.operator:
        case "eq":
            return _some(lambda text: text == _stored(condition.value))
        case "neq":
            return not_(_some(lambda text: text == _stored(condition.value)))
        case "in":
            return _some(lambda text: text.in_(_each(condition)))
        case "nin":
            return not_(_some(lambda text: text.in_(_each(condition))))
    part = json.dumps(condition.value, ensure_ascii=False)[1:-1]
    return _some(lambda text: or_(has(text, condition.value), has(text, part)))


def _each(condition: Condition) -> list[str]:
    return [_stored(item) for item in items_of(condition.value)]


def _stored(text: str) -> str:
    """JSON as rows hold it; what is no JSON is a text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _some(test: Any) -> ColumnElement[bool]:
    return or_(_of_actions(test), _of_executions(test))


def _of_actions(test: Any) -> ColumnElement[bool]:
    table = action_executions
    output: Any = type_coerce(table.c.output, Text)
    own = func.substr(output, len(_HEAD) + 1, func.length(output) - len(_HEAD + _TAIL))
    # what is large stands in a document of the run
    reference = f'{_HEAD}{{"$ref":"' + documents.c.id + f'"}}{_TAIL}'
    large = and_(
        documents.c.workflow_execution_id == table.c.workflow_execution_id,
        output == reference,
    )
    text = func.coalesce(type_coerce(documents.c.body, Text), own)
    return (
        exists()
        .select_from(table.outerjoin(documents, large))
        .where(
            table.c.task_execution_id == task_executions.c.id,
            table.c.accepted.is_(True),
            test(text),
        )
        .correlate(task_executions)
    )


def _of_executions(test: Any) -> ColumnElement[bool]:
    table = workflow_executions
    return (
        exists()
        .where(
            table.c.task_execution_id == task_executions.c.id,
            table.c.accepted.is_(True),
            test(type_coerce(table.c.output, Text)),
        )
        .correlate(task_executions)
    )
