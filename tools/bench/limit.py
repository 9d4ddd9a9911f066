"""How fast the same writes and messages are without any engine.

A bare loop in one process writes rows like those that a scenario has left, as many of
each table as the scenario wrote, updated and deleted, in as many transactions, into a
database of the same server with the same tables; and it sends, takes and acknowledges
as many messages. It decides nothing, reads nothing and answers nobody: no engine that
keeps the same rows can be faster on this machine at this moment.
"""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import psycopg
from broker import Broker
from kombu import Connection, Consumer, Producer, Queue
from scenarios import Sample
from sqlalchemy import make_url
from sqlalchemy.dialects import postgresql
from stores import PostgreSql

from mistral.db.database import Database
from mistral.db.models import metadata

PARENTS_FIRST = (
    "workflow_executions",
    "task_executions",
    "action_executions",
    "documents",
    "join_arrivals",
    "history",
    "handled",
    "outbox",
)
UPDATED = ("workflow_executions", "task_executions", "action_executions")
SENT = {"events": [{"kind": "CallAction", "payload": "x" * 500}]}
"""What a message holds, about as much as an offer."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What a scenario did: rows by table, transactions, messages."""

    inserted: dict[str, int]
    updated: dict[str, int]
    deleted: int
    commits: int
    messages: int


@dataclass(frozen=True)
class Limit:
    """Seconds of the bare loop, and of processor time, its own and the database's."""

    seconds: float
    cpu: float


def work_of(sample: Sample, messages_per_unit: float) -> Work:
    inserted: dict[str, int] = {}
    updated: dict[str, int] = {}
    for table, after in sample.after.rows.items():
        before = sample.before.rows.get(table, (0, 0, 0))
        if table in PARENTS_FIRST:
            inserted[table] = after[0] - before[0]
        if table in UPDATED:
            updated[table] = after[1] - before[1]
    gone = sample.after.rows.get("outbox", (0, 0, 0))[2]
    commits = (sample.after.commits or 0) - (sample.before.commits or 0)
    return Work(
        inserted,
        updated,
        gone - sample.before.rows.get("outbox", (0, 0, 0))[2],
        max(1, commits),
        round(messages_per_unit * sample.units),
    )


def measure(source: PostgreSql, store: PostgreSql, broker: Broker, work: Work) -> Limit:
    """:param source: the database of the service, whose newest rows are copied.
    :param store: an empty one of the same server.
    """
    database = Database(store.url)
    database.create_or_upgrade()
    database.dispose()
    url = make_url(store.url).set(drivername="postgresql")
    with psycopg.connect(
        make_url(source.url)
        .set(drivername="postgresql")
        .render_as_string(hide_password=False)
    ) as known:
        rows = {
            table: copies(known, table, work.inserted.get(table, 0))
            for table in PARENTS_FIRST
        }
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        _fix_references(rows)
        before, begun = store.cpu() + time.process_time(), time.perf_counter()
        carrier = threading.Thread(target=carry, args=(broker, work.messages))
        carrier.start()
        write(connection, rows, work)
        carrier.join()
        seconds = time.perf_counter() - begun
        return Limit(seconds, store.cpu() + time.process_time() - before)


def copies(connection: psycopg.Connection[Any], table: str, count: int) -> list[Row]:
    """So many rows like the newest ones, with keys of their own."""
    if not count:
        return []
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        order = "ctid DESC"
        cursor.execute(f"SELECT * FROM {table} ORDER BY {order} LIMIT {count}")
        found = cursor.fetchall()
    if table == "outbox" and not found:
        found = [OFFER]
    made = []
    for number, row in zip(range(count), itertools.cycle(found), strict=False):
        row = dict(row)
        for key in ("id", "request_id", "action_id"):
            if row.get(key):
                row[key] = str(uuid.uuid4())
        if table == "history":
            row["seq"] = number
        made.append(row)
    return made


OFFER: Row = {
    "id": "x", "due_at": "2026-01-01", "kind": "CallAction", "target": None,
    "payload": "x" * 700, "run_id": "x" * 36, "action_id": "x", "lease_owner": "x" * 36,
    "lease_until": "2026-01-01", "attempts": 0, "created_at": "2026-01-01",
}  # fmt: skip


