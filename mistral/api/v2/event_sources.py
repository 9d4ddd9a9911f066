"""``/v2/event_sources``: who may send events over HTTP (new).

A source belongs to a project; event triggers of that project with the exchange ``http``
and the source's name as topic hear what is sent to it. Its secret is told once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

from mistral.api import uploads
from mistral.api.listing import ListOf, list_route
from mistral.api.owned import KnownBy, Owned, delete_route, show_route
from mistral.api.rest import Answer, Call, Resource, Route, replayed
from mistral.api.shapes import Sent, Shown
from mistral.api.types import (
    Attribute,
    Date,
    ResourceType,
    Shaped,
    StrictTextType,
    Text,
    Uuid,
    WordType,
    nullable,
)
from mistral.db import event_sources as rows
from mistral.db.listing import Kind, Listing
from mistral.db.models import event_sources
from mistral.errors import BadRequest, Conflict

SIGNATURE: Final = "X-Hub-Signature-256"
"""Where Git forges put the signature."""

KINDS: Final = ("hmac", "token")
LONGEST_NAME: Final = 80
SHORTEST_SECRET: Final = 16
LONGEST_SECRET: Final = 1000

_HEADER: Final = re.compile("[A-Za-z0-9-]{1,80}")

LISTING: Final = Listing(
    event_sources,
    filters={
        "name": Kind.TEXT,
        "kind": Kind.TEXT,
        "project_id": Kind.PROJECT,
        "created_at": Kind.DATE,
    },
)


class EventSource(ResourceType):
    """Somebody who may send events."""

    id = Uuid
    name = Attribute(
        StrictTextType(LONGEST_NAME),
        "Topic of the event triggers that hear it; their exchange is `http`.",
    )
    kind = Attribute(
        WordType(*KINDS),
        "`hmac`: each request is signed (HMAC-SHA-256 of the body); `token`: it brings"
        " the token, in its path or in a header.",
    )
    signature_header = nullable(Text, f"Of `hmac`; default: `{SIGNATURE}`.")
    secret = Attribute(
        Text, "The key of signatures, or the token: shown when it is made, never again."
    )
    path = Attribute(Text, "Where to send events to, below the service's address.")
    project_id = Attribute(Text, "Project that it belongs to.", readonly=True)
    created_at = Date


SHOWN: Final = Shown(EventSource, but=("secret", "path"), selectable=True)
SOURCES: Final = ListOf(
    "event_sources",
    LISTING,
    SHOWN,
    tuple(n for n in EventSource.attributes() if n not in ("secret", "path")),
)


def _without_secret(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in row.items() if name != "secret"}


OWNED: Final = Owned(event_sources, SOURCES, KnownBy.ID_OR_NAME, values=_without_secret)
CREATE: Final = Sent(
    EventSource,
    "EventSourceCreate",
    ("name", "kind", "signature_header", "secret"),
    required=("name", "kind"),
    example={"name": "forge", "kind": "hmac"},
)


class EventSources(Resource):
    routes = (
        list_route(SOURCES, "event_sources:list"),
        Route(
            "POST",
            "",
            "post",
            "event_sources:create",
            201,
            takes=CREATE,
            answer=Shown(EventSource, "NewEventSource"),
            refuses=(Conflict,),
        ),
        show_route(SOURCES, "event_sources:get", "{identifier}"),
        delete_route("event_sources:delete", "{identifier}"),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        """List event sources (new)."""
        return OWNED.page(call)

    def get_one(self, call: Call, identifier: str) -> Answer:
        """Show an event source, without its secret (new)."""
        return OWNED.show(call, identifier)

    @replayed
    def post(self, call: Call) -> Shaped:
        """Create an event source; the answer alone shows its secret (new)."""
        sent = {name: value for name, value in call.sent().items() if value is not None}
        name, kind = sent.get("name"), sent.get("kind")
        if not name or not kind:
            raise BadRequest("Expected 'name' and 'kind', which are mandatory.")
        if kind not in KINDS:
            raise BadRequest(f"Expected one of {', '.join(KINDS)} for 'kind'.")
        secret = _secret(kind, sent.get("secret"))
        header = _header(kind, sent.get("signature_header"))
        keyring, project = call.services.keyring, call.context.project_id
        kept = None
        if kind == "hmac":
            whole = {"secret": secret}
            kept = keyring.seal(whole, project) if keyring is not None else secret
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = rows.create(
                connection,
                author,
                {
                    "name": name,
                    "kind": kind,
                    "secret": kept,
                    "digest": digest_of(secret) if kind == "token" else None,
                    "signature_header": header,
                },
            )
        place = secret if kind == "token" else row["id"]
        return EventSource.shape(
            {**row, "secret": secret, "path": f"/v2/events/{place}"},
            EventSource.attributes(),
        )

    def delete(self, call: Call, identifier: str) -> None:
        """Delete an event source: what is sent to it is refused from now on (new)."""
        OWNED.delete(call, identifier)


def digest_of(token: str) -> str:
    """By which a token is found; it cannot be read back."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _secret(kind: str, given: str | None) -> str:
    if kind == "token":
        if given:
            raise BadRequest("The service makes tokens itself: leave out 'secret'.")
        return secrets.token_urlsafe(32)
    if given is None:
        return secrets.token_urlsafe(32)
    if not SHORTEST_SECRET <= len(given) <= LONGEST_SECRET:
        raise BadRequest(
            f"Expected {SHORTEST_SECRET} to {LONGEST_SECRET} characters for 'secret',"
            f" found {len(given)}."
        )
    return given


def _header(kind: str, given: str | None) -> str | None:
    if kind == "token":
        if given:
            raise BadRequest("'signature_header' is for the kind 'hmac' alone.")
        return None
    if given is not None and not _HEADER.fullmatch(given):
        raise BadRequest("Expected the name of a header for 'signature_header'.")
    return given or SIGNATURE
