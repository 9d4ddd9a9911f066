"""A small HTTP service for the quickstart: some orders, one of them stubborn.

Prints its port, then serves until it is ended. ``A-3`` answers 503 twice before
it answers at all; ``/seen`` tells how often each path was asked for.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

ORDERS = {
    "A-1": {"id": "A-1", "customer": "Ada", "amount": 100},
    "A-2": {"id": "A-2", "customer": "Grace", "amount": 60},
    "A-3": {"id": "A-3", "customer": "Ada", "amount": 50},
    "A-4": {"id": "A-4", "customer": "Edsger", "amount": 80},
    "A-5": {"id": "A-5", "customer": "Grace", "amount": 40},
    "A-6": {"id": "A-6", "customer": "Edsger", "amount": 20},
}
DISCOUNTS = {"Ada": 10, "Grace": 25}
STUBBORN = "/orders/A-3"
REFUSALS = 2

#: What the workflow has to find out: Ada 135, Edsger 100, Grace 75.
EXPECTED_TOTAL = 310

_seen: Counter[str] = Counter()
_lock = Lock()


class Orders(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with _lock:
            if self.path != "/seen":
                _seen[self.path] += 1
            times = _seen[self.path]
            seen = dict(_seen)
        if self.path == STUBBORN and times <= REFUSALS:
            self._answer(503, {"error": "busy, ask again"})
        elif self.path == "/orders":
            self._answer(200, {"orders": list(ORDERS)})
        elif self.path == "/discounts":
            self._answer(200, DISCOUNTS)
        elif self.path == "/seen":
            self._answer(200, seen)
        elif self.path.removeprefix("/orders/") in ORDERS:
            self._answer(200, ORDERS[self.path.removeprefix("/orders/")])
        else:
            self._answer(404, {"error": "there is no such order"})

    def _answer(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        print(self.address_string(), format % args, file=sys.stderr, flush=True)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Orders)
    print(server.server_address[1], flush=True)
    server.serve_forever()
