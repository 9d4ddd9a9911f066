"""Headers that send the actions of an execution to another cloud
(spec/rest-api.md § 4.3).

They say nothing about who asks and whose the execution is (Q-29): what they hold is
sealed with the caller's secrets and reaches actions alone.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from webob import Request

from mistral.errors import BadRequest

_PREFIX: Final = "X-Target-"
_NAMES: Final = {
    "Project-Id": "project_id",
    "User-Name": "user_name",
    "Region-Name": "region_name",
}
"""Headers, and what actions know them as."""


def target_of(request: Request) -> dict[str, Any]:
    """Arguments of an action's security context; empty: the caller's own cloud.

    :raises BadRequest: a header is missing or malformed (Q-28).
    """
    headers = request.headers
    uri = headers.get(f"{_PREFIX}Auth-Uri")
    if not uri:
        return {}
    token = headers.get(f"{_PREFIX}Auth-Token")
    if not token:
        raise BadRequest("Expected X-Target-Auth-Token beside X-Target-Auth-Uri.")
    insecure = headers.get(f"{_PREFIX}Insecure", "False")
    if insecure not in ("True", "False"):
        raise BadRequest("Expected True or False for X-Target-Insecure.")
    found = {
        "is_target": True,
        "auth_uri": uri,
        "auth_token": token,
        "insecure": insecure == "True",
        "service_catalog": _catalog(headers.get(f"{_PREFIX}Service-Catalog")),
    }
    for header, name in _NAMES.items():
        # what is the caller's own must not be taken for the target's
        found[name] = headers.get(_PREFIX + header)
    return found


def _catalog(text: str | None) -> Any:
    if not text:
        return None
    try:
        return json.loads(base64.b64decode(text, validate=True))
    except ValueError:
        raise BadRequest(
            "Expected base64 of JSON for X-Target-Service-Catalog."
        ) from None
