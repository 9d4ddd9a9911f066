"""Parts of the fault campaign that decide what it can find."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from queue import Queue

import pytest
from chaos.judge import progress
from chaos.logs import strange
from chaos.schedule import KINDS, SHARED, schedule
from chaos.wire import Wire, Wires

NAMES = ["api-1", "engine-1", "executor-1"]


def test_a_seed_gives_the_same_faults_of_the_kinds_that_were_asked_for() -> None:
    first = schedule("7.1", 60, NAMES, KINDS, 0.5)
    assert first == schedule("7.1", 60, NAMES, KINDS, 0.5)
    assert first != schedule("7.2", 60, NAMES, KINDS, 0.5)
    some = schedule("7.1", 60, NAMES, ["commit-unheard"], 0.5)
    assert {fault.victim for fault in some} == {"api-1", "engine-1"}
    assert {fault.kind for fault in some} == {"commit-unheard"}
    assert set(SHARED) < KINDS.keys()


def test_a_wait_is_that_of_each_run_that_was_open() -> None:
    times = {
        "early": [(1.0, "accepted"), (2.0, "last")],
        "open": [(1.0, "accepted"), (4.0, "call"), (9.0, "last")],
        "lost": [],
    }
    (wait,) = progress(times, 3.0)
    assert (wait.run_id, wait.seconds, wait.after) == ("open", 1.0, (4.0, "call"))


HEAD = "2026-11-21 17:00:00.001 42 ERROR"
TRACE = (
    "{head} {logger} Traceback (most recent call last):",
    '{head} {logger}   File "x.py", line 1, in run',
    "{head} {logger} {last}",
)


@pytest.mark.parametrize(
    ("logger", "last", "found"),
    [
        ("oslo_messaging.rpc.server", "amqp.exceptions.NotAllowed: no", False),
        ("oslo_messaging.rpc.server", "KeyError: 'x'", True),
        ("mistral.service", "sqlalchemy.exc.OperationalError: away", True),
    ],
)
def test_tracebacks_of_ours_and_of_more_than_outages_are_found(
    logger: str, last: str, found: bool
) -> None:
    lines = [line.format(head=HEAD, logger=logger, last=last) for line in TRACE]
    assert strange([f"{HEAD} {logger} [-] failed", *lines]) == [last] * found


def test_what_nobody_has_caught_is_found() -> None:
    lines = ["Traceback (most recent call last):", "  File 1", "OSError: away"]
    assert strange(lines) == ["OSError: away"]


class _Server:
    """Answers ``done`` to whatever it hears."""

    def __init__(self) -> None:
        self.heard: Queue[bytes] = Queue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,)).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1024):
                    self.heard.put(data)
                    connection.sendall(b"done")
            except OSError:
                return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server()
    yield server
    server.close()


@pytest.fixture
def wire(server: _Server) -> Iterator[Wire]:
    wires = Wires()
    yield wires.wire(server.port)
    wires.close()


@pytest.fixture
def client(wire: Wire) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", wire.port), 10) as client:
        client.sendall(b"BEGIN")
        assert client.recv(10) == b"done"
        yield client


def test_a_commit_is_done_and_its_answer_lost(
    wire: Wire, server: _Server, client: socket.socket
) -> None:
    wire.break_commit("after")
    client.sendall(b"COMMIT")
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    assert wire.broke(10)
    assert [server.heard.get(timeout=10) for _ in "12"] == [b"BEGIN", b"COMMIT"]


def test_a_commit_is_not_sent(
    wire: Wire, server: _Server, client: socket.socket
) -> None:
    wire.break_commit("before")
    client.sendall(b"COMMIT")
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    assert wire.broke(10)
    assert server.heard.get(timeout=10) == b"BEGIN"
    assert server.heard.empty()


def test_connections_are_closed_one_way_refused_and_stalled(
    wire: Wire, server: _Server, client: socket.socket
) -> None:
    assert wire.half_close() == 1
    assert client.recv(10) == b""
    client.sendall(b"still heard")
    assert [server.heard.get(timeout=10) for _ in "12"] == [b"BEGIN", b"still heard"]
    wire.refuse(True)
    # some clients hear of it while they connect
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", wire.port), 10) as other,
    ):
        other.recv(10)
    wire.mend()
    with socket.create_connection(("127.0.0.1", wire.port), 10) as other:
        other.sendall(b"x")
        assert other.recv(10) == b"done"
        wire.stall(True)
        other.sendall(b"y")
        assert server.heard.get(timeout=10) == b"x"
        assert server.heard.empty()
        wire.stall(False)
        assert other.recv(10) == b"done"
