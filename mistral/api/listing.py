"""Query strings of lists, and the envelope of their answers (§ 3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final
from urllib.parse import quote

from mistral.api.rest import Call, is_uuid
from mistral.db.listing import Condition, Listing, Query
from mistral.errors import BadRequest

PAGING: Final = frozenset({"limit", "marker", "sort_keys", "sort_dirs", "fields"})


def items(text: str) -> tuple[str, ...]:
    """A comma list: trimmed, lower-cased, without blanks and repeats (§ 1.5)."""
    found = (part.strip().lower() for part in text.split(","))
    return tuple(dict.fromkeys(item for item in found if item))


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
    text = call.query["limit"]
    try:
        limit = int(text)
    except ValueError:
        raise BadRequest(f"Expected a number for 'limit', found '{text}'.") from None
    if limit <= 0:
        raise BadRequest("Limit must be positive.")
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


def ask(
    call: Call,
    listing: Listing,
    attributes: Sequence[str],
    *,
    extra: Collection[str] = (),
    sortable: Collection[str] | None = None,
    default_sort: str = "created_at",
    unlimited: bool = False,
    any_marker: bool = False,
) -> Query:
    """What the query string asks of a list.

    :param attributes: of the resource type, for ``fields``.
    :param extra: parameters that the handler reads itself (``all_projects``);
        ``nulls`` among them is read here, as columns of ``listing.filters``.
    :param sortable: columns to sort by, default all of the listing.
    :param unlimited: without ``limit`` all is listed.
    :param any_marker: it need not be a UUID.
    :raises BadRequest: anything that is not understood, by name.
    """
    query = call.query
    unknown = sorted(set(query) - PAGING - set(listing.filters) - set(extra))
    if unknown:
        raise BadRequest(f"Unknown argument: {', '.join(unknown)}.")
    nulls = items(query.get("nulls", "")) if "nulls" in extra else ()
    known = [name for name in listing.filters if listing.nullable(name)]
    wrong = [name for name in nulls if name not in known]
    if wrong:
        raise BadRequest(f"Unknown or never null: {', '.join(wrong)} in 'nulls'.")
    marker = query.get("marker") or None
    if marker is not None and not any_marker and not is_uuid(marker):
        raise BadRequest(f"Expected a UUID for 'marker', found '{marker}'.")
    most = None if unlimited else call.services.settings.api.max_limit
    columns = listing.columns if sortable is None else sortable
    return Query(
        conditions=tuple(
            Condition.read(name, query[name])
            for name in listing.filters
            if name in query and name not in extra
        ),
        nulls=nulls,
        sort=sort_of(call, columns, default_sort),
        limit=_limit(call, most),
        marker=marker,
        fields=fields_of(call, attributes),
    )


def all_projects(call: Call, rule: str) -> bool:
    """Whether objects of all projects are asked for, and may be (§ 3.6).

    :raises Forbidden: asked for by somebody who may not.
    """
    asked = call.flag("all_projects")
    if asked:
        call.require(rule)
    return asked


def envelope(
    call: Call,
    name: str,
    query: Query,
    resources: Sequence[Any],
    *,
    path_filters: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """The answer of a list; ``next`` iff the page is full (§ 3.1, § 3.2).

    :param name: of the member, and of the flat collection in ``next``.
    :param resources: each with an ``id``.
    :param path_filters: what the path of a sub-resource says, as filters.
    """
    body: dict[str, Any] = {name: list(resources)}
    if resources and query.limit is not None and len(resources) == query.limit:
        body["next"] = _next(call, name, query, resources[-1].id, path_filters)
    return body


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
        *((key, value) for key, value in call.query.items() if key not in PAGING),
        ("limit", str(query.limit)),
        ("marker", marker),
    ]
    if query.fields is not None:
        pairs.append(("fields", ",".join(query.fields)))
    text = "&".join(f"{key}={quote(value, safe=',:')}" for key, value in pairs)
    return f"{call.host_url}/v2/{name}?{text}"
