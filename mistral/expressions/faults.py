"""The sentences of expression errors: text, position, cause, never values.

What the languages' libraries put into their exceptions often holds pieces of
the data (SEC-08, Q56); no library message is passed on unless it is known to
speak of the expression's text only.
"""

from __future__ import annotations

from typing import Final

from mistral.errors import ExpressionFault

SHOWN_CHARACTERS: Final = 300
"""A longer expression is cut in messages; its position still counts from its
real beginning."""

_TITLES: Final = {"yaql": "YAQL", "jinja": "Jinja"}


def shown(text: str) -> str:
    """The expression as messages quote it."""
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}… ({len(text)} characters)"


def syntax_fault(
    language: str, text: str, cause: str, position: int | None
) -> ExpressionFault:
    """``position`` counts characters of ``text`` from 0."""
    return ExpressionFault(
        f"Cannot parse the {_TITLES[language]} expression {_where(text, position)}"
        f": {cause}"
    )


def evaluation_fault(
    language: str, text: str, cause: str, position: int | None = None
) -> ExpressionFault:
    return ExpressionFault(
        f"Cannot evaluate the {_TITLES[language]} expression {_where(text, position)}"
        f": {cause}"
    )


def _where(text: str, position: int | None) -> str:
    """The expression without the blanks around it, and where in that."""
    quoted = f"'{shown(text.strip())}'"
    if position is None:
        return quoted
    leading = len(text) - len(text.lstrip())
    return f"{quoted}, position {max(0, position - leading)}"
