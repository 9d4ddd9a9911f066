"""Indexes for tags.

Version 0009, after 0008.

On PostgreSQL only: a list of tags is cut at its commas, each piece after 200
characters, and a filter's tag has to be among them. Rows without tags are not in it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = ("workflow_executions", "task_executions", "action_executions")
PIECES = (
    "string_to_array(regexp_replace(btrim(tags, '[]'),"
    r" '([^,]{200})[^,]*', '\1', 'g'), ',')"
)


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in TABLES:
        op.create_index(
            f"ix_{table}_tags",
            table,
            [sa.text(PIECES)],
            postgresql_using="gin",
            postgresql_where=sa.text("tags <> '[]'"),
        )
        if _has_statistics():
            # of an index for some rows only there are none otherwise
            op.execute(f"CREATE STATISTICS {table}_tags ON ({PIECES}) FROM {table}")


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in TABLES:
        op.execute(f"DROP STATISTICS IF EXISTS {table}_tags")
        op.drop_index(f"ix_{table}_tags", table_name=table)


def _has_statistics() -> bool:
    """Of expressions: PostgreSQL 14 and later."""
    version = op.get_bind().dialect.server_version_info
    return version is not None and version >= (14,)
