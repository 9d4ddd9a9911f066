"""Trusts of Keystone: in whose name the service acts when nobody is there
(spec/rest-api.md § 4.4, spec/engine.md § 10.3).

Who makes a trigger lets the service's own user act for them later, with the roles
and in the project of that moment. With the trust's id, and as its own user only, the
service gets tokens: fresh ones for as long as the trust stands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

from keystoneauth1 import adapter, exceptions, loading, plugin, session
from keystoneauth1.identity import BaseIdentityPlugin
from keystonemiddleware.opts import list_auth_token_opts

from mistral.context import Context
from mistral.errors import Forbidden, Unavailable

LOG = logging.getLogger(__name__)

GROUP: Final = "keystone_authtoken"
"""Options of the service's own user, which the middleware reads, too."""

TLS_GROUP: Final = "keystone"

SECONDS: Final = 20.0
"""For an answer of Keystone, unless the options say another."""

MOST_TOKENS: Final = 1_000
"""Trusts whose tokens are remembered."""

_RETRY_AFTER: Final = 5.0
_AWAY: Final = "The identity service does not answer."
_NO_DELEGATION: Final = (
    "Keystone does not let this token make a trust, which a trigger needs: tokens of"
    " application credentials and of trusts cannot make one."
)
_GONE: Final = "The trust that this was started by does not hold any more."

T = TypeVar("T")


class Delegation(Protocol):
    """What triggers need of an identity service."""

    def make(self, context: Context) -> str:
        """Let the service act for the caller; the trust's id.

        :raises Forbidden: this caller cannot hand over their roles.
        :raises Unavailable: the identity service cannot be asked.
        """

    def enter(self, trust_id: str, project_id: str) -> dict[str, Any]:
        """A token by a trust: ``auth_token``, ``service_catalog``, ``expires_at``.

        :raises Forbidden: the trust is over, or is for another project (SEC-23).
        :raises Unavailable: the identity service cannot be asked.
        """

    def drop(self, trust_id: str) -> None:
        """End a trust; one that is over already is no error.

        :raises Unavailable: it may still stand.
        """


def has_own_user(source: Any) -> bool:
    """Whether the service's own user is told."""
    _register(source)
    return bool(source[GROUP].auth_type or source[GROUP].auth_section)


class Trusts:
    """``Delegation`` by Keystone.

    :param source: ``oslo_config.cfg.ConfigOpts`` that has read its files and that
        nobody else registers options on.
    """

    def __init__(self, source: Any) -> None:
        _register(source)
        self._source = source
        self._session = _session(source)
        self._own = self._as_service()
        # Bound to this object: a cached method would keep it alive.
        self._entered = lru_cache(MOST_TOKENS)(
            lambda trust_id: self._as_service(trust_id=trust_id, **_NO_PROJECT)
        )

    def cloud(self) -> dict[str, Any]:
        """The identity service, as actions shall speak to it."""
        options = self._source[GROUP]
        return {
            "auth_uri": options.www_authenticate_uri,
            "auth_cacert": options.cafile,
            "insecure": options.insecure,
        }

    def make(self, context: Context) -> str:
        me = self._as_ourselves(lambda: self._own.get_user_id(self._session))
        trust = {
            "trustor_user_id": context.user_id,
            "trustee_user_id": me,
            "project_id": context.project_id,
            "impersonation": True,
            "allow_redelegation": False,
            "roles": [{"name": name} for name in context.roles],
        }
        asked = self._identity(self._own)
        answer = _asked(
            lambda: asked.post(
                "/OS-TRUST/trusts",
                json={"trust": trust},
                headers={"X-Auth-Token": context.auth_token},
                # as the caller, not as ourselves
                authenticated=False,
            ),
            _NO_DELEGATION,
        )
        return str(answer.json()["trust"]["id"])

    def enter(self, trust_id: str, project_id: str) -> dict[str, Any]:
        access = self._access(self._entered(trust_id))
        if access.project_id != project_id:
            raise Forbidden("This trust was made for another project.")
        return {
            "auth_token": access.auth_token,
            "service_catalog": access.service_catalog.catalog,
            "expires_at": access.expires.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }

    def drop(self, trust_id: str) -> None:
        entered = self._entered(trust_id)
        try:
            self._access(entered)
            asked = self._identity(entered)
            path = f"/OS-TRUST/trusts/{trust_id}"
            _asked(lambda: asked.delete(path), _GONE)
        except Forbidden:
            # The trustor, one of their roles or the trust itself is gone.
            LOG.warning("A trust could not be ended: nobody can act by it any more")

    def _access(self, entered: BaseIdentityPlugin) -> Any:
        try:
            return _asked(lambda: entered.get_access(self._session), _GONE)
        except Forbidden:
            # A wrong password of our own looks the same.
            self._own.invalidate()
            self._as_ourselves(lambda: self._own.get_access(self._session))
            raise

    def _as_ourselves(self, ask: Callable[[], T]) -> T:
        """:raises Unavailable: Keystone is away, or does not know the service."""
        try:
            return _asked(ask, "")
        except Forbidden:
            LOG.error("Keystone refuses the service's own user: see [%s]", GROUP)
            raise Unavailable(_AWAY, retry_after=_RETRY_AFTER) from None

    def _as_service(self, **given: Any) -> BaseIdentityPlugin:
        """The service's own user.

        :param given: in place of what the options say.
        """
        source = self._source
        group = source[GROUP].auth_section or GROUP
        if group != GROUP:
            loading.register_auth_conf_options(source, group)
        loader = loading.get_plugin_loader(source[group].auth_type)
        options = loading.get_auth_plugin_conf_options(loader)
        source.register_opts(options, group=group)
        return loader.load_from_options_getter(
            lambda option: source[group][option.dest], **given
        )

    def _identity(self, auth: BaseIdentityPlugin) -> adapter.Adapter:
        return adapter.Adapter(
            self._session, auth=auth, interface=plugin.AUTH_INTERFACE, version=(3,)
        )


_NO_PROJECT: Final = dict.fromkeys(
    (
        "project_id", "project_name", "project_domain_id", "project_domain_name",
        "domain_id", "domain_name", "system_scope",
    )
)  # fmt: skip
"""A trust says itself what its token is for."""


def _register(source: Any) -> None:
    for group, options in list_auth_token_opts():
        source.register_opts(options, group=group)
    loading.register_session_conf_options(source, TLS_GROUP)


def _session(source: Any) -> session.Session:
    """TLS and patience as ``[keystone]`` says, else as ``[keystone_authtoken]``."""
    first_group, second_group = source[TLS_GROUP], source[GROUP]

    def first(name: str) -> Any:
        return first_group[name] or second_group[name]

    cert = first("certfile")
    if cert and first("keyfile"):
        cert = (cert, first("keyfile"))
    return session.Session(
        verify=False if first("insecure") else first("cafile") or True,
        cert=cert,
        timeout=first_group.timeout or second_group.http_connect_timeout or SECONDS,
    )


def _asked(ask: Callable[[], T], refusal: str) -> T:
    """:raises Forbidden: Keystone says no.
    :raises Unavailable: Keystone says nothing, or that it cannot.
    """
    try:
        return ask()
    except (
        exceptions.Unauthorized,
        exceptions.Forbidden,
        exceptions.NotFound,
        exceptions.BadRequest,
    ):
        raise Forbidden(refusal) from None
    except exceptions.ClientException as error:
        # Its text names addresses, and who knows what else.
        LOG.error("Keystone cannot be asked: %s", type(error).__name__)
        raise Unavailable(_AWAY, retry_after=_RETRY_AFTER) from None
