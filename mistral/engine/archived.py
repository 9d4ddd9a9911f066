"""Reads what ``archive`` has written: which executions are kept, and one of them as a
tree.

Nothing is asked but the files, so this works where no database is any more. Who reads
says what becomes of a damaged line; one that is passed over takes along what hangs from
it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from mistral.engine.archive import FORMAT, VERSION
from mistral.errors import BadRequest, NotFound, ServiceError

DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")

Line = dict[str, Any]


class Damaged(ServiceError):
    """A line that was not written so, or not to its end; names file and line."""

    def __init__(self, path: Path, number: int, reason: str) -> None:
        super().__init__(f"{path}, line {number}: {reason}")


def refuse(damage: Damaged) -> NoReturn:
    """For who wants all or nothing."""
    raise damage


def files(directory: Path, since: str = "", until: str = "") -> Iterator[Path]:
    """Archive files, by the day on which their execution ended, oldest first.

    :param since: the first day, ``YYYY-MM-DD``.
    :param until: the last day.
    :raises BadRequest: there is no such directory.
    """
    try:
        days = sorted(each for each in directory.iterdir() if DAY.fullmatch(each.name))
    except OSError as error:
        raise BadRequest(f"Cannot read {directory}: {error.strerror}.") from error
    for day in days:
        if (since and day.name < since) or (until and day.name > until):
            continue
        # What begins with a dot is still being written.
        yield from sorted(day.glob("[!.]*.ndjson"))


def find(directory: Path, execution_id: str) -> Path:
    """The file of an execution.

    :raises NotFound: there is none.
    :raises BadRequest: the id was used again: there are several.
    """
    name = f"_{execution_id}" if execution_id.startswith(".") else execution_id
    found = [path for path in files(directory) if path.name == f"{name}.ndjson"]
    if not found:
        raise NotFound(
            f"No execution {execution_id!r} in {directory}. Sub-workflows are in the"
            " file of their root."
        )
    if len(found) > 1:
        names = ", ".join(str(path) for path in found)
        raise BadRequest(f"The id was used again, name one of these files: {names}")
    return found[0]


def root_of(path: Path) -> Line:
    """The execution that a file is about: its own attributes.

    :raises Damaged: the first two lines are not those of an archive.
    """
    for number, line in enumerate(lines(path, refuse), 2):
        if line["kind"] != "execution":
            raise Damaged(path, number, "expected the root execution")
        return line
    raise Damaged(path, 2, "expected the root execution, found the end of the file")


def lines(path: Path, damaged: Callable[[Damaged], None]) -> Iterator[Line]:
    """All behind the first line, in order; each has ``kind`` ``execution``, ``task`` or
    ``action``.

    :param damaged: told of a line that cannot be read; if it returns, the next follows.
    :raises Damaged: the first line is not that of an archive that this release reads.
    :raises BadRequest: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            _check_head(path, file.readline())
            for number, raw in enumerate(file, 2):
                try:
                    line = _line(path, number, raw)
                except Damaged as damage:
                    damaged(damage)
                else:
                    yield line
    except OSError as error:
        raise BadRequest(f"Cannot read {path}: {error.strerror}.") from error


def tree(path: Path, damaged: Callable[[Damaged], None]) -> Line:
    """The execution with ``task_executions``, each with ``action_executions`` and
    ``workflow_executions``, which have tasks again: the form of a report.

    :raises Damaged: there is no root to hang anything from.
    """
    root: Line | None = None
    executions: dict[str, Line] = {}
    tasks: dict[str, Line] = {}
    for line in lines(path, damaged):
        kind = line.pop("kind")
        if kind == "execution":
            line["task_executions"] = []
            executions[line["id"]] = line
            if root is None:
                root = line
                continue
            above = tasks.get(str(line.get("task_execution_id")))
            if above is not None:
                above["workflow_executions"].append(line)
        elif kind == "task":
            line |= {"action_executions": [], "workflow_executions": []}
            tasks[line["id"]] = line
            execution = executions.get(str(line.get("workflow_execution_id")))
            if execution is not None:
                execution["task_executions"].append(line)
        else:
            task = tasks.get(str(line.get("task_execution_id")))
            if task is not None:
                task["action_executions"].append(line)
    if root is None:
        raise Damaged(path, 2, "expected the root execution, found none")
    return root


def failed_alone(execution: Mapping[str, Any]) -> Line:
    """The tree without what has not failed and has nothing below it that has."""
    kept = []
    for task in execution["task_executions"]:
        below = [failed_alone(each) for each in task["workflow_executions"]]
        below = [e for e in below if e["state"] == "ERROR" or e["task_executions"]]
        actions = [a for a in task["action_executions"] if a["state"] == "ERROR"]
        if task["state"] == "ERROR" or below or actions:
            kept.append(
                {**task, "action_executions": actions, "workflow_executions": below}
            )
    return {**execution, "task_executions": kept}


def _check_head(path: Path, raw: bytes) -> None:
    head = _json(path, 1, raw)
    if head.get("kind") != "archive" or head.get("format") != FORMAT:
        raise Damaged(path, 1, f"expected the head of a file of {FORMAT}")
    version = head.get("version")
    if version != VERSION:
        raise Damaged(
            path, 1, f"the form has version {version}, this release reads {VERSION}"
        )


def _line(path: Path, number: int, raw: bytes) -> Line:
    line = _json(path, number, raw)
    if line.get("kind") not in ("execution", "task", "action"):
        reason = "expected an execution, a task or an action"
        raise Damaged(path, number, f"{reason}, found kind {line.get('kind')!r}")
    if not isinstance(line.get("id"), str) or not isinstance(line.get("state"), str):
        raise Damaged(path, number, "expected 'id' and 'state' to be texts")
    return line


def _json(path: Path, number: int, raw: bytes) -> Line:
    if not raw.endswith(b"\n"):
        reason = "the file ends in the midst of it" if raw else "there is nothing"
        raise Damaged(path, number, reason)
    try:
        value = json.loads(raw.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError as error:
        raise Damaged(path, number, f"no UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise Damaged(path, number, f"this is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Damaged(path, number, "expected a JSON object")
    return value
