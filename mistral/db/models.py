"""The tables.

Three groups: what users define, what runs, and what the engine promises to do
after a commit. All mutable state of a run is guarded by the row lock of its
header (``workflow_executions``); rows without a run are their own header.

Columns that the API shows have the names of the API. What only the engine
needs stands in ``internals``: one JSON document a row, written by
``engine/core/run.py``, never searched by SQL.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    literal,
)

from mistral.db import tags
from mistral.db.columns import Id, Json, LongText, Name, Utc

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Names are case sensitive everywhere, and a blank at the end counts: MariaDB and MySQL
# get a binary collation that adds none when it compares.
_OPTIONS: Final[dict[str, Any]] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def _stamps() -> tuple[Column[Any], Column[Any]]:
    return Column("created_at", Utc, nullable=False), Column("updated_at", Utc)


def _below(table: str, **more: Any) -> Column[Any]:
    """The row that this one belongs to, and goes with."""
    name = f"{table.removesuffix('s')}_id"
    return Column(name, Id, ForeignKey(f"{table}.id", ondelete="CASCADE"), **more)


def _filled(value: Any) -> dict[str, Any]:
    """Of a column that came later: rows of before have the value, too."""
    return {"default": value, "server_default": literal(value)}


def _declared() -> list[Column[Any]]:
    """Of triggers: the workflow or workbook whose text has them, if one has, and what
    it says of them."""
    return [
        # ``workflow`` or ``workbook``.
        Column("definition_type", String(10)),
        Column("definition_id", Id),
        Column("declared", Json),
    ]


def _owned(table: str, *own: Any) -> Table:
    """What a project has made itself, listed by age."""
    return Table(
        table,
        metadata,
        Column("id", Id, primary_key=True),
        Column("project_id", String(80), nullable=False),
        Column("scope", String(10), nullable=False, default="private"),
        *own,
        *_stamps(),
        Index(None, "project_id", "created_at", "id"),
        **_OPTIONS,
    )


def _definition(table: str, *own: Any) -> Table:
    """What a project has uploaded under a name, of which it has one in a namespace."""
    return _owned(
        table,
        Column("name", Name, nullable=False),
        Column("namespace", Name, nullable=False, default=""),
        *own,
        UniqueConstraint("name", "namespace", "project_id"),
    )


def _orders(name: str) -> list[Index]:
    """Of executions of every kind: indexes for the orders of their lists, and for
    those that are in a state.

    :param name: column of the name that is shown.
    """
    return [
        Index(None, "state", "created_at"),
        Index(None, "project_id", "created_at", "id"),
        Index(None, "created_at", "id"),
        Index(None, "updated_at", "id"),
        Index(None, name, "id"),
    ]


# -- What users define --------------------------------------------------------

workbooks = _definition(
    "workbooks",
    Column("tags", Json),
    Column("definition", LongText, nullable=False),
    Column("spec", Json, nullable=False),
    Column("checksum", String(32), nullable=False),
)

workflows = _definition(
    "workflows",
    Column("tags", Json),
    # Declaration as the API shows it: ``x, y="5"``.
    Column("input", LongText),
    Column("definition", LongText, nullable=False),
    # The normalised form of spec/language.md § 29.3.
    Column("spec", Json, nullable=False),
    # Key of ``frozen_specs``: the form that runs use.
    Column("spec_id", String(64), nullable=False),
    Column("checksum", String(32), nullable=False),
    # Name of the workbook that it came from, or null.
    Column("workbook_name", Name),
    Column("is_system", Boolean, nullable=False, default=False),
)

# Ad-hoc actions; Python actions come from plug-ins and have no rows.
actions = _definition(
    "actions",
    Column("description", LongText),
    Column("tags", Json),
    # Declaration as the API shows it: ``a, b=1``.
    Column("input", LongText),
    Column("definition", LongText, nullable=False),
    Column("spec", Json, nullable=False),
    Column("workbook_name", Name),
    Column("is_system", Boolean, nullable=False, default=False),
)

# Source texts of dynamic actions. No engine or API ever runs one: what a class
# takes was read from the text when it was uploaded.
code_sources = _definition(
    "code_sources",
    Column("content", LongText, nullable=False),
    # Raised by each upload.
    Column("version", Integer, nullable=False, default=1),
    # Class name → what it takes (``actions.signatures``).
    Column("classes", Json, nullable=False),
)

# What executors fetch: a call keeps the version that it was offered with.
code_source_versions = Table(
    "code_source_versions",
    metadata,
    _below("code_sources", primary_key=True),
    Column("version", Integer, primary_key=True),
    # SHA-256 of the content.
    Column("checksum", String(64), nullable=False),
    Column("content", LongText, nullable=False),
    **_OPTIONS,
)

dynamic_actions = _definition(
    "dynamic_actions",
    _below("code_sources", nullable=False),
    # Sources are never renamed.
    Column("code_source_name", Name, nullable=False),
    Column("class_name", Name, nullable=False),
    Index(None, "code_source_id"),
)

environments = _owned(
    "environments",
    Column("name", Name, nullable=False),
    Column("description", LongText),
    # Null where none were sent.
    Column("variables", Json),
    UniqueConstraint("name", "project_id"),
)

members = Table(
    "members",
    metadata,
    Column("id", Id, primary_key=True),
    # Project that owns the resource.
    Column("project_id", String(80), nullable=False),
    Column("resource_id", Id, nullable=False),
    Column("resource_type", String(50), nullable=False),
    # Project that the resource is offered to.
    Column("member_id", String(80), nullable=False),
    Column("status", String(20), nullable=False, default="pending"),
    *_stamps(),
    UniqueConstraint("resource_id", "resource_type", "member_id"),
    Index(None, "member_id", "status"),
    **_OPTIONS,
)

# A trigger is its own header: whoever fires or removes it locks its row. Its next
# firing is an outbox row ``CronDue`` whose ``run_id`` is the trigger's id.
cron_triggers = _owned(
    "cron_triggers",
    Column("name", String(200), nullable=False),
    Column("workflow_id", Id, ForeignKey("workflows.id"), nullable=False),
    Column("workflow_name", Name, nullable=False),
    Column("workflow_namespace", Name, nullable=False, default=""),
    Column("workflow_input", Json, nullable=False),
    Column("workflow_params", Json, nullable=False),
    Column("pattern", String(100), nullable=False),
    Column("first_execution_time", Utc),
    Column("next_execution_time", Utc, nullable=False),
    # Null: without end.
    Column("remaining_executions", Integer),
    # Who created it: its runs are started in that name.
    Column("context", Json, nullable=False),
    # What makes two of a project the same; null where there may be several.
    Column("digest", String(64)),
    # Whose wall clocks the pattern is about.
    Column("timezone", String(64), nullable=False, **_filled("UTC")),
    Column("enabled", Boolean, nullable=False, **_filled(True)),
    # Words of ``lang.schedules``.
    Column("overlap", String(20), nullable=False, **_filled("allow")),
    Column("catch_up", String(10), nullable=False, **_filled("once")),
    # Seconds that ``catch_up: all`` looks back.
    Column("catch_up_window", Integer, nullable=False, **_filled(86_400)),
    # Seconds by which a firing may be put off.
    Column("jitter", Integer, nullable=False, **_filled(0)),
    # It has no further time: firings of before may wait, or a definition has it.
    Column("finished", Boolean, nullable=False, **_filled(False)),
    *_declared(),
    UniqueConstraint("name", "project_id"),
    UniqueConstraint("digest", "project_id"),
    Index(None, "workflow_id"),
    Index(None, "definition_id"),
)

# What came of the times at which a cron trigger was to fire, guarded by its row. The
# id is that of the execution that was, or would have been, started.
cron_firings = Table(
    "cron_firings",
    metadata,
    Column("id", Id, primary_key=True),
    _below("cron_triggers", nullable=False),
    Column("planned_at", Utc, nullable=False),
    # ``schedule``, ``request`` or ``backfill``.
    Column("fired_by", String(20), nullable=False),
    # ``started``, ``queued``, ``skipped``, ``cancelled`` or ``refused``.
    Column("outcome", String(20), nullable=False),
    # Why, of the last three.
    Column("reason", LongText),
    *_stamps(),
    Index(None, "cron_trigger_id", "planned_at"),
    Index(None, "cron_trigger_id", "outcome"),
    **_OPTIONS,
)

# What starts a workflow when another service tells of an event.
event_triggers = _owned(
    "event_triggers",
    Column("name", Name, nullable=False, default=""),
    Column("workflow_id", Id, ForeignKey("workflows.id"), nullable=False),
    Column("workflow_input", Json, nullable=False),
    Column("workflow_params", Json, nullable=False),
    Column("exchange", String(80), nullable=False),
    Column("topic", String(80), nullable=False),
    Column("event", String(80), nullable=False),
    # Who made it: the identity of what it starts.
    Column("context", Json, nullable=False),
    # What to tell executions of the workflow, instead of starting it.
    Column("message", Json),
    # What the input becomes of an event: expressions about it; null: ``workflow_input``
    # alone.
    Column("input_mapping", Json),
    *_declared(),
    UniqueConstraint(
        "exchange",
        "topic",
        "event",
        "workflow_id",
        "project_id",
        name="uq_event_triggers_source",
    ),
    Index(None, "workflow_id"),
    Index(None, "definition_id"),
)

# What came of the events that triggers heard. No foreign key: an event that is heard
# while its trigger goes is no fault.
event_firings = Table(
    "event_firings",
    metadata,
    Column("id", Id, primary_key=True),
    Column("event_trigger_id", Id, nullable=False),
    Column("event_id", String(255), nullable=False),
    # ``started``, ``sent``, ``unheard``, ``refused`` or ``failed``.
    Column("outcome", String(20), nullable=False),
    Column("reason", LongText),
    # That was started, or the only one that a message was for.
    Column("execution_id", Id),
    # Executions that it was for.
    Column("reached", Integer, nullable=False),
    *_stamps(),
    Index(None, "event_trigger_id", "created_at"),
    **_OPTIONS,
)

# Who may send events over HTTP, for the triggers of a project.
event_sources = _owned(
    "event_sources",
    Column("name", String(80), nullable=False),
    # "hmac" or "token".
    Column("kind", String(10), nullable=False),
    # The key of signatures, sealed where there is a keyring; of a token nothing.
    Column("secret", LongText),
    # SHA-256 of a token.
    Column("digest", String(64)),
    Column("signature_header", String(80)),
    UniqueConstraint("name", "project_id"),
    UniqueConstraint("digest"),
)

# Events that triggers have fired for, so that one that comes again is known.
heard_events = Table(
    "heard_events",
    metadata,
    # SHA-256 of where it came from, and of its id there.
    Column("id", String(64), primary_key=True),
    Column("at", Utc, nullable=False),
    Index(None, "at"),
    **_OPTIONS,
)

# What the service was given to act in the name of who made a trigger.
trusts = Table(
    "trusts",
    metadata,
    # The trigger's.
    Column("id", Id, primary_key=True),
    Column("project_id", String(80), nullable=False),
    # The identity service's id of it.
    Column("sealed", LongText, nullable=False),
    # When to look whether it can end; null: the trigger needs it.
    Column("due_at", Utc),
    # The run by which a trigger was used up: it still needs the trust.
    Column("last_run_id", Id),
    Column("created_at", Utc, nullable=False),
    Index(None, "due_at"),
    **_OPTIONS,
)

# Specs by content: a run keeps the form that it started with, whatever becomes
# of the definition (ENG-017, ENG-018), without a copy of its own.
frozen_specs = Table(
    "frozen_specs",
    metadata,
    # SHA-256 of the body.
    Column("id", String(64), primary_key=True),
    Column("body", Json, nullable=False),
    Column("created_at", Utc, nullable=False),
    **_OPTIONS,
)

# -- What runs ----------------------------------------------------------------

workflow_executions = Table(
    "workflow_executions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", String(80), nullable=False),
    Column("scope", String(10), nullable=False, default="private"),
    Column("workflow_id", Id),
    Column("workflow_name", Name, nullable=False),
    Column("workflow_namespace", Name, nullable=False, default=""),
    Column("spec_id", String(64), nullable=False),
    Column("description", LongText),
    Column("tags", Json),
    Column("state", String(20), nullable=False),
    Column("state_info", LongText),
    Column("input", Json),
    Column("params", Json),
    # Variables of the run: ``vars`` and published globals.
    Column("context", Json),
    Column("output", Json),
    Column("accepted", Boolean, nullable=False, default=False),
    # "maintenance" while that holds the run, which goes on when it ends; null when
    # nobody or anybody else paused it.
    Column("paused_by", String(20)),
    # Parent task and top-most run; null on a root.
    Column("task_execution_id", Id),
    Column("root_execution_id", Id),
    # Raised by each change; a cache of the run is valid only for its version.
    Column("version", BigInteger, nullable=False, default=0),
    Column("internals", Json, nullable=False),
    *_stamps(),
    Index(None, "task_execution_id"),
    Index(None, "root_execution_id"),
    Index(None, "workflow_id", "state"),
    Index(None, "workflow_name", "created_at", "id"),
    Index(None, "paused_by", "created_at"),
    *_orders("workflow_name"),
    tags.index("workflow_executions"),
    **_OPTIONS,
)

task_executions = Table(
    "task_executions",
    metadata,
    Column("id", Id, primary_key=True),
    _below("workflow_executions", nullable=False),
    # Order of creation within the run.
    Column("seq", Integer, nullable=False),
    Column("project_id", String(80), nullable=False),
    Column("name", Name, nullable=False),
    Column("type", String(10), nullable=False),
    Column("workflow_name", Name, nullable=False),
    Column("workflow_namespace", Name, nullable=False, default=""),
    Column("workflow_id", Id),
    Column("tags", Json),
    Column("state", String(20), nullable=False),
    Column("state_info", LongText),
    # Follow-ups were decided (also false while the task is open).
    Column("processed", Boolean, nullable=False, default=False),
    # Name → value, or {"ref": document id} for a large value; with versions.
    Column("in_context", Json),
    Column("published", Json),
    # [[task name, event], …]
    Column("next_tasks", Json),
    Column("has_next_tasks", Boolean, nullable=False, default=False),
    Column("error_handled", Boolean, nullable=False, default=False),
    # Joins: the task's name, so that there is one row per run and join.
    Column("unique_key", String(300)),
    Column("runtime_context", Json),
    Column("internals", Json, nullable=False),
    Column("started_at", Utc),
    Column("finished_at", Utc),
    *_stamps(),
    UniqueConstraint("workflow_execution_id", "unique_key"),
    Index(None, "workflow_execution_id", "name", "seq"),
    Index(None, "workflow_execution_id", "state"),
    Index(None, "workflow_execution_id", "processed"),
    *_orders("name"),
    tags.index("task_executions"),
    **_OPTIONS,
)

action_executions = Table(
    "action_executions",
    metadata,
    Column("id", Id, primary_key=True),
    # Null for a stand-alone run, which is its own header.
    _below("task_executions"),
    Column("workflow_execution_id", Id),
    Column("project_id", String(80), nullable=False),
    Column("name", Name, nullable=False),
    # Of the task, which is never renamed; lists need no join for it.
    Column("task_name", Name),
    Column("workflow_name", Name),
    Column("workflow_namespace", Name, nullable=False, default=""),
    Column("description", LongText),
    Column("tags", Json),
    Column("state", String(20), nullable=False),
    Column("state_info", LongText),
    Column("input", Json),
    # {"result": …}
    Column("output", Json),
    Column("accepted", Boolean, nullable=False, default=False),
    Column("is_sync", Boolean, nullable=False, default=True),
    # Position in a with-items task.
    Column("item_index", Integer, nullable=False, default=0),
    # Raised when a safe-rerun action is offered again.
    Column("attempt", Integer, nullable=False, default=1),
    # Token of the claim that started it, and the executor instance.
    Column("started_by", String(64)),
    Column("executor_id", String(64)),
    Column("started_at", Utc),
    Column("last_heartbeat", Utc),
    Column("internals", Json, nullable=False),
    *_stamps(),
    Index(None, "task_execution_id", "item_index"),
    Index(None, "workflow_execution_id"),
    Index(None, "executor_id", "state"),
    *_orders("name"),
    tags.index("action_executions"),
    **_OPTIONS,
)

# Who triggered a join, per round; inserted only, so that an arrival costs the
# same for a join of two and of two thousand.
join_arrivals = Table(
    "join_arrivals",
    metadata,
    Column(
        "join_id",
        Id,
        ForeignKey("task_executions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("round", Integer, primary_key=True),
    # Name of the inbound task.
    Column("inbound", Name, primary_key=True),
    Column("source_id", Id),
    # Clause that fired, or "not triggered" / "impossible route".
    Column("event", String(20), nullable=False),
    **_OPTIONS,
)

# Values too large to travel in every context: once per run.
documents = Table(
    "documents",
    metadata,
    _below("workflow_executions", primary_key=True),
    Column("id", Id, primary_key=True),
    Column("body", Json, nullable=False),
    **_OPTIONS,
)

# Runs that were deleted and are removed page by page: see ``db/removals.py``.
removals = Table(
    "removals",
    metadata,
    Column(
        "id",
        Id,
        ForeignKey("workflow_executions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    # What goes next.
    Column("step", Integer, nullable=False),
    # The last sub-workflow that was told.
    Column("after", Id),
    Column("created_at", Utc, nullable=False),
    **_OPTIONS,
)

# Messages to runs: whole until an action takes one, and afterwards what is needed to
# know a repeat.
posted_messages = Table(
    "posted_messages",
    metadata,
    Column("id", Id, primary_key=True),
    _below("workflow_executions", nullable=False),
    # Given by the sender.
    Column("message_id", Name, nullable=False),
    # Order of arrival within the run; shared with ``message_waits``.
    Column("seq", Integer, nullable=False),
    Column("name", Name, nullable=False),
    Column("correlation_key", Name),
    # ``messages.subject_of`` name and key.
    Column("subject", String(64), nullable=False),
    Column("payload", Json),
    # Bytes of the payload.
    Column("size", Integer, nullable=False),
    Column("taken_by", Id),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("workflow_execution_id", "message_id"),
    **_OPTIONS,
)

# Actions that wait for a message.
message_waits = Table(
    "message_waits",
    metadata,
    # The action's.
    Column(
        "id",
        Id,
        ForeignKey("action_executions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("workflow_execution_id", Id, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("subject", String(64), nullable=False),
    Index(None, "workflow_execution_id", "subject"),
    Index(None, "subject"),
    **_OPTIONS,
)

# -- What the engine remembers and promises -----------------------------------

outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column("due_at", Utc, nullable=False),
    # Class of the message: CallAction, Notify, or the event that Tell carries.
    Column("kind", String(40), nullable=False),
    # Executor group of an offer; null: any.
    Column("target", Name),
    Column("payload", Json, nullable=False),
    # Header that the row belongs to (run, or stand-alone action).
    Column("run_id", Id, nullable=False),
    # The action of an offer, so that a claim finds its row.
    Column("action_id", Id),
    Column("lease_owner", String(64)),
    Column("lease_until", Utc),
    # Sends so far.
    Column("attempts", Integer, nullable=False, default=0),
    Column("created_at", Utc, nullable=False),
    Index(None, "due_at"),
    Index(None, "action_id"),
    Index(None, "run_id"),
    **_OPTIONS,
)

# One row per handled event, append-only: timeline, failure analysis, and the
# inputs of decisions.
history = Table(
    "history",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", Utc, nullable=False),
    Column("turn_id", String(36), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("body", Json, nullable=False),
    Index(None, "turn_id"),
    **_OPTIONS,
)

# Answers by request id: a repeated request changes nothing.
handled = Table(
    "handled",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("answer", Json, nullable=False),
    Column("at", Utc, nullable=False),
    Index(None, "at"),
    **_OPTIONS,
)

# Events that no decision could be made about.
poison = Table(
    "poison",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", Id, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("payload", Json, nullable=False),
    Column("error", LongText, nullable=False),
    Column("at", Utc, nullable=False),
    Index(None, "run_id"),
    **_OPTIONS,
)

# One row, which is its own header: turns share its lock, who changes it has it
# alone. So whatever was decided before a change has been committed after it.
maintenance = Table(
    "maintenance",
    metadata,
    Column("id", Id, primary_key=True),
    Column("status", String(20), nullable=False),
    # The engine that pauses or resumes runs at present; others leave it alone.
    Column("lease_owner", String(64)),
    Column("lease_until", Utc),
    **_OPTIONS,
)

# Liveness: one row per executor instance.
executors = Table(
    "executors",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", Name, nullable=False),
    Column("started_at", Utc, nullable=False),
    Column("last_seen", Utc, nullable=False),
    Index(None, "last_seen"),
    **_OPTIONS,
)
