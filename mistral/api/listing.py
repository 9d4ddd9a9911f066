"""Query strings of lists, and the envelope of their answers (§ 3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import ColumnElement, Table, true

from mistral.api.parameters import (
    ALL_PROJECTS,
    Number,
    Parameter,
    Words,
    filters,
    items,
)
from mistral.api.rest import Call, Route, is_uuid
from mistral.api.shapes import Page, Shown
from mistral.api.types import Shaped
from mistral.db import scope
from mistral.db.listing import Condition, Kind, Listing, Query, items_of
from mistral.errors import BadRequest

LIMIT: Final = Number(
    "limit", "Objects of a page; left out, it is the service's limit", least=1
)
OF_ALL: Final = Number("limit", "Objects of a page; left out, there is one.", least=1)
MARKER: Final = Parameter(
    "marker", "`id` of the last object of the page before; the page starts after it."
)
SORT_DIRS: Final = Words(
    "sort_dirs",
    "Directions of `sort_keys`, one for each, `asc` where there are fewer.",
    known=("asc", "desc"),
)
NULLS: Final = "nulls"

PAGING: Final = frozenset({"limit", "marker", "sort_keys", "sort_dirs", "fields"})
"""What ``next`` says anew; the other parameters it repeats as they were."""


def fields_parameter(attributes: Sequence[str]) -> Words:
    """``fields`` of a resource."""
    meaning = "Attributes to show; `id` is always shown. Empty: all."
    return Words("fields", meaning, known=attributes)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list that the API serves: what may be asked of it, and what it answers.

    :param name: of the member of its answers, and of the flat collection in
        ``next``.
    :param shown: its elements.
    :param attributes: for ``fields``.
    :param extra: parameters besides paging and filters; handlers read them.
    :param nulls: ``nulls`` is taken (§ 3.5).
    :param sortable: columns to sort by; default: all of the listing.
    :param unlimited: without ``limit`` all is listed.
    :param any_marker: it need not be a UUID.
    :param everywhere: rule of those who may ask for the objects of all projects;
        empty: nobody is asked, as the path names what the list is of.
    :param project_asks: the filter ``project_id`` asks for them, too.
    """

    name: str
    listing: Listing
    shown: Shown
    attributes: tuple[str, ...]
    extra: tuple[Parameter, ...] = ()
    nulls: bool = False
    sortable: tuple[str, ...] = ()
    default_sort: str = "created_at"
    unlimited: bool = False
    any_marker: bool = False
    everywhere: str = ""
    project_asks: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """What it may be sorted by."""
        return self.sortable or tuple(self.listing.columns)

    @property
    def nullable(self) -> tuple[str, ...]:
        return tuple(n for n in self.listing.filters if self.listing.nullable(n))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        keys = Words("sort_keys", "Columns to sort by.", known=self.columns)
        limit = OF_ALL if self.unlimited else LIMIT
        found = (limit, MARKER, keys, SORT_DIRS, fields_parameter(self.attributes))
        if self.nulls:
            meaning = "Filters whose column has to be null."
            found += (Words(NULLS, meaning, known=self.nullable),)
        if self.everywhere:
            found += (ALL_PROJECTS,)
        return (*found, *filters(self.listing.filters), *self.extra)

    @property
    def page(self) -> Page:
        """The shape of its answers."""
        return Page(self.name, self.shown)


def list_route(
    asked: ListOf,
    rule: str,
    path: str = "",
    handler: str = "get_all",
) -> Route:
    """The route ``GET`` of a list."""
    return Route(
        "GET",
        path,
        handler,
        rule,
        query=asked.parameters,
        answer=asked.page,
        also=(asked.everywhere,) if asked.everywhere else (),
    )


def fields_of(call: Call, attributes: Sequence[str]) -> tuple[str, ...] | None:
    """What ``fields`` asks for, ``id`` first; None: everything.

    :raises BadRequest: naming what is unknown and what there is.
    """
    asked = items(call.query.get("fields", ""))
    if not asked:
        return None
    unknown = [name for name in asked if name not in attributes]
    if unknown:
        raise BadRequest(
            f"Unknown fields: {', '.join(unknown)}; known are: {', '.join(attributes)}."
        )
    return tuple(dict.fromkeys(("id", *asked)))


def _limit(call: Call, most: int | None) -> int | None:
    if "limit" not in call.query:
        return most
    limit = LIMIT.of(call.query)
    if limit is None:
        raise BadRequest("Expected a number for 'limit', found ''.")
    return limit if most is None else min(limit, most)


