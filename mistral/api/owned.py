"""Collections of rows that projects own: how one is listed, shown and deleted.

All of them are looked up and checked by ``db.owned``, so that what a project may
see and change does not depend on what it asks for (SEC-25).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from sqlalchemy import Connection, Table

from mistral.api import etags, listing
from mistral.api.listing import ListOf
from mistral.api.parameters import NAMESPACE, Parameter
from mistral.api.rest import Answer, Call, Route, parse_uuid
from mistral.api.types import Shaped
from mistral.db import owned
from mistral.db.owned import Row
from mistral.errors import MistralError


class KnownBy(Enum):
    """What a path names an object by (§ 5.3)."""

    NAME = auto()
    ID_OR_NAME = auto()
    ID = auto()


def show_route(
    listed: ListOf, rule: str, path: str, known: tuple[Parameter, ...] = ()
) -> Route:
    """The route ``GET`` of one, with the fields that are asked for.

    :param known: parameters that say which one, besides the path.
    """
    return Route(
        "GET",
        path,
        "get_one",
        rule,
        query=(*known, listing.fields_parameter(listed.attributes)),
        answer=listed.shown,
        tagged=True,
    )


def delete_route(
    rule: str,
    path: str,
    known: tuple[Parameter, ...] = (),
    refuses: tuple[type[MistralError], ...] = (),
) -> Route:
    """The route ``DELETE`` of one."""
    return Route(
        "DELETE", path, "delete", rule, 204, known, refuses=refuses, tagged=True
    )


def _as_it_is(row: Row) -> Mapping[str, Any]:
    return row


def _one_each(names: Collection[str]) -> Collection[str]:
    return names


@dataclass(frozen=True, slots=True)
class Owned:
    """One such collection.

    :param values: what a row shows as, by attribute.
    :param columns: what is read of rows for these attributes.
    :param remove: deletes a row and what goes with it; default: the row.
    """

    table: Table
    listed: ListOf
    known_by: KnownBy = KnownBy.ID_OR_NAME
    values: Callable[[Row], Mapping[str, Any]] = _as_it_is
    columns: Callable[[Collection[str]], Collection[str]] = _one_each
    remove: Callable[[Connection, Row], None] | None = None

    def page(self, call: Call) -> dict[str, Any]:
        """The answer of the list."""
        query = listing.ask(call, self.listed)
        names = query.fields or self.listed.attributes
        seen = listing.seen(call, self.table, self.listed)
        with call.services.database.read() as connection:
            rows = self.listed.listing.page(
                connection, query, seen, names=self.columns(names)
            )
        shaped = [self.shape(row, query.fields) for row in rows]
        return listing.envelope(call, self.listed, query, shaped)

    def find(
        self,
        call: Call,
        connection: Connection,
        identifier: str,
        namespace: str | None = None,
    ) -> Row:
        """
        :param namespace: of the path; None: the query says it.
        :raises NotFound: the caller sees no such object.
        :raises BadRequest: it is known by its id, and this is none.
        """
        context = call.context
        if self.known_by is KnownBy.ID:
            id = parse_uuid(identifier, f"the {owned.NOUNS[self.table]}")
            return owned.by_id(connection, self.table, id, context)
        if namespace is None and "namespace" in self.table.c:
            namespace = NAMESPACE.of(call.query)
        if self.known_by is KnownBy.NAME:
            project = context.project_id
            return owned.named(connection, self.table, identifier, namespace, project)
        return owned.identified(connection, self.table, identifier, namespace, context)

    def show(self, call: Call, identifier: str, namespace: str | None = None) -> Answer:
        """The answer of ``GET`` of one."""
        fields = listing.fields_of(call, self.listed.attributes)
        with call.services.database.read() as connection:
            row = self.find(call, connection, identifier, namespace)
        return etags.shown(call, row, self.shape(row, fields))

    def delete(
        self,
        call: Call,
        identifier: str,
        namespace: str | None = None,
        remove: Callable[[Connection, Row], None] | None = None,
    ) -> None:
        """
        :param remove: in place of the collection's.
        :raises NotFound: the caller sees no such object.
        :raises Forbidden: it belongs to another project.
        :raises PreconditionFailed: it is not what ``If-Match`` names.
        """
        table, remove = self.table, remove or self.remove

        def work(connection: Connection) -> None:
            row = self.find(call, connection, identifier, namespace)
            judge = etags.unchanged(call)
            row = owned.to_change(connection, table, row, call.context, judge)
            if remove is None:
                owned.remove(connection, table, row)
            else:
                remove(connection, row)

        # An engine may be changing it just now: a trigger that fires.
        call.services.database.replay(work)

    def shape(self, row: Row, fields: Collection[str] | None = None) -> Shaped:
        """The resource of a row; columns that were not read are absent."""
        return self.listed.shown.cls.shape(self.values(row), fields)

    def created(self, row: Row) -> Shaped:
        """The same in the answer to its creation, before any update (§ 1.4)."""
        shaped = self.shape(row)
        del shaped["updated_at"]
        return shaped
