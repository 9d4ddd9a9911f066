"""Who may call what, by the rules of ``api.rules`` and the operator's policy file.

``admin_or_owner`` lets every identified caller in: what a project may see and
change is decided by ``db.scope``, not here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

from oslo_policy import policy as oslo_policy

from mistral.api import rules
from mistral.clock import Clock, SystemClock
from mistral.context import Context
from mistral.errors import Bug, Forbidden, ServiceError

OPEN: Final = "open"
"""Rule of the calls that need no policy: versions, validation."""


UNLOOKED: Final = 1.0
"""Seconds: looking for changed files takes as long as deciding by the rules."""


class Policies:
    """The rules in force. A changed policy file counts within ``UNLOOKED``.

    :param source: ``oslo_config.cfg.ConfigOpts`` that has read its files;
        ``[oslo_policy]`` is registered on it.
    :param enforce_roles: readers read, members write (Q-30).
    :param clock: its monotonic side.
    :raises ServiceError: the policy file is missing, malformed, or its rules
        refer to each other in a circle or to nothing.
    """

    def __init__(
        self, source: Any, *, enforce_roles: bool = False, clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._next_look = self._clock.monotonic() + UNLOOKED
        # While one thread reads a changed file, the others would find no rules.
        self._lock = threading.Lock()
        self._enforcer = oslo_policy.Enforcer(source)
        self._enforcer.register_defaults(list(rules.defaults(roles=enforce_roles)))
        self._refuse_missing(source)
        try:
            self._enforcer.load_rules(force_reload=True)
            self._enforcer.check_rules(raise_on_violation=True)
        except Exception as error:
            raise ServiceError(
                f"[oslo_policy] policy_file {source.oslo_policy.policy_file} cannot be"
                f" used: {error}"
            ) from error

    @staticmethod
    def _refuse_missing(source: Any) -> None:
        """A file that the operator names and that is not there would silently
        mean the defaults."""
        location = source.get_location("policy_file", "oslo_policy")
        name = source.oslo_policy.policy_file
        if location.location.is_user_controlled and source.find_file(name) is None:
            raise ServiceError(f"[oslo_policy] policy_file: there is no file {name}.")

    def check(self, rule: str, context: Context) -> None:
        """May this caller?

        :raises Forbidden: no.
        :raises Bug: nobody declared the rule.
        """
        if rule == OPEN:
            return
        # Whom an object belongs to is the data's business (§ 5.1).
        target = {"project_id": context.project_id, "user_id": context.user_id}
        if not self._allows(rule, target, _credentials(context)):
            raise Forbidden(f"Policy doesn't allow {rule} to be performed.")

    def is_admin(self, context: Context) -> bool:
        """Whether the roles make an administrator (``context_is_admin``)."""
        return self._allows(rules.CONTEXT_IS_ADMIN, {}, _credentials(context))

    def check_routes(self, found: Iterable[str]) -> None:
        """Stop at start rather than at a request (SEC-15).

        :param found: the rules that routes name.
        :raises Bug: nobody declared one of them.
        """
        missing = sorted(set(found) - {OPEN, *self._enforcer.registered_rules})
        if missing:
            raise Bug(f"These policy rules are not declared: {', '.join(missing)}")

    def _allows(
        self, rule: str, target: Mapping[str, Any], credentials: dict[str, Any]
    ) -> bool:
        try:
            with self._lock:
                self._look_now_and_then()
                return bool(self._enforcer.authorize(rule, target, credentials))
        except oslo_policy.PolicyNotRegistered:
            raise Bug(f"The policy rule {rule} is not declared") from None

    def _look_now_and_then(self) -> None:
        """Say whether the enforcer shall look for changed files before it decides."""
        now = self._clock.monotonic()
        self._enforcer.use_conf = now >= self._next_look
        if self._enforcer.use_conf:
            self._next_look = now + UNLOOKED


def _credentials(context: Context) -> dict[str, Any]:
    """What a rule can ask about; the token is not among it."""
    return {
        **context.to_dict(),
        "roles": list(context.roles),
        "is_admin_project": context.is_admin_project,
    }
