"""One request, and how a resource says which requests it takes.

A resource is a table of routes and one method per route::

    class Things(Resource):
        routes = (
            Route("GET", "", "get_all", "things:list", query=ANY),
            Route("GET", "{name}", "get_one", "things:get"),
        )

        def get_one(self, call: Call, name: str) -> Thing: ...

Every route names its policy rule, so that none can be forgotten (SEC-15).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar
from uuid import UUID

import wsme.exc
import wsme.types
from webob import exc
from wsme.rest.json import fromjson, tojson

from mistral.api.policy import Policies
from mistral.api.services import Services
from mistral.api.types import read_json
from mistral.context import Context
from mistral.db import maintenance
from mistral.db.maintenance import Status
from mistral.errors import BadRequest, Locked

JSON_TYPES: Final = frozenset(
    {"application/json", "text/javascript", "application/javascript"}
)
FORM_TYPES: Final = frozenset(
    {"", "application/x-www-form-urlencoded", "multipart/form-data"}
)
ANY: Final = None
"""Query parameters are judged by the handler (lists, raw uploads)."""

LONGEST_SHOWN: Final = 100
"""Characters of a refused value that its refusal repeats."""

TRUE: Final = frozenset({"true", "1", "yes", "on"})
FALSE: Final = frozenset({"false", "0", "no", "off", ""})

Body = TypeVar("Body", bound=wsme.types.Base)


def parse_bool(name: str, value: str) -> bool:
    """A boolean of a query string (Q-06).

    :raises BadRequest: it is neither.
    """
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise BadRequest(f"Expected true or false for '{name}', found '{value}'.")


def parse_uuid(value: str, what: str) -> str:
    """The canonical form of a UUID.

    :raises BadRequest: it is none.
    """
    try:
        return str(UUID(value))
    except ValueError:
        raise BadRequest(f"Expected a UUID for {what}, found '{value}'.") from None


def is_uuid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read and identified.

    ``query``: the last occurrence of each parameter (§ 1.5). ``host_url``:
    scheme, host and prefix that the client used, without a slash at the end.
    ``accept``: WebOb's, of the answer. ``authenticated``: there are projects to
    tell apart.
    """

    services: Services
    policies: Policies
    context: Context
    method: str
    host_url: str
    query: Mapping[str, str]
    body: bytes = b""
    media_type: str = ""
    charset: str = "utf-8"
    accept: Any = None
    authenticated: bool = False
    if_match: Any = None
    if_none_match: Any = None

    def require(self, rule: str) -> None:
        """:raises Forbidden: the caller may not do what the rule protects."""
        self.policies.check(rule, self.context)

    def flag(self, name: str) -> bool:
        """A boolean parameter; absent is false."""
        return parse_bool(name, self.query.get(name, ""))

    def text(self) -> str:
        """The body of a raw endpoint (§ 1.2).

        :raises BadRequest: the bytes are not text of the charset.
        """
        try:
            return self.body.decode(self.charset)
        except (UnicodeDecodeError, LookupError):
            raise BadRequest(f"The body is not {self.charset} text.") from None

    def document(self) -> dict[str, Any]:
        """The JSON object of a typed endpoint (§ 1.2).

        :raises BadRequest: empty, malformed, or another JSON value (Q-04).
        :raises webob.exc.HTTPUnsupportedMediaType: it is declared as not JSON.
        """
        if self.media_type not in JSON_TYPES:
            if self.media_type in FORM_TYPES:
                raise BadRequest(
                    "Unknown argument: expected Content-Type application/json and a"
                    " JSON object."
                )
            raise exc.HTTPUnsupportedMediaType(
                f"Media type {self.media_type} not supported; send application/json."
            )
        most = self.services.settings.api.max_json_body_bytes
        if len(self.body) > most:
            raise exc.HTTPRequestEntityTooLarge(
                f"The body is longer than {most} bytes."
            )
        if not self.body.strip():
            raise BadRequest("Missing argument: the body is empty.")
        try:
            value = read_json(self.text())
        except ValueError as error:
            raise BadRequest(f"The body is not valid JSON: {error}.") from None
        if not isinstance(value, dict):
            raise BadRequest("Expected a JSON object.")
        return value

    def read(self, cls: type[Body], *, allowed: Collection[str] | None = None) -> Body:
        """The body as a resource type; attributes that were not sent are Unset.

        :param allowed: attributes that this call takes (default: all of the type
            that are not read-only).
        :raises BadRequest: naming the attribute that is unknown, read-only,
            missing or of a wrong type.
        """
        document = self.document()
        if allowed is not None:
            unknown = sorted(set(document) - set(allowed))
            if unknown:
                names = ", ".join(unknown)
                raise BadRequest(f"Unknown or read-only attribute: {names}.")
        try:
            return fromjson(cls, document)  # type: ignore[no-any-return]
        except wsme.exc.UnknownAttribute as error:
            names = ", ".join(sorted(error.attributes))
            raise BadRequest(f"Unknown attribute: {names}.") from None
        except wsme.exc.ClientSideError as error:
            raise BadRequest(error.faultstring) from None
        except (ValueError, TypeError) as error:
            raise BadRequest(_named(cls, document, str(error))) from None


