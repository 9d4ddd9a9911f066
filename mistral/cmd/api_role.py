"""The API: its application, and its server in threads of this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import waitress  # type: ignore[import-untyped]
from waitress.server import BaseWSGIServer  # type: ignore[import-untyped]

from mistral.actions.registry import Registry
from mistral.api.app import make_app
from mistral.api.services import Services
from mistral.api.waiting import Endings
from mistral.bus import Bus
from mistral.clock import Clock
from mistral.cmd.front import in_front_of
from mistral.cmd.names import new_id
from mistral.cmd.secrets import make_callbacks, make_keyring, make_trusts
from mistral.cmd.unread_requests import Channel
from mistral.config import Settings
from mistral.db.database import Database
from mistral.errors import ServiceError
from mistral.service import Service

LOG = logging.getLogger(__name__)

API_THREADS: Final = 64
"""More than may wait for ends of executions (``waiting.PLACES``)."""


class ApiServer(Service):
    """The API in threads of this process, served by waitress.

    :param port: 0 takes a free one; ``port`` tells which.
    :param behind_proxy: headers of a proxy reach the application.
    :param drain: lets requests that wait for something be answered.
    """

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        *,
        behind_proxy: bool = False,
        drain: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__("api")
        self._drain = drain
        self._behind_proxy = behind_proxy
        self._app = app
        self._host = host
        self.port = port
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        sockets: dict[int, Any] = {}
        try:
            self._server = waitress.create_server(
                self._app,
                map=sockets,
                host=self._host,
                port=self.port,
                threads=API_THREADS,
                ident=None,
                clear_untrusted_proxy_headers=not self._behind_proxy,
            )
        except OSError as error:
            raise ServiceError(
                f"The API cannot listen on {self._host}:{self.port}:"
                f" {error.strerror or error}."
            ) from error
        for each in sockets.values():
            if isinstance(each, BaseWSGIServer):
                each.channel_class = Channel
        self.port = int(getattr(self._server, "effective_port", self.port))
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        self._thread.start()
        LOG.info("API on http://%s:%d/v2", self._host, self.port)

    def _run(self) -> None:
        try:
            self._server.run()
        except OSError as error:
            # The sockets go away while the loop waits on them when we stop.
            if not self._stopping:
                self.fail(error)

    _stopping = False

    def _stop(self) -> None:
        self._stopping = True
        self._drain()
        self._server.task_dispatcher.shutdown(timeout=10)
        self._server.close()
        if self._thread is not None:
            self._thread.join(2.0)


@dataclass(frozen=True, slots=True)
class Api:
    """The API, for any server.

    :param app: its WSGI application, with what stands in front of it.
    :param drain: to be called when the server begins to stop.
    """

    app: Any
    drain: Callable[[], None]


def make_api(settings: Settings, database: Database, bus: Bus, clock: Clock) -> Api:
    endings = Endings(database)
    app = make_app(
        Services(
            database=database,
            bus=bus,
            registry=Registry(settings),
            settings=settings,
            clock=clock,
            new_id=new_id,
            keyring=make_keyring(settings),
            callbacks=make_callbacks(settings),
            delegation=make_trusts(settings),
            endings=endings,
            events=cache(lambda: _make_intake(settings, database, clock)),
        )
    )
    return Api(in_front_of(app, settings), endings.close)


def _make_intake(settings: Settings, database: Database, clock: Clock) -> Any:
    """Loaded where events come over HTTP."""
    from mistral.cmd.event_role import make_event_intake

    return make_event_intake(settings, database, clock)
