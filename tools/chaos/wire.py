"""A TCP proxy between one process and one server that does what networks do."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from chaos.frames import Deliveries, Delivery, Frames

_CHUNK = 1 << 16
_COMMIT = b"COMMIT"


class Wires:
    """The thread that all proxies live in."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._all: list[Wire] = []
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def wire(self, port: int, *, messages: bool = False) -> Wire:
        """A proxy to this port of this machine.

        :param messages: it is a broker's, whose messages can be lost one by one.
        """
        wire = Wire(self, port, messages)
        self._all.append(wire)
        self.run(wire.open())
        return wire

    def close(self) -> None:
        self.run(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)
        self.loop.close()

    async def _end(self) -> None:
        for wire in self._all:
            wire.close()
        work = asyncio.all_tasks(self.loop) - {asyncio.current_task()}
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)


class _Link:
    """One connection: the process is near, the server is far."""

    def __init__(
        self, near: asyncio.StreamWriter, far: asyncio.StreamWriter | None = None
    ) -> None:
        self.near = near
        self.far = far
        self.deaf = False
        """What the server says is lost from now on."""
        self.deliveries = Deliveries()

    def writers(self) -> list[asyncio.StreamWriter]:
        return [self.near] if self.far is None else [self.near, self.far]

    def reset(self) -> None:
        """Both ends get RST."""
        for writer in self.writers():
            _linger(writer)
            writer.transport.abort()

    def end(self) -> None:
        """Both ends get FIN, behind what is under way."""
        for writer in self.writers():
            writer.close()


Falls = Callable[[Delivery], float]
"""What befalls a message to the process: seconds by which it comes late, while others
overtake it; less than 0: it is lost, and the broker thinks that it came."""


def _passes(_message: Delivery) -> float:
    return 0.0


