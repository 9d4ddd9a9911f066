"""The API in gunicorn's worker processes, as a child of ``mistral-server``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from mistral.clock import SystemClock
from mistral.cmd.children import end_with_parent
from mistral.cmd.compose import api_app, make_bus, make_database, server_name
from mistral.cmd.server import start_logging
from mistral.config import Settings, load

THREADS = 16


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
            "threads": THREADS,
            "timeout": 120,
            "graceful_timeout": 30,
            "proc_name": "mistral-api",
            "loglevel": "warning",
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Called in each worker: connections do not survive a fork."""
        return _application(self._settings)


def main() -> None:
    settings = load(sys.argv[1:])
    start_logging(settings)
    end_with_parent()
    _Workers(settings).run()


if __name__ == "__main__":
    main()
