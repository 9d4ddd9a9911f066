"""Methods of built-in values that a template may call (deny by default).

``GUARDS`` check before a method computes; mutators only work in templates whose
data was copied (see ``jinja.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, time, timedelta
from typing import Any, Final

from mistral.expressions.faults import Refused
from mistral.expressions.limits import Budget

MUTATORS: Final = frozenset(
    {
        "append",
        "clear",
        "extend",
        "insert",
        "pop",
        "popitem",
        "remove",
        "reverse",
        "setdefault",
        "sort",
        "update",
    }
)

_VIEWS: Final[tuple[type, ...]] = (type({}.keys()), type({}.values()), type({}.items()))

ALLOWED: Final[tuple[tuple[Any, frozenset[str]], ...]] = (
    (
        str,
        frozenset(
            "capitalize casefold center count encode endswith expandtabs find index "
            "isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric "
            "isprintable isspace istitle isupper join ljust lower lstrip partition "
            "removeprefix removesuffix replace rfind rindex rjust rpartition rsplit "
            "rstrip split splitlines startswith strip swapcase title translate upper "
            "zfill".split()
        ),
    ),
    (bytes, frozenset({"decode", "hex"})),
    (int, frozenset({"bit_length", "bit_count", "conjugate", "is_integer"})),
    (float, frozenset({"is_integer", "as_integer_ratio", "conjugate", "hex"})),
    (
        list,
        frozenset(
            "append clear copy count extend index insert pop remove "
            "reverse sort".split()
        ),
    ),
    (tuple | range, frozenset({"count", "index"})),
    (
        dict,
        frozenset(
            "clear copy get items keys pop popitem setdefault update values".split()
        ),
    ),
    (
        set | frozenset,
        frozenset(
            "copy difference intersection isdisjoint issubset issuperset "
            "symmetric_difference union".split()
        ),
    ),
    (_VIEWS, frozenset({"isdisjoint"})),
    (
        date | time,
        frozenset(
            "astimezone ctime date isocalendar isoformat isoweekday replace strftime "
            "time timestamp timetuple utcoffset weekday".split()
        ),
    ),
    (timedelta, frozenset({"total_seconds"})),
)


def is_allowed(owner: Any, name: str) -> bool:
    return any(name in names for kind, names in ALLOWED if isinstance(owner, kind))


def check(
    owner: Any,
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    spent: Budget,
) -> None:
    """Before ``owner.name(*args, **kwargs)``.

    :raises Refused: it would be too large.
    """
    for value in (owner, *args, *kwargs.values()):
        if isinstance(value, str):
            spent.charge(len(value) // 256)
        elif isinstance(value, list | tuple | Mapping | set | frozenset):
            spent.charge(len(value) // 64)
        elif callable(value):
            raise Refused("functions are not passed to methods")
    kind = str if isinstance(owner, str) else type(owner)
    guard = GUARDS.get((kind, name))
    if guard is not None:
        guard(spent, owner, *args, **kwargs)


def _padded(spent: Budget, owner: str, width: int = 0, *fill: Any) -> None:
    spent.bytes(width)


def _tabs(spent: Budget, owner: str, tabsize: int = 8) -> None:
    spent.bytes(len(owner) + owner.count("\t") * tabsize)


def _replaced(
    spent: Budget, owner: str, old: str = "", new: str = "", count: int = -1
) -> None:
    times = owner.count(old)
    times = times if count < 0 else min(count, times)
    spent.bytes(len(owner) + times * max(0, len(new) - len(old)))


def _joined(spent: Budget, owner: str, items: Iterable[Any] = ()) -> None:
    if not isinstance(items, list | tuple | str):
        raise Refused("'join' takes a list")
    sizes = sum(len(item) for item in items if isinstance(item, str))
    spent.bytes(sizes + len(owner) * len(items))


def _translated(spent: Budget, owner: str, table: Any = None) -> None:
    if not isinstance(table, dict):
        raise Refused("'translate' takes a mapping")
    longest = max((len(str(part)) for part in table.values()), default=1)
    spent.bytes(len(owner) * longest)


def _pieces(spent: Budget, owner: str, sep: Any = None, maxsplit: int = -1) -> None:
    if isinstance(sep, str) and sep:
        pieces = owner.count(sep)
    else:
        pieces = len(owner) // 2
    spent.bytes(56 * (pieces if maxsplit < 0 else min(maxsplit, pieces)))


def _lines(spent: Budget, owner: str, keepends: bool = False) -> None:
    spent.bytes(56 * owner.count("\n"))


def _compared(spent: Budget, owner: Any, *values: Any) -> None:
    for value in values:
        spent.compares(value, owner)


def _added(spent: Budget, owner: list[Any], *values: Any) -> None:
    spent.bytes(8 * (len(owner) + 1))


def _extended(spent: Budget, owner: list[Any], values: Any = ()) -> None:
    if not isinstance(values, list | tuple | str | range | Mapping):
        raise Refused("'extend' takes a list")
    spent.bytes(8 * (len(owner) + len(values)))
    spent.charge(len(values) // 16)


def _sorted(spent: Budget, owner: list[Any], reverse: bool = False) -> None:
    spent.charge(2 * spent.weigh(owner))


def _keyed(spent: Budget, owner: Any, *values: Any) -> None:
    for value in values[:1]:
        spent.hashes(value)


def _updated(spent: Budget, owner: Any, values: Any = ()) -> None:
    if not isinstance(values, Mapping):
        raise Refused("'update' takes a mapping")
    spent.bytes(64 * (len(owner) + len(values)))


GUARDS: Final[dict[tuple[type, str], Callable[..., None]]] = {
    (str, "center"): _padded,
    (str, "ljust"): _padded,
    (str, "rjust"): _padded,
    (str, "zfill"): _padded,
    (str, "expandtabs"): _tabs,
    (str, "replace"): _replaced,
    (str, "join"): _joined,
    (str, "translate"): _translated,
    (str, "split"): _pieces,
    (str, "rsplit"): _pieces,
    (str, "splitlines"): _lines,
    (list, "append"): _added,
    (list, "insert"): _added,
    (list, "extend"): _extended,
    (list, "sort"): _sorted,
    (list, "count"): _compared,
    (list, "index"): _compared,
    (list, "remove"): _compared,
    (tuple, "count"): _compared,
    (tuple, "index"): _compared,
    (dict, "get"): _keyed,
    (dict, "pop"): _keyed,
    (dict, "setdefault"): _keyed,
    (dict, "update"): _updated,
}
