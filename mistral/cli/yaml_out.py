"""Plain values as YAML text (writing only; nothing here reads YAML)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

#: Texts that need no quotes in YAML 1.1 and 1.2; all others are quoted as JSON.
_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.\-]*(?: [A-Za-z0-9_/.\-]+)*")
_WORDS: Final = frozenset(
    "y n yes no on off true false null none nan inf .nan .inf".split()
)
_UNPRINTABLE: Final = re.compile(
    "[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]"
)


def to_yaml(value: Any) -> str:
    """``value`` (JSON values) as block YAML, ending in a newline."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, member in value.items():
            yield from _entry(f"{_scalar(str(key))}:", member, "  ")
    elif isinstance(value, list | tuple) and value:
        for member in value:
            yield from _entry("-", member, "  ")
    else:
        yield _scalar(value)


def _entry(head: str, member: Any, indent: str) -> Iterator[str]:
    if isinstance(member, Mapping | list | tuple) and member:
        yield head
        yield from (indent + line for line in _lines(member))
    else:
        yield f"{head} {_scalar(member)}"


def _scalar(value: Any) -> str:
    if (
        isinstance(value, str)
        and _PLAIN.fullmatch(value)
        and value.lower() not in _WORDS
    ):
        return value
    # JSON is YAML: quoted text, numbers, true, null, {} and [] read the same,
    # but for two things: YAML wants a point in a number with an exponent, and
    # reads an escaped pair of surrogates as two characters.
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
