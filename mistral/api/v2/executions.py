"""``/v2/executions`` (spec/rest-api.md § 9.1).

Reads come from the database; every change is one request to an engine, after
which the row is read again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import Connection
from webob import exc

from mistral.api import listing
from mistral.api.rest import ANY, Call, Resource, Route, is_uuid, parse_uuid
from mistral.api.v2.reports import report_body
from mistral.api.v2.runs import (
    EXECUTION_LARGE,
    EXECUTION_SHOWN,
    Execution,
    asked_by,
    below_arguments,
    below_body,
    depth_of,
    executions_page,
    shape_execution,
    tasks_page,
)
from mistral.api.waiting import seconds_of
from mistral.db import execution_trees, executions, history, scope
from mistral.db.executions import Row
from mistral.db.maintenance import Status
from mistral.db.models import task_executions
from mistral.errors import BadRequest, Forbidden, NotFound
from mistral.messages import (
    DeleteWorkflow,
    PauseWorkflow,
    Request,
    ResumeWorkflow,
    StartWorkflow,
    State,
    StopWorkflow,
    UpdateWorkflow,
)

LONGEST_ID: Final = 36

STATES_TO_ASK_FOR: Final = ("RUNNING", "PAUSED", "SUCCESS", "ERROR", "CANCELLED")

REFUSED: Final[Mapping[str, frozenset[str]]] = {
    "PAUSED": frozenset({"IDLE", "SUCCESS", "ERROR", "CANCELLED"}),
    "SUCCESS": frozenset({"IDLE", "PAUSED", "ERROR", "CANCELLED"}),
}
"""Requested state → present states from which it is refused (§ 9.1.4)."""

_ENV_STATES: Final = frozenset({"IDLE", "PAUSED", "ERROR"})
_INTERNAL_PARAMS: Final = ("task_execution_id", "root_execution_id", "index")


def _cancels(call: Call, status: Status) -> bool:
    """Whether the body asks to cancel; one that cannot be read does not."""
    try:
        return bool(call.document().get("state") == State.CANCELLED)
    except (BadRequest, exc.HTTPError):
        return False


class Executions(Resource):
    """Start, look at, change and delete executions."""

    routes = (
        Route("GET", "", "get_all", "executions:list", query=ANY),
        Route("POST", "", "post", "executions:create", 201, query=frozenset({"wait"})),
        Route(
            "GET",
            "{id}",
            "get_one",
            "executions:get",
            query=frozenset({"fields", "wait"}),
        ),
        Route("PUT", "{id}", "put", "executions:update", in_maintenance=_cancels),
        Route(
            "DELETE",
            "{id}",
            "delete",
            "executions:delete",
            204,
            query=frozenset({"force"}),
        ),
        Route("GET", "{id}/tasks", "get_tasks", "tasks:list", query=ANY),
        Route(
            "GET",
            "{id}/executions",
            "get_below",
            "executions:get",
            query=frozenset({"max_depth", "errors_only", "include_output"}),
        ),
        Route(
            "GET",
            "{id}/report",
            "get_report",
            "executions:get",
            query=frozenset({"max_depth", "errors_only", "statistics_only"}),
        ),
        Route(
            "GET",
            "{id}/history",
            "get_history",
            "executions:get",
            query=frozenset({"marker", "limit"}),
        ),
    )

    # -- Reads ----------------------------------------------------------------

    def get_all(self, call: Call) -> dict[str, Any]:
        extra = ("include_output", "all_projects", "nulls")
        listing.all_projects(call, "executions:list:all_projects")
        if "project_id" in call.query:
            call.require("executions:list:all_projects")
        return executions_page(call, executions.EXECUTIONS, extra)

    def get_one(self, call: Call, execution_id: str) -> Execution:
        fields = listing.fields_of(call, EXECUTION_SHOWN)
        seconds = seconds_of(call.query.get("wait", ""))
        if seconds and self._sees(call, execution_id):
            endings = call.services.endings
            with endings.place(seconds):
                endings.wait(execution_id, seconds)
        with call.services.database.read() as connection:
            row = executions.execution(connection, call.context, execution_id)
            values = dict(row)
            if fields is None or "published_global" in fields:
                values["published_global"] = executions.published_global_of_execution(
                    connection, execution_id
                )
        return shape_execution(values, fields)

    def get_tasks(self, call: Call, execution_id: str) -> dict[str, Any]:
        try:
            body = tasks_page(
                call,
                executions.TASKS_OF_EXECUTION,
                task_executions.c.workflow_execution_id == execution_id,
                path_filters=(("workflow_execution_id", execution_id),),
            )
        except NotFound:
            # Which of the two is unknown, the marker or the execution?
            self._require_now(call, execution_id)
            raise
        if not body["tasks"]:
            # Tasks would prove that the execution is there.
            self._require_now(call, execution_id)
        return body

    def get_below(self, call: Call, execution_id: str) -> dict[str, Any]:
        asked = below_arguments(call)
        with call.services.database.read() as connection:
            row = self._parent(connection, call, execution_id)
            rows = execution_trees.below_execution(connection, row, **asked)
        return below_body(rows, include_output=asked["include_output"])

    def get_report(self, call: Call, execution_id: str) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "max_depth": depth_of(call),
            "errors_only": call.flag("errors_only"),
            "statistics_only": call.flag("statistics_only"),
        }
        database = call.services.database
        with database.read() as connection:
            row = self._parent(connection, call, execution_id)
            now = database.now(connection)
            made = execution_trees.report(connection, call.context, row, now, **asked)
        return report_body(made, statistics_only=asked["statistics_only"])

    def get_history(self, call: Call, execution_id: str) -> dict[str, Any]:
        """What the engine heard and decided, event by event (new).

        ``marker`` is the ``seq`` of the last entry of the page before; ``at``
        has microseconds.
        """
        most = call.services.settings.api.max_limit
        limit = min(_number(call, "limit", most, 1), most)
        after = _number(call, "marker", -1, 0)
        with call.services.database.read() as connection:
            self._require(connection, call, execution_id)
            rows = history.page(connection, execution_id, after, limit)
        names = ("seq", "kind", "turn_id", "body")
        shown = [
            {**{name: row[name] for name in names}, "at": _precise(row["at"])}
            for row in rows
        ]
        body: dict[str, Any] = {"history": shown}
        if len(shown) == limit:
            body["next"] = (
                f"{call.host_url}/v2/executions/{execution_id}/history"
                f"?limit={limit}&marker={shown[-1]['seq']}"
            )
        return body

    # -- Changes --------------------------------------------------------------

    def post(self, call: Call) -> Execution:
        seconds = seconds_of(call.query.get("wait", ""))
        endings = call.services.endings
        with endings.place(seconds):
            started = self._started(call)
            if not seconds or started.state in executions.FINISHED:
                return started
            endings.wait(started.id, seconds)
        return self._again(call, started.id)

    def _started(self, call: Call) -> Execution:
        sent = call.read(Execution).sent()
        wanted_id = sent.get("id") or None
        with call.services.database.read() as connection:
            if wanted_id is not None:
                row = self._taken(connection, call, wanted_id)
                if row is not None:
                    return shape_execution(row)
            start = self._start(connection, call, sent)
        answer = call.services.bus.call(start)
        return self._again(call, answer["id"])

    def put(self, call: Call, execution_id: str) -> Execution:
        sent = call.read(Execution).sent()
        with call.services.database.read() as connection:
            row = executions.execution(connection, call.context, execution_id)
        scope.require_owner(row, call.context, f"Execution {execution_id!r}")
        change = _change(call, row, sent)
        if change is not None:
            call.services.bus.call(change)
        shown: tuple[str, ...] = ()
        if sent.get("state"):
            shown = EXECUTION_LARGE
        elif _env_of(sent) is not None:
            shown = ("params",)
        hidden = {"published_global", *EXECUTION_LARGE} - set(shown)
        return self._again(
            call, execution_id, [name for name in EXECUTION_SHOWN if name not in hidden]
        )

    def delete(self, call: Call, execution_id: str) -> None:
        force = call.flag("force")
        with call.services.database.read() as connection:
            row = executions.execution(connection, call.context, execution_id)
        scope.require_owner(row, call.context, f"Execution {execution_id!r}")
        if row["state"] not in executions.FINISHED and not force:
            raise Forbidden(
                "Only completed executions can be deleted. Execution"
                f" {execution_id} is in {row['state']}; use force=true to delete it"
                " all the same."
            )
        call.services.bus.call(
            DeleteWorkflow(run_id=execution_id, force=force, **asked_by(call))
        )

    # -- Steps ----------------------------------------------------------------

    def _require(self, connection: Connection, call: Call, execution_id: str) -> None:
        """
        :raises BadRequest: the caller sees no such execution, nor could anybody.
        :raises NotFound: the caller sees none.
        """
        if not executions.sees_execution(connection, call.context, execution_id):
            parse_uuid(execution_id, "the id of an execution")
            raise NotFound(f"There is no execution {execution_id!r}.")

    def _sees(self, call: Call, execution_id: str) -> bool:
        with call.services.database.read() as connection:
            return executions.sees_execution(connection, call.context, execution_id)

    def _require_now(self, call: Call, execution_id: str) -> None:
        with call.services.database.read() as connection:
            self._require(connection, call, execution_id)

    def _parent(self, connection: Connection, call: Call, execution_id: str) -> Row:
        """The execution that a sub-resource belongs to; raises as ``_require``."""
        self._require(connection, call, execution_id)
        return executions.execution(connection, call.context, execution_id)

    def _again(
        self, call: Call, execution_id: str, fields: Collection[str] | None = None
    ) -> Execution:
        with call.services.database.read() as connection:
            row = executions.execution(connection, call.context, execution_id)
        return shape_execution(row, fields)

    def _taken(self, connection: Connection, call: Call, wanted_id: str) -> Row | None:
        """The execution that has the id already; None: it is free.

        :raises NotFound: it is another project's.
        :raises BadRequest: no execution can have it.
        """
        row = executions.find_execution(connection, call.context, wanted_id)
        if row is not None:
            return row
        if executions.execution_exists(connection, wanted_id):
            raise NotFound(f"There is no execution {wanted_id!r}.")
        if len(wanted_id) > LONGEST_ID or not _may_stand_in_a_path(wanted_id):
            raise BadRequest(
                f"Expected an id of at most {LONGEST_ID} letters, digits, '-', '_'"
                " and '.'; a UUID is best."
            )
        return None

    def _start(
        self, connection: Connection, call: Call, sent: Mapping[str, Any]
    ) -> StartWorkflow:
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
        smuggled = [name for name in _INTERNAL_PARAMS if name in wanted["params"]]
        if smuggled:
            raise BadRequest(
                f"The params {', '.join(smuggled)} are the service's own; leave them"
                " out."
            )
        source_id = sent.get("source_execution_id") or None
        if source_id is not None:
            source = executions.execution(connection, call.context, source_id)
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


def _may_stand_in_a_path(text: str) -> bool:
    kept = text.replace("-", "").replace("_", "").replace(".", "")
    return kept.isascii() and kept.isalnum()


def _precise(moment: Any) -> str:
    return str(moment.isoformat(sep=" ", timespec="microseconds"))


def _number(call: Call, name: str, default: int, least: int) -> int:
    text = call.query.get(name)
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        raise BadRequest(f"Expected a number for '{name}', found '{text}'.") from None
    if value < least:
        word = "positive" if least else "zero or more"
        raise BadRequest(f"{name.capitalize()} must be {word}.")
    return value


# -- What a start means -------------------------------------------------------


def based_on(source: Row, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A start modelled on an execution: what is missing comes from it, objects
    are merged key by key (§ 9.1.2, Q-51)."""
    made = dict(wanted)
    params = {
        name: value
        for name, value in (source["params"] or {}).items()
        if name not in _INTERNAL_PARAMS
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


# -- What a change means ------------------------------------------------------


def _env_of(sent: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """``params.env``; empty counts as absent.

    :raises BadRequest: it is not an object.
    """
    env = (sent.get("params") or {}).get("env") or None
    if env is not None and not isinstance(env, Mapping):
        raise BadRequest("Expected an object for params.env.")
    return env


def _change(call: Call, row: Row, sent: Mapping[str, Any]) -> Request | None:
    """The request that a PUT means; None: nothing changes (§ 9.1.4).

    :raises BadRequest, Forbidden: what the present state does not allow.
    """
    state = sent.get("state") or None
    description = sent.get("description") or None
    env = _env_of(sent)
    if state is None and description is None and env is None:
        raise BadRequest(
            "Nothing to change: expected state, description or params.env."
        )
    if state is not None and description is not None:
        raise BadRequest("State and description can't be changed together.")
    if state is not None and state != "RUNNING" and env is not None:
        raise BadRequest("The env can be changed with the state RUNNING only.")
    if state is None:
        if env is not None and row["state"] not in _ENV_STATES:
            raise Forbidden(
                "Updating env to workflow execution is only permitted if it is in"
                " IDLE, PAUSED, or ERROR state."
            )
        return UpdateWorkflow(
            run_id=row["id"], description=description, env=env, **asked_by(call)
        )
    return _state_change(call, row, state, sent.get("state_info") or None, env)


def _state_change(
    call: Call,
    row: Row,
    state: str,
    reason: str | None,
    env: Mapping[str, Any] | None,
) -> Request | None:
    if state not in STATES_TO_ASK_FOR:
        raise BadRequest(
            f"Cannot change state to {state}. Allowed states are:"
            f" {', '.join(STATES_TO_ASK_FOR)}."
        )
    if row["state"] in REFUSED.get(state, ()):
        raise BadRequest(
            f"Can't change workflow execution state from {row['state']} to {state}."
            f" [workflow={row['workflow_name']}, execution_id={row['id']}]"
        )
    if row["state"] in executions.FINISHED and state != "SUCCESS":
        # Scripts cancel what is over already and expect no error.
        return None
    if state == "RUNNING":
        return ResumeWorkflow(run_id=row["id"], env=env, **asked_by(call))
    if state == "PAUSED":
        return PauseWorkflow(run_id=row["id"], **asked_by(call))
    return StopWorkflow(run_id=row["id"], state=state, message=reason, **asked_by(call))
