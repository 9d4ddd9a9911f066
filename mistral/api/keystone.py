"""Callers by tokens of Keystone (spec/rest-api.md § 4.1).

Keystone's own middleware judges the token. It is given a request of its own that
carries the tokens alone, so nothing else that a client sends can count. It is asked
when the route is known (§ 2.3).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from keystoneauth1.exceptions import ClientException
from keystonemiddleware import auth_token
from webob import Request

from mistral.api.auth import NO_PROJECT, token_of
from mistral.context import Context
from mistral.errors import Forbidden, ServiceError, Unauthorized, Unavailable

LOG = logging.getLogger(__name__)

_RETRY_AFTER = 5.0


class Keystone:
    """:param source: ``oslo_config.cfg.ConfigOpts`` with ``[keystone_authtoken]``.

    :raises ServiceError: that group is not complete.
    """

    def __init__(self, source: Any) -> None:
        try:
            self._middleware = auth_token.AuthProtocol(
                _accepted, {"oslo_config_config": source}
            )
        except Exception as error:
            raise ServiceError(f"[keystone_authtoken]: {error}") from error
        if not source.keystone_authtoken.auth_type:
            raise ServiceError(
                "[keystone_authtoken] auth_type is not set: tokens cannot be checked."
                " Set it (password, say) with the options of the service's user, or"
                " switch authentication off: [pecan] auth_enable = false."
            )

        uri = source.keystone_authtoken.www_authenticate_uri
        self.challenge = f'Keystone uri="{uri}"' if uri else "Keystone"

    def __call__(self, request: Request, request_id: str) -> Context:
        token = token_of(request)
        probe = Request.blank(request.path_qs, method=request.method)
        probe.headers["X-Auth-Token"] = token
        if "X-Service-Token" in request.headers:
            probe.headers["X-Service-Token"] = request.headers["X-Service-Token"]
        self._judge(probe)
        found = probe.headers
        # A service's token alone identifies nobody.
        if found.get("X-Identity-Status") != "Confirmed":
            raise Unauthorized("The token is not valid.")
        if not found.get("X-Project-Id"):
            raise Forbidden(NO_PROJECT)
        info = probe.environ.get("keystone.token_info", {}).get("token", {})
        return Context(
            project_id=found["X-Project-Id"],
            project_name=found.get("X-Project-Name"),
            project_domain_name=found.get("X-Project-Domain-Name"),
            user_id=found.get("X-User-Id"),
            user_name=found.get("X-User-Name"),
            user_domain_name=found.get("X-User-Domain-Name"),
            roles=tuple(role for role in found.get("X-Roles", "").split(",") if role),
            is_admin_project=found.get("X-Is-Admin-Project") != "False",
            region_name=request.headers.get("X-Region-Name"),
            expires_at=info.get("expires_at"),
            request_id=request_id,
            auth_token=token,
            service_catalog=info.get("catalog"),
        )

    def _judge(self, probe: Request) -> None:
        """:raises Unauthorized: the middleware refuses the token.
        :raises Unavailable: Keystone cannot be asked.
        """
        try:
            status = probe.get_response(self._middleware).status_int
        except ClientException as error:
            LOG.error("Keystone cannot be asked: %s", type(error).__name__)
            status = 503
        if status == 401:
            raise Unauthorized("The token is not valid.")
        if status != 200:
            message = "The identity service does not answer."
            raise Unavailable(message, retry_after=_RETRY_AFTER)


def _accepted(
    environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Behind the middleware: it let the request through."""
    start_response("200 OK", [])
    return [b""]
