"""``/v2/events/{source}``: events over HTTP, from Git forges, monitors and whoever else
was given a secret (new).

Nobody asks Keystone here: the request is signed, or brings a token. What it says goes
the way of every notification (``triggers.intake``).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from mistral.api.parameters import Parameter
from mistral.api.policy import OPEN
from mistral.api.rest import Call, Resource, Route, is_uuid
from mistral.api.shapes import AnyJson, Shown
from mistral.api.types import Attribute, ResourceType, Shaped, Text
from mistral.api.v2.event_sources import digest_of
from mistral.bus import Notification
from mistral.context import DEFAULT_PROJECT
from mistral.db import event_sources
from mistral.db.event_triggers import HTTP
from mistral.errors import Forbidden, ServiceError, TooMany, Unavailable

LOG = logging.getLogger(__name__)

NOBODY: Final = "nobody"
"""Who sends events takes turns, until it is known whose they are, as one project."""

REFUSAL: Final = (
    "The event was not taken: there is no such source, or the signature or token is"
    " not its own."
)
"""The same for every cause: nobody learns what there is."""

EVENT_HEADERS: Final = (
    "X-GitHub-Event",
    "X-Gitea-Event",
    "X-Gitlab-Event",
    "Ce-Type",
    "X-Event-Type",
)
ID_HEADERS: Final = (
    "Idempotency-Key",
    "X-GitHub-Delivery",
    "X-Gitea-Delivery",
    "X-Gitlab-Event-UUID",
    "Ce-Id",
)
TOKEN_HEADERS: Final = ("X-Gitlab-Token", "X-Event-Token")

LONGEST_ID: Final = 255
LONGEST_NAME: Final = 80

LEAST_TRIED: Final = 4
"""Signatures that are computed for a name, however few sources have it: how long it
takes says nothing about whether somebody has it."""
MOST_TRIED: Final = 32
"""Sources of one name; of more only the id or the token finds one."""

EVENT: Final = Parameter(
    "event",
    "Type of the event. Not sent: what a header says ("
    + ", ".join(f"`{name}`" for name in EVENT_HEADERS)
    + "), or `event`.",
)


class HeardEvent(ResourceType):
    """An event that was taken."""

    id = Attribute(
        Text,
        "Of the event: the same id means the same event for three days, so a repeat"
        " changes nothing. It is what a header says ("
        + ", ".join(f"`{name}`" for name in ID_HEADERS)
        + "), or made by the service.",
    )
    event = Attribute(Text, "Its type, which event triggers name.")


class Events(Resource):
    public = True
    routes = (
        Route(
            "POST",
            "{source}",
            "post",
            OPEN,
            202,
            query=(EVENT,),
            takes=AnyJson("The payload of the event.", {"ref": "main"}, optional=True),
            answer=Shown(HeardEvent),
            refuses=(Forbidden, TooMany),
        ),
    )

    def post(self, call: Call, source: str) -> Shaped:
        """Tell an event, which event triggers of the source's project hear (new)."""
        services = call.services
        with services.gate.place(NOBODY):
            row = _source(call, source)
        if row is None:
            raise Forbidden(REFUSAL)
        if services.events is None:
            raise Unavailable("This process takes no events.")
        project = row["project_id"]
        with services.gate.place(project):
            event = _event(call, row)
            services.events().take(event)
        return HeardEvent.shape(
            {"id": event.id, "event": event.event_type}, HeardEvent.attributes()
        )


def _source(call: Call, source: str) -> Mapping[str, Any] | None:
    """The source, if the request is its own; None: it is nobody's.

    By a name, which is a project's own, it is the one of all projects that the request
    fits; if it fits several, nobody can tell whose it is.
    """
    by_id = is_uuid(source)
    named: list[Mapping[str, Any]] = []
    with call.services.database.read() as connection:
        if by_id:
            row = event_sources.find(connection, id=source.lower())
        else:
            row = event_sources.find(connection, digest=digest_of(source))
            named = [] if row is not None else _named(connection, source)
    if by_id:
        return row if _fits(call, row) else None
    if row is not None:
        return row
    tried = [*named, *[None] * (LEAST_TRIED - len(named))]
    fitting = [each for each in tried if _fits_of_many(call, each)]
    return fitting[0] if len(fitting) == 1 else None


def _named(connection: Connection, name: str) -> list[Mapping[str, Any]]:
    if len(name) > LONGEST_NAME:
        return []
    rows = event_sources.named(connection, name, MOST_TRIED + 1)
    return rows if len(rows) <= MOST_TRIED else []


def _fits_of_many(call: Call, row: Mapping[str, Any] | None) -> bool:
    try:
        return _fits(call, row)
    except Unavailable as error:
        # told to the sender it would say that somebody has the name
        LOG.warning("Of the sources of one name: %s", error.message)
        return False


def _fits(call: Call, row: Mapping[str, Any] | None) -> bool:
    """Whether the request is a source's own; it takes as long whatever the source is,
    and where there is none, which nothing fits."""
    is_signed = row is not None and row["kind"] != "token"
    secret = _key(call, row) if is_signed and row is not None else ""
    named = None if row is None else row["signature_header"]
    given = call.headers.get(named or "X-Hub-Signature-256") or ""
    expected = hmac.new(secret.encode(), call.body, hashlib.sha256).hexdigest()
    signature = given.strip().lower().removeprefix("sha256=")
    is_its_own = hmac.compare_digest(signature.encode(), expected.encode())
    digest = "" if row is None else row["digest"] or ""
    has_token = hmac.compare_digest(digest_of(_token(call)), digest)
    return is_its_own if is_signed else has_token


def _key(call: Call, row: Mapping[str, Any]) -> str:
    keyring = call.services.keyring
    kept = str(row["secret"])
    if keyring is None:
        return kept
    try:
        return str(keyring.open(kept, row["project_id"])["secret"])
    except ServiceError as error:
        raise Unavailable(f"The event source cannot be used: {error.message}") from None


def _token(call: Call) -> str:
    for name in TOKEN_HEADERS:
        if call.headers.get(name):
            return str(call.headers[name])
    kind, _, token = (call.headers.get("Authorization") or "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _event(call: Call, row: Mapping[str, Any]) -> Notification:
    project = row["project_id"] if call.authenticated else DEFAULT_PROJECT
    given = _first(call, ID_HEADERS)
    return Notification(
        id=given[:LONGEST_ID] or call.services.new_id(),
        exchange=HTTP,
        topic=row["name"],
        event_type=call.query.get("event") or _first(call, EVENT_HEADERS) or "event",
        publisher=row["name"],
        payload=call.value(),
        timestamp=call.services.clock.now().isoformat(),
        context={"project_id": project},
    )


def _first(call: Call, names: tuple[str, ...]) -> str:
    found = (call.headers.get(name) for name in names)
    return next((value for value in found if value and value.isprintable()), "")
