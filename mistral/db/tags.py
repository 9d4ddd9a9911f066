"""Tags in SQL: JSON lists in a text column, how one is looked for and what helps.

PostgreSQL has a GIN index on the pieces between the commas of a list; a tag's own
pieces are among them. That narrows a search, the text itself decides. Rows without tags
are not in it, and cost nothing. Other databases look through the rows.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Index,
    Text,
    and_,
    func,
    literal_column,
    or_,
    text,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_LONGEST: Final = 200
"""Characters of a piece: keys of an index have to be short."""

_PIECES: Final = (
    "string_to_array(regexp_replace(btrim({}, '[]'),"
    rf" '([^,]{{{{{_LONGEST}}}}})[^,]*', '\1', 'g'), ',')"
)
"""Constants are written out, never bound: an index is found by what it says. From
PostgreSQL 14 on there are statistics of it (version 0009)."""


def index(table: str) -> Index:
    """Of the column ``tags`` of a large table; on PostgreSQL alone."""
    made = Index(
        f"ix_{table}_tags",
        text(_PIECES.format("tags")),
        postgresql_using="gin",
        postgresql_where=text("tags <> '[]'"),
        info={"only": "postgresql"},
    )
    return made.ddl_if("postgresql")


def carries(column: Any, tag: str) -> ColumnElement[bool]:
    """Whether the list has this tag.

    :param column: or an expression, which no index knows.
    """
    quoted = json.dumps(tag, ensure_ascii=False)
    whole = type_coerce(column, Text)
    found = or_(*(contains(whole, f"{a}{quoted}{b}") for a in "[," for b in ",]"))
    if not isinstance(column, Column):
        return found
    return and_(_Narrowed(_near(column, quoted)), found)


def contains(whole: Any, part: str) -> ColumnElement[bool]:
    """Whether a text has this part."""
    # LIKE ignores case on SQLite; this does not on any database.
    return func.replace(whole, part, "") != whole


def _near(column: Column[Any], quoted: str) -> ColumnElement[bool]:
    """What the index finds.

    The tag is written out as well, as the numbers of its characters: a plan that does
    not know it would take the index also for what nearly every row has.
    """
    name = f"{column.table.name}.{column.name}"
    pieces: Any = literal_column(_PIECES.format(name), ARRAY(Text))
    each = ", ".join(_written(piece[:_LONGEST]) for piece in quoted.split(","))
    wanted: Any = literal_column(f"ARRAY[{each}]", ARRAY(Text))
    return and_(
        type_coerce(column, Text) != literal_column("'[]'"), pieces.contains(wanted)
    )


def _written(piece: str) -> str:
    # half a character is in no stored text
    whole = piece.encode("utf-8", "replace").decode()
    return "U&'{}'".format("".join(f"\\+{ord(each):06X}" for each in whole))


class _Narrowed(FunctionElement[bool]):
    """A condition for PostgreSQL; anywhere else it is always met."""

    type = Boolean()
    inherit_cache = True


@compiles(_Narrowed)
def _anywhere(element: Any, compiler: Any, **more: Any) -> str:
    return "1 = 1"


@compiles(_Narrowed, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **more: Any) -> str:
    return f"({compiler.process(element.clauses, **more)})"
