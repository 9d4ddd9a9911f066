"""``ETag``, ``If-Match`` and ``If-None-Match`` of what projects own.

A tag stands for the stored row, whichever of its attributes an answer shows. A strong
tag means these very bytes, so a packed answer has another one; both name the row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from mistral.api.rest import Answer, Call
from mistral.errors import PreconditionFailed

Row = Mapping[str, Any]


def etag(row: Row) -> str:
    """Another one after each change."""
    text = json.dumps(dict(row), default=str, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def packed_tag(tag: str) -> str:
    """The tag of the same answer as gzip."""
    return f"{tag}-gzip"


def _tags(row: Row) -> tuple[str, str]:
    tag = etag(row)
    return tag, packed_tag(tag)


def shown(call: Call, row: Row, resource: Any) -> Answer:
    """The resource of a row with its tag; 304 if the caller has it already."""
    tags = _tags(row)
    for tag in tags:
        if call.if_none_match is not None and tag in call.if_none_match:
            return Answer(None, 304, etag=tag)
    return Answer(resource, etag=tags[0])


def unchanged(call: Call) -> Callable[[Row], None] | None:
    """What judges a row before it is changed or deleted; None: any will do."""
    expected = call.if_match
    if expected is None:
        return None

    def judge(row: Row) -> None:
        if not any(tag in expected for tag in _tags(row)):
            raise PreconditionFailed(
                f"'{row['name'] or row['id']}' is not what If-Match names: it was"
                " changed. Read it again."
            )

    return judge
