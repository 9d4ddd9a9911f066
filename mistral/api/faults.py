"""The one shape of errors, and what their statuses mean (spec/rest-api.md § 2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from webob import Response

from mistral import errors
from mistral.api.types import EnumType, ResourceType, Text, nullable

_STATUSES: Final[tuple[tuple[type[errors.MistralError], int], ...]] = (
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.PreconditionFailed, 412),
    (errors.Locked, 423),
    (errors.TooMany, 429),
    (errors.CallerError, 400),
    (errors.AuthorError, 400),
    (errors.Unavailable, 503),
)

MEANINGS: Final[Mapping[int, str]] = {
    400: "The request makes no sense as it was put; `faultstring` says why.",
    401: "Nobody known: the token is missing or not valid.",
    403: "The caller may not do this, or it is not possible in the present state.",
    404: "There is no such object, or the caller does not see it.",
    405: "The path is that of something else: its name is a reserved word.",
    406: "The answer would be JSON, which `Accept` excludes.",
    409: "There is one with this name already, or it is in use.",
    412: "`If-Match` names another state of the object than the present one.",
    413: "The body is too long.",
    414: "The path and its query are too long.",
    415: "The media type of the body is not taken here.",
    423: "The service is in maintenance: nothing may change now.",
    429: "Too many requests wait here: repeat it later.",
    431: "The headers are too long.",
    500: "The service failed; its log tells more under the request id.",
    503: "The service cannot answer at the moment: repeat the request later.",
}

REASON_IN_HEADER: Final = frozenset({401, 415, 423})
"""Clients read the reason of these from ``Server-Error-Message`` (§ 2.1)."""

RETRIED: Final = frozenset({429, 503})
"""These have ``Retry-After``."""


class Fault(ResourceType):
    """Body of all errors (§ 2.1, Q-09)."""

    faultcode = EnumType("Client", "Server")
    faultstring = Text
    debuginfo = nullable(Text)


def status_of(cls: type[errors.MistralError]) -> int | None:
    """What an error is answered with; None: it is a failure of ours."""
    for known, status in _STATUSES:
        if issubclass(cls, known):
            return status
    return None


def fault(
    status: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer to a request that failed."""
    body = {
        "faultcode": "Client" if status < 500 else "Server",
        "faultstring": message,
        "debuginfo": None,
    }
    response = Response(
        status=status,
        body=json.dumps(Fault.shape(body)).encode(),
        content_type="application/json",
        charset="UTF-8",
    )
    if status in REASON_IN_HEADER:
        reason = message.replace("\n", " ").replace("\r", " ")
        response.headers["Server-Error-Message"] = reason.encode(
            "ascii", "backslashreplace"
        ).decode()
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response
