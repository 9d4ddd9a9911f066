"""In whose name an action runs: the context that it is given (spec/engine.md § 8.4).

Secrets of the caller are sealed until here (SEC-07). A token by a trust is had when
the action reads it, and is fresh however long the run has taken; most actions read
none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mistral_lib.actions import context as lib_context

from mistral.callbacks import Callbacks
from mistral.clock import SystemClock
from mistral.errors import Unavailable
from mistral.messages import CallAction

Unseal = Callable[[str, str], Mapping[str, Any]]
"""(sealed secrets, project) → secrets of the caller, for that project alone (SEC-23).
"""

Enter = Callable[[str, str], Mapping[str, Any]]
"""(trust, project) → ``auth_token``, ``service_catalog``, ``expires_at``.

:raises MistralError: there is no token to be had.
"""


def _names(cls: type) -> frozenset[str]:
    parameters = set(inspect.signature(cls).parameters)
    # the alias only exists for actions that read it; giving it warns
    return frozenset(parameters - {"task_id"})


_EXECUTION: Final = _names(lib_context.ExecutionContext)
_SECURITY: Final = _names(lib_context.SecurityContext)


def _no_trusts(trust_id: str, project_id: str) -> Mapping[str, Any]:
    """:raises Unavailable: always."""
    raise Unavailable(
        "This executor cannot use trusts: its [keystone_authtoken] is not set."
    )


@dataclass(frozen=True, slots=True)
class Identities:
    """
    :param unseal: opens secrets; None: callers have none.
    :param enter: gets tokens by trusts.
    :param cloud: the identity service, as actions shall speak to it: ``auth_uri``,
        ``auth_cacert``, ``insecure``.
    :param callbacks: makes the address that an action hands to who is to complete it;
        None: there is no key.
    """

    unseal: Unseal | None = None
    enter: Enter = _no_trusts
    cloud: Mapping[str, Any] = field(default_factory=dict)
    callbacks: Callbacks | None = None
    now: Callable[[], datetime] = SystemClock().now

    def context(self, call: CallAction) -> lib_context.ActionContext:
        """With the secrets of the caller.

        :raises ServiceError: they cannot be opened.
        """
        given = self.plain(call)
        execution = lib_context.ExecutionContext(**given["execution"])
        execution.signed_callback_url = self._callback_url(call)
        return lib_context.ActionContext(
            security_ctx=self._security(call, given["security"]),
            execution_ctx=execution,
        )

    def _callback_url(self, call: CallAction) -> str | None:
        """Made here, so that no row and no message holds it (SEC-07)."""
        if self.callbacks is None or not call.action_id:
            return None
        return self.callbacks.url(call.action_id, self.now())

    def plain(self, call: CallAction) -> dict[str, dict[str, Any]]:
        """Arguments of both parts of the context, without secrets."""
        execution: dict[str, Any] = {"workflow_execution_id": call.run_id or None}
        if call.action_id:
            execution["action_execution_id"] = call.action_id
            execution["callback_url"] = f"/v2/action_executions/{call.action_id}"
        execution.update({k: v for k, v in call.execution.items() if k in _EXECUTION})
        known = {
            **self.cloud,
            "is_target": False,
            "is_trust_scoped": False,
            # again, because the executor that ran it was lost
            "redelivered": call.attempt > 1,
        }
        known |= {k: v for k, v in call.security.items() if k in _SECURITY}
        return {"execution": execution, "security": known}

    def _security(
        self, call: CallAction, known: dict[str, Any]
    ) -> lib_context.SecurityContext:
        sealed = call.security.get("sealed")
        if not sealed or self.unseal is None:
            return lib_context.SecurityContext(**known)
        project_id = call.security["project_id"]
        secrets = self.unseal(sealed, project_id)
        known |= {k: v for k, v in secrets.items() if k in _SECURITY}
        trust_id = secrets.get("trust_id")
        if trust_id is None:
            return lib_context.SecurityContext(**known)
        return _ByTrust(known, lambda: self.enter(trust_id, project_id))


NOBODY: Final = Identities()

_BY_TRUST: Final = ("auth_token", "service_catalog", "expires_at")


class _ByTrust(lib_context.SecurityContext):  # type: ignore[misc]
    """Asks for a token when it is read.

    :param enter: gives a value for each of ``_BY_TRUST``.
    """

    def __init__(
        self, known: Mapping[str, Any], enter: Callable[[], Mapping[str, Any]]
    ) -> None:
        super().__init__(**known)
        self._enter = enter
        for name in _BY_TRUST:
            delattr(self, name)

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there yet."""
        if name not in _BY_TRUST:
            raise AttributeError(name)
        self.__dict__.update(self._enter())
        return self.__dict__[name]
