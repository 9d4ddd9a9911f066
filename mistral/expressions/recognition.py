"""Where expressions are in a text (spec/language.md § 21.1).

A pair of delimiters counts when both stand on one line; the first closing
delimiter ends it (Q44: with a line break inside the text stays literal).
Everything here is linear in the length of the text: a hostile text of a
million opening delimiters costs one pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

YAQL: Final = "yaql"
JINJA: Final = "jinja"
LANGUAGES: Final = (YAQL, JINJA)

_JINJA_PAIRS: Final = (("{{", "}}"), ("{%", "%}"))


def _pairs(text: str, opening: str, closing: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each pair, delimiters included, left to right."""
    position = text.find(opening)
    while position >= 0:
        line_end = text.find("\n", position)
        if line_end < 0:
            line_end = len(text)
        end = text.find(closing, position + len(opening), line_end)
        if end < 0:
            position = text.find(opening, line_end)
        else:
            yield position, end + len(closing)
            position = text.find(opening, end + len(closing))


def yaql_pairs(text: str) -> list[tuple[int, int]]:
    """(start, end) of every YAQL expression, delimiters included."""
    if "<%" not in text:
        return []
    return list(_pairs(text, "<%", "%>"))


def has_yaql(text: str) -> bool:
    return "<%" in text and next(_pairs(text, "<%", "%>"), None) is not None


def has_jinja(text: str) -> bool:
    return any(
        opening in text and next(_pairs(text, opening, closing), None) is not None
        for opening, closing in _JINJA_PAIRS
    )


def contains_expression(text: str) -> bool:
    """Whether evaluation would do anything with this text."""
    return has_yaql(text) or has_jinja(text)
