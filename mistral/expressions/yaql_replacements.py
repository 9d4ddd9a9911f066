"""Standard functions of YAQL that hash, compare, sort or walk, done step by step.

Each takes what the library's function of the same name takes; ``REPLACEMENTS``
says which one it stands for. ``GUARDS`` check before the library's own function
runs. Both are keyed by module and name of the library's function.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from itertools import groupby
from typing import Any, Final

from yaql.language import utils  # type: ignore[import-untyped]
from yaql.standard_library import queries  # type: ignore[import-untyped]

from mistral.expressions.limits import Budget, budget
from mistral.expressions.yaql_streams import remembered

Function = Callable[..., Any]

# -- sets and mappings -------------------------------------------------------------


def to_set(collection: Iterable[Any]) -> frozenset[Any]:
    hashes = budget().hashes
    found = set()
    for item in collection:
        hashes(item)
        found.add(item)
    return frozenset(found)


def distinct(
    engine: Any, collection: Iterable[Any], key_selector: Function | None = None
) -> Iterator[Any]:
    hashes = budget().hashes
    seen = set()
    for item in collection:
        key = item if key_selector is None else key_selector(item)
        hashes(key)
        if key not in seen:
            seen.add(key)
            yield item


def dict_from_pairs(items: Iterable[Any], engine: Any) -> Any:
    spent = budget()
    result = {}
    for item in items:
        spent.charge()
        pair = iter(item)
        key = next(pair)
        spent.hashes(key)
        result[key] = next(pair)
    return utils.FrozenDict(result)


def to_dict(
    collection: Iterable[Any],
    engine: Any,
    key_selector: Function,
    value_selector: Function | None = None,
) -> dict[Any, Any]:
    hashes = budget().hashes
    result = {}
    for item in collection:
        key = key_selector(item)
        hashes(key)
        result[key] = item if value_selector is None else value_selector(item)
    return result


def delete_keys_seq(d: Mapping[Any, Any], keys: Iterable[Any]) -> dict[Any, Any]:
    hashes = budget().hashes
    copy = dict(d)
    for key in keys:
        hashes(key)
        copy.pop(key, None)
    return copy


def delete_keys(d: Mapping[Any, Any], *keys: Any) -> dict[Any, Any]:
    return delete_keys_seq(d, keys)


def group_by(
    engine: Any,
    collection: Iterable[Any],
    key_selector: Function,
    value_selector: Function | None = None,
    aggregator: Function | None = None,
) -> Iterator[Any]:
    hashes = budget().hashes
    groups: dict[Any, list[Any]] = {}
    for item in collection:
        value = item if value_selector is None else value_selector(item)
        key = key_selector(item)
        hashes(key)
        groups.setdefault(key, []).append(value)
    return map(queries.GroupAggregator(aggregator, True), groups.items())


def merge_with(
    engine: Any,
    to_list: Function,
    d: Mapping[Any, Any],
    another: Mapping[Any, Any],
    list_merger: Function | None = None,
    item_merger: Function | None = None,
    max_levels: int = 0,
) -> dict[Any, Any]:
    def join_lists(left: Any, right: Any) -> Any:
        return to_list(distinct(engine, left + right))

    def take_right(left: Any, right: Any) -> Any:
        return right

    spent = budget()
    spent.weigh(d)
    spent.weigh(another)
    merged: dict[Any, Any] = queries._merge_dicts(
        d, another, list_merger or join_lists, item_merger or take_right, max_levels
    )
    return merged


# -- looking for values ------------------------------------------------------------


def _equal(left: Any, right: Any, spent: Budget) -> bool:
    if isinstance(left, _DEEP) and isinstance(right, _DEEP):
        spent.weigh(left)
        spent.weigh(right)
    return bool(left == right)


_DEEP: Final = (tuple, list, Mapping, Set)


def contains(collection: Iterable[Any], value: Any) -> bool:
    spent = budget()
    if isinstance(collection, Set):
        spent.hashes(value)
        return value in collection
    weight = spent.weigh(value)
    if isinstance(value, _DEEP):
        return any(item is value or _equal(item, value, spent) for item in collection)
    if isinstance(collection, tuple | list):
        spent.charge(len(collection) * weight // 64)
    return value in collection


def is_in(value: Any, collection: Iterable[Any]) -> bool:
    return contains(collection, value)


def contains_value(d: Mapping[Any, Any], value: Any) -> bool:
    return contains(list(d.values()), value)


def index_of(collection: Iterable[Any], item: Any) -> int:
    spent = budget()
    for index, found in enumerate(collection):
        spent.charge()
        if _equal(found, item, spent):
            return index
    return -1


def last_index_of(collection: Iterable[Any], item: Any) -> int:
    spent = budget()
    last = -1
    for index, found in enumerate(collection):
        spent.charge()
        if _equal(found, item, spent):
            last = index
    return last


# -- walking -----------------------------------------------------------------------


def flatten(collection: Iterable[Any]) -> Iterator[Any]:
    charge = budget().charge
    for item in collection:
        charge()
        if utils.is_iterable(item):
            yield from flatten(item)
        else:
            yield item


def generate(
    engine: Any,
    initial: Any,
    predicate: Function,
    producer: Function,
    selector: Function | None = None,
    decycle: bool = False,
) -> Iterator[Any]:
    spent = budget()
    seen = set()
    while predicate(initial):
        spent.charge()
        if decycle:
            spent.hashes(initial)
            if initial in seen:
                break
            seen.add(initial)
        yield initial if selector is None else selector(initial)
        initial = producer(initial)


def generate_many(
    engine: Any,
    initial: Any,
    producer: Function,
    selector: Function | None = None,
    decycle: bool = False,
    depth_first: bool = False,
) -> Iterator[Any]:
    spent = budget()
    seen = set()
    queue = deque([initial])
    while queue:
        spent.charge()
        item = queue.popleft()
        if decycle:
            spent.hashes(item)
            if item in seen:
                continue
            seen.add(item)
        yield item if selector is None else selector(item)
        produced = producer(item)
        if hasattr(produced, "__len__"):
            spent.charge(len(produced))
        before = len(queue)
        queue.extend(produced)
        spent.items(len(queue))
        if depth_first:
            queue.rotate(len(queue) - before)


def memorize(collection: Iterable[Any], engine: Any) -> Any:
    return remembered(collection, budget())


def default_if_empty(
    engine: Any, collection: Iterable[Any], default: Iterable[Any]
) -> Iterable[Any]:
    kept = remembered(collection, budget())
    for _item in kept:
        return kept  # type: ignore[no-any-return]
    return default


def join_collections(
    engine: Any,
    collection1: Iterable[Any],
    collection2: Iterable[Any],
    predicate: Function,
    selector: Function,
) -> Iterator[Any]:
    spent = budget()
    others = remembered(collection2, spent)
    for item in collection1:
        for other in others:
            spent.charge()
            if predicate(item, other):
                yield selector(item, other)


def assert_(engine: Any, obj: Any, condition: Function, message: str) -> Any:
    kept = remembered(obj, budget())
    if not condition(kept):
        raise AssertionError(message)
    return kept


class Ordering(queries.OrderingIterable):  # type: ignore[misc]
    """``orderBy`` and the ``thenBy`` that follow.

    A further selector is asked only about items that the ones before find
    equal, none at all about an item that stands alone. Each key is computed
    once; keys that are all numbers or all strings are compared by Python,
    which orders them as YAQL does.
    """

    def __repr__(self) -> str:
        return "<sequence>"

    def do_sort(self) -> None:
        items = list(self.collection)
        budget().items(len(items))
        self.sorted = self._arrange(items, 0)

    def _arrange(self, items: list[Any], level: int) -> list[Any]:
        """The items in the order of the selectors from ``level`` on."""
        if len(items) < 2 or level == len(self.order):
            return items
        selector, ascending = self.order[level]
        budget().charge(len(items))
        keyed = [(selector(item), item) for item in items]
        if not _alike([key for key, _item in keyed]):
            return self._compared(keyed, level)
        keyed.sort(key=_first, reverse=not ascending)
        arranged: list[Any] = []
        for _key, group in groupby(keyed, key=_first):
            arranged += self._arrange([item for _key, item in group], level + 1)
        return arranged

    def _compared(self, keyed: list[tuple[Any, Any]], level: int) -> list[Any]:
        """By YAQL's own operators, which may refuse two keys."""
        ranked = [_Ranked(self, level, key, item) for key, item in keyed]
        return [found.item for found in sorted(ranked)]

    def compare(self, left: Any, right: Any) -> int:
        if self.operator_lt(left, right):
            return -1
        return 1 if self.operator_gt(left, right) else 0


