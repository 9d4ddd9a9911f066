"""Lazy sequences of YAQL that charge for what they give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mistral.expressions.faults import Refused
from mistral.expressions.limits import Budget


class Stream:
    """A lazy sequence that charges for each item and ends at the limit.

    A Python object stands between any two lazy sequences of the library, so
    that neither walking nor freeing a tower of them overflows the C stack.
    """

    __slots__ = ("_budget", "_left", "_next")

    def __init__(self, source: Iterable[Any], limit: int, budget: Budget) -> None:
        self._next = iter(source).__next__
        self._left = limit
        self._budget = budget

    def __iter__(self) -> Stream:
        return self

    def __repr__(self) -> str:
        return "<sequence>"

    def __next__(self) -> Any:
        item = self._next()
        self._budget.charge()
        if self._left == 0:
            raise Refused("a collection has more items than allowed")
        self._left -= 1
        return item


class Memory:
    """A lazy sequence that remembers, so that it can be walked again."""

    __slots__ = ("_budget", "_items", "_source", "_turn")

    def __init__(self, source: Iterator[Any], budget: Budget) -> None:
        self._source = source
        self._budget = budget
        self._items: list[Any] = []
        self._turn: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while True:
            if position == len(self._items):
                try:
                    item = next(self._source)
                except StopIteration:
                    return
                self._items.append(item)
                self._budget.items(len(self._items))
            self._budget.charge()
            yield self._items[position]
            position += 1

    def __repr__(self) -> str:
        return "<sequence>"

    def __next__(self) -> Any:
        if self._turn is None:
            self._turn = iter(self)
        return next(self._turn)


def remembered(collection: Any, budget: Budget) -> Any:
    """The collection, walkable more than once (``memorize``)."""
    if isinstance(collection, Iterator) and not isinstance(collection, Memory):
        return Memory(collection, budget)
    return collection
