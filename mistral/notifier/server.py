"""Takes notifications from the broker and hands them to publishers.

It never touches the database. A notification is acknowledged when every
publisher has taken it or has failed too often, so it survives this process.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from mistral.errors import MistralError, Unavailable
from mistral.messages import Message, NoticeRefused, Notify, encode
from mistral.service import Service

LOG = logging.getLogger(__name__)

DELAYS: Final = (1.0, 5.0, 15.0)
"""Seconds before a publisher that failed is asked again."""

PREFETCH: Final = 64

Publish = Callable[[Notify, Mapping[str, Any]], None]

GiveUp = Callable[[NoticeRefused], None]
"""Lets it be kept for operators, or raises ``MistralError``."""


def _left_to_others(refused: NoticeRefused) -> None:
    """Nobody keeps it: it is in the log."""


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


class Courier:
    """Carries notifications to publishers, those of a run one after the other.

    :param publish: hands a notification to one publisher, or raises
        ``MistralError``.
    :param give_up: hears of what publishers never took.
    :param wait: waits for the event, or that many seconds; answers whether the
        event came.
    """

    def __init__(
        self,
        publish: Publish,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
        give_up: GiveUp = _left_to_others,
    ) -> None:
        self._publish = publish
        self._give_up = give_up
        self._wait = wait
        self._guard = threading.Lock()
        # A run that is in here has somebody who carries for it.
        self._queues: dict[str, deque[Errand]] = {}
        self._ending = threading.Event()

    def carry(self, notice: Notify) -> None:
        """Return when all publishers were asked.

        :raises Unavailable: this process is stopping; it comes again.
        """
        errand = Errand(notice)
        with self._guard:
            queue = self._queues.get(notice.run_id)
            mine = queue is None
            if queue is None:
                queue = self._queues[notice.run_id] = deque()
            queue.append(errand)
        if mine:
            self._carry_all(notice.run_id)
        errand.done.wait()
        if not errand.carried:
            raise Unavailable("The notifier is stopping.")

    def _carry_all(self, run_id: str) -> None:
        """Whoever comes first carries for those who come meanwhile."""
        queue = self._queues[run_id]
        while True:
            with self._guard:
                if not queue:
                    del self._queues[run_id]
                    return
                errand = queue[0]
            try:
                errand.carried = self._ask_all(errand.notice)
            finally:
                with self._guard:
                    queue.popleft()
                errand.done.set()

    def _ask_all(self, notice: Notify) -> bool:
        """False: stopped before every publisher had its turn."""
        waiting = list(notice.publishers)
        reason = ""
        for delay in (*DELAYS, None):
            left = []
            for entry in waiting:
                said = self._refusal(notice, entry)
                if said is not None:
                    left.append(entry)
                    reason = said
            waiting = left
            if not waiting:
                return True
            if delay is None:
                LOG.error(
                    "%d publishers never took %s of %s",
                    len(waiting), notice.event, notice.object_id,
                )  # fmt: skip
                return self._given_up(notice, waiting, reason)
            if self._wait(self._ending, delay):
                return False
        return True

    def _given_up(
        self, notice: Notify, left: list[Mapping[str, Any]], reason: str
    ) -> bool:
        """False: nobody could keep it, so it comes again."""
        whole = encode(replace(notice, publishers=tuple(left)))
        refused = NoticeRefused(run_id=notice.run_id, notice=whole, reason=reason)
        try:
            self._give_up(refused)
        except MistralError as error:
            LOG.warning("What nobody took is not kept yet: %s", error)
            return False
        return True

    def _refusal(self, notice: Notify, entry: Mapping[str, Any]) -> str | None:
        """Why the publisher did not take it; None: it did."""
        try:
            self._publish(notice, entry)
        except MistralError as error:
            LOG.warning(
                "%s of %s was not published: %s", notice.event, notice.object_id, error
            )
            return str(error)
        return None

    def end(self) -> None:
        """Give up waiting; what is not carried is left to others."""
        self._ending.set()


class Errand:
    """One notification on its way."""

    def __init__(self, notice: Notify) -> None:
        self.notice = notice
        self.done = threading.Event()
        self.carried = False


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
        if not isinstance(message, Notify):
            LOG.warning("A notifier got a %s", type(message).__name__)
            return
        self._courier.carry(message)

    def _stop(self) -> None:
        self._courier.end()
        self._subscription.stop()