def _named(cls: type[Any], document: Mapping[str, Any], reason: str) -> str:
    """The reason, with the attribute and the value that it is about: types
    convert values without knowing where they stand."""
    for attribute in wsme.types.list_attributes(cls):
        if attribute.name not in document:
            continue
        value = document[attribute.name]
        try:
            fromjson(attribute.datatype, value)
        except wsme.exc.ClientSideError:
            continue
        except (ValueError, TypeError):
            shown = json.dumps(value)
            if len(shown) > LONGEST_SHOWN:
                shown = f"{shown[:LONGEST_SHOWN]}…"
            return (
                f"Invalid input for field/attribute {attribute.name}."
                f" Value: {shown}. {reason}"
            )
    return reason


@dataclass(frozen=True, slots=True)
class Answer:
    """A result with a status other than the route's.

    :param body: bytes are sent as they are.
    """

    body: Any
    status: int = 200
    content_type: str = "application/json"
    etag: str | None = None


Allowed = Callable[[Call, Status], bool]
"""Whether a change is made in maintenance all the same."""


def _never(call: Call, status: Status) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Route:
    """One request that a resource takes.

    :param path: segments below the collection; ``{x}`` takes any segment.
    :param rule: policy rule of the call (§ 5.2).
    :param status: of success.
    :param query: parameters that are known, or ``ANY``.
    :param raw: the body is a text; any ``Accept`` is fine (Q-08).
    :param in_maintenance: of a change: while the status is not RUNNING (§ 6.1).
    """

    method: str
    path: str
    handler: str
    rule: str
    status: int = 200
    query: frozenset[str] | None = frozenset()
    raw: bool = False
    in_maintenance: Allowed = _never

    @property
    def shape(self) -> tuple[str, ...]:
        """The path without the names of its parameters."""
        return tuple("{}" if "{" in part else part for part in self.path.split("/"))

    def match(self, segments: tuple[str, ...]) -> tuple[str, ...] | None:
        """What the parameters of the path stand for; None: another path."""
        parts = tuple(self.path.split("/")) if self.path else ()
        if len(parts) != len(segments):
            return None
        values = []
        for part, segment in zip(parts, segments, strict=True):
            if part.startswith("{"):
                values.append(segment)
            elif part != segment:
                return None
        return tuple(values)


def upload(method: str, path: str, handler: str, rule: str, status: int = 200) -> Route:
    """A route whose body is a text; unknown parameters are ignored (§ 1.2)."""
    return Route(method, path, handler, rule, status, query=ANY, raw=True)


class Resource:
    """A collection below ``/v2``; subclasses declare ``routes``, literal
    segments before parameters.

    ``public``: nobody is asked who they are (§ 4.1).
    """

    public: ClassVar[bool] = False
    routes: ClassVar[tuple[Route, ...]] = ()

    def find(
        self, method: str, segments: tuple[str, ...]
    ) -> tuple[Route, tuple[str, ...]]:
        """The route of a request, and the values of its path.

        :raises webob.exc.HTTPNotFound: no route has this path.
        :raises webob.exc.HTTPMethodNotAllowed: with ``Allow``.
        """
        shape: tuple[str, ...] | None = None
        allowed = []
        for route in self.routes:
            values = route.match(segments)
            # A literal such as "validate" hides the names below it.
            if values is None or shape not in (None, route.shape):
                continue
            if route.method == method:
                return route, values
            shape = route.shape
            allowed.append(route.method)
        if not allowed:
            raise exc.HTTPNotFound("There is nothing at this path.")
        raise exc.HTTPMethodNotAllowed(
            f"{method} is not possible here.", headers={"Allow": ", ".join(allowed)}
        )

    def run(self, route: Route, values: tuple[str, ...], call: Call) -> Answer:
        """Look for maintenance, judge the query, ask the policy, do it (§ 2.3)."""
        if call.method != "GET":
            _check_maintenance(route, call)
        if route.query is not None:
            unknown = sorted(set(call.query) - route.query)
            if unknown:
                raise BadRequest(f"Unknown argument: {', '.join(unknown)}.")
        call.require(route.rule)
        result = getattr(self, route.handler)(call, *values)
        return result if isinstance(result, Answer) else Answer(result, route.status)


def _check_maintenance(route: Route, call: Call) -> None:
    """:raises Locked: this change is not for now (§ 6.1, ENG-229)."""
    with call.services.database.read() as connection:
        status = maintenance.status(connection)
    if status is not Status.RUNNING and not route.in_maintenance(call, status):
        raise Locked(f"Current Mistral state is {status}. Method is not allowed")


def to_json(value: Any) -> Any:
    """JSON values of an answer; WSME types may stand anywhere in it."""
    if isinstance(value, wsme.types.Base):
        return tojson(type(value), value)
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value
