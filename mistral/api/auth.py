"""Who asks.

An authenticator turns a request into a :class:`Context`. It reads the token and
nothing else: headers that claim an identity are never believed (SEC-26, Q-26).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from webob import Request

from mistral.context import DEFAULT_PROJECT, Context
from mistral.errors import BadRequest, Unauthorized
from mistral.publisher_entries import kept

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


def as_kept(context: Context, keyring: Any) -> dict[str, Any]:
    """A caller, as rows and messages have them: secrets are sealed, for executors
    alone (SEC-07, SEC-09).

    :param keyring: ``keyring.Keyring``; None: there is no key.
    :raises BadRequest: there are secrets, and no key to seal them.
    """
    known, secrets = context.to_dict(), context.secrets()
    if secrets and keyring is None:
        raise BadRequest("Secrets cannot be kept: [engine] secret_key is not set.")
    if secrets:
        known["sealed"] = keyring.seal(secrets, context.project_id)
    return known


def params_as_kept(
    params: Mapping[str, Any], context: Context, keyring: Any, before: Any = None
) -> dict[str, Any]:
    """``params`` of a run or trigger of the caller, with what they say to publishers
    alone sealed (SEC-09).

    :param before: params that these replace, and that the caller was shown.
    :raises BadRequest: they claim to hold what is sealed.
    """
    seal = keyring.seal if keyring is not None else None
    return kept(params, seal, context.project_id, before)
