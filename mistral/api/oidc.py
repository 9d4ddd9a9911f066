"""Callers by signed tokens (JWT) of OpenID Connect issuers (Q-25).

Signature, issuer, audience and expiry are always judged; which claims mean the
project and the roles is the operator's to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import jwt
from webob import Request

from mistral.api.auth import NO_PROJECT, NO_TOKEN
from mistral.api.jwks import KeySet, Web
from mistral.clock import Clock
from mistral.config import KeycloakSettings, OidcSettings
from mistral.context import Context
from mistral.errors import Forbidden, ServiceError, Unauthorized

LONGEST_TOKEN: Final = 64 * 1024
LONGEST_PROJECT: Final = 80
MOST_REALMS: Final = 100
"""Realms whose keys are remembered; a token may name any."""

_REALM: Final = re.compile(r"[^/?#%\s]{1,80}")


@dataclass(frozen=True, slots=True)
class Claims:
    """Which claim means what; a dot leads into an object."""

    project: str
    roles: str
    user: str = "sub"
    user_name: str = "preferred_username"


class Issuer:
    """Judges tokens of one issuer.

    :param keys: the issuer's public keys.
    """

    def __init__(self, name: str, keys: KeySet, settings: OidcSettings) -> None:
        self._name = name
        self._keys = keys
        self._settings = settings

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token that is what it says.

        :raises Unauthorized: it is not, and why.
        :raises Unavailable: the issuer's keys cannot be had.
        """
        settings = self._settings
        try:
            key = self._keys.find(jwt.get_unverified_header(token).get("kid"))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(settings.algorithms),
                issuer=self._name,
                audience=list(settings.audience),
                leeway=settings.leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthorized(_reason(error)) from None
        return claims


_REASONS: Final[tuple[tuple[type[jwt.PyJWTError], str], ...]] = (
    (jwt.ExpiredSignatureError, "it has expired"),
    (jwt.ImmatureSignatureError, "it does not hold yet"),
    (jwt.InvalidAudienceError, "it is meant for another service"),
    (jwt.InvalidIssuerError, "its issuer is not the expected one"),
    (jwt.MissingRequiredClaimError, "a claim is missing (exp, iss, aud)"),
    (jwt.InvalidAlgorithmError, "its signature is of a kind that is not accepted"),
    (jwt.InvalidSignatureError, "its signature is wrong"),
    (jwt.DecodeError, "it cannot be read"),
)


def _reason(error: jwt.PyJWTError) -> str:
    """In our own words: nothing of the token stands in them (SEC-18)."""
    for kind, text in _REASONS:
        if isinstance(error, kind):
            return f"The token is not valid: {text}."
    return "The token is not valid."


class OpenIdConnect:
    """Tokens of the one issuer of ``[oidc]``.

    :raises ServiceError: issuer or audience is not set, or an algorithm is not one
        with a private key.
    """

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        _demand("oidc", issuer=settings.issuer, audience=settings.audience)
        symmetric = [a for a in settings.algorithms if a.startswith(("HS", "none"))]
        if symmetric or not settings.algorithms:
            raise ServiceError(
                "[oidc] algorithms: expected signatures with a private key, found"
                f" {', '.join(symmetric) or 'none'}."
            )
        web = Web.of(settings)
        keys = KeySet(web, clock, settings.jwks_url, issuer=settings.issuer)
        self._issuer = Issuer(settings.issuer, keys, settings)
        self._claims = Claims(
            settings.project_claim,
            settings.roles_claim,
            settings.user_claim,
            settings.user_name_claim,
        )

    def __call__(self, request: Request, request_id: str) -> Context:
        token = bearer_of(request)
        claims = self._issuer.verify(token)
        project = _claim(claims, self._claims.project)
        return _context(claims, self._claims, project, token, request, request_id)


