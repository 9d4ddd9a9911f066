"""Code sources, and the dynamic actions that are built from them
(spec/rest-api.md §§ 8.6, 8.7).

Texts are stored and handed out here, never run. Each upload is a version of its
own: a call names the version it was offered with, whatever is uploaded later.
Everything happens in the caller's transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from mistral.context import Context
from mistral.db import owned, scope
from mistral.db.models import code_source_versions, code_sources, dynamic_actions
from mistral.db.owned import Author, Place, Row
from mistral.errors import NotFound

KEPT_VERSIONS: Final = 50
"""Of each source, the newest: an offer that waits through more uploads than
this fails, and old texts do not pile up without end."""


def checksum(content: str) -> str:
    """SHA-256 of the text, in hexadecimal."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


# -- Code sources -------------------------------------------------------------


def create_source(
    connection: Connection,
    author: Author,
    name: str,
    content: str,
    classes: Mapping[str, Any],
    place: Place,
) -> Row:
    """:raises Conflict: the name is taken in this project and namespace."""
    values = owned.fresh(author, place) | {
        "name": name,
        "content": content,
        "version": 1,
        "classes": dict(classes),
    }
    row = owned.add(connection, code_sources, author, values)
    _keep(connection, row)
    return row


def update_source(
    connection: Connection,
    author: Author,
    identifier: str,
    content: str,
    classes: Mapping[str, Any],
    place: Place,
) -> Row:
    """Text and scope are replaced, and the version is raised, even by the same
    text.

    :param place: its namespace is where a name is looked for.
    :raises NotFound: there is none.
    :raises Forbidden: it belongs to another project.
    """
    context, table = author.context, code_sources
    row = owned.identified(connection, table, identifier, place.namespace, context)
    row = owned.to_change(connection, table, row, context, author.unchanged)
    scope_after = place.scope or row["scope"]
    owned.check_scope(author, table, scope_after)
    connection.execute(
        update(code_sources)
        .where(code_sources.c.id == row["id"])
        .values(
            content=content,
            classes=dict(classes),
            scope=scope_after,
            # in the statement: two uploads at once are two versions
            version=code_sources.c.version + 1,
            updated_at=author.now,
        )
    )
    row = owned.read(connection, code_sources, row["id"])
    _keep(connection, row)
    return row


def _keep(connection: Connection, row: Row) -> None:
    table = code_source_versions
    connection.execute(
        insert(table).values(
            code_source_id=row["id"],
            version=row["version"],
            content=row["content"],
            checksum=checksum(row["content"]),
        )
    )
    connection.execute(
        delete(table).where(
            table.c.code_source_id == row["id"],
            table.c.version <= row["version"] - KEPT_VERSIONS,
        )
    )


def remove_source(connection: Connection, row: Row) -> None:
    """With all its versions, and all dynamic actions that are built on it."""
    for table in (dynamic_actions, code_source_versions):
        connection.execute(delete(table).where(table.c.code_source_id == row["id"]))
    owned.remove(connection, code_sources, row)


def text_of(connection: Connection, source_id: str, version: int) -> Row:
    """``content`` and ``checksum`` of a version, for an executor.

    :raises NotFound: the source was deleted, or the version is too old.
    """
    table = code_source_versions
    statement = select(table.c.content, table.c.checksum).where(
        table.c.code_source_id == source_id, table.c.version == version
    )
    row = connection.execute(statement).mappings().first()
    if row is None:
        raise NotFound(
            f"Version {version} of the code source {source_id} is gone: the source"
            f" was deleted, or replaced {KEPT_VERSIONS} times since."
        )
    return row


# -- Dynamic actions ----------------------------------------------------------


def _source(
    connection: Connection, sent: Mapping[str, Any], namespace: str, context: Context
) -> dict[str, str]:
    """Columns that say which source is meant; its id wins over its name.

    :raises NotFound: there is no such source in the namespace.
    """
    identifier = sent.get("code_source_id")
    if identifier:
        row = owned.by_id(connection, code_sources, identifier, context)
    else:
        name, project_id = sent["code_source_name"], context.project_id
        row = owned.named(connection, code_sources, name, namespace, project_id)
    return {"code_source_id": row["id"], "code_source_name": row["name"]}


def create_action(
    connection: Connection, author: Author, sent: Mapping[str, Any], place: Place
) -> Row:
    """
    :param sent: ``name``, ``class_name``, and ``code_source_id`` or
        ``code_source_name``.
    :raises NotFound: there is no such source.
    :raises Conflict: the name is taken.
    """
    values = owned.fresh(author, place) | {
        "name": sent["name"],
        "class_name": sent["class_name"],
        **_source(connection, sent, place.namespace, author.context),
    }
    return owned.add(connection, dynamic_actions, author, values)


def update_action(
    connection: Connection,
    author: Author,
    identifier: str,
    namespace: str,
    sent: Mapping[str, Any],
) -> Row:
    """What is not sent stays as it is (Q-48); a name never changes.

    :param sent: of ``class_name``, ``scope``, ``code_source_id``,
        ``code_source_name``.
    :raises NotFound: no such action, or no such source.
    :raises Forbidden: it belongs to another project.
    """
    context, table = author.context, dynamic_actions
    row = owned.identified(connection, table, identifier, namespace, context)
    row = owned.to_change(connection, table, row, context, author.unchanged)
    values = {name: sent[name] for name in ("class_name", "scope") if sent.get(name)}
    if sent.get("code_source_id") or sent.get("code_source_name"):
        values |= _source(connection, sent, row["namespace"], context)
    return owned.change(connection, table, author, row, values)


# -- What can be run ----------------------------------------------------------

_RUNNABLE: Final = (
    *(column for column in dynamic_actions.c),
    code_sources.c.version,
    code_sources.c.classes,
    code_source_versions.c.checksum,
)
_JOINED: Final = dynamic_actions.join(
    code_sources, code_sources.c.id == dynamic_actions.c.code_source_id
).join(
    code_source_versions,
    (code_source_versions.c.code_source_id == code_sources.c.id)
    & (code_source_versions.c.version == code_sources.c.version),
)


def runnable(
    connection: Connection, name: str, namespace: str, project_id: str
) -> Row | None:
    """The dynamic action of that name in exactly that namespace (§ 8.10): its
    row with ``version``, ``checksum`` and ``classes`` of its source."""
    table = dynamic_actions
    statement = (
        select(*_RUNNABLE)
        .select_from(_JOINED)
        .where(
            table.c.name == name,
            table.c.namespace == namespace,
            scope.of_project(table, project_id),
        )
        .order_by(*scope.nearest_first(table, project_id))
        .limit(1)
    )
    return connection.execute(statement).mappings().first()


def all_runnable(
    connection: Connection, seen: ColumnElement[bool], namespace: str | None
) -> list[Row]:
    """All that is seen, as ``runnable``; of a namespace or of all."""
    table = dynamic_actions
    statement = select(*_RUNNABLE).select_from(_JOINED).where(seen)
    if namespace is not None:
        statement = statement.where(table.c.namespace == namespace)
    return list(connection.execute(statement).mappings())
