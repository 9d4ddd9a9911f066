"""The API in gunicorn's worker processes: a child of ``mistral-server``, or the
server itself where it has no other role.

The master loads the code and never uses it: its workers share those pages.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from mistral.clock import SystemClock
from mistral.cmd.api_role import API_THREADS, api_app
from mistral.cmd.children import end_with_parent
from mistral.cmd.logs import start_logging
from mistral.cmd.memory import settle, share_heaps
from mistral.cmd.messaging import make_bus
from mistral.cmd.names import server_name
from mistral.cmd.storage import DatabaseService, make_database
from mistral.config import Settings, load
from mistral.errors import MistralError

LOG = logging.getLogger(__name__)


def application(argv: Sequence[str] = ()) -> Any:
    """The WSGI application with a database pool and a bus of its own.

    :raises StaleSchema: the database has another version.
    """
    settings = load(argv)
    return _application(settings)


def _application(settings: Settings) -> Any:
    database = make_database(settings)
    database.check_schema()
    bus = make_bus(settings, server_name(settings))
    bus.start()
    return api_app(settings, database, bus, SystemClock())


class _Workers(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        api = self._settings.api
        values = {
            "bind": f"{api.host}:{api.port}",
            "workers": api.api_workers or os.cpu_count() or 1,
            "worker_class": "gthread",
            "threads": API_THREADS,
            "timeout": 120,
            "graceful_timeout": 30,
            "proc_name": "mistral-api",
            "loglevel": "warning",
            "when_ready": _tell,
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Called in each worker: connections do not survive a fork."""
        return _application(self._settings)


def _tell(master: object) -> None:
    LOG.info("mistral-server is up: api")


def serve(settings: Settings) -> int:
    """Be gunicorn's master until SIGTERM, and drain.

    :raises StaleSchema: the database has another version.
    :raises ServiceError: the database cannot be used.
    """
    check = DatabaseService(make_database(settings))
    check.start()
    # a connection must not be shared with the workers
    check.stop()
    settle()
    try:
        _Workers(settings).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def main() -> int:
    share_heaps()
    settings = load(sys.argv[1:])
    start_logging(settings)
    end_with_parent()
    try:
        return serve(settings)
    except MistralError as error:
        print(f"mistral-server: {error.message}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
