"""The edges of a request: its size on the way in, its errors on the way out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import sqlalchemy.exc
from webob import Response, exc

from mistral import errors
from mistral.api.faults import fault, status_of
from mistral.api.framework import PecanHook
from mistral.context import current_request_id
from mistral.redaction import redacted

LOG = logging.getLogger(__name__)

REQUEST_ID_HEADER: Final = "X-Openstack-Request-Id"
BODY: Final = "mistral.body"
"""Environ key of the whole body, read once within the limit."""
REQUEST_ID: Final = "mistral.request_id"

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def _answer_to(error: Exception) -> Response | None:
    """The answer to a mistake of the caller or to a refusal; None: our failure."""
    if isinstance(error, exc.HTTPException):
        kept = {}
        if "Allow" in error.headers:
            kept["Allow"] = error.headers["Allow"]
        return fault(error.status_int, error.detail or error.title, kept)
    if isinstance(error, errors.MistralError):
        status = status_of(type(error))
        if status is not None:
            kept = {}
            if isinstance(error, errors.Unavailable):
                kept["Retry-After"] = str(max(1, round(error.retry_after)))
            if isinstance(error, errors.TooMany):
                kept["Retry-After"] = "5"
            return fault(status, error.message, kept)
    if isinstance(error, sqlalchemy.exc.DataError):
        # A value that this database cannot hold: a client's mistake, so no trace
        # and nothing of its text (SEC-27), which shows the value.
        kind = type(error.orig or error).__name__
        LOG.warning("The database refused a value: %s", kind)
        return fault(400, "A value is too long or out of range.")
    if isinstance(error, UnicodeEncodeError):
        # Half of a surrogate pair, which JSON can write and nobody can store.
        return fault(400, "A text holds characters that do not exist.")
    return None


class ErrorHook(PecanHook):  # type: ignore[misc]
    """Every error becomes JSON with ``faultstring``; none shows a trace or
    SQL (SEC-17, SEC-27).

    :param is_retryable: whether an error says that the database was away.
    :param challenge: how to say who one is, for ``WWW-Authenticate``.
    """

    def __init__(
        self,
        is_retryable: Callable[[BaseException], bool],
        challenge: str = "Keystone",
    ) -> None:
        self._is_retryable = is_retryable
        self._challenge = challenge

    def on_error(self, state: Any, error: Exception) -> Response | None:
        if isinstance(error, exc.HTTPException) and error.status_int < 400:
            return None
        answer = _answer_to(error)
        if answer is not None:
            if answer.status_int == 401:
                self._ask_for_token(answer)
            return answer
        request_id = state.request.environ[REQUEST_ID]
        if self._is_retryable(error):
            LOG.warning("Request %s failed: %s", request_id, redacted(error))
            message = f"The database is not available, request {request_id}."
            return fault(503, message, {"Retry-After": "5"})
        LOG.error("Request %s failed", request_id, exc_info=error)
        return fault(500, f"Internal error, request {request_id}.")

    def _ask_for_token(self, answer: Response) -> None:
        """Both headers carry the reason (§ 4.1)."""
        reason = answer.headers["Server-Error-Message"].replace('"', "'")
        separator = "," if "=" in self._challenge else ""
        answer.headers["WWW-Authenticate"] = (
            f'{self._challenge}{separator} error_description="{reason}"'
        )


def _is_text(environ: dict[str, Any]) -> bool:
    """Whether path and query are UTF-8 (WSGI hands them over as Latin-1) without
    NUL, which no name has and some databases cannot be asked for."""
    try:
        query = environ.get("QUERY_STRING", "").encode("latin-1")
        path = environ.get("PATH_INFO", "").encode("latin-1").decode()
        return "\0" not in path + unquote_to_bytes(query).decode()
    except UnicodeError:
        return False


class Edge:
    """WSGI around everything: request id, size of the body, HEAD, OPTIONS.

    :param max_body: bytes; a longer body is refused with 413 (§ 6.5).
    """

    def __init__(
        self, app: WsgiApp, *, max_body: int, new_id: Callable[[], str]
    ) -> None:
        self._app = app
        self._max_body = max_body
        self._new_id = new_id

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        request_id = f"req-{self._new_id()}"
        token = current_request_id.set(request_id)
        try:
            return self._answer(environ, start_response, request_id)
        finally:
            current_request_id.reset(token)

    def _answer(
        self,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
        request_id: str,
    ) -> Iterable[bytes]:
        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Any:
            headers = [*headers, (REQUEST_ID_HEADER, request_id)]
            return start_response(status, headers, exc_info)

        environ[REQUEST_ID] = request_id
        if not _is_text(environ):
            refused = fault(400, "The path or query is not UTF-8 text without NUL.")
            return refused(environ, start)
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            start("200 OK", [("Content-Length", "0")])
            return [b""]
        body = self._read(environ)
        if body is None:
            message = f"The body is longer than {self._max_body} bytes."
            return fault(413, message)(environ, start)
        environ[BODY] = body
        if method != "HEAD":
            return self._app(environ, start)
        environ["REQUEST_METHOD"] = "GET"
        for _ in self._app(environ, start):
            pass
        return [b""]

    def _read(self, environ: dict[str, Any]) -> bytes | None:
        """The body; None if it is too long."""
        declared = environ.get("CONTENT_LENGTH") or ""
        stream = environ["wsgi.input"]
        if declared.isdigit():
            length = int(declared)
            if length > self._max_body:
                return None
            return bytes(stream.read(length)) if length else b""
        if not environ.get("wsgi.input_terminated"):
            return b""
        body = bytes(stream.read(self._max_body + 1))
        return None if len(body) > self._max_body else body
