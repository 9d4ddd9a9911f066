"""Where a server process writes what it has to say."""

from __future__ import annotations

import logging
import os
from typing import Any

from oslo_log import log as oslo_log

from mistral.config import Settings

QUIET = (
    "alembic=WARNING", "amqp=WARNING", "oslo.messaging=INFO", "oslo_messaging=INFO",
    "sqlalchemy=WARNING", "stevedore=WARNING", "waitress=WARNING", "urllib3=WARNING",
)  # fmt: skip


def start_logging(settings: Settings) -> None:
    """To standard error, or as oslo.log's options say; files are 0640 (SEC-06)."""
    os.umask(0o027)
    source: Any = settings.source
    oslo_log.set_defaults(default_log_levels=list(QUIET))
    oslo_log.setup(source, "mistral")
    logging.captureWarnings(True)
