"""``NAME key=value …``: the one-line form of calls (spec/language.md § 10, 14.3).

The grammar loses text on purpose: what no parameter covers is dropped. The
result is that of the language; what was dropped is reported beside it (Q16).

Parameters are found from the ``=`` signs, looking back for the key and
forward for the value, so that the time is linear in the length of the text
whatever it holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isinf
from typing import Any, Final, NamedTuple

from mistral.errors import DefinitionFault, Problem
from mistral.lang.shapes import Findings, Path, shortened

_WORD_NAME: Final = re.compile(r'[\w.]+[^=("\s]*')
_KEY_BEFORE: Final = re.compile(r"[\w-]")
_LITERAL: Final = re.compile(r"true|false|null")
_DIGITS: Final = re.compile(r"\d+")
_TARGET_PLAIN: Final = re.compile(r"\S+")
_TARGET_BLANK: Final = re.compile(r"\w+ \w+=[^\n]*\n?")
_TARGET_CALL: Final = re.compile(r"\w+\(\w+=.*\)\n?", re.DOTALL)

_TYPED_VALUE: Final = re.compile(r"[-+.\d{]|True\b|False\b|None\b")

_HARMLESS: Final = " \t\r\n,()"
"""Separators: ``fail(msg="x", n=1)`` loses nothing that matters."""

NESTING: Final = 200
"""A deeper JSON list stays a string, as anything that is not JSON."""

SIGNS: Final = 10_000
"""More ``=`` outside of values are refused: each costs a look around it, and
the longest text that may be uploaded holds millions."""


class Ignored(NamedTuple):
    """A piece of text that has no effect; ``cut`` when it was the rest of a
    value, as ``.5`` of ``x=1.5``."""

    text: str
    cut: bool = False


class Call(NamedTuple):
    """What an inline text says: parameters hold unevaluated values."""

    name: str
    params: dict[str, Any]
    ignored: tuple[Ignored, ...]


def parse_inline(text: str) -> Call:
    """The name, the parameters and what was ignored (§ 10.1).

    :raises DefinitionFault: V-11, there are blanks but no name in front;
        SEC-03, far too many parameters.
    """
    if " " not in text:
        return Call(text, {}, ())
    return _parse(text)


def parse_target(text: str) -> Call:
    """The target of a transition (§ 14.3). ``fail(msg="x")`` is a call with a
    parameter although it has no blank (Q32).

    :raises DefinitionFault: V-06, none of the three forms.
    """
    if _TARGET_CALL.fullmatch(text):
        return _parse(text)
    if not is_target(text):
        raise _fault(
            "V-06",
            'expected a task or command: name, name key=value or name(key="value")',
        )
    return parse_inline(text)


def warn_ignored(found: Findings, path: Path, call: Call) -> None:
    """LINT-01, LINT-02: the text that has no effect, and how to keep it."""
    for ignored in call.ignored:
        rest = shortened(ignored.text)
        inside = (ignored.text, 0)
        if ignored.cut:
            message = f"'{rest}' is ignored: the value ends before it; quote the value"
            found.warn(path, message, "LINT-02", inside=inside)
            continue
        _, sign, value = ignored.text.partition("=")
        if sign and _TYPED_VALUE.match(value):
            message = f"'{rest}' is ignored: write such a value under 'input'"
            found.warn(path, message, "LINT-02", inside=inside)
        else:
            message = f"'{rest}' is ignored: quote the value, or use 'input'"
            found.warn(path, message, "LINT-01", inside=inside)


def is_target(text: str) -> bool:
    """Whether the text has one of the forms of § 14.3."""
    return any(
        form.fullmatch(text) for form in (_TARGET_PLAIN, _TARGET_BLANK, _TARGET_CALL)
    )


def is_json_list(text: str) -> bool:
    """Whether the text is a JSON array that is nested within bounds."""
    return isinstance(_json_list(text), list)


def _parse(text: str) -> Call:
    name, name_end = _name(text)
    params: dict[str, Any] = {}
    covered = [(0, name_end, False)]
    scan = _Scan(text)
    while (found := scan.next_parameter()) is not None:
        key, value, start, end = found
        params[key] = value
        covered.append((start, end, True))
    return Call(name, params, tuple(_gaps(text, covered)))


def _fault(rule: str, message: str) -> DefinitionFault:
    return DefinitionFault([Problem(message, rule=rule)])


def _name(text: str) -> tuple[str, int]:
    found = _WORD_NAME.match(text)
    if found:
        return found.group(), found.end()
    line_end = _line_end(text, 0)
    for opening, closing, find in (
        ("<%", "%>", text.find),
        ("{{", "}}", text.find),
        ("{%", "%}", text.rfind),
    ):
        if text.startswith(opening):
            end = find(closing, 2, line_end)
            if end >= 0:
                return text[: end + 2], end + 2
    raise _fault("V-11", "the text has blanks but does not begin with a name")


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _gaps(text: str, covered: list[tuple[int, int, bool]]) -> list[Ignored]:
    gaps = []
    position = 0
    after_value = False
    for start, end, is_parameter in sorted(covered):
        if start > position:
            gaps.append(_ignored(text[position:start], after_value))
        if end > position:
            position = end
            after_value = is_parameter
    gaps.append(_ignored(text[position:], after_value))
    return [gap for gap in gaps if gap.text]


def _ignored(text: str, after_value: bool) -> Ignored:
    cut = after_value and text[:1] not in _HARMLESS
    return Ignored(text.strip(_HARMLESS), cut)


@dataclass(slots=True)
class _Scan:
    """Finds the parameters from left to right."""

    text: str
    position: int = 0
    # Where the next closing delimiter is, from the last search on: without
    # it a text of many openings would be searched to its end from each.
    closings: dict[str, int] = field(default_factory=dict)
    last_brackets: dict[int, int] = field(default_factory=dict)
    signs: int = 0

    def next_parameter(self) -> tuple[str, Any, int, int] | None:
        """Key, value, start, end."""
        sign = self.text.find("=", self.position)
        while sign >= 0:
            self.signs += 1
            if self.signs > SIGNS:
                raise _fault("SEC-03", f"more than {SIGNS} '=' outside of values")
            start = sign
            while start > self.position and _KEY_BEFORE.match(self.text, start - 1):
                start -= 1
            if start < sign:
                found = self._value(sign + 1)
                if found is not None:
                    value, self.position = found
                    return self.text[start:sign], value, start, self.position
            # No key of a later '=' can begin before this one.
            self.position = sign + 1
            sign = self.text.find("=", self.position)
        return None

    def _value(self, start: int) -> tuple[Any, int] | None:
        """The first alternative of § 10.1 that matches, and its end."""
        first = self.text[start : start + 1]
        if first in ('"', "'"):
            end = self._closing(first, start + 1)
            return None if end is None else (self.text[start + 1 : end], end + 1)
        two = self.text[start : start + 2]
        if two in _EXPRESSIONS:
            end = self._closing(_EXPRESSIONS[two], start + 2)
            if end is None or self._closing("\n", start) in range(start, end):
                return None
            return self.text[start : end + 2], end + 2
        if first == "[":
            return self._bracket(start)
        literal = _LITERAL.match(self.text, start)
        if literal:
            return _LITERALS[literal.group()], literal.end()
        digits = _DIGITS.match(self.text, start)
        if digits:
            return _number(digits.group()), digits.end()
        return None

    def _closing(self, closing: str, start: int) -> int | None:
        known = self.closings.get(closing)
        if known is None or known < start:
            known = self.text.find(closing, start)
            if known < 0:
                known = len(self.text)
            self.closings[closing] = known
        return known if known < len(self.text) else None

    def _bracket(self, start: int) -> tuple[Any, int] | None:
        line_end = self._closing("\n", start)
        if line_end is None:
            line_end = len(self.text)
        if line_end not in self.last_brackets:
            self.last_brackets[line_end] = self.text.rfind("]", start, line_end)
        end = self.last_brackets[line_end] + 1
        if end <= start:
            return None
        raw = self.text[start:end]
        return _json_list(raw), end


_EXPRESSIONS: Final[Mapping[str, str]] = {"{{": "}}", "<%": "%>"}
_LITERALS: Final[Mapping[str, Any]] = {"true": True, "false": False, "null": None}


def _number(digits: str) -> int | str:
    """``007`` is no JSON number, so it stays text; so does a number of more
    digits than Python converts."""
    if not digits.isascii() or (len(digits) > 1 and digits[0] == "0"):
        return digits
    try:
        return int(digits)
    except ValueError:
        return digits


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _real(digits: str) -> float:
    if isinf(number := float(digits)):
        raise ValueError("the number is too large")
    return number


def _json_list(raw: str) -> Any:
    """The list, or the text itself if it is not JSON."""
    try:
        value = json.loads(raw, parse_constant=_no_number, parse_float=_real)
    except (ValueError, RecursionError):
        return raw
    level = [value]
    for _ in range(NESTING):
        level = [
            child
            for item in level
            if isinstance(item, (list, dict))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return value
    return raw
