"""``mistral-db-manage``, as operators and developers call it."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import URL, inspect, select

from mistral.cmd.db_manage import main
from mistral.cmd.populate import populate
from mistral.db import migrations
from mistral.db.database import Database
from mistral.db.models import workflows
from mistral.errors import Conflict, DefinitionFault

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def manage(empty_url: URL, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command with a configuration file that names a fresh database."""
    shown = empty_url.render_as_string(hide_password=False)
    file = tmp_path / "mistral.conf"
    file.write_text(f"[database]\nconnection = {shown}\n")

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--config-file", str(file), *words])
        captured = capsys.readouterr()
        return code, captured.out.strip(), captured.err.strip()

    return run


def test_up_and_down_and_where_we_are(manage: Run, empty_url: URL) -> None:
    head = migrations.head()
    assert manage("current") == (0, f"none (head is {head})", "")
    code, said, _ = manage("upgrade", "head")
    assert code == 0 and said.endswith(f"version none -> {head}")
    assert manage("upgrade")[1].endswith("nothing to do")
    assert manage("current") == (0, f"{head} (head)", "")
    code, said, _ = manage("downgrade", "base")
    assert code == 0 and said.endswith(f"version {head} -> none")
    assert manage("stamp", "head")[0] == 0
    assert manage("current")[1] == f"{head} (head)"
    database = Database(empty_url)
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    database.dispose()


def test_versions_are_listed(manage: Run) -> None:
    code, said, _ = manage("history")
    assert code == 0
    assert said.splitlines()[0].startswith(f"{migrations.head()} (head)  ")
    assert manage("check_migration")[0] == 0


def test_what_cannot_be_done_is_said_in_one_line(manage: Run) -> None:
    code, said, fault = manage("upgrade", "7777")
    assert (code, said) == (1, "")
    assert fault.startswith("mistral-db-manage: ") and "7777" in fault
    code, _, fault = manage("populate")
    assert code == 1 and "mistral-db-manage upgrade head" in fault
    assert len(fault.splitlines()) == 1


def test_a_server_that_is_away_is_said_without_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mistral.conf"
    url = "postgresql://user:secret@127.0.0.1:1/mistral"
    file.write_text(f"[database]\nconnection = {url}\n")
    assert main(["--config-file", str(file), "upgrade"]) == 1
    fault = capsys.readouterr().err
    assert "127.0.0.1" in fault and "secret" not in fault


def test_usage_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["dance"])
    assert ended.value.code == 2


def test_no_installed_package_brings_workflows_of_its_own(manage: Run) -> None:
    manage("upgrade")
    assert manage("populate")[:2] == (0, "0 system workflows")


@pytest.mark.parametrize("autogenerate", [False, True])
def test_a_new_version_follows_the_head(
    database: Database, tmp_path: Path, autogenerate: bool
) -> None:
    with database.begin() as connection:
        path = migrations.write(connection, "Add colours", autogenerate, tmp_path)
    assert path.parent == tmp_path
    written = runpy.run_path(str(path))
    assert written["revision"] == f"{int(migrations.head()) + 1:04}"
    assert written["down_revision"] == migrations.head()
    assert written["__doc__"].startswith("Add colours\n")
    # The tables are those of the models: nothing is left to write.
    assert "op." not in path.read_text()


def test_a_new_version_imports_nothing_of_the_project(
    empty_url: URL, tmp_path: Path
) -> None:
    database = Database(empty_url)
    with database.begin() as connection:
        # All tables are missing, so all types are written out.
        migrations.stamp(connection, "head")
        path = migrations.write(connection, "All", True, tmp_path)
    text = path.read_text()
    assert "create_table('workflow_executions'" in text
    assert "mistral." not in text
    assert runpy.run_path(str(path))["revision"]
    database.dispose()


def workflow_file(directory: Path, name: str, task: str) -> Path:
    path = directory / f"{name}.yaml"
    path.write_text(
        f"version: '2.0'\n{name}:\n  tasks:\n    {task}:\n      action: std.noop\n"
    )
    return path


def test_system_workflows_are_public_and_follow_their_files(
    database: Database, tmp_path: Path
) -> None:
    numbers = count()

    def new_id() -> str:
        return f"id {next(numbers)}"

    first = [workflow_file(tmp_path, "one", "t"), workflow_file(tmp_path, "two", "t")]
    assert populate(database, first, new_id) == ["one", "two"]
    second = [workflow_file(tmp_path, "one", "changed")]
    assert populate(database, second, new_id) == ["one"]
    with database.read() as connection:
        found = connection.execute(select(workflows).order_by(workflows.c.name))
        one, two = found.mappings()
    assert (one["is_system"], one["scope"]) == (True, "public")
    assert "changed" in one["definition"] and "changed" not in two["definition"]


def test_a_users_workflow_is_not_taken_over(database: Database, tmp_path: Path) -> None:
    files = [workflow_file(tmp_path, "mine", "t")]
    populate(database, files, lambda: "id")
    with database.begin() as connection:
        connection.execute(workflows.update().values(is_system=False))
    with pytest.raises(Conflict, match="mine"):
        populate(database, files, lambda: "other id")


def test_one_wrong_file_registers_nothing(database: Database, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: '2.0'\nw: {}\n")
    with pytest.raises(DefinitionFault):
        populate(database, [workflow_file(tmp_path, "a", "t"), wrong], lambda: "id")
    with database.read() as connection:
        assert connection.scalars(select(workflows.c.id)).all() == []


def test_sec_09_reseal_needs_a_key(
    manage: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    manage("upgrade", "head")
    code, _, fault = manage("reseal")
    assert (code, "[engine] secret_key" in fault) == (1, True)
    monkeypatch.setenv("OS_ENGINE__SECRET_KEY", Fernet.generate_key().decode())
    assert manage("reseal")[:2] == (
        0,
        "0 trusts of triggers are sealed by the first key",
    )
