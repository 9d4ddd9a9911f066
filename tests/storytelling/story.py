"""The text of a story, read and checked: a slip in it is an error, not a pass."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_NUMBER: Final = re.compile(r"(ENG|LANG|SEC|REST)-\d+(\.\d+)*")

_KEYS: Final = {
    "name", "covers", "workflows", "adhoc-actions", "workbook", "namespaces",
    "environments", "rules", "workflow", "namespace", "input", "params",
    "description", "actions", "steps", "expect",
}  # fmt: skip
_UPLOADS: Final = {"workflows", "adhoc-actions", "workbook"}
_RULES: Final = {"merge_strategy", "versioning", "field_limit"}
RUN: Final = {
    "state", "info", "output", "input", "params", "globals", "description", "tasks",
    "subs", "calls", "before", "root", "gone",
}  # fmt: skip
TASK: Final = {
    "state", "info", "published", "result", "children", "accepted", "context",
    "processed", "started", "type", "tags", "error-handled",
}  # fmt: skip
OPERATIONS: Final = {
    "pause": {"message"},
    "resume": {"env"},
    "stop": {"state", "message"},
    "update": {"env", "description"},
    "rerun": {"reset", "env", "of"},
    "skip": {"env", "of"},
    "answer": {"success", "error", "cancel", "state", "of"},
    "advance": set(),
    "delete": {"force"},
    "upload": _UPLOADS,
    "environment": {"variables"},
    "see": set(),
}
OUTCOMES: Final = {"success", "error", "cancel", "raise"}
WORDS: Final = {"success", "error", "cancel", "later"}


class _Loader(yaml.SafeLoader):
    """Only ``true`` and ``false`` are booleans: ``no`` is a word in a story."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, text) for tag, text in found if tag != "tag:yaml.org,2002:bool"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("true|false"), ["t", "f"]
)


class BadStory(Exception):
    """The text is no story; says where and what was expected."""


@dataclass(frozen=True)
class Step:
    """One operation, and what holds when all is quiet after it.

    :param verb: of ``OPERATIONS``.
    :param whom: the run, or the task, that it is done to; seconds of ``advance``.
    :param refused: text of the error, where it has to be refused.
    """

    number: int
    verb: str
    whom: Any
    more: Mapping[str, Any]
    refused: Any
    then: Mapping[str, Any] | None


@dataclass(frozen=True)
class Story:
    """One document of a file; ``doc/contributor.rst`` says what the keys mean."""

    file: str
    name: str
    covers: tuple[str, ...]
    uploads: tuple[tuple[str, Mapping[str, str]], ...]
    environments: Mapping[str, Any]
    rules: Mapping[str, Any]
    workflow: str
    namespace: str
    input: Mapping[str, Any]
    params: Mapping[str, Any]
    description: str
    script: Mapping[str, tuple[Mapping[str, Any], ...]]
    steps: tuple[Step, ...]
    expect: Mapping[str, Any]

    @property
    def id(self) -> str:
        words = re.sub(r"[^A-Za-z0-9]+", "-", self.name).strip("-").lower()
        return f"{Path(self.file).stem}:{words}"


def stories_of(directory: Path) -> Iterator[Story]:
    """All stories of all files.

    :raises BadStory: with file and name.
    """
    for path in sorted(directory.glob("*.yaml")):
        with path.open() as text:
            try:
                documents = [d for d in yaml.load_all(text, _Loader) if d is not None]
            except yaml.YAMLError as error:
                raise BadStory(f"{path.name}: {error}") from None
        for document in documents:
            yield _story(path.name, document)


def versioned(text: str) -> str:
    """Definitions of stories leave the version out."""
    return text if text.lstrip().startswith("version:") else f"version: '2.0'\n{text}"


