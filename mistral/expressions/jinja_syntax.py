"""Jinja text to a tree, with positions that Jinja itself does not keep."""

from __future__ import annotations

import re
from typing import Final

from jinja2 import Environment, StrictUndefined, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.lexer import ignored_tokens
from jinja2.parser import Parser

from mistral.errors import ExpressionFault
from mistral.expressions.faults import syntax_fault
from mistral.expressions.recognition import JINJA

MAX_TEMPLATE_CHARACTERS: Final = 65_536
"""Parsing and compiling cost up to six microseconds per character."""

SYNTAX: Final = {
    "trim_blocks": True,
    "lstrip_blocks": True,
    "autoescape": False,
    "undefined": StrictUndefined,
}
"""What every environment of ours has in common (§ 25)."""

_POSITION_IN_CAUSE: Final = re.compile(r" at \d+$")

_UNSEEN_TOKENS: Final = ignored_tokens | {"raw_begin", "raw_end"}


def parse(text: str, environment: Environment) -> nodes.Template:
    """The tree of a template.

    :raises ExpressionFault: not Jinja; carries the position within ``text``.
    """
    if len(text) > MAX_TEMPLATE_CHARACTERS:
        raise ExpressionFault(
            f"A Jinja template may have {MAX_TEMPLATE_CHARACTERS} characters, "
            f"this one has {len(text)}"
        )
    parser = None
    try:
        parser = Parser(environment, text)
        return parser.parse()
    except TemplateSyntaxError as error:
        cause = _POSITION_IN_CAUSE.sub("", error.message or "syntax error").rstrip(".")
        position = _position(text, environment, parser)
        raise syntax_fault(JINJA, text, cause, position) from None
    except RecursionError:
        raise syntax_fault(JINJA, text, "nested too deeply", None) from None
    except (ValueError, UnicodeError):
        # int() of thousands of digits
        raise syntax_fault(JINJA, text, "malformed literal", None) from None


def _position(text: str, environment: Environment, parser: Parser | None) -> int | None:
    """Where the parser stood: the end of the token after which lexing failed,
    or the start of the token it could not use.

    The tokens that are left are counted, and the same number is left off
    when the text is lexed again with offsets.
    """
    starts = []
    offset = 0
    try:
        for _line, kind, value in environment.lexer.tokeniter(text, None):
            # white space that trimming removed is in no token
            found = text.find(value, offset)
            start = found if found >= 0 else offset
            offset = start + len(value)
            if kind not in _UNSEEN_TOKENS:
                starts.append(start)
    except TemplateSyntaxError:
        return offset
    if parser is None:
        return offset
    left = 0 if parser.stream.eos else 1
    while not parser.stream.eos:
        next(parser.stream)
        left += not parser.stream.eos
    return starts[-left] if 0 < left <= len(starts) else len(text)


def is_whole(text: str, environment: Environment) -> bool:
    """Whether one ``{{ }}`` spans the text, by the real tokenizer (Q47)."""
    if not (text.startswith("{{") and text.endswith("}}")):
        return False
    seen = 0
    last = ""
    try:
        for _line, kind, _value in environment.lexer.tokeniter(text, None):
            last = kind
            seen += kind in {"variable_begin", "block_begin", "data", "raw_begin"}
            seen += kind == "comment_begin"
            if seen > 1:
                return False
    except TemplateSyntaxError:
        return False
    return last == "variable_end"