class Wire:
    """Forwards a port of its own to another one, until it is told otherwise.

    All methods but ``open`` and ``close`` may be called from any thread and return
    when it is done.

    :ivar port: that processes connect to.
    """

    def __init__(self, wires: Wires, to: int, messages: bool = False) -> None:
        self._messages = messages
        self._falls: Falls = _passes
        self._ones: deque[tuple[float, threading.Event]] = deque()
        self._wires = wires
        self._to = to
        self._links: set[_Link] = set()
        self._refuses = False
        self._delay = 0.0
        self._armed = ""
        self._fired = threading.Event()
        self._flows = asyncio.Event()
        self._flows.set()
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """For good; in the thread of all wires."""
        self._server.close()
        for link in list(self._links):
            link.reset()

    # -- Faults -------------------------------------------------------------------

    def cut(self, *, reset: bool) -> int:
        """End all connections, by RST or by FIN. Answers how many there were."""

        def now() -> int:
            links = list(self._links)
            for link in links:
                link.reset() if reset else link.end()
            return len(links)

        return int(self._do(now))

    def refuse(self, on: bool) -> None:
        """Whether new connections are ended at once."""
        self._do(lambda: setattr(self, "_refuses", on))

    def stall(self, on: bool) -> None:
        """Whether bytes wait here, both ways; connections live on."""
        self._do(self._flows.clear if on else self._flows.set)

    def slow(self, seconds: float) -> None:
        """How long each piece of data is under way, one after the other."""
        self._do(lambda: setattr(self, "_delay", seconds))

    def half_close(self) -> int:
        """The server seems to have said its last word on each connection, and does
        not know it. Answers how many there were."""

        def now() -> int:
            links = [link for link in self._links if not link.deaf]
            for link in links:
                link.deaf = True
                with suppress(OSError, RuntimeError):
                    link.near.write_eof()
            return len(links)

        return int(self._do(now))

    def break_commit(self, when: str) -> None:
        """Reset the next connection that commits: ``before`` the server hears of it,
        or ``after`` it has done so, when its answer comes."""
        self._fired.clear()
        self._do(lambda: setattr(self, "_armed", when))

    def broke(self, seconds: float) -> bool:
        """Wait until a commit was broken; no longer wait for one afterwards."""
        fired = self._fired.wait(seconds)
        self._do(lambda: setattr(self, "_armed", ""))
        return fired or self._fired.is_set()

    def befall(self, falls: Falls) -> None:
        """Ask this of each message to the process; called in the thread of all
        wires."""
        self._do(lambda: setattr(self, "_falls", falls))

    def befall_one(self, late: float, seconds: float) -> bool:
        """Lose the next message to the process, or delay it by so many seconds, if one
        comes in time; whether one came. Several of these befall one message each.

        :param late: less than 0: it is lost.
        """
        one = late, threading.Event()
        self._do(lambda: self._ones.append(one))
        one[1].wait(seconds)

        def over() -> None:
            with suppress(ValueError):
                self._ones.remove(one)

        self._do(over)
        return one[1].is_set()

    def point(self, port: int) -> None:
        """Where new connections go from now on."""
        self._do(lambda: setattr(self, "_to", port))

    def mend(self) -> None:
        """As if nothing had been; who was made deaf is cut off."""

        def now() -> None:
            self._refuses, self._delay, self._armed = False, 0.0, ""
            self._falls = _passes
            self._flows.set()
            for link in [link for link in self._links if link.deaf]:
                link.reset()

        self._do(now)

    def _do(self, what: Callable[[], Any]) -> Any:
        async def done() -> Any:
            return what()

        return self._wires.run(done())

    # -- Forwarding ---------------------------------------------------------------

    async def _accept(
        self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter
    ) -> None:
        link = _Link(near)
        if self._refuses:
            link.reset()
            return
        self._links.add(link)
        try:
            far_in, link.far = await asyncio.open_connection("127.0.0.1", self._to)
            await asyncio.gather(
                self._up(near_in, link.far, link), self._down(far_in, near, link)
            )
        except (OSError, asyncio.CancelledError):
            link.reset()
        finally:
            link.end()
            self._links.discard(link)

    async def _up(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, link: _Link
    ) -> None:
        frames = Frames()
        while data := await source.read(_CHUNK):
            await self._under_way()
            if self._messages:
                # whole frames only: acknowledgements of ours go in between
                whole = frames.feed(data)
                for frame in whole:
                    link.deliveries.hears(frame)
                data = b"".join(whole)
            when = self._armed if _COMMIT in data else ""
            if when:
                self._armed = ""
                self._fired.set()
            if when == "before":
                link.reset()
                return
            sink.write(data)
            if when == "after":
                link.deaf = True
            await sink.drain()
        await self._under_way()
        _say_end(sink)

    async def _down(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, link: _Link
    ) -> None:
        frames = Frames()
        while data := await source.read(_CHUNK):
            await self._under_way()
            if link.deaf:
                # A commit was answered, or nobody hears it any more.
                link.reset()
                return
            if self._messages:
                data = b"".join(self._let_through(f, link) for f in frames.feed(data))
            sink.write(data)
            await sink.drain()
        await self._under_way()
        _say_end(sink)

    def _let_through(self, frame: bytes, link: _Link) -> bytes:
        """What goes on to the process now."""
        found = link.deliveries.sees(frame)
        if not isinstance(found, Delivery):
            return found or b""
        late = self._falls(found)
        if not late and self._ones:
            late, came = self._ones.popleft()
            came.set()
        if not late:
            return found.raw
        if late > 0:
            self._wires.loop.call_later(late, _write, link.near, found.raw)
        elif found.consumer not in link.deliveries.unacknowledged:
            assert link.far is not None
            _write(link.far, found.ack())
        return b""

    async def _under_way(self) -> None:
        if self._delay:
            await asyncio.sleep(self._delay)
        await self._flows.wait()


def _write(sink: asyncio.StreamWriter, data: bytes) -> None:
    with suppress(OSError, RuntimeError):
        if not sink.is_closing():
            sink.write(data)


def _linger(writer: asyncio.StreamWriter) -> None:
    """What is closed now is reset instead of ended."""
    raw: socket.socket | None = writer.get_extra_info("socket")
    with suppress(OSError):
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _say_end(sink: asyncio.StreamWriter) -> None:
    with suppress(OSError, RuntimeError):
        if not sink.is_closing():
            sink.write_eof()
