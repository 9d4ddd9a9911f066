"""The services as processes, each with a wire of its own to database and broker."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from servers import fresh_database
from sqlalchemy import URL
from system.processes import Cluster, virtual_host

from chaos.logs import strange
from chaos.wire import Wire, Wires

PORTS = {"postgresql": 5432, "mariadb": 3306}
BROKER_PORT = 5672

END_SECONDS = 60

STARTS = 5
"""Processes that end while they start, as something is away, are started again, as a
supervisor would."""


class ChaosCluster(Cluster):
    """:ivar wires: (process, ``database`` or ``broker``) → its wire.
    :ivar kind: of the database.
    :ivar virtual_host: of the broker.
    """

    def __init__(
        self,
        directory: Path,
        database: URL,
        transport: str,
        names: list[str],
        wires: Wires,
    ) -> None:
        self.kind = "postgresql" if database.drivername.startswith("p") else "mariadb"
        self.virtual_host = transport.rsplit("/", 1)[1]
        self.transport = transport
        self.wires: dict[tuple[str, str], Wire] = {}
        for name in names:
            self.wires[name, "database"] = wires.wire(PORTS[self.kind])
            self.wires[name, "broker"] = wires.wire(BROKER_PORT, messages=True)

        def through(name: str) -> tuple[URL, str]:
            near = database.set(port=self.wires[name, "database"].port)
            if self.kind == "postgresql":
                # what is encrypted cannot be broken in the middle of a commit
                near = near.update_query_dict({"sslmode": "disable"})
            broker = self.wires[name, "broker"].port
            return near, transport.replace(f":{BROKER_PORT}/", f":{broker}/")

        super().__init__(directory, database, transport, names, through)

    def send(self, name: str, number: signal.Signals) -> None:
        self._processes[name].send_signal(number)

    def end(self, name: str) -> int | None:
        """SIGTERM; the exit code, ``None`` of one that had to be killed: what it waits
        for may be away."""
        process = self._processes[name]
        process.terminate()
        try:
            code = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill(name)
            return None
        del self._processes[name]
        return code

    def restart(self, name: str) -> None:
        """Start one that is not there, as often as it takes.

        :raises AssertionError: it does not come up.
        """
        for left in reversed(range(STARTS)):
            try:
                return self.start(name)
            except AssertionError:
                if not left:
                    raise
                self.kill(name)

    def died(self) -> list[str]:
        """Processes that ended by themselves."""
        return [
            f"{name} ended by itself with code {code}"
            for name, process in self._processes.items()
            if (code := process.poll()) is not None
        ]

    def strange(self) -> list[str]:
        """What is in the logs that no fault explains."""
        return [
            f"{name}: {line}"
            for name in self.names
            for line in strange(self._text(name).splitlines())
        ]


@contextmanager
def running(
    kind: str, directory: Path, *, apis: int, engines: int, executors: int
) -> Iterator[ChaosCluster]:
    """Started on an empty database and an empty virtual host; gone afterwards.

    :raises NoServer: the database or the broker is missing.
    """
    counts = {"api": apis, "engine": engines, "executor": executors}
    names = [
        f"{role}-{number + 1}"
        for role, count in counts.items()
        for number in range(count)
    ]
    wires = Wires()
    with ExitStack() as stack:
        stack.callback(wires.close)
        database = stack.enter_context(fresh_database(kind, directory))
        transport = stack.enter_context(virtual_host())
        cluster = ChaosCluster(directory, database, transport, names, wires)
        stack.callback(cluster.stop)
        cluster.upgrade()
        cluster.start(*names)
        yield cluster
