"""Blanks at the end of a name count.

Version 0010, after 0009.

MariaDB and MySQL compare by ``utf8mb4_bin`` as if blanks were added until both texts
are of one length: of names that differ in them alone there could be one. Each has a
collation without that, under a name of its own. The others never did it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = (
    "action_executions", "actions", "code_source_versions", "code_sources",
    "cron_triggers", "documents", "dynamic_actions", "environments", "event_triggers",
    "executors", "frozen_specs", "handled", "history", "join_arrivals", "maintenance",
    "members", "outbox", "poison", "task_executions", "trusts", "workbooks",
    "workflow_executions", "workflows",
)  # fmt: skip

KEYS = (
    ("action_executions", "task_execution_id", "task_executions", "CASCADE"),
    ("code_source_versions", "code_source_id", "code_sources", "CASCADE"),
    ("cron_triggers", "workflow_id", "workflows", None),
    ("documents", "workflow_execution_id", "workflow_executions", "CASCADE"),
    ("dynamic_actions", "code_source_id", "code_sources", "CASCADE"),
    ("event_triggers", "workflow_id", "workflows", None),
    ("join_arrivals", "join_id", "task_executions", "CASCADE"),
    ("task_executions", "workflow_execution_id", "workflow_executions", "CASCADE"),
)


def upgrade() -> None:
    server = op.get_bind().dialect
    if server.name in ("mysql", "mariadb"):
        is_mariadb = getattr(server, "is_mariadb", False)
        _convert("utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin")


def downgrade() -> None:
    if op.get_bind().dialect.name in ("mysql", "mariadb"):
        _convert("utf8mb4_bin")


def _convert(collation: str) -> None:
    # A column of a foreign key cannot change while there is the key. What a run that
    # broke off has dropped already is made again, too.
    there = sa.inspect(op.get_bind())
    for table, column, _, _ in KEYS:
        name = f"fk_{table}_{column}"
        if name in {key["name"] for key in there.get_foreign_keys(table)}:
            op.drop_constraint(name, table, type_="foreignkey")
    for table in TABLES:
        op.execute(
            f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}"
        )
    for table, column, parent, rule in KEYS:
        name = f"fk_{table}_{column}"
        op.create_foreign_key(name, table, parent, [column], ["id"], ondelete=rule)