def _story(file: str, raw: Any) -> Story:
    here = f"{file}: {raw.get('name') if isinstance(raw, dict) else raw!r}"
    _check(here, raw, _KEYS, {"name", "covers", "expect"})
    for number in raw["covers"]:
        if not _NUMBER.fullmatch(number):
            raise BadStory(f"{here}: covers: {number!r} is no id such as ENG-133")
    if not raw["covers"]:
        raise BadStory(f"{here}: covers: name at least one id")
    spaces = {"": {k: raw[k] for k in sorted(_UPLOADS & set(raw))}}
    spaces |= raw.get("namespaces", {})
    for space, uploads in spaces.items():
        _check(f"{here}: namespaces.{space}", uploads, _UPLOADS)
    _check(f"{here}: rules", raw.get("rules", {}), _RULES)
    expect = raw["expect"]
    if set(expect) != {"refused"}:
        check_run(f"{here}: expect", expect)
    return Story(
        file=file,
        name=raw["name"],
        covers=tuple(raw["covers"]),
        uploads=tuple(spaces.items()),
        environments=raw.get("environments", {}),
        rules=raw.get("rules", {}),
        workflow=raw.get("workflow") or _first_workflow(here, raw),
        namespace=raw.get("namespace", ""),
        input=raw.get("input", {}),
        params=raw.get("params", {}),
        description=raw.get("description", ""),
        script={
            task: _outcomes(f"{here}: actions.{task}", given)
            for task, given in raw.get("actions", {}).items()
        },
        steps=tuple(
            _step(f"{here}: steps[{n}]", n, step)
            for n, step in enumerate(raw.get("steps", []), 1)
        ),
        expect=expect,
    )


def _first_workflow(here: str, raw: Mapping[str, Any]) -> str:
    found = re.search(r"^([\w.-]+):", raw.get("workflows", ""), re.MULTILINE)
    if found is None:
        raise BadStory(f"{here}: 'workflow' has to name the one that is started")
    return found.group(1)


def _outcomes(here: str, given: Any) -> tuple[Mapping[str, Any], ...]:
    """``success: 5``, ``later``, or a list of such, one for each call."""
    found = []
    for each in given if isinstance(given, list) else [given]:
        if isinstance(each, str):
            if each not in WORDS:
                raise BadStory(f"{here}: expected one of {sorted(WORDS)}, found {each}")
            each = {each: True if each == "cancel" else None}
        if (
            not isinstance(each, dict)
            or len(each) != 1
            or not set(each) <= (OUTCOMES | WORDS)
        ):
            raise BadStory(
                f"{here}: expected 'success: value', 'error: value', 'raise: text',"
                f" 'cancel' or 'later', found {each!r}"
            )
        found.append(each)
    return tuple(found)


def _step(here: str, number: int, raw: Any) -> Step:
    if not isinstance(raw, dict):
        raise BadStory(f"{here}: expected a mapping, found {raw!r}")
    verbs = [key for key in raw if key in OPERATIONS and key != "update"] or [
        key for key in raw if key in OPERATIONS
    ]
    if len(verbs) != 1:
        raise BadStory(f"{here}: expected one of {sorted(OPERATIONS)}, found {verbs}")
    verb = verbs[0]
    _check(here, raw, {verb, "refused", "then", *OPERATIONS[verb]})
    then = raw.get("then")
    if verb == "see":
        then = raw["see"]
    if then is not None:
        check_run(f"{here}: then", then)
    more = {key: raw[key] for key in OPERATIONS[verb] if key in raw}
    return Step(number, verb, raw[verb], more, raw.get("refused"), then)


def check_run(here: str, expected: Any) -> None:
    """:raises BadStory: it says something that no run has."""
    _check(here, expected, RUN)
    for name, wanted in (expected.get("tasks") or {}).items():
        for each in wanted if isinstance(wanted, list) else [wanted]:
            if isinstance(each, dict):
                _check(f"{here}.tasks.{name}", each, TASK)
    for name, wanted in (expected.get("subs") or {}).items():
        for each in wanted if isinstance(wanted, list) else [wanted]:
            if isinstance(each, dict):
                check_run(f"{here}.subs.{name}", each)


def _check(
    here: str, given: Any, known: set[str], needed: set[str] = frozenset()
) -> None:  # type: ignore[assignment]
    if not isinstance(given, dict):
        raise BadStory(f"{here}: expected a mapping, found {given!r}")
    if unknown := set(given) - known:
        raise BadStory(
            f"{here}: unknown {sorted(map(str, unknown))}; known are {sorted(known)}"
        )
    if missing := needed - set(given):
        raise BadStory(f"{here}: {sorted(missing)} is missing")
