"""Maintenance: its status, and which runs it paused.

Version 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UTC = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}
INDEX = "ix_workflow_executions_paused_by_created_at"


def upgrade() -> None:
    made = op.create_table(
        "maintenance",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenance")),
        **OPTIONS,
    )
    op.bulk_insert(made, [{"id": "maintenance", "status": "RUNNING"}])
    op.add_column(
        "workflow_executions",
        sa.Column("paused_by", sa.String(length=20), nullable=True),
    )
    op.create_index(
        op.f(INDEX), "workflow_executions", ["paused_by", "created_at"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f(INDEX), table_name="workflow_executions")
    op.drop_column("workflow_executions", "paused_by")
    op.drop_table("maintenance")
