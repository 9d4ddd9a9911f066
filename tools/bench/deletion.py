"""What deleting a large execution costs, and others meanwhile:
``python tools/bench/deletion.py postgresql mariadb``.

Starts the service on each kind of database, fills in an execution with ``--tasks``
tasks (half of them in sub-workflows), an action execution and a row of the history
each, and deletes it over REST. Meanwhile a client starts executions of one task, one
after the other: from the request to the end, before and during the removal. The
transactions of the database are looked at every 20 ms. Markdown goes to the standard
output. A benchmark, never a test.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import ending
import requests
from sqlalchemy import Connection, create_engine, func, select, text
from stack import Servers, Target

from mistral.db import bulk, models
from mistral.db.database import Database

SMALL = "version: '2.0'\nsmall: {tasks: {t: {action: std.noop}}}\n"
PERIOD = 0.02
BATCH = 2_000
TABLES = (
    models.workflow_executions,
    models.task_executions,
    models.action_executions,
    models.history,
    models.removals,
)


class Beside:
    """A client that is there all the time.

    :ivar took: seconds from each request to the end of its execution.
    """

    def __init__(self, target: Target) -> None:
        self._url = f"{target.url}/executions?wait=30"
        self._session = requests.Session()
        self.took: list[float] = []

    def until(self, over: Callable[[], bool]) -> list[float]:
        self.took = []
        while not over():
            begun = time.perf_counter()
            answer = self._session.post(self._url, json={"workflow_name": "small"})
            if answer.status_code != 201 or answer.json()["state"] != "SUCCESS":
                raise SystemExit(f"{answer.status_code}: {answer.text[:300]}")
            self.took.append(time.perf_counter() - begun)
        return self.took


class Watch(threading.Thread):
    """Looks at transactions until it is told to stop.

    :ivar longest: seconds.
    """

    def __init__(self, database: Database, administrator: str) -> None:
        super().__init__(daemon=True)
        self._name = database.engine.url.database
        is_mariadb = database.engine.dialect.name == "mariadb"
        self._engine = create_engine(administrator) if is_mariadb else database.engine
        self._told = threading.Event()
        self._seen: dict[str, float] = {}
        self.longest = 0.0

    def run(self) -> None:
        with self._engine.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            look = {"postgresql": _on_postgresql}.get(
                connection.dialect.name, self._on_mariadb
            )
            while not self._told.wait(PERIOD):
                self.longest = max([self.longest, *look(connection)])

    def _on_mariadb(self, connection: Connection) -> Iterator[float]:
        """It knows of whole seconds alone: the first look at each is its beginning.
        Those that only read have ids (from 2**48 on) that are used again."""
        now = time.perf_counter()
        query = (
            "SELECT trx_id FROM information_schema.innodb_trx"
            " JOIN information_schema.processlist ON id = trx_mysql_thread_id"
            " WHERE db = :name AND trx_id < 281474976710656"
        )
        ids = set(connection.scalars(text(query), {"name": self._name}))
        self._seen = {id: self._seen.get(id, now - PERIOD) for id in ids if id}
        yield from (now - begun for begun in self._seen.values())

    def finish(self) -> float:
        self._told.set()
        self.join()
        return self.longest


def _on_postgresql(connection: Connection) -> Iterator[float]:
    query = (
        "SELECT extract(epoch FROM clock_timestamp() - xact_start)"
        " FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
        " AND xact_start IS NOT NULL"
    )
    yield from map(float, connection.scalars(text(query)))


def fill(database: Database, model_id: str, tasks: int) -> str:
    """Store a finished tree like the execution with this id; answers its id."""
    with database.read() as connection:
        table = models.workflow_executions
        query = select(table).where(table.c.id == model_id)
        model = dict(connection.execute(query).mappings().one())
    root = str(uuid.uuid4())
    children = 50
    _run(database, model, root, tasks // 2, None, root)
    [parent] = _ids(database, root, 1)
    for _ in range(children):
        _run(database, model, str(uuid.uuid4()), tasks // 2 // children, parent, root)
    return root


def _ids(database: Database, run_id: str, most: int) -> list[str]:
    table = models.task_executions.c
    query = select(table.id).where(table.workflow_execution_id == run_id).limit(most)
    with database.read() as connection:
        return list(connection.scalars(query))


def _run(
    database: Database,
    model: dict[str, Any],
    run_id: str,
    tasks: int,
    parent: str | None,
    root: str,
) -> None:
    header = {
        **model,
        "id": run_id,
        "task_execution_id": parent,
        "root_execution_id": None if parent is None else root,
        "internals": {
            **model["internals"],
            "made": 2 * tasks,
            "task_seq": tasks,
            "history_seq": tasks,
        },
    }
    with database.begin() as connection:
        bulk.insert_many(connection, models.workflow_executions, [header])
    for start in range(0, tasks, BATCH):
        numbers = range(start, min(start + BATCH, tasks))
        made = [_rows(model, run_id, number) for number in numbers]
        with database.begin() as connection:
            for place, table in enumerate(TABLES[1:4]):
                bulk.insert_many(connection, table, [each[place] for each in made])


def _rows(model: dict[str, Any], run_id: str, number: int) -> tuple[Any, Any, Any]:
    shared = {
        "project_id": model["project_id"],
        "workflow_name": model["workflow_name"],
        "workflow_execution_id": run_id,
        "state": "SUCCESS",
        "internals": {},
        "created_at": model["created_at"],
        "updated_at": model["updated_at"],
    }
    task = {
        **shared,
        "id": str(uuid.uuid4()),
        "seq": number + 1,
        "name": "t",
        "type": "ACTION",
        "processed": True,
        "published": {"value": "p" * 200},
    }
    action = {
        **shared,
        "id": str(uuid.uuid4()),
        "task_execution_id": task["id"],
        "name": "std.http",
        "accepted": True,
        "input": {"body": "b" * 200},
        "output": {"result": "r" * 400},
    }
    past = {
        "run_id": run_id,
        "seq": number + 1,
        "at": model["created_at"],
        "turn_id": str(uuid.uuid4()),
        "kind": "ActionFinished",
        "body": {"event": {"action_id": action["id"]}, "transitions": []},
    }
    return task, action, past


def rows_left(database: Database, root: str) -> int:
    """Of the tree: headers."""
    table = models.workflow_executions.c
    query = select(func.count()).where(
        (table.id == root) | (table.root_execution_id == root)
    )
    with database.read() as connection:
        return int(connection.scalar(query) or 0)


def measured(target: Target, administrator: str, tasks: int, idle: float) -> list[str]:
    assert target.store is not None
    database = Database(target.store.url)
    answer = requests.post(f"{target.url}/workflows", data=SMALL.encode())
    answer.raise_for_status()
    beside = Beside(target)
    beside.until(lambda: len(beside.took) == 20)
    model = requests.get(f"{target.url}/executions?limit=1").json()["executions"][0]
    root = fill(database, model["id"], tasks)
    until = time.perf_counter() + idle
    calm = Watch(database, administrator)
    calm.start()
    before = list(beside.until(lambda: time.perf_counter() > until))
    longest_before = calm.finish()
    watch = Watch(database, administrator)
    watch.start()
    begun = time.perf_counter()
    gone = requests.delete(f"{target.url}/executions/{root}")
    answered = time.perf_counter() - begun
    if gone.status_code != 204:
        raise SystemExit(f"{gone.status_code}: {gone.text[:300]}")
    seen = requests.get(f"{target.url}/executions/{root}").status_code
    if seen != 404:
        raise SystemExit(f"It is still seen: {seen}")
    finished = threading.Event()

    def follow() -> None:
        while rows_left(database, root):
            time.sleep(0.05)
        finished.set()

    threading.Thread(target=follow, daemon=True).start()
    during = beside.until(finished.is_set)
    took = time.perf_counter() - begun
    longest = watch.finish()
    database.dispose()
    return [
        target.name,
        f"{tasks:,}",
        f"{answered * 1000:.0f} ms",
        f"{took:.1f} s",
        f"{longest_before * 1000:.0f} / {longest * 1000:.0f} ms",
        _quantiles(before),
        _quantiles(during),
    ]


def _quantiles(took: list[float]) -> str:
    if len(took) < 2:
        return f"{len(took)} only"
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    shown = (cuts[49], cuts[94], max(took))
    return " / ".join(f"{each * 1000:.0f}" for each in shown) + f" ms ({len(took)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topologies", nargs="+", help="postgresql, mariadb, embedded")
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--idle", type=float, default=15.0, help="seconds before")
    parser.add_argument("--postgresql", help="URL of an administrator")
    parser.add_argument("--mariadb", default="mariadb+pymysql://root@127.0.0.1:3306/")
    given = parser.parse_args()
    ending.unwind_when_told()
    heads = (
        "database", "tasks", "DELETE answered", "all gone after",
        "longest transaction before / during", "one task p50 / p95 / max before",
        "during",
    )  # fmt: skip
    print(f"load average {os.getloadavg()[0]:.1f}\n")
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|", flush=True)
    with ExitStack() as stack:
        servers = Servers(stack, given.postgresql, given.mariadb)
        for name in given.topologies:
            target = servers.start(name)
            shown = measured(target, given.mariadb, given.tasks, given.idle)
            print("| " + " | ".join(shown) + " |", flush=True)
    print(f"\nload average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
