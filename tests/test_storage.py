"""An embedded database is made and upgraded by the process that uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mistral.cmd.storage import DatabaseService
from mistral.db.database import Database
from mistral.errors import ServiceError

START = """
import sys
from mistral.cmd.storage import DatabaseService
from mistral.db.database import Database
database = Database(sys.argv[1])
DatabaseService(database, own=True).start()
print(database.has_our_schema(), "alembic" in sys.modules)
"""


def _start(url: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", START, url]
    return subprocess.run(program, capture_output=True, text=True, timeout=60)


def test_a_fresh_database_is_made_without_keeping_what_made_it(tmp_path: Path) -> None:
    """10 MB of each process are for tables that are managed once."""
    url = f"sqlite:///{tmp_path}/fresh.sqlite"
    said = _start(url)
    assert said.stdout.split() == ["True", "False"], said.stderr
    assert Database(url).has_our_schema()


def test_what_the_copy_fails_with_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/odd.sqlite"
    with Database(url).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE workflow_executions (id TEXT)")
    said = _start(url)
    assert "ServiceError: The tables cannot be made or upgraded:" in said.stderr
    assert "already exists" in said.stderr


def test_a_database_of_others_is_never_upgraded_by_a_server(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/theirs.sqlite")
    with pytest.raises(ServiceError, match="mistral-db-manage upgrade head"):
        DatabaseService(database).start()
    assert not database.has_our_schema()
