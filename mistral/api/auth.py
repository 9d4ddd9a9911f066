"""Who asks.

Authentication is off: whoever reaches the service is the administrator of one
project. Headers that claim an identity are not read at all (SEC-26, Q-26).
"""

from __future__ import annotations

from collections.abc import Callable

from webob import Request

from mistral.context import DEFAULT_PROJECT, Context

Identify = Callable[[Request, str], Context]
"""(request, request id) → the caller.

:raises errors.Unauthorized: nobody known.
"""


def everybody(request: Request, request_id: str) -> Context:
    """The one caller there is while authentication is off."""
    return Context(
        project_id=DEFAULT_PROJECT,
        roles=("admin",),
        is_admin=True,
        request_id=request_id,
    )
