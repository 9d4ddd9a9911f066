"""The root of the API: which controller has which path, and what concerns the
service as a whole (§ 7)."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from webob import Request, Response, exc

from mistral.api import policy
from mistral.api.answers import response_of
from mistral.api.framework import expose
from mistral.api.paths import segments_of
from mistral.api.rest import Answer, Call, Resource, Route, always
from mistral.api.shapes import Plain, Sent, Shown, closed_object
from mistral.api.types import JsonSchema, ResourceType, Shaped, WordType
from mistral.api.v2.openapi import OpenApi
from mistral.db import maintenance
from mistral.db.maintenance import Status
from mistral.errors import BadRequest

LOG = logging.getLogger(__name__)

Respond = Callable[[Route, Resource, tuple[str, ...], Any], Response]


_TEXT: Final[JsonSchema] = {"type": "string"}
_LINK: Final = {"href": {"type": "string", "format": "uri"}, "target": _TEXT}

VERSIONS: Final = Plain(
    closed_object(
        {
            "versions": {
                "type": "array",
                "items": closed_object(
                    {
                        "id": _TEXT,
                        "status": _TEXT,
                        "links": {
                            "type": "array",
                            "items": closed_object({**_LINK, "rel": _TEXT}),
                        },
                    }
                ),
            }
        }
    )
)


class Versions(Resource):
    """``GET /``."""

    public = True
    routes = (Route("GET", "", "get", policy.OPEN, answer=VERSIONS),)

    def get(self, call: Call) -> dict[str, Any]:
        """List the versions of the API."""
        link = {"href": f"{call.host_url}/v2", "target": "v2", "rel": "self"}
        return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}


class VersionTwo(Resource):
    """``GET /v2/``."""

    public = True
    routes = (
        Route(
            "GET",
            "",
            "get",
            policy.OPEN,
            answer=Plain(closed_object({"uri": {"type": "string", "format": "uri"}})),
        ),
    )

    def get(self, call: Call) -> dict[str, Any]:
        """Say where this version of the API is."""
        return {"uri": f"{call.host_url}/v2"}


class Info(Resource):
    """``GET /info`` (§ 7.3): a document of the operator's, as it is."""

    public = True
    routes = (Route("GET", "", "get", policy.OPEN, answer=Plain({}), raw=True),)

    def get(self, call: Call) -> Answer:
        """Show the document that the operator has put here.

        :raises BadRequest: there is none.
        """
        api = call.services.settings.api
        if not api.enable_info_endpoint:
            raise BadRequest("There is no info: [api] enable_info_endpoint is false.")
        path = Path(api.info_json_file_path)
        try:
            document = path.read_bytes()
            json.loads(document)
        except (OSError, ValueError) as error:
            LOG.warning("/info cannot show %s: %r", path, error)
            raise BadRequest(
                "There is no info: the document of [api] info_json_file_path cannot"
                " be read, or is not JSON."
            ) from None
        return Answer(document)


class MaintenanceStatus(ResourceType):
    """Body of ``/maintenance``."""

    status = WordType(*Status)


ASKED: Final = Sent(
    MaintenanceStatus,
    "MaintenanceAsked",
    ("status",),
    required=("status",),
    narrowed={"status": (Status.PAUSED.value, Status.RUNNING.value)},
)


class Maintenance(Resource):
    """``/maintenance`` (§ 7.4). The engines follow the status that is set here."""

    routes = (
        Route("GET", "", "get", policy.OPEN, answer=Shown(MaintenanceStatus)),
        Route(
            "PUT",
            "",
            "put",
            "maintenance:update",
            takes=ASKED,
            answer=Shown(MaintenanceStatus),
            in_maintenance=always,
        ),
    )

    def get(self, call: Call) -> Shaped:
        """Say whether the service is in maintenance."""
        with call.services.database.read() as connection:
            return {"status": maintenance.status(connection).value}

    def put(self, call: Call) -> Shaped:
        """Begin or end maintenance.

        Works while every engine is down: they follow when they are back.
        """
        wanted = call.sent().get("status")
        if wanted == Status.PAUSING:
            raise BadRequest(
                "PAUSING is an intermediate state: ask for PAUSED, which it leads to,"
                " or for RUNNING."
            )
        if wanted not in tuple(Status):
            raise BadRequest(
                f"Not found {wanted} maintenance state: expected PAUSED or RUNNING."
            )
        status = call.services.database.replay(
            lambda connection: maintenance.change(connection, Status(wanted))
        )
        LOG.warning(
            "Maintenance: %s, asked for by request %s", status, call.context.request_id
        )
        return {"status": status.value}


