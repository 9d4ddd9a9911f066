"""The API as an OpenAPI 3.1 document, made of what serves it: the routes with
their parameters, shapes and policy rules, the handlers' docstrings, the table of
errors, and the settings.

No call is described here. What this module knows is which statuses and headers
follow from the properties of a route.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from mistral.api import target
from mistral.api.faults import (
    MEANINGS,
    REASON_IN_HEADER,
    RETRIED,
    Fault,
    status_of,
)
from mistral.api.listing import LIMIT, MARKER
from mistral.api.parameters import Filter, Parameter, Words
from mistral.api.policy import OPEN
from mistral.api.rest import Resource, Route, always
from mistral.api.shapes import (
    AnyJson,
    Components,
    Sent,
    Shape,
    Shown,
    Together,
    Upload,
)
from mistral.api.types import JsonSchema

OPENAPI: Final = "3.1.0"

DESCRIPTION: Final = """\
Upload workflows, start them, and see what they do.

* A path may end in a slash; `GET /v2` redirects to `/v2/`. `HEAD` is answered as
  `GET` is, without the body.
* Objects inside of answers are JSON text; requests may hold an object or its text.
* Dates are `YYYY-MM-DD HH:MM:SS`, UTC.
* Of a query parameter that is repeated the last one counts.
* Filters: `attribute=value` or `attribute=operator:value`; all have to match.
  Operators: `eq`, `neq`, `gt`, `gte`, `lt`, `lte`; `in` and `nin` with a comma list;
  `has` with a part of the text, in which `%` and `_` are wildcards.
* With `fields` an answer has only these attributes, and `id`.
* XML is refused everywhere. The text of an upload is read whatever its media type
  says.
