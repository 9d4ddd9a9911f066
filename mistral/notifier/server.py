"""Takes notifications from the broker and hands them to publishers.

It never touches the database. What a publisher has taken, and what it has not, is told
to the engine that sent it, which keeps a notification until then and offers again what
was not taken. So nothing is lost with this process.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from mistral.clock import Clock, SystemClock
from mistral.errors import MistralError, Unavailable
from mistral.messages import (
    CarryNotices,
    Message,
    NoticesCarried,
    Notify,
    decode,
    encode,
)
from mistral.service import Service
from mistral.threads import ThreadPool

LOG = logging.getLogger(__name__)

PREFETCH: Final = 64

MOST_SECONDS: Final = 30.0
"""After this the others of a message are left to the next one."""

REMEMBERED: Final = 20_000
"""Notifications that were taken: a copy of one is not published again."""

SLOW_SECONDS: Final = 2.0
"""A publisher that takes so long to fail is left alone for a moment."""

QUIET_SECONDS: Final = 5.0
"""So long; then one notification at a time tries it, until one is taken."""

MOST_SLOW: Final = 1_000
"""Of them; their addresses are the authors', without end perhaps."""

THREADS: Final = 16
"""Lanes that an engine carries at the same time, where there are no notifiers."""

Publish = Callable[[Notify, Mapping[str, Any]], None]


class NotifierBus(Protocol):
    """The part of ``bus.Bus`` that is needed here."""

    notifier_topic: str

    def listen(
        self,
        topic: str,
        on_message: Callable[[Message], bool | None],
        *,
        prefetch: int = 64,
    ) -> Any: ...

    def send(self, message: Message, *, topic: str | None = None) -> None: ...


@dataclass(slots=True)
class _Lane:
    """One that somebody carries for, or waits to."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0


class Courier:
    """Hands notifications to publishers, those of a lane one after the other.

    :param publish: hands a notification to one publisher, or raises
        ``MistralError``.
    :param most_slow: publishers that failed slowly are remembered up to so many.
    """

    def __init__(
        self,
        publish: Publish,
        clock: Clock | None = None,
        most_slow: int = MOST_SLOW,
    ) -> None:
        self._publish = publish
        self._clock = clock or SystemClock()
        self._guard = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._taken: OrderedDict[str, None] = OrderedDict()
        self._slow = _Slow(self._clock, most_slow)
        self._ending = threading.Event()

    def carry(self, message: CarryNotices) -> NoticesCarried:
        """Offer them in their order, until one is not taken; what became of them.

        :raises Unavailable: this process is stopping; it comes again.
        """
        taken: list[str] = []
        lane = str(message.notices[0].get("lane")) if message.notices else ""
        with self._only_one(lane):
            began = self._clock.monotonic()
            for id, wire in zip(message.ids, message.notices, strict=True):
                if self._ending.is_set():
                    break
                if taken and self._clock.monotonic() - began >= MOST_SECONDS:
                    break
                reason = None if self._has(id) else self._refusal(wire)
                if reason is not None:
                    return NoticesCarried(taken=tuple(taken), refused=id, reason=reason)
                self._remember(id)
                taken.append(id)
        if message.ids and not taken:
            raise Unavailable("The notifier is stopping.")
        return NoticesCarried(taken=tuple(taken))

    @contextmanager
    def _only_one(self, name: str) -> Iterator[None]:
        """A copy waits until the first one is done."""
        with self._guard:
            lane = self._lanes.setdefault(name, _Lane())
            lane.users += 1
        try:
            with lane.lock:
                yield
        finally:
            with self._guard:
                lane.users -= 1
                if not lane.users:
                    del self._lanes[name]

    def _has(self, id: str) -> bool:
        with self._guard:
            return id in self._taken

    def _remember(self, id: str) -> None:
        with self._guard:
            self._taken[id] = None
            if len(self._taken) > REMEMBERED:
                self._taken.popitem(last=False)

    def _refusal(self, wire: Mapping[str, Any]) -> str | None:
        """Why a publisher did not take it; None: it did."""
        notice = decode(wire)
        assert isinstance(notice, Notify)
        for entry in notice.publishers:
            try:
                with self._slow.watched(entry):
                    self._publish(notice, entry)
            except MistralError as error:
                LOG.warning(
                    "%s of %s was not published: %s",
                    notice.event, notice.object_id, error,
                )  # fmt: skip
                return str(error)
        return None

    def end(self) -> None:
        """Offer no more; what is not carried is left to others."""
        self._ending.set()


class _Slow:
    """Publishers that failed slowly: with many runs that tell one of them, which is
    gone, all threads would wait for it, and no other would hear anything."""

    def __init__(self, clock: Clock, most: int) -> None:
        self._clock = clock
        self._most = most
        self._guard = threading.Lock()
        self._failed: OrderedDict[str, float] = OrderedDict()
        self._trying: set[str] = set()

    @contextmanager
    def watched(self, entry: Mapping[str, Any]) -> Iterator[None]:
        """:raises Unavailable: it is not asked now."""
        key = json.dumps(entry, sort_keys=True, default=str)
        began = self._clock.monotonic()
        with self._guard:
            failed = self._failed.get(key)
            if failed is not None:
                if key in self._trying or began - failed < QUIET_SECONDS:
                    raise Unavailable("The publisher did not answer a moment ago.")
                self._trying.add(key)
        try:
            yield
        except MistralError:
            now = self._clock.monotonic()
            with self._guard:
                if now - began >= SLOW_SECONDS:
                    self._failed[key] = now
                    self._failed.move_to_end(key)
                    if len(self._failed) > self._most:
                        self._failed.popitem(last=False)
                else:
                    self._failed.pop(key, None)
            raise
        else:
            with self._guard:
                self._failed.pop(key, None)
        finally:
            with self._guard:
                if failed is not None:
                    self._trying.discard(key)


class NotifierServer(Service):
    """One notifier process.

    :param bus: started before and stopped after this service.
    """

    def __init__(self, bus: NotifierBus, courier: Courier) -> None:
        super().__init__("notifier")
        self._bus = bus
        self._courier = courier
        self._subscription: Any = None

    def _start(self) -> None:
        self._subscription = self._bus.listen(
            self._bus.notifier_topic, self._heard, prefetch=PREFETCH
        )

    def _heard(self, message: Message) -> None:
        if isinstance(message, Notify):
            # Of an engine of an older release, which hears no answer.
            id = f"{message.run_id} {message.number}"
            self._courier.carry(CarryNotices(ids=(id,), notices=(encode(message),)))
            return
        if not isinstance(message, CarryNotices):
            LOG.warning("A notifier got a %s", type(message).__name__)
            return
        # Unless it is told, the message comes again.
        self._bus.send(self._courier.carry(message), topic=message.reply_to)

    def _stop(self) -> None:
        self._courier.end()
        self._subscription.stop()


class InEngine:
    """Carries in threads of the engine, where there are no notifiers."""

    def __init__(self, courier: Courier) -> None:
        self._courier = courier
        self._threads = ThreadPool(THREADS, name="engine-notifier")

    def hand(
        self, message: CarryNotices, answer: Callable[[NoticesCarried], None]
    ) -> None:
        """Carry it later and tell what became of it; the engine sends again what it
        hears nothing of."""
        self._threads.submit(self._carry, message, answer)

    def _carry(
        self, message: CarryNotices, answer: Callable[[NoticesCarried], None]
    ) -> None:
        try:
            answer(self._courier.carry(message))
        except Unavailable as error:
            LOG.warning("Notifications wait: %s", error)
        except Exception:
            LOG.exception("What became of notifications could not be noted")
