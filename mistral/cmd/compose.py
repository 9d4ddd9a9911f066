"""Where real things are put together: settings and roles to a group of services.

One process holds one database pool and one bus, whatever its roles are. With
a broker, several engine processes and the API's worker processes are children
that the group supervises (``cmd/children.py``).
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import waitress  # type: ignore[import-untyped]

from mistral.actions.registry import Registry
from mistral.api.app import make_app
from mistral.api.services import Services
from mistral.bus import Bus
from mistral.clock import Clock, SystemClock
from mistral.cmd.children import Child
from mistral.config import ExpirationSettings, Settings
from mistral.db.database import Database
from mistral.engine.core.run import Rules
from mistral.engine.expiration import Expiration
from mistral.engine.facts import Sources
from mistral.engine.server import EngineOptions, EngineServer
from mistral.errors import ServiceError
from mistral.executors.server import ExecutorServer, ExecutorSettings
from mistral.expressions.evaluate import (
    Evaluator,
    ExpressionSettings,
    load_functions,
)
from mistral.notifier.publishers import Publishers
from mistral.notifier.server import Courier, NotifierServer
from mistral.service import Group, Service

LOG = logging.getLogger(__name__)

API_THREADS: Final = 16

NOT_HERE_YET: Final = {
    "event-engine": "event triggers are not part of this release",
}


def new_id() -> str:
    return str(uuid4())


def is_one_process(settings: Settings) -> bool:
    """Whether everything has to live in this process (SQLite, memory)."""
    return settings.messaging.transport_url.startswith("memory")


def engine_processes(settings: Settings) -> int:
    """How many engines this server runs: one per two cores unless it is set."""
    if is_one_process(settings):
        return 1
    return settings.engine.workers or max(1, (os.cpu_count() or 1) // 2)


class DatabaseService(Service):
    """The pool of connections; refuses a schema of another version.

    :param own: an embedded database: it is made and upgraded here.
    """

    def __init__(self, database: Database, *, own: bool) -> None:
        super().__init__("database")
        self.database = database
        self._own = own

    def _start(self) -> None:
        if self._own:
            self.database.create_or_upgrade()
        self.database.check_schema()

    def _stop(self) -> None:
        self.database.dispose()


class ApiServer(Service):
    """The API in threads of this process, served by waitress.

    :param port: 0 takes a free one; ``port`` tells which.
    """

    def __init__(self, app: Any, host: str, port: int) -> None:
        super().__init__("api")
        self._app = app
        self._host = host
        self.port = port
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        try:
            self._server = waitress.create_server(
                self._app,
                host=self._host,
                port=self.port,
                threads=API_THREADS,
                ident=None,
                clear_untrusted_proxy_headers=True,
            )
        except OSError as error:
            raise ServiceError(
                f"The API cannot listen on {self._host}:{self.port}:"
                f" {error.strerror or error}."
            ) from error
        self.port = int(getattr(self._server, "effective_port", self.port))
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        self._thread.start()
        LOG.info("API on http://%s:%d/v2", self._host, self.port)

    def _run(self) -> None:
        try:
            self._server.run()
        except OSError as error:
            # The sockets go away while the loop waits on them when we stop.
            if not self._stopping:
                self.fail(error)

    _stopping = False

    def _stop(self) -> None:
        self._stopping = True
        self._server.task_dispatcher.shutdown(timeout=10)
        self._server.close()
        if self._thread is not None:
            self._thread.join(2.0)


def api_app(settings: Settings, database: Database, bus: Bus, clock: Clock) -> Any:
    """The API's WSGI application."""
    return make_app(
        Services(
            database=database,
            bus=bus,
            registry=Registry(settings),
            settings=settings,
            clock=clock,
            new_id=new_id,
        )
    )


def make_bus(settings: Settings, name: str) -> Bus:
    return Bus(
        settings.messaging.transport_url,
        engine_topic=settings.engine.topic,
        executor_topic=settings.executor.topic,
        notifier_topic=settings.notifier.topic,
        server_name=name,
        call_timeout=float(settings.messaging.rpc_response_timeout),
        conf=settings.source,
    )


def make_database(settings: Settings) -> Database:
    return Database(settings.database.connection)


def make_sources(settings: Settings, clock: Clock) -> Sources:
    """What decisions use besides the database."""
    limit = settings.engine.execution_field_size_limit_kb
    return Sources(
        evaluator=Evaluator(
            ExpressionSettings(**settings.expression_arguments()),
            load_functions(),
            clock.monotonic,
        ),
        registry=Registry(settings),
        new_id=new_id,
        rules=Rules(
            merge_strategy=settings.engine.merge_strategy,
            versioning=settings.engine.context_versioning,
            field_limit=limit * 1024 if limit >= 0 else -1,
            inline_actions=settings.engine.inline_actions,
            notify=notified_always(settings.notifier.notify),
        ),
    )


