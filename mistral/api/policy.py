"""Who may call what: rule names and their defaults (spec/rest-api.md § 5.2).

``admin_or_owner`` lets every identified caller in: what a project may see and
change is decided by ``db.scope``, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from mistral.context import Context
from mistral.errors import Bug, Forbidden

OPEN: Final = "open"
"""Rule of the calls that need no policy: versions, validation."""

ADMIN_ONLY: Final = "admin_only"
ADMIN_OR_OWNER: Final = "admin_or_owner"

_VERBS: Final = ("create", "delete", "get", "list", "update")
_RESOURCES: Final = (
    "workbooks",
    "workflows",
    "actions",
    "environments",
    "executions",
    "tasks",
    "action_executions",
    "members",
)
_ADMINISTRATIVE: Final = (
    "workbooks:publicize",
    "workflows:publicize",
    "workflows:list:all_projects",
    "actions:publicize",
    "environments:publicize",
    "executions:list:all_projects",
    # it concerns the executions of all projects.
    "maintenance:update",
)

RULES: Final[Mapping[str, str]] = MappingProxyType(
    {f"{name}:{verb}": ADMIN_OR_OWNER for name in _RESOURCES for verb in _VERBS}
    | dict.fromkeys(_ADMINISTRATIVE, ADMIN_ONLY)
    | {OPEN: OPEN}
)


def check(rule: str, context: Context) -> None:
    """May this caller?

    :raises Forbidden: no.
    :raises Bug: nobody declared the rule.
    """
    default = RULES.get(rule)
    if default is None:
        raise Bug(f"The policy rule {rule} is not declared")
    if default == ADMIN_ONLY and not context.is_admin:
        raise Forbidden(f"Policy doesn't allow {rule} to be performed.")


def check_routes(rules: Iterable[str]) -> None:
    """Stop at start rather than at a request (SEC-15).

    :raises Bug: a route has a rule that nobody declared.
    """
    missing = sorted(set(rules) - set(RULES))
    if missing:
        raise Bug(f"These policy rules are not declared: {', '.join(missing)}")
