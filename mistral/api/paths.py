"""The segments of a request's path.

Names may hold a slash. WSGI hands paths over decoded, in which a slash of a name
looks like one between names; servers add the path as it was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urlsplit

_AS_WRITTEN: Final = ("REQUEST_URI", "RAW_URI")
"""Of waitress, uWSGI and mod_wsgi; of gunicorn."""


def segments_of(environ: Mapping[str, Any]) -> list[str]:
    """What stands between the slashes of the path, behind the first one."""
    path = environ.get("PATH_INFO", "").encode("latin-1").decode()
    if "/" not in path:
        return [path]
    plain = path[1:].split("/")
    for name in _AS_WRITTEN:
        written = environ.get(name) or ""
        if not written.startswith("/"):
            written = urlsplit(written).path
        if written.startswith("//"):
            # waitress has taken it for one (rest-api.md § 1.1)
            return ["", *plain] if plain[0] else plain
        if "%2f" in written.lower():
            return _with_slashes(written.partition("?")[0], plain) or plain
    return plain


def _with_slashes(written: str, plain: list[str]) -> list[str] | None:
    """The segments of the path as it was written, without what belongs to a prefix;
    None: somebody in between has changed the path."""
    segments = [unquote_to_bytes(part).decode() for part in written.split("/")]
    while segments and "/".join(segments).split("/") != plain:
        segments.pop(0)
    return segments or None
