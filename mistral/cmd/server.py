"""``mistral-server``: start the roles of this process and drain on SIGTERM."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from oslo_log import log as oslo_log
from sqlalchemy.exc import SQLAlchemyError

from mistral.cmd.compose import build
from mistral.config import Settings, load
from mistral.errors import MistralError

LOG = logging.getLogger(__name__)

QUIET = (
    "alembic=WARNING", "amqp=WARNING", "oslo.messaging=INFO", "oslo_messaging=INFO",
    "sqlalchemy=WARNING", "stevedore=WARNING", "waitress=WARNING", "urllib3=WARNING",
)  # fmt: skip


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
    try:
        settings = load(argv)
        start_logging(settings)
        group = build(
            settings, roles or settings.server.roles, argv=argv, worker=worker
        )
        end = _until_told()
        group.when_failed(lambda error: end.set())
        group.start()
    except (MistralError, SQLAlchemyError) as error:
        print(f"mistral-server: {_told(error)}", file=sys.stderr)
        return 1
    LOG.info("mistral-server is up: %s", ", ".join(roles or settings.server.roles))
    end.wait()
    LOG.info("mistral-server drains")
    group.stop()
    return 1 if group.failure is not None else 0


def start_logging(settings: Settings) -> None:
    """To standard error, or as oslo.log's options say; files are 0640 (SEC-06)."""
    os.umask(0o027)
    source: Any = settings.source
    oslo_log.set_defaults(default_log_levels=list(QUIET))
    oslo_log.setup(source, "mistral")
    logging.captureWarnings(True)


def _until_told() -> threading.Event:
    end = threading.Event()

    def tell(number: int, frame: object) -> None:
        if end.is_set():
            # Asked twice: now.
            os._exit(1)
        end.set()

    signal.signal(signal.SIGTERM, tell)
    signal.signal(signal.SIGINT, tell)
    return end


def _told(error: Exception) -> str:
    if isinstance(error, MistralError):
        return error.message
    # The first line only: the rest shows statements.
    return f"The database cannot be used: {str(error).splitlines()[0]}"


if __name__ == "__main__":
    sys.exit(main())
