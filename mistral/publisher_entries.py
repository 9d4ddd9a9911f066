"""Entries of ``params.notify``: what they say to publishers alone (SEC-09).

An entry may hold secrets: headers, a password in the URL, what a plug-in calls a
token. Where there is a key, such an entry is kept sealed as a whole beside its masked
self; the sealed one counts, so whoever alters the rest gains nothing. Everybody but the
publisher sees the masked one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from mistral.errors import BadRequest, ServiceError

MASK: Final = "***"
SEALED: Final = "sealed"
SEALED_BY_OPERATOR: Final = "sealed_by_operator"
OPERATOR: Final = "[notifier] notify"
"""The project, so to say, that the operator's own entries are sealed for."""

_SECRET_NAME: Final = re.compile(
    "auth|credential|key|passw|secret|signature|token", re.IGNORECASE
)

Seal = Callable[[Mapping[str, Any], str], str]
"""(secrets, project) → sealed."""

Unseal = Callable[[str, str], Mapping[str, Any]]
"""(sealed, project) → secrets."""


def shown(params: Any) -> Any:
    """``params`` as answers, histories and expressions have them."""
    return _with_entries(params, _shown)


def kept(
    params: Any, seal: Seal | None, project_id: str, before: Any = None
) -> dict[str, Any]:
    """``params`` of a request as rows and messages have them.

    :param seal: None: there is no key, and nothing is sealed.
    :param before: the params that these replace; an entry that comes back as it was
        shown stays what it is.
    :raises BadRequest: an entry claims to be sealed, or has the mask where something
        is for its publisher alone and it is not known what.
    """
    known = [entry for entry in _entries(before) or () if isinstance(entry, Mapping)]
    shown_before = [_shown(entry) for entry in known]
    own = [entry for entry in _entries(params) or () if isinstance(entry, Mapping)]
    if any(SEALED in entry or SEALED_BY_OPERATOR in entry for entry in own):
        raise BadRequest(
            f"'{SEALED}' in an entry of params.notify is the service's own."
        )
    masks = [
        f"notify.{number}.{place}"
        for number, entry in enumerate(_entries(params) or ())
        if isinstance(entry, Mapping) and entry not in shown_before
        for place in _masks(entry)
    ]
    if masks:
        raise BadRequest(
            f"'{MASK}' at {', '.join(masks)} is what answers show instead of a value"
            " that is for the publisher alone. Send the value itself."
        )

    def keep(entry: Mapping[str, Any]) -> Mapping[str, Any]:
        if entry in shown_before:
            return known[shown_before.index(entry)]
        return entry if seal is None else sealed(entry, seal, project_id, SEALED)

    made: dict[str, Any] = _with_entries(params, keep)
    return made


def sealed(
    entry: Mapping[str, Any], seal: Seal, project_id: str, name: str
) -> Mapping[str, Any]:
    """The entry as it is kept; one without secrets stays as it is."""
    masked = _shown(entry)
    if masked == entry:
        return entry
    return {**masked, name: seal({"entry": dict(entry)}, project_id)}


def of_operator(entry: Mapping[str, Any], seal: Seal | None) -> Mapping[str, Any]:
    """An entry that the operator adds to those of every run."""
    if seal is None:
        return entry
    return sealed(entry, seal, OPERATOR, SEALED_BY_OPERATOR)


def without_operators(params: Any) -> Any:
    """Params without the operator's sealed entries: each new run gets them anyway."""
    entries = _entries(params)
    if not entries:
        return params
    own = [
        entry
        for entry in entries
        if not isinstance(entry, Mapping) or SEALED_BY_OPERATOR not in entry
    ]
    return {**params, "notify": own}


def opened(
    entry: Mapping[str, Any], unseal: Unseal | None, project_id: str
) -> Mapping[str, Any]:
    """What its publisher is given.

    :raises ServiceError: it cannot be opened, or not for this project.
    """
    for name, whose in ((SEALED, project_id), (SEALED_BY_OPERATOR, OPERATOR)):
        if name in entry:
            if unseal is None:
                raise ServiceError("[engine] secret_key is not set.")
            found: Mapping[str, Any] = unseal(str(entry[name]), whose)["entry"]
            return found
    return entry


def renewed(params: Any, renew: Callable[[str], str]) -> Any:
    """The same, sealed by another key."""

    def anew(entry: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**entry, SEALED: renew(entry[SEALED])} if SEALED in entry else entry

    return _with_entries(params, anew)


def _entries(params: Any) -> Sequence[Any] | None:
    found = params.get("notify") if isinstance(params, Mapping) else None
    return found if isinstance(found, list | tuple) else None


def _with_entries(
    params: Any, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> Any:
    entries = _entries(params)
    if not entries:
        return params
    made = [change(e) if isinstance(e, Mapping) else e for e in entries]
    return {**params, "notify": made}


def _shown(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        str(name): _masked(str(name), value)
        for name, value in entry.items()
        if name not in (SEALED, SEALED_BY_OPERATOR)
    }


def _masked(name: str, value: Any) -> Any:
    if name == "headers" and isinstance(value, Mapping):
        # their names help, their values may be anything
        return {str(key): MASK for key in value}
    if value is not None and (name == "headers" or _SECRET_NAME.search(name)):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): _masked(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", each) for each in value]
    if isinstance(value, str) and "://" in value:
        return _masked_url(value)
    return value


def _masks(entry: Mapping[str, Any]) -> Iterator[str]:
    """Places of what is masked already."""
    for name, value in entry.items():
        yield from _masks_of(str(name), str(name), value)


def _masks_of(place: str, name: str, value: Any) -> Iterator[str]:
    if name == "headers" and isinstance(value, Mapping):
        yield from (f"{place}.{key}" for key, each in value.items() if each == MASK)
    elif value == MASK:
        if name in ("headers", "url") or _SECRET_NAME.search(name):
            yield place
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _masks_of(f"{place}.{key}", str(key), each)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _masks_of(f"{place}.{number}", "", each)
    elif isinstance(value, str) and "://" in value and _has_mask(value):
        yield place


def _has_mask(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    user, at, _ = parts.netloc.rpartition("@")
    return MASK in (user if at else "", parts.query, parts.fragment)


def _masked_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host = parts.netloc
        if "@" in host:
            host = f"{MASK}@{host.rpartition('@')[2]}"
        query = MASK if parts.query else ""
        fragment = MASK if parts.fragment else ""
        if (host, query, fragment) == (parts.netloc, parts.query, parts.fragment):
            return text
        return urlunsplit((parts.scheme, host, parts.path, query, fragment))
    except ValueError:
        return MASK
