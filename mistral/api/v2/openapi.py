"""``GET /v2/openapi.json``: the document of the API as this service serves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mistral.api import policy
from mistral.api.document import describe
from mistral.api.rest import Call, Resource, Route
from mistral.api.shapes import Plain


class OpenApi(Resource):
    """The API itself.

    :param resources: all there is, by the beginning of its path.
    """

    public = True
    routes = (
        Route(
            "GET", "", "get", policy.OPEN, answer=Plain({"type": "object"}), raw=True
        ),
    )

    def __init__(self, resources: Callable[[], Mapping[str, Resource]]) -> None:
        self._resources = resources
        self._document: dict[str, Any] | None = None

    def get(self, call: Call) -> dict[str, Any]:
        """Show this document."""
        if self._document is None:
            self._document = describe(self._resources(), call.services.settings)
        return {**self._document, "servers": [{"url": call.host_url}]}
