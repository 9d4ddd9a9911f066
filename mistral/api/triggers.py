"""What triggers have in common: the workflow that they start, and its input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from mistral.api.rest import Call, is_uuid
from mistral.db import definitions
from mistral.errors import InvalidInput, NotFound
from mistral.lang.parse import Signature

Row = Mapping[str, Any]


def workflow_of(call: Call, connection: Connection, identifier: str) -> Row:
    """The workflow that a trigger of the caller's project starts.

    By UUID, or by name in the default namespace. Administrators, too, mean what
    their project sees: the trigger's runs belong to it (Q-33).

    :raises NotFound: there is none.
    """
    project = call.context.project_id
    if is_uuid(identifier):
        row = definitions.find_workflow(
            connection, id=identifier.lower(), project_id=project
        )
    else:
        row = definitions.find_workflow(
            connection, name=identifier, namespace="", project_id=project
        )
    if row is None:
        raise NotFound(f"No workflow '{identifier}' in namespace ''.")
    return row


def check_input(workflow: Row, given: Mapping[str, Any]) -> None:
    """
    :raises InvalidInput: missing or unexpected names.
    """
    declared = Signature.declared(workflow["spec"].get("input"))
    missing = sorted(declared.required - set(given))
    unexpected = [name for name in given if not declared.takes(name)]
    if missing or unexpected:
        raise InvalidInput.listing(
            workflow["name"], "WorkflowSpec", missing, unexpected
        )
