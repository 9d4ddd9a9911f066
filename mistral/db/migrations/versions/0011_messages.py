"""Messages to executions, and the actions that wait for them.

Version 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

UTC = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}
WAITS = (
    ("ix_message_waits_subject", ["subject"]),
    (
        "ix_message_waits_workflow_execution_id_subject",
        ["workflow_execution_id", "subject"],
    ),
)


def upgrade() -> None:
    op.create_table(
        "posted_messages",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("correlation_key", sa.String(length=255), nullable=True),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("payload", TEXT, nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("taken_by", sa.String(length=36), nullable=True),
        sa.Column("created_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posted_messages")),
        sa.UniqueConstraint(
            "workflow_execution_id",
            "message_id",
            name=op.f("uq_posted_messages_workflow_execution_id_message_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workflow_execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_posted_messages_workflow_execution_id"),
            ondelete="CASCADE",
        ),
        **OPTIONS,
    )
    op.create_table(
        "message_waits",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_waits")),
        sa.ForeignKeyConstraint(
            ["id"],
            ["action_executions.id"],
            name=op.f("fk_message_waits_id"),
            ondelete="CASCADE",
        ),
        **OPTIONS,
    )
    for name, columns in WAITS:
        op.create_index(op.f(name), "message_waits", columns, unique=False)


def downgrade() -> None:
    for name, _ in WAITS:
        op.drop_index(op.f(name), table_name="message_waits")
    op.drop_table("message_waits")
    op.drop_table("posted_messages")
