"""The versions of the schema lead to the tables of the models, and back."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from generated_rows import GeneratedRows
from rows import Rows, uid
from sqlalchemy import (
    URL,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    inspect,
    select,
    text,
)

from mistral.db import migrations, models, schema_version
from mistral.db.database import Database
from mistral.db.models import metadata
from mistral.errors import StaleSchema


# SQLite cannot tell of an index on an expression, and has none of ours.
@pytest.mark.filterwarnings("ignore:autogenerate skipping")
def test_up_gives_the_tables_of_the_models_and_down_removes_them(
    empty_url: URL,
) -> None:
    database = Database(empty_url)
    database.create_or_upgrade()
    with database.begin() as connection:
        opts = {
            "compare_type": True,
            "include_object": migrations.belongs_here(connection),
        }
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, metadata) == []
        assert set(metadata.tables) < set(inspect(connection).get_table_names())
    with database.begin() as connection:
        migrations.downgrade(connection, "base")
    with database.begin() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    database.create_or_upgrade()
    database.create_or_upgrade()
    database.check_schema()
    database.dispose()


def test_the_comparison_would_see_a_difference(empty_url: URL) -> None:
    database = Database(empty_url)
    database.create_or_upgrade()
    other = MetaData()
    Table("poison", other, Column("id", Integer, primary_key=True))
    with database.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, other) != []
    database.dispose()


def test_the_start_and_alembic_find_the_same_versions(empty_url: URL) -> None:
    database = Database(empty_url)
    assert schema_version.head() == migrations.head()

    def both() -> tuple[str | None, str | None]:
        with database.begin() as connection:
            return schema_version.current(connection), migrations.current(connection)

    assert both() == (None, None)
    database.create_or_upgrade()
    assert both() == (migrations.head(), migrations.head())
    with database.begin() as connection:
        migrations.downgrade(connection, "base")
    assert both() == (None, None)
    database.dispose()


def test_another_version_is_refused_with_what_to_do(empty_url: URL) -> None:
    database = Database(empty_url)
    with pytest.raises(StaleSchema, match=r"no tables yet.*mistral-db-manage upgrade"):
        database.check_schema()
    database.create_or_upgrade()
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StaleSchema, match=r"9999.*newer release"):
        database.check_schema()
    database.dispose()


def test_0008_fills_in_what_lists_show(empty_url: URL) -> None:
    """Names of tasks and summaries of inputs of what was there before; no
    variables become an empty object on the way back."""
    database = Database(empty_url)
    database.create_or_upgrade()
    rows = Rows(database)
    rows.run(uid(1))
    rows.task(uid(2), uid(1), name="shout")
    rows.action(uid(3), uid(2))
    rows.action(uid(4))
    with database.begin() as connection:
        GeneratedRows(1).put(
            connection,
            models.workflows,
            1,
            spec={"input": ["x", {"y": None}, {"z": {"k": [1]}}]},
        )
        GeneratedRows(2).put(connection, models.environments, 1, variables=None)

    def shown(column: Column[Any]) -> list[Any]:
        with database.read() as connection:
            return list(connection.scalars(select(column).order_by(column.table.c.id)))

    with database.begin() as connection:
        migrations.downgrade(connection, "0007")
    assert shown(models.environments.c.variables) == [{}]
    database.create_or_upgrade()
    assert shown(models.action_executions.c.task_name) == ["shout", None]
    assert shown(models.workflows.c.input) == ['x, y="None", z="{\'k\': [1]}"']
    database.dispose()


def test_0010_names_keep_their_blanks_at_the_end(empty_url: URL) -> None:
    """MariaDB and MySQL had compared without them; what was there before stays."""
    database = Database(empty_url)
    database.create_or_upgrade()
    with database.begin() as connection:
        migrations.downgrade(connection, "0009")
    rows = Rows(database)
    rows.run(uid(1))
    rows.task(uid(2), uid(1), name="a")
    if database.engine.dialect.name == "mariadb":
        # As after an upgrade that broke off: there is no way back for such changes.
        with database.begin() as connection:
            connection.exec_driver_sql(
                "ALTER TABLE task_executions"
                " DROP FOREIGN KEY fk_task_executions_workflow_execution_id"
            )
    database.create_or_upgrade()
    rows.task(uid(3), uid(1), name="a ")
    tasks = models.task_executions.c
    with database.read() as connection:
        query = select(tasks.id).where(tasks.name == "a ")
        assert list(connection.scalars(query)) == [uid(3)]
        for table in metadata.tables.values():
            for collation in _collations(connection, table.name):
                padded = f"SELECT _utf8mb4'a' = _utf8mb4'a ' COLLATE {collation}"
                assert not connection.exec_driver_sql(padded).scalar(), table.name
        # What goes with a run still does.
        keys = inspect(connection).get_foreign_keys("task_executions")
        assert [key["options"]["ondelete"] for key in keys] == ["CASCADE"]
    database.dispose()


def _collations(connection: Connection, table: str) -> list[str]:
    """Of its columns, where columns have one of their own."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        return []
    columns = text(
        "SELECT collation_name FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND table_name = :name"
        " AND collation_name IS NOT NULL"
    )
    found = list(connection.scalars(columns, {"name": table}))
    assert found, table
    return found


def test_versions_import_nothing_of_the_project() -> None:
    versions = sorted((migrations.HERE / "versions").glob("0*.py"))
    assert versions
    for version in versions:
        for node in ast.walk(ast.parse(version.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            assert not [name for name in names if name.startswith("mistral")]