class _Ranked:
    """An item among others; its keys are computed when they are needed."""

    __slots__ = ("_keys", "_level", "_ordering", "item")

    def __init__(self, ordering: Ordering, level: int, key: Any, item: Any) -> None:
        self._ordering = ordering
        self._level = level
        self._keys = [key]
        self.item = item

    def key(self, place: int) -> Any:
        if place == len(self._keys):
            selector, _ascending = self._ordering.order[self._level + place]
            self._keys.append(selector(self.item))
        return self._keys[place]

    def __lt__(self, other: _Ranked) -> bool:
        directions = self._ordering.order[self._level :]
        for place, (_selector, ascending) in enumerate(directions):
            found = self._ordering.compare(self.key(place), other.key(place))
            if found:
                return (found < 0) is ascending
        return False


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


def _alike(keys: list[Any]) -> bool:
    kinds = {type(key) for key in keys}
    if kinds == {str}:
        return True
    return kinds <= {int, float} and all(key == key for key in keys)


def order_by(
    collection: Iterable[Any],
    selector: Function,
    operator_lt: Function,
    operator_gt: Function,
) -> Ordering:
    ordering = Ordering(collection, operator_lt, operator_gt)
    ordering.append_field(selector, True)
    return ordering


def order_by_descending(
    collection: Iterable[Any],
    selector: Function,
    operator_lt: Function,
    operator_gt: Function,
) -> Ordering:
    ordering = Ordering(collection, operator_lt, operator_gt)
    ordering.append_field(selector, False)
    return ordering


