"""Where a server process writes what it has to say."""

from __future__ import annotations

import logging
import os
from typing import Any

from oslo_log import log as oslo_log

from mistral.config import Settings
from mistral.context import current_request_id

QUIET = (
    "alembic=WARNING", "amqp=WARNING", "oslo.messaging=INFO", "oslo_messaging=INFO",
    "sqlalchemy=WARNING", "stevedore=WARNING", "waitress=WARNING", "urllib3=WARNING",
    "keystoneauth=INFO", "keystonemiddleware=INFO",
)  # fmt: skip


def start_logging(settings: Settings) -> None:
    """To standard error, or as oslo.log's options say; files are 0640 (SEC-06)."""
    os.umask(0o027)
    source: Any = settings.source
    oslo_log.set_defaults(default_log_levels=list(QUIET))
    oslo_log.setup(source, "mistral")
    logging.setLogRecordFactory(with_request_id)
    logging.captureWarnings(True)


def with_request_id(*values: Any, **named: Any) -> logging.LogRecord:
    """A record with the id of the request that it is made for, if any: oslo.log
    then uses ``logging_context_format_string``, which shows it."""
    record = logging.LogRecord(*values, **named)
    request_id = current_request_id.get()
    if request_id is not None:
        record.request_id = request_id
    return record