def _fix_references(rows: dict[str, list[Row]]) -> None:
    """Children point to the parents of the same place in their table."""
    runs, tasks = rows["workflow_executions"], rows["task_executions"]
    actions = rows["action_executions"]
    for run in runs:
        run["task_execution_id"] = run["root_execution_id"] = None
    for number, task in enumerate(tasks):
        parent = _parent(runs, number, len(tasks))
        task["workflow_execution_id"] = parent["id"]
        task["seq"] = number
        task["unique_key"] = None
    for number, action in enumerate(actions):
        task = _parent(tasks, number, len(actions))
        action["task_execution_id"] = task["id"]
        action["workflow_execution_id"] = task["workflow_execution_id"]
    for number, row in enumerate(rows["documents"]):
        parent = _parent(runs, number, len(rows["documents"]))
        row["workflow_execution_id"] = parent["id"]
    for number, row in enumerate(rows["join_arrivals"]):
        row["join_id"] = _parent(tasks, number, len(rows["join_arrivals"]))["id"]
        row["inbound"] = f"b{number}"
    for number, row in enumerate(rows["history"]):
        row["run_id"] = _parent(runs, number, len(rows["history"]))["id"]


def _parent(parents: Sequence[Row], number: int, children: int) -> Row:
    return parents[number * len(parents) // children]


def write(
    connection: psycopg.Connection[Any], rows: dict[str, list[Row]], work: Work
) -> None:
    """All of it, evenly in ``work.commits`` transactions."""
    turns = work.commits
    for turn in range(turns):
        with connection.pipeline():
            for table in PARENTS_FIRST:
                # Parents are a step ahead, so that no child comes before them.
                ahead = {"workflow_executions": 2, "task_executions": 1}.get(table, 0)
                part = _part(rows[table], turn, turns, ahead)
                _insert(connection, table, part)
            for table in UPDATED:
                count = work.updated.get(table, 0)
                written = rows[table][: max(1, len(rows[table]) * (turn + 1) // turns)]
                share = count * (turn + 1) // turns - count * turn // turns
                _update(connection, table, list(_cycled(written, share)))
            gone = _part(rows["outbox"][: work.deleted], turn, turns, 0)
            if gone:
                connection.execute(
                    "DELETE FROM outbox WHERE id = ANY(%s)",
                    ([row["id"] for row in gone],),
                )
            connection.commit()


def _cycled(rows: Sequence[Row], count: int) -> Iterator[Row]:
    """Distinct rows as long as there are any: one statement updates a row once."""
    return itertools.islice(reversed(rows), min(count, len(rows)))


def _part(rows: list[Row], turn: int, turns: int, ahead: int) -> list[Row]:
    count = len(rows)
    start = 0 if turn == 0 else min(count, -(-count * turn // turns) + ahead)
    return rows[start : min(count, -(-count * (turn + 1) // turns) + ahead)]


def _insert(
    connection: psycopg.Connection[Any], table: str, rows: Sequence[Row]
) -> None:
    if not rows:
        return
    names = list(rows[0])
    arrays = ", ".join(f"%s::{_kind(table, name)}[]" for name in names)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT * FROM unnest({arrays})",
        [[row[name] for row in rows] for name in names],
    )


@cache
def _kind(table: str, name: str) -> str:
    return metadata.tables[table].c[name].type.compile(dialect=postgresql.dialect())


def _update(
    connection: psycopg.Connection[Any], table: str, rows: Sequence[Row]
) -> None:
    if rows:
        connection.execute(
            f"UPDATE {table} SET internals = g.internals, updated_at = g.at"
            " FROM unnest(%s::text[], %s::text[], %s::timestamp[])"
            f" g(id, internals, at) WHERE {table}.id = g.id",
            [
                [row["id"] for row in rows],
                [row["internals"] for row in rows],
                [row["created_at"] for row in rows],
            ],
        )


def carry(broker: Broker, count: int) -> None:
    """Send messages, each confirmed, and take and acknowledge each."""
    if not count:
        return
    queue = Queue("bench-limit", durable=False, auto_delete=True)
    with (
        Connection(broker.amqp_url, transport_options={"confirm_publish": True}) as out,
        Connection(broker.amqp_url) as back,
    ):
        taken: list[None] = []

        def take(_body: Any, message: Any) -> None:
            message.ack()
            taken.append(None)

        with Consumer(back.default_channel, [queue], callbacks=[take]):
            producer = Producer(out.default_channel)
            for _ in range(count):
                producer.publish(SENT, routing_key=queue.name)
            while len(taken) < count:
                back.drain_events(timeout=30)
