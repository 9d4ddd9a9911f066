"""Who asks.

Authentication is off: whoever reaches the service is the administrator of one
project. Headers that claim an identity are not read at all (SEC-26, Q-26).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mistral.context import DEFAULT_PROJECT, Context

Identify = Callable[[Mapping[str, str], str], Context]
"""(request headers, request id) → the caller.

:raises errors.Unauthorized: nobody known.
"""


def everybody(headers: Mapping[str, str], request_id: str) -> Context:
    """The one caller there is while authentication is off."""
    return Context(
        project_id=DEFAULT_PROJECT,
        roles=("admin",),
        is_admin=True,
        request_id=request_id,
    )
