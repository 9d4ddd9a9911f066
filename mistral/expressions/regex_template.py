"""Replacement texts of regular expressions: ``\\1``, ``\\g<name>``, ``\\n``.

As in Python: an escape that it does not know is an error if it is an ASCII letter,
and stands for itself, backslash and all, if it is not.
"""

from __future__ import annotations

import re
from typing import Any, Final

from mistral.expressions.faults import Refused

_PART: Final = re.compile(
    r"""\\(?:
      g<(?P<name>[^>]*)>
    | (?P<octal>0[0-7]{0,2}|[1-7][0-7]{2})
    | (?P<number>[1-9][0-9]?)
    | (?P<other>.|\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
}
_MAX_OCTAL: Final = 0o377


class Template:
    """A replacement, read once.

    :param names: the groups of the expression by name.
    :param groups: how many it has.
    :raises Refused: it is malformed or names a group that is not there.
    """

    def __init__(self, text: str, names: dict[str, int], groups: int) -> None:
        self._parts: list[str | int] = []
        end = 0
        for part in _PART.finditer(text):
            self._parts.append(text[end : part.start()])
            self._parts.append(_read(part, names, groups))
            end = part.end()
        self._parts.append(text[end:])

    def expand(self, match: Any) -> str:
        """The text for one match; a group that took no part is empty."""
        return "".join(
            part if isinstance(part, str) else match.group(part) or ""
            for part in self._parts
        )


def _read(part: re.Match[str], names: dict[str, int], groups: int) -> str | int:
    if part["octal"] is not None:
        code = int(part["octal"], 8)
        if code > _MAX_OCTAL:
            raise Refused("an octal escape of a replacement is above \\377")
        return chr(code)
    if part["other"] is not None:
        return _escape(part["other"])
    name = part["name"] if part["name"] is not None else part["number"]
    if name in names:
        return names[name]
    if name.isascii() and name.isdigit() and int(name) <= groups:
        return int(name)
    raise Refused("a replacement names a group that the expression does not have")


def _escape(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if not letter or (letter.isalpha() and letter.isascii()):
        raise Refused("a replacement holds an unknown escape")
    return "\\" + letter
