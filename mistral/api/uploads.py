"""Raw uploads: where a text goes, how it is read, what validation says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from sqlalchemy import Connection, Table

from mistral.api import etags
from mistral.api.catalogue import DatabaseCatalogue, plugin_functions
from mistral.api.parameters import NAMESPACE, SCOPE, SKIP_VALIDATION, STRICT
from mistral.api.policy import OPEN
from mistral.api.rest import Call, Route, upload
from mistral.api.shapes import Shown, Upload
from mistral.api.types import Boolean, ResourceType, Shaped, Text, nullable
from mistral.db.owned import Author, Place
from mistral.errors import Forbidden, Problem
from mistral.lang.parse import Advice, Report

Parsed = TypeVar("Parsed")

PLACED: Final = (NAMESPACE, SCOPE, SKIP_VALIDATION, STRICT)
"""What the query of an upload may say."""

IDENTIFIED: Final = (("{identifier}", (NAMESPACE,)), ("{identifier}/{namespace}", ()))
NAMED: Final = (("{name}", (NAMESPACE,)), ("{name}/{namespace}", ()))
"""Paths of what is known by id or name: the namespace in the query, or at the end."""


class Found(ResourceType):
    """One thing that is wrong or doubtful in a text (``errors.Problem``)."""

    message = Text
    path = Text
    line = nullable(int)
    column = nullable(int)
    rule = Text


class Verdict(ResourceType):
    """What ``/validate`` says (§ 8.3)."""

    valid = Boolean
    error = Text
    problems = [Found]  # noqa: RUF012
    warnings = [Found]  # noqa: RUF012


def validation(what: Upload) -> Route:
    """The route ``POST …/validate``."""
    return upload(
        "POST",
        "validate",
        "validate",
        OPEN,
        query=(NAMESPACE, STRICT),
        takes=replace(what, optional=True),
        answer=Shown(Verdict, maybe=("error", "problems", "warnings")),
    )


def may_publish(call: Call, resource: str, scope: str) -> None:
    """Public takes a policy of its own, on create and on update (SEC-02).

    :raises Forbidden: the caller may not.
    """
    if scope == "public":
        call.require(f"{resource}:publicize")


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
    scope = SCOPE.of(call.query)
    if scope is not None:
        may_publish(call, resource, scope)
    query = call.query if namespace is None else {NAMESPACE.name: namespace}
    return Place(NAMESPACE.of(query), scope)


def author_of(call: Call, connection: Connection) -> Author:
    """Who writes, at the database's time."""
    services = call.services

    def may_publish_rows(table: Table) -> None:
        may_publish(call, table.name, "public")

    return Author(
        call.context,
        services.database.now(connection),
        services.new_id,
        etags.unchanged(call),
        may_publish_rows,
    )


def parse(
    call: Call,
    parser: Callable[..., Parsed],
    unchecked: Callable[..., Parsed],
    *,
    skippable: bool = True,
) -> Parsed:
    """The body in the languages that are allowed.

    :param unchecked: reads it where it need not be valid (§ 6.6).
    :param skippable: ``skip_validation`` counts here.
    :raises DefinitionFault: with all that is wrong; with ``strict`` in the query
        also with what is advised against (spec/language.md, Appendix C).
    """
    languages = call.services.settings.expressions.allowed_languages
    text = call.text()
    if not STRICT.of(call.query):
        skips = skippable and SKIP_VALIDATION.of(call.query)
        mode = call.services.settings.api.validation_mode
        if mode == "disabled" or (mode == "enabled" and skips):
            return unchecked(text, languages=languages)
        return parser(text, languages=languages)
    with call.services.database.read() as connection:
        advice = _advice(call, connection)
        return parser(text, languages=languages, strict=True, advice=advice)


def _advice(call: Call, connection: Connection) -> Advice:
    """What lints may know: what there is in the namespace of the query."""
    registry, project = call.services.registry, call.context.project_id
    namespace = NAMESPACE.of(call.query)
    catalogue = DatabaseCatalogue(connection, registry, namespace, project)
    return Advice(plugin_functions(), catalogue)


def judge(call: Call, check: Callable[..., Report]) -> Shaped:
    """The answer of ``/validate`` (§ 8.3).

    ``valid`` and ``error`` are what clients read; ``problems`` has the same
    with path, line and column, ``warnings`` what is advised against
    (spec/language.md, Appendix C). ``namespace`` of the query is where actions
    and workflows are looked for; ``strict`` turns warnings into problems.
    """
    services, text = call.services, call.text()
    with services.database.read() as connection:
        report = check(
            text,
            languages=services.settings.expressions.allowed_languages,
            strict=STRICT.of(call.query),
            advice=_advice(call, connection),
        )
    verdict: Shaped = {"valid": report.valid}
    if not report.valid:
        verdict["error"] = "\n".join(str(problem) for problem in report.problems)
        verdict["problems"] = _found(report.problems)
    if report.warnings:
        verdict["warnings"] = _found(report.warnings)
    return verdict


def _found(problems: Sequence[Problem]) -> list[Shaped]:
    return [Found.shape(problem.to_dict()) for problem in problems]
