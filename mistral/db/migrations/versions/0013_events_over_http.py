"""Events over HTTP, messages of event triggers, events that are known.

Version 0013, after 0012.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0013"
down_revision = "0012"
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
SOURCES = "ix_event_sources_project_id_created_at_id"
HEARD = "ix_heard_events_at"


def upgrade() -> None:
    op.add_column("event_triggers", sa.Column("message", TEXT, nullable=True))
    op.create_table(
        "event_sources",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("secret", TEXT, nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("signature_header", sa.String(length=80), nullable=True),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_sources")),
        sa.UniqueConstraint(
            "name", "project_id", name=op.f("uq_event_sources_name_project_id")
        ),
        sa.UniqueConstraint("digest", name=op.f("uq_event_sources_digest")),
        **OPTIONS,
    )
    op.create_index(
        op.f(SOURCES), "event_sources", ["project_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "heard_events",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_heard_events")),
        **OPTIONS,
    )
    op.create_index(op.f(HEARD), "heard_events", ["at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f(HEARD), table_name="heard_events")
    op.drop_table("heard_events")
    op.drop_index(op.f(SOURCES), table_name="event_sources")
    op.drop_table("event_sources")
    op.drop_column("event_triggers", "message")
