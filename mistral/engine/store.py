"""What a turn decided, as rows: a constant number of statements.

Everything goes in with one transaction: the rows of runs, effects as outbox
rows, consumed rows out, answers of requests, one history row per event.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, select

from mistral.db import (
    bulk,
    direct,
    notice_lanes,
    outbox,
    removals,
    requests,
    rows,
    trusts,
)
from mistral.db import history as history_rows
from mistral.db.models import (
    action_executions,
    cron_firings,
    cron_triggers,
    documents,
    event_firings,
    join_arrivals,
    message_waits,
    poison,
    posted_messages,
    task_executions,
    workflow_executions,
)
from mistral.db.models import history as history_table
from mistral.db.models import outbox as outbox_table
from mistral.engine.core.run import Changes, Run, changes
from mistral.engine.intake import key_of
from mistral.errors import Bug
from mistral.messages import (
    CallAction,
    Effect,
    Event,
    Notify,
    Tell,
    encode,
)
from mistral.publisher_entries import shown

LEASE: Final = timedelta(seconds=10)
"""Time from the due date of a row to the moment when others may take it."""

OWN_TIMERS: Final = timedelta(hours=1)
"""Timers due later are not kept by who wrote them but found by sweeps."""

AT_ONCE: Final = 1_000
"""Rows, about, that one turn deletes; what is larger goes page by page."""

LARGE: Final = 1024
"""Characters of JSON from which history notes a size instead of the value."""


@dataclass(slots=True)
class Written:
    """All that one turn writes."""

    turn_id: str
    now: datetime
    owner: str
    runs: list[Run] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    handled: list[dict[str, Any]] = field(default_factory=list)
    poison: list[dict[str, Any]] = field(default_factory=list)
    refused_firings: list[dict[str, Any]] = field(default_factory=list)
    refused_events: dict[str, dict[str, Any]] = field(default_factory=dict)


def call_payload(call: CallAction, reply_to: str) -> dict[str, Any]:
    """A call as executors get it.

    :param reply_to: topic that its result goes to.
    """
    return {**encode(call), "reply_to": reply_to, "hand_in": True}


def effect_row(
    effect: Effect, row_id: str, written: Written, reply_to: str
) -> dict[str, Any]:
    """The outbox row of an effect, leased to the process that writes it.

    :param reply_to: topic that results of an offer go to.
    """
    now = written.now
    row: dict[str, Any] = {
        "id": row_id,
        "due_at": now,
        "target": None,
        "action_id": None,
        "lease_owner": written.owner,
        "attempts": 0,
        "created_at": now,
    }
    if isinstance(effect, Tell):
        row["kind"] = type(effect.event).__name__
        row["payload"] = encode(effect.event)
        row["run_id"] = key_of(effect.event)
        row["due_at"] = max(effect.due_at or now, now)
    elif isinstance(effect, CallAction):
        row["kind"] = outbox.OFFER
        row["payload"] = call_payload(effect, reply_to)
        row["run_id"] = effect.run_id or effect.action_id
        row["action_id"] = effect.action_id
        row["target"] = effect.target
    elif isinstance(effect, Notify):
        row["id"] = notice_lanes.row_id(effect)
        row["kind"] = outbox.NOTICE
        row["payload"] = encode(effect)
        row["run_id"] = effect.run_id
    else:
        raise Bug(f"Nobody delivers a {type(effect).__name__}")
    if row["due_at"] - now > OWN_TIMERS:
        row["lease_owner"] = row["lease_until"] = None
    else:
        row["lease_until"] = row["due_at"] + LEASE
    return row


def history_row(
    written: Written,
    key: str,
    seq: int,
    event: Event,
    transitions: list[Any],
    effects: Iterable[Effect],
) -> dict[str, Any]:
    """What was heard and decided, compact."""
    return {
        "run_id": key,
        "seq": seq,
        "at": written.now,
        "turn_id": written.turn_id,
        "kind": type(event).__name__,
        "body": {
            "event": {
                name: _brief(shown(value) if name == "params" else value)
                for name, value in encode(event).items()
            },
            "transitions": transitions,
            "effects": [_brief_effect(effect) for effect in effects],
        },
    }


def _brief(value: Any) -> Any:
    """Without what is large; without secrets, which are sealed but live as long as
    the history does."""
    if isinstance(value, Mapping) and "sealed" in value:
        value = {**value, "sealed": "***"}
    if isinstance(value, str | Mapping | list | tuple):
        size = len(json.dumps(value))
        if size > LARGE:
            return {"$omitted": size}
    return value


def _brief_effect(effect: Effect) -> dict[str, Any]:
    if isinstance(effect, Tell):
        event = effect.event
        found = {"kind": type(event).__name__, "run_id": event.run_id}
        if effect.due_at is not None:
            found["due_at"] = effect.due_at.isoformat()
        key = getattr(event, "key", "")
        return {**found, "key": key} if key else found
    found = {"kind": type(effect).__name__}
    for name in ("action_id", "attempt", "name", "event"):
        if hasattr(effect, name):
            found[name] = getattr(effect, name)
    return found


def save(connection: Connection, written: Written) -> None:
    """Write it all; the caller commits."""
    deleted = [run for run in written.runs if run.deleted]
    if not deleted:
        direct.begin_stream(connection)
    gone = _going(connection, deleted)
    alive = [run for run in written.runs if not run.deleted]
    _save_rows(connection, written, [changes(run, written.now) for run in alive])
    history_rows.append(
        connection, [row for row in written.history if row["run_id"] not in gone]
    )
    if gone:
        _remove(connection, gone)
    buried = [run.id for run in alive if run.removing]
    removals.add(connection, buried, written.now)
    untimed = {run.id for run in alive if run.untimed}
    if untimed:
        # They ended: no timer means anything to them any more (§ 2.6).
        outbox.remove_timers(connection, untimed)
    # The news of a child that starts in this very turn stays, as it does in _remove.
    kept = [
        row
        for row in written.outbox
        if (row["run_id"] not in gone or row["kind"] in removals.NEWS)
        and row["run_id"] not in buried
        and not (row["kind"] in outbox.TIMERS and row["run_id"] in untimed)
    ]
    outbox.add(connection, kept)
    written.outbox = kept
    if written.consumed:
        outbox.remove(connection, written.consumed)
    if written.handled:
        requests.keep(connection, written.handled)
    rows.insert_many(connection, poison, written.poison)
    rows.update_many(connection, cron_firings, written.refused_firings)
    # In order: several of an event may be refused to several engines at once.
    refused = sorted(written.refused_events.items())
    rows.update_many(connection, event_firings, [row for _, row in refused])


def _save_rows(connection: Connection, written: Written, found: list[Changes]) -> None:
    now = written.now
    rows.insert_many(
        connection,
        workflow_executions,
        [_stamped(c.new_header, now) for c in found if c.new_header is not None],
    )
    rows.update_many(
        connection, workflow_executions, [c.header for c in found if c.header]
    )
    for table, new, old in (
        (task_executions, "new_tasks", "tasks"),
        (action_executions, "new_actions", "actions"),
    ):
        rows.insert_many(
            connection,
            table,
            [_stamped(row, now) for c in found for row in getattr(c, new)],
        )
        rows.update_many(
            connection, table, [row for c in found for row in getattr(c, old)]
        )
    rows.insert_missing(
        connection, join_arrivals, [row for c in found for row in c.arrivals]
    )
    rows.insert_missing(
        connection, documents, [row for c in found for row in c.documents]
    )
    _save_mail(connection, found)
    rows.update_many(connection, cron_triggers, [c.trigger for c in found if c.trigger])
    spent = dict(c.spent_trigger for c in found if c.spent_trigger is not None)
    if spent:
        rows.delete_ids(connection, cron_triggers, spent)
        trusts.outlive(connection, spent)
        outbox.disarm(connection, list(spent))
    _save_firings(connection, found)
    withdrawn = [id for c in found for id in c.withdrawn]
    if withdrawn:
        rows.delete_ids(connection, action_executions, withdrawn)
    settled = {id for c in found for id in c.settled_offers}
    if settled:
        # Those of before this turn; what it offers anew is added afterwards.
        outbox.remove_offers(connection, settled)


def _save_mail(connection: Connection, found: list[Changes]) -> None:
    """Messages, and who waits for one; actions are stored before."""
    rows.insert_many(
        connection, posted_messages, [row for c in found for row in c.new_messages]
    )
    rows.update_many(
        connection, posted_messages, [row for c in found for row in c.taken_messages]
    )
    rows.insert_many(
        connection, message_waits, [row for c in found for row in c.new_waits]
    )
    ended = [id for c in found for id in c.ended_waits]
    if ended:
        rows.delete_ids(connection, message_waits, ended)
    table = posted_messages.c
    for run_id, last in (c.forgotten_messages for c in found if c.forgotten_messages):
        connection.execute(
            delete(posted_messages)
            .where(table.workflow_execution_id == run_id)
            .where(table.taken_by.is_not(None), table.seq <= last)
        )


def _save_firings(connection: Connection, found: list[Changes]) -> None:
    rows.insert_missing(
        connection, cron_firings, [row for c in found for row in c.firings]
    )
    rows.update_many(
        connection, cron_firings, [row for c in found for row in c.noted_firings]
    )
    dropped = [id for c in found for id in c.dropped_firings]
    if dropped:
        rows.delete_ids(connection, cron_firings, dropped)
    not_begun = [id for c in found for id in c.withdrawn_starts]
    if not_begun:
        outbox.remove_starts(connection, not_begun)


def _stamped(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    return row if row["created_at"] is not None else {**row, "created_at": now}


def _going(connection: Connection, deleted: Sequence[Run]) -> set[str]:
    """Those of the runs that go now, with all sub-workflows below them at any depth
    (ENG-199). The others, of which too much would go in one transaction, are buried.

    Deleting a child waits for whoever holds its header. Nobody who holds one
    waits for a header above it, so that cannot be a deadlock.
    """
    root_of: dict[str, str] = {}
    room = AT_ONCE
    for run in sorted(deleted, key=_size_of):
        if _size_of(run) > room:
            run.bury()
        else:
            room -= _size_of(run)
            root_of[run.id] = run.id
    level = set(root_of)
    while level:
        found = _below(connection, level)
        parents = level if len(found) > AT_ONCE else {row["parent_id"] for row in found}
        roots = {root_of[id] for id in parents}
        room -= sum(_size_of(Run(**row)) for row in found)
        if room < 0:
            # What is below the others was counted and fits.
            _bury(deleted, roots)
            root_of = {id: root for id, root in root_of.items() if root not in roots}
            break
        level = {row["id"] for row in found} - root_of.keys()
        root_of.update((row["id"], root_of[row["parent_id"]]) for row in found)
    return set(root_of)


def _bury(deleted: Iterable[Run], ids: Collection[str]) -> None:
    for run in deleted:
        if run.id in ids:
            run.bury()


def _size_of(run: Run) -> int:
    """About how many rows there are of it: itself, its tasks, its actions, its past."""
    return 1 + run.made + run.history_seq


def _below(connection: Connection, level: Collection[str]) -> Sequence[Any]:
    """Sub-workflows; not more than would be too many."""
    child, task = workflow_executions.c, task_executions.c
    below = (
        select(child.id, child.internals, task.workflow_execution_id.label("parent_id"))
        .join(task_executions, task.id == child.task_execution_id)
        .where(bulk.among(connection, task.workflow_execution_id))
        .limit(AT_ONCE + 1)
    )
    return connection.execute(below, {"among": sorted(level)}).mappings().all()


def _remove(connection: Connection, keys: set[str]) -> None:
    """The foreign keys remove what belongs to a header; history and outbox have none.

    The headers go first: whoever is in the middle of a turn on one of them has
    committed by then, and nothing is added to what follows. Only the news of a child
    can be, by its own start; so it stays, and its parent's absence ends that child.
    """
    rows.delete_ids(connection, workflow_executions, keys)
    rows.delete_ids(connection, action_executions, keys)
    bulk.delete_by(connection, history_table, "run_id", keys)
    bulk.delete_by(
        connection,
        outbox_table,
        "run_id",
        keys,
        index="ix_outbox_run_id",
        kinds=removals.NEWS,
        others=True,
    )
