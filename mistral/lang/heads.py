"""What stands at the head of a document: its version, the names it defines
(spec/language.md § 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mistral.lang.shapes import Findings, Path

NAME_CHARACTERS: Final = 255

NUL: Final = "\0"
"""Quoted text can spell it, and not every database keeps it."""


def check_name(found: Findings, path: Path, name: str, *, at_key: bool) -> None:
    """V-08, for workflows, actions and workbooks (§ 3)."""
    if not name or " " in name:
        message = "a name is not empty and holds no blank"
        found.error(path, message, "V-08", at_key=at_key)
    elif len(name) > NAME_CHARACTERS:
        message = f"a name has at most {NAME_CHARACTERS} characters"
        found.error(path, message, "V-08", at_key=at_key)
    elif NUL in name:
        found.error(path, "a name holds no NUL character", "V-08", at_key=at_key)


def is_two(version: Any) -> bool:
    """Every spelling of the one version there is (Q08)."""
    return not isinstance(version, bool) and version in (2, "2", "2.0")


def check_list_version(found: Findings, data: Mapping[Any, Any]) -> None:
    """V-02, and Q08 for what is accepted all the same."""
    if "version" not in data:
        found.error((), "'version' is missing; write version: '2.0'", "V-02")
        return
    version = data["version"]
    is_number = isinstance(version, (int, float)) and not isinstance(version, bool)
    if (is_number and version >= 0) or (isinstance(version, str) and version):
        if not is_two(version):
            message = "the version is not 2.0; the text is read as 2.0"
            found.warn(("version",), message, "Q08")
        return
    found.error(("version",), "expected version: '2.0'", "V-02")
