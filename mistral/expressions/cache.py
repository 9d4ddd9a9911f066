"""A cache of compiled texts, bounded by the characters that it holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

Compiled = TypeVar("Compiled")

CACHED_CHARACTERS: Final = 1_000_000
"""What is compiled takes some thirty times its text: a full cache stays below
a hundred megabytes, whatever people write."""


class TextCache(Generic[Compiled]):
    """Compiled forms by text; the least recently used go first.

    :param compile: its exceptions are not kept.
    """

    def __init__(
        self, compile: Callable[[str], Compiled], characters: int = CACHED_CHARACTERS
    ) -> None:
        self._compile = compile
        self._limit = characters
        self._held = 0
        self._entries: OrderedDict[str, Compiled] = OrderedDict()

    def __call__(self, text: str) -> Compiled:
        try:
            found = self._entries[text]
            self._entries.move_to_end(text)
            return found
        except KeyError:
            found = self._compile(text)
        if text not in self._entries:
            self._entries[text] = found
            self._held += len(text)
            while self._held > self._limit and self._entries:
                old, _ = self._entries.popitem(last=False)
                self._held -= len(old)
        return found

    def __len__(self) -> int:
        return len(self._entries)
