"""The services as processes, each with a wire of its own to database and broker."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from servers import fresh_database
from sqlalchemy import URL
from system.processes import Cluster, broker_port, role_of, virtual_host

from chaos.clocks import Clocks
from chaos.disks import Disks, mounted
from chaos.logs import strange
from chaos.stores import a_user
from chaos.wire import Wire, Wires

PORTS = {"postgresql": 5432, "mariadb": 3306}

END_SECONDS = 60

STARTS = 60
START_AGAIN_SECONDS = 0.5
"""Processes that end while they start, as something is away, are started again, as a
supervisor would."""


class ChaosCluster(Cluster):
    """:ivar wires: (process, ``database`` or ``broker``) → its wire.
    :ivar kind: of the database.
    :ivar virtual_host: of the broker.
    :ivar clocks: of the processes, if they can be stepped.
    :ivar disks: of the processes that have one each.
    """

    def __init__(
        self,
        directory: Path,
        database: URL,
        transport: str,
        names: list[str],
        wires: Wires,
        clocks: Clocks | None = None,
        disks: Disks | None = None,
    ) -> None:
        self.clocks = clocks
        self.disks = disks
        self.kind = "postgresql" if database.drivername.startswith("p") else "mariadb"
        self.virtual_host = transport.rsplit("/", 1)[1]
        self.transport = transport
        self.wires: dict[tuple[str, str], Wire] = {}
        for name in names:
            to = database.port or PORTS[self.kind]
            self.wires[name, "database"] = wires.wire(to)
            self.wires[name, "broker"] = wires.wire(broker_port(), messages=True)

        def through(name: str) -> tuple[URL, str]:
            near = database.set(port=self.wires[name, "database"].port)
            if self.kind == "postgresql":
                # what is encrypted cannot be broken in the middle of a commit
                near = near.update_query_dict({"sslmode": "disable"})
            broker = self.wires[name, "broker"].port
            return near, transport.replace(f":{broker_port()}/", f":{broker}/")

        super().__init__(directory, database, transport, names, through)

    def _release(self, name: str) -> dict[str, Any]:
        """With its own clock and its own disk."""
        environment = dict(os.environ)
        if self.clocks is not None:
            environment |= self.clocks.environment(name)
        if self.disks is not None and name in self.disks.places:
            environment["TMPDIR"] = str(self.disks.places[name])
        return {"env": environment}

    def _log(self, name: str) -> Path:
        log = super()._log(name)
        if self.disks is not None and name in self.disks.places:
            return self.disks.places[name] / log.name
        return log

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
                threading.Event().wait(START_AGAIN_SECONDS)

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
    kind: str,
    directory: Path,
    *,
    apis: int,
    engines: int,
    executors: int,
    wires: Wires,
    kinds: Collection[str] = (),
) -> Iterator[ChaosCluster]:
    """Started on an empty database and an empty virtual host; gone afterwards.

    :param kinds: of faults that it has to be able to have.
    :raises NoServer: the database or the broker is missing.
    """
    counts = {"api": apis, "engine": engines, "executor": executors}
    names = [
        f"{role}-{number + 1}"
        for role, count in counts.items()
        for number in range(count)
    ]
    clocks = Clocks(directory, names) if "clock" in kinds else None
    with ExitStack() as stack:
        disks = None
        if "full-disk" in kinds:
            some = [name for name in names if role_of(name) == "executor"]
            disks = stack.enter_context(mounted(directory, some))
        database = stack.enter_context(fresh_database(kind, directory))
        database = stack.enter_context(a_user(database, kind))
        transport = stack.enter_context(virtual_host())
        cluster = ChaosCluster(
            directory, database, transport, names, wires, clocks, disks
        )
        stack.callback(cluster.stop)
        cluster.upgrade()
        cluster.start(*names)
        yield cluster
