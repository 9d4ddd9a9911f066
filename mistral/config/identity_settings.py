"""Options of who may call: OpenID Connect (Keystone's are its middleware's)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from mistral.config.option import option

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    "EdDSA",
)  # fmt: skip
"""Signatures by a private key. With a shared secret (HS…) whoever can check a token
could make one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """Tokens of one issuer, whoever that is (``auth_type = oidc``)."""

    GROUP: ClassVar[str] = "oidc"

    issuer: str = option("", "Issuer (iss) of tokens, exactly as it stands in them.")
    audience: tuple[str, ...] = option(
        (), "A token is accepted if it is meant for one of these (aud)."
    )
    jwks_url: str = option(
        "",
        "Where the issuer's keys are; empty: as its document "
        ".well-known/openid-configuration says.",
    )
    project_claim: str = option(
        "project_id", "Claim that holds the project; a dot leads into an object."
    )
    roles_claim: str = option(
        "roles",
        "Claim that holds the roles, a list or names with spaces between; a dot "
        "leads into an object.",
    )
    user_claim: str = option("sub", "Claim that holds the id of the user.")
    user_name_claim: str = option(
        "preferred_username", "Claim that holds the name of the user."
    )
    algorithms: tuple[str, ...] = option(
        ALGORITHMS, "Signatures that are accepted; all of them with a private key."
    )
    leeway: int = option(
        30, "Seconds by which the issuer's clock may differ from ours.", minimum=0
    )
    cafile: str = option("", "Certificates of who signs the issuer's; empty: known.")
    certfile: str = option("", "Certificate that we show to the issuer.")
    keyfile: str = option("", "Key of that certificate.")
    insecure: bool = option(False, "Believe any certificate of the issuer.")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeycloakSettings:
    """Keycloak (``auth_type = keycloak-oidc``): a realm is a project, its realm
    roles are the roles."""

    GROUP: ClassVar[str] = "keycloak_oidc"

    auth_url: str = option("", "URL of Keycloak, up to and without /realms.")
    audience: tuple[str, ...] = option(
        (), "A token is accepted if it is meant for one of these (aud)."
    )
    keycloak_iss: str = option(
        "",
        "Issuer of tokens, %s stands for the realm; empty: auth_url with /realms/%s.",
    )
    public_cert_url: str = option(
        "/realms/%s/protocol/openid-connect/certs",
        "Where a realm's keys are, below auth_url.",
    )
    user_info_endpoint_url: str = option(
        "/realms/%s/protocol/openid-connect/userinfo",
        "If this begins with http:// or https://, Keycloak is asked there whether "
        "the token still holds, besides its signature.",
    )
    cafile: str = option("", "Certificates of who signs Keycloak's; empty: known.")
    certfile: str = option("", "Certificate that we show to Keycloak.")
    keyfile: str = option("", "Key of that certificate.")
    insecure: bool = option(False, "Believe any certificate of Keycloak.")
