"""Priorities of executions: ``params.priority``, and tags like ``priority:5``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mistral.errors import BadRequest
from mistral.fair_queue import HIGHEST, LOWEST
from mistral.lang.shapes import kind_of

_TAG: Final = re.compile(r"priority: *([+-]?(?:10|[0-9]))")


def of_params(params: Mapping[str, Any]) -> int | None:
    """What ``params.priority`` says; None: nothing.

    :raises BadRequest: it is no whole number of those that there are.
    """
    found = params.get("priority")
    if found is None:
        return None
    is_whole = isinstance(found, int) and not isinstance(found, bool)
    if is_whole and LOWEST <= found <= HIGHEST:
        return int(found)
    shown = str(found)[:20] if is_whole else kind_of(found)
    raise BadRequest(
        f"Expected a whole number from {LOWEST} to {HIGHEST} in 'params.priority',"
        f" found {shown}"
    )


def of_tags(tags: Iterable[str]) -> int | None:
    """What the first tag like ``priority:5`` says; None: there is none. Another tag
    that begins like that is a tag."""
    found = (_TAG.fullmatch(tag) for tag in tags)
    return next((int(tag[1]) for tag in found if tag), None)
