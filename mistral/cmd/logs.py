"""Where a server process writes what it has to say, and what it keeps to itself.

Neither our own lines nor those of libraries show the texts of foreign exceptions
(SEC-08): whatever is logged, as an argument or with a traceback, goes through
:mod:`mistral.redaction` when its record is made, so handlers of any kind get no more.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from typing import Any

from oslo_log import log as oslo_log

from mistral.config import Settings
from mistral.context import current_request_id
from mistral.redaction import redacted

LOG = logging.getLogger(__name__)

QUIET = (
    "alembic=WARNING", "amqp=WARNING", "oslo.messaging=INFO", "oslo_messaging=INFO",
    "sqlalchemy=WARNING", "stevedore=WARNING", "waitress=WARNING", "urllib3=WARNING",
    "keystoneauth=INFO", "keystonemiddleware=INFO",
)  # fmt: skip


def start_logging(settings: Settings) -> None:
    """To standard output, or as oslo.log's options say; files are 0640 (SEC-06)."""
    os.umask(0o027)
    source: Any = settings.source
    oslo_log.set_defaults(default_log_levels=list(QUIET))
    oslo_log.setup(source, "mistral")
    for handler in _handlers():
        if handler.formatter is not None:
            handler.setFormatter(Unsummarized(handler.formatter))
    logging.captureWarnings(True)
    keep_values_out()


def keep_values_out() -> None:
    """The part of it that is wanted, too, where somebody else's process has decided
    where its log goes."""
    logging.setLogRecordFactory(discreet_record)
    threading.excepthook = _thread_died


def discreet_record(*values: Any, **named: Any) -> logging.LogRecord:
    """A record without the texts of foreign exceptions, and with the id of the
    request that it is made for, if any: oslo.log then uses
    ``logging_context_format_string``, which shows it."""
    record = logging.LogRecord(*values, **named)
    record.msg = _discreet(record.msg)
    if isinstance(record.args, Mapping):
        record.args = {name: _discreet(value) for name, value in record.args.items()}
    elif record.args:
        record.args = tuple(map(_discreet, record.args))
    if record.exc_info and record.exc_info[1] is not None:
        stand_in = redacted(record.exc_info[1])
        record.exc_info = (type(stand_in), stand_in, record.exc_info[2])
    request_id = current_request_id.get()
    if request_id is not None:
        record.request_id = request_id
    return record


class Unsummarized(logging.Formatter):
    """Formats as another does, which is not shown what exception is being handled:
    oslo.log would add its text to every line from WARNING on."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        # It looks at ``sys.exc_info`` and leaves alone what is commonly handled.
        try:
            raise ValueError
        except ValueError:
            return self._formatter.format(record)


def _discreet(value: Any) -> Any:
    return redacted(value) if isinstance(value, BaseException) else value


def _handlers() -> list[logging.Handler]:
    """Of all loggers: ``log_config_append`` may give any of them its own."""
    root = logging.getLogger()
    loggers = [root, *root.manager.loggerDict.values()]
    found = {h for each in loggers for h in getattr(each, "handlers", ())}
    return list(found)


def _thread_died(told: threading.ExceptHookArgs) -> None:
    """Instead of printing the exception to standard error."""
    if told.exc_value is None or isinstance(told.exc_value, SystemExit):
        return
    name = told.thread.name if told.thread is not None else "unknown"
    LOG.critical("The thread %s died", name, exc_info=told.exc_value)