"""

_PATH: Final[Mapping[str, str]] = {
    "id": "Id of the object.",
    "identifier": "UUID or name of the object.",
    "name": "Name of the object.",
    "namespace": "Namespace of the object.",
    "project": "Id of the project that the workflow is shared with.",
    "action_id": "Id of the action execution.",
    "source": "Id of the event source, or its token.",
}

_SECURITY: Final[Mapping[str, str]] = {
    "keystone": "A token of the identity service (Keystone) for a project.",
    "keycloak-oidc": "An access token (JWT) of a realm of Keycloak.",
    "oidc": "An access token (JWT) of the OpenID Connect issuer.",
}

_TAG: Final[JsonSchema] = {"type": "string"}
_CONDITIONS: Final[Mapping[str, Parameter]] = {
    "GET": Parameter("If-None-Match", "`ETag` of each state that the caller has."),
    "PUT": Parameter("If-Match", "`ETag` of each state that may be changed."),
    "DELETE": Parameter("If-Match", "`ETag` of each state that may be deleted."),
}

_HEADERS: Final[Mapping[str, tuple[str, JsonSchema]]] = {
    "X-Openstack-Request-Id": (
        "Id of the request, in the service's log as well.",
        {"type": "string", "pattern": "^req-"},
    ),
    "ETag": ("State of the object.", _TAG),
    "Retry-After": ("Seconds.", {"type": "string", "pattern": "^[0-9]+$"}),
    "WWW-Authenticate": ("How to say who one is.", {"type": "string"}),
    "Allow": ("Methods that are possible here.", {"type": "string"}),
    "Server-Error-Message": ("The reason.", {"type": "string"}),
}

_SOMETIMES: Final = frozenset({"ETag"})
"""Only what is stored has one: a built-in action has none."""

_SOURCE: Final = re.compile(r"\s*\([^()]*§[^()]*\)")
"""Where a rule comes from, which readers of the document have no use for."""

_FIELD_LIST: Final = re.compile(r"(\n|^)\s*:(raises|param|returns?)\b.*", re.DOTALL)


def describe(resources: Mapping[str, Resource], settings: Any) -> JsonSchema:
    """The document, but for ``servers``.

    :param resources: all there is, by the beginning of its path.
    :param settings: ``config.Settings``: limits, and who is let in.
    """
    writer = _Writer(settings)
    paths: dict[str, JsonSchema] = {}
    for base, resource in resources.items():
        for route in resource.routes:
            path = f"{base}/{route.path}" if route.path else base
            operation = writer.operation(base, resource, route)
            paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "Workflow service",
            "version": "2.0",
            "description": DESCRIPTION,
        },
        "tags": [
            {"name": _tag(base), "description": _texts(type(resource))[0]}
            for base, resource in resources.items()
        ],
        "paths": paths,
        "components": writer.components(),
    }


def _tag(base: str) -> str:
    return base.strip("/").removeprefix("v2/") or "versions"


def _texts(documented: Any) -> tuple[str, str]:
    """First paragraph and the others of a docstring, as Markdown."""
    text = _FIELD_LIST.sub("", inspect.getdoc(documented) or "")
    text = _SOURCE.sub("", text).replace("``", "`")
    first, _, others = text.strip().partition("\n\n")
    return first.replace("\n", " "), others


def operation_id(resource: Resource, route: Route) -> str:
    """A name that no other operation has."""
    kind = re.sub("(?<!^)(?=[A-Z])", "_", type(resource).__name__).lower()
    name = f"{kind}_{route.handler}"
    if route.path.endswith("/{namespace}"):
        return f"{name}_in_namespace"
    # One handler may serve a collection and each of its objects.
    shared = any(r.handler == route.handler and not r.path for r in resource.routes)
    return f"{name}_one" if route.path and shared else name


def reserved(resource: Resource, route: Route) -> dict[str, list[str]]:
    """What the parameters of a path cannot be: literals of other paths hide it."""
    parts = route.path.split("/")
    paths = [other.path.split("/") for other in resource.routes if other.path]
    found = {}
    for position, part in enumerate(parts):
        if part.startswith("{"):
            same = {path[position] for path in paths if len(path) == len(parts)}
            words = sorted(word for word in same if not word.startswith("{"))
            if words:
                found[part.strip("{}")] = words
    return found


def refusals(resource: Resource, route: Route) -> set[int]:
    """Statuses of errors that a call may be answered with, but for 401."""
    found = {400, 414, 415, 431, 500, 503}
    if not resource.public:
        found |= {403, 429}
    if not route.raw:
        found.add(406)
    if "{" in route.path or MARKER in route.query:
        found.add(404)
    if reserved(resource, route):
        found.add(405)
    if route.takes is not None:
        found.add(413)
    if route.method != "GET" and route.in_maintenance is not always:
        found.add(423)
    if route.tagged and route.method != "GET":
        found.add(412)
    declared = (status_of(cls) for cls in route.refuses)
    return found | {status for status in declared if status is not None}


def _name_of(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "").replace("-", "")


def _header_references(*names: str) -> JsonSchema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


class _Writer:
    """Writes operations, and gathers what they refer to."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._schemas: Components = {}
        self._fault = Shown(Fault).schema(self._schemas)

    # -- What is referred to --------------------------------------------------

    def components(self) -> JsonSchema:
        """Of the operations that were written."""
        found: JsonSchema = {
            "schemas": dict(sorted(self._schemas.items())),
            "responses": {_name_of(s): self._refusal(s) for s in MEANINGS},
            "headers": {
                name: {
                    "description": meaning,
                    "required": name not in _SOMETIMES,
                    "schema": schema,
                }
                for name, (meaning, schema) in _HEADERS.items()
            },
            "parameters": {
                p.name: self._parameter(p, "header") for p in target.HEADERS
            },
        }
        if self._settings.api.auth_enable:
            scheme = {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
            about = _SECURITY[self._settings.api.auth_type]
            found["securitySchemes"] = {"token": {**scheme, "description": about}}
        return found

    def _refusal(self, status: int) -> JsonSchema:
        headers = ["X-Openstack-Request-Id"]
        if status == 401:
            headers.append("WWW-Authenticate")
        if status == 405:
            headers.append("Allow")
        if status in REASON_IN_HEADER:
            headers.append("Server-Error-Message")
        if status in RETRIED:
            headers.append("Retry-After")
        return {
            "description": MEANINGS[status],
            "headers": _header_references(*headers),
            "content": {"application/json": {"schema": self._fault}},
        }

    # -- Operations -----------------------------------------------------------

    def operation(self, base: str, resource: Resource, route: Route) -> JsonSchema:
        """One route."""
        summary, description = _texts(getattr(resource, route.handler))
        found: JsonSchema = {
            "operationId": operation_id(resource, route),
            "tags": [_tag(base)],
            "summary": summary,
        }
        if description:
            found["description"] = description
        if route.rule != OPEN:
            found["x-policy-rules"] = [route.rule, *route.also]
        if self._settings.api.auth_enable:
            found["security"] = [] if resource.public else [{"token": []}]
        parameters = self._parameters(resource, route)
        if parameters:
            found["parameters"] = parameters
        if route.takes is not None:
            found["requestBody"] = self._body(route.takes)
        found["responses"] = self._responses(resource, route)
        return found

    def _parameters(self, resource: Resource, route: Route) -> list[JsonSchema]:
        words = reserved(resource, route)
        names = [p.strip("{}") for p in route.path.split("/") if p.startswith("{")]
        found = [_path_parameter(name, words.get(name, [])) for name in names]
        found += [self._parameter(parameter, "query") for parameter in route.query]
        if route.tagged:
            found.append(self._parameter(_CONDITIONS[route.method], "header"))
        if resource.starts_actions and route.method != "GET":
            found += [
                {"$ref": f"#/components/parameters/{parameter.name}"}
                for parameter in target.HEADERS
            ]
        return found

    def _parameter(self, parameter: Parameter, place: str) -> JsonSchema:
        schema, about = parameter.schema, parameter.meaning
        if parameter is LIMIT:
            most = self._settings.api.max_limit
            schema["default"] = most
            about = f"{about} ({most}; a larger number means that, too)."
        found = {
            "name": parameter.name,
            "in": place,
            "description": about,
            "schema": schema,
        }
        if parameter.required:
            found["required"] = True
        if isinstance(parameter, Words):
            found |= {"style": "form", "explode": False}
        if isinstance(parameter, Filter):
            found["x-operators"] = list(parameter.operators)
        return found

    def _body(self, takes: Sent | AnyJson | Upload) -> JsonSchema:
        api = self._settings.api
        typed = not isinstance(takes, Upload)
        most = api.max_json_body_bytes if typed else api.max_body_bytes
        about: JsonSchema = {}
        if takes.example is not None:
            about["example"] = takes.example
        schema = takes.schema(self._schemas)
        content = {name: {"schema": schema, **about} for name in takes.media_types}
        if not typed:
            # Whatever the type says, the body is read as a text.
            content["*/*"] = about
        return {
            "required": isinstance(takes, Sent) or not takes.optional,
            "description": f"At most {most} bytes.",
            "content": content,
        }

    def _responses(self, resource: Resource, route: Route) -> JsonSchema:
        found: JsonSchema = {str(route.status): self._success(resource, route)}
        if route.tagged and route.method == "GET":
            headers = _header_references("X-Openstack-Request-Id", "ETag")
            about = "The caller has this state already."
            found["304"] = {"description": about, "headers": headers}
        statuses = refusals(resource, route)
        if self._settings.api.auth_enable and not resource.public:
            statuses.add(401)
        for status in sorted(statuses):
            found[str(status)] = {"$ref": f"#/components/responses/{_name_of(status)}"}
        for status, shape in route.others.items():
            found[str(status)] = {
                "description": MEANINGS[status],
                "content": self._content(shape),
            }
        return found

    def _success(self, resource: Resource, route: Route) -> JsonSchema:
        headers = ["X-Openstack-Request-Id"]
        if route.tagged and route.method == "GET":
            headers.append("ETag")
        found: JsonSchema = {
            "description": HTTPStatus(route.status).phrase,
            "headers": _header_references(*headers),
        }
        if route.answer is not None:
            found["content"] = self._content(route.answer)
            links = _links(resource, route)
            if links:
                found["links"] = links
        return found

    def _content(self, shape: Shape) -> JsonSchema:
        schema = shape.schema(self._schemas)
        return {media_type: {"schema": schema} for media_type in shape.media_types}


def _path_parameter(name: str, reserved: list[str]) -> JsonSchema:
    schema: JsonSchema = {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}
    if reserved:
        schema["not"] = {"enum": reserved}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": _PATH[name],
        "schema": schema,
    }


def _links(resource: Resource, made: Route) -> JsonSchema:
    """From what was created to the calls that take its id or name."""
    if made.status != 201 or made.path:
        return {}
    where = f"{made.answer.member}/0/" if isinstance(made.answer, Together) else ""
    found: JsonSchema = {}
    for route in resource.routes:
        parts = [part for part in route.path.split("/") if part.startswith("{")]
        if len(parts) != 1:
            continue
        name = parts[0].strip("{}")
        key = name if name == "name" else "id"
        operation = operation_id(resource, route)
        found[operation] = {
            "operationId": operation,
            "parameters": {f"path.{name}": f"$response.body#/{where}{key}"},
        }
    return found
