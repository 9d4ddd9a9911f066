"""What must hold of tasks that are not over: their children are there, once each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import or_, select

from mistral.db import outbox
from mistral.db.models import (
    action_executions,
    documents,
    task_executions,
    workflow_executions,
)
from mistral.engine.core.data import REF, is_ref
from mistral.engine.core.run import Action, Run, Task
from mistral.engine.doctor.look import Look, Page, Row, Violation
from mistral.messages import (
    COMPLETED,
    ChildFinished,
    ChildReopened,
    MoreItems,
    State,
)

run, task, action = workflow_executions.c, task_executions.c, action_executions.c

AWAITING = (State.RUNNING, State.PAUSED)
NEWS = (ChildFinished.__name__, ChildReopened.__name__)


def tasks(look: Look) -> Iterator[Violation]:
    unfinished = or_(task.state.not_in(COMPLETED), task.processed.is_(False))
    for page in look.pages(task_executions, "id", unfinished):
        found = [Task(**row) for row in page.rows(select(task_executions), task.id)]
        query = select(run.id, run.state, run.internals)
        owners = {t.workflow_execution_id for t in found}
        headers = {row["id"]: Run(**row) for row in page.among(query, run.id, owners)}
        promised = page.promised(owners)
        alive = [
            t
            for t in found
            if t.workflow_execution_id in headers
            and not headers[t.workflow_execution_id].removing
        ]
        yield from _actions(page, [t for t in alive if _awaits(t, "ACTION")])
        yield from _children(
            page, [t for t in alive if _awaits(t, "WORKFLOW")], promised
        )
        yield from _still(alive, headers, promised)
        yield from _documents(page, alive)


def _awaits(each: Task, kind: str) -> bool:
    return each.type == kind and each.state in AWAITING


def _actions(page: Page, found: Sequence[Task]) -> Iterator[Violation]:
    """One lock guards a task and its actions: the counter is exact."""
    query = select(
        action.id,
        action.task_execution_id,
        action.state,
        action.item_index,
        action.internals,
    )
    rows = page.among(query, action.task_execution_id, [t.id for t in found])
    below: dict[str | None, list[Action]] = {}
    for row in rows:
        each = Action(**row)
        below.setdefault(each.task_execution_id, []).append(each)
    for t in found:
        mine = [a for a in below.get(t.id, ()) if a.epoch == t.tries]
        yield from _twice(t, Counter(a.item_index for a in mine), "actions")
        there = sum(not a.completed for a in mine)
        if there != t.open:
            yield _miscounted(t, there, "actions")


def _children(
    page: Page, found: Sequence[Task], promised: Mapping[str, list[Row]]
) -> Iterator[Violation]:
    """What a sub-workflow has told and its parent has not heard yet is between the
    two; without that the counter is exact."""
    query = select(run.id, run.task_execution_id, run.state, run.internals)
    rows = page.among(query, run.task_execution_id, [t.id for t in found])
    below: dict[str | None, list[Run]] = {}
    for row in rows:
        each = Run(**row)
        below.setdefault(each.task_execution_id, []).append(each)
    for t in found:
        mine = [
            r for r in below.get(t.id, ()) if (r.parent or {}).get("attempt") == t.tries
        ]
        indexes = Counter((r.parent or {})["index"] for r in mine)
        yield from _twice(t, indexes, "sub-workflows")
        there = sum(not r.completed for r in mine)
        heard = promised.get(t.workflow_execution_id, ())
        if there == t.open or any(
            row["kind"] in NEWS and row["payload"]["task_id"] == t.id for row in heard
        ):
            continue
        there += sum(task_id == t.id for _, task_id in page.asked_for())
        if there != t.open:
            yield _miscounted(t, there, "sub-workflows")


def _twice(t: Task, indexes: Counter[int], what: str) -> Iterator[Violation]:
    for index, times in sorted(indexes.items()):
        if times > 1:
            yield Violation(
                "child-twice",
                {"run_id": t.workflow_execution_id, "task_id": t.id},
                f"The task {t.name} ({t.id}) has {times} {what} for item {index} of one"
                " attempt: something was started twice.",
            )


def _miscounted(t: Task, there: int, what: str) -> Violation:
    return Violation(
        "task-counters",
        {"run_id": t.workflow_execution_id, "task_id": t.id},
        f"The task {t.name} ({t.id}) counts {t.open} open {what}, but there are"
        f" {there}: it ends too early or never.",
    )


def _still(
    found: Sequence[Task],
    headers: Mapping[str, Run],
    promised: Mapping[str, list[Row]],
) -> Iterator[Violation]:
    """Tasks of running executions that nothing will take further."""
    for t in found:
        header = headers[t.workflow_execution_id]
        if header.state != State.RUNNING:
            continue
        rows = promised.get(header.id, ())
        mine = [row for row in rows if row["payload"].get("task_id") == t.id]
        timers = [row for row in mine if row["kind"] in outbox.TIMERS]
        ids = {"run_id": header.id, "task_id": t.id}
        if t.completed:
            later = any(_is_continued(row) for row in rows)
            if not later and not header.behind:
                yield Violation(
                    "task-not-followed",
                    ids,
                    f"The task {t.name} ({t.id}) is over ({t.state}), but what follows"
                    " it was never decided.",
                )
        elif t.state == State.DELAYED or t.step == "launch":
            if not timers and not t.ready:
                yield Violation(
                    "task-without-timer",
                    ids,
                    f"The task {t.name} ({t.id}) waits for a timer ({t.state_info}),"
                    " and none is set.",
                )
        elif t.state == State.RUNNING and t.open <= 0:
            pages = [row for row in mine if row["kind"] == MoreItems.__name__]
            if not pages and not timers:
                yield Violation(
                    "task-stuck",
                    ids,
                    f"The task {t.name} ({t.id}) is RUNNING, and none of its actions"
                    " or sub-workflows is open or asked for.",
                )


def _is_continued(row: Row) -> bool:
    return row["kind"] in outbox.TIMERS and row["payload"].get("key") == "continue"


def _documents(page: Page, found: Sequence[Task]) -> Iterator[Violation]:
    """What tasks will read of their variables and items."""
    wanted = {
        (t.workflow_execution_id, id): t for t in found for id in _documents_of(t)
    }
    query = select(documents.c.workflow_execution_id, documents.c.id)
    there = {
        (row["workflow_execution_id"], row["id"])
        for row in page.among(
            query, documents.c.workflow_execution_id, [run_id for run_id, _ in wanted]
        )
    }
    for (run_id, id), t in sorted(wanted.items(), key=lambda pair: pair[0]):
        if (run_id, id) not in there:
            yield Violation(
                "document-missing",
                {"run_id": run_id, "task_id": t.id, "document_id": id},
                f"The task {t.name} ({t.id}) refers to the stored value {id}, which is"
                " not there: whatever reads it will fail.",
            )


def _documents_of(t: Task) -> Iterator[Any]:
    yield from (id for id, _ in t.layers or ())
    yield from (value[REF] for value in (t.in_context or {}).values() if is_ref(value))
    if t.items:
        yield t.items
