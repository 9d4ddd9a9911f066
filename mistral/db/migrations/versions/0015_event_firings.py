"""What came of the events that event triggers heard.

Version 0015, after 0014.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0015"
down_revision = "0014"
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
LATEST = "ix_event_firings_event_trigger_id_created_at"


def upgrade() -> None:
    op.create_table(
        "event_firings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("event_trigger_id", sa.String(length=36), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("execution_id", sa.String(length=36), nullable=True),
        sa.Column("reached", sa.Integer(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_firings")),
        **OPTIONS,
    )
    op.create_index(
        op.f(LATEST), "event_firings", ["event_trigger_id", "created_at"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f(LATEST), table_name="event_firings")
    op.drop_table("event_firings")
