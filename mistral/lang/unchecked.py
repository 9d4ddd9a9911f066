"""Definitions whose validation is put off until they are used (decision 0030).

The YAML is read, and names are checked, since they say where a definition is stored.
What is valid becomes what it always becomes; what is not is stored with its faults in
place of a spec, and refused when somebody starts it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

from mistral.errors import DefinitionFault
from mistral.expressions.recognition import LANGUAGES
from mistral.lang.actions import check_action
from mistral.lang.embedded import Expressions
from mistral.lang.heads import check_name
from mistral.lang.parse import (
    FAULTS,
    ParsedAction,
    ParsedWorkbook,
    ParsedWorkflow,
    parse_actions,
    parse_workbook,
    parse_workflows,
)
from mistral.lang.shapes import Findings, Path
from mistral.lang.slices import member_texts
from mistral.lang.specs import ActionSpec, WorkbookSpec, WorkflowSpec
from mistral.lang.text import Document, checksum, read, rewrite, to_json
from mistral.lang.workflows import check_workflow

Spec = TypeVar("Spec", WorkflowSpec, ActionSpec)
Check = Callable[[Expressions, Path, str, Any], Spec | None]

_TASKS: Final = {"t": {"action": "std.noop"}}


def unchecked_workflows(
    text: str, *, languages: Collection[str] = LANGUAGES
) -> tuple[ParsedWorkflow, ...]:
    """As ``parse_workflows``, but only what cannot be stored at all is refused.

    :raises DefinitionFault: no YAML, no mapping, no definition or a wrong name in it.
    """
    try:
        return parse_workflows(text, languages=languages)
    except DefinitionFault as fault:
        document = _storable(text, fault)
    names = _names(document, document.data, ())
    whole = () if "version" in document.data else ("'version' is missing",)
    texts = dict.fromkeys(names, text)
    if len(names) > 1:
        version = document.data.get("version", "2.0")
        texts = {name: rewrite(version, name, document.data[name]) for name in names}
    specs = {
        name: _workflow(document, (name,), name, document.data[name], languages, whole)
        for name in names
    }
    return tuple(
        ParsedWorkflow(spec, texts[name], checksum(texts[name]))
        for name, spec in specs.items()
    )


def unchecked_actions(
    text: str, *, languages: Collection[str] = LANGUAGES
) -> tuple[ParsedAction, ...]:
    """As ``unchecked_workflows``."""
    try:
        return parse_actions(text, languages=languages)
    except DefinitionFault as fault:
        document = _storable(text, fault)
    whole = () if "version" in document.data else ("'version' is missing",)
    return tuple(
        ParsedAction(
            _action(document, (name,), name, document.data[name], languages, whole),
            text,
            checksum(text),
        )
        for name in _names(document, document.data, ())
    )


def unchecked_workbook(
    text: str, *, languages: Collection[str] = LANGUAGES
) -> ParsedWorkbook:
    """As ``unchecked_workflows``; the workbook itself has no use but its members."""
    try:
        return parse_workbook(text, languages=languages)
    except DefinitionFault as fault:
        document = _storable(text, fault)
        data = document.data
        name = data.get("name")
        if not isinstance(name, str):
            raise
    found = Findings()
    check_name(found, ("name",), name, at_key=False)
    _refuse(document, found)
    workflows, actions = [], []
    for section in ("workflows", "actions"):
        members = data.get(section)
        if not isinstance(members, dict):
            continue
        names = _names(document, members, (section,), f"{name}.")
        texts = member_texts(document, section)
        for short in names:
            path, full, body = (section, short), f"{name}.{short}", members[short]
            if section == "workflows":
                spec = _workflow(document, path, full, body, languages)
                workflows.append(ParsedWorkflow(spec, texts[short], None))
            else:
                action = _action(document, path, full, body, languages)
                actions.append(ParsedAction(action, texts[short], None))
    book = WorkbookSpec(name=name, tags=_texts(data.get("tags")), body=to_json(data))
    return ParsedWorkbook(book, text, tuple(workflows), tuple(actions))


def _storable(text: str, fault: DefinitionFault) -> Document:
    """:raises DefinitionFault: what no row can hold."""
    document = read(text)
    if not document.data or document.endless:
        raise fault
    return document


def _names(
    document: Document, data: Mapping[Any, Any], path: Path, prefix: str = ""
) -> list[str]:
    """:raises DefinitionFault: there is none, or one is no name."""
    found = Findings()
    names = [key for key in data if key != "version"]
    if not names and not path:
        found.error((), "expected a definition beside 'version'", "V-04")
    for name in names:
        if isinstance(name, str):
            check_name(found, (*path, name), f"{prefix}{name}", at_key=True)
        else:
            found.error((*path, name), "expected a name that is text", "Q03")
    _refuse(document, found)
    return names


def _refuse(document: Document, found: Findings) -> None:
    if found.errors:
        raise DefinitionFault(document.problems(found.errors))


def _workflow(
    document: Document,
    path: Path,
    name: str,
    value: Any,
    languages: Collection[str],
    whole: Collection[str] = (),
) -> WorkflowSpec:
    spec, faults = _checked(document, check_workflow, path, name, value, languages)
    faults = [*whole, *faults]
    if spec is not None and not faults:
        return spec
    body: dict[str, Any] = {"name": name, FAULTS: faults}
    tags: tuple[str, ...] = ()
    for key in ("input", "tags"):
        # what others look at without starting it
        if isinstance(value, Mapping) and key in value:
            part = {key: value[key], "tasks": _TASKS}
            sound, wrong = _checked(
                document, check_workflow, path, name, part, languages
            )
            if sound is not None and not wrong:
                body[key] = sound.body[key]
                tags = sound.tags or tags
    return WorkflowSpec(name=name, tags=tags, body=body)


def _action(
    document: Document,
    path: Path,
    name: str,
    value: Any,
    languages: Collection[str],
    whole: Collection[str] = (),
) -> ActionSpec:
    spec, faults = _checked(document, check_action, path, name, value, languages)
    faults = [*whole, *faults]
    if spec is not None and not faults:
        return spec
    return ActionSpec(name=name, base="", body={"name": name, FAULTS: faults})


def _checked(
    document: Document,
    check: Check[Spec],
    path: Path,
    name: str,
    value: Any,
    languages: Collection[str],
) -> tuple[Spec | None, list[str]]:
    found = Findings()
    spec = check(Expressions(found, languages), path, name, value)
    return spec, [str(problem) for problem in document.problems(found.errors)]


def _texts(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else []
    return tuple(items) if all(isinstance(each, str) for each in items) else ()
