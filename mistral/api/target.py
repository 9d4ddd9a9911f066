"""Headers that send the actions of an execution to another cloud
(spec/rest-api.md § 4.3).

They say nothing about who asks and whose the execution is (Q-29): what they hold is
sealed with the caller's secrets and reaches actions alone.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from webob import Request

from mistral.api.parameters import Choice, Parameter
from mistral.api.types import read_json
from mistral.errors import BadRequest

_PREFIX: Final = "X-Target-"
_NAMES: Final = {
    "Project-Id": "project_id",
    "User-Name": "user_name",
    "Region-Name": "region_name",
}
"""Headers, and what actions know them as."""

AUTH_URI: Final = Parameter(
    f"{_PREFIX}Auth-Uri", "Identity service of the cloud that actions are sent to."
)
AUTH_TOKEN: Final = Parameter(
    f"{_PREFIX}Auth-Token", "Token for that cloud; needed beside X-Target-Auth-Uri."
)
INSECURE: Final = Choice(
    f"{_PREFIX}Insecure",
    "Whether certificates of that cloud are not verified.",
    words=("False", "True"),
)
CATALOG: Final = Parameter(
    f"{_PREFIX}Service-Catalog", "Catalogue of that cloud: base64 of JSON."
)
HEADERS: Final = (
    AUTH_URI,
    AUTH_TOKEN,
    INSECURE,
    CATALOG,
    *(
        Parameter(f"{_PREFIX}{name}", f"{name.replace('-', ' ')} in that cloud.")
        for name in _NAMES
    ),
)


def target_of(request: Request) -> dict[str, Any]:
    """Arguments of an action's security context; empty: the caller's own cloud.

    :raises BadRequest: a header is missing or malformed (Q-28).
    """
    headers = request.headers
    insecure = INSECURE.of(headers) == "True"
    catalog = _catalog(CATALOG.of(headers))
    uri = AUTH_URI.of(headers)
    if not uri:
        return {}
    token = AUTH_TOKEN.of(headers)
    if not token:
        raise BadRequest("Expected X-Target-Auth-Token beside X-Target-Auth-Uri.")
    found = {
        "is_target": True,
        "auth_uri": uri,
        "auth_token": token,
        "insecure": insecure,
        "service_catalog": catalog,
    }
    for header, name in _NAMES.items():
        # what is the caller's own must not be taken for the target's
        found[name] = headers.get(_PREFIX + header)
    return found


def _catalog(text: str | None) -> Any:
    if not text:
        return None
    try:
        return read_json(base64.b64decode(text, validate=True).decode())
    except ValueError:
        raise BadRequest(
            "Expected base64 of JSON for X-Target-Service-Catalog."
        ) from None
