"""What each kind of fault does. All of it is undone when a fault ends."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import amqp
from system.processes import role_of

from chaos.broker import Broker
from chaos.cluster import ChaosCluster
from chaos.private import Servers
from chaos.schedule import KINDS, Fault
from chaos.stores import Store
from chaos.wire import Wire

LEFT_CONNECTIONS = 3

QUEUES = {"engine": "mistral_engine", "executor": "mistral_executor"}
"""Parts of the names of queues that processes of a role listen to."""


@dataclass
class Happened:
    """A fault that was meant to happen.

    :param began: seconds of the clock on the wall; ``ended``: the same, 0 before.
    :param note: what was seen of it; ``skipped``: why it did not happen.
    """

    fault: Fault
    began: float
    ended: float = 0.0
    note: str = ""
    skipped: str = ""


class _Busy(Exception):
    """Another fault is at the same thing."""


class _Nothing(Exception):
    """There was nothing that the fault could befall."""


class Injector:
    """Lets faults happen, several at a time; one at a time to the same thing.

    :param commands: of the shell, for kinds that touch servers of others, too.
    :param servers: of the campaign's own, if it has some.
    """

    def __init__(
        self,
        cluster: ChaosCluster,
        store: Store,
        broker: Broker,
        commands: Mapping[str, str],
        servers: Servers | None = None,
    ) -> None:
        self._commands = commands
        self._servers = servers
        self._cluster = cluster
        self._store = store
        self._broker = broker
        self._held = {
            **{name: threading.Lock() for name in cluster.names},
            **{wire: threading.Lock() for wire in cluster.wires},
            **{(name, "clock"): threading.Lock() for name in cluster.names},
            **{(name, "disk"): threading.Lock() for name in cluster.names},
            "database": threading.Lock(),
            "broker": threading.Lock(),
            "repeats": threading.Lock(),
        }
        self.happened: list[Happened] = []

    def play(self, faults: Sequence[Fault]) -> None:
        """Each at its time; returns when all have ended."""
        begun = time.monotonic()
        threads = []
        for fault in faults:
            threading.Event().wait(max(0.0, begun + fault.at - time.monotonic()))
            happened = Happened(fault, time.time())
            self.happened.append(happened)
            thread = threading.Thread(target=self._one, args=(happened,), daemon=True)
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def _one(self, happened: Happened) -> None:
        fault = happened.fault
        try:
            happened.note = self._does(fault.kind)(fault)
        except _Busy as busy:
            happened.skipped = f"{busy} has another fault"
        except _Nothing as nothing:
            happened.skipped = str(nothing)
        except Exception as error:
            happened.note = f"the tool failed: {type(error).__name__}: {error}"
        happened.ended = time.time()

    def _does(self, kind: str) -> Callable[[Fault], str]:
        link = KINDS[kind].link
        name = kind.removeprefix(f"{link}-") if link else kind
        does: Callable[[Fault], str] = getattr(self, f"_{name.replace('-', '_')}")
        return does

    @contextmanager
    def _alone(self, *things: object) -> Iterator[None]:
        with ExitStack() as stack:
            for thing in things:
                lock = self._held[thing]  # type: ignore[index]
                if not lock.acquire(blocking=False):
                    raise _Busy(str(thing))
                stack.callback(lock.release)
            yield

    @contextmanager
    def _wire(self, fault: Fault) -> Iterator[Wire]:
        place = fault.victim, KINDS[fault.kind].link
        with self._alone(place):
            wire = self._cluster.wires[place]
            try:
                yield wire
            finally:
                wire.mend()

    # -- Processes ----------------------------------------------------------------

    def _kill(self, fault: Fault) -> str:
        with self._alone(fault.victim):
            self._cluster.kill(fault.victim)
            _wait(fault.seconds)
            self._cluster.restart(fault.victim)
        return ""

    def _end(self, fault: Fault) -> str:
        with self._alone(fault.victim):
            begun = time.monotonic()
            code = self._cluster.end(fault.victim)
            took = time.monotonic() - begun
            _wait(fault.seconds)
            self._cluster.restart(fault.victim)
        return f"exit code {code} after {took:.1f} s"

    def _stop(self, fault: Fault) -> str:
        with self._alone(fault.victim):
            self._cluster.send(fault.victim, signal.SIGSTOP)
            try:
                _wait(fault.seconds)
            finally:
                self._cluster.send(fault.victim, signal.SIGCONT)
        return ""

    # -- Wires --------------------------------------------------------------------

    def _cut(self, fault: Fault) -> str:
        with self._wire(fault) as wire:
            return f"{wire.cut(reset=bool(fault.dice % 2))} connections"

    def _refuses(self, fault: Fault) -> str:
        with self._wire(fault) as wire:
            wire.refuse(True)
            cut = wire.cut(reset=bool(fault.dice % 2))
            _wait(fault.seconds)
            return f"{cut} connections"

    def _stalls(self, fault: Fault) -> str:
        """Some stalls end with the connections: a network that forgot them."""
        with self._wire(fault) as wire:
            wire.stall(True)
            _wait(fault.seconds)
            if fault.dice % 3:
                return "they go on"
            return f"{wire.cut(reset=True)} connections are reset behind it"

    def _slow(self, fault: Fault) -> str:
        late = random.Random(fault.dice).uniform(0.01, 0.06)
        with self._wire(fault) as wire:
            wire.slow(late)
            _wait(fault.seconds)
        return f"{1000 * late:.0f} ms"

    def _half(self, fault: Fault) -> str:
        with self._wire(fault) as wire:
            ended = wire.half_close()
            _wait(fault.seconds)
        return f"{ended} connections"

    def _commit_unsent(self, fault: Fault) -> str:
        return self._break_commit(fault, "before")

    def _commit_unheard(self, fault: Fault) -> str:
        return self._break_commit(fault, "after")

    def _break_commit(self, fault: Fault, when: str) -> str:
        with self._wire(fault) as wire:
            wire.break_commit(when)
            if not wire.broke(fault.seconds):
                raise _Nothing("nothing was committed")
        return ""

    def _lose(self, fault: Fault) -> str:
        return self._befall(fault, -1.0)

    def _late(self, fault: Fault) -> str:
        late = random.Random(fault.dice).uniform(0.1, 4)
        return self._befall(fault, late) or f"{late:.1f} s"

    def _befall(self, fault: Fault, late: float) -> str:
        """Whatever else is done to the wire."""
        wire = self._cluster.wires[fault.victim, "broker"]
        if not wire.befall_one(late, fault.seconds):
            raise _Nothing("no message came")
        return ""

    # -- Everybody's --------------------------------------------------------------

    def _backends(self, fault: Fault) -> str:
        with self._alone("database"):
            return f"{self._store.end_connections()} connections"

    def _no_connections(self, fault: Fault) -> str:
        with self._alone("database"):
            self._store.limit(LEFT_CONNECTIONS)
            try:
                ended = self._store.end_connections()
                _wait(fault.seconds)
            finally:
                self._store.limit(None)
        return f"{ended} connections before"

    def _clock(self, fault: Fault) -> str:
        clocks = self._cluster.clocks
        assert clocks is not None
        step = 3600 if fault.dice % 2 else -3600
        with self._alone((fault.victim, "clock")):
            clocks.step(fault.victim, step)
            try:
                _wait(fault.seconds)
            finally:
                clocks.step(fault.victim, 0)
        return f"{step:+d} s"

    def _full_disk(self, fault: Fault) -> str:
        disks = self._cluster.disks
        assert disks is not None
        with self._alone((fault.victim, "disk")):
            try:
                taken = disks.fill(fault.victim)
                _wait(fault.seconds)
            finally:
                disks.free(fault.victim)
        return f"{taken} bytes"

    def _hold_locks(self, fault: Fault) -> str:
        with self._alone("database"), self._store.locks(fault.dice) as locked:
            _wait(fault.seconds)
            return f"{locked} runs"

    def _broker_closes(self, fault: Fault) -> str:
        with self._alone("broker"):
            self._broker.cut()
        return ""

    def _purge(self, fault: Fault) -> str:
        with self._alone("broker"):
            return f"{self._broker.purge()} messages"

    def _drop(self, fault: Fault) -> str:
        names = [n for n in self._cluster.names if role_of(n) == fault.victim]
        with self._alone("broker", *names):
            for name in names:
                self._cluster.send(name, signal.SIGSTOP)
            try:
                _wait(1)
                for name in names:
                    self._cluster.wires[name, "broker"].cut(reset=True)
                _wait(0.5)
                dropped = self._broker.purge(QUEUES[fault.victim])
            finally:
                for name in names:
                    self._cluster.send(name, signal.SIGCONT)
        return f"{dropped} messages"

    def _repeat(self, fault: Fault) -> str:
        with self._alone("broker"):
            return f"{self._broker.repeat(fault.dice)} messages"

    def _again(self, fault: Fault) -> str:
        with self._alone("repeats"):
            try:
                repeated = self._broker.repeat(fault.dice, 1)
            except (amqp.AMQPError, OSError) as error:
                raise _Nothing("the broker is away") from error
            if not repeated:
                raise _Nothing("no message was published")
        return ""

    def _hoard(self, fault: Fault) -> str:
        with self._alone("broker"):
            return f"{self._broker.hoard(fault.seconds)} messages"

    def _empty(self, fault: Fault) -> str:
        with self._alone("broker"):
            self._broker.empty(fault.seconds)
        return ""

    def _restart_broker(self, fault: Fault) -> str:
        with self._alone("broker"):
            if self._servers is None:
                return self._command("restart-broker")
            self._servers.broker.restart()
        return ""

    def _kill_broker(self, fault: Fault) -> str:
        assert self._servers is not None
        with self._alone("broker"):
            self._servers.broker.kill()
        return ""

    def _restart_database(self, fault: Fault) -> str:
        with self._alone("database"):
            if self._servers is None:
                return self._command("restart-database")
            self._servers.database.restart()
        return ""

    def _kill_database(self, fault: Fault) -> str:
        assert self._servers is not None
        with self._alone("database"):
            self._servers.database.kill()
        return ""

    def _fail_over(self, fault: Fault) -> str:
        assert self._servers is not None and self._servers.pair is not None
        with self._alone("database"):
            self._servers.pair.fail_over()
        return ""

    def _command(self, kind: str) -> str:
        done = subprocess.run(
            self._commands[kind],
            shell=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return f"exit code {done.returncode}"


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)
