"""``mistral-db-manage``: the tables and their versions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Final
from uuid import uuid4

from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from mistral.cmd import archive
from mistral.cmd import notifications as notices
from mistral.cmd.doctor import doctor
from mistral.cmd.populate import populate, preinstalled_files
from mistral.config import load
from mistral.db import migrations, trusts
from mistral.db.database import Database
from mistral.errors import MistralError
from mistral.keyring import Keyring

HELD_SECONDS: Final = 600.0
"""What a migration may compute between two statements."""

Command = Callable[[Database, argparse.Namespace], int | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit code: 0, 1 (failed, or the doctor found
    something) or 2 (usage)."""
    arguments = _parser().parse_args(argv)
    sources = [
        f"--{name}={value}"
        for name, values in (
            ("config-file", arguments.config_file),
            ("config-dir", arguments.config_dir),
        )
        for value in values
    ]
    database = None
    try:
        if arguments.archive is not None:
            # Files alone: the database may be gone, or on another host.
            return int(arguments.archive(lambda: _archive_of(sources), arguments))
        settings = load(sources, serving=False)
        database = Database(settings.database.connection, held_seconds=HELD_SECONDS)
        arguments.secret_key = settings.engine.secret_key
        return arguments.run(database, arguments) or 0
    except (MistralError, CommandError) as error:
        return _failed(str(error))
    except SQLAlchemyError as error:
        where = f" {database.shown}" if database is not None else ""
        return _failed(f"database{where}: {getattr(error, 'orig', None) or error}")
    finally:
        if database is not None:
            database.dispose()


def _archive_of(sources: Sequence[str]) -> str:
    settings = load(sources, serving=False)
    return settings.expiration.archive_directory


def _failed(reason: str) -> int:
    print(f"mistral-db-manage: {reason}", file=sys.stderr)
    return 1


def _upgrade(database: Database, arguments: argparse.Namespace) -> None:
    _move(database, migrations.upgrade, arguments.version)


def _downgrade(database: Database, arguments: argparse.Namespace) -> None:
    _move(database, migrations.downgrade, arguments.version)


def _stamp(database: Database, arguments: argparse.Namespace) -> None:
    _move(database, migrations.stamp, arguments.version)


def _move(
    database: Database, step: Callable[[Connection, str], None], version: str
) -> None:
    with database.begin() as connection:
        before = migrations.current(connection)
        step(connection, version)
        after = migrations.current(connection)
    if before == after:
        print(f"{database.shown}: version {_shown(after)}, nothing to do")
    else:
        print(f"{database.shown}: version {_shown(before)} -> {_shown(after)}")


def _current(database: Database, arguments: argparse.Namespace) -> None:
    with database.read() as connection:
        found = migrations.current(connection)
    if found == migrations.head():
        print(f"{found} (head)")
    elif found is None or migrations.knows(found):
        print(f"{_shown(found)} (head is {migrations.head()})")
    else:
        print(f"{found} (unknown to this release; its head is {migrations.head()})")


def _history(database: Database, arguments: argparse.Namespace) -> None:
    for version, title in migrations.versions():
        head = " (head)" if version == migrations.head() else ""
        print(f"{version}{head}  {title}")


def _revision(database: Database, arguments: argparse.Namespace) -> None:
    # Only the comparison asks the database.
    with database.begin() as connection:
        path = migrations.write(connection, arguments.message, arguments.autogenerate)
    print(path)


def _check(database: Database, arguments: argparse.Namespace) -> None:
    print(f"one line of versions, head is {migrations.head()}")


def _populate(database: Database, arguments: argparse.Namespace) -> None:
    database.check_schema()
    names = populate(database, preinstalled_files(), lambda: str(uuid4()))
    print(f"{len(names)} system workflows" + "".join(f"\n  {name}" for name in names))


def _reseal(database: Database, arguments: argparse.Namespace) -> None:
    keyring = Keyring(arguments.secret_key)
    with database.begin() as connection:
        count = trusts.reseal(connection, keyring.renew)
    print(f"{count} trusts of triggers are sealed by the first key")


def _shown(version: str | None) -> str:
    return "none" if version is None else version


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mistral-db-manage", description="Manage the tables of the service."
    )
    for option, what in (
        ("--config-file", "a configuration file; may be repeated"),
        ("--config-dir", "a directory of *.conf files; may be repeated"),
    ):
        parser.add_argument(
            option, action="append", default=[], metavar="PATH", help=what
        )
    parser.set_defaults(archive=None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Command, what: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=what, description=what)
        added.set_defaults(run=run)
        return added

    upgrade = command("upgrade", _upgrade, "Run the versions that are missing.")
    upgrade.add_argument("version", nargs="?", default="head")
    downgrade = command("downgrade", _downgrade, "Go back to a version (base: none).")
    downgrade.add_argument("version")
    command("current", _current, "Show the version of the database.")
    command("history", _history, "Show all versions, the newest first.")
    stamp = command("stamp", _stamp, "Set the version and change no table.")
    stamp.add_argument("version")
    revision = command("revision", _revision, "Write a new version (developers).")
    revision.add_argument("-m", "--message", required=True)
    revision.add_argument(
        "--autogenerate",
        action="store_true",
        help="fill it with what the models have and the database has not",
    )
    command("check_migration", _check, "Check that the versions form one line.")
    what = "Look for what must not be in the database, and explain it."
    command("doctor", doctor, what).add_argument(
        "--json", action="store_true", help="print what was found as JSON"
    )
    what = "List notifications that publishers never took; send them again."
    notices.arguments(command("notifications", notices.notifications, what))
    command("populate", _populate, "Register the system workflows.")
    what = "Show what was kept of executions that have expired."
    archive.add_arguments(commands.add_parser("archive", help=what, description=what))
    what = "Seal the trusts of triggers by the first key of [engine] secret_key."
    command("reseal", _reseal, what)
    return parser


if __name__ == "__main__":
    sys.exit(main())
