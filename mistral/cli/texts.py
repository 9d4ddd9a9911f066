"""What a person hands over: definition files and inputs.

Files are not parsed here (YAML is read by the service alone); their kind and
the names in them are seen from the keys at the left margin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mistral import errors

KINDS: Final = ("workflows", "workbooks", "actions")

_KEY: Final = re.compile(
    r"""(?P<indent>\ *)(?P<quote>["']?)(?P<key>[^\s"'#:\-\[{&*][^"'#:]*?)(?P=quote)"""
    r"""\s*:(?:\s+(?P<rest>.*))?$""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Definition:
    """A file's text, its kind (one of :data:`KINDS`) and what it defines.

    ``workflows`` are the names under which its workflows can be started, in
    the order of the text.
    """

    path: Path
    text: str
    kind: str
    workflows: tuple[str, ...]


def read_definition(path: Path, kind: str | None = None) -> Definition:
    """The file at ``path``; ``kind`` overrides what its keys say.

    :raises BadRequest: no such file, or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise errors.BadRequest(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise errors.BadRequest(f"{path} is not UTF-8 text") from error
    sections = list(_sections(text))
    found = kind or _kind(sections)
    return Definition(path, text, found, tuple(_startable(sections, found)))


@dataclass(slots=True)
class _Section:
    """A key at the margin, what stands behind it, and the keys just below."""

    key: str
    value: str
    children: list[str]


def _sections(text: str) -> Iterator[_Section]:
    current: _Section | None = None
    depth: int | None = None
    for line in text.splitlines():
        match = _KEY.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        if indent == 0:
            if current is not None:
                yield current
            value = (match["rest"] or "").split(" #")[0].strip().strip("\"'")
            current, depth = _Section(match["key"], value, []), None
        elif current is not None and depth in (None, indent):
            depth = indent
            current.children.append(match["key"])
    if current is not None:
        yield current


def _kind(sections: Sequence[_Section]) -> str:
    keys = {section.key for section in sections}
    if "name" in keys and keys & {"workflows", "actions"}:
        return "workbooks"
    if any("base" in section.children for section in sections):
        return "actions"
    if keys & {"workflows", "actions", "name"}:
        return "workbooks"
    return "workflows"


def _startable(sections: Sequence[_Section], kind: str) -> Iterator[str]:
    if kind == "workflows":
        yield from (section.key for section in sections if section.key != "version")
    elif kind == "workbooks":
        values = {section.key: section for section in sections}
        if "name" in values and "workflows" in values:
            book = values["name"].value
            yield from (f"{book}.{child}" for child in values["workflows"].children)


def read_values(given: Sequence[str], option: str) -> dict[str, Any]:
    """One object from ``key=value``, a JSON object or ``@file`` with one, merged
    in the order given. A value that is JSON is taken as such, else as text.

    :raises BadRequest: neither of these.
    """
    merged: dict[str, Any] = {}
    for text in given:
        if text.startswith("@"):
            merged.update(_object(_file(text[1:], option), f"{option} {text}"))
        elif text.lstrip().startswith("{"):
            merged.update(_object(text, option))
        elif "=" in text:
            key, _, value = text.partition("=")
            merged[key.strip()] = _value(value)
        else:
            raise errors.BadRequest(
                f"{option}: expected key=value, a JSON object or @file, found '{text}'"
            )
    return merged


def read_json(given: str | None, option: str) -> Any:
    """What stands there as JSON, or in ``@file``; a text that is no JSON and does not
    begin like an object, a list or a quoted text is that text. None: nothing.

    :raises BadRequest: it begins like JSON and is none, or the file cannot be read.
    """
    if given is None:
        return None
    if given.startswith("@"):
        return _json(_file(given[1:], option), f"{option} {given}")
    if given.lstrip().startswith(("{", "[", '"')):
        return _json(given, option)
    return _value(given)


def read_secret(given: str | None, option: str) -> str | None:
    """A text, or what stands in ``@file`` but for the end of its last line.

    :raises BadRequest: the file cannot be read, or there is nothing.
    """
    if given is None:
        return None
    found = _file(given[1:], option) if given.startswith("@") else given
    found = found.removesuffix("\n").removesuffix("\r")
    if not found:
        raise errors.BadRequest(f"{option}: expected a text, found nothing")
    return found


def _file(name: str, option: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise errors.BadRequest(
            f"{option}: cannot read '{name}': {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise errors.BadRequest(f"{option}: '{name}' is not UTF-8 text") from error


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise errors.BadRequest(f"{where}: this is not JSON: {error}") from error


def _object(text: str, where: str) -> dict[str, Any]:
    value = _json(text, where)
    if not isinstance(value, dict):
        raise errors.BadRequest(f"{where}: expected a JSON object")
    return value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
