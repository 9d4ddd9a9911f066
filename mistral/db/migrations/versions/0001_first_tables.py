"""The tables of the first release.

Version 0001, the first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
UTC = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


def upgrade() -> None:
    op.create_table(
        "actions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("description", LONG_TEXT, nullable=True),
        sa.Column("tags", LONG_TEXT, nullable=True),
        sa.Column("input", LONG_TEXT, nullable=True),
        sa.Column("definition", LONG_TEXT, nullable=False),
        sa.Column("spec", LONG_TEXT, nullable=False),
        sa.Column("workbook_name", sa.String(length=255), nullable=True),
        sa.Column("is_system", sa.Boolean(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_actions")),
        sa.UniqueConstraint(
            "name",
            "namespace",
            "project_id",
            name=op.f("uq_actions_name_namespace_project_id"),
        ),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_actions_project_id_created_at_id"),
        "actions",
        ["project_id", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", LONG_TEXT, nullable=True),
        sa.Column("variables", LONG_TEXT, nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
        sa.UniqueConstraint(
            "name", "project_id", name=op.f("uq_environments_name_project_id")
        ),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_environments_project_id_created_at_id"),
        "environments",
        ["project_id", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "executors",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("started_at", UTC, nullable=False),
        sa.Column("last_seen", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_executors")),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_executors_last_seen"), "executors", ["last_seen"], unique=False
    )
    op.create_table(
        "frozen_specs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("body", LONG_TEXT, nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_frozen_specs")),
        **OPTIONS,
    )
    op.create_table(
        "handled",
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("answer", LONG_TEXT, nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_handled")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_handled_at"), "handled", ["at"], unique=False)
    op.create_table(
        "history",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.Column("turn_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("body", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_history")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_history_turn_id"), "history", ["turn_id"], unique=False)
    op.create_table(
        "members",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("resource_id", sa.String(length=36), nullable=False),
        sa.Column("resource_type", sa.String(length=50), nullable=False),
        sa.Column("member_id", sa.String(length=80), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_members")),
        sa.UniqueConstraint(
            "resource_id",
            "resource_type",
            "member_id",
            name=op.f("uq_members_resource_id_resource_type_member_id"),
        ),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_members_member_id_status"),
        "members",
        ["member_id", "status"],
        unique=False,
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("due_at", UTC, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=True),
        sa.Column("payload", LONG_TEXT, nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("action_id", sa.String(length=36), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", UTC, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_outbox_action_id"), "outbox", ["action_id"], unique=False)
    op.create_index(op.f("ix_outbox_due_at"), "outbox", ["due_at"], unique=False)
    op.create_index(op.f("ix_outbox_run_id"), "outbox", ["run_id"], unique=False)
    op.create_table(
        "poison",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("payload", LONG_TEXT, nullable=False),
        sa.Column("error", LONG_TEXT, nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_poison")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_poison_run_id"), "poison", ["run_id"], unique=False)
    op.create_table(
        "workbooks",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("tags", LONG_TEXT, nullable=True),
        sa.Column("definition", LONG_TEXT, nullable=False),
        sa.Column("spec", LONG_TEXT, nullable=False),
        sa.Column("checksum", sa.String(length=32), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workbooks")),
        sa.UniqueConstraint(
            "name",
            "namespace",
            "project_id",
            name=op.f("uq_workbooks_name_namespace_project_id"),
        ),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_workbooks_project_id_created_at_id"),
        "workbooks",
        ["project_id", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "workflow_executions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("workflow_id", sa.String(length=36), nullable=True),
        sa.Column("workflow_name", sa.String(length=255), nullable=False),
        sa.Column("workflow_namespace", sa.String(length=255), nullable=False),
        sa.Column("spec_id", sa.String(length=64), nullable=False),
        sa.Column("description", LONG_TEXT, nullable=True),
        sa.Column("tags", LONG_TEXT, nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_info", LONG_TEXT, nullable=True),
        sa.Column("input", LONG_TEXT, nullable=True),
        sa.Column("params", LONG_TEXT, nullable=True),
        sa.Column("context", LONG_TEXT, nullable=True),
        sa.Column("output", LONG_TEXT, nullable=True),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("task_execution_id", sa.String(length=36), nullable=True),
        sa.Column("root_execution_id", sa.String(length=36), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("internals", LONG_TEXT, nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow_executions")),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_workflow_executions_created_at_id"),
        "workflow_executions",
        ["created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_workflow_executions_project_id_created_at_id"),
        "workflow_executions",
        ["project_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_workflow_executions_root_execution_id"),
        "workflow_executions",
        ["root_execution_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_workflow_executions_state_created_at"),
        "workflow_executions",
        ["state", "created_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_workflow_executions_task_execution_id"),
        "workflow_executions",
        ["task_execution_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_workflow_executions_workflow_id_state"),
        "workflow_executions",
        ["workflow_id", "state"],
        unique=False,
    )
    op.create_table(
        "workflows",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("tags", LONG_TEXT, nullable=True),
        sa.Column("definition", LONG_TEXT, nullable=False),
        sa.Column("spec", LONG_TEXT, nullable=False),
        sa.Column("spec_id", sa.String(length=64), nullable=False),
        sa.Column("checksum", sa.String(length=32), nullable=False),
        sa.Column("workbook_name", sa.String(length=255), nullable=True),
        sa.Column("is_system", sa.Boolean(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflows")),
        sa.UniqueConstraint(
            "name",
            "namespace",
            "project_id",
            name=op.f("uq_workflows_name_namespace_project_id"),
        ),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_workflows_project_id_created_at_id"),
        "workflows",
        ["project_id", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "documents",
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("body", LONG_TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["workflow_execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_documents_workflow_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "workflow_execution_id", "id", name=op.f("pk_documents")
        ),
        **OPTIONS,
    )
    op.create_table(
        "task_executions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=10), nullable=False),
        sa.Column("workflow_name", sa.String(length=255), nullable=False),
        sa.Column("workflow_namespace", sa.String(length=255), nullable=False),
        sa.Column("workflow_id", sa.String(length=36), nullable=True),
        sa.Column("tags", LONG_TEXT, nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_info", LONG_TEXT, nullable=True),
        sa.Column("processed", sa.Boolean(), nullable=False),
        sa.Column("in_context", LONG_TEXT, nullable=True),
        sa.Column("published", LONG_TEXT, nullable=True),
        sa.Column("next_tasks", LONG_TEXT, nullable=True),
        sa.Column("has_next_tasks", sa.Boolean(), nullable=False),
        sa.Column("error_handled", sa.Boolean(), nullable=False),
        sa.Column("unique_key", sa.String(length=300), nullable=True),
        sa.Column("runtime_context", LONG_TEXT, nullable=True),
        sa.Column("internals", LONG_TEXT, nullable=False),
        sa.Column("started_at", UTC, nullable=True),
        sa.Column("finished_at", UTC, nullable=True),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.ForeignKeyConstraint(
            ["workflow_execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_task_executions_workflow_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_executions")),
        sa.UniqueConstraint(
            "workflow_execution_id",
            "unique_key",
            name=op.f("uq_task_executions_workflow_execution_id_unique_key"),
        ),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_task_executions_created_at_id"),
        "task_executions",
        ["created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_task_executions_project_id_created_at_id"),
        "task_executions",
        ["project_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_task_executions_workflow_execution_id_name_seq"),
        "task_executions",
        ["workflow_execution_id", "name", "seq"],
        unique=False,
    )
    op.create_index(
        op.f("ix_task_executions_workflow_execution_id_processed"),
        "task_executions",
        ["workflow_execution_id", "processed"],
        unique=False,
    )
    op.create_index(
        op.f("ix_task_executions_workflow_execution_id_state"),
        "task_executions",
        ["workflow_execution_id", "state"],
        unique=False,
    )
    op.create_table(
        "action_executions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("task_execution_id", sa.String(length=36), nullable=True),
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=True),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("workflow_name", sa.String(length=255), nullable=True),
        sa.Column("workflow_namespace", sa.String(length=255), nullable=False),
        sa.Column("description", LONG_TEXT, nullable=True),
        sa.Column("tags", LONG_TEXT, nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_info", LONG_TEXT, nullable=True),
        sa.Column("input", LONG_TEXT, nullable=True),
        sa.Column("output", LONG_TEXT, nullable=True),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("is_sync", sa.Boolean(), nullable=False),
        sa.Column("item_index", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_by", sa.String(length=64), nullable=True),
        sa.Column("executor_id", sa.String(length=64), nullable=True),
        sa.Column("started_at", UTC, nullable=True),
        sa.Column("last_heartbeat", UTC, nullable=True),
        sa.Column("internals", LONG_TEXT, nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.ForeignKeyConstraint(
            ["task_execution_id"],
            ["task_executions.id"],
            name=op.f("fk_action_executions_task_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action_executions")),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_action_executions_created_at_id"),
        "action_executions",
        ["created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_action_executions_executor_id_state"),
        "action_executions",
        ["executor_id", "state"],
        unique=False,
    )
    op.create_index(
        op.f("ix_action_executions_project_id_created_at_id"),
        "action_executions",
        ["project_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_action_executions_task_execution_id_item_index"),
        "action_executions",
        ["task_execution_id", "item_index"],
        unique=False,
    )
    op.create_index(
        op.f("ix_action_executions_workflow_execution_id"),
        "action_executions",
        ["workflow_execution_id"],
        unique=False,
    )
    op.create_table(
        "join_arrivals",
        sa.Column("join_id", sa.String(length=36), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("inbound", sa.String(length=255), nullable=False),
        sa.Column("source_id", sa.String(length=36), nullable=True),
        sa.Column("event", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(
            ["join_id"],
            ["task_executions.id"],
            name=op.f("fk_join_arrivals_join_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "join_id", "round", "inbound", name=op.f("pk_join_arrivals")
        ),
        **OPTIONS,
    )


def downgrade() -> None:
    for table in (
        "join_arrivals",
        "action_executions",
        "task_executions",
        "documents",
        "workflows",
        "workflow_executions",
        "workbooks",
        "poison",
        "outbox",
        "members",
        "history",
        "handled",
        "frozen_specs",
        "executors",
        "environments",
        "actions",
    ):
        op.drop_table(table)
