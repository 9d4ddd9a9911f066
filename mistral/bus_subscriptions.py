"""Ways to end what ``bus.py`` serves and listens to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Subscription:
    """What ``serve`` and ``listen`` give: a way to end them."""

    def __init__(
        self,
        server: Any,
        release: threading.Event,
        ended: Callable[[Subscription], None] = lambda subscription: None,
    ) -> None:
        self._server = server
        self._release = release
        self._tell = ended
        self._lock = threading.Lock()
        self._quiet = False
        self._ended = False

    def quiet(self) -> None:
        """Take no more messages; those that were taken go on."""
        with self._lock:
            if not self._quiet:
                self._quiet = True
                self._server.stop()

    def stop(self) -> None:
        """``quiet``, then wait until all that was taken is done."""
        self.quiet()
        with self._lock:
            if not self._ended:
                self._ended = True
                self._release.set()
                self._server.wait()
                self._tell(self)


class OutsideSubscription(Subscription):
    """What ``hear`` gives: it can also be ended for good."""

    queue: str = ""

    def leave(self) -> None:
        """``stop``, and let the broker forget what waits for this pool, unless
        somebody else of the pool listens: nobody will ask for it again."""
        self.stop()
        remove = getattr(self._server, "remove_queue", None)
        if remove is not None:
            remove(self.queue)
