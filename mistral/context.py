"""Who asks: the identity that a request carries through the service.

A ``Context`` is passed, never looked up. The one exception is the log, which
reads the request id from a context variable set at the edge of each process.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

DEFAULT_PROJECT = "<default-project>"
"""Owner of everything while authentication is off (ENG-027)."""

current_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


@dataclass(frozen=True, slots=True)
class Context:
    """Identity of a caller.

    ``auth_token``, ``service_catalog`` and ``trust_id`` never enter ``to_dict``,
    hence no row, message or log (SEC-07); ``secrets`` has them for whoever seals
    them. ``target`` is another cloud that actions shall speak to, in place of these;
    ``trust_id`` lets the service get a token when one is needed.
    ``expires_at``: when the token ends, as its issuer writes it. ``is_admin_project``
    is false where the issuer has a project for administrators and this is another; it
    is for policies of the API alone.
    """

    project_id: str = DEFAULT_PROJECT
    user_id: str | None = None
    project_name: str | None = None
    user_name: str | None = None
    roles: tuple[str, ...] = ()
    is_admin: bool = False
    is_admin_project: bool = field(default=True, compare=False)
    request_id: str | None = None
    user_domain_name: str | None = None
    project_domain_name: str | None = None
    region_name: str | None = None
    expires_at: str | None = None
    auth_token: str | None = field(default=None, repr=False, compare=False)
    service_catalog: Any = field(default=None, repr=False, compare=False)
    target: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    trust_id: str | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON form for messages and rows, without secrets."""
        return {
            "project_id": self.project_id,
            "user_id": self.user_id,
            "project_name": self.project_name,
            "user_name": self.user_name,
            "roles": list(self.roles),
            "is_admin": self.is_admin,
            "is_trust_scoped": self.trust_id is not None,
            "request_id": self.request_id,
            "user_domain_name": self.user_domain_name,
            "project_domain_name": self.project_domain_name,
            "region_name": self.region_name,
            "expires_at": self.expires_at,
        }

    def secrets(self) -> dict[str, Any]:
        """What actions may need and nobody may read; empty without a token."""
        if self.trust_id is not None:
            return {"trust_id": self.trust_id}
        if self.target:
            return dict(self.target)
        if self.auth_token is None:
            return {}
        found = {"auth_token": self.auth_token}
        if self.service_catalog:
            found["service_catalog"] = self.service_catalog
        return found

    def for_later(self) -> Context:
        """The caller without what is of this request and hour alone: the token and
        its end, another cloud, the request's id."""
        return replace(
            self,
            auth_token=None,
            service_catalog=None,
            expires_at=None,
            target={},
            request_id=None,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Context:
        """The inverse of ``to_dict``; unknown keys (a newer peer's) are dropped."""
        known = {name: data[name] for name in cls.__slots__ if name in data}
        known["roles"] = tuple(known.get("roles") or ())
        return cls(**known)
