"""Who asks.

An authenticator turns a request into a :class:`Context`. It reads the token and
nothing else: headers that claim an identity are never believed (SEC-26, Q-26).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from webob import Request

from mistral.context import DEFAULT_PROJECT, Context
from mistral.errors import Unauthorized

Identify = Callable[[Request, str], Context]
"""(request, request id) → the caller.

:raises errors.Unauthorized: nobody known.
:raises errors.Forbidden: somebody known who has no project.
:raises errors.Unavailable: who could tell does not answer.
"""

NO_TOKEN: Final = "Authentication required: there is no token in X-Auth-Token."
NO_PROJECT: Final = "The token is for no project: ask for one that is."


def everybody(request: Request, request_id: str) -> Context:
    """The one caller there is while authentication is off."""
    return Context(
        project_id=DEFAULT_PROJECT,
        roles=("admin",),
        is_admin=True,
        request_id=request_id,
    )


def token_of(request: Request) -> str:
    """:raises Unauthorized: there is none."""
    token: str = request.headers.get("X-Auth-Token", "").strip()
    if not token:
        raise Unauthorized(NO_TOKEN)
    return token
