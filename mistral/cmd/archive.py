"""``mistral-db-manage archive``: what was kept of executions that have expired."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from mistral.cli.output import FORMATS, Output
from mistral.engine import archived
from mistral.engine.archived import Damaged, Line
from mistral.errors import BadRequest
from mistral.messages import State

COLUMNS: Final = (
    "id", "workflow_name", "state", "created_at", "updated_at", "project_id",
)  # fmt: skip

STATES: Final = (State.SUCCESS, State.ERROR, State.CANCELLED)
"""Of executions that may expire."""

Directory = Callable[[], str]
"""What ``[execution_expiration_policy] archive_directory`` says."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``archive list`` and ``archive show``."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    what = "List executions that are kept, by the day on which they ended."
    listing = commands.add_parser("list", help=what, description=what)
    listing.set_defaults(archive=list_kept)
    for option, value, text in (
        ("--workflow", "NAME", "only those of this workflow"),
        ("--state", "STATE", "only those in this state"),
        ("--project", "ID", "only those of this project"),
        ("--tag", "TAG", "only those with this tag"),
        ("--since", "YYYY-MM-DD", "the first day"),
        ("--until", "YYYY-MM-DD", "the last day"),
    ):
        listing.add_argument(option, metavar=value, default="", help=text)
    what = "Show one execution: its tree of tasks, its input and output."
    show = commands.add_parser("show", help=what, description=what)
    show.set_defaults(archive=show_kept)
    show.add_argument("execution", metavar="ID|FILE")
    show.add_argument("--errors-only", action="store_true", help="only what failed")
    for each in (listing, show):
        each.add_argument(
            "--directory",
            metavar="PATH",
            help="default: [execution_expiration_policy] archive_directory",
        )
        each.add_argument(
            "--skip-damaged",
            action="store_true",
            help="name damaged lines and go on without them",
        )
        each.add_argument(
            "-o",
            "--output",
            choices=FORMATS,
            default="table",
            help="for people, or for programs",
        )


def list_kept(directory: Directory, arguments: argparse.Namespace) -> int:
    """
    :returns: 1 if a file was damaged; the others are listed all the same.
    :raises BadRequest: no day, or a state in which nothing is archived.
    """
    for option in ("since", "until"):
        day = getattr(arguments, option)
        if day and not archived.DAY.fullmatch(day):
            raise BadRequest(f"--{option}: expected YYYY-MM-DD, found '{day}'")
    if arguments.state and arguments.state.upper() not in STATES:
        raise BadRequest(
            f"--state: expected one of {', '.join(STATES)}, found '{arguments.state}'"
        )
    damage = _Damage()
    place = _place(directory, arguments)
    rows = list(_matching(place, arguments, damage))
    _output(arguments).table(rows, COLUMNS, "nothing is kept")
    return int(damage.count > 0 and not arguments.skip_damaged)


def show_kept(directory: Directory, arguments: argparse.Namespace) -> int:
    """
    :raises Damaged: a line cannot be read, and is not to be passed over.
    :raises NotFound: it is not there.
    """
    path = Path(arguments.execution)
    if not path.is_file():
        path = archived.find(_place(directory, arguments), arguments.execution)
    damaged = _Damage() if arguments.skip_damaged else archived.refuse
    root = archived.tree(path, damaged)
    if arguments.errors_only:
        root = archived.failed_alone(root)
    output = _output(arguments)
    if output.for_people:
        output.tree(_named(root), None)
        output.result(root)
    else:
        output.data(root)
    return 0


class _Damage:
    """Says what is damaged and goes on."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, damage: Damaged) -> None:
        self.count += 1
        print(f"mistral-db-manage: {damage.message}", file=sys.stderr)


def _output(arguments: argparse.Namespace) -> Output:
    """What actions said may hold what no terminal takes: it is shown as an escape,
    which JSON has, too."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Output(arguments.output)


def _place(directory: Directory, arguments: argparse.Namespace) -> Path:
    """:raises BadRequest: nobody says where."""
    place = arguments.directory or directory()
    if not place:
        raise BadRequest(
            "[execution_expiration_policy] archive_directory is not set, so nothing is"
            " kept; --directory names another place to look at"
        )
    return Path(place)


def _matching(
    place: Path, arguments: argparse.Namespace, damaged: _Damage
) -> Iterator[Line]:
    wanted = {
        "workflow_name": arguments.workflow,
        "state": arguments.state.upper(),
        "project_id": arguments.project,
    }
    for path in archived.files(place, arguments.since, arguments.until):
        try:
            root = archived.root_of(path)
        except Damaged as damage:
            damaged(damage)
            continue
        if any(value and root.get(name) != value for name, value in wanted.items()):
            continue
        if arguments.tag and arguments.tag not in (root.get("tags") or ()):
            continue
        yield {name: root.get(name) for name in COLUMNS} | {"file": str(path)}


def _named(execution: Line) -> Line:
    """With names where trees of people have them."""
    tasks: list[dict[str, Any]] = [
        {
            **task,
            "workflow_executions": [_named(e) for e in task["workflow_executions"]],
        }
        for task in execution["task_executions"]
    ]
    name = execution.get("workflow_name")
    return {**execution, "name": name, "task_executions": tasks}
