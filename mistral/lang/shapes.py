"""The data shapes of the language, and where their faults are gathered.

A shape is a function ``(found, path, value) → bool``: it reports into
``found`` and says whether the value may be used. Nothing here raises: a
document is read to its end, so that its author sees every fault at once. The
shapes are those of spec/language.md § 2.

A path is a tuple of keys and positions (``("w", "tasks", "t1", "on-error",
0)``); it becomes text and a place in the document only for what is reported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from math import isfinite
from typing import Any, Final, TypeGuard

Path = tuple[Any, ...]
Shape = Callable[["Findings", Path, Any], bool]

SUGGESTIONS: Final = 10
SUGGESTED_CHARACTERS: Final = 40
COMPARED_NAMES: Final = 300
"""Looking for a similar name is quadratic in its length and linear in the
names: only the first faults of a document get one, within these bounds."""

_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault or warning before its place is known.

    ``at_key``: the key at the end of the path is meant, not its value.
    ``inside``: a piece of the text at the path, and how many characters of
    the piece stand before what is meant.
    """

    path: Path
    message: str
    rule: str
    at_key: bool = False
    inside: tuple[str, int] | None = None


@dataclass(slots=True)
class Findings:
    """What is wrong (``errors``) or doubtful (``warnings``) in a document."""

    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    suggestions: int = 0

    def error(
        self,
        path: Path,
        message: str,
        rule: str,
        *,
        at_key: bool = False,
        inside: tuple[str, int] | None = None,
    ) -> None:
        self.errors.append(Finding(path, message, rule, at_key, inside))

    def warn(
        self,
        path: Path,
        message: str,
        rule: str,
        *,
        at_key: bool = False,
        inside: tuple[str, int] | None = None,
    ) -> None:
        self.warnings.append(Finding(path, message, rule, at_key, inside))

    def did_you_mean(self, word: str, known: Iterable[str]) -> str:
        """``"; did you mean 'build'?"`` or nothing."""
        self.suggestions += 1
        if self.suggestions > SUGGESTIONS or len(word) > SUGGESTED_CHARACTERS:
            return ""
        alike = (name for name in known if abs(len(name) - len(word)) <= 3)
        names = list(islice(alike, COMPARED_NAMES))
        near = get_close_matches(word, names, n=1)
        return f"; did you mean '{near[0]}'?" if near else ""


def misspelled(wanted: str, given: Iterable[Any]) -> str:
    """``"; is it meant by 'taks'?"`` when a required name is missing."""
    words = (w for w in islice(given, COMPARED_NAMES) if isinstance(w, str))
    near = get_close_matches(wanted, [w for w in words if len(w) <= len(wanted) + 3])
    return f"; is it meant by '{near[0]}'?" if near else ""


def path_text(path: Path) -> str:
    """``my_wf.tasks.t1.on-success[0]``"""
    text = ""
    for step in path:
        if isinstance(step, int) and not isinstance(step, bool):
            text += f"[{step}]"
        else:
            name = shortened(str(step), 255)
            text += f".{name}" if text else name
    return text


