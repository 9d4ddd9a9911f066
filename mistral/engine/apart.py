"""Runs that somebody else holds for long: their events wait here while others go on.

An engine that is stopped in mid turn keeps its locks until the database ends its
transaction. Whoever waited for them in the deciding thread would hold up all other
runs for so long. So that thread waits for a moment only (``LOCK_SECONDS``), and looks
again at what is apart every ``POLL_SECONDS`` without waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mistral.clock import Clock
from mistral.engine.intake import Waiting

LOCK_SECONDS: Final = 1.0
"""The longest time that a statement of a turn waits for a lock. MariaDB and MySQL know
whole seconds only."""

POLL_SECONDS: Final = 0.25

UNWAITED_SECONDS: Final = 2.0
"""After a wait in vain the deciding thread waits for no lock for so long."""


class Apart:
    """Events by header, each in the order in which they came; for one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: dict[str, list[Waiting]] = {}
        self._due: dict[str, float] = {}
        self._waits_again_at = 0.0

    def __len__(self) -> int:
        return len(self._events)

    def may_wait(self) -> bool:
        """Whether it is time to wait for a lock again."""
        return self._clock.monotonic() >= self._waits_again_at

    def waited_in_vain(self) -> None:
        """A wait for a lock has just ended without it."""
        self._waits_again_at = self._clock.monotonic() + UNWAITED_SECONDS

    def keep(self, events: Iterable[Waiting]) -> None:
        """Look at these again in ``POLL_SECONDS``."""
        at = self._clock.monotonic() + POLL_SECONDS
        for waiting in events:
            self._events.setdefault(waiting.key, []).append(waiting)
            self._due[waiting.key] = at

    def until_due(self, timeout: float | None) -> float | None:
        """Seconds until the next look; at most ``timeout``, None: for ever."""
        if not self._due:
            return timeout
        left = max(0.0, min(self._due.values()) - self._clock.monotonic())
        return left if timeout is None else min(left, timeout)

    def join(self, batch: Sequence[Waiting]) -> list[Waiting]:
        """What can be tried now: what is due here, before what has just come for the
        same headers, and all else of the batch. What comes for headers that are not
        due is kept behind what waits for them."""
        now = self._clock.monotonic()
        due = [key for key, at in self._due.items() if at <= now]
        found = [waiting for key in due for waiting in self._take(key)]
        for waiting in batch:
            if waiting.key in self._events:
                self._events[waiting.key].append(waiting)
            else:
                found.append(waiting)
        return found

    def end(self, refuse: Callable[[Sequence[Waiting]], object]) -> None:
        """Nobody looks any more."""
        for key in list(self._events):
            refuse(self._take(key))

    def _take(self, key: str) -> list[Waiting]:
        del self._due[key]
        return self._events.pop(key)
