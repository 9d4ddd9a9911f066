"""``/v2/code_sources`` (spec/rest-api.md § 8.6): texts that dynamic actions are
built from. They are stored and parsed here, never run (SEC-01)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Text as SqlText
from sqlalchemy import cast, null
from webob import exc

from mistral.actions.signatures import read_classes
from mistral.api import uploads
from mistral.api.listing import ListOf, list_route
from mistral.api.owned import Owned, delete_route, show_route
from mistral.api.parameters import (
    LONGEST_NAME,
    NAMESPACE,
    SCOPE,
    Parameter,
)
from mistral.api.rest import Answer, Call, Resource, replayed, upload
from mistral.api.shapes import Shown, Upload
from mistral.api.types import (
    Attribute,
    Date,
    Native,
    ResourceType,
    Scope,
    Shaped,
    Text,
    Uuid,
    nullable,
)
from mistral.db import code_sources as sources
from mistral.db.listing import Kind, Listing
from mistral.db.models import code_sources
from mistral.errors import BadRequest, Conflict, NotFound

FILTERS: Final[Mapping[str, Kind]] = {
    "name": Kind.TEXT,
    "namespace": Kind.TEXT,
    "tags": Kind.TAGS,
    "scope": Kind.TEXT,
    "project_id": Kind.PROJECT,
    "created_at": Kind.DATE,
    "updated_at": Kind.DATE,
}

NO_TAGS: Final = {"tags": cast(null(), SqlText)}
"""Neither sources nor dynamic actions have tags; filters know the word."""

LISTING: Final = Listing(code_sources, FILTERS, {**code_sources.c, **NO_TAGS})


class CodeSource(ResourceType):
    id = Uuid
    name = Text
    namespace = Text
    content = Attribute(Text, "The text.")
    version = Attribute(int, "Raised by one with each update.")
    scope = Scope
    project_id = Attribute(Text, "Project that it belongs to.")
    created_at = Date
    updated_at = nullable(Date)
    # Declared by the protocol, and never shown.
    actions = Native


SHOWN: Final = Shown(CodeSource, but=("actions",), selectable=True)
WRITTEN: Final = Shown(CodeSource, but=("actions",))

SOURCES: Final = ListOf(
    "code_sources",
    LISTING,
    SHOWN,
    CodeSource.attributes(),
    sortable=tuple(code_sources.c.keys()),
    everywhere="workflows:list:all_projects",
)

OWNED: Final = Owned(code_sources, SOURCES, remove=sources.remove_source)

TEXT: Final = Upload(
    "Python source with action classes.",
    "from mistral_lib import actions\n\n\nclass Doubler(actions.Action):\n"
    "    def __init__(self, x):\n        self.x = x\n\n"
    "    def run(self, context):\n        return 2 * self.x\n",
    optional=True,
    is_definition=False,
)
NAME: Final = Parameter("name", "Name of the code source.", required=True)
IDENTIFIER: Final = Parameter(
    "identifier", "UUID or name of the code source.", required=True
)


class CodeSources(Resource):
    """The path may end in the namespace."""

    routes = (
        list_route(SOURCES, "code_sources:list"),
        upload(
            "POST",
            "",
            "post",
            "code_sources:create",
            201,
            query=(NAME, NAMESPACE, SCOPE),
            takes=TEXT,
            answer=Shown(
                CodeSource, "CreatedCodeSource", but=("actions", "updated_at")
            ),
            also=("code_sources:publicize",),
            refuses=(Conflict,),
        ),
        upload(
            "PUT",
            "",
            "put",
            "code_sources:update",
            query=(IDENTIFIER, NAMESPACE, SCOPE),
            takes=TEXT,
            answer=WRITTEN,
            also=("code_sources:publicize",),
            refuses=(NotFound, Conflict),
            tagged=True,
        ),
        *(
            route
            for path, known in uploads.IDENTIFIED
            for route in (
                show_route(SOURCES, "code_sources:get", path, known),
                upload(
                    "PUT",
                    path,
                    "put",
                    "code_sources:update",
                    query=(*known, SCOPE),
                    takes=TEXT,
                    answer=WRITTEN,
                    also=("code_sources:publicize",),
                    refuses=(Conflict,),
                    tagged=True,
                ),
                delete_route("code_sources:delete", path, known),
            )
        ),
    )

    def get_all(self, call: Call) -> dict[str, Any]:
        """List code sources."""
        return OWNED.page(call)

    def get_one(
        self, call: Call, identifier: str, namespace: str | None = None
    ) -> Answer:
        """Show a code source with its text."""
        return OWNED.show(call, identifier, namespace)

    @replayed
    def post(self, call: Call) -> Shaped:
        """Create a code source."""
        place = uploads.place_of(call, "code_sources")
        uploads.refuse_code_when_off(call)
        name = NAME.of(call.query)
        if name is None:
            raise BadRequest("Expected 'name', the name of the code source.")
        if len(name) > LONGEST_NAME:
            raise BadRequest(f"A name has at most {LONGEST_NAME} characters.")
        content = _content(call)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = sources.create_source(
                connection, author, name, content, read_classes(content), place
            )
        return OWNED.created(row)

    @replayed
    def put(
        self, call: Call, identifier: str | None = None, namespace: str | None = None
    ) -> Shaped:
        """Update a code source; its version goes up by one."""
        place = uploads.place_of(call, "code_sources", namespace)
        uploads.refuse_code_when_off(call)
        identifier = identifier or IDENTIFIER.of(call.query)
        if identifier is None:
            raise BadRequest("Expected 'identifier', id or name of the code source.")
        content = _content(call)
        with call.services.database.begin() as connection:
            author = uploads.author_of(call, connection)
            row = sources.update_source(
                connection, author, identifier, content, read_classes(content), place
            )
        return OWNED.shape(row)

    def delete(self, call: Call, identifier: str, namespace: str | None = None) -> None:
        """Delete a code source and the dynamic actions that are made from it."""
        OWNED.delete(call, identifier, namespace)


def _content(call: Call) -> str:
    """:raises BadRequest: it holds what no source and no database can."""
    most = call.services.settings.dynamic_actions.max_source_bytes
    if len(call.body) > most:
        raise exc.HTTPRequestEntityTooLarge(
            f"The code source is longer than {most} bytes"
            " ([dynamic_actions] max_source_bytes)."
        )
    content = call.text()
    if "\0" in content:
        raise BadRequest("A code source has no NUL characters.")
    return content
