"""Code sources and the dynamic actions that are built from them.

Version 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
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


def _owned() -> list[sa.Column[str]]:
    return [
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
    ]


def _finish(table: str) -> list[sa.SchemaItem]:
    return [
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint(
            "name",
            "namespace",
            "project_id",
            name=op.f(f"uq_{table}_name_namespace_project_id"),
        ),
    ]


def upgrade() -> None:
    op.create_table(
        "code_sources",
        *_owned(),
        sa.Column("content", LONG_TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("classes", LONG_TEXT, nullable=False),
        *_finish("code_sources"),
        **OPTIONS,
    )
    op.create_table(
        "code_source_versions",
        sa.Column("code_source_id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("content", LONG_TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["code_source_id"],
            ["code_sources.id"],
            name=op.f("fk_code_source_versions_code_source_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "code_source_id", "version", name=op.f("pk_code_source_versions")
        ),
        **OPTIONS,
    )
    op.create_table(
        "dynamic_actions",
        *_owned(),
        sa.Column("code_source_id", sa.String(length=36), nullable=False),
        sa.Column("code_source_name", sa.String(length=255), nullable=False),
        sa.Column("class_name", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["code_source_id"],
            ["code_sources.id"],
            name=op.f("fk_dynamic_actions_code_source_id"),
            ondelete="CASCADE",
        ),
        *_finish("dynamic_actions"),
        **OPTIONS,
    )
    for table in ("code_sources", "dynamic_actions"):
        op.create_index(
            op.f(f"ix_{table}_project_id_created_at_id"),
            table,
            ["project_id", "created_at", "id"],
            unique=False,
        )
    op.create_index(
        op.f("ix_dynamic_actions_code_source_id"),
        "dynamic_actions",
        ["code_source_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_table("dynamic_actions")
    op.drop_table("code_source_versions")
    op.drop_table("code_sources")
