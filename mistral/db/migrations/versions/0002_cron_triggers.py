"""Cron triggers.

Version 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
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
        "cron_triggers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("workflow_id", sa.String(length=36), nullable=False),
        sa.Column("workflow_name", sa.String(length=255), nullable=False),
        sa.Column("workflow_namespace", sa.String(length=255), nullable=False),
        sa.Column("workflow_input", LONG_TEXT, nullable=False),
        sa.Column("workflow_params", LONG_TEXT, nullable=False),
        sa.Column("pattern", sa.String(length=100), nullable=False),
        sa.Column("first_execution_time", UTC, nullable=True),
        sa.Column("next_execution_time", UTC, nullable=False),
        sa.Column("remaining_executions", sa.Integer(), nullable=True),
        sa.Column("context", LONG_TEXT, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["workflows.id"], name=op.f("fk_cron_triggers_workflow_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cron_triggers")),
        sa.UniqueConstraint(
            "name", "project_id", name=op.f("uq_cron_triggers_name_project_id")
        ),
        sa.UniqueConstraint(
            "digest", "project_id", name=op.f("uq_cron_triggers_digest_project_id")
        ),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_cron_triggers_project_id_created_at_id"),
        "cron_triggers",
        ["project_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_cron_triggers_workflow_id"),
        "cron_triggers",
        ["workflow_id"],
        unique=False,
    )


def downgrade() -> None:
    # Engines of before do not know these events.
    op.execute("DELETE FROM outbox WHERE kind = 'CronDue'")
    op.drop_table("cron_triggers")
