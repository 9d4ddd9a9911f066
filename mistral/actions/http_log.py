"""What of a request may stand in a log: whom it went to, and of which kind it was.

Any value may be a secret, that of a path or of a harmless header as well (a webhook's
path often is one), so none is written (SEC-08, SEC-09): decision 0031.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from typing import Any, Final
from urllib.parse import urlsplit

MASK: Final = "***"


def url(text: str) -> str:
    """Scheme, host and port, and whether there is more."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    more = parts.path.strip("/") or parts.query or parts.fragment
    return f"{parts.scheme}://{host}/{MASK if more else ''}"


def headers(given: Mapping[str, Any], removed: Iterable[str]) -> str:
    """Their names.

    :param removed: names that the operator wants out of logs.
    """
    gone = {name.lower() for name in removed}
    return ", ".join(name for name in given if name.lower() not in gone) or "none"


def body(content: Any, hidden: bool) -> str:
    """Kind and size of a body, or only the mask."""
    if hidden:
        return MASK
    size = f" of {len(content)}" if isinstance(content, Sized) else ""
    return f"{type(content).__name__}{size}"
