"""Raw uploads: where a text goes, how it is read, what validation says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from mistral.api import etags
from mistral.api.catalogue import DatabaseCatalogue, plugin_functions
from mistral.api.rest import Call
from mistral.db.definitions import Author, Place
from mistral.errors import BadRequest, Forbidden
from mistral.lang.parse import Advice, Report

LONGEST_NAME: Final = 255

Parsed = TypeVar("Parsed")


def scope_of(call: Call) -> str:
    """:raises BadRequest: it is neither private nor public."""
    scope = call.query.get("scope") or "private"
    if scope not in ("private", "public"):
        raise BadRequest(f"Expected scope private or public, found '{scope}'.")
    return scope


def may_publish(call: Call, resource: str, scope: str) -> None:
    """Public takes a policy of its own, on create and on update (SEC-02).

    :raises Forbidden: the caller may not.
    """
    if scope == "public":
        call.require(f"{resource}:publicize")


def namespace_of(call: Call) -> str:
    """:raises BadRequest: it is too long."""
    namespace = call.query.get("namespace", "")
    if len(namespace) > LONGEST_NAME:
        raise BadRequest(f"A namespace has at most {LONGEST_NAME} characters.")
    return namespace


def refuse_code_when_off(call: Call) -> None:
    """Code of users is taken only where the operator has switched it on (SEC-01).

    :raises Forbidden: it is off; reading and deleting what there is still works.
    """
    if not call.services.registry.serves_dynamic():
        raise Forbidden(
            "Dynamic actions are switched off; see [dynamic_actions] enabled."
        )


def place_of(call: Call, resource: str, namespace: str | None = None) -> Place:
    """Where an upload is put, once the caller may put it there.

    :param namespace: of the path; default: of the query.
    :raises BadRequest: a value that its parameter cannot mean.
    :raises Forbidden: public, and the caller may not.
    """
    scope = scope_of(call)
    may_publish(call, resource, scope)
    return Place(namespace_of(call) if namespace is None else namespace, scope)


def author_of(call: Call, connection: Connection) -> Author:
    """Who writes, at the database's time."""
    services = call.services
    return Author(
        call.context,
        services.database.now(connection),
        services.new_id,
        etags.unchanged(call),
    )


def parse(call: Call, parser: Callable[..., Parsed]) -> Parsed:
    """The body in the languages that are allowed.

    :raises DefinitionFault: with all that is wrong; with ``strict`` in the query
        also with what is advised against (spec/language.md, Appendix C).
    """
    languages = call.services.settings.expressions.allowed_languages
    return parser(call.text(), languages=languages, strict="strict" in call.query)


def judge(call: Call, check: Callable[..., Report]) -> dict[str, Any]:
    """The answer of ``/validate`` (§ 8.3).

    ``valid`` and ``error`` are what clients read; ``problems`` has the same
    with path, line and column, ``warnings`` what is advised against
    (spec/language.md, Appendix C). ``namespace`` of the query is where actions
    and workflows are looked for; ``strict`` turns warnings into problems.
    """
    services, text = call.services, call.text()
    namespace = namespace_of(call)
    with services.database.read() as connection:
        catalogue = DatabaseCatalogue(
            connection, services.registry, namespace, call.context.project_id
        )
        report = check(
            text,
            languages=services.settings.expressions.allowed_languages,
            strict="strict" in call.query,
            advice=Advice(plugin_functions(), catalogue),
        )
    answer: dict[str, Any] = {"valid": report.valid}
    if not report.valid:
        answer["error"] = "\n".join(str(problem) for problem in report.problems)
        answer["problems"] = [problem.to_dict() for problem in report.problems]
    if report.warnings:
        answer["warnings"] = [warning.to_dict() for warning in report.warnings]
    return answer
