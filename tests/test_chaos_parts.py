"""Parts of the fault campaign that decide what it can find."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest
from chaos import clocks
from chaos.__main__ import arguments
from chaos.clocks import Clocks
from chaos.frames import Deliveries, Delivery, Frames
from chaos.hops import HOPS
from chaos.judge import progress
from chaos.logs import strange
from chaos.schedule import KINDS, OF_OWN_SERVERS, SHARED, schedule
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


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


def _message(body: bytes) -> bytes:
    method = struct.pack(">HH", 60, 60) + b"\x02c1" + struct.pack(">QB", 7, 0)
    method += b"\x01x\x03key"
    header = struct.pack(">HHQH", 60, 0, len(body), 0)
    half = len(body) // 2
    return b"".join(
        (_frame(1, method), _frame(2, header))
        + (_frame(3, body[:half]), _frame(3, body[half:]))
    )


def test_messages_are_found_among_bytes_however_these_are_cut() -> None:
    other = _frame(8, b"")
    stream = b"AMQP\x00\x00\x09\x01" + other + _message(b"all of it") + other
    for size in (1, 7, 50, len(stream)):
        frames, deliveries, found = Frames(), Deliveries(), []
        for at in range(0, len(stream), size):
            for frame in frames.feed(stream[at : at + size]):
                found.append(deliveries.sees(frame))
        [message] = [each for each in found if isinstance(each, Delivery)]
        assert (message.key, message.tag, message.body) == ("key", 7, b"all of it")
        raw = [e.raw if isinstance(e, Delivery) else e or b"" for e in found]
        assert b"".join(raw) == stream, "what is not asked for goes on as it came"
    assert message.ack() == _frame(1, struct.pack(">HHQB", 60, 80, 7, 0))


def test_who_acknowledges_nothing_is_known() -> None:
    def consume(tag: bytes, bits: int) -> bytes:
        return _frame(
            1, struct.pack(">HHH", 60, 20, 0) + b"\x01q" + tag + bytes([bits])
        )

    deliveries = Deliveries()
    deliveries.hears(consume(b"\x01a", 0))
    deliveries.hears(consume(b"\x01b", 2))
    assert deliveries.unacknowledged == {"b"}


def test_servers_die_only_if_they_are_the_campaigns_own() -> None:
    shared = arguments(["--topology", "postgresql"]).kinds
    assert not set(OF_OWN_SERVERS) & set(shared)
    one = arguments(["--restart-broker", "true"]).kinds
    assert set(OF_OWN_SERVERS) & set(one) == {"restart-broker"}
    own = arguments(["--private", "--topology", "postgresql"]).kinds
    assert set(OF_OWN_SERVERS) <= set(own)
    alone = arguments(["--private", "--topology", "mariadb"]).kinds
    assert set(OF_OWN_SERVERS) - set(alone) == {"fail-over"}, "it has no standby"


def test_weights_are_those_that_were_asked_for() -> None:
    asked = arguments(["--faults", "kill,lose", "--weight", "kill=0"])
    faults = schedule("1", 60, NAMES, asked.kinds, 0.5, asked.weights)
    assert {fault.kind for fault in faults} == {"lose"}


MESSAGES = {
    "requests": ("mistral", "mistral_engine", b'"kind\\": \\"StartWorkflow'),
    "answers": ("", "reply_1", b'"answer\\": {\\"id\\"'),
    "offers": ("mistral", "mistral_executor.info", b"CallAction"),
    "claims": ("mistral", "mistral_engine", b"ClaimAction"),
    "grants": ("", "reply_1", b'"answer\\": [true]'),
    "results": ("mistral", "mistral_engine.results.one.info", b"ActionFinished"),
    "signs": ("mistral", "mistral_engine", b"Heartbeat"),
    "confirmations": ("", "reply_1", b'"answer\\": {\\"over\\": []'),
}


HANDED_IN = {
    "results": (
        "mistral",
        "mistral_engine",
        b'\\"event\\": {\\"kind\\": \\"ActionFinished\\"}, \\"kind\\": \\"HandIn\\"',
    ),
    "grants": (
        "",
        "reply_1",
        b'"answer\\": {\\"call\\": {\\"input\\": \\"it is over\\"}}',
    ),
}


@pytest.mark.parametrize(("name", "found"), [*MESSAGES.items(), *HANDED_IN.items()])
def test_a_message_goes_one_way(name: str, found: tuple[str, str, bytes]) -> None:
    assert MESSAGES.keys() == HOPS.keys()
    exchange, key, body = found
    message = Delivery(1, "c", 1, exchange, key, b"", body)
    role = HOPS[name].role
    ways = {way for way, hop in HOPS.items() if hop.role == role}
    assert {way for way in ways if HOPS[way].is_of(message)} == {name}


@pytest.mark.skipif(not clocks.able(), reason="There is no C compiler.")
def test_a_clock_on_the_wall_is_stepped_alone(tmp_path: Path) -> None:
    stepped = Clocks(tmp_path, ["a"])
    ask = "import time\nwhile input(): print(time.time(), time.monotonic(), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", ask],
        env={**os.environ, **stepped.environment("a")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        for step in (0, 3600, -3600, 0):
            stepped.step("a", step)
            process.stdin.write("?\n")
            process.stdin.flush()
            wall, monotonic = map(float, process.stdout.readline().split())
            assert abs(wall - time.time() - step) < 60
            assert abs(monotonic - time.monotonic()) < 60
        process.stdin.write("\n")


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


def test_of_a_chain_of_tracebacks_the_last_one_counts() -> None:
    logger = "oslo_messaging.rpc.server"
    texts = ["Traceback (most recent call last):", "  File 1", "KeyError", "",
             "During handling of the above exception, another exception occurred:", "",
             "Traceback (most recent call last):", "  File 2"]  # fmt: skip
    lines = [f"{HEAD} {logger} {text}" for text in texts]
    away = f"{HEAD} {logger} amqp.exceptions.ConnectionForced: (0, 0): (320) away"
    assert strange([*lines, away]) == []
    assert strange([*lines, f"{HEAD} {logger} ValueError: no"]) == ["ValueError: no"]


def test_what_a_full_disk_has_left_of_a_line_is_no_error() -> None:
    lines = ["Traceback (most recent call last):", "  File 1"]
    rest = "53.206 12 WARNING mistral.service [-] beat: late"
    assert strange([*lines, rest]) == []
    assert strange([*lines, f"{HEAD} oslo_messaging.rpc.server 2026-11-2{rest}"]) == []


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
