"""All lints over one document that has no fault."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from mistral.lang.lints.calls import Catalogue, Known, check_action_call, check_calls
from mistral.lang.lints.flow import check_flow
from mistral.lang.lints.scalars import check_scalars
from mistral.lang.lints.subject import Subject
from mistral.lang.lints.variables import check_variables
from mistral.lang.lints.words import check_words, check_words_in
from mistral.lang.shapes import Findings, Path
from mistral.lang.specs import ActionSpec, WorkflowSpec
from mistral.lang.text import Document


@dataclass(slots=True)
class Definitions:
    """What a document defines, under full names, and where it stands."""

    workflows: list[tuple[Path, WorkflowSpec]] = field(default_factory=list)
    actions: list[tuple[Path, ActionSpec]] = field(default_factory=list)
    workbook: str = ""


def advise(
    found: Findings,
    document: Document,
    definitions: Definitions,
    *,
    functions: Collection[str] = (),
    catalogue: Catalogue | None = None,
) -> None:
    """:param functions: names of expression functions that plug-ins add.
    :param catalogue: without it nothing is said of names outside of the text.
    """
    check_scalars(found, document)
    known = None
    if catalogue is not None:
        known = Known(
            catalogue,
            {spec.name: spec.input for _, spec in definitions.workflows},
            {spec.name: spec for _, spec in definitions.actions},
            definitions.workbook,
        )
    for path, workflow in definitions.workflows:
        subject = Subject(found, path, _at(document.data, path), workflow)
        check_flow(subject)
        check_variables(subject)
        for site in subject.sites:
            check_words(found, site.path, site.text, site.refers, functions)
        if known is not None:
            check_calls(subject, known)
    for path, action in definitions.actions:
        body = _at(document.data, path)
        for key in ("base", "base-input", "output"):
            check_words_in(found, (*path, key), body.get(key), functions)
        if known is not None:
            here = (*path, "base")
            check_action_call(found, here, known, action.base, action.base_input)


def _at(data: Any, path: Sequence[Any]) -> Any:
    for step in path:
        data = data[step]
    return data
