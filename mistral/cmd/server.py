"""``mistral-server``: start the roles of this process and drain on SIGTERM."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

from mistral.cmd.children import tell_parent
from mistral.cmd.compose import build, is_one_process
from mistral.cmd.logs import start_logging
from mistral.cmd.memory import Rest, settle, share_heaps
from mistral.config import Settings, load
from mistral.errors import MistralError
from mistral.service import Group, Service

LOG = logging.getLogger(__name__)

LONGEST_STOP: Final = 180.0
"""Seconds. Whatever is away, an orderly end takes less. One that does not come keeps a
supervisor waiting for nothing: what was left is found as after any other death."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT.

    :returns: 0 after an orderly end, 1 when it could not start or go on.
    """
    return run(list(sys.argv[1:] if argv is None else argv))


def run(
    argv: Sequence[str],
    *,
    roles: Sequence[str] | None = None,
    worker: int | None = None,
) -> int:
    """:param roles: instead of those of the settings.
    :param worker: this process is that child of a server.
    """
    share_heaps()
    try:
        settings = load(argv)
        start_logging(settings)
        roles = roles or settings.server.roles
        if set(roles) == {"api"} and not is_one_process(settings):
            return _only_the_api(settings)
        group = build(settings, roles, argv=argv, worker=worker)
        end = _until_told(group)
        group.when_failed(lambda error: end.set())
        group.start()
    except MistralError as error:
        print(f"mistral-server: {error.message}", file=sys.stderr)
        return 1
    settle()
    rest = Rest()
    rest.start()
    LOG.info("mistral-server is up: %s", ", ".join(roles))
    if worker is not None:
        tell_parent()
    end.wait()
    LOG.info("mistral-server drains")
    stop_in_time(group, LONGEST_STOP, give_up)
    rest.stop()
    return 1 if group.failure is not None else 0


def stop_in_time(
    group: Service, seconds: float, otherwise: Callable[[], object]
) -> None:
    """Stop, or call ``otherwise`` when that has taken so long."""
    timer = threading.Timer(seconds, otherwise)
    timer.daemon = True
    timer.start()
    try:
        group.stop()
    finally:
        timer.cancel()


def give_up() -> None:
    """End this process now, and leave behind what its threads were doing: names of
    functions, no values."""
    LOG.critical("mistral-server does not come to its end, and ends now")
    faulthandler.dump_traceback(all_threads=True)
    os._exit(1)


def _only_the_api(settings: Settings) -> int:
    """gunicorn's master is this process; there is nothing else to supervise."""
    from mistral.cmd import api_workers

    return api_workers.serve(
        settings, lambda: LOG.info("mistral-server is up: %s", "api")
    )


def _until_told(group: Group) -> threading.Event:
    """Set by SIGTERM and SIGINT once the group has started.

    Before, it may wait for a broker that never comes, and has promised nothing:
    it ends at once then, and with it the children.
    """
    end = threading.Event()

    def tell(number: int, frame: object) -> None:
        if not group.started.is_set():
            LOG.info("mistral-server ends before it was up")
            os._exit(0)
        if end.is_set():
            # Asked twice: now.
            os._exit(1)
        end.set()

    signal.signal(signal.SIGTERM, tell)
    signal.signal(signal.SIGINT, tell)
    return end


if __name__ == "__main__":
    sys.exit(main())
