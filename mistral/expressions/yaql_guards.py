"""Checks before standard functions of YAQL that could grow in one call.

Each is called with the budget and the function's own arguments; ``GUARDS`` is
keyed by module and name of the library's function.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from yaql.language import utils  # type: ignore[import-untyped]

from mistral.expressions.faults import Refused
from mistral.expressions.limits import Budget

MAX_DIGITS: Final = 4_000
"""``round(x, -n)`` computes ``10 ** n``."""

MAX_DATE_TEXT: Final = 200
"""Dates and their formats are short; the parser's time grows with the text."""

_BYTES_PER_PIECE: Final = 56


def _pieces(
    spent: Budget, string: str, separator: str | None = None, max_splits: int = -1
) -> None:
    pieces = string.count(separator) if separator else len(string) // 2
    if max_splits >= 0:
        pieces = min(pieces, max_splits)
    spent.bytes(pieces * _BYTES_PER_PIECE)


def _power(spent: Budget, a: Any, b: Any, c: Any = None) -> None:
    if c is None and isinstance(a, int) and isinstance(b, int) and b > 0:
        spent.bits((abs(a) - 1).bit_length() * b)


def _shift(spent: Budget, value: int, bits_number: int) -> None:
    if bits_number > 0:
        spent.bits(value.bit_length() + bits_number)


def _digits(spent: Budget, number: Any, ndigits: int = 0) -> None:
    if abs(ndigits) > MAX_DIGITS:
        raise Refused(f"numbers are rounded to at most {MAX_DIGITS} digits")


def _date_text(spent: Budget, *texts: Any) -> None:
    for text in texts:
        if isinstance(text, str) and len(text) > MAX_DATE_TEXT:
            raise Refused(
                f"a date-time or its format has more than {MAX_DATE_TEXT} characters"
            )


def _date_format(spent: Budget, dt: datetime, format__: str) -> None:
    _date_text(spent, format__)


def _both(spent: Budget, left: Any, right: Any) -> None:
    spent.weigh(left)
    spent.weigh(right)


def _list_times(spent: Budget, left: Any, right: int, engine: Any) -> None:
    spent.bytes(8 * len(left) * right)


def _times_list(spent: Budget, left: int, right: Any, engine: Any) -> None:
    spent.bytes(8 * len(right) * left)


def _text_times(spent: Budget, left: str, right: int, engine: Any) -> None:
    spent.bytes(len(left) * right)


def _times_text(spent: Budget, left: int, right: str, engine: Any) -> None:
    spent.bytes(len(right) * left)


def _rules(spent: Budget, *args: Any) -> None:
    for rule in args:
        if isinstance(rule, utils.MappingRule):
            spent.hashes(rule.source)


def _key(spent: Budget, d: Any, key: Any, *default: Any) -> None:
    spent.hashes(key)


def _key_to_set(spent: Budget, engine: Any, d: Any, key: Any, value: Any) -> None:
    spent.hashes(key)


def _members(spent: Budget, s: Any, *values: Any) -> None:
    for value in values:
        spent.hashes(value)


def _texts(spent: Budget, *args: str) -> None:
    spent.bytes(sum(map(len, args)))


def _characters(spent: Budget, string: str) -> None:
    spent.bytes(8 * len(string))


GUARDS: Final[dict[tuple[str, str], Callable[..., object]]] = {
    ("common", "eq"): _both,
    ("common", "neq"): _both,
    ("collections", "list_by_int"): _list_times,
    ("collections", "int_by_list"): _times_list,
    ("collections", "dict_"): _rules,
    ("collections", "dict_set"): _key_to_set,
    ("collections", "dict_set_many_inline"): _rules,
    ("collections", "dict_indexer"): _key,
    ("collections", "dict_indexer_with_default"): _key,
    ("collections", "dict_get"): _key,
    ("collections", "contains_key"): _key,
    ("collections", "set_add"): _members,
    ("collections", "set_remove"): _members,
    ("strings", "concat"): _texts,
    ("strings", "str_"): Budget.prints,
    ("strings", "split"): _pieces,
    ("strings", "right_split"): _pieces,
    ("strings", "to_char_array"): _characters,
    ("strings", "string_by_int"): _text_times,
    ("strings", "int_by_string"): _times_text,
    ("math", "pow_"): _power,
    ("math", "shift_bits_left"): _shift,
    ("math", "round_"): _digits,
    ("date_time", "datetime_from_string"): _date_text,
    ("date_time", "format_"): _date_format,
}
