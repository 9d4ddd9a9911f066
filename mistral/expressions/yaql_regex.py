"""YAQL's regular expression functions, in linear time.

Each takes what the library's function of the same name takes, with
:class:`~.regex.Regex` in the place of a compiled pattern. One thing of the
library is not reproduced: ``$name`` of a named group is set instead of failing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from mistral.expressions.limits import budget
from mistral.expressions.regex import Regex
from mistral.expressions.regex_template import Template


def regex(
    pattern: str,
    ignore_case: Any = False,
    multi_line: Any = False,
    dot_all: Any = False,
) -> Regex:
    """Of the flags only the truth counts, as in the library."""
    wanted = zip("ims", (ignore_case, multi_line, dot_all), strict=True)
    return Regex(pattern, "".join(flag for flag, on in wanted if on))


def matches(regexp: Regex, string: str) -> bool:
    return regexp.search(string) is not None


def matches_(string: str, regexp: str) -> bool:
    return Regex(regexp).search(string) is not None


def matches_operator_regex(string: str, regexp: Regex) -> bool:
    return regexp.search(string) is not None


def matches_operator_string(string: str, pattern: str) -> bool:
    return Regex(pattern).search(string) is not None


def not_matches_operator_regex(string: str, regexp: Regex) -> bool:
    return regexp.search(string) is None


def not_matches_operator_string(string: str, pattern: str) -> bool:
    return Regex(pattern).search(string) is None


def _publish(context: Any, regexp: Regex, match: Any) -> None:
    """``$1`` is the whole match, ``$2`` the first group, ``$name`` a named one;
    each a mapping of ``value``, ``start``, ``end``."""

    def record(group: int) -> dict[str, Any]:
        return {
            "value": match.group(group),
            "start": match.start(group),
            "end": match.end(group),
        }

    for group in range(regexp.groups + 1):
        context[f"${group + 1}"] = record(group)
    for name, group in regexp.names.items():
        context["$" + name] = record(group)


def search(
    context: Any,
    regexp: Regex,
    string: str,
    selector: Callable[..., Any] | None = None,
) -> Any:
    match = regexp.search(string)
    if match is None:
        return None
    if selector is None:
        return match.group()
    inner = context.create_child_context()
    _publish(inner, regexp, match)
    return selector(inner)


def search_all(
    context: Any,
    regexp: Regex,
    string: str,
    selector: Callable[..., Any] | None = None,
) -> Iterator[Any]:
    for match in regexp.matches(string):
        if selector is None:
            yield match.group()
        else:
            inner = context.create_child_context()
            _publish(inner, regexp, match)
            yield selector(inner)


def split(regexp: Regex, string: str, max_split: int = 0) -> list[str | None]:
    return regexp.split(string, max_split)


def split_string(string: str, regexp: Regex, max_split: int = 0) -> list[str | None]:
    return regexp.split(string, max_split)


def _substitute(
    regexp: Regex, string: str, replacement: Callable[[Any], Any], count: int
) -> str:
    spent = budget()
    pieces: list[str] = []
    size = len(string)
    end = 0
    if count < 0:
        return string
    for done, match in enumerate(regexp.matches(string)):
        if count and done >= count:
            break
        piece = replacement(match)
        if piece is None:
            piece = ""
        size += len(piece)
        spent.bytes(size)
        pieces += (string[end : match.start()], piece)
        end = match.end()
    pieces.append(string[end:])
    return "".join(pieces)


def replace(regexp: Regex, string: str, repl: str, count: int = 0) -> str:
    template = Template(repl, regexp.names, regexp.groups)
    return _substitute(regexp, string, template.expand, count)


def replace_string(string: str, regexp: Regex, repl: str, count: int = 0) -> str:
    return replace(regexp, string, repl, count)


def replace_by(
    context: Any,
    regexp: Regex,
    string: str,
    repl: Callable[[Any], Any],
    count: int = 0,
) -> str:
    def replacement(match: Any) -> Any:
        inner = context.create_child_context()
        _publish(inner, regexp, match)
        return repl(inner)

    return _substitute(regexp, string, replacement, count)


def replace_by_string(
    context: Any,
    string: str,
    regexp: Regex,
    repl: Callable[[Any], Any],
    count: int = 0,
) -> str:
    return replace_by(context, regexp, string, repl, count)


def escape_regex(string: str) -> str:
    return re.escape(string)


def is_regex(value: Any) -> bool:
    return isinstance(value, Regex)


REPLACEMENTS: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    ("regex", function.__name__): function
    for function in (
        regex,
        matches,
        matches_,
        matches_operator_regex,
        matches_operator_string,
        not_matches_operator_regex,
        not_matches_operator_string,
        search,
        search_all,
        split,
        split_string,
        replace,
        replace_string,
        replace_by,
        replace_by_string,
        escape_regex,
        is_regex,
    )
}