def sort_of(
    call: Call, columns: Collection[str], default: str
) -> tuple[tuple[str, bool], ...]:
    """(column, ascending), ``id`` added at the end (§ 3.3).

    :raises BadRequest: an unknown column or direction, or too many directions.
    """
    keys = items(call.query.get("sort_keys", "")) or (default,)
    written = call.query.get("sort_dirs", "").split(",")
    directions = [text for text in (part.strip().lower() for part in written) if text]
    for direction in directions:
        if direction not in ("asc", "desc"):
            raise BadRequest(f"Unknown sort direction '{direction}'.")
    if len(directions) > len(keys):
        raise BadRequest("Length of sort_keys must be equal or greater than sort_dirs.")
    unknown = [key for key in keys if key not in columns]
    if unknown:
        raise BadRequest(f"Unknown sort_keys: {', '.join(unknown)}.")
    directions += ["asc"] * (len(keys) - len(directions))
    sort = [(key, way == "asc") for key, way in zip(keys, directions, strict=True)]
    return tuple(sort if "id" in keys else [*sort, ("id", True)])


def ask(call: Call, asked: ListOf) -> Query:
    """What the query string asks of a list.

    :raises BadRequest: anything that is not understood, by name.
    """
    query, listing = call.query, asked.listing
    nulls = items(query.get(NULLS, "")) if asked.nulls else ()
    wrong = [name for name in nulls if name not in asked.nullable]
    if wrong:
        raise BadRequest(f"Unknown or never null: {', '.join(wrong)} in 'nulls'.")
    marker = MARKER.of(query) or None
    if marker is not None and not asked.any_marker and not is_uuid(marker):
        raise BadRequest(f"Expected a UUID for 'marker', found '{marker}'.")
    most = None if asked.unlimited else call.services.settings.api.max_limit
    conditions = tuple(
        listing.condition(name, query[name])
        for name in listing.filters
        if name in query
    )
    for condition in conditions:
        if listing.filters[condition.name] is Kind.PROJECT:
            _check_project(call, condition)
    return Query(
        conditions=conditions,
        nulls=nulls,
        sort=sort_of(call, asked.columns, asked.default_sort),
        limit=_limit(call, most),
        marker=marker,
        fields=fields_of(call, asked.attributes),
    )


def _check_project(call: Call, condition: Condition) -> None:
    """Where projects are known by UUIDs, other values are mistakes; an issuer of
    tokens may name them as it likes (Q-20).

    :raises BadRequest: no project can have such an id.
    """
    for value in items_of(condition.value) or [""]:
        known = value == call.context.project_id or is_uuid(value)
        if not (known or call.named_projects):
            raise BadRequest(f"Expected the id of a project, found '{value}'.")


def seen(call: Call, table: Table, asked: ListOf) -> ColumnElement[bool]:
    """Rows that a list shows to this caller (§ 3.6).

    Administrators see all projects; where the operator has switched that off, when
    they ask for it (Q-23).

    :raises Forbidden: all projects are asked for by somebody who may not.
    """
    if not asked.everywhere:
        return scope.visible(table, call.context)
    by_project = asked.project_asks and "project_id" in call.query
    if ALL_PROJECTS.of(call.query) or by_project:
        call.require(asked.everywhere)
        return true()
    if _shows_own_alone(call):
        return scope.of_project(table, call.context.project_id)
    return scope.visible(table, call.context)


def _shows_own_alone(call: Call) -> bool:
    return not call.services.settings.api.administrators_list_all_projects


def envelope(
    call: Call,
    asked: ListOf,
    query: Query,
    resources: Sequence[Shaped],
    *,
    path_filters: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """The answer of a list; ``next`` iff the page is full (§ 3.1, § 3.2).

    :param resources: each with an ``id``.
    :param path_filters: what the path of a sub-resource says, as filters.
    """
    body: dict[str, Any] = {asked.name: list(resources)}
    if resources and query.limit is not None and len(resources) == query.limit:
        body["next"] = _next(call, asked.name, query, resources[-1]["id"], path_filters)
    return body


def _everywhere(
    call: Call, path_filters: Sequence[tuple[str, str]]
) -> Sequence[tuple[str, str]]:
    """An administrator who looks below an object of another project goes on in the
    flat collection, which may show the own project alone."""
    if path_filters and call.context.is_admin and _shows_own_alone(call):
        return ((ALL_PROJECTS.name, "true"),)
    return ()


def _next(
    call: Call,
    name: str,
    query: Query,
    marker: str,
    path_filters: Sequence[tuple[str, str]],
) -> str:
    """The query as the client wrote it, with another marker (Q-16)."""
    pairs = [
        ("sort_keys", ",".join(key for key, _ in query.sort)),
        ("sort_dirs", ",".join("asc" if up else "desc" for _, up in query.sort)),
        *((key, f"eq:{value}") for key, value in path_filters),
        *_everywhere(call, path_filters),
        *((key, value) for key, value in call.query.items() if key not in PAGING),
        ("limit", str(query.limit)),
        ("marker", marker),
    ]
    if query.fields is not None:
        pairs.append(("fields", ",".join(query.fields)))
    text = "&".join(f"{key}={quote(value, safe=',:')}" for key, value in pairs)
    return f"{call.host_url}/v2/{name}?{text}"
