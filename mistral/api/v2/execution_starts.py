"""What ``POST /v2/executions`` means (spec/rest-api.md § 9.1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from mistral.api.auth import params_as_kept
from mistral.api.rest import Call, is_uuid
from mistral.api.shapes import Sent
from mistral.api.v2.runs import Execution, asked_by
from mistral.db import executions, removals
from mistral.db.executions import Row
from mistral.errors import BadRequest, Conflict, NotFound
from mistral.lang.start_params import INTERNAL
from mistral.messages import START_TIMES, StartWorkflow
from mistral.publisher_entries import without_operators

LONGEST_ID: Final = 36

START: Final = Sent(
    Execution,
    "ExecutionStart",
    (
        "id",
        "workflow_id",
        "workflow_name",
        "workflow_namespace",
        "input",
        "params",
        "description",
        "source_execution_id",
    ),
    needs=(("workflow_id", "workflow_name", "source_execution_id", "id"),),
    passed_over=True,
    example={"workflow_name": "hello", "input": {}},
)


def taken(connection: Connection, call: Call, wanted_id: str) -> Row | None:
    """The execution that has the id already; None: it is free.

    :raises NotFound: it is another project's.
    :raises Conflict: an execution that is being removed has it.
    :raises BadRequest: no execution can have it.
    """
    seen = executions.is_visible(connection, call.context, wanted_id)
    if seen:
        return executions.find_execution(connection, call.context, wanted_id)
    if seen is not None and removals.concerned(connection, wanted_id):
        raise Conflict(
            f"The execution {wanted_id} was deleted; its id is free when all of it is"
            " gone. Try again later."
        )
    if seen is not None:
        raise NotFound(f"There is no execution {wanted_id!r}.")
    if len(wanted_id) > LONGEST_ID or not _may_stand_in_a_path(wanted_id):
        raise BadRequest(
            f"Expected an id of at most {LONGEST_ID} letters, digits, '-', '_'"
            " and '.'; a UUID is best."
        )
    return None


def _may_stand_in_a_path(text: str) -> bool:
    kept = text.replace("-", "").replace("_", "").replace(".", "")
    return kept.isascii() and kept.isalnum()


def start_request(call: Call, sent: Mapping[str, Any]) -> StartWorkflow:
    """The request for an engine, of what was sent and of the source.

    :raises BadRequest: no workflow named, or internal names in ``params``.
    :raises NotFound: unknown source.
    """
    wanted: dict[str, Any] = {
        "workflow_id": sent.get("workflow_id") or None,
        "workflow_name": sent.get("workflow_name") or None,
        "namespace": sent.get("workflow_namespace") or "",
        "input": sent.get("input") or {},
        "params": sent.get("params") or {},
        "description": sent.get("description") or "",
    }
    smuggled = [name for name in INTERNAL if name in wanted["params"]]
    if smuggled:
        raise BadRequest(
            f"The params {', '.join(smuggled)} are the service's own; leave them out."
        )
    source_id = sent.get("source_execution_id") or None
    source = None
    if source_id is not None:
        with call.services.database.read() as connection:
            source = executions.execution(connection, call.context, source_id)
        if source["project_id"] != call.context.project_id:
            # what its publishers are told is that project's secret (SEC-23)
            source = {**source, "params": _without_publishers(source["params"])}
    kept = params_as_kept(
        wanted["params"],
        call.context,
        call.services.keyring,
        before=source and source["params"],
    )
    # Also of what comes back as it was shown.
    wanted["params"] = without_operators(kept)
    if source is not None:
        source = {**source, "params": without_operators(source["params"])}
        wanted = based_on(source, wanted)
    if wanted["workflow_id"] is None and wanted["workflow_name"] is None:
        raise BadRequest(
            "Workflow ID or workflow name must be provided: set workflow_id,"
            " workflow_name or source_execution_id."
        )
    return StartWorkflow(
        run_id=sent.get("id") or call.services.new_id(),
        **by_id_or_name(wanted),
        **asked_by(call),
    )


def _without_publishers(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: each for name, each in (params or {}).items() if name != "notify"}


def based_on(source: Row, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A start modelled on an execution: what is missing comes from it, objects
    are merged key by key (§ 9.1.2, Q-51). When it was to start is nothing to it."""
    made = dict(wanted)
    params = {
        name: value
        for name, value in (source["params"] or {}).items()
        if name not in INTERNAL + START_TIMES
    }
    if made["workflow_id"] is None and made["workflow_name"] is None:
        made["workflow_id"] = source["workflow_id"]
        if made["workflow_id"] is None:
            made["workflow_name"] = source["workflow_name"]
            made["namespace"] = made["namespace"] or source["workflow_namespace"]
    else:
        # It was where the other workflow's members are looked up.
        params.pop("namespace", None)
    given = wanted["params"]
    made["input"] = {**(source["input"] or {}), **wanted["input"]}
    made["params"] = {**params, **given}
    if isinstance(params.get("env"), dict) and isinstance(given.get("env"), dict):
        made["params"]["env"] = {**params["env"], **given["env"]}
    origin = f"Based on the execution '{source['id']}'"
    made["description"] = f"{wanted['description']} {origin}".strip()
    return made


def by_id_or_name(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Names where ids belong and the reverse are tolerated; the id wins."""
    made = dict(wanted)
    given = made["workflow_id"] or made["workflow_name"]
    if is_uuid(given):
        made["workflow_id"], made["workflow_name"] = given, None
        if made["namespace"]:
            made["params"] = {"namespace": made["namespace"], **made["params"]}
    else:
        made["workflow_id"], made["workflow_name"] = None, given
    return made
