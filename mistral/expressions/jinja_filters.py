"""Filters and tests of Jinja that templates may use (SEC-12), on the budget.

A filter that is not listed does not exist. Each is wrapped: a step, more for
long arguments; the tree of what it walks is weighed; what would be a generator
is a list. Those that can grow are checked before.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from jinja2 import pass_context
from jinja2.filters import FILTERS as STANDARD_FILTERS
from jinja2.runtime import Context, Undefined
from jinja2.tests import TESTS as STANDARD_TESTS
from jinja2.utils import _PassArg
from markupsafe import Markup

from mistral.expressions.faults import Refused
from mistral.expressions.functions import random_fraction
from mistral.expressions.jinja_format import printed_size, printf
from mistral.expressions.limits import Budget, budget

MAX_SLOW_TEXT: Final = 100_000
"""Characters for filters that take microseconds for each."""

MAX_PRETTY: Final = 20_000
MAX_INDENT: Final = 100
MAX_PRECISION: Final = 300

SHALLOW: Final = frozenset(
    {
        "attr",
        "batch",
        "count",
        "d",
        "default",
        "first",
        "items",
        "last",
        "length",
        "list",
        "map",
        "reverse",
        "slice",
        "select",
        "selectattr",
        "reject",
        "rejectattr",
    }
)
"""They look at the first level only; the others' input is weighed as a tree."""

AS_THEY_ARE: Final = (
    "abs attr batch capitalize center count d default dictsort e escape "
    "filesizeformat first float forceescape groupby indent int items last length "
    "list lower map max min pprint reject rejectattr replace reverse round safe "
    "select selectattr slice sort string striptags title tojson trim truncate unique "
    "upper urlencode urlize wordcount wordwrap xmlattr"
).split()


# -- guards: called with the budget and the filter's own arguments ----------------


def _width(spent: Budget, value: Any, width: int = 80) -> None:
    spent.bytes(width)


def _indent(spent: Budget, s: str, width: Any = 4, *flags: Any, **named: Any) -> None:
    added = width if isinstance(width, int) else len(width)
    spent.bytes(len(s) + (s.count("\n") + 2) * (added + 1))


def _replace(
    spent: Budget, s: Any, old: Any = "", new: Any = "", count: int | None = None
) -> None:
    text, old, new = str(s), str(old), str(new)
    times = text.count(old) if count is None or count < 0 else count
    spent.bytes(len(text) + min(times, len(text) + 1) * len(new))


def _batch(spent: Budget, value: Any, linecount: int, fill_with: Any = None) -> None:
    spent.items(linecount)


def _slices(spent: Budget, value: Any, slices: int, fill_with: Any = None) -> None:
    spent.items(slices)


def _round(spent: Budget, value: Any, precision: int = 0, method: str = "") -> None:
    if abs(precision) > MAX_PRECISION:
        raise Refused(f"numbers are rounded to at most {MAX_PRECISION} digits")


def _tojson(spent: Budget, value: Any, indent: int | None = None) -> None:
    if indent is not None and indent > MAX_INDENT:
        raise Refused(f"JSON is indented by at most {MAX_INDENT}")
    spent.bytes((1 + (indent or 0)) * spent.prints(value))