REASONS: Final = Plain({}, media_types=("text/plain", "text/html", "application/json"))


class Health(Resource):
    """``GET /healthcheck`` (§ 6.2): this process answers and reads the database.

    A broker that is away fails nothing here: whoever reads is still served. One that
    refuses this service will do so until somebody mends the configuration.

    Any ``Accept`` is fine; what is not known gets plain text.
    """

    public = True
    routes = (
        Route(
            "GET",
            "",
            "get",
            policy.OPEN,
            answer=REASONS,
            others={503: REASONS},
            raw=True,
        ),
    )

    def get(self, call: Call) -> Answer:
        """Say whether this process answers and reads the database."""
        reasons = []
        try:
            with call.services.database.read() as connection:
                call.services.database.now(connection)
                maintenance.status(connection)
        except Exception:
            LOG.exception("The health check failed")
            reasons.append("The database cannot be read.")
        if call.services.bus.refusal:
            reasons.append("The broker refuses this service; its log says why.")
        content_type, write = _health_form(call.accept)
        body = write(reasons).encode()
        return Answer(body, 503 if reasons else 200, content_type)


def _plain(reasons: list[str]) -> str:
    return "\n".join(reasons) or "OK"


def _page(reasons: list[str]) -> str:
    rows = "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons)
    return (
        "<!DOCTYPE html><html><head><title>Healthcheck Status</title></head>"
        f"<body><ul>{rows}</ul></body></html>"
    )


def _object(reasons: list[str]) -> str:
    return json.dumps({"detailed": False, "reasons": reasons})


_FORMS: Final[Mapping[str, Callable[[list[str]], str]]] = {
    "text/plain": _plain,
    "text/html": _page,
    "application/json": _object,
}


def _health_form(accept: Any) -> tuple[str, Callable[[list[str]], str]]:
    offers = accept.acceptable_offers(tuple(_FORMS))
    chosen = offers[0][0] if offers else "text/plain"
    return chosen, _FORMS[chosen]


class Root:
    """Pecan's root controller.

    The whole path is routed here, so that a dot, a trailing slash or a surplus
    segment means the same for every collection.

    :param collections: controllers by the first segment below ``/v2``.
    """

    def __init__(self, collections: Mapping[str, Resource], *, health: bool) -> None:
        self._collections = {**collections, "openapi.json": OpenApi(self._all)}
        self._versions = Versions()
        self._version_two = VersionTwo()
        self._single: dict[str, Resource] = {
            "info": Info(),
            "maintenance": Maintenance(),
        }
        if health:
            self._single["healthcheck"] = Health()

    def _all(self) -> Mapping[str, Resource]:
        return self.resources

    @property
    def resources(self) -> dict[str, Resource]:
        """All there is, by the beginning of its path."""
        found = {"/": self._versions, "/v2/": self._version_two}
        found |= {f"/{name}": resource for name, resource in self._single.items()}
        return found | {f"/v2/{name}": r for name, r in self._collections.items()}

    @property
    def rules(self) -> set[str]:
        """Policy rules of all routes."""
        found = self.resources.values()
        routes = [route for resource in found for route in resource.routes]
        return {rule for route in routes for rule in (route.rule, *route.also)}

    def route(self, request: Request) -> Any:
        """The method that answers, which then finds here what the path means.

        :raises BadRequest: a segment is empty.
        :raises webob.exc.HTTPException: nothing is there, or not by this method, or
            elsewhere.
        """
        segments = segments_of(request.environ)
        is_root = segments in ([""], ["v2", ""])
        if segments[-1] == "" and not is_root:
            segments.pop()
        if "" in segments and not is_root:
            raise BadRequest("The path has an empty segment.")
        resource, rest = self._resource(segments, request)
        request.context["found"] = (resource, *resource.find(request.method, rest))
        return self._answer

    def _resource(
        self, segments: list[str], request: Request
    ) -> tuple[Resource, tuple[str, ...]]:
        if segments == [""]:
            return self._versions, ()
        if segments == ["v2", ""]:
            return self._version_two, ()
        if len(segments) == 1 and segments[0] in self._single:
            return self._single[segments[0]], ()
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
        return response_of(request, route, answer)
