"""``/v2/executions`` (spec/rest-api.md § 9.1).

Reads come from the database; every change is one request to an engine, after
which the row is read again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection
from webob import exc

from mistral.api import listing
from mistral.api.listing import LIMIT, fields_parameter, list_route
from mistral.api.parameters import Flag, Number
from mistral.api.rest import Call, Resource, Route, is_uuid
from mistral.api.shapes import Page, Shown
from mistral.api.types import (
    Attribute,
    NativeType,
    PreciseDateType,
    ResourceType,
    Shaped,
    Text,
)
from mistral.api.v2 import execution_messages, reports
from mistral.api.v2.action_executions import finishes_work
from mistral.api.v2.execution_changes import CHANGE, change_request, env_of
from mistral.api.v2.execution_starts import START, start_request, taken
from mistral.api.v2.runs import (
    BELOW,
    BELOW_QUERY,
    EXECUTION_LARGE,
    EXECUTION_SHOWN,
    EXECUTIONS,
    TASKS,
    Execution,
    asked_by,
    below_arguments,
    below_body,
    executions_page,
    shape_execution,
    tasks_page,
)
from mistral.api.waiting import WAIT
from mistral.db import execution_trees, executions, history, scope
from mistral.db.executions import Row
from mistral.db.listing import MOST
from mistral.db.maintenance import Status
from mistral.db.models import task_executions
from mistral.errors import BadRequest, Conflict, Forbidden, NotFound, TooMany
from mistral.messages import (
    DeleteWorkflow,
    State,
)


def _cancels(call: Call, status: Status) -> bool:
    """Whether the body asks to cancel; one that cannot be read does not."""
    try:
        return bool(call.document().get("state") == State.CANCELLED)
    except (BadRequest, exc.HTTPError):
        return False


ALL: Final = replace(
    EXECUTIONS,
    nulls=True,
    everywhere="executions:list:all_projects",
    project_asks=True,
)
OF_EXECUTION: Final = replace(TASKS, listing=executions.TASKS_OF_EXECUTION)

CHANGED: Final = Shown(
    Execution, "StartedExecution", but=("source_execution_id", "published_global")
)
FORCE: Final = Flag("force", "Delete the execution whatever its state is.")


class Handled(ResourceType):
    """One event that an engine handled for an execution."""

    seq = int
    kind = Attribute(Text, "What the engine heard.")
    turn_id = Attribute(Text, "Things of one turn were decided together.")
    body = Attribute(
        NativeType({"type": "object"}),
        "What was heard, which changes and effects were decided.",
    )
    at = PreciseDateType()


SEQ: Final = Number(
    "marker",
    "`seq` of the last entry of the page before.",
    least=0,
    most=MOST,
)


class Executions(Resource):
    """Start, look at, change and delete executions."""

    starts_actions = True
    # a task of an execution is shown at its own place
    closed = ("{id}/tasks/{task}",)
    routes = (
        list_route(ALL, "executions:list"),
        Route(
            "POST",
            "",
            "post",
            "executions:create",
            201,
            query=(WAIT,),
            takes=START,
            answer=CHANGED,
            refuses=(NotFound, Conflict),
        ),
        Route(
            "GET",
            "{id}",
            "get_one",
            "executions:get",
            query=(fields_parameter(Execution.attributes()), WAIT),
            answer=Shown(Execution, but=("source_execution_id",), selectable=True),
        ),
        Route(
            "PUT",
            "{id}",
            "put",
            "executions:update",
            takes=CHANGE,
            answer=replace(CHANGED, name="ChangedExecution", maybe=EXECUTION_LARGE),
            in_maintenance=_cancels,
        ),
        Route("DELETE", "{id}", "delete", "executions:delete", 204, query=(FORCE,)),
        list_route(OF_EXECUTION, "tasks:list", "{id}/tasks", "get_tasks"),
        Route(
            "GET",
            "{id}/executions",
            "get_below",
            "executions:get",
            query=BELOW_QUERY,
            answer=BELOW,
        ),
        Route(
            "GET",
            "{id}/report",
            "get_report",
            "executions:get",
            query=reports.QUERY,
            answer=reports.REPORT,
        ),
        Route(
            "GET",
            "{id}/history",
            "get_history",
            "executions:get",
            query=(SEQ, LIMIT),
            answer=Page("history", Shown(Handled)),
        ),
        Route(
            "GET",
            "{id}/messages",
            "get_messages",
            "executions:get",
            answer=execution_messages.KEPT,
        ),
        Route(
            "POST",
            "{id}/messages",
            "post_message",
            "executions:send_message",
            201,
            takes=execution_messages.SEND,
            answer=execution_messages.SENT,
            refuses=(Conflict, TooMany),
            in_maintenance=finishes_work,
        ),
    )

    # -- Reads ----------------------------------------------------------------

    def get_all(self, call: Call) -> dict[str, Any]:
        """List executions."""
        return executions_page(call, ALL)

    def get_one(self, call: Call, execution_id: str) -> Shaped:
        """Show an execution; with ``wait``, when it has ended or the time is over."""
        fields = listing.fields_of(call, Execution.attributes())
        seconds = WAIT.of(call.query)
        if seconds and self._sees(call, execution_id):
            endings = call.services.endings
            with endings.place(seconds), call.services.gate.left():
                endings.wait(execution_id, seconds)
        with call.services.database.look() as connection:
            row = executions.execution(
                connection,
                call.context,
                execution_id,
                with_globals=fields is None or "published_global" in fields,
            )
        return shape_execution(row, fields)

    def get_tasks(self, call: Call, execution_id: str) -> dict[str, Any]:
        """List the tasks of an execution."""
        try:
            body = tasks_page(
                call,
                OF_EXECUTION,
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
        """List an execution and all that are below it, depth first."""
        asked = below_arguments(call)
        with call.services.database.read() as connection:
            row = self._parent(connection, call, execution_id)
            rows = execution_trees.below_execution(connection, row, **asked)
        return below_body(rows, include_output=asked["include_output"])

    def get_report(self, call: Call, execution_id: str) -> dict[str, Any]:
        """Report on an execution: counts, and the tree of all that is below it."""
        asked = {known.name: known.of(call.query) for known in reports.QUERY}
        database = call.services.database
        with database.read() as connection:
            row = self._parent(connection, call, execution_id)
            now = database.now(connection)
            made = execution_trees.report(connection, call.context, row, now, **asked)
        return reports.report_body(made, statistics_only=asked["statistics_only"])

    def get_history(self, call: Call, execution_id: str) -> dict[str, Any]:
        """List what the engine heard and decided, event by event (new).

        ``marker`` is the ``seq`` of the last entry of the page before.
        """
        most = call.services.settings.api.max_limit
        limit = min(LIMIT.of(call.query) or most, most)
        after = SEQ.of(call.query)
        if after is None:
            after = -1
        with call.services.database.read() as connection:
            self._require(connection, call, execution_id)
            rows = history.page(connection, execution_id, after, limit)
        shown = [Handled.shape(row) for row in rows]
        body: dict[str, Any] = {"history": shown}
        if len(shown) == limit:
            body["next"] = (
                f"{call.host_url}/v2/executions/{execution_id}/history"
                f"?limit={limit}&marker={shown[-1]['seq']}"
            )
        return body

    # -- Changes --------------------------------------------------------------

    def post(self, call: Call) -> Shaped:
        """Start a workflow; with ``wait``, answer when it has ended or time is over.

        An ``id`` that the caller's project has used means that execution.
        """
        seconds = WAIT.of(call.query)
        endings = call.services.endings
        with endings.place(seconds):
            started = self._started(call)
            if not seconds or started["state"] in executions.FINISHED:
                return started
            with call.services.gate.left():
                endings.wait(started["id"], seconds)
        return self._again(call, started["id"])

    def _started(self, call: Call) -> Shaped:
        sent = call.sent()
        wanted_id = sent.get("id") or None
        if wanted_id is not None:
            with call.services.database.read() as connection:
                row = taken(connection, call, wanted_id)
            if row is not None:
                return shape_execution(row)
        answer = call.services.bus.call(start_request(call, sent))
        return self._again(call, answer["id"])

    def get_messages(self, call: Call, execution_id: str) -> dict[str, Any]:
        """List the messages that no task of the execution has taken yet (new)."""
        return execution_messages.kept(call, execution_id)

    def post_message(self, call: Call, execution_id: str) -> Shaped:
        """Send a message to the task of an execution that waits for it (new).

        Where none does, the execution keeps the message until a task will.
        """
        return execution_messages.send(call, execution_id)

    def put(self, call: Call, execution_id: str) -> Shaped:
        """Pause, resume, end or cancel an execution, or change description or env."""
        sent = call.sent()
        with call.services.database.read() as connection:
            row = executions.execution(connection, call.context, execution_id)
        scope.require_owner(row, call.context, f"Execution {execution_id!r}")
        change = change_request(call, row, sent)
        if change is not None:
            call.services.bus.call(change)
        shown: tuple[str, ...] = ()
        if sent.get("state"):
            shown = EXECUTION_LARGE
        elif env_of(sent) is not None:
            shown = ("params",)
        hidden = {"published_global", *EXECUTION_LARGE} - set(shown)
        return self._again(
            call, execution_id, [name for name in EXECUTION_SHOWN if name not in hidden]
        )

    def delete(self, call: Call, execution_id: str) -> None:
        """Delete a finished execution and all that is below it."""
        force = FORCE.of(call.query)
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
        :raises NotFound: the caller sees no such execution.
        :raises BadRequest: neither, and only clients make ids of this form (Q-49).
        """
        if executions.sees_execution(connection, call.context, execution_id):
            return
        message = f"There is no execution {execution_id!r}."
        if is_uuid(execution_id):
            raise NotFound(message)
        raise BadRequest(f"{message} Ids that the service makes are UUIDs.")

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
    ) -> Shaped:
        with call.services.database.look() as connection:
            row = executions.execution(connection, call.context, execution_id)
        return shape_execution(row, fields)