# -- text --------------------------------------------------------------------------


def join(sequence: Iterable[Any], separator: str, str_delegate: Function) -> str:
    spent = budget()
    size = 0
    pieces = []
    for item in sequence:
        piece = str_delegate(item)
        size += len(piece) + len(separator)
        spent.charge()
        spent.bytes(size)
        pieces.append(piece)
    return separator.join(pieces)


def join_of(separator: str, sequence: Iterable[Any], str_delegate: Function) -> str:
    return join(sequence, separator, str_delegate)


def replace(string: str, old: str, new: str, count: int = -1) -> str:
    times = string.count(old) if count < 0 else min(count, string.count(old))
    budget().bytes(len(string) + times * max(0, len(new) - len(old)))
    return string.replace(old, new, count)


def replace_with_dict(
    string: str, str_func: Function, replacements: Mapping[Any, Any], count: int = -1
) -> str:
    charge = budget().charge
    for key, value in replacements.items():
        charge(1 + len(string) // 256)
        string = replace(string, str_func(key), str_func(value), count)
    return string


REPLACEMENTS: Final[dict[tuple[str, str], Function]] = {
    ("collections", "to_set"): to_set,
    ("collections", "dict__"): dict_from_pairs,
    ("collections", "to_dict"): to_dict,
    ("collections", "delete_keys"): delete_keys,
    ("collections", "delete_keys_seq"): delete_keys_seq,
    ("collections", "in_"): is_in,
    ("collections", "contains"): contains,
    ("collections", "contains_value"): contains_value,
    ("collections", "flatten"): flatten,
    ("queries", "default_if_empty"): default_if_empty,
    ("queries", "distinct"): distinct,
    ("queries", "group_by"): group_by,
    ("queries", "join"): join_collections,
    ("queries", "memorize"): memorize,
    ("queries", "merge_with"): merge_with,
    ("queries", "index_of"): index_of,
    ("queries", "last_index_of"): last_index_of,
    ("queries", "generate"): generate,
    ("queries", "generate_many"): generate_many,
    ("queries", "order_by"): order_by,
    ("queries", "order_by_descending"): order_by_descending,
    ("strings", "join"): join,
    ("strings", "join_"): join_of,
    ("strings", "replace"): replace,
    ("strings", "replace_with_dict"): replace_with_dict,
    ("system", "assert__"): assert_,
}
