"""``mistralctl``: commands, each a few calls of the REST API.

Exit codes: 0 done (``run --watch`` and ``watch``: the workflow succeeded),
1 refused or not successful, 2 the command line makes no sense.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from mistral import errors
from mistral.cli import calls, schedules, telling
from mistral.cli.rest import Service, decoded
from mistral.cli.session import Session, command
from mistral.cli.texts import KINDS, read_definition, read_values
from mistral.cli.watch import watch as follow

SUCCEEDED: Final = "SUCCESS"

#: Of an execution, in the order of its life.
STATES: Final = ("IDLE", "RUNNING", "PAUSED", "SUCCESS", "ERROR", "CANCELLED")

_namespace_option = click.option(
    "--namespace", default="", help="Namespace of the definitions."
)
_kind_option = click.option(
    "--kind", type=click.Choice(KINDS), help="What FILE holds, if its keys mislead."
)
_strict_option = click.option(
    "--strict", is_flag=True, help="Refuse what is only advised against, too."
)
_file = click.Path(path_type=Path, dir_okay=False)


@command()
@click.argument("files", nargs=-1, required=True, type=_file)
@_kind_option
@_namespace_option
@_strict_option
def validate(
    session: Session,
    files: Sequence[Path],
    kind: str | None,
    namespace: str,
    strict: bool,
) -> None:
    """Check FILES without storing anything."""
    verdicts = [
        _verdict(session.service, file, kind, namespace, strict) for file in files
    ]
    session.output.table(verdicts, ("file", "kind", "valid", "error"), "")
    for verdict in verdicts:
        session.output.warnings(verdict["file"], verdict["warnings"])
    if not all(verdict["valid"] for verdict in verdicts):
        session.end(1)


@command()
@click.argument("files", nargs=-1, required=True, type=_file)
@_kind_option
@_namespace_option
@click.option("--public", is_flag=True, help="Visible to every project.")
@_strict_option
@click.option(
    "--prune", is_flag=True, help="Of workbooks: delete members that left the text."
)
def upload(
    session: Session,
    files: Sequence[Path],
    kind: str | None,
    namespace: str,
    public: bool,
    strict: bool,
    prune: bool,
) -> None:
    """Store workflows, workbooks and actions; existing ones are updated."""
    definitions = [read_definition(file, kind) for file in files]
    if prune and "workbooks" not in {each.kind for each in definitions}:
        raise errors.BadRequest("--prune is for workbooks, and no FILE is one")
    rows = []
    for definition in definitions:
        rows += calls.upload(
            session.service,
            definition,
            namespace,
            public=public,
            strict=strict,
            prune=prune,
        )
    session.output.table(rows, ("kind", "name", "done", "id"), "nothing was stored")


@command()
@click.argument("what", metavar="FILE|NAME")
@click.option("--input", "given", multiple=True, help="key=value, JSON or @file.")
@click.option("--env", multiple=True, help="Environment: NAME, or as --input.")
@click.option("--param", multiple=True, help="Further parameters, as --input.")
@click.option("--workflow", help="Which workflow of FILE (default: its first).")
@click.option("--description", default="", help="Kept with the execution.")
@click.option("--id", "execution_id", help="Your id: a repeat starts nothing new.")
@click.option("--watch", "wait", is_flag=True, help="Follow it until it ends.")
@_kind_option
@_namespace_option
def run(
    session: Session,
    what: str,
    given: Sequence[str],
    env: Sequence[str],
    param: Sequence[str],
    workflow: str | None,
    description: str,
    execution_id: str | None,
    wait: bool,
    kind: str | None,
    namespace: str,
) -> None:
    """Start a workflow by NAME, or upload FILE and start what is in it."""
    params = read_values(param, "--param")
    if len(env) == 1 and not set(env[0]) & set("={@"):
        params["env"] = env[0]
    elif env:
        params["env"] = read_values(env, "--env")
    body = {
        "workflow_name": what,
        "workflow_namespace": namespace,
        "input": read_values(given, "--input"),
        "params": params,
        "description": description,
    }
    if execution_id:
        body["id"] = execution_id
    if Path(what).is_file():
        definition = read_definition(Path(what), kind)
        calls.upload(session.service, definition, namespace)
        body["workflow_name"] = calls.startable(definition, workflow)
    try:
        execution = decoded(session.service.post("executions", body=body))
    except errors.NotFound as missing:
        if Path(what).suffix not in (".yaml", ".yml") or Path(what).is_file():
            raise
        raise errors.NotFound(
            f"{missing.message} There is no file {what} here, either."
        ) from missing
    if wait:
        _watch(session, execution["id"])
    else:
        session.output.execution(execution, session.service.answered_at)


@command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@click.option(
    "--state",
    type=click.Choice(STATES, case_sensitive=False),
    help="Only those in this state.",
)
@click.option("--workflow", default="", help="Only those of this workflow.")
@click.option("--roots", is_flag=True, help="Without sub-workflows.")
def executions(
    session: Session, limit: int, state: str | None, workflow: str, roots: bool
) -> None:
    """List executions, the newest first."""
    page = session.service.get(
        "executions",
        limit=limit,
        sort_keys="created_at",
        sort_dirs="desc",
        state=state or "",
        workflow_name=workflow,
        nulls="task_execution_id" if roots else "",
    )
    columns = ("id", "workflow_name", "state", "created_at", "updated_at")
    rows = [decoded(row) for row in page["executions"]]
    session.output.table(rows, columns, "no executions")


@command()
@click.argument("execution_id", metavar="ID")
def show(session: Session, execution_id: str) -> None:
    """One execution: its tree of tasks, its input and output."""
    _show(session, execution_id)


@command()
@click.argument("execution_id", metavar="ID")
def watch(session: Session, execution_id: str) -> None:
    """Follow an execution; exit code 0 only when it succeeds."""
    _watch(session, execution_id)


@command()
@click.argument("execution_id", metavar="ID")
@click.option("--errors-only", is_flag=True, help="Only what failed.")
@click.option("--max-depth", type=int, default=-1, help="Levels of sub-workflows.")
@click.option("--statistics-only", is_flag=True, help="Only the counts.")
def report(
    session: Session,
    execution_id: str,
    errors_only: bool,
    max_depth: int,
    statistics_only: bool,
) -> None:
    """Counts and the whole tree of an execution."""
    found = session.service.get(
        "executions",
        execution_id,
        "report",
        errors_only=str(errors_only).lower(),
        max_depth=max_depth,
        statistics_only=str(statistics_only).lower(),
    )
    session.output.report(found, session.service.answered_at)


@command()
@click.argument("execution_id", metavar="ID")
def pause(session: Session, execution_id: str) -> None:
    """Start nothing new until it is resumed."""
    _move(session, execution_id, {"state": "PAUSED"})


@command()
@click.argument("execution_id", metavar="ID")
@click.option("--env", multiple=True, help="Merged into the environment first.")
def resume(session: Session, execution_id: str, env: Sequence[str]) -> None:
    """Go on after a pause."""
    body: dict[str, Any] = {"state": "RUNNING"}
    if env:
        body["params"] = {"env": read_values(env, "--env")}
    _move(session, execution_id, body)


@command()
@click.argument("execution_id", metavar="ID")
@click.option("--reason", default="", help="Kept with the execution.")
def cancel(session: Session, execution_id: str, reason: str) -> None:
    """Stop an execution and its sub-workflows for good."""
    body = {"state": "CANCELLED"} | ({"state_info": reason} if reason else {})
    _move(session, execution_id, body)


@command()
@click.argument("task_or_execution", metavar="TASK|EXECUTION")
@click.option("--task", "name", help="Name of the failed task, if several failed.")
@click.option(
    "--reset/--no-reset",
    default=True,
    show_default=True,
    help="All items again, or only those that failed.",
)
@click.option("--env", multiple=True, help="Merged into the environment first.")
def rerun(
    session: Session,
    task_or_execution: str,
    name: str | None,
    reset: bool,
    env: Sequence[str],
) -> None:
    """Run a failed task again."""
    body: dict[str, Any] = {"state": "RUNNING", "reset": reset}
    if env:
        body["env"] = read_values(env, "--env")
    _task(session, task_or_execution, name, body)


@command()
@click.argument("task_or_execution", metavar="TASK|EXECUTION")
@click.option("--task", "name", help="Name of the failed task, if several failed.")
def skip(session: Session, task_or_execution: str, name: str | None) -> None:
    """Let a failed task count as skipped and go on."""
    _task(session, task_or_execution, name, {"state": "SKIPPED"})


@command()
@click.argument(
    "what", type=click.Choice(("status", "on", "off")), default="status", required=False
)
def maintenance(session: Session, what: str) -> None:
    """Show, begin or end maintenance: nothing starts in between.

    PAUSING becomes PAUSED when nothing is being worked on any more.
    """
    wanted = {"on": "PAUSED", "off": "RUNNING"}.get(what)
    found = {"status": session.service.maintenance(wanted)}
    if session.output.for_people:
        session.output.say(found["status"])
    else:
        session.output.data(found)


@command()
@click.argument("trigger", required=False)
@click.option(
    "-n",
    "--next",
    "count",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="How many firings.",
)
@click.option("--results", is_flag=True, help="What came of the last firings.")
@click.option("--pause", is_flag=True, help="Fire no more until it is resumed.")
@click.option("--resume", is_flag=True, help="Fire again, from now on.")
@click.option("--run", "run_now", is_flag=True, help="Fire now, too.")
@click.option(
    "--backfill",
    "start",
    metavar="TIME",
    help="Fire for all times since 'YYYY-MM-DD HH:MM' (UTC) that have no run, up to"
    " now or to --until.",
)
@click.option(
    "--until", metavar="TIME", help="With --backfill: and before this; else up to now."
)
def schedule(
    session: Session,
    trigger: str | None,
    count: int,
    results: bool,
    pause: bool,
    resume: bool,
    run_now: bool,
    start: str | None,
    until: str | None,
) -> None:
    """When cron triggers fire next, and why; or do something with one TRIGGER."""
    wanted = {
        "results": results,
        "pause": pause,
        "resume": resume,
        "run": run_now,
        "backfill": start is not None,
    }
    asked = [name for name, is_wanted in wanted.items() if is_wanted]
    if len(asked) > 1:
        raise errors.BadRequest(f"--{asked[0]} and --{asked[1]} exclude each other")
    if until is not None and asked != ["backfill"]:
        raise errors.BadRequest("--until is for --backfill")
    if asked and trigger is None:
        raise errors.BadRequest(f"--{asked[0]} needs the name or id of a TRIGGER")
    service, output = session.service, session.output
    if trigger is None:
        schedules.show_all(service, output)
    elif not asked:
        schedules.show_next(service, output, trigger, count)
    elif results:
        schedules.show_results(service, output, trigger, count)
    elif start is not None:
        schedules.fill_back(service, output, trigger, start, until)
    else:
        schedules.do(service, output, trigger, asked[0])


def _verdict(
    service: Service, file: Path, kind: str | None, namespace: str, strict: bool
) -> dict[str, Any]:
    """As ``calls.validate``; a file that cannot be read is not valid, and the
    others are judged all the same."""
    try:
        definition = read_definition(file, kind)
    except errors.BadRequest as error:
        return {
            "file": str(file),
            "kind": kind or "",
            "valid": False,
            "error": error.message,
            "warnings": [],
        }
    return calls.validate(service, definition, namespace, strict)


def _move(session: Session, execution_id: str, body: dict[str, Any]) -> None:
    answer = session.service.put("executions", execution_id, body=body)
    session.output.execution(decoded(answer), session.service.answered_at)


def _task(session: Session, given: str, name: str | None, body: dict[str, Any]) -> None:
    task = calls.failed_task(session.service, given, name)
    answer = decoded(session.service.put("tasks", task["id"], body=body))
    columns = ("id", "name", "workflow_name", "state")
    if session.output.for_people:
        session.output.table([answer], columns, "")
    else:
        session.output.data(answer)


def _show(session: Session, execution_id: str) -> dict[str, Any]:
    execution = decoded(session.service.get("executions", execution_id))
    found = session.service.get("executions", execution_id, "report")
    root = found["root_workflow_execution"]
    if session.output.for_people:
        session.output.tree(root, session.service.answered_at)
        session.output.result(execution)
    else:
        session.output.data(execution | {"tasks": root.get("task_executions", [])})
    return execution


def _watch(session: Session, execution_id: str) -> None:
    try:
        state = follow(session.service, execution_id, session.output, time.sleep)
    except KeyboardInterrupt:
        click.echo(f"it goes on: mistralctl watch {execution_id}", err=True)
        session.end(1)
    _show(session, execution_id)
    if state != SUCCEEDED:
        session.end(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mistral-workflow-service")
def cli() -> None:
    """Upload workflows, run them and see what they do."""


main = cli

for _command in (
    validate,
    upload,
    run,
    executions,
    show,
    watch,
    report,
    pause,
    resume,
    cancel,
    rerun,
    skip,
    maintenance,
    schedule,
    *telling.COMMANDS,
):
    main.add_command(_command)


if __name__ == "__main__":
    sys.exit(main())
