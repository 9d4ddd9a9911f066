"""Send one request under the egress policy, and read its answer under a cap.

The guard sits where connections are made: urllib3 asks it for every connection, of
redirects and to proxies as well, and keeps Host header and TLS server name of the
URL while the socket goes to the checked address.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any, Final

import requests
from mistral_lib.exceptions import ActionException
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as urllib3_exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util.connection import create_connection

from mistral.actions.egress import Egress, EgressDenied

MAX_REDIRECTS: Final = 10

_CHUNK: Final = 64 * 1024


class Deadline:
    """Cuts the connections of a request when its time is over.

    A server that sends a byte now and then never runs into a read time-out, so
    the end comes from outside: sockets are shut down, whatever waits on them.

    :param seconds: from entering on; None: for ever.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer: threading.Timer | None = None
        self.passed = False

    def __enter__(self) -> Deadline:
        if self._seconds is not None:
            self._timer = threading.Timer(self._seconds, self._cut)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            for each in self._sockets:
                each.close()
            self._sockets = []

    def watch(self, connected: socket.socket) -> socket.socket:
        """The same socket; raises TimeoutError when the time is over already."""
        with self._lock:
            if self.passed:
                connected.close()
                raise TimeoutError("no time is left")
            if self._timer is not None:
                # TLS takes the socket over; a second handle stays valid.
                self._sockets.append(connected.dup())
        return connected

    def _cut(self) -> None:
        with self._lock:
            self.passed = True
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


class GuardedAdapter(HTTPAdapter):
    """:param limit: most bytes of a body, after decoding; 0: no limit."""

    def __init__(self, egress: Egress, limit: int, deadline: Deadline) -> None:
        self._egress = egress
        self._limit = limit
        self._pools = _guarded_pools(egress, deadline)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if not proxy.lower().startswith(("http://", "https://")):
            raise EgressDenied("Only http and https proxies are allowed.")
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """One hop: judge its URL, connect, read the body under the cap."""
        host = self._egress.check_url(request.url or "")
        if kwargs.get("proxies"):
            try:
                self._egress.addresses(host, 0)
            except OSError:
                # Only the proxy can resolve it.
                pass
        kwargs["stream"] = True
        response = super().send(request, *args, **kwargs)
        try:
            response._content = self._body(request, response)
            response._content_consumed = True
        finally:
            response.close()
        return response

    def _body(
        self, request: requests.PreparedRequest, response: requests.Response
    ) -> bytes:
        if request.method == "HEAD":
            return b""
        length = response.headers.get("Content-Length", "")
        if self._limit and length.isdecimal() and int(length) > self._limit:
            raise ActionException(
                f"HTTP response is too large (Content-Length={length}, "
                f"limit={self._limit} bytes)."
            )
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if self._limit and len(body) > self._limit:
                raise ActionException(
                    f"HTTP response is too large (limit={self._limit} bytes)."
                )
        return bytes(body)


def send(
    egress: Egress,
    limit: int,
    request: requests.Request,
    *,
    total: float | None = None,
    **options: Any,
) -> requests.Response:
    """The answer, its body read.

    :param total: seconds for all of it; None: any.
    :param options: ``timeout``, ``allow_redirects``, ``proxies``, ``verify`` as
        ``requests`` takes them. Nothing is taken from the environment (proxies,
        ``.netrc``): it belongs to the operator.
    :raises EgressDenied: the policy forbids it.
    :raises ActionException: the body is above the limit.
    :raises TimeoutError: it took longer than ``total``.
    :raises requests.RequestException: everything else.
    """
    deadline = Deadline(total)
    with requests.Session() as session, deadline:
        session.trust_env = False
        session.max_redirects = MAX_REDIRECTS
        adapter = GuardedAdapter(egress, limit, deadline)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        try:
            response = session.send(session.prepare_request(request), **options)
        except (requests.RequestException, HTTPError, OSError):
            if not deadline.passed:
                raise
        # What was cut off may look like the end of a body.
        if not deadline.passed:
            return response
    raise TimeoutError(f"it took longer than {total:g} s in all")


def _guarded_pools(
    egress: Egress, deadline: Deadline
) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return deadline.watch(_connect(self, egress, deadline))

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return deadline.watch(_connect(self, egress, deadline))

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _connect(
    connection: HTTPConnection, egress: Egress, deadline: Deadline
) -> socket.socket:
    host, port = connection.host, connection.port
    try:
        addresses = egress.addresses(host, port)
    except OSError as error:
        raise urllib3_exceptions.NewConnectionError(
            connection, f"Failed to resolve '{host}': {error}"
        ) from error
    failure: OSError | None = None
    for address in addresses:
        if deadline.passed:
            break
        try:
            return create_connection(
                (address, port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            failure = error
    if isinstance(failure, TimeoutError):
        raise urllib3_exceptions.ConnectTimeoutError(
            connection, f"Connection to {host} timed out."
        ) from failure
    raise urllib3_exceptions.NewConnectionError(
        connection, f"Failed to establish a new connection: {failure}"
    ) from failure
