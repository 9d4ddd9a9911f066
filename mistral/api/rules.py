"""Policy rules: names, defaults and what each protects (spec/rest-api.md § 5.2).

Operators override rules by name in a policy file, so names never change.
``oslopolicy-sample-generator --namespace mistral`` writes all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from oslo_policy.policy import DocumentedRuleDefault, RuleDefault

ADMIN_ONLY: Final = "rule:admin_only"
ADMIN_OR_OWNER: Final = "rule:admin_or_owner"
READER: Final = "rule:project_reader"
WRITER: Final = "rule:project_writer"

CONTEXT_IS_ADMIN: Final = "context_is_admin"

_OWNER: Final = "project_id:%(project_id)s"

# Compared as it is written (§ 4.2); "role:admin" would also take "Admin".
_BASES: Final = (
    (CONTEXT_IS_ADMIN, "roles:admin", "Who is an administrator of all projects."),
    ("admin_only", "is_admin:True", "Administrators."),
    (
        "admin_or_owner",
        f"is_admin:True or {_OWNER}",
        "Every identified caller: what belongs to whom is decided by the data.",
    ),
    (
        "project_reader",
        f"is_admin:True or ({_OWNER} and (role:reader or role:member))",
        "Who may read where [api] enforce_roles is true.",
    ),
    (
        "project_writer",
        f"is_admin:True or ({_OWNER} and role:member)",
        "Who may change where [api] enforce_roles is true.",
    ),
)

_METHODS: Final[Mapping[str, str]] = {
    "create": "POST",
    "delete": "DELETE",
    "get": "GET",
    "list": "GET",
    "update": "PUT",
    "operate": "POST",
    "publicize": "POST",
    "list:all_projects": "GET",
    "send_message": "POST",
}
_BELOW: Final[Mapping[str, str]] = {"send_message": "/messages"}
_CRUD: Final = ("create", "delete", "get", "list", "update")
_READING: Final = frozenset({"get", "list"})
_ADMINISTRATIVE: Final = frozenset({"publicize", "list:all_projects"})


@dataclass(frozen=True, slots=True)
class _Rules:
    """Rules of one resource; ``admin``: all of them are for administrators."""

    resource: str
    verbs: tuple[str, ...]
    one: str = "{id}"
    path: str = ""
    admin: bool = False


_TABLE: Final = (
    _Rules("workbooks", (*_CRUD, "publicize"), "{name}"),
    _Rules("workflows", (*_CRUD, "publicize", "list:all_projects"), "{identifier}"),
    _Rules("actions", (*_CRUD, "publicize"), "{name}"),
    _Rules("code_sources", (*_CRUD, "publicize"), "{identifier}", admin=True),
    _Rules("dynamic_actions", (*_CRUD, "publicize"), "{identifier}", admin=True),
    _Rules("environments", (*_CRUD, "publicize"), "{name}"),
    _Rules("executions", (*_CRUD, "list:all_projects", "send_message")),
    _Rules("tasks", ("get", "list", "update")),
    _Rules("action_executions", _CRUD),
    _Rules(
        "cron_triggers",
        ("create", "delete", "get", "list", "operate", "publicize")
        + ("list:all_projects",),
        "{identifier}",
    ),
    _Rules("event_triggers", (*_CRUD, "publicize", "list:all_projects")),
    _Rules("event_sources", ("create", "delete", "get", "list")),
    _Rules("members", _CRUD, "{project_id}", path="/v2/workflows/{id}/members"),
    _Rules("services", ("list",)),
    # maintenance stops the executions of all projects.
    _Rules("maintenance", ("update",), "", path="/maintenance", admin=True),
)


def _default(rules: _Rules, verb: str, *, roles: bool) -> str:
    if rules.admin or verb in _ADMINISTRATIVE:
        return ADMIN_ONLY
    if not roles:
        return ADMIN_OR_OWNER
    return READER if verb in _READING else WRITER


def _documented(rules: _Rules, verb: str, *, roles: bool) -> DocumentedRuleDefault:
    path = rules.path or f"/v2/{rules.resource}"
    one = f"{path}/{rules.one}" if rules.one else path
    whole = verb in ("create", "list", "publicize", "list:all_projects")
    what = rules.resource.replace("_", " ")
    meaning = {
        "publicize": f"Make {what} public, when they are made or changed.",
        "operate": f"Pause, resume, run and back-fill {what}.",
        "list:all_projects": f"Ask for {what} of all projects.",
        "send_message": f"Send messages to {what}.",
    }.get(verb, f"{verb.capitalize()} {what}.")
    return DocumentedRuleDefault(
        name=f"{rules.resource}:{verb}",
        check_str=_default(rules, verb, roles=roles),
        description=meaning,
        operations=[
            {
                "path": f"{one}{_BELOW.get(verb, '')}" if not whole else path,
                "method": _METHODS[verb],
            }
        ],
    )


def defaults(*, roles: bool = False) -> Iterator[RuleDefault]:
    """Every rule.

    :param roles: readers read and members write (Q-30); else whoever belongs to
        the project does both, as clients of older services expect.
    """
    for name, check, description in _BASES:
        yield RuleDefault(name, check, description)
    for rules in _TABLE:
        for verb in rules.verbs:
            yield _documented(rules, verb, roles=roles)


def list_rules() -> list[RuleDefault]:
    """For the entry point ``oslo.policy.policies``."""
    return list(defaults())
