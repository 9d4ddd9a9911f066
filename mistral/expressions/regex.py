"""Regular expressions in linear time, by RE2.

RE2 knows no backreferences and no look-around: such patterns are refused.
``\\w``, ``\\d`` and ``\\s`` mean what they mean in Python for any script;
``\\b`` is about ASCII words, and ``$`` is the very end of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import re2  # type: ignore[import-untyped]

from mistral.expressions.faults import Refused
from mistral.expressions.limits import budget

MAX_PATTERN_CHARACTERS: Final = 1_000

_MAX_WORK: Final = 100_000_000
"""Program size times characters of text: about a second in RE2's slowest mode."""

_WORK_PER_STEP: Final = 2_000

_ESCAPES: Final = {
    "w": r"\p{L}\p{N}_",
    "d": r"\p{Nd}",
    "s": r"\s\v\x1c-\x1f\x85\p{Z}",
}


class Regex:
    """A compiled pattern (``regex(...)``)."""

    __slots__ = ("_compiled", "_size", "groups", "names")

    def __init__(self, pattern: str, flags: str = "") -> None:
        self._compiled = _compile(pattern, flags)
        self._size = int(self._compiled.programsize)
        self.groups = int(self._compiled.groups)
        self.names: dict[str, int] = self._compiled.groupindex

    def __repr__(self) -> str:
        return "<regex>"

    def search(self, text: str) -> Any:
        """The first match or None."""
        self._afford(text)
        return self._compiled.search(text)

    def matches(self, text: str) -> Iterator[Any]:
        """Every match, each a step."""
        self._afford(text)
        charge = budget().charge
        for match in self._compiled.finditer(text):
            charge()
            yield match

    def split(self, text: str, most: int = 0) -> list[str | None]:
        if most < 0:
            return [text]
        pieces: list[str | None] = []
        end = 0
        for done, match in enumerate(self.matches(text)):
            if most and done >= most:
                break
            pieces.append(text[end : match.start()])
            pieces.extend(match.groups())
            end = match.end()
        pieces.append(text[end:])
        return pieces

    def _afford(self, text: str) -> None:
        work = (len(text) + 1) * self._size
        if work > _MAX_WORK:
            raise Refused("the text is too long for this regular expression")
        budget().charge(1 + work // _WORK_PER_STEP)


@lru_cache(maxsize=256)
def _compile(pattern: str, flags: str) -> Any:
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise Refused(
            f"a regular expression has more than {MAX_PATTERN_CHARACTERS} characters"
        )
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 21
    prefix = f"(?{flags})" if flags else ""
    try:
        return re2.compile(prefix + _translate(pattern), options)
    except (re2.error, UnicodeEncodeError):
        raise Refused(_diagnosis(pattern)) from None


def _diagnosis(pattern: str) -> str:
    """RE2's own message quotes the pattern, which may be data."""
    if re.search(r"\(\?<?[=!]", pattern):
        return "regular expressions here have no look-ahead or look-behind"
    if re.search(r"\\[1-9]|\(\?P=", pattern):
        return "regular expressions here have no backreferences"
    return "the regular expression is malformed or not supported"


def _translate(pattern: str) -> str:
    """Python's spelling to RE2's."""
    pieces = []
    in_class = False
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "\\" and position + 1 < len(pattern):
            pieces.append(_escape(pattern[position + 1], in_class))
            position += 2
            continue
        if character == "[" and not in_class:
            in_class = True
            # a bracket that comes first stands for itself
            first = pattern[position + 1 : position + 3]
            width = 1 + first.startswith("^")
            if first[width - 1 : width] == "]":
                pieces.append(pattern[position : position + width] + r"\]")
                position += width + 1
                continue
        elif character == "[":
            character = r"\["
        elif character == "]":
            in_class = False
        pieces.append(character)
        position += 1
    return "".join(pieces)


def _escape(letter: str, in_class: bool) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter] if in_class else f"[{_ESCAPES[letter]}]"
    if letter.lower() in _ESCAPES and not in_class:
        return f"[^{_ESCAPES[letter.lower()]}]"
    if letter == "Z":
        return r"\z"
    if not letter.isalnum() and letter.isascii():
        return "\\" + letter
    return "\\" + letter if letter.isascii() else letter
