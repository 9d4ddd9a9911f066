"""``ETag``, ``If-Match`` and ``If-None-Match`` of definitions.

A tag stands for the stored row, whichever of its attributes an answer shows.
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


def shown(call: Call, row: Row, resource: Any) -> Answer:
    """The resource of a row with its tag; 304 if the caller has it already."""
    tag = etag(row)
    if call.if_none_match is not None and tag in call.if_none_match:
        return Answer(None, 304, etag=tag)
    return Answer(resource, etag=tag)


def unchanged(call: Call) -> Callable[[Row], None] | None:
    """What judges a row before it is changed or deleted; None: any will do."""
    expected = call.if_match
    if expected is None:
        return None

    def judge(row: Row) -> None:
        if etag(row) not in expected:
            raise PreconditionFailed(
                f"'{row['name']}' is not what If-Match names: it was changed. Read"
                " it again."
            )

    return judge
