"""Formatting that is checked before it computes: ``%`` and ``str.format``.

Both can be asked for any width (``"%999999999d"``), and ``str.format`` reaches
attributes of what it formats (SEC-12); the sandbox's formatter closes the
latter, the widths are closed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment
from jinja2.sandbox import SandboxedFormatter

from mistral.expressions.faults import Refused
from mistral.expressions.limits import Budget, budget

MAX_WIDTH: Final = 10_000

_TOO_WIDE: Final = f"a format is wider than {MAX_WIDTH} characters"

_DIRECTIVE: Final = re.compile(
    r"[#0\- +]*(?P<width>\*|[0-9]*)(?:\.(?P<precision>\*|[0-9]*))?"
)
_DIGITS: Final = re.compile(r"[0-9]+")


def printf(text: str, values: Any) -> str:
    """``text % values``.

    :raises Refused: a width that is too large, a result that is.
    """
    spent = budget()
    given = values if isinstance(values, tuple) else (values,)
    size = len(text)
    largest = sum(printed_size(value, spent) for value in given)
    for width, precision in _directives(text):
        size += _width(width, given) + _width(precision, given) + largest
    spent.bytes(size)
    formatted: str = text % values
    return formatted


def _directives(text: str) -> Iterator[tuple[str, str]]:
    """(width, precision) of every directive, as written."""
    position = text.find("%")
    while position >= 0:
        position += 1
        if text[position : position + 1] == "(":
            # the key of a mapping; parentheses inside it are balanced
            depth = 0
            while position < len(text):
                depth += {"(": 1, ")": -1}.get(text[position], 0)
                position += 1
                if depth == 0:
                    break
        found = _DIRECTIVE.match(text, position)
        if found is not None:
            yield found["width"] or "", found["precision"] or ""
            position = found.end()
        # the conversion type, which may be another %
        position = text.find("%", position + 1)


def _width(written: str, given: tuple[Any, ...]) -> int:
    if written == "*":
        widths = [abs(value) for value in given if isinstance(value, int)]
    elif len(written) > len(str(MAX_WIDTH)):
        raise Refused(_TOO_WIDE)
    else:
        widths = [int(written or 0)]
    widest = max(widths, default=0)
    if widest > MAX_WIDTH:
        raise Refused(_TOO_WIDE)
    return widest


def printed_size(value: Any, spent: Budget) -> int:
    """At most so many characters, checked against the budget."""
    if isinstance(value, str):
        return len(value)
    return spent.prints(value)


class _Formatter(SandboxedFormatter):
    """``str.format`` with the sandbox's look-ups and bounded widths."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._size = 0

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion is not None:
            budget().prints(value)
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        spent = budget()
        spent.charge()
        for digits in _DIGITS.findall(format_spec):
            if len(digits) > len(str(MAX_WIDTH)) or int(digits) > MAX_WIDTH:
                raise Refused(_TOO_WIDE)
        spent.prints(value)
        if not isinstance(value, str | int | float | type(None)):
            # other types read the format themselves: dates only
            if not hasattr(value, "strftime"):
                value = str(value)
        formatted: str = super().format_field(value, format_spec)
        self._size += len(formatted)
        spent.bytes(self._size)
        return formatted


def format_text(
    environment: Environment,
    text: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> str:
    """``text.format(*args, **kwargs)``."""
    return _Formatter(environment).vformat(str(text), args, kwargs)
