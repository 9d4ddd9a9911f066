"""Which authenticator stands at the door of the API."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from webob import Request

from mistral.api.auth import Identify, everybody
from mistral.api.policy import Policies
from mistral.clock import Clock
from mistral.config import Settings, empty_source
from mistral.context import Context

_BEARER: Final = 'Bearer error="invalid_token"'


@dataclass(frozen=True, slots=True)
class Door:
    """:param authenticated: there are projects to tell apart.
    :param named_projects: their ids are what an issuer of tokens calls them.
    :param challenge: of ``WWW-Authenticate``, where nobody is known.
    """

    identify: Identify
    authenticated: bool = True
    named_projects: bool = True
    challenge: str = "Keystone"


OPEN_DOOR: Final = Door(everybody, authenticated=False, named_projects=False)


def door(settings: Settings, policies: Policies, clock: Clock) -> Door:
    """As ``[pecan] auth_enable`` and ``[DEFAULT] auth_type`` say. Libraries are loaded
    here, where they are needed.

    :raises ServiceError: options are missing or wrong.
    """
    if not settings.api.auth_enable:
        return OPEN_DOOR
    identify: Identify
    challenge = _BEARER
    if settings.api.auth_type == "keystone":
        from mistral.api.keystone import Keystone

        identify = keystone = Keystone(settings.source or empty_source())
        challenge = keystone.challenge
    else:
        from mistral.api.oidc import Keycloak, OpenIdConnect

        if settings.api.auth_type == "oidc":
            identify = OpenIdConnect(settings.oidc, clock)
        else:
            identify = Keycloak(settings.keycloak, clock)
    return Door(
        _with_rights(identify, policies),
        named_projects=settings.api.auth_type != "keystone",
        challenge=challenge,
    )


def _with_rights(identify: Identify, policies: Policies) -> Identify:
    """The policy file says which roles make an administrator."""

    def identified(request: Request, request_id: str) -> Context:
        context = identify(request, request_id)
        return replace(context, is_admin=policies.is_admin(context))

    return identified
