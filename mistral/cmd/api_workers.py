"""The API in gunicorn's worker processes: a child of ``mistral-server``, or the
server itself where it has no other role.

The master loads the code and never uses it: its workers share those pages.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from mistral.clock import SystemClock
from mistral.cmd.api_role import API_THREADS, Api, make_api
from mistral.cmd.children import end_with_parent, tell_parent
from mistral.cmd.logs import keep_values_out, start_logging
from mistral.cmd.memory import Rest, settle, share_heaps
from mistral.cmd.messaging import make_bus
from mistral.cmd.names import server_name
from mistral.cmd.storage import DatabaseService, make_database
from mistral.cmd.unread_requests import LONGEST_REQUEST_LINE, Worker
from mistral.config import Settings, load
from mistral.db.database import Database
from mistral.errors import MistralError, is_outage
from mistral.redaction import redacted

LOG = logging.getLogger(__name__)

REST_SECONDS: Final = 75
"""A connection may rest so long. Longer than in pools of clients and proxies, which
would send a request just when it is closed, and be reset; gunicorn's default is 2."""


def application(argv: Sequence[str] = ()) -> Any:
    """The WSGI application with a database pool and a bus of its own.

    :raises StaleSchema: the database has another version.
    """
    settings = load(argv)
    keep_values_out()
    database = make_database(settings)
    database.check_schema()
    return _api(settings, database).app


def _api(settings: Settings, database: Database) -> Api:
    bus = make_bus(settings, server_name(settings))
    bus.start()
    Rest().start()
    return make_api(settings, database, bus, SystemClock())


class _Once:
    """What the first of several forked processes does, and none of the others."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self._token, writing = os.pipe()
        os.write(writing, b"1")
        os.close(writing)

    def __call__(self, worker: object) -> None:
        if os.read(self._token, 1):
            self._do()


class Draining(Worker):  # type: ignore[misc]
    """Answers at SIGTERM who waits for an execution."""

    def handle_exit(self, sig: int, frame: object) -> None:
        if self.alive:
            # not here: a signal's handler must not wait for a lock
            self.method_queue.defer(self.app.drain)
        super().handle_exit(sig, frame)


class _Workers(BaseApplication):  # type: ignore[misc]
    """:param up: called when the first worker can answer."""

    def __init__(self, settings: Settings, up: Callable[[], None]) -> None:
        self._settings = settings
        self._up = _Once(up)
        self._api: Api | None = None
        super().__init__()

    def load_config(self) -> None:
        api = self._settings.api
        values = {
            "bind": f"{api.host}:{api.port}",
            "workers": api.api_workers or os.cpu_count() or 1,
            "worker_class": Draining,
            "limit_request_line": LONGEST_REQUEST_LINE,
            "threads": API_THREADS,
            "keepalive": REST_SECONDS,
            "timeout": 120,
            "graceful_timeout": 30,
            "proc_name": "mistral-api",
            "loglevel": "warning",
            "post_worker_init": self._up,
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Called in each worker: connections do not survive a fork.

        One that begins during an outage answers with it until that is over: one that
        cannot begin would end all workers.
        """
        database = make_database(self._settings)
        try:
            database.check_schema()
        except Exception as error:
            if not is_outage(error):
                raise
            LOG.warning("The database cannot be looked at yet: %s", redacted(error))
        self._api = _api(self._settings, database)
        return self._api.app

    def drain(self) -> None:
        """Called in each worker, when it begins to stop."""
        if self._api is not None:
            self._api.drain()


def serve(settings: Settings, up: Callable[[], None]) -> int:
    """Be gunicorn's master until SIGTERM, and drain.

    :param up: called, in a worker, when the API answers.
    :raises StaleSchema: the database has another version.
    :raises ServiceError: the database cannot be used.
    """
    check = DatabaseService(make_database(settings))
    check.start()
    # a connection must not be shared with the workers
    check.stop()
    settle()
    try:
        _Workers(settings, up).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def main() -> int:
    share_heaps()
    settings = load(sys.argv[1:])
    start_logging(settings)
    end_with_parent()
    try:
        return serve(settings, tell_parent)
    except MistralError as error:
        print(f"mistral-server: {error.message}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
