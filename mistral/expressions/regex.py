"""Regular expressions in linear time, by RE2, in Python's spelling.

``\\w``, ``\\d`` and ``\\s`` mean what they mean in Python for any script. What is
different, because RE2 is linear, and deliberate:

* backreferences, look-around, possessive and atomic groups, the flags ``a``, ``u``
  and ``x``, comments and ``\\N{...}`` are refused;
* ``\\b`` and ``\\B`` are about ASCII words, and ``$`` is the very end of the text;
* where a pattern prefers the empty text (``a*?``), it is never asked for a longer
  one at the same place;
* a group inside a repetition that may be empty (``(a*)*``) keeps what it took last,
  not the empty turn after it.
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

_CLASSES: Final = {
    "w": r"\p{L}\p{N}_",
    "d": r"\p{Nd}",
    "s": r"\s\v\x1c-\x1f\x85\p{Z}",
}
_CONTROLS: Final = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_OUTSIDE_CLASSES: Final = {"A": r"\A", "b": r"\b", "B": r"\B", "Z": r"\z"}
_CODE: Final = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})")
_OCTAL: Final = re.compile("0[0-7]{0,2}|[1-3][0-7]{2}")
_UP_TO: Final = re.compile(r"\{,(?=[0-9]+\})")

_FLAG_NAMES: Final = {"i": "re.IGNORECASE", "m": "re.MULTILINE", "s": "re.DOTALL"}


class Regex:
    """A compiled pattern (``regex(...)``)."""

    __slots__ = ("_compiled", "_size", "_source", "groups", "names")

    def __init__(self, pattern: str, flags: str = "") -> None:
        self._source = (pattern, flags)
        self._compiled = _compile(pattern, flags)
        self._size = int(self._compiled.programsize)
        self.groups = int(self._compiled.groups)
        self.names: dict[str, int] = self._compiled.groupindex

    def __repr__(self) -> str:
        """As Python shows its own: the text form of the value."""
        pattern, flags = self._source
        named = "|".join(_FLAG_NAMES[flag] for flag in flags)
        return f"re.compile({pattern!r:.200}{', ' * bool(named)}{named})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regex) and self._source == other._source

    def __hash__(self) -> int:
        return hash(self._source)

    def search(self, text: str) -> Any:
        """The first match or None."""
        self._afford(text)
        return self._compiled.search(text)

    def matches(self, text: str) -> Iterator[Any]:
        """Every match, each a step."""
        self._afford(text)
        charge = budget().charge
        empty = -1
        for match in self._compiled.finditer(text):
            charge()
            start, end = match.span()
            if start == end == empty:
                continue  # RE2's iterator finds it again before it goes on
            empty = end if start == end else -1
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
        compiled = re2.compile(prefix + _translate(pattern), options)
    except (re2.error, UnicodeEncodeError):
        raise Refused(_diagnosis(pattern)) from None
    if not all(map(str.isidentifier, compiled.groupindex)):
        raise Refused(_diagnosis(pattern))
    return compiled


def _diagnosis(pattern: str) -> str:
    """RE2's own message quotes the pattern, which may be data."""
    if re.search(r"\(\?<?[=!]", pattern):
        return "regular expressions here have no look-ahead or look-behind"
    if re.search(r"\\[1-9]|\(\?P=", pattern):
        return "regular expressions here have no backreferences"
    return "the regular expression is malformed or not supported"


def _translate(pattern: str) -> str:
    """Python's spelling to RE2's.

    :raises Refused: Python knows no such escape.
    """
    pieces = []
    in_class = False
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "\\" and position + 1 < len(pattern):
            piece, position = _escape(pattern, position + 1, in_class)
            pieces.append(piece)
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
        elif character == "{" and not in_class and _UP_TO.match(pattern, position):
            character = "{0"
        elif pattern.startswith("(?<", position) and not in_class:
            raise Refused(_diagnosis(pattern))
        pieces.append(character)
        position += 1
    return "".join(pieces)


def _escape(pattern: str, position: int, in_class: bool) -> tuple[str, int]:
    """What stands after a backslash, in RE2's spelling, and where it ends."""
    letter = pattern[position]
    end = position + 1
    code = _CODE.match(pattern, position)
    octal = _OCTAL.match(pattern, position)
    if code is not None:
        return _code_point(int(code[code.lastindex or 0], 16)), code.end()
    if octal is not None:
        return _code_point(int(octal[0], 8)), octal.end()
    if letter in _CLASSES:
        return (_CLASSES[letter] if in_class else f"[{_CLASSES[letter]}]"), end
    if letter.lower() in _CLASSES:
        inside = _CLASSES[letter.lower()]
        return (_all_but(letter.lower()) if in_class else f"[^{inside}]"), end
    if letter in _OUTSIDE_CLASSES and not in_class:
        return _OUTSIDE_CLASSES[letter], end
    if letter in _CONTROLS:
        return _code_point(_CONTROLS[letter]), end
    if letter.isalnum() and letter.isascii():
        raise Refused(_diagnosis(pattern))
    return "\\" + letter if letter.isascii() else letter, end


def _code_point(code: int) -> str:
    return f"\\x{{{code:x}}}"


@lru_cache(maxsize=3)
def _all_but(letter: str) -> str:
    """``\\W``, ``\\D`` or ``\\S`` as ranges: RE2 cannot negate them in a class."""
    member = re.compile(f"[^\\{letter}]")
    ranges = []
    start = None
    for code in range(0x110001):
        # RE2 reads UTF-8, in which halves of surrogate pairs do not exist
        inside = (
            code < 0x110000
            and not 0xD800 <= code < 0xE000
            and member.match(chr(code)) is not None
        )
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            ranges.append(f"{_code_point(start)}-{_code_point(code - 1)}")
            start = None
    return "".join(ranges)
