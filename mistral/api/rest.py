"""One request, and how a resource says which requests it takes.

A resource is a table of routes and one method per route::

    class Things(Resource):
        routes = (
            listing_of(THINGS, "things:list"),
            Route("GET", "{name}", "get_one", "things:get", answer=Shown(Thing)),
        )

        def get_one(self, call: Call, name: str) -> Thing:
            "One thing."

Every route names its policy rule, so that none can be forgotten (SEC-15), and
what it takes and answers: calls are read by that, and the document of the API
(``api.document``) is made of it and of the handlers' docstrings.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, ClassVar, Final, TypeVar, cast
from uuid import UUID

import wsme.exc
import wsme.types
from webob import exc
from wsme.rest.json import fromjson

from mistral.api.parameters import Parameter
from mistral.api.policy import Policies
from mistral.api.services import Services
from mistral.api.shapes import AnyJson, Sent, Shape, Upload
from mistral.api.types import read_json
from mistral.context import Context
from mistral.db import maintenance
from mistral.db.maintenance import Status
from mistral.errors import BadRequest, Bug, Locked, MistralError

JSON_TYPES: Final = frozenset(
    {"application/json", "text/javascript", "application/javascript"}
)
FORM_TYPES: Final = frozenset(
    {"", "application/x-www-form-urlencoded", "multipart/form-data"}
)
CHARSETS: Final = ("utf-8", "utf-16", "utf-32", "ascii", "iso8859", "cp125")
"""Beginnings of the names of codecs that bodies are read with: some of the others
take time that grows with the square of the length, or read no texts."""

LONGEST_SHOWN: Final = 100
"""Characters of a refused value that its refusal repeats."""


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
    tell apart; ``named_projects``: their ids need not be UUIDs. ``takes``: what the
    body should hold, as the route says. ``target``: reads the headers of another
    cloud. ``headers``: by name, whatever its case.
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
    named_projects: bool = False
    if_match: Any = None
    if_none_match: Any = None
    takes: Sent | AnyJson | Upload | None = None
    resource: Mapping[str, Any] | None = None
    target: Callable[[], Mapping[str, Any]] = dict
    headers: Mapping[str, str] = field(default_factory=dict)

    def require(self, rule: str) -> None:
        """:raises Forbidden: the caller may not do what the rule protects."""
        self.policies.check(rule, self.context)

    def text(self) -> str:
        """The body of a raw endpoint (§ 1.2).

        :raises BadRequest: the charset is unknown, or the bytes are not text of it.
        """
        try:
            charset = codecs.lookup(self.charset).name
        except LookupError:
            charset = ""
        if not charset.startswith(CHARSETS):
            raise BadRequest(f"The charset '{self.charset}' is not read here.")
        try:
            return self.body.decode(charset)
        except UnicodeDecodeError:
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
        self._check_length()
        if not self.body.strip():
            raise BadRequest("Missing argument: the body is empty.")
        value = self._read()
        if not isinstance(value, dict):
            raise BadRequest("Expected a JSON object.")
        return value

    def _read(self) -> Any:
        try:
            return read_json(self.text())
        except ValueError as error:
            raise BadRequest(f"The body is not valid JSON: {error}.") from None

    def value(self) -> Any:
        """The JSON value that an application sends; no body is null.

        :raises BadRequest: malformed.
        :raises webob.exc.HTTPUnsupportedMediaType: it is declared as not JSON.
        :raises webob.exc.HTTPRequestEntityTooLarge: it is too long.
        """
        self._check_length()
        if not self.body.strip():
            return None
        is_json = self.media_type.endswith("+json") or self.media_type in JSON_TYPES
        if not is_json:
            raise exc.HTTPUnsupportedMediaType("Only JSON is taken here.")
        return self._read()

    def refuse_content(self) -> None:
        """For what takes nothing: no body and an empty object are fine.

        :raises BadRequest: naming the attributes that are sent.
        """
        if not self.body.strip():
            return
        unknown = ", ".join(sorted(self.document()))
        if unknown:
            raise BadRequest(f"Unknown or read-only attribute: {unknown}.")

    def _check_length(self) -> None:
        most = self.services.settings.api.max_json_body_bytes
        if len(self.body) > most:
            raise exc.HTTPRequestEntityTooLarge(
                f"The body is longer than {most} bytes."
            )

    def sent(self) -> dict[str, Any]:
        """What the body holds of the resource that the route takes; attributes
        that were not sent are absent.

        :raises BadRequest: naming the attribute that is unknown, read-only or of
            a wrong type.
        """
        if self.resource is not None:
            return dict(self.resource)
        takes = self.takes
        if not isinstance(takes, Sent):
            raise Bug(f"This call takes no resource: {takes}")
        document = self.document()
        if takes.open:
            document = {n: v for n, v in document.items() if n in takes.known}
        unknown = sorted(set(document) - takes.known)
        if unknown:
            names = ", ".join(unknown)
            raise BadRequest(f"Unknown or read-only attribute: {names}.")
        try:
            resource = fromjson(takes.cls, document)
        except wsme.exc.ClientSideError as error:
            raise BadRequest(error.faultstring) from None
        except (ValueError, TypeError) as error:
            raise BadRequest(_named(takes.cls, document, str(error))) from None
        return dict(resource.sent())


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


Handler = TypeVar("Handler", bound=Callable[..., Any])


def replayed(handler: Handler) -> Handler:
    """A method that changes something in one transaction, and nothing besides: it is
    run again, from the beginning, when that transaction could not go with others'.

    Its first argument is the call.
    """

    @wraps(handler)
    def until_through(self: Any, call: Call, *rest: Any) -> Any:
        return call.services.database.again(lambda: handler(self, call, *rest))

    return cast(Handler, until_through)


Allowed = Callable[[Call, Status], bool]
"""Whether a change is made in maintenance all the same."""


def _never(call: Call, status: Status) -> bool:
    return False


def always(call: Call, status: Status) -> bool:
    """A change that maintenance does not hold up."""
    return True


@dataclass(frozen=True, slots=True)
class Route:
    """One request that a resource takes.

    :param path: segments below the collection; ``{x}`` takes any segment.
    :param rule: policy rule of the call (§ 5.2).
    :param status: of success.
    :param query: parameters that are known; others are refused.
    :param takes: what the body holds; None: there is none.
    :param answer: what the body of success holds; None: there is none.
    :param others: bodies of further statuses, which are no faults.
    :param also: policy rules that some of these calls need besides.
    :param refuses: errors that this call knows besides those that all do which
        have such a path, query or body (``api.document``).
    :param tagged: the object has an ``ETag``.
    :param raw: the body is a text; any ``Accept`` is fine (Q-08), and unknown
        parameters are ignored (§ 1.2).
    :param in_maintenance: of a change: while the status is not RUNNING (§ 6.1).
    """

    method: str
    path: str
    handler: str
    rule: str
    status: int = 200
    query: tuple[Parameter, ...] = ()
    takes: Sent | AnyJson | Upload | None = None
    answer: Shape | None = None
    also: tuple[str, ...] = ()
    others: Mapping[int, Shape] = field(default_factory=dict)
    refuses: tuple[type[MistralError], ...] = ()
    tagged: bool = False
    raw: bool = False
    in_maintenance: Allowed = _never

    @property
    def shape(self) -> tuple[str, ...]:
        """The path without the names of its parameters."""
        return tuple("{}" if "{" in part else part for part in self.path.split("/"))

    def match(self, segments: tuple[str, ...]) -> tuple[str, ...] | None:
        """What the parameters of the path stand for; None: another path."""
        return _matched(self.path, segments)


def _matched(path: str, segments: tuple[str, ...]) -> tuple[str, ...] | None:
    parts = tuple(path.split("/")) if path else ()
    if len(parts) != len(segments):
        return None
    values = []
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith("{"):
            values.append(segment)
        elif part != segment:
            return None
    return tuple(values)


def upload(
    method: str, path: str, handler: str, rule: str, status: int = 200, **more: Any
) -> Route:
    """A route whose body is a text."""
    return Route(method, path, handler, rule, status, raw=True, **more)


class Resource:
    """A collection below ``/v2``; subclasses declare ``routes``, literal
    segments before parameters.

    ``public``: nobody is asked who they are (§ 4.1). ``starts_actions``: its
    changes may, which the headers of ``api.target`` then send elsewhere.
    """

    public: ClassVar[bool] = False
    starts_actions: ClassVar[bool] = False
    routes: ClassVar[tuple[Route, ...]] = ()
    closed: ClassVar[tuple[str, ...]] = ()
    """Paths that are known and take no method."""

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
        is_closed = any(_matched(p, segments) is not None for p in self.closed)
        if not (allowed or is_closed):
            raise exc.HTTPNotFound("There is nothing at this path.")
        raise exc.HTTPMethodNotAllowed(
            f"{method} is not possible here.", headers={"Allow": ", ".join(allowed)}
        )

    def run(self, route: Route, values: tuple[str, ...], call: Call) -> Answer:
        """Look for maintenance, read what was sent, ask the policy, do it (§ 2.3).

        :raises TooMany: too many requests of this project are worked on here.
        """
        if self.public:
            return self._run(route, values, call)
        with call.services.gate.place(call.context.project_id):
            return self._run(route, values, call)

    def _run(self, route: Route, values: tuple[str, ...], call: Call) -> Answer:
        if call.method != "GET":
            _check_maintenance(route, call)
        target = call.target()
        if target:
            call = replace(call, context=replace(call.context, target=target))
        unknown = sorted(set(call.query) - {known.name for known in route.query})
        if unknown and not route.raw:
            raise BadRequest(f"Unknown argument: {', '.join(unknown)}.")
        call = replace(call, takes=route.takes)
        if isinstance(route.takes, Sent):
            call = replace(call, resource=call.sent())
        call.require(route.rule)
        result = getattr(self, route.handler)(call, *values)
        return result if isinstance(result, Answer) else Answer(result, route.status)


def _check_maintenance(route: Route, call: Call) -> None:
    """:raises Locked: this change is not for now (§ 6.1, ENG-229)."""
    with call.services.database.look() as connection:
        status = maintenance.status(connection)
    if status is not Status.RUNNING and not route.in_maintenance(call, status):
        raise Locked(f"Current Mistral state is {status}. Method is not allowed")