def _slow(spent: Budget, s: Any, *args: Any, **kwargs: Any) -> None:
    size = sum(
        len(part) for part in (s, *args, *kwargs.values()) if isinstance(part, str)
    )
    if size > MAX_SLOW_TEXT:
        raise Refused(f"this filter takes at most {MAX_SLOW_TEXT} characters")
    spent.charge(size // 8)


def _wrapped(
    spent: Budget,
    s: str,
    width: int = 79,
    break_long_words: bool = True,
    wrapstring: str | None = None,
    *rest: Any,
) -> None:
    _slow(spent, s)
    spent.bytes(len(s) * (1 + len(wrapstring or "")))


def _pretty(spent: Budget, value: Any) -> None:
    if spent.weigh(value) > MAX_PRETTY:
        raise Refused(f"'pprint' takes at most {MAX_PRETTY} values")


def _hashed(spent: Budget, value: Any, *args: Any, **kwargs: Any) -> None:
    for item in value:
        spent.hashes(item)


def _ordered(spent: Budget, value: Any, *args: Any, **kwargs: Any) -> None:
    spent.charge(8 * len(value))


_GUARDS: Final[dict[str, Callable[..., None]]] = {
    "batch": _batch,
    "center": _width,
    "dictsort": _ordered,
    "groupby": _ordered,
    "indent": _indent,
    "pprint": _pretty,
    "replace": _replace,
    "round": _round,
    "slice": _slices,
    "sort": _ordered,
    "striptags": _slow,
    "title": _slow,
    "tojson": _tojson,
    "unique": _hashed,
    "urlize": _slow,
    "wordcount": _slow,
    "wordwrap": _wrapped,
}


def _standard(name: str) -> Callable[..., Any]:
    """Jinja's filter on the budget."""
    inner = STANDARD_FILTERS[name]
    passes = _PassArg.from_obj(inner)
    guard = _GUARDS.get(name)
    weighs = name not in SHALLOW

    @pass_context
    def call(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        spent = budget()
        value = taken(value, spent)
        if weighs:
            for part in (value, *args, *kwargs.values()):
                spent.weigh(part)
        if guard is not None:
            guard(spent, value, *args, **kwargs)
        result = inner(*_passed(context, passes), value, *args, **kwargs)
        return settled(result, spent)

    return call


def _passed(context: Context, passes: _PassArg | None) -> tuple[Any, ...]:
    if passes is _PassArg.context:
        return (context,)
    if passes is _PassArg.environment:
        return (context.environment,)
    if passes is _PassArg.eval_context:
        return (context.eval_ctx,)
    return ()


def taken(value: Any, spent: Budget) -> Any:
    """An argument: charged for, and no longer lazy."""
    spent.charge(2)
    if isinstance(value, str):
        spent.charge(len(value) // 256)
    elif isinstance(value, list | tuple | Mapping | range | set | frozenset):
        spent.charge(len(value) // 8)
    elif isinstance(value, Iterator):
        return _listed(value, spent)
    return value


def settled(result: Any, spent: Budget) -> Any:
    """A result: of a bounded size, and not lazy."""
    if isinstance(result, bool):
        return result
    if isinstance(result, int):
        spent.number(result)
    elif isinstance(result, str | bytes):
        spent.made(len(result))
    elif isinstance(result, list | tuple | dict | set):
        spent.made(8 * len(result))
    elif isinstance(result, Iterator):
        return _listed(result, spent)
    return result


def _listed(items: Iterable[Any], spent: Budget) -> list[Any]:
    found: list[Any] = []
    for item in items:
        spent.charge()
        spent.items(len(found))
        found.append(item)
    return found


# -- filters of our own -------------------------------------------------------------


@pass_context
def _format(context: Context, value: Any, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise Refused("'format' takes positions or names, not both")
    text = value if isinstance(value, str) else str(value)
    return printf(str(text), kwargs or args)


@pass_context
def _join(context: Context, value: Any, d: Any = "", attribute: Any = None) -> str:
    spent = budget()
    if attribute is not None:
        value = context.environment.call_filter(
            "map", value, kwargs={"attribute": attribute}, context=context
        )
    separator = text_of(d, spent)
    pieces = []
    size = 0
    for item in taken(value, spent):
        piece = text_of(item, spent)
        size += len(piece) + len(separator)
        spent.charge()
        spent.bytes(size)
        pieces.append(piece)
    return separator.join(pieces)


@pass_context
def _sum(context: Context, value: Any, attribute: Any = None, start: Any = 0) -> Any:
    environment: Any = context.environment
    if attribute is not None:
        value = environment.call_filter(
            "map", value, kwargs={"attribute": attribute}, context=context
        )
    total = start
    for item in taken(value, budget()):
        total = environment.call_binop(context, "+", total, item)
    return total


@pass_context
def _random(context: Context, value: Any) -> Any:
    items = taken(value, budget())
    if not items:
        raise Refused("'random' takes a sequence that is not empty")
    fraction = random_fraction(context.parent["#view"])
    return items[int(fraction * len(items))]


def text_of(value: Any, spent: Budget) -> str:
    """The text form inside a template (§ 21.3)."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Undefined):
        return str(value)
    if isinstance(value, Mapping) and not isinstance(value, dict):
        value = dict(value)
    if callable(value):
        name = getattr(value, "__name__", "")
        raise Refused("{name} is a method, not a value: write _['…']", str(name))
    printed_size(value, spent)
    return str(value)


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    **{name: _standard(name) for name in AS_THEY_ARE},
    "format": _format,
    "join": _join,
    "random": _random,
    "sum": _sum,
}


# -- comparisons, loops, concatenation ---------------------------------------------


def compared(spent: Budget, name: str, left: Any, right: Any) -> Any:
    """``left name right``, weighed before C compares."""
    if name in {"in", "notin"}:
        if isinstance(right, Mapping | set | frozenset):
            spent.hashes(left)
        elif not isinstance(right, str | range):
            spent.compares(left, right)
        else:
            spent.charge(len(right) // 256)
    elif isinstance(left, _DEEP) and isinstance(right, _DEEP):
        spent.weigh(left)
        spent.weigh(right)
    return OPERATORS[name](left, right)


_DEEP: Final = (list, tuple, Mapping, set, frozenset)

OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda left, right: left in right,
    "notin": lambda left, right: left not in right,
}

_COMPARING_TESTS: Final = {
    "eq": ("eq", "equalto", "=="),
    "ne": ("ne", "!="),
    "lt": ("lt", "lessthan", "<"),
    "lteq": ("le", "<="),
    "gt": ("gt", "greaterthan", ">"),
    "gteq": ("ge", ">="),
    "in": ("in",),
}


def _comparing(name: str) -> Callable[[Any, Any], Any]:
    def test(left: Any, right: Any) -> Any:
        spent = budget()
        spent.charge()
        return compared(spent, name, left, right)

    return test


TESTS: Final[dict[str, Callable[..., Any]]] = {
    **dict[str, Any](STANDARD_TESTS),
    **{
        alias: _comparing(name)
        for name, aliases in _COMPARING_TESTS.items()
        for alias in aliases
    },
}


class Counted:
    """What a loop walks: each item is a step."""

    __slots__ = ("_items", "_spent")

    def __init__(self, items: Any, spent: Budget) -> None:
        self._items = items if hasattr(items, "__len__") else iter(items)
        self._spent = spent

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        charge = self._spent.charge
        for item in self._items:
            charge(2)
            yield item


@pass_context
def _looped(context: Context, items: Any) -> Counted:
    return Counted(items, budget())


@pass_context
def _compared(context: Context, left: Any, name: str, right: Any) -> Any:
    return compared(budget(), name, left, right)


@pass_context
def _weighed(context: Context, value: Any) -> Any:
    budget().weigh(value)
    return value


@pass_context
def _as_key(context: Context, value: Any) -> Any:
    budget().hashes(value)
    return value


@pass_context
def _concatenated(context: Context, parts: tuple[Any, ...]) -> str:
    spent = budget()
    texts = [text_of(part, spent) for part in parts]
    spent.made(sum(map(len, texts)))
    return "".join(texts)


@pass_context
def _sliced(context: Context, value: Any, *bounds: Any) -> Any:
    spent = budget()
    return settled(taken(value, spent)[slice(*bounds)], spent)


INTERNAL_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "#loop": _looped,
    "#compare": _compared,
    "#weigh": _weighed,
    "#key": _as_key,
    "#concat": _concatenated,
    "#slice": _sliced,
}
"""What the compiler puts in; no template can spell these names."""


def plain_text(value: str) -> str:
    """Without the mark of escaped text."""
    return str.__str__(value) if isinstance(value, Markup) else value
