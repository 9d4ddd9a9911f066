"""Who refers to a workflow: triggers start it by name, whatever their project.

A workflow that triggers refer to can be neither deleted nor taken away from
the projects whose triggers they are (spec/rest-api.md § 8.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, select

from mistral.db import bulk
from mistral.db.models import cron_triggers, event_triggers, workflows
from mistral.errors import BadRequest, Forbidden

NAMED: Final = 10
"""Triggers whose ids a refusal lists."""

_KINDS: Final = (("cron", cron_triggers), ("event", event_triggers))


def require_unused(connection: Connection, workflow: Mapping[str, Any]) -> None:
    """
    :raises BadRequest: triggers of any project refer to it.
    """
    # whoever makes one now is waited for
    bulk.lock(connection, workflows, [workflow["id"]], ("id",))
    for kind, table in _KINDS:
        found = select(table.c.id).where(table.c.workflow_id == workflow["id"])
        ids = list(connection.scalars(found.order_by(table.c.id).limit(NAMED)))
        if ids:
            raise BadRequest(
                f"Can't delete workflow that has {kind} triggers associated."
                f" [workflow_id={workflow['id']}],"
                f" [{kind}_trigger_id(s)={', '.join(ids)}]"
            )


def require_unused_elsewhere(
    connection: Connection, workflow: Mapping[str, Any]
) -> None:
    """
    :raises Forbidden: triggers of other projects refer to it.
    """
    for _, table in _KINDS:
        found = select(table.c.id).where(
            table.c.workflow_id == workflow["id"],
            table.c.project_id != workflow["project_id"],
        )
        if connection.execute(found.limit(1)).first() is not None:
            raise Forbidden(
                f"The workflow '{workflow['name']}' cannot become private: triggers"
                " of other projects start it."
            )
