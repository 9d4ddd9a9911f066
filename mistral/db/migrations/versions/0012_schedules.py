"""Schedules: time zones and policies of cron triggers, what came of their firings, and
triggers that a definition has.

Version 0012, after 0011.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
UTC = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}

FILLED = (
    ("timezone", sa.String(length=64), "UTC"),
    ("enabled", sa.Boolean(), True),
    ("overlap", sa.String(length=20), "allow"),
    ("catch_up", sa.String(length=10), "once"),
    ("catch_up_window", sa.Integer(), 86_400),
    ("jitter", sa.Integer(), 0),
    ("finished", sa.Boolean(), False),
)
DECLARED = (
    ("definition_type", sa.String(length=10)),
    ("definition_id", sa.String(length=36)),
    ("declared", LONG_TEXT),
)
TABLES = ("cron_triggers", "event_triggers")


def upgrade() -> None:
    for name, kind, value in FILLED:
        column = sa.Column(name, kind, nullable=False, server_default=sa.literal(value))
        op.add_column("cron_triggers", column)
    for table in TABLES:
        for name, kind in DECLARED:
            op.add_column(table, sa.Column(name, kind, nullable=True))
        op.create_index(op.f(f"ix_{table}_definition_id"), table, ["definition_id"])
    op.add_column(
        "event_triggers", sa.Column("input_mapping", LONG_TEXT, nullable=True)
    )
    op.create_table(
        "cron_firings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("cron_trigger_id", sa.String(length=36), nullable=False),
        sa.Column("planned_at", UTC, nullable=False),
        sa.Column("fired_by", sa.String(length=20), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("reason", LONG_TEXT, nullable=True),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.ForeignKeyConstraint(
            ["cron_trigger_id"],
            ["cron_triggers.id"],
            name=op.f("fk_cron_firings_cron_trigger_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cron_firings")),
        **OPTIONS,
    )
    for column in ("planned_at", "outcome"):
        op.create_index(
            op.f(f"ix_cron_firings_cron_trigger_id_{column}"),
            "cron_firings",
            ["cron_trigger_id", column],
        )


def downgrade() -> None:
    # Engines of before do not know these events.
    op.execute("DELETE FROM outbox WHERE kind = 'QueueLook'")
    op.drop_table("cron_firings")
    op.drop_column("event_triggers", "input_mapping")
    for table in TABLES:
        op.drop_index(op.f(f"ix_{table}_definition_id"), table_name=table)
        for name, _ in DECLARED:
            op.drop_column(table, name)
    for name, _, _ in FILLED:
        op.drop_column("cron_triggers", name)
