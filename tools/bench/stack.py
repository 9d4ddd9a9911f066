"""The service in a named topology: its processes, its database, its broker."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import broker as brokers
import ending
import processes
import quota
import requests
import stores

PROGRAMS = Path(sys.executable).parent
CONFIGURATION = """\
[DEFAULT]
transport_url = {transport}
[api]
host = 127.0.0.1
port = {port}
api_workers = 1
[pecan]
auth_enable = false
[database]
connection = {database}
[engine]
host = {host}
workers = 1
inline_actions = {inline}
[executor]
host = {host}
{more}
"""


@dataclass(frozen=True)
class Topology:
    """What runs on what.

    :param database: ``sqlite``, ``postgresql`` or ``mariadb``.
    :param inline: whether engines finish ``std.noop``, ``std.echo`` themselves.
    :param share: of a core that each engine gets; 0: all there is.
    """

    database: str
    inline: bool
    engines: int = 1
    executors: int = 1
    share: float = 0.0

    @property
    def embedded(self) -> bool:
        return self.database == "sqlite"


TOPOLOGIES = {
    "embedded": Topology("sqlite", True),
    "embedded-executors": Topology("sqlite", False),
    "postgresql": Topology("postgresql", True),
    "postgresql-executors": Topology("postgresql", False),
    "mariadb": Topology("mariadb", True),
    "mariadb-executors": Topology("mariadb", False),
    "engines-2": Topology("postgresql", True, engines=2),
    "engines-2-executors": Topology("postgresql", False, engines=2),
    "engines-4": Topology("postgresql", True, engines=4),
    "engines-4-executors": Topology("postgresql", False, engines=4),
    # A quarter of a core each: engines alone are what is short.
    **{
        f"quarter-engines-{engines}": Topology(
            "postgresql", True, engines=engines, share=0.25
        )
        for engines in (1, 2, 3)
    },
}


@dataclass(eq=False)
class Target:
    """A server that speaks the API, and whose spending can be read.

    :param url: ends with ``/v2``.
    :param tops: role → ids of processes; their descendants count with them.
    :param store: None: its database is not looked at.
    """

    name: str
    url: str
    tops: dict[str, list[int]] = field(default_factory=dict)
    store: stores.Store | None = None
    broker: brokers.Broker | None = None
    topology: Topology | None = None
    up_after: float = 0.0
    """Seconds from the start of its processes to its first answer."""

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time so far, by role."""
        found = {role: processes.cpu(pids) for role, pids in self.tops.items()}
        if self.store is not None:
            found["database"] = self.store.cpu()
        return found

    def memory(self) -> dict[str, float]:
        """Megabytes of the largest process, by role."""
        return {role: processes.memory(pids) for role, pids in self.tops.items()}

    def peaks(self) -> dict[str, float]:
        """The same, the most so far."""
        return {role: processes.peak(pids) for role, pids in self.tops.items()}


class Servers:
    """Starts topologies; keeps the database server they share.

    :param postgresql: URL of an administrator; None: a server of our own.
    :param mariadb: URL of an administrator.
    """

    def __init__(self, stack: ExitStack, postgresql: str | None, mariadb: str) -> None:
        self._stack = stack
        self._postgresql = postgresql
        self._pid: int | None = None
        self._mariadb = mariadb
        self._numbers = 0

    def start(
        self, name: str, topology: Topology | None = None, more: str = ""
    ) -> Target:
        """Runs until the stack ends.

        :param more: further sections of the configuration.
        """
        topology = topology or TOPOLOGIES[name]
        self._numbers += 1
        unique = f"bench_{os.getpid()}_{self._numbers}"
        return self._stack.enter_context(self._running(name, topology, unique, more))

    @contextmanager
    def spare(self) -> Iterator[stores.PostgreSql]:
        """Another empty database of the PostgreSQL that targets are on."""
        assert self._postgresql is not None
        self._numbers += 1
        name = f"bench_{os.getpid()}_{self._numbers}"
        with stores.postgresql(self._postgresql, name, self._pid) as store:
            yield store

    @contextmanager
    def _running(
        self, name: str, topology: Topology, unique: str, more: str
    ) -> Iterator[Target]:
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            store = stack.enter_context(self._database(topology, unique, home))
            broker = None
            if not topology.embedded:
                broker = stack.enter_context(brokers.virtual_host(unique))
            running = serving(name, topology, store, broker, home, more)
            yield stack.enter_context(running)

    def _database(
        self, topology: Topology, name: str, home: Path
    ) -> AbstractContextManager[stores.Store]:
        if topology.database == "sqlite":
            return nullcontext(stores.Sqlite(home))
        if topology.database == "mariadb":
            return stores.mariadb(self._mariadb, name)
        if self._postgresql is None:
            programs = stores.postgresql_programs()
            if programs is None:
                raise SystemExit("PostgreSQL is not installed here: give --postgresql")
            own = self._stack.enter_context(stores.own_postgresql(programs))
            self._postgresql, self._pid = own
        return stores.postgresql(self._postgresql, name, self._pid)


@contextmanager
def serving(
    name: str,
    topology: Topology,
    store: stores.Store,
    broker: brokers.Broker | None,
    home: Path,
    more: str = "",
) -> Iterator[Target]:
    """The processes of a topology on an empty database."""
    port = stores.free_port()
    target = Target(
        name,
        f"http://127.0.0.1:{port}/v2",
        store=store,
        broker=broker,
        topology=topology,
    )
    log = home / "log"
    started: list[subprocess.Popen[bytes]] = []

    def configured(host: str) -> list[str]:
        path = home / f"{host}.conf"
        path.write_text(
            CONFIGURATION.format(
                transport=broker.url if broker else "memory://",
                database=store.url,
                port=port,
                host=host,
                inline=str(topology.inline).lower(),
                more=more,
            )
        )
        return ["--config-file", str(path)]

    def start(role: str, host: str = "bench") -> None:
        with log.open("ab") as out, ending.whole():
            process = subprocess.Popen(
                [PROGRAMS / "mistral-server", *configured(host), "--server", role],
                stdout=out,
                stderr=out,
            )
            started.append(process)
        target.tops.setdefault(role, []).append(process.pid)

    done = subprocess.run(
        [PROGRAMS / "mistral-db-manage", *configured("bench"), "upgrade", "head"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    begun = time.perf_counter()
    try:
        if topology.embedded:
            start("all")
        else:
            for number in range(topology.engines):
                start("engine", f"bench-{number}")
            for number in range(topology.executors):
                start("executor", f"bench-{number}")
            start("api")
        _wait_until_up(target, started, log)
        target.up_after = time.perf_counter() - begun
        with ExitStack() as shares:
            for pid in target.tops.get("engine", ()) if topology.share else ():
                shares.enter_context(quota.limited(pid, topology.share))
            yield target
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)


PROBE = "version: '2.0'\nprobe:\n  tasks:\n    t: {action: std.noop}\n"


def _wait_until_up(
    target: Target, started: Sequence[subprocess.Popen[bytes]], log: Path
) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            requests.get(f"{target.url}/", timeout=1)
            break
        except requests.RequestException:
            if any(p.poll() is not None for p in started) or time.monotonic() > until:
                raise SystemExit(log.read_text()) from None
            time.sleep(0.05)
