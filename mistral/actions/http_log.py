"""What of a request may stand in a log: names, never secrets (SEC-09)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from oslo_utils import strutils

MASK: Final = "***"

_MAX_BODY: Final = 1000

_SECRET_NAME: Final = re.compile(
    r"auth|cookie|credential|key|passw|pwd|secret|session|signature|token",
    re.IGNORECASE,
)


def url(text: str) -> str:
    """The URL without user, password and fragment; values of parameters with
    telling names are masked."""
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return MASK
    query = "&".join(f"{name}={_masked(name, value)}" for name, value in pairs)
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def headers(given: Mapping[str, Any], removed: Iterable[str]) -> dict[str, Any]:
    """:param removed: names that the operator wants out of logs."""
    gone = {name.lower() for name in removed}
    return {
        name: _masked(name, value)
        for name, value in given.items()
        if name.lower() not in gone
    }


def body(content: Any, hidden: bool) -> str:
    """The beginning of a body, masked, or only the mask."""
    if hidden:
        return MASK
    if isinstance(content, bytes):
        content = content[:_MAX_BODY].decode("utf-8", "replace")
    if isinstance(content, Mapping):
        content = strutils.mask_dict_password(dict(content))
    return str(strutils.mask_password(str(content)[:_MAX_BODY]))


def _masked(name: str, value: Any) -> Any:
    return MASK if _SECRET_NAME.search(name) else value