class Keycloak:
    """Tokens of the realms of one Keycloak: a realm is a project.

    :raises ServiceError: auth_url or audience is not set.
    """

    def __init__(self, settings: KeycloakSettings, clock: Clock) -> None:
        _demand("keycloak_oidc", auth_url=settings.auth_url, audience=settings.audience)
        self._settings = settings
        self._clock = clock
        self._base = settings.auth_url.rstrip("/")
        self._issued = settings.keycloak_iss or f"{self._base}/realms/%s"
        self._web = Web.of(settings)
        self._realms: dict[str, Issuer] = {}
        self._claims = Claims(project="", roles="realm_access.roles")

    def __call__(self, request: Request, request_id: str) -> Context:
        token = bearer_of(request)
        realm = self._realm_of(token)
        claims = self._issuer(realm).verify(token)
        endpoint = self._settings.user_info_endpoint_url
        if endpoint.startswith(("http://", "https://")):
            self._web.ask_about(_filled(endpoint, realm), token)
        return _context(claims, self._claims, realm, token, request, request_id)

    def _realm_of(self, token: str) -> str:
        """The realm that the token names; whether it is true its signature tells.

        :raises Unauthorized: it names none of this Keycloak's.
        """
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise Unauthorized(_reason(error)) from None
        issuer = claims.get("iss")
        if isinstance(issuer, str):
            realm = issuer.rpartition("/realms/")[2].partition("/")[0]
            if _REALM.fullmatch(realm) and issuer == _filled(self._issued, realm):
                return realm
        raise Unauthorized(_reason(jwt.InvalidIssuerError()))

    def _issuer(self, realm: str) -> Issuer:
        known = self._realms.get(realm)
        if known is None:
            if len(self._realms) >= MOST_REALMS:
                self._realms.clear()
            url = self._base + _filled(self._settings.public_cert_url, quote(realm))
            judged = OidcSettings(audience=self._settings.audience)
            known = Issuer(
                _filled(self._issued, realm),
                KeySet(self._web, self._clock, url),
                judged,
            )
            self._realms[realm] = known
        return known


def bearer_of(request: Request) -> str:
    """The token, of ``X-Auth-Token`` or of ``Authorization: Bearer``.

    :raises Unauthorized: there is none, or it is too long to be one.
    """
    token: str = request.headers.get("X-Auth-Token", "").strip()
    if not token:
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        token = rest.strip() if scheme.lower() == "bearer" else ""
    if not token:
        raise Unauthorized(NO_TOKEN)
    if len(token) > LONGEST_TOKEN:
        raise Unauthorized("The token is not valid: it is too long.")
    return token


def _demand(group: str, **options: Any) -> None:
    missing = [name for name, value in options.items() if not value]
    if missing:
        raise ServiceError(f"[{group}] {', '.join(missing)}: not set.")


def _filled(template: str, realm: str) -> str:
    return template.replace("%s", realm)


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """The value of a claim; a name with dots that exists is taken as it is."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _names(claim: Any) -> tuple[str, ...]:
    """A list of names, or names with spaces between, as ``scope`` has them."""
    if isinstance(claim, str):
        return tuple(claim.split())
    if not isinstance(claim, list):
        return ()
    return tuple(name for name in claim if isinstance(name, str))


def _moment(seconds: Any) -> str | None:
    """As Keystone writes it; None: later than any calendar goes."""
    try:
        moment = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _context(
    claims: Mapping[str, Any],
    names: Claims,
    project: Any,
    token: str,
    request: Request,
    request_id: str,
) -> Context:
    """:raises Forbidden: the claims name no project."""
    if not isinstance(project, str) or not 0 < len(project) <= LONGEST_PROJECT:
        raise Forbidden(NO_PROJECT)
    roles = _claim(claims, names.roles)
    user = _claim(claims, names.user)
    user_name = _claim(claims, names.user_name)
    return Context(
        project_id=project,
        project_name=project,
        user_id=user if isinstance(user, str) else None,
        user_name=user_name if isinstance(user_name, str) else None,
        roles=_names(roles),
        region_name=request.headers.get("X-Region-Name"),
        expires_at=_moment(claims["exp"]),
        request_id=request_id,
        auth_token=token,
    )
