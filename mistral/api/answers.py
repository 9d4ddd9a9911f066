"""From what a handler gave back to an HTTP response: media type, tag, gzip."""

from __future__ import annotations

from typing import Final

from webob import Request, Response

from mistral.api.etags import packed_tag
from mistral.api.rest import Answer, Route
from mistral.api.shapes import Upload

LEAST_PACKED: Final = 1000
"""Bytes: shorter answers are sent as they are."""

_VARIES: Final = ("Accept-Encoding",)


def response_of(request: Request, route: Route, answer: Answer) -> Response:
    """The response of a success."""
    if answer.status == 204:
        return Response(status=204, content_type=None)
    if answer.status == 304:
        found = Response(status=304, content_type=None, etag=answer.etag)
        found.vary = _VARIES
        return found
    if isinstance(answer.body, bytes):
        return Response(
            status=answer.status,
            body=answer.body,
            content_type=answer.content_type,
            charset="utf-8",
        )
    found = Response(
        status=answer.status, json_body=answer.body, content_type="application/json"
    )
    if _takes_definition(route):
        # WebOb knows that JSON needs no charset
        found.headers["Content-Type"] = "application/json;charset=utf-8"
    if answer.etag is not None:
        found.etag = answer.etag
    return _packed(request, found)


def _takes_definition(route: Route) -> bool:
    """Whether clients of the first implementation saw a charset (§ 1.6): behind
    uploads of definitions, not behind those of sources."""
    return isinstance(route.takes, Upload) and route.takes.is_definition


def _packed(request: Request, answer: Response) -> Response:
    """The answer as gzip where that was asked for and saves something."""
    if len(answer.body) < LEAST_PACKED:
        return answer
    answer.vary = _VARIES
    if "Accept-Encoding" in request.headers:
        offers = request.accept_encoding.acceptable_offers(["gzip", "identity"])
        if offers and offers[0][0] == "gzip":
            answer.encode_content("gzip")
            if answer.etag is not None:
                answer.etag = packed_tag(answer.etag)
    return answer
