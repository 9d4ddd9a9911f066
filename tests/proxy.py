"""A TCP proxy that tests cut: what a network does to a connection."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Forwards a port of its own to another one.

    ``cut`` closes all connections and refuses new ones until ``mend``.
    """

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._change = threading.Condition()
        self._whole = True
        self._refused = 0
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        with self._change:
            self._whole = False
            self._refused = 0
            for each in self._sockets:
                _end(each)
            self._sockets.clear()

    def refused(self, times: int, seconds: float) -> bool:
        """Wait until so many connections were refused since the last ``cut``
        or ``refused``."""
        with self._change:
            found = self._change.wait_for(lambda: self._refused >= times, seconds)
            self._refused = 0
            return found

    def mend(self) -> None:
        with self._change:
            self._whole = True

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._change:
                if not self._whole:
                    near.close()
                    self._refused += 1
                    self._change.notify_all()
                    continue
                far = socket.create_connection(self._to)
                self._sockets |= {near, far}
            for pair in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    _end(sink)
    _end(source)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
