"""Servers of a campaign's own, which may die: nobody else uses them.

They run on free ports, as the users that packages make for them where the campaign runs
as root, and are gone with it. Tests and campaigns find them by ``TEST_…`` and
``RABBITMQ_NODENAME`` in the environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from servers import NoServer
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from system.processes import until

from chaos.wire import Wire, Wires

UP_SECONDS = 90.0
COMMAND_SECONDS = 120.0
RABBIT_HOME = "/var/lib/rabbitmq"


class Server(ABC):
    """One program that is started, restarted and killed.

    :param user: that it runs as, if this is root.
    """

    def __init__(self, directory: Path, user: str) -> None:
        self._directory = directory
        self._user = user
        self._environment: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def start(self) -> None:
        """Up when it returns."""
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._as_user(self._command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                cwd="/",
                start_new_session=True,
            )
        until(self._answers, UP_SECONDS, f"{type(self).__name__} is up")

    def restart(self) -> None:
        """As operators do."""
        self.stop()
        self.start()

    def stop(self) -> None:
        if self._process is not None:
            self._end(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9``."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        assert process is not None
        os.killpg(process.pid, number)
        try:
            process.wait(COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(COMMAND_SECONDS)

    @abstractmethod
    def _command(self) -> list[str]:
        """The program, with its arguments."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it is up."""

    def _run(self, *command: str) -> None:
        """:raises NoServer: it is missing, or has failed."""
        if shutil.which(command[0]) is None:
            raise NoServer(f"{command[0]} is not installed")
        done = subprocess.run(
            self._as_user(command),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            env={**os.environ, **self._environment},
            cwd="/",
        )
        if done.returncode:
            raise NoServer(f"{command[0]}: {done.stderr.strip()[-300:]}")

    def _as_user(self, command: Sequence[str]) -> list[str]:
        if os.geteuid():
            return list(command)
        who = (f"--reuid={self._user}", f"--regid={self._user}", "--init-groups")
        return ["setpriv", *who, *command]


class PostgreSQL(Server):
    """One node of PostgreSQL."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "postgres")
        self._data = directory / "data"
        self._bin = _binaries()

    def create(self) -> None:
        self._run(f"{self._bin}/initdb", "-D", str(self._data), "-U", "postgres",
                  "-A", "trust", "--no-sync")  # fmt: skip
        self.configure()

    def copy(self, primary: PostgreSQL) -> None:
        """Become the standby of another node."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._run(f"{self._bin}/pg_basebackup", "-h", "127.0.0.1", "-p",
                  str(primary.port), "-U", "postgres", "-D", str(self._data), "-R",
                  "-X", "stream", "--checkpoint=fast", "--no-sync")  # fmt: skip
        self.configure()

    def configure(self, synchronous: str = "") -> None:
        # What is written survives a process without being forced to a disk.
        settings = {
            "data_directory": self._data,
            "hba_file": self._data / "pg_hba.conf",
            "ident_file": self._data / "pg_ident.conf",
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._directory,
            "max_connections": 200,
            "shared_buffers": "64MB",
            "fsync": "off",
            "wal_level": "replica",
            "hot_standby": "on",
            "synchronous_standby_names": synchronous,
        }
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        (self._directory / "postgresql.conf").write_text("".join(lines))

    def reload(self, synchronous: str) -> None:
        self.configure(synchronous)
        self.ask("SELECT pg_reload_conf()")

    def promote(self) -> None:
        self.reload("")
        self.ask("SELECT pg_promote(true, 60)")
        until(
            lambda: not self.ask("SELECT pg_is_in_recovery()"), UP_SECONDS, "promoted"
        )

    def ask(self, query: str) -> Any:
        url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            return connection.scalar(text(query))

    def stop(self) -> None:
        if self._process is not None:
            # fast: SIGTERM would wait for all clients
            self._end(signal.SIGINT)

    def kill(self) -> None:
        """As it crashes itself; of its processes each is a group of its own."""
        self._end(signal.SIGQUIT)

    def _command(self) -> list[str]:
        config = self._directory / "postgresql.conf"
        return [f"{self._bin}/postgres", f"--config-file={config}"]

    def _answers(self) -> bool:
        try:
            return bool(self.ask("SELECT 1"))
        except DBAPIError:
            return False


