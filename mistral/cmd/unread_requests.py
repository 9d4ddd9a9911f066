"""Requests that the HTTP server in front of the API cannot read, or will not because
of their length, never reach the API: here they get the same shape of errors as all
others (spec/rest-api.md § 2.1).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http import errors  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.task import ErrorTask  # type: ignore[import-untyped]

from mistral.api.faults import fault

LONGEST_REQUEST_LINE: Final = 8190
"""Bytes. A filter may hold some hundred ids; gunicorn takes no longer ones."""

_STATUSES: Final = (
    (errors.LimitRequestLine, 414),
    (errors.LimitRequestHeaders, 431),
    (errors.ExpectationFailed, 417),
    (errors.UnsupportedTransferCoding, 501),
    (errors.ParseException, 400),
)
_OURS: Final = (
    errors.InvalidResponseHeader,
    errors.InvalidResponseHeaderName,
    errors.ConfigurationProblem,
)
"""Parse errors by name, but not of what a client sent."""


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's, which by itself says this in HTML."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        for cls, status in _STATUSES:
            if isinstance(exc, cls) and not isinstance(exc, _OURS):
                self._refuse(client, status, str(exc))
                return
        super().handle_error(req, client, addr, exc)

    def _refuse(self, client: Any, status: int, message: str) -> None:
        answer = fault(status, message)
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            "Connection: close\r\n"
            f"Content-Type: {answer.headers['Content-Type']}\r\n"
            f"Content-Length: {len(answer.body)}\r\n\r\n"
        )
        try:
            util.write_nonblock(client, head.encode("latin-1") + answer.body)
        except OSError as error:
            self.log.debug("A refused client did not hear of it: %s", error)


class _Refusal(ErrorTask):  # type: ignore[misc]
    def execute(self) -> None:
        refused = self.request.error
        answer = fault(refused.code, refused.body)
        self.status = f"{refused.code} {refused.reason}"
        self.response_headers.append(("Content-Type", answer.headers["Content-Type"]))
        self.set_close_on_finish()
        self.content_length = len(answer.body)
        self.write(answer.body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """waitress' connection, which by itself says this in plain text."""

    error_task_class = _Refusal
