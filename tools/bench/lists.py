"""What a page of a list costs: ``python tools/bench/lists.py``.

Fills an empty database (``--database URL``; the default makes one on the local
PostgreSQL and removes it, ``--kind`` says another database) with executions, two
tasks and two action executions each, and asks the WSGI application for pages of every
list, in the middle and at the ends: the median and the worst of ``--times`` requests,
and the statements of one. ``--only PART`` asks for those whose path has it.
``--explain`` shows the plans of what took longer than ``--goal`` milliseconds. A
benchmark, never a test.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any

from sqlalchemy import create_engine, event, select, text
from webob import Request

from mistral.actions.registry import Registry
from mistral.api.app import Services, make_app
from mistral.clock import SystemClock
from mistral.config import Settings
from mistral.context import Context
from mistral.db import bulk, models
from mistral.db.database import Database

SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
    "mariadb": "mariadb+pymysql://root@127.0.0.1:3306/",
}
START = datetime(2026, 1, 1)
STATES = ("SUCCESS",) * 17 + ("ERROR",) * 2 + ("RUNNING",)
PROJECTS = ("big",) * 1799 + ("small",) * 200 + ("tiny",)
PAGE = 100


@contextmanager
def own_database(kind: str) -> Iterator[str]:
    """An empty database that is removed at the end."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as directory:
            yield f"sqlite:///{directory}/lists.db"
        return
    name = f"mistral_bench_{os.getpid()}"
    engine = create_engine(SERVERS[kind], isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        url = engine.url.set(database=name)
        yield url.render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            force = " WITH (FORCE)" if kind == "postgresql" else ""
            connection.execute(text(f"DROP DATABASE {name}{force}"))
        engine.dispose()


def rows_of(number: int, chance: random.Random) -> tuple[dict[str, Any], list[Any]]:
    """One execution, and its tasks with their actions."""
    at = START + timedelta(seconds=number)
    project = chance.choice(PROJECTS)
    name = f"workflow_{number % 50}"
    shared = {"project_id": project, "workflow_name": name, "internals": {"v": 1}}
    run = {
        **shared,
        "id": str(uuid.UUID(int=chance.getrandbits(128))),
        "workflow_id": str(uuid.UUID(int=number % 50)),
        "spec_id": "0" * 64,
        "state": chance.choice(STATES),
        "tags": ["nightly"] if number % 10 == 0 else [],
        "input": {"host": f"host-{number}", "payload": "x" * 400},
        "params": {"namespace": "", "env": {}},
        "context": {"value": "y" * 400},
        "output": {"result": "z" * 400},
        "created_at": at,
        "updated_at": at + timedelta(seconds=5),
    }
    below = []
    for step in range(2):
        task = {
            **shared,
            "id": str(uuid.UUID(int=chance.getrandbits(128))),
            "workflow_execution_id": run["id"],
            "workflow_id": run["workflow_id"],
            "seq": step,
            "name": f"step_{step}",
            "type": "ACTION",
            "state": run["state"],
            "tags": ["hourly"] if number % 10 == 0 else [],
            "published": {"value": "p" * 200},
            "created_at": at,
            "updated_at": at + timedelta(seconds=5),
        }
        action = {
            **shared,
            "id": str(uuid.UUID(int=chance.getrandbits(128))),
            "task_execution_id": task["id"],
            "workflow_execution_id": run["id"],
            "name": "std.http",
            "state": run["state"],
            "accepted": True,
            "input": {"url": "http://example.org", "body": "b" * 200},
            "output": {"result": "r" * 400},
            "created_at": at,
            "updated_at": at + timedelta(seconds=5),
        }
        below.append((task, action))
    return run, below


def fill(database: Database, executions: int) -> float:
    """Seconds that it took."""
    begun = time.perf_counter()
    chance = random.Random(7)
    for start in range(0, executions, 2000):
        made = [rows_of(n, chance) for n in range(start, min(start + 2000, executions))]
        pairs = [pair for _, below in made for pair in below]
        with database.begin() as connection:
            runs = [run for run, _ in made]
            bulk.insert_many(connection, models.workflow_executions, runs)
            tasks = [task for task, _ in pairs]
            bulk.insert_many(connection, models.task_executions, tasks)
            actions = [action for _, action in pairs]
            bulk.insert_many(connection, models.action_executions, actions)
    with database.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        verbs = {"postgresql": "ANALYZE", "mariadb": "ANALYZE TABLE"}
        # nobody has SQLite make statistics
        verb = verbs.get(connection.dialect.name)
        for name in ("workflow_executions", "task_executions", "action_executions"):
            if verb is not None:
                connection.execute(text(f"{verb} {name}"))
    return time.perf_counter() - begun


class Api:
    """Requests in this process, as a project or as the administrator."""

    def __init__(self, database: Database) -> None:
        self.statements: list[tuple[str, Any]] = []
        event.listen(database.engine, "before_cursor_execute", self._note)
        settings = Settings()
        settings = replace(settings, api=replace(settings.api, auth_enable=False))
        services = Services(
            database=database,
            bus=None,
            registry=Registry(settings, entry_points=lambda group: ()),
            settings=settings,
            clock=SystemClock(),
            new_id=lambda: str(uuid.uuid4()),
        )
        self._app = make_app(services, identify=_who)

    def _note(
        self, connection: Any, cursor: Any, sql: str, values: Any, *_: Any
    ) -> None:
        self.statements.append((sql, values))

    def get(self, path: str, project: str) -> float:
        """Milliseconds.

        :raises SystemExit: it was no success.
        """
        self.statements.clear()
        request = Request.blank(f"/v2/{path}", headers={"X-Project": project})
        begun = time.perf_counter()
        answer = request.get_response(self._app)
        took = time.perf_counter() - begun
        if answer.status_int != 200:
            raise SystemExit(f"{path}: {answer.status} {answer.text[:300]}")
        return took * 1000


def _who(request: Any, request_id: str) -> Context:
    project = request.headers["X-Project"]
    return Context(project_id=project, is_admin=project == "admin")


def pages(database: Database) -> Iterator[tuple[str, str]]:
    """Paths below ``/v2/``, and who asks."""
    middles: dict[str, dict[str, str]] = {}
    tables = {
        "executions": models.workflow_executions,
        "tasks": models.task_executions,
        "action_executions": models.action_executions,
    }
    with database.read() as connection:
        for name, table in tables.items():
            for project in ("big", "small", "tiny"):
                ids = select(table.c.id).where(
                    table.c.project_id == project, table.c.created_at > START
                )
                all_ids = connection.execute(ids.order_by(table.c.created_at)).scalars()
                listed = list(all_ids)
                middles.setdefault(name, {})[project] = listed[len(listed) // 2]
            middles[name]["admin"] = middles[name]["big"]
    orders = {
        "oldest first": "",
        "newest first": "&sort_dirs=desc",
        "by name": "&sort_keys=name",
        "by state": "&sort_keys=state,created_at",
        "by change": "&sort_keys=updated_at&sort_dirs=desc",
    }
    filters = ("state=ERROR", "state=RUNNING&sort_dirs=desc",
               "workflow_name=workflow_7", "created_at=gt:2026-01-01 20:00:00",
               "tags=nightly", "fields=id,name", "include_output=true",
               # nothing is found
               "tags=absent", "tags=absent&sort_dirs=desc", "tags=in:absent,none",
               "tags=nightly,absent", "state=IDLE", "workflow_name=absent")  # fmt: skip
    for name in tables:
        for who in ("admin", "big", "small", "tiny"):
            for order in orders.values():
                yield f"{name}?limit={PAGE}{order}", who
                yield f"{name}?limit={PAGE}{order}&marker={middles[name][who]}", who
            for given in filters:
                if name == "tasks" and given.startswith("include_output"):
                    continue
                given = given.replace("id,name", "id,state")
                yield f"{name}?limit={PAGE}&{given}", who
        yield f"{name}?nulls=task_execution_id" if name == "executions" else name, "big"
    with database.read() as connection:
        task = (
            connection.execute(select(models.task_executions).limit(1)).mappings().one()
        )
    yield f"executions/{task['workflow_execution_id']}/tasks", "admin"
    yield f"tasks/{task['id']}/action_executions", "admin"
    yield f"tasks/{task['id']}/workflow_executions", "admin"
    yield f"executions?root_execution_id={task['workflow_execution_id']}", "admin"
    yield "workflows", "big"


def explain(database: Database, statements: list[tuple[str, Any]]) -> None:
    verbs = {"postgresql": "EXPLAIN (ANALYZE, BUFFERS)", "sqlite": "EXPLAIN QUERY PLAN"}
    verb = verbs.get(database.engine.dialect.name, "ANALYZE")
    with database.read() as connection:
        for sql, values in statements:
            for row in connection.exec_driver_sql(f"{verb} {sql}", values):
                print("      ", " ".join(map(str, row))[:160])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", help="URL of an empty database")
    parser.add_argument("--kind", choices=[*SERVERS, "sqlite"], default="postgresql")
    parser.add_argument("--only", default="", metavar="PART")
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--goal", type=float, default=100.0)
    parser.add_argument("--explain", action="store_true")
    given = parser.parse_args()
    if given.database:
        measure(given.database, given)
        return
    with own_database(given.kind) as url:
        measure(url, given)


def measure(url: str, given: argparse.Namespace) -> None:
    database = Database(url)
    database.create_or_upgrade()
    with database.read() as connection:
        server = connection.dialect.server_version_info
        empty = connection.execute(select(models.workflow_executions.c.id)).first()
    print(f"{platform.platform()}, {os.cpu_count()} processors")
    print(f"Python {platform.python_version()}, SQLAlchemy {version('SQLAlchemy')}")
    print(f"{database.engine.dialect.name} {'.'.join(map(str, server or ()))}")
    if empty is None:
        print(
            f"{given.executions} executions in {fill(database, given.executions):.0f} s"
        )
    api = Api(database)
    print(f"load {os.getloadavg()[0]:.1f}, {given.times} requests each\n")
    print(f"{'median':>8} {'worst':>8}  SQL  memory  who    page")
    slow = 0
    for path, who in pages(database):
        if given.only not in path:
            continue
        took = [api.get(path, who) for _ in range(given.times)]
        median = statistics.median(took)
        asked = [(sql, values) for sql, values in api.statements if "SELECT" in sql]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        mark = " <" if median > given.goal else ""
        shown = path if len(path) < 110 else path[:107] + "…"
        print(
            f"{median:6.1f}ms {max(took):6.1f}ms {len(asked):4d} {memory:4d}MiB"
            f"  {who:6} {shown}{mark}",
            flush=True,
        )
        if median > given.goal:
            slow += 1
            if given.explain:
                explain(database, asked)
    print(f"\nload {os.getloadavg()[0]:.1f}; {slow} above {given.goal:.0f} ms")
    database.dispose()


if __name__ == "__main__":
    main()
