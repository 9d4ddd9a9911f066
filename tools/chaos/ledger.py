"""Where actions of the load write down that they ran: outside the service.

``GET /<answer>/<run>/<task>/<item>?hold=SECONDS`` is one call. Its answer holds the
number of the call, which no other call has. The first word says what is answered:

* ``ok``: 200;
* ``flaky``: 503 to the first call of that run, task and item, 200 afterwards;
* ``ask``: 200, and somebody has to give the result of the action later.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from urllib.parse import parse_qs, urlsplit

Key = tuple[str, str, int]
"""Run, task, item."""

SLOW_ONE_IN = 6
SLOW_SECONDS = 2.5
"""Longer than most messages are under way: faults befall actions that run."""

ACTION_HEADER = "Mistral-Action-Execution-Id"


@dataclass(frozen=True)
class Call:
    """:param at: seconds of the clock on the wall."""

    number: int
    key: Key
    at: float
    action_id: str


class Ledger:
    """An HTTP server on a port of its own.

    :ivar asked: calls that somebody has to answer.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.asked: SimpleQueue[Call] = SimpleQueue()
        self._times: defaultdict[Key, int] = defaultdict(int)
        self._lock = threading.Lock()
        ledger = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = ledger.note(
                    self.path, self.headers.get(ACTION_HEADER, "")
                )
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    # who asked was killed meanwhile
                    self.close_connection = True

            def log_message(self, format: str, *arguments: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def note(self, path: str, action_id: str) -> tuple[int, bytes]:
        """Write a call down, hold it, and answer: status and body."""
        asked = urlsplit(path)
        answer, run, task, item = asked.path.strip("/").split("/")
        key = (run, task, int(item))
        with self._lock:
            call = Call(len(self.calls) + 1, key, time.time(), action_id)
            self.calls.append(call)
            self._times[key] += 1
            first = self._times[key] == 1
        hold = float(parse_qs(asked.query)["hold"][0])
        slow = not zlib.crc32(asked.path.encode()) % SLOW_ONE_IN
        threading.Event().wait(hold + SLOW_SECONDS * slow)
        if answer == "ask":
            self.asked.put(call)
        fails = answer == "flaky" and first
        return (503 if fails else 200), json.dumps({"number": call.number}).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