def make_expiration(policy: ExpirationSettings) -> Expiration | None:
    """None: nothing ever expires (spec/engine.md § 10.5)."""
    if not policy.enabled:
        return None
    minutes = policy.older_than
    return Expiration(
        interval=60.0 * policy.evaluation_interval,
        older_than=timedelta(minutes=minutes) if minutes else None,
        keep=policy.max_finished_executions,
        batch=policy.batch_size,
        ignored=frozenset(policy.ignored_states),
    )


def make_engine(
    settings: Settings, database: Database, bus: Bus, clock: Clock, name: str
) -> EngineServer:
    beats = settings.heartbeat
    return EngineServer(
        database,
        bus,
        make_sources(settings, clock),
        clock,
        EngineOptions(
            name=name,
            lost_after=beats.lost_after if beats.enabled else 0.0,
            check_interval=float(beats.check_interval or 10),
            unclaimed_after=float(beats.first_heartbeat_timeout)
            if beats.enabled
            else 0.0,
            answer_seconds=float(settings.messaging.rpc_response_timeout),
            expiration=make_expiration(settings.expiration),
            trace_log=settings.engine.workflow_trace_log_name,
            publish=make_courier(settings).carry
            if settings.notifier.type == "local"
            else None,
        ),
    )


def make_courier(settings: Settings) -> Courier:
    """Calls publishers in this process."""
    return Courier(Publishers(settings.http).publish)


def notified_always(text: str) -> tuple[dict[str, Any], ...]:
    """The publishers of ``[notifier] notify``.

    :raises ServiceError: it is no JSON list of objects with a type.
    """
    try:
        found = json.loads(text or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(
        isinstance(entry, dict) and entry.get("type") for entry in found
    ):
        raise ServiceError(
            "[notifier] notify: expected a JSON list of objects with a 'type',"
            ' like [{"type": "webhook", "url": "…"}].'
        )
    return tuple(found)


def make_executor(settings: Settings, bus: Bus, clock: Clock) -> ExecutorServer:
    return ExecutorServer(
        bus,
        Registry(settings),
        ExecutorSettings(
            host=settings.executor.host,
            threads=settings.executor.pool_size,
            result_limit_kb=settings.engine.execution_field_size_limit_kb,
            check_interval=float(settings.heartbeat.check_interval),
            max_missed=settings.heartbeat.max_missed_heartbeats,
        ),
        clock,
        new_id,
    )


def server_name(settings: Settings, worker: int = 0) -> str:
    """The same after a restart, so that no queues are left behind."""
    host = settings.engine.host
    if host in ("", "0.0.0.0", "::"):
        host = socket.gethostname()
    return f"{host}.{worker}"


def build(
    settings: Settings,
    roles: Sequence[str],
    *,
    argv: Sequence[str] = (),
    worker: int | None = None,
    clock: Clock | None = None,
) -> Group:
    """The services of one process, in the order in which they start.

    :param roles: of ``config.ROLES``.
    :param argv: command line that children are started with.
    :param worker: this process is that child of a server with several engines.
    :raises ServiceError: roles and transport do not fit together.
    """
    clock = clock or SystemClock()
    for role in roles:
        if role in NOT_HERE_YET:
            LOG.info("Role %s: %s.", role, NOT_HERE_YET[role])
    alone = is_one_process(settings)
    if alone and not {"api", "engine", "executor"} <= set(roles):
        raise ServiceError(
            "With the memory transport one process has all roles: start it with"
            " --server all, or set [DEFAULT] transport_url to a broker."
        )
    children: list[Service] = []
    here = list(roles)
    engines = engine_processes(settings)
    if worker is None and "engine" in here and engines > 1:
        here.remove("engine")
        children += [
            Child(f"engine-{number}", _engine_command(number), argv)
            for number in range(engines)
        ]
    if "api" in here and not alone:
        here.remove("api")
        children.append(Child("api", ("-m", "mistral.cmd.api_workers"), argv))
    members: list[Service] = []
    database = make_database(settings)
    if {"api", "engine"} & set(roles):
        members.append(DatabaseService(database, own=settings.embedded))
    bus = make_bus(settings, server_name(settings, worker or 0))
    if here:
        members.append(bus)
    if "engine" in here:
        name = server_name(settings, worker or 0)
        members.append(make_engine(settings, database, bus, clock, name))
    if "executor" in here:
        members.append(make_executor(settings, bus, clock))
    if "notifier" in here and settings.notifier.type == "remote":
        members.append(NotifierServer(bus, make_courier(settings)))
    members += children
    if "api" in here:
        app = api_app(settings, database, bus, clock)
        members.append(ApiServer(app, settings.api.host, settings.api.port))
    return Group("mistral", members)


def _engine_command(number: int) -> tuple[str, ...]:
    return ("-m", "mistral.cmd.engine_worker", str(number))
