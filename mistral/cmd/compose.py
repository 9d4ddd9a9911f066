"""Where real things are put together: settings and roles to a group of services.

One process holds one database pool and one bus, whatever its roles are. With
a broker, several engine processes and the API's worker processes are children
that the group supervises (``cmd/children.py``). What only one role needs is
loaded when this process has that role: an executor has no SQL, no YAQL and no
web framework in its memory.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mistral.clock import Clock, SystemClock
from mistral.cmd.children import Answering, Begun, Child
from mistral.cmd.names import server_name
from mistral.config import Settings
from mistral.errors import ServiceError
from mistral.service import Group, Service

if TYPE_CHECKING:
    from mistral.db.database import Database

LOG = logging.getLogger(__name__)


def is_one_process(settings: Settings) -> bool:
    """Whether everything has to live in this process (SQLite, memory)."""
    return settings.messaging.transport_url.startswith("memory")


def engine_processes(settings: Settings) -> int:
    """How many engines this server runs: one per two cores unless it is set."""
    wanted = settings.engine.workers
    if not is_one_process(settings):
        return wanted or max(1, (os.cpu_count() or 1) // 2)
    if wanted > 1:
        LOG.warning(
            "[engine] workers = %d has no effect with the memory transport: one"
            " process has one engine. Several need a broker in [DEFAULT]"
            " transport_url.",
            wanted,
        )
    return 1


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
    alone = is_one_process(settings)
    if alone and not {"api", "engine", "executor"} <= set(roles):
        raise ServiceError(
            "With the memory transport one process has all roles: start it with"
            " --server all, or set [DEFAULT] transport_url to a broker."
        )
    engine_children: list[Child] = []
    api_children: list[Child] = []
    here = list(roles)
    engines = engine_processes(settings)
    if worker is None and "engine" in here and engines > 1:
        here.remove("engine")
        engine_children = [
            Child(f"engine-{number}", _engine_command(number), argv)
            for number in range(engines)
        ]
    if "api" in here and not alone:
        here.remove("api")
        api_children.append(Child("api", ("-m", "mistral.cmd.api_workers"), argv))
    database: Database | None = None
    members: list[Service] = []
    if {"api", "engine", "event-engine"} & set(roles):
        from mistral.cmd.storage import DatabaseService, make_database

        database = make_database(settings)
        # also where only children use it: a stale schema ends the server at once
        members.append(DatabaseService(database, own=settings.embedded))
    if children := [*engine_children, *api_children]:
        members.append(Begun(children))
    # ended after the executor of this process, which tells an engine that it ends
    members += engine_children
    if here:
        name = server_name(settings, worker or 0, roles)
        members.append(
            Roles(
                lambda: _roles(settings, here, database, clock or SystemClock(), name)
            )
        )
    members += api_children
    if children:
        members.append(Answering(children))
    return Group("mistral", members)


class Roles(Group):
    """The roles of this process, whose code is loaded when they start: children,
    which have begun before, load theirs at the same time.

    :param make: puts them together.
    """

    def __init__(self, make: Callable[[], Sequence[Service]]) -> None:
        super().__init__("roles", ())
        self._make = make

    def _start(self) -> None:
        self.members = tuple(self._make())
        super()._start()


def _roles(
    settings: Settings,
    roles: Sequence[str],
    database: Database | None,
    clock: Clock,
    name: str,
) -> list[Service]:
    """The bus of this process, and its roles.

    :param database: None: no role needs one.
    """
    from mistral.cmd.messaging import make_bus

    bus = make_bus(settings, name)
    made: list[Service] = [bus]
    if "engine" in roles and database is not None:
        from mistral.cmd.engine_role import make_engine

        made.append(make_engine(settings, database, bus, clock, name))
    if "executor" in roles:
        from mistral.cmd.executor_role import make_executor

        made.append(make_executor(settings, bus, clock))
    if "notifier" in roles and settings.notifier.type == "remote":
        from mistral.cmd.notifier_role import make_notifier

        made.append(make_notifier(settings, bus))
    if "event-engine" in roles and database is not None:
        from mistral.cmd.event_role import make_event_engine

        made.append(make_event_engine(settings, database, bus, clock))
    if "api" in roles and database is not None:
        from mistral.cmd.api_role import ApiServer, make_api

        api = make_api(settings, database, bus, clock)
        made.append(
            ApiServer(
                api.app,
                settings.api.host,
                settings.api.port,
                behind_proxy=settings.api.enable_proxy_headers_parsing,
                drain=api.drain,
            )
        )
    return made


def _engine_command(number: int) -> tuple[str, ...]:
    return ("-m", "mistral.cmd.engine_worker", str(number))
