"""What must hold of promises: somebody keeps each, and it concerns something."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, select

from mistral.db import maintenance, outbox
from mistral.db.models import (
    action_executions,
    cron_triggers,
    event_triggers,
    executors,
    message_waits,
    poison,
    trusts,
    workflow_executions,
)
from mistral.db.models import maintenance as maintenance_table
from mistral.db.models import outbox as outbox_table
from mistral.engine.doctor.look import GRACE, Look, Page, Row, Violation
from mistral.engine.store import LEASE, OWN_TIMERS
from mistral.messages import CronDue, MoreItems, Notify, State

row_of, action, trigger = outbox_table.c, action_executions.c, cron_triggers.c

LONGEST_LEASE = max(OWN_TIMERS + LEASE, maintenance.LEASE) + GRACE

SILENT = timedelta(minutes=10)
"""Any engine that looks for lost executors has found one by then."""

OWN = (outbox.OFFER, outbox.NOTICE, *outbox.TIMERS, MoreItems.__name__)
"""Rows that go with their header; the others may outlive it until they are due:
news of and to executions that were deleted meanwhile come to nothing."""


def actions(look: Look) -> Iterator[Violation]:
    """Each action that is not over was offered, or an executor answers for it, or
    messages find it."""
    open_ones = action.state.in_((State.RUNNING, State.PAUSED))
    for page in look.pages(action_executions, "id", open_ones):
        found = page.rows(select(action_executions), action.id)
        offers = {
            (row["action_id"], row["payload"].get("attempt", 1))
            for row in page.rows(select(outbox_table), row_of.action_id)
            if row["kind"] == outbox.OFFER
        }
        query = select(executors.c.id, executors.c.last_seen)
        seen = {
            row["id"]: row["last_seen"]
            for row in page.among(
                query, executors.c.id, [row["executor_id"] for row in found]
            )
        }
        awaiting = [row["id"] for row in found if row["internals"].get("awaits")]
        waits = page.known(message_waits.c.id, awaiting)
        for row in found:
            ids = {"action_id": row["id"]}
            if row["workflow_execution_id"]:
                ids["run_id"] = row["workflow_execution_id"]
            about = f"The action {row['name']} ({row['id']})"
            if row["internals"].get("awaits"):
                if row["id"] not in waits:
                    yield Violation(
                        "action-not-awaited",
                        ids,
                        f"{about} waits for a message, and no message would find it.",
                    )
                continue
            if row["started_by"] is None:
                # One that is held may be answered from outside before it is taken.
                held = row["state"] == State.PAUSED
                if not held and (row["id"], row["attempt"]) not in offers:
                    yield Violation(
                        "action-not-offered",
                        ids,
                        f"{about} is RUNNING, but no executor has taken it and none is"
                        " asked to.",
                    )
                continue
            if row["executor_id"] is None and not row["is_sync"]:
                continue
            ids["executor_id"] = row["executor_id"] or ""
            if row["executor_id"] not in seen:
                yield Violation(
                    "action-without-executor",
                    ids,
                    f"{about} runs on the executor {row['executor_id']}, which is not"
                    " known any more: nobody will notice that it is lost.",
                )
            elif seen[row["executor_id"]] < page.now - SILENT:
                yield Violation(
                    "action-of-silent-executor",
                    ids,
                    f"{about} runs on the executor {row['executor_id']}, whose last"
                    f" sign was at {seen[row['executor_id']]}: no engine looks for lost"
                    " executors.",
                )


def promises(look: Look) -> Iterator[Violation]:
    for page in look.pages(outbox_table):
        found = page.rows(select(outbox_table), row_of.id)
        yield from _headers(page, found)
        yield from _leases(page, found)
        yield from _offers(page, [row for row in found if row["kind"] == outbox.OFFER])
    for page in look.once():
        yield from _twice(page)


def _headers(page: Page, found: list[Row]) -> Iterator[Violation]:
    ids = {row["run_id"] for row in found}
    known = page.known(workflow_executions.c.id, ids)
    alone = page.known(action.id, ids - known)
    triggers = page.known(trigger.id, ids - known - alone)
    for row in found:
        if row["kind"] in OWN and row["run_id"] not in known | alone:
            what = "execution"
        elif row["kind"] == CronDue.__name__ and row["run_id"] not in triggers:
            what = "cron trigger"
        else:
            continue
        yield Violation(
            "promise-without-owner",
            {"outbox_id": row["id"], "run_id": row["run_id"]},
            f"The row {row['id']} ({row['kind']}) of the outbox belongs to the {what}"
            f" {row['run_id']}, which is gone.",
        )


def _leases(page: Page, found: list[Row]) -> Iterator[Violation]:
    late, far = page.now - GRACE, page.now + LONGEST_LEASE
    for row in found:
        until = row["lease_until"]
        ids = {"outbox_id": row["id"], "run_id": row["run_id"]}
        about = f"The row {row['id']} ({row['kind']} of {row['run_id']}) of the outbox"
        if until is not None and until > far:
            yield Violation(
                "lease-too-long",
                ids,
                f"{about} is leased to {row['lease_owner']} until {until}, longer than"
                " any engine leases: nobody else will take it before.",
            )
        elif row["due_at"] < late and (until is None or until < late):
            yield Violation(
                "promise-overdue",
                ids,
                f"{about} is due since {row['due_at']} and its lease ended at {until}:"
                " no engine takes it.",
            )


def _offers(page: Page, found: list[Row]) -> Iterator[Violation]:
    query = select(action.id, action.state, action.attempt, action.started_by)
    rows = page.among(query, action.id, [row["action_id"] for row in found])
    there = {row["id"]: row for row in rows}
    for row in found:
        mine = there.get(row["action_id"])
        if mine is None:
            why = "is gone"
        elif mine["state"] not in (State.RUNNING, State.PAUSED):
            why = f"is over ({mine['state']})"
        elif mine["started_by"] is not None:
            why = f"was taken by an executor [attempt={mine['attempt']}]"
        else:
            continue
        yield Violation(
            "offer-void",
            {"outbox_id": row["id"], "action_id": row["action_id"] or ""},
            f"The row {row['id']} of the outbox offers the action {row['action_id']},"
            f" which {why}.",
        )


def _twice(page: Page) -> Iterator[Violation]:
    for kind, key, what in (
        (outbox.OFFER, row_of.action_id, "action_id"),
        (CronDue.__name__, row_of.run_id, "trigger_id"),
        ("StartWorkflow", row_of.run_id, "run_id"),
    ):
        query = select(key.label("id"), func.count().label("found"))
        query = query.where(row_of.kind == kind).group_by(key)
        for row in page.connection.execute(query.having(func.count() > 1)).mappings():
            yield Violation(
                "promise-twice",
                {what: row["id"]},
                f"The outbox has {row['found']} rows {kind} for {row['id']}: what is"
                " to happen once is promised more often.",
            )


def triggers(look: Look) -> Iterator[Violation]:
    for page in look.pages(cron_triggers):
        query = select(trigger.id, trigger.name, trigger.next_execution_time)
        query = query.where(trigger.enabled, ~trigger.finished)
        due = {
            (row["run_id"], row["payload"]["planned"])
            for row in page.rows(select(outbox_table), row_of.run_id)
            if row["kind"] == CronDue.__name__
        }
        for row in page.rows(query, trigger.id):
            planned = row["next_execution_time"]
            if (row["id"], planned.isoformat()) not in due:
                yield Violation(
                    "trigger-without-timer",
                    {"trigger_id": row["id"]},
                    f"The cron trigger {row['name']} ({row['id']}) is to fire at"
                    f" {planned}, but no timer is set for that: it never fires.",
                )


def trusts_of_triggers(look: Look) -> Iterator[Violation]:
    for page in look.pages(trusts, "id", trusts.c.due_at.is_(None)):
        known = page.known(trigger.id, page.ids)
        known |= page.known(event_triggers.c.id, page.ids)
        for id in page.ids:
            if id not in known:
                yield Violation(
                    "trust-without-trigger",
                    {"trigger_id": id},
                    f"The service keeps a trust for the trigger {id}, which is gone,"
                    " and will not give it back.",
                )


def status_of_maintenance(look: Look) -> Iterator[Violation]:
    columns = maintenance_table.c
    for page in look.once():
        query = select(maintenance_table).where(columns.id == maintenance.ROW)
        row = page.connection.execute(query).mappings().first()
        if row is None:
            yield Violation(
                "maintenance-missing",
                {},
                "The row of the status of maintenance is gone: no engine can decide"
                " anything.",
            )
        elif row["lease_until"] and row["lease_until"] > page.now + LONGEST_LEASE:
            yield Violation(
                "lease-too-long",
                {"engine": row["lease_owner"] or ""},
                f"The engine {row['lease_owner']} is to follow maintenance until"
                f" {row['lease_until']}, longer than any engine leases: nobody else"
                " will do it before.",
            )


def poisonous(look: Look) -> Iterator[Violation]:
    for page in look.pages(poison):
        query = select(poison.c.id, poison.c.run_id, poison.c.kind, poison.c.at)
        for row in page.rows(query, poison.c.id):
            if row["kind"] == Notify.__name__:
                yield Violation(
                    "notification-not-taken",
                    {"poison_id": row["id"], "run_id": row["run_id"]},
                    f"A publisher never took a notification of {row['run_id']}, and"
                    f" since {row['at']} nobody tries any more; mistral-db-manage"
                    " notifications says why, and sends it again.",
                )
                continue
            yield Violation(
                "poison",
                {"poison_id": row["id"], "run_id": row["run_id"]},
                f"A {row['kind']} of {row['run_id']} could not be decided at"
                f" {row['at']} and was set aside; the table poison says why.",
            )