class Pair:
    """A primary and its synchronous standby behind one port, as a proxy or a virtual
    address gives it: what was answered is on both."""

    def __init__(self, directory: Path, wires: Wires) -> None:
        self._nodes = [PostgreSQL(_owned(directory / n, "postgres")) for n in "ab"]
        primary, standby = self._nodes
        primary.create()
        primary.start()
        self._front: Wire = wires.wire(primary.port)
        self.port = self._front.port
        self._attach(standby, primary)

    def _attach(self, standby: PostgreSQL, primary: PostgreSQL) -> None:
        standby.copy(primary)
        standby.start()
        primary.reload("*")
        synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state='sync'"
        until(lambda: primary.ask(synchronous), UP_SECONDS, "the standby follows")

    def fail_over(self) -> None:
        """The primary dies and the standby takes its place; a new standby follows."""
        old, new = self._nodes
        old.kill()
        new.promote()
        self._front.point(new.port)
        self._front.cut(reset=True)
        self._nodes = [new, old]
        self._attach(old, new)

    def restart(self) -> None:
        self._nodes[0].restart()

    def kill(self) -> None:
        """``kill -9`` of the primary, which comes back by itself."""
        self._nodes[0].kill()
        self._nodes[0].start()

    def stop(self) -> None:
        # the standby last: a primary that stops waits for it
        for node in self._nodes:
            node.stop()


class MariaDB(Server):
    def __init__(self, directory: Path) -> None:
        super().__init__(_owned(directory, "mysql"), "mysql")
        self._data = self._directory / "data"
        self._run(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={self._data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
        self.start()

    def kill(self) -> None:
        """``kill -9``, and back."""
        super().kill()
        self.start()

    def _command(self) -> list[str]:
        return [
            str(shutil.which("mariadbd") or "/usr/sbin/mariadbd"),
            "--no-defaults",
            f"--datadir={self._data}",
            f"--port={self.port}",
            f"--socket={self._directory / 'socket'}",
            "--bind-address=127.0.0.1",
            "--innodb-buffer-pool-size=128M",
            # what is written survives a process without being forced to a disk
            "--innodb-flush-log-at-trx-commit=2",
        ]

    def _answers(self) -> bool:
        url = f"mariadb+pymysql://root@127.0.0.1:{self.port}/"
        try:
            with create_engine(url, poolclass=NullPool).connect():
                return True
        except DBAPIError:
            return False


class RabbitMQ(Server):
    def __init__(self, directory: Path) -> None:
        super().__init__(_owned(directory, "rabbitmq"), "rabbitmq")
        self.node = f"chaos{os.getpid()}@localhost"
        config = self._directory / "rabbitmq.conf"
        config.write_text(f"listeners.tcp.local = 127.0.0.1:{self.port}\n")
        self._environment = {
            "HOME": RABBIT_HOME,
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._directory / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._directory / "plugins"),
        }
        self.start()

    def restart(self) -> None:
        for word in ("stop_app", "start_app"):
            self._run("/usr/lib/rabbitmq/bin/rabbitmqctl", "-n", self.node, word)

    def kill(self) -> None:
        """``kill -9``, and back."""
        super().kill()
        self.start()

    def _command(self) -> list[str]:
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def _answers(self) -> bool:
        with suppress(NoServer):
            self._run("/usr/lib/rabbitmq/bin/rabbitmqctl", "-n", self.node, "status")
            return True
        return False


class Servers:
    """The database and the broker of one campaign."""

    def __init__(self, kind: str, directory: Path, wires: Wires, stack: ExitStack):
        self._stack = stack
        self.broker = self._started(lambda: RabbitMQ(directory / "broker"))
        self.pair: Pair | None = None
        self.database: Pair | MariaDB
        if kind == "postgresql":
            self.database = self.pair = self._started(
                lambda: Pair(directory / "postgresql", wires)
            )
            url = f"postgresql+psycopg://postgres@127.0.0.1:{self.pair.port}/postgres"
        else:
            self.database = self._started(lambda: MariaDB(directory / "mariadb"))
            url = f"mariadb+pymysql://root@127.0.0.1:{self.database.port}/"
        self.environment = {
            f"TEST_{kind.upper()}_URL": url,
            "TEST_RABBITMQ_PORT": str(self.broker.port),
            "RABBITMQ_NODENAME": self.broker.node,
        }

    def _started(self, make: Callable[[], Any]) -> Any:
        made = make()
        self._stack.callback(made.stop)
        return made


@contextmanager
def servers(kind: str, wires: Wires) -> Iterator[Servers]:
    """All of them, up.

    :param kind: of the database.
    :raises NoServer: a program is missing, or must not be run.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.chmod(0o755)
        found = Servers(kind, directory, wires, stack)
        before = {name: os.environ.get(name) for name in found.environment}
        os.environ.update(found.environment)
        try:
            yield found
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _owned(directory: Path, user: str) -> Path:
    directory.mkdir(parents=True)
    directory.parent.chmod(0o755)
    if not os.geteuid():
        shutil.chown(directory, user)
    return directory


def _binaries() -> str:
    program = shutil.which("pg_config")
    if program is None:
        raise NoServer("pg_config is not installed")
    done = subprocess.run([program, "--bindir"], capture_output=True, text=True)
    return done.stdout.strip()
