"""The face of the language: text to specs.

::

    parse_workflows(text) ─┐
    parse_actions(text)  ──┼─▶ specs with the text to store, or DefinitionFault
    parse_workbook(text) ──┘
    check_workflows, check_actions, check_workbook ─▶ Report, never raising
    workflow_from_dict, action_from_dict ◀─ the normalised body kept in storage

A document is read to its end: all its problems are reported together, in the
order of the text, each with its path, line and column (spec/language.md § 29).
Warnings never refuse a definition unless ``strict`` is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

from mistral.errors import DefinitionFault, Problem
from mistral.expressions.recognition import LANGUAGES
from mistral.expressions.yaml_text import LIMITS, Limits
from mistral.lang import shapes
from mistral.lang.actions import build_action, check_action
from mistral.lang.embedded import Expressions
from mistral.lang.heads import check_list_version, check_name, is_two
from mistral.lang.inline import Call, Ignored, is_target, parse_inline, parse_target
from mistral.lang.lints.advise import Definitions, advise
from mistral.lang.lints.calls import Catalogue, Signature
from mistral.lang.shapes import Findings, Path
from mistral.lang.slices import member_texts
from mistral.lang.specs import ActionSpec, WorkbookSpec, WorkflowSpec
from mistral.lang.text import Document, checksum, read, rewrite, to_json
from mistral.lang.triggers import SECTIONS, check_triggers
from mistral.lang.workflows import build_workflow, check_workflow

__all__ = [
    "Advice",
    "Call",
    "Catalogue",
    "Ignored",
    "Limits",
    "ParsedAction",
    "ParsedWorkbook",
    "ParsedWorkflow",
    "Report",
    "Signature",
    "action_from_dict",
    "check_actions",
    "check_workbook",
    "check_workflows",
    "is_target",
    "parse_actions",
    "parse_inline",
    "parse_target",
    "parse_workbook",
    "parse_workflows",
    "workflow_from_dict",
]

_UUID: Final = re.compile(
    r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE
)
_MEMBER: Final = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class ParsedWorkflow:
    """A workflow and the text to store for it. ``checksum`` is the MD5 of that
    text; members of workbooks have none."""

    spec: WorkflowSpec
    text: str
    checksum: str | None


@dataclass(frozen=True, slots=True)
class ParsedAction:
    """An ad-hoc action and the text to store for it: the whole upload, or its
    piece of a workbook."""

    spec: ActionSpec
    text: str
    checksum: str | None


@dataclass(frozen=True, slots=True)
class ParsedWorkbook:
    """A workbook; the specs of its members have full names
    (``<workbook>.<member>``), those inside ``spec`` short ones."""

    spec: WorkbookSpec
    text: str
    workflows: tuple[ParsedWorkflow, ...]
    actions: tuple[ParsedAction, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What is wrong and what is doubtful in a text."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def valid(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class Advice:
    """What lints may know beyond the text.

    :param functions: names of expression functions that plug-ins add.
    :param catalogue: the actions and workflows that exist; without it nothing
        is said of names that the text does not define.
    """

    functions: Collection[str] = ()
    catalogue: Catalogue | None = None


Parsed = TypeVar("Parsed")
Spec = TypeVar("Spec")


@dataclass(frozen=True, slots=True)
class _Reading:
    """One document being judged."""

    document: Document
    expressions: Expressions
    defined: Definitions

    @property
    def found(self) -> Findings:
        return self.expressions.found

    def report(self, *, strict: bool) -> Report:
        errors, warnings = self.found.errors, self.found.warnings
        if strict:
            errors, warnings = errors + warnings, []
        return Report(self.document.problems(errors), self.document.problems(warnings))


def _judge(
    text: str,
    judge: Callable[[_Reading], Parsed | None],
    limits: Limits,
    languages: Collection[str],
    strict: bool,
    advice: Advice | None,
) -> tuple[Parsed | None, Report]:
    try:
        document = read(text, limits)
    except DefinitionFault as fault:
        return None, Report(fault.problems)
    reading = _Reading(document, Expressions(Findings(), languages), Definitions())
    for duplicate in document.duplicates:
        first, second = duplicate.first.place, duplicate.second.place
        message = (
            f"this key is given twice, on lines {first[0]} and {second[0]}; the last"
            " one counts"
        )
        reading.found.warn(duplicate.path, message, "LINT-29", at_key=True)
    parsed = judge(reading)
    _refuse_endless(document, reading.found)
    if advice is not None and not reading.found.errors:
        advise(
            reading.found,
            document,
            reading.defined,
            functions=advice.functions,
            catalogue=advice.catalogue,
        )
    return parsed, reading.report(strict=strict)


def _refuse_endless(document: Document, found: Findings) -> None:
    """Q28: what no JSON can hold could never be stored (decision 0021)."""
    known = {finding.path for finding in found.errors}
    for path in document.endless:
        if path not in known:
            message = "expected a number that JSON can hold, found one that is not"
            found.error(path, f"{message} finite", "V-06")


def _parse(
    text: str,
    judge: Callable[[_Reading], Parsed | None],
    limits: Limits,
    languages: Collection[str],
    strict: bool,
    advice: Advice,
) -> Parsed:
    asked = advice if strict else None
    parsed, report = _judge(text, judge, limits, languages, strict, asked)
    if parsed is None or report.problems:
        raise DefinitionFault(report.problems)
    return parsed


def parse_workflows(
    text: str,
    *,
    limits: Limits = LIMITS,
    languages: Collection[str] = LANGUAGES,
    strict: bool = False,
    advice: Advice = Advice(),
) -> tuple[ParsedWorkflow, ...]:
    """The workflows of a document (§ 5), in its order.

    :param limits: what the text may cost (SEC-03).
    :param languages: the expression languages that are allowed (V-18).
    :param strict: refuse warnings, too.
    :param advice: what these may know besides.
    :raises DefinitionFault: with every problem that was found.
    """
    return _parse(text, _workflows, limits, languages, strict, advice)


def parse_actions(
    text: str,
    *,
    limits: Limits = LIMITS,
    languages: Collection[str] = LANGUAGES,
    strict: bool = False,
    advice: Advice = Advice(),
) -> tuple[ParsedAction, ...]:
    """The ad-hoc actions of a document (§ 7); as ``parse_workflows``."""
    return _parse(text, _actions, limits, languages, strict, advice)


def parse_workbook(
    text: str,
    *,
    limits: Limits = LIMITS,
    languages: Collection[str] = LANGUAGES,
    strict: bool = False,
    advice: Advice = Advice(),
) -> ParsedWorkbook:
    """A workbook and its members (§ 6); as ``parse_workflows``."""
    return _parse(text, _workbook, limits, languages, strict, advice)


def check_workflows(
    text: str,
    *,
    limits: Limits = LIMITS,
    languages: Collection[str] = LANGUAGES,
    strict: bool = False,
    advice: Advice | None = Advice(),
) -> Report:
    """What ``parse_workflows`` would say, without raising.

    :param advice: what the lints of Appendix C that look at a whole text may
        know besides; they say something only when it has no fault. None: they
        are not asked.
    """
    return _judge(text, _workflows, limits, languages, strict, advice)[1]


def advice_on(text: str, functions: Collection[str] = ()) -> tuple[Problem, ...]:
    """What is advised against in the text of one stored workflow, as far as that is
    seen in the text itself; nothing in one that has faults.

    :param functions: names of expression functions that plug-ins add.
    """
    advice = Advice(functions)
    report = check_workflows(text, advice=advice)
    if report.valid:
        return report.warnings
    # A member of a workbook has no version of its own.
    report = check_workflows(f"version: '2.0'\n{text}", advice=advice)
    if not report.valid:
        return ()
    return tuple(
        replace(each, line=each.line - 1) if each.line is not None else each
        for each in report.warnings
    )


def check_actions(
    text: str,
    *,
    limits: Limits = LIMITS,
    languages: Collection[str] = LANGUAGES,
    strict: bool = False,
    advice: Advice | None = Advice(),
) -> Report:
    """What ``parse_actions`` would say, without raising."""
    return _judge(text, _actions, limits, languages, strict, advice)[1]


def check_workbook(
    text: str,
    *,
    limits: Limits = LIMITS,
    languages: Collection[str] = LANGUAGES,
    strict: bool = False,
    advice: Advice | None = Advice(),
) -> Report:
    """What ``parse_workbook`` would say, without raising."""
    return _judge(text, _workbook, limits, languages, strict, advice)[1]


FAULTS: Final = "$faults"
"""In the body of a definition that was stored without validation: what is wrong."""


def workflow_from_dict(body: Mapping[str, Any]) -> WorkflowSpec:
    """The spec of a body that was normalised before (``spec.body``); it is
    trusted and not checked again. Equal to the spec that was parsed.

    :raises DefinitionFault: it was stored without validation, and is wrong.
    """
    _refuse_faulty(body, "tasks")
    return build_workflow(body)


def action_from_dict(body: Mapping[str, Any]) -> ActionSpec:
    """As ``workflow_from_dict``."""
    _refuse_faulty(body, "base")
    return build_action(body)


def _refuse_faulty(body: Mapping[str, Any], always: str) -> None:
    # a valid body may have a property of any name besides
    if always not in body:
        faults = "\n".join(str(each) for each in body[FAULTS])
        raise DefinitionFault(
            f"'{body['name']}' was stored without validation, and cannot be used:\n"
            f"{faults}"
        )


def _workflows(reading: _Reading) -> tuple[ParsedWorkflow, ...]:
    specs = _listed(reading, check_workflow, "workflow", uuid_allowed=False)
    document = reading.document
    reading.defined.workflows.extend(((name,), spec) for name, spec in specs.items())
    if reading.found.errors:
        return ()
    texts = dict.fromkeys(specs, document.text)
    if len(specs) > 1:
        version = document.data["version"]
        texts = {name: rewrite(version, name, document.data[name]) for name in specs}
    return tuple(
        ParsedWorkflow(spec, texts[name], checksum(texts[name]))
        for name, spec in specs.items()
    )


def _actions(reading: _Reading) -> tuple[ParsedAction, ...]:
    specs = _listed(reading, check_action, "action", uuid_allowed=True)
    text = reading.document.text
    reading.defined.actions.extend(((name,), spec) for name, spec in specs.items())
    return tuple(ParsedAction(spec, text, checksum(text)) for spec in specs.values())


Check = Callable[[Expressions, Path, str, Any], Spec | None]


def _listed(
    reading: _Reading, check: Check[Spec], what: str, *, uuid_allowed: bool
) -> dict[str, Spec]:
    """The entries of a list document that can be built."""
    found, data = reading.found, reading.document.data
    check_list_version(found, data)
    names = [key for key in data if key != "version"]
    if not names:
        found.error((), f"expected at least one {what} beside 'version'", "V-04")
    specs = {}
    for name in names:
        if not isinstance(name, str):
            message = f"expected the name of a {what}, found {shapes.kind_of(name)}"
            found.error((name,), f"{message}: quote it", "Q03", at_key=True)
            continue
        check_name(found, (name,), name, at_key=True)
        if not uuid_allowed and _UUID.fullmatch(name):
            message = "a workflow cannot have a name in the form of a UUID"
            found.error((name,), message, "V-20", at_key=True)
        spec = check(reading.expressions, (name,), name, data[name])
        if spec is not None:
            specs[name] = spec
    return specs


_WORKBOOK: Final[Mapping[str, shapes.Shape]] = {
    "version": shapes.anything,
    "name": shapes.text,
    "description": shapes.text,
    "tags": shapes.string_list,
    "workflows": shapes.anything,
    "actions": shapes.anything,
    **dict.fromkeys(SECTIONS, shapes.anything),
}


def _workbook(reading: _Reading) -> ParsedWorkbook | None:
    found, document = reading.found, reading.document
    data = document.data
    sound = shapes.fields(found, (), data, _WORKBOOK)
    if "version" not in data:
        found.error((), "'version' is missing; write version: '2.0'", "V-02")
    elif not is_two(data["version"]):
        found.error(("version",), "unsupported version: only 2.0 exists", "V-03")
    if "name" not in data:
        hint = shapes.misspelled("name", data)
        found.error((), f"a workbook needs 'name'{hint}", "V-06")
    elif "name" in sound:
        check_name(found, ("name",), sound["name"], at_key=False)
    name = str(sound.get("name", ""))
    workflows = _members(reading, "workflows", name, check_workflow)
    actions = _members(reading, "actions", name, check_action)
    defined = reading.defined
    defined.workbook = name
    defined.workflows.extend((("workflows", k), w) for k, w in workflows.items())
    defined.actions.extend((("actions", k), a) for k, a in actions.items())
    given = data.get("workflows")
    members = {} if not isinstance(given, dict) else given
    names = [each for each in members if isinstance(each, str) and each != "version"]
    startable = {each: workflows.get(each) for each in names}
    triggers = check_triggers(
        reading.expressions, (), data, name, startable, of_workbook=True
    )
    if found.errors:
        return None
    spec = WorkbookSpec(
        name=name,
        workflows=_short({key: _renamed(key, w) for key, w in workflows.items()}),
        actions=_short({key: _renamed(key, a) for key, a in actions.items()}),
        description=sound.get("description"),
        tags=tuple(sound.get("tags", ())),
        body=to_json(data),
        triggers=triggers,
    )
    of_workflows = member_texts(document, "workflows")
    of_actions = member_texts(document, "actions")
    return ParsedWorkbook(
        spec,
        document.text,
        tuple(
            ParsedWorkflow(w, of_workflows[key], None) for key, w in workflows.items()
        ),
        tuple(ParsedAction(a, of_actions[key], None) for key, a in actions.items()),
    )


def _short(members: Mapping[str, Spec]) -> Mapping[str, Spec]:
    return MappingProxyType(dict(members))


Named = TypeVar("Named", WorkflowSpec, ActionSpec)


def _renamed(name: str, spec: Named) -> Named:
    return replace(spec, name=name, body={**spec.body, "name": name})


def _members(
    reading: _Reading, section: str, workbook: str, check: Check[Spec]
) -> dict[str, Spec]:
    """Members of a workbook under their short names; their specs have full
    ones."""
    found, data = reading.found, reading.document.data
    if section not in data:
        return {}
    members, path = data[section], (section,)
    if not isinstance(members, dict) or not members:
        message = f"expected a mapping with entries, found {shapes.kind_of(members)}"
        found.error(path, message, "V-06")
        return {}
    shapes.names_only(found, path, members)
    specs = {}
    for name, body in members.items():
        here = (*path, name)
        if name == "version":
            if not is_two(body):
                found.error(here, "unsupported version: only 2.0 exists", "V-03")
            continue
        if not isinstance(name, str):
            continue
        full = f"{workbook}.{name}"
        if not _MEMBER.fullmatch(name):
            message = "a member's name has only letters, digits, '_' and '-'"
            found.error(here, message, "V-08", at_key=True)
        else:
            check_name(found, here, full, at_key=True)
        spec = check(reading.expressions, here, full, body)
        if spec is not None:
            specs[name] = spec
    return specs
