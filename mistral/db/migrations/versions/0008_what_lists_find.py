"""What lists show, sort and filter by.

Version 0008, after 0007.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")

INDEXES = (
    ("workflow_executions", ["updated_at", "id"]),
    ("workflow_executions", ["workflow_name", "id"]),
    ("task_executions", ["updated_at", "id"]),
    ("task_executions", ["name", "id"]),
    ("action_executions", ["updated_at", "id"]),
    ("action_executions", ["name", "id"]),
)


def upgrade() -> None:
    op.add_column(
        "action_executions",
        sa.Column("task_name", sa.String(length=255), nullable=True),
    )
    op.execute(
        "UPDATE action_executions SET task_name = (SELECT t.name FROM task_executions"
        " t WHERE t.id = action_executions.task_execution_id)"
    )
    for table, columns in INDEXES:
        op.create_index(_name(table, columns), table, columns, unique=False)
    op.add_column("workflows", sa.Column("input", LONG_TEXT, nullable=True))
    _summarise_inputs(op.get_bind())
    with op.batch_alter_table("environments") as environments:
        environments.alter_column("variables", existing_type=LONG_TEXT, nullable=True)


def downgrade() -> None:
    op.execute("UPDATE environments SET variables = '{}' WHERE variables IS NULL")
    with op.batch_alter_table("environments") as environments:
        environments.alter_column("variables", existing_type=LONG_TEXT, nullable=False)
    op.drop_column("workflows", "input")
    for table, columns in reversed(INDEXES):
        op.drop_index(_name(table, columns), table_name=table)
    op.drop_column("action_executions", "task_name")


def _summarise_inputs(connection: sa.Connection) -> None:
    workflows = sa.table(
        "workflows", sa.column("id"), sa.column("spec"), sa.column("input")
    )
    found = connection.execute(sa.select(workflows.c.id, workflows.c.spec)).all()
    for id, spec in found:
        declared = (json.loads(spec) or {}).get("input") or ()
        statement = sa.update(workflows).where(workflows.c.id == id)
        connection.execute(statement.values(input=_summary(declared)))


def _summary(declared: Any) -> str:
    parts: list[str] = []
    for parameter in declared:
        if isinstance(parameter, dict):
            parts += [f'{name}="{value}"' for name, value in parameter.items()]
        else:
            parts.append(str(parameter))
    return ", ".join(parts)


def _name(table: str, columns: list[str]) -> str:
    return f"ix_{table}_{'_'.join(columns)}"
