"""``/v2/events/{source}``: events over HTTP, from Git forges, monitors and whoever else
was given a secret (new).

Nobody asks Keystone here: the request is signed, or brings a token. What it says goes
the way of every notification (``triggers.intake``).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

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
    """The source, if the request is its own; None: it is nobody's."""
    with call.services.database.read() as connection:
        if not is_uuid(source):
            return event_sources.find(connection, digest=digest_of(source))
        row = event_sources.find(connection, id=source.lower())
    if row is not None and row["kind"] == "token":
        given = digest_of(_token(call))
        return row if hmac.compare_digest(given, row["digest"]) else None
    # also where there is no source, so that it takes as long
    secret = "" if row is None else _key(call, row)
    named = None if row is None else row["signature_header"]
    given = call.headers.get(named or "X-Hub-Signature-256") or ""
    expected = hmac.new(secret.encode(), call.body, hashlib.sha256).hexdigest()
    signature = given.strip().lower().removeprefix("sha256=")
    fits = hmac.compare_digest(signature.encode(), expected.encode())
    return row if fits and row is not None else None


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
