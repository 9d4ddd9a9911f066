"""What must hold of workflow executions: each moves, or is over."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select

from mistral.db import outbox
from mistral.db.models import (
    action_executions,
    frozen_specs,
    history,
    task_executions,
    workflow_executions,
)
from mistral.engine.core.run import Run
from mistral.engine.doctor.look import Look, Page, Violation
from mistral.messages import COMPLETED, ChildStarted, DeleteWorkflow, State

run, task, action = workflow_executions.c, task_executions.c, action_executions.c

OPEN_ACTIONS = (State.RUNNING, State.PAUSED)


def runs(look: Look) -> Iterator[Violation]:
    """All rules that a header takes part in, one page of headers after the other."""
    for page in look.pages(workflow_executions):
        columns = (run.id, run.state, run.spec_id, run.workflow_name, run.internals)
        query = select(*columns, run.task_execution_id, run.updated_at, run.state_info)
        rows = [Run(**row) for row in page.rows(query, run.id)]
        # What was deleted goes page by page: in between nothing fits together.
        found = [r for r in rows if not r.removing]
        yield from _specs(page, found)
        yield from _parents(page, found)
        yield from _counters(page, found)
        yield from _histories(page, found)
        yield from _stuck(page, [r for r in found if r.state == State.RUNNING])
        yield from _unbegun(page, [r for r in found if r.state == State.IDLE])
        yield from _ended(page, [r for r in found if r.completed])


def _specs(page: Page, found: list[Run]) -> Iterator[Violation]:
    known = page.known(frozen_specs.c.id, {r.spec_id for r in found})
    for r in found:
        if r.spec_id not in known:
            yield Violation(
                "run-without-spec",
                {"run_id": r.id, "spec_id": r.spec_id},
                f"The execution {r.id} was started with the definition {r.spec_id},"
                " which is not stored any more: no event of it can be decided.",
            )


def _parents(page: Page, found: list[Run]) -> Iterator[Violation]:
    below = [r for r in found if r.task_execution_id]
    known = page.known(task.id, [r.task_execution_id for r in below])
    gone = [r for r in below if r.task_execution_id not in known]
    parents = {r.parent["run_id"] for r in gone if r.parent}
    promised = page.promised({*parents, *(r.id for r in gone)}) if gone else {}
    rows = [row for mine in promised.values() for row in mine]
    # Who starts while its parent is deleted says so, and is deleted for that.
    ending = {row["run_id"] for row in rows if row["kind"] == DeleteWorkflow.__name__}
    ending |= {
        row["payload"]["child_id"]
        for row in rows
        if row["kind"] == ChildStarted.__name__
    }
    for r in gone:
        if r.id not in ending:
            yield Violation(
                "run-without-parent",
                {"run_id": r.id, "task_id": r.task_execution_id or ""},
                f"The sub-workflow {r.id} ({r.state}) belongs to the task"
                f" {r.task_execution_id}, which is gone: nobody hears how it ends, and"
                " nobody deletes it.",
            )


def _counters(page: Page, found: list[Run]) -> Iterator[Violation]:
    owner = task.workflow_execution_id
    open_tasks = page.counted(owner, task.state.not_in(COMPLETED))
    waiting = page.counted(owner, task.state == State.WAITING)
    for r in found:
        there = open_tasks.get(r.id, 0), waiting.get(r.id, 0)
        if there != (r.open, r.waiting):
            yield Violation(
                "run-counters",
                {"run_id": r.id},
                f"The execution {r.id} ({r.state}) counts {r.open} open tasks and"
                f" {r.waiting} that wait, but its tasks are {there[0]} and {there[1]}:"
                " it ends too early or never.",
            )


def _histories(page: Page, found: list[Run]) -> Iterator[Violation]:
    query = select(
        history.c.run_id,
        func.count().label("rows"),
        func.min(history.c.seq).label("first"),
        func.max(history.c.seq).label("last"),
    ).group_by(history.c.run_id)
    there = {row["run_id"]: row for row in page.rows(query, history.c.run_id)}
    for r in found:
        row = there.get(r.id)
        shown = (0, 0, 0) if row is None else (row["rows"], row["first"], row["last"])
        last = r.history_seq
        if shown != (last, min(last, 1), last):
            yield Violation(
                "history-gap",
                {"run_id": r.id},
                f"The execution {r.id} has handled {last} events, but its history has"
                f" {shown[0]} rows, numbered {shown[1]} to {shown[2]}: what led to its"
                " state cannot be told.",
            )


def _moved(page: Page, found: list[Run]) -> set[str]:
    """Those that an action, a sub-workflow or a row of the outbox will move."""
    ids = [r.id for r in found]
    moved = set(page.promised(ids))
    query = select(action.workflow_execution_id.label("run_id")).distinct()
    query = query.where(action.state.in_(OPEN_ACTIONS))
    moved |= {
        row["run_id"] for row in page.among(query, action.workflow_execution_id, ids)
    }
    query = select(task.workflow_execution_id.label("run_id")).distinct()
    query = query.join(workflow_executions, run.task_execution_id == task.id)
    query = query.where(run.state.not_in(COMPLETED))
    moved |= {
        row["run_id"] for row in page.among(query, task.workflow_execution_id, ids)
    }
    if len(moved) < len(ids):
        moved |= {run_id for run_id, _ in page.asked_for()}
    return moved


def _stuck(page: Page, found: list[Run]) -> Iterator[Violation]:
    if not found:
        return
    moved = _moved(page, found)
    for r in found:
        if r.id not in moved:
            yield Violation(
                "run-stuck",
                {"run_id": r.id},
                f"The execution {r.id} of {r.workflow_name} is RUNNING since"
                f" {r.updated_at}, and nothing is left that could move it: no open"
                " action or sub-workflow, no timer, no message.",
            )


def _unbegun(page: Page, found: list[Run]) -> Iterator[Violation]:
    promised = page.promised(r.id for r in found)
    for r in found:
        if r.id not in promised:
            yield Violation(
                "run-without-timer",
                {"run_id": r.id},
                f"The execution {r.id} of {r.workflow_name} is to begin at its time"
                f" ({r.state_info}), and no timer is set for that: it never does.",
            )


def _ended(page: Page, found: list[Run]) -> Iterator[Violation]:
    promised = page.promised((r.id for r in found), all_timers=True)
    for r in found:
        timers = [x for x in promised.get(r.id, ()) if x["kind"] in outbox.TIMERS]
        if timers:
            yield Violation(
                "timer-of-ended-run",
                {"run_id": r.id},
                f"The execution {r.id} has ended ({r.state}), but {len(timers)} timers"
                " of its tasks are still set.",
            )
    left = [r for r in found if r.open > 0]
    if not left:
        return
    moved = _moved(page, left)
    for r in left:
        if r.id not in moved:
            yield Violation(
                "open-task-of-ended-run",
                {"run_id": r.id},
                f"The execution {r.id} has ended ({r.state}), but {r.open} of its tasks"
                " are open and wait for nothing that could still come.",
            )