def kind_of(value: Any) -> str:
    """The kind of a value in words; never the value itself."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string" if value else "an empty string"
    for types, words in _KINDS:
        if isinstance(value, types):
            empty = isinstance(value, (list, dict)) and not value
            return words.replace("a ", "an empty ") if empty else words
    return "a value that is not JSON (a date, set or binary text)"


_KINDS: Final[tuple[tuple[Any, str], ...]] = (
    ((int, float), "a number"),
    (list, "a list"),
    (Mapping, "a mapping"),
)


def is_expression(value: Any) -> bool:
    """The shape Expr: delimiters at both ends of one line, blanks after it."""
    if not isinstance(value, str):
        return False
    text = value.rstrip()
    if len(text) < 4 or "\n" in text:
        return False
    return (text[:2], text[-2:]) in (("<%", "%>"), ("{{", "}}"))


def is_whole_number(value: Any) -> bool:
    """NonNegInt: ``1.0`` counts, booleans do not."""
    if isinstance(value, bool):
        return False
    if isinstance(value, float):
        return value.is_integer() and value >= 0
    return isinstance(value, int) and value >= 0


def is_json(value: Any) -> bool:
    """Whether the value itself, not what it contains, is JSON."""
    return value is None or isinstance(value, (bool, int, float, str, list, dict))


def _expected(found: Findings, path: Path, what: str, value: Any) -> bool:
    found.error(path, f"expected {what}, found {kind_of(value)}", "V-06")
    return False


def text(found: Findings, path: Path, value: Any) -> bool:
    """NonEmptyString."""
    if isinstance(value, str) and value:
        return True
    return _expected(found, path, "a non-empty string", value)


def anything(found: Findings, path: Path, value: Any) -> bool:
    return True


def json_value(found: Findings, path: Path, value: Any) -> bool:
    """JsonValue."""
    return is_json(value) or _expected(found, path, "a JSON value", value)


def string_list(found: Findings, path: Path, value: Any) -> bool:
    """StringList."""
    if not isinstance(value, list) or not value:
        return _expected(found, path, "a list of strings", value)
    sound = [text(found, (*path, i), item) for i, item in enumerate(value)]
    return all(sound) and unique(found, path, value)


def text_or_list(found: Findings, path: Path, value: Any) -> bool:
    """NonEmptyString or StringList."""
    if isinstance(value, list):
        return string_list(found, path, value)
    if isinstance(value, str) and value:
        return True
    return _expected(found, path, "a non-empty string or a list of them", value)


def unique(found: Findings, path: Path, items: list[Any]) -> bool:
    """V-19: all items differ as values."""
    seen: set[str] = set()
    for position, item in enumerate(items):
        if isinstance(item, str):
            shown = item
        else:
            shown = "\0" + json.dumps(item, sort_keys=True, default=str, skipkeys=True)
        if shown in seen:
            found.error((*path, position), "this item is already in the list", "V-19")
            return False
        seen.add(shown)
    return True


def names_only(found: Findings, path: Path, value: Mapping[Any, Any]) -> bool:
    """Every key is a string (Q03)."""
    sound = True
    for key in value:
        if not isinstance(key, str):
            message = f"expected a name, found {kind_of(key)}: quote it"
            found.error((*path, key), message, "Q03", at_key=True)
            sound = False
    return sound


def mapping(found: Findings, path: Path, value: Any) -> bool:
    """NonEmptyMap: values under keys of word characters must be JSON."""
    if not isinstance(value, dict) or not value:
        return _expected(found, path, "a mapping with at least one entry", value)
    sound = names_only(found, path, value)
    for key, item in value.items():
        if not is_json(item) and isinstance(key, str) and _WORD.fullmatch(key):
            sound = json_value(found, (*path, key), item)
    return sound


def text_or_mapping(found: Findings, path: Path, value: Any) -> bool:
    """NonEmptyMap or NonEmptyString."""
    if isinstance(value, str) and value:
        return True
    if isinstance(value, dict):
        return mapping(found, path, value)
    return _expected(found, path, "a mapping or an expression", value)


def input_declaration(found: Findings, path: Path, value: Any) -> bool:
    """InputDecl: names, and names with a default."""
    if not isinstance(value, list) or not value:
        return _expected(found, path, "a list of parameters", value)
    sound = True
    seen: set[str] = set()
    for position, item in enumerate(value):
        here = (*path, position)
        if isinstance(item, dict):
            if len(item) != 1:
                found.error(here, "expected one parameter with its default", "V-06")
                sound = False
                continue
            sound = mapping(found, here, item) and sound
            name = next(iter(item))
        else:
            sound = text(found, here, item) and sound
            name = item
        if isinstance(name, str):
            if name in seen:
                message = f"'{name}' is declared twice; the last one counts"
                found.warn(here, message, "Q14")
            seen.add(name)
    return sound and unique(found, path, value)


def expression(found: Findings, path: Path, value: Any) -> bool:
    """Expr."""
    return is_expression(value) or _expected(
        found, path, "an expression '<% … %>' or '{{ … }}' on one line", value
    )


def number_or_expression(found: Findings, path: Path, value: Any) -> bool:
    """IntOrExpr."""
    if is_whole_number(value) or is_expression(value):
        return True
    return _expected(found, path, "a whole number from 0 on or an expression", value)


def is_number(value: Any) -> TypeGuard[int | float]:
    """A finite number; booleans are none."""
    return isinstance(value, int | float) and (
        not isinstance(value, bool) and isfinite(value)
    )


def factor_or_expression(found: Findings, path: Path, value: Any) -> bool:
    """By what something grows."""
    if (is_number(value) and value >= 1) or is_expression(value):
        return True
    return _expected(found, path, "a number from 1 on or an expression", value)


def share_or_expression(found: Findings, path: Path, value: Any) -> bool:
    """How much of something."""
    if (is_number(value) and 0 <= value <= 1) or is_expression(value):
        return True
    return _expected(found, path, "a number from 0 to 1 or an expression", value)


def boolean_or_expression(found: Findings, path: Path, value: Any) -> bool:
    """BoolOrExpr."""
    if isinstance(value, bool) or is_expression(value):
        return True
    return _expected(found, path, "true, false or an expression", value)


def fields(
    found: Findings,
    path: Path,
    value: Mapping[Any, Any],
    known: Mapping[str, Shape],
    *,
    rule: str = "V-07",
    hints: Mapping[str, str] | None = None,
    closed: bool = True,
) -> dict[str, Any]:
    """Check the properties of a mapping: those that may be used.

    :param rule: that an unknown property breaks.
    :param hints: why a property is not possible here, by its name.
    :param closed: refuse unknown properties; otherwise they are kept and
        warned of (LINT-04).
    """
    sound: dict[str, Any] = {}
    names_only(found, path, value)
    for key, item in value.items():
        if not isinstance(key, str):
            continue
        shape = known.get(key)
        if shape is not None:
            if shape(found, (*path, key), item):
                sound[key] = item
            continue
        hint = (hints or {}).get(key) or found.did_you_mean(key, known)
        what = f"unknown property '{shortened(key)}'"
        if closed:
            found.error((*path, key), what + hint, rule, at_key=True)
        else:
            message = f"{what} has no effect{hint}"
            found.warn((*path, key), message, "LINT-04", at_key=True)
            sound[key] = item
    return sound


def shortened(word: str, characters: int = 80) -> str:
    """A word of the author's for a message, not longer than a line."""
    return word if len(word) <= characters else f"{word[:characters]}…"


def quoted(words: Collection[str]) -> str:
    """``'a', 'b' and 3 more``"""
    shown = [f"'{shortened(word)}'" for word in list(words)[:5]]
    more = len(words) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
