"""The root of the API: which controller has which path, and versions (§ 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pecan import expose
from webob import Request, Response, exc

from mistral.api import policy
from mistral.api.rest import Answer, Call, Resource, Route, to_json
from mistral.errors import BadRequest

Respond = Callable[[Route, Resource, tuple[str, ...], Any], Response]


class Versions(Resource):
    """``GET /``."""

    routes = (Route("GET", "", "get", policy.OPEN),)

    def get(self, call: Call) -> dict[str, Any]:
        link = {"href": f"{call.host_url}/v2", "target": "v2", "rel": "self"}
        return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}


class VersionTwo(Resource):
    """``GET /v2/``."""

    routes = (Route("GET", "", "get", policy.OPEN),)

    def get(self, call: Call) -> dict[str, Any]:
        return {"uri": f"{call.host_url}/v2"}


class Health(Resource):
    """``GET /healthcheck`` (§ 6.2): this process answers and reads the database."""

    routes = (Route("GET", "", "get", policy.OPEN, query=None, raw=True),)

    def get(self, call: Call) -> Answer:
        with call.services.database.read() as connection:
            call.services.database.now(connection)
        return Answer({"detailed": False, "reasons": []})


class Root:
    """Pecan's root controller.

    The whole path is routed here, so that a dot, a trailing slash or a surplus
    segment means the same for every collection.

    :param collections: controllers by the first segment below ``/v2``.
    """

    def __init__(self, collections: Mapping[str, Resource], *, health: bool) -> None:
        self._collections = collections
        self._versions = Versions()
        self._version_two = VersionTwo()
        self._health = Health() if health else None

    @expose()  # type: ignore[untyped-decorator]
    def _route(self, args: list[str], request: Request) -> tuple[Any, list[str]]:
        segments = list(args)
        is_root = segments in ([""], ["v2", ""])
        if segments[-1] == "" and not is_root:
            segments.pop()
        if "" in segments and not is_root:
            raise BadRequest("The path has an empty segment.")
        resource, rest = self._resource(segments, request)
        method = request.method
        # What is acceptable depends on the route; pecan would decide for all.
        request.pecan["content_type"] = "application/json"
        request.context["found"] = (resource, *resource.find(method, rest))
        return self._answer, []

    def _resource(
        self, segments: list[str], request: Request
    ) -> tuple[Resource, tuple[str, ...]]:
        if segments == [""]:
            return self._versions, ()
        if segments == ["v2", ""]:
            return self._version_two, ()
        if segments == ["healthcheck"] and self._health is not None:
            return self._health, ()
        if segments == ["v2"]:
            if request.method == "GET":
                raise exc.HTTPFound(location=f"{request.application_url}/v2/")
            return self._version_two, ()
        if segments[0] == "v2" and segments[1] in self._collections:
            return self._collections[segments[1]], tuple(segments[2:])
        raise exc.HTTPNotFound("There is nothing at this path.")

    @expose(content_type="application/json")  # type: ignore[untyped-decorator]
    def _answer(self, request: Request, response: Response) -> Response:
        resource, route, values = request.context["found"]
        call: Call = request.context["call"]
        answer = resource.run(route, values, call)
        if answer.status == 204:
            return Response(status=204, content_type=None)
        charset = "utf-8" if route.raw and request.method != "GET" else None
        return Response(
            status=answer.status,
            json_body=to_json(answer.body),
            content_type="application/json",
            charset=charset,
        )
