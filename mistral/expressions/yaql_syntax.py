"""YAQL text to a statement: one lexer and parser per set of options.

yaql 3.2 uses ``collections.abc`` without importing it, so that its import
fails in a bare interpreter: we import it first.
"""

from __future__ import annotations

import collections.abc  # noqa: F401  (before yaql, see above)
from functools import lru_cache
from typing import Any, Final

from yaql.language.exceptions import (  # type: ignore[import-untyped]
    YaqlGrammarException,
    YaqlLexicalException,
)
from yaql.language.factory import (  # type: ignore[import-untyped]
    YaqlEngine,
    YaqlFactory,
)

from mistral.errors import ExpressionFault
from mistral.expressions.faults import syntax_fault
from mistral.expressions.recognition import YAQL

MAX_EXPRESSION_CHARACTERS: Final = 65_536
"""Longer ones are data, not expressions; parsing is linear but not fast."""


@lru_cache(maxsize=8)
def engine(
    keyword_operator: str = "=>",
    allow_delegates: bool = False,
    options: tuple[tuple[str, Any], ...] = (),
) -> YaqlEngine:
    """The parser for these options; building one takes tens of milliseconds."""
    factory = YaqlFactory(keyword_operator, allow_delegates)
    return factory.create(dict(options))


def parse(text: str, using: YaqlEngine) -> Any:
    """The tree of an expression.

    :param text: what stands between the delimiters.
    :raises ExpressionFault: not YAQL; carries the position within ``text``.
    """
    if len(text) > MAX_EXPRESSION_CHARACTERS:
        raise ExpressionFault(
            f"A YAQL expression may have {MAX_EXPRESSION_CHARACTERS} characters, "
            f"this one has {len(text)}"
        )
    try:
        # a lexer has a position: each parse, and so each thread, needs its own
        return using.parser.parse(text, lexer=using.lexer.clone())
    except YaqlLexicalException as error:
        cause = f"illegal character {error.value!r}"
        raise syntax_fault(YAQL, text, cause, error.position) from None
    except YaqlGrammarException as error:
        cause, position = _diagnosis(text, error)
        raise syntax_fault(YAQL, text, cause, position) from None
    except RecursionError:
        raise syntax_fault(YAQL, text, "nested too deeply", None) from None
    except (ValueError, UnicodeError, TypeError):
        # int() of thousands of digits, broken \N{...} and \U escapes
        raise syntax_fault(YAQL, text, "malformed literal", None) from None


def _diagnosis(text: str, error: YaqlGrammarException) -> tuple[str, int]:
    if error.position is None:
        return "unexpected end of expression", len(text)
    cause = f"unexpected {str(error.value)!r}"
    if error.value == "=" and text[error.position - 1] == "=":
        # LINT-09
        cause += " (equality is written '=')"
    return cause, error.position
